//! Asking a server to save or restore the state, over a connection of its own.
//!
//! Holds true: the archive goes from file to connection and from connection to file in pieces; who stops
//! sending or receiving in the middle is not waited for without end.
//! Leaves to others: which server, and what an archive is. Source: `docs/reference/rpc.md` section 13.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::dial;
use super::message::MessageReader;
use super::pool::{CallError, DIAL_TIMEOUT};
use super::reactor::{Async, Timer};
use crate::structs::go::new_uuid;
use crate::structs::{Error, SnapshotRequest, SnapshotResponse};
use crate::wire::msgpack;

/// First byte of a connection for snapshots.
pub const SNAPSHOT: u8 = 5;
/// `Op` of a request.
pub mod op {
    /// Send the state.
    pub const SAVE: i64 = 0;
    /// Take the state that follows.
    pub const RESTORE: i64 = 1;
}
/// Bytes of the answer before the archive, at most.
const MAX_RESPONSE: usize = 64 * 1024;
/// Bytes of the archive that are moved at once.
const CHUNK: usize = 64 * 1024;
/// A server may think or a connection stand still for so long: a restore is applied by slow disks too.
const STALL: Duration = Duration::from_secs(600);

/// Has a server save its state into `file`, which is left positioned at its start.
///
/// # Errors
/// See [`CallError`].
pub async fn save(
    to: SocketAddr,
    from: Option<IpAddr>,
    request: &SnapshotRequest,
    mut file: File,
) -> Result<(SnapshotResponse, File), CallError> {
    let mut stream = ask(to, from, request).await?;
    finish_sending(&stream)?;
    let mut messages = MessageReader::new(&mut stream);
    let response = answer(&mut messages).await?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = stalling(messages.raw(&mut chunk)).await?;
        if n == 0 {
            break;
        }
        // Small writes into the page cache.
        file.write_all(&chunk[..n]).map_err(CallError::Broken)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(CallError::Broken)?;
    Ok((response, file))
}

/// Has a server replace its state by the archive in `file`.
///
/// # Errors
/// See [`CallError`].
pub async fn restore(
    to: SocketAddr,
    from: Option<IpAddr>,
    request: &SnapshotRequest,
    mut file: File,
) -> Result<SnapshotResponse, CallError> {
    file.seek(SeekFrom::Start(0)).map_err(CallError::Broken)?;
    let mut stream = ask(to, from, request).await?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = file.read(&mut chunk).map_err(CallError::Broken)?;
        if n == 0 {
            break;
        }
        // A server that refuses says why and does not take the rest.
        if stalling(stream.write_all(&chunk[..n])).await.is_err() {
            break;
        }
    }
    // It may have closed the connection already; its answer is there to be read all the same.
    let _ = finish_sending(&stream);
    answer(&mut MessageReader::new(&mut stream)).await
}

/// A file in `dir` that vanishes with its last handle.
///
/// # Errors
/// Those of the file system.
pub fn unnamed_file(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("consul-lite-snapshot-{}", new_uuid()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

async fn ask(
    to: SocketAddr,
    from: Option<IpAddr>,
    request: &SnapshotRequest,
) -> Result<Async<TcpStream>, CallError> {
    let mut bytes = vec![SNAPSHOT];
    msgpack::append(&mut bytes, request)
        .map_err(|e| CallError::Remote(Error::new(format!("failed to encode request: {e}"))))?;
    let mut stream = dial::within(DIAL_TIMEOUT, to, from)
        .await
        .map_err(|e| CallError::Unreachable(e.text().to_owned()))?;
    stalling(stream.write_all(&bytes)).await?;
    Ok(stream)
}

/// No length is sent: the end of what is sent is the end of the request.
fn finish_sending(stream: &Async<TcpStream>) -> Result<(), CallError> {
    stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .map_err(CallError::Broken)
}

async fn answer<R: AsyncReadExt + Unpin>(
    messages: &mut MessageReader<R>,
) -> Result<SnapshotResponse, CallError> {
    let bytes = stalling(messages.values(1, MAX_RESPONSE))
        .await?
        .ok_or_else(|| CallError::Broken(io::ErrorKind::UnexpectedEof.into()))?;
    let response: SnapshotResponse = msgpack::from_slice(bytes)
        .map_err(|e| CallError::Broken(io::Error::new(io::ErrorKind::InvalidData, e)))?;
    if response.error.is_empty() {
        return Ok(response);
    }
    Err(CallError::Remote(Error::new(response.error)))
}

async fn stalling<T>(step: impl Future<Output = io::Result<T>>) -> Result<T, CallError> {
    let limit = async {
        Timer::after(STALL).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    step.or(limit).await.map_err(CallError::Broken)
}
