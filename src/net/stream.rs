//! An accepted byte stream: TCP, unix socket, or TLS over TCP.
//!
//! Holds true: reading fills memory that nobody has zeroed before, which is what makes large read
//! buffers cheap for connections that only wait.
//! Source: the documentation of `async-io` and `futures-rustls`.

use super::reactor::Async;
use super::tls::TlsStream;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use smol::io::{AsyncRead, AsyncWrite};

/// Up to so many bytes, to copy them together costs less than to send them from several places.
const FLAT: usize = 1024;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP peer.
    Ip(SocketAddr),
    /// A process of this machine.
    Unix,
}

impl Peer {
    /// The IP address, `None` over a unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            // A dual-stack listener reports IPv4 peers as mapped addresses.
            Peer::Ip(addr) => Some(addr.ip().to_canonical()),
            Peer::Unix => None,
        }
    }
}

/// Go's form of a remote address: `127.0.0.1:4711`, `@` over a unix socket.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(addr) => write!(f, "{addr}"),
            Peer::Unix => f.write_str("@"),
        }
    }
}

/// A connection that was accepted and, with TLS, has shaken hands.
pub enum Stream {
    /// Plain TCP.
    Tcp(Async<TcpStream>),
    /// A unix socket.
    Unix(Async<UnixStream>),
    /// TLS over TCP.
    Tls(Box<TlsStream<Async<TcpStream>>>),
}

impl Stream {
    /// Reads into uninitialised memory; the number of bytes that are initialised afterwards, 0 at the end.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(s) => s.poll_recv(cx, buf),
            Stream::Unix(s) => s.poll_recv(cx, buf),
            Stream::Tls(s) => {
                buf.fill(MaybeUninit::new(0));
                // SAFETY: every element has just been written.
                let filled = unsafe {
                    std::slice::from_raw_parts_mut(buf.as_mut_ptr().cast::<u8>(), buf.len())
                };
                Pin::new(&mut **s).poll_read(cx, filled)
            }
        }
    }

    /// Ready when the peer has ended the connection and nothing of what it sent is left to read. Takes nothing
    /// out of the socket, and needs no buffer for as long as the peer is silent.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Tcp(s) => s.poll_ended(cx),
            Stream::Unix(s) => s.poll_ended(cx),
            Stream::Tls(s) => s.get_ref().0.poll_ended(cx),
        }
    }

    /// Writes; the number of bytes taken.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(s) => s.poll_send(cx, bytes),
            Stream::Unix(s) => s.poll_send(cx, bytes),
            Stream::Tls(s) => Pin::new(&mut **s).poll_write(cx, bytes),
        }
    }

    /// Writes from several slices; the number of bytes taken.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session.
    pub fn poll_send_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut room = [0; FLAT];
        if let Some(flat) = flattened(slices, &mut room) {
            return self.poll_send(cx, flat);
        }
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_write_vectored(cx, slices),
            Stream::Unix(s) => Pin::new(s).poll_write_vectored(cx, slices),
            Stream::Tls(s) => Pin::new(&mut **s).poll_write_vectored(cx, slices),
        }
    }

    /// Hands buffered bytes to the system.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Poll::Ready(Ok(())),
            Stream::Tls(s) => Pin::new(&mut **s).poll_flush(cx),
        }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => Pin::new(s).poll_close(cx),
            Stream::Unix(s) => Pin::new(s).poll_close(cx),
            Stream::Tls(s) => Pin::new(&mut **s).poll_close(cx),
        }
    }

    /// Reads until the buffer is full; false when the peer ended before its first byte.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session, and an end in the middle.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buf.len() {
            let rest = &mut buf[filled..];
            let read = poll_fn(|cx| match self {
                Stream::Tcp(s) => Pin::new(s).poll_read(cx, rest),
                Stream::Unix(s) => Pin::new(s).poll_read(cx, rest),
                Stream::Tls(s) => Pin::new(&mut **s).poll_read(cx, rest),
            });
            match read.await? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        Ok(true)
    }

    /// Writes everything.
    ///
    /// # Errors
    /// Those of the socket or of the TLS session.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = poll_fn(|cx| self.poll_send(cx, rest)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(written..).unwrap_or_default();
        }
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Whether several slices are better than one flat copy: not under TLS, which copies anyway.
    pub fn is_vectored(&self) -> bool {
        !matches!(self, Stream::Tls(_))
    }
}

/// The slices one after the other, if all of them have room.
fn flattened<'a>(slices: &[io::IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        room.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    room.get(..length)
}
