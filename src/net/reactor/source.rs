//! Sockets and pipes that do not block.
//!
//! Whether reading or writing may succeed is a flag that events set. It is cleared before the attempt, so that an
//! event during the attempt is not lost, and whoever finds it clear waits.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use rustix::event::epoll::EventFlags;
use smol::io::{AsyncRead, AsyncWrite};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{Reactor, lock};

/// Reading may succeed.
const READ: u8 = 1;
/// Writing may succeed.
const WRITE: u8 = 2;
/// The other end has closed, at least for writing: what is left to read ends without a further event.
const CLOSED: u8 = 4;
/// Wakers kept for one direction; the oldest makes room.
const MAX_WAKERS: usize = 16;

/// What is known of one socket.
#[derive(Debug, Default)]
pub(super) struct Source {
    flags: AtomicU8,
    wakers: Mutex<Wakers>,
}

#[derive(Debug, Default)]
struct Wakers {
    read: Vec<Waker>,
    write: Vec<Waker>,
}

impl Source {
    /// An event came: notes it, and takes out who waits for it.
    pub(super) fn note(&self, event: EventFlags, woken: &mut Vec<Waker>) {
        let any = |flags: EventFlags| event.intersects(flags);
        let broken = EventFlags::HUP | EventFlags::ERR;
        let mut flags = 0;
        if any(EventFlags::IN | EventFlags::RDHUP | broken) {
            flags |= READ;
        }
        if any(EventFlags::OUT | broken) {
            flags |= WRITE;
        }
        if any(EventFlags::RDHUP | broken) {
            flags |= CLOSED;
        }
        self.flags.fetch_or(flags, Ordering::SeqCst);
        let mut wakers = lock(&self.wakers);
        if flags & READ != 0 {
            woken.append(&mut wakers.read);
        }
        if flags & WRITE != 0 {
            woken.append(&mut wakers.write);
        }
    }

    fn set(&self, direction: u8) {
        self.flags.fetch_or(direction, Ordering::SeqCst);
    }

    fn is_closed(&self) -> bool {
        self.flags.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Ready, once, when an attempt may succeed.
    fn poll_ready(&self, direction: u8, cx: &mut Context<'_>) -> Poll<()> {
        let take = || self.flags.fetch_and(!direction, Ordering::SeqCst) & direction != 0;
        if take() {
            return Poll::Ready(());
        }
        {
            let mut wakers = lock(&self.wakers);
            let list = match direction {
                READ => &mut wakers.read,
                _ => &mut wakers.write,
            };
            if !list.iter().any(|waker| waker.will_wake(cx.waker())) {
                if list.len() == MAX_WAKERS {
                    list.remove(0).wake();
                }
                list.push(cx.waker().clone());
            }
        }
        // An event may have come before the waker was there.
        if take() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Attempts until it neither blocks nor is interrupted.
    fn poll_io<R>(
        &self,
        direction: u8,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(self.poll_ready(direction, cx));
            match attempt() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => self.set(direction),
                done => {
                    self.set(direction);
                    return Poll::Ready(done);
                }
            }
        }
    }
}

/// A socket or pipe that does not block. Of pipes and sockets of the kind that streams, short reads are taken for
/// the sign that nothing is left, which saves the call that would say so.
#[derive(Debug)]
pub struct Async<T: AsFd> {
    io: T,
    source: Arc<Source>,
    key: usize,
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        Reactor::get().deregister(&self.io, self.key);
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Async<T> {
    /// Takes something that epoll can wait for, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(io: T) -> io::Result<Self> {
        Self::with_flags(io, READ | WRITE)
    }

