//! One HTTP/1.1 request whose body and answer flow piece by piece, over TCP, TLS or a unix socket.
//!
//! Holds true: neither body is ever in memory as a whole. Leaves to others: how long to wait, what the status means.
//! Source: RFC 9112 by way of hyper.

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response};
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

use super::heard::{Heard, Listening, words};
use super::tls_client::ClientConfig;
use super::{dial, tls_client};
use crate::structs::{Error, Result};

/// Bytes of a file that are sent at once.
const CHUNK: usize = 64 * 1024;

/// Where the other end listens.
#[derive(Clone)]
pub enum Target {
    /// `host:port`.
    Tcp(String),
    /// `host:port`, and the name in its certificate.
    Tls(String, Arc<ClientConfig>, String),
    /// A path.
    Unix(String),
}

/// What is sent.
pub enum Upload {
    /// Bytes at hand.
    Bytes(Option<Bytes>),
    /// A file from where it is positioned, and how much is left of it.
    File(File, u64),
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Upload::Bytes(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Upload::File(_, 0) => Poll::Ready(None),
            Upload::File(file, left) => {
                let most = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
                let mut chunk = vec![0; most];
                Poll::Ready(Some(file.read(&mut chunk).and_then(|n| {
                    if n == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    chunk.truncate(n);
                    *left -= n as u64;
                    Ok(Frame::data(Bytes::from(chunk)))
                })))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Upload::Bytes(None) | Upload::File(_, 0))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Upload::Bytes(bytes) => bytes.as_ref().map_or(0, |b| b.len() as u64),
            Upload::File(_, left) => *left,
        })
    }
}

/// An answer whose body is still coming.
pub struct Answer {
    /// Status and headers.
    pub head: hyper::http::response::Parts,
    body: Incoming,
    connection: Connection,
}

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Sends a request; the answer as soon as its head is there.
///
/// # Errors
/// Go's words for what failed before.
pub async fn send(target: &Target, request: Request<Upload>) -> Result<Answer> {
    match target {
        Target::Tcp(address) => converse(dial::tcp(address).await?, request).await,
        Target::Unix(path) => converse(dial::unix(path).await?, request).await,
        Target::Tls(address, config, name) => {
            let tcp = dial::tcp(address).await?;
            let stream = tls_client::connect(config.clone(), name, tcp)
                .await
                .map_err(|e| match e.text() {
                    tls_client::NOT_TLS => {
                        Error::new("http: server gave HTTP response to HTTPS client")
                    }
                    _ => e,
                })?;
            converse(stream, request).await
        }
    }
}

async fn converse<S>(stream: S, request: Request<Upload>) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The same types as those of `http_client`, so that hyper is compiled for them once.
    let stream = Listening {
        stream,
        heard: Heard::default(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake(FuturesIo::new(stream))
        .await
        .map_err(words)?;
    let mut connection: Connection = Box::pin(async move {
        // What ends the connection also ends the body, which has the better words for it.
        let _ = connection.await;
        std::future::pending().await
    });
    let ask = async { sender.send_request(request).await.map_err(words) };
    let drive = async {
        (&mut connection).await;
        Err(Error::new("EOF"))
    };
    let response: Response<Incoming> = ask.or(drive).await?;
    let (head, body) = response.into_parts();
    Ok(Answer {
        head,
        body,
        connection,
    })
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let body = &mut self.body;
            let next = async { body.frame().await.transpose().map_err(words) };
            let drive = async {
                (&mut self.connection).await;
                Ok(None)
            };
            match next.or(drive).await? {
                Some(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// The whole body, up to a limit.
    ///
    /// # Errors
    /// When the connection breaks, or the body is larger.
    pub async fn whole(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if out.len() + chunk.len() > limit {
                return Err(Error::new(format!("answer larger than {limit} bytes")));
            }
            out.extend_from_slice(&chunk);
        }
        Ok(out)
    }
}
