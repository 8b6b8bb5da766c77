//! Calls: one after the other on a stream, side by side on a connection's streams.
//!
//! A caller that goes away while its query is blocked is noticed, so that nobody's queries hold memory.
//! Source: `docs/reference/rpc.md` section 4.

use std::io;
use std::sync::Arc;

use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::answers::{Answer, carry, invalid, send, written};
use crate::drive::{Handle, TaskSet};
use crate::net::message::MessageReader;
use crate::net::mux::{self, Carrier};
use crate::net::pool::MAX_MESSAGE;
use crate::server::Server;
use crate::structs::Error;
use crate::structs::rpc::Request;
use crate::telemetry::metrics;
use crate::wire::rpc::{self, CallError, RequestHeader};

/// Answers the calls on the streams of a connection until it ends.
///
/// # Errors
/// When the other end does not keep to the protocol.
pub(super) async fn serve_multiplexed(
    server: &Arc<Server>,
    runtime: Handle,
    connection: impl Carrier,
) -> io::Result<()> {
    let streams = TaskSet::new(runtime);
    mux::serve(connection, |mut stream| {
        let server = server.clone();
        streams.spawn(async move {
            match serve(&server, &mut stream).await {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    log::error!(target: "agent.server.rpc", error:%; "RPC error");
                }
                Err(error) => {
                    log::debug!(target: "agent.server.rpc", error:%; "RPC stream ended");
                }
                Ok(()) => {}
            }
            // The other end has its answer either way.
            let _ = stream.close().await;
        });
    })
    .await
    .map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))
}

/// Answers the calls on one stream until it ends.
///
/// # Errors
/// Those of the stream, and when what comes is no call.
pub(super) async fn serve(
    server: &Arc<Server>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut messages = MessageReader::new(stream);
    loop {
        let Some(mut bytes) = messages.values(2, MAX_MESSAGE).await? else {
            return Ok(());
        };
        metrics::RPC_REQUEST.incr();
        let header = rpc::read_request_header(&mut bytes).map_err(invalid)?;
        let (answer, last) = match rpc::read_request(&header, &mut bytes) {
            Ok(request) => match answer(server, &header, request, &mut messages).await? {
                Some(answer) => (answer, false),
                None => return Ok(()),
            },
            Err(CallError::Malformed(why)) => return Err(invalid(why)),
            Err(unknown) => {
                log::error!(target: "agent.server.rpc", error:% = unknown; "RPC error");
                let refusal = Err(Error::new(unknown.to_string()));
                (Answer::Small(written(&header, &refusal)?), true)
            }
        };
        send(&header, answer, messages.get_mut()).await?;
        if last {
            return Ok(());
        }
    }
}

/// What is to be answered to a call; `None` when the caller went away before there was one.
async fn answer(
    server: &Arc<Server>,
    header: &RequestHeader,
    request: Request,
    messages: &mut MessageReader<impl AsyncRead + Unpin>,
) -> io::Result<Option<Answer>> {
    let blocking = request
        .routed()
        .options()
        .is_some_and(|options| options.min_query_index > 0);
    let call = async { carry(server, header, request).await.map(Some) };
    if !blocking {
        return call.await;
    }
    let gone = async {
        messages.ended().await?;
        Ok(None)
    };
    call.or(gone).await
}
