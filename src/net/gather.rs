//! A byte stream whose small reads and writes are gathered: many come out of one system call, many go into one.
//!
//! What is written is held back until whoever drives the stream says so, or until there is much of it. Holds
//! true: the order of bytes; no more is held back than a bound; what was held back when the stream closes is sent.
//! Leaves to others: when to send (`mux`, after everybody had the chance to add something).

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use smol::io::{AsyncRead, AsyncWrite};

/// Bytes held back at most before they are sent without being told.
const MAX_OUTPUT: usize = 64 * 1024;
/// An output buffer larger than this is given back once it is empty.
const KEEP_OUTPUT: usize = 16 * 1024;
/// Bytes read at once.
const INPUT: usize = 8 * 1024;

struct Inner<T> {
    io: T,
    input: Vec<u8>,
    /// Which bytes of the input have come, and have not been taken.
    here: Range<usize>,
    output: Vec<u8>,
    /// Bytes at the front of the output that have been sent.
    sent: usize,
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            let rest = &self.output[self.sent..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        self.sent = 0;
        self.output.clear();
        if self.output.capacity() > KEEP_OUTPUT {
            self.output = Vec::new();
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

/// The stream; its clones are the same one.
pub(super) struct Gather<T>(Arc<Mutex<Inner<T>>>);

impl<T> Clone for Gather<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Gather<T> {
    /// Gathers for `io`.
    pub fn new(io: T) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            io,
            input: Vec::new(),
            here: 0..0,
            output: Vec::new(),
            sent: 0,
        })))
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        !self.lock().output.is_empty()
    }

    /// A poisoned lock means that a thread panicked; what it guards here is always whole.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncWrite + Unpin> Gather<T> {
    /// Sends what is held back.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gather<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let Inner {
            io, input, here, ..
        } = &mut *inner;
        if here.start == here.end {
            if into.len() >= INPUT {
                return Pin::new(io).poll_read(cx, into);
            }
            input.resize(INPUT, 0);
            *here = 0..ready!(Pin::new(io).poll_read(cx, input))?;
        }
        let n = into.len().min(here.len());
        into[..n].copy_from_slice(&input[here.start..here.start + n]);
        here.start += n;
        Poll::Ready(Ok(n))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gather<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.output.len() >= MAX_OUTPUT {
            ready!(inner.poll_send(cx))?;
        }
        inner.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Sends nothing: that is up to [`Gather::poll_send`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use smol::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Counts what is asked of it.
    #[derive(Default)]
    struct Counted {
        source: Vec<u8>,
        reads: usize,
        written: Vec<Vec<u8>>,
        closed: bool,
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            self.reads += 1;
            let n = into.len().min(self.source.len());
            into[..n].copy_from_slice(&self.source[..n]);
            self.source.drain(..n);
            Poll::Ready(Ok(n))
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.written.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.closed = true;
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn many_small_writes_are_one_and_in_order() {
        crate::net::block_on(async {
            let mut stream = Gather::new(Counted::default());
            for piece in ["a", "bc", "", "def"] {
                stream.write_all(piece.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            assert!(stream.holds() && stream.lock().io.written.is_empty());
            std::future::poll_fn(|cx| stream.poll_send(cx))
                .await
                .unwrap();
            assert!(!stream.holds());
            assert_eq!(stream.lock().io.written, [b"abcdef".to_vec()]);
            stream.write_all(b"end").await.unwrap();
            stream.close().await.unwrap();
            assert_eq!(stream.lock().io.written.concat(), b"abcdefend");
            assert!(stream.lock().io.closed);
        });
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        crate::net::block_on(async {
            let mut stream = Gather::new(Counted::default());
            for _ in 0..1000 {
                stream.write_all(&[7; 1000]).await.unwrap();
                assert!(stream.lock().output.len() < MAX_OUTPUT + 1000);
            }
            assert!(stream.lock().io.written.len() >= 10);
        });
    }

    #[test]
    fn many_small_reads_come_out_of_one() {
        crate::net::block_on(async {
            let source: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
            let io = Counted {
                source: source.clone(),
                ..Counted::default()
            };
            let mut stream = Gather::new(io);
            let mut all = Vec::new();
            for size in (1..50).cycle() {
                let mut piece = vec![0; size];
                let n = stream.read(&mut piece).await.unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&piece[..n]);
            }
            assert_eq!(all, source);
            assert_eq!(stream.lock().io.reads, 4, "three full ones and the end");
        });
    }
}
