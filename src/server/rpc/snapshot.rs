//! Snapshots over a connection of their own: a request, then an archive one way or the other.
//!
//! Holds true: an archive that comes in goes to a file, not to memory, and is bounded by the disk alone.
//! Source: `docs/reference/rpc.md` section 13.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;

use smol::Unblock;
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::net::message::MessageReader;
use crate::server::Server;
use crate::structs::rpc::Delegate;
use crate::structs::{Result, SnapshotRequest, SnapshotResponse};
use crate::wire::msgpack;

/// Bytes of the request at most.
const MAX_REQUEST: usize = 64 * 1024;
/// Bytes of the archive that are moved at once.
const CHUNK: usize = 64 * 1024;
/// `Op` of a request.
mod op {
    pub const SAVE: i64 = 0;
    pub const RESTORE: i64 = 1;
}

/// Carries out one request; the end of the answer is the end of the connection.
///
/// # Errors
/// Those of the stream and of the temporary file, and when what comes is no request.
pub(super) async fn serve(
    server: &Arc<Server>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut messages = MessageReader::new(stream);
    let Some(bytes) = messages.values(1, MAX_REQUEST).await? else {
        return Ok(());
    };
    let request: SnapshotRequest = msgpack::from_slice(bytes).map_err(invalid)?;
    let (response, archive) = match request.op {
        op::SAVE => refused(
            server
                .snapshot_save(request)
                .await
                .map(|(r, f)| (r, Some(f))),
        ),
        op::RESTORE => {
            let file = receive(server, &mut messages).await?;
            refused(
                server
                    .snapshot_restore(request, file)
                    .await
                    .map(|r| (r, None)),
            )
        }
        unknown => {
            let error = format!("unrecognized snapshot op {unknown}");
            refused(Err(error.into()))
        }
    };
    let to = messages.get_mut();
    to.write_all(&msgpack::to_vec(&response).map_err(invalid)?)
        .await?;
    if let Some(archive) = archive {
        smol::io::copy(Unblock::with_capacity(CHUNK, archive), &mut *to).await?;
    }
    to.close().await
}

/// An error as the answer that tells it.
fn refused(result: Result<(SnapshotResponse, Option<File>)>) -> (SnapshotResponse, Option<File>) {
    result.unwrap_or_else(|error| {
        let response = SnapshotResponse {
            error: error.text().to_owned(),
            ..SnapshotResponse::default()
        };
        (response, None)
    })
}

/// Takes in an archive; the file, positioned at its start.
async fn receive(
    server: &Arc<Server>,
    messages: &mut MessageReader<impl AsyncRead + Unpin>,
) -> io::Result<File> {
    let dir = server.options.temp_dir.clone();
    let mut file = smol::unblock(move || crate::store::snapshot::archive::temporary(&dir)).await?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = messages.raw(&mut chunk).await?;
        if n == 0 {
            break;
        }
        // Small writes into the page cache.
        file.write_all(&chunk[..n])?;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn invalid(why: crate::wire::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
