//! What a server said first, for Go's words about answers that are none.
//!
//! Holds true: no more is remembered than the beginning of the first line.
//! Leaves to others: everything about answers that can be read (`http_client`).
//! Source: the outputs of checks of a running Consul 1.8.7; `docs/reference/http-2.md` section 4.2.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use smol::io::{AsyncRead, AsyncWrite};

use super::dial;
use crate::structs::Error;
use crate::structs::go::quote;

/// So much of what was said is remembered at most, in bytes.
const MAX_HEARD: usize = 256;

/// The addresses of a connection: its own, and the other's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// What was said first; shared by the stream and who wants to know.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<u8>>>);

/// A stream that remembers what it heard first.
pub(super) struct Listening<S> {
    pub stream: S,
    pub heard: Heard,
}

impl Heard {
    fn add(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_HEARD - heard.len();
        heard.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// hyper's errors in Go's words; `ends` are those of the connection, if it has addresses.
    pub fn words(&self, error: &hyper::Error, ends: Option<Ends>) -> Error {
        let partial = error.is_incomplete_message();
        if partial || error.is_parse() {
            let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if partial && heard.is_empty() {
                return Error::new("EOF");
            }
            let line = fault(&String::from_utf8_lossy(&heard)).filter(|_| !heard.is_empty());
            let why = line.unwrap_or_else(|| {
                let otherwise = ["malformed HTTP response", "unexpected EOF"];
                otherwise[usize::from(partial)].to_owned()
            });
            return Error::new(format!(
                "net/http: HTTP/1.x transport connection broken: {why}"
            ));
        }
        let source = std::error::Error::source(error);
        match source.and_then(|e| e.downcast_ref::<io::Error>()) {
            Some(io) => read_error(dial::errno_text(io), ends),
            None => Error::new(error.to_string()),
        }
    }
}

/// hyper's errors in Go's words, where nobody has listened.
pub(super) fn words(error: hyper::Error) -> Error {
    Heard::default().words(&error, None)
}

/// The words for a failed read, of which `text` is the reason.
pub(super) fn read_error(text: String, ends: Option<Ends>) -> Error {
    match ends {
        Some((own, other)) if text == dial::RESET => {
            Error::new(format!("read tcp {own}->{other}: read: {text}"))
        }
        _ => Error::new(text),
    }
}

/// What is wrong with the first line of an answer.
fn fault(heard: &str) -> Option<String> {
    let line = heard.split('\n').next()?.trim_end_matches('\r');
    let bad = |what: &str, text: &str| Some(format!("malformed HTTP {what} {}", quote(text)));
    let Some((version, status)) = line.split_once(' ') else {
        return bad("response", line);
    };
    let code = status.trim_start_matches(' ').split(' ').next()?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if code.len() != 3 || !digits(code) {
        return bad("status code", code);
    }
    let numbers = version
        .strip_prefix("HTTP/")
        .and_then(|v| v.split_once('.'));
    match numbers {
        Some((major, minor)) if digits(major) && digits(minor) => None,
        _ => bad("version", version),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.heard.add(buf.get(..n).unwrap_or_default());
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let says = |heard: &str, why: &str| assert_eq!(fault(heard).as_deref(), Some(why));
        says("+PONG\r\n", "malformed HTTP response \"+PONG\"");
        says("", "malformed HTTP response \"\"");
        says(
            "SSH-2.0-OpenSSH_8.4 Debian\r\n",
            "malformed HTTP status code \"Debian\"",
        );
        says("HTTP/1.1 20", "malformed HTTP status code \"20\"");
        says("HTTP/1.1 2x0 OK\n", "malformed HTTP status code \"2x0\"");
        says("HTTP/x.1 200 OK", "malformed HTTP version \"HTTP/x.1\"");
        says("ICY 200 OK\r\n", "malformed HTTP version \"ICY\"");
        for fine in ["HTTP/1.1 200 OK\r\nX", "HTTP/1.0 503", "HTTP/1.1   204 "] {
            assert_eq!(fault(fine), None, "{fine}");
        }
    }

    #[test]
    fn only_the_beginning_is_kept() {
        let heard = Heard::default();
        for _ in 0..3 {
            heard.add(&[b'x'; 200]);
        }
        assert_eq!(heard.0.lock().unwrap().len(), MAX_HEARD);
    }
}