    fn with_flags(io: T, flags: u8) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&io, true)?;
        let source = Arc::new(Source::default());
        source.set(flags);
        let key = Reactor::try_get()?.register(&io, source.clone())?;
        Ok(Self { io, source, key })
    }

    /// What it was made of.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Waits until reading may succeed; to be called after it would have blocked.
    pub async fn readable(&self) {
        poll_fn(|cx| self.source.poll_ready(READ, cx)).await;
    }

    /// Waits until writing may succeed; to be called after it would have blocked.
    pub async fn writable(&self) {
        poll_fn(|cx| self.source.poll_ready(WRITE, cx)).await;
    }

    async fn read_with<R>(&self, mut attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.source.poll_io(READ, cx, || attempt(&self.io))).await
    }

    async fn write_with<R>(&self, mut attempt: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|cx| self.source.poll_io(WRITE, cx, || attempt(&self.io))).await
    }

    /// Reads by `attempt`, which is told nothing but may take `room` bytes.
    fn poll_take(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.source.poll_ready(READ, cx));
            match attempt() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => self.source.set(READ),
                done => {
                    let drained = matches!(done, Ok(n) if n > 0 && n < room);
                    if !drained || self.source.is_closed() {
                        self.source.set(READ);
                    }
                    return Poll::Ready(done);
                }
            }
        }
    }

    /// Receives into memory that need not be initialised; the number of bytes that then are, 0 at the end.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(cx, buf.len(), || SockRef::from(&self.io).recv(buf))
    }

    /// Sends; the number of bytes taken.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.source
            .poll_io(WRITE, cx, || SockRef::from(&self.io).send(bytes))
    }

    /// Ready when the peer has ended the connection and nothing of what it sent is left to read. Takes nothing out
    /// of the socket.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.source.poll_ready(READ, cx));
            let mut byte = [MaybeUninit::uninit()];
            match SockRef::from(&self.io).peek(&mut byte) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => self.source.set(READ),
                // More has come: the end is not seen before it has been read.
                Ok(n) if n > 0 => {
                    self.source.set(READ);
                    return Poll::Pending;
                }
                _ => {
                    self.source.set(READ);
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl<T: AsFd> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(cx, buf.len(), || (&self.io).read(buf))
    }
}

impl<T: AsFd> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.source.poll_io(WRITE, cx, || (&self.io).write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.source
            .poll_io(WRITE, cx, || (&self.io).write_vectored(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Connects a socket that does not block yet.
async fn connect<T: AsFd + From<OwnedFd>>(socket: Socket, to: &SockAddr) -> io::Result<Async<T>> {
    socket.set_nonblocking(true)?;
    let at_once = match socket.connect(to) {
        Ok(()) => true,
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => false,
        Err(e) => return Err(e),
    };
    let flags = if at_once { READ | WRITE } else { 0 };
    let stream = Async::with_flags(T::from(OwnedFd::from(socket)), flags)?;
    stream.writable().await;
    stream.source.set(WRITE);
    match SockRef::from(&stream.io).take_error()? {
        Some(e) => Err(e),
        None => Ok(stream),
    }
}

impl Async<TcpStream> {
    /// Connects, from the address `from` if one is given.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn connect(to: SocketAddr, from: Option<std::net::IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        connect(socket, &to.into()).await
    }
}

impl Async<UnixStream> {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        connect(socket, &SockAddr::unix(path)?).await
    }
}

impl Async<TcpListener> {
    /// Waits for a connection.
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(Async<TcpStream>, SocketAddr)> {
        let (stream, from) = self.read_with(TcpListener::accept).await?;
        Ok((Async::new(stream)?, from))
    }
}

impl Async<UnixListener> {
    /// Waits for a connection.
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<Async<UnixStream>> {
        let (stream, _) = self.read_with(UnixListener::accept).await?;
        Async::new(stream)
    }
}

impl Async<UdpSocket> {
    /// Waits for a datagram; one longer than the buffer is cut.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buf)).await
    }

    /// Waits for a datagram of the peer it is connected to.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_with(|socket| socket.recv(buf)).await
    }

    /// Sends a datagram to the peer it is connected to.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(|socket| socket.send(bytes)).await
    }
}
