//! One connection's bytes between the socket and hyper, with patience that ends.
//!
//! Holds true: waiting for a request to begin may last for ever, as with Go's server; a request that has
//! begun must go on, and an answer must be taken. A connection that only waits costs no timer, but for those of
//! the web page: a browser opens six to load it, and would keep them for minutes.
//! Source: hyper's `rt` documentation; RFC 9112 section 9.5 (timeouts are the server's choice).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};

use super::budget::BUDGET;
use super::head::{FirstLine, refusal};
use crate::net::{Stream, Timer};

/// How long a client may make the server wait in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A request's head must be complete this long after its first byte.
    pub head: Duration,
    /// Longest silence inside a request's body.
    pub body: Duration,
    /// Longest time in which a client takes nothing of its answer.
    pub write: Duration,
    /// The same while others wait for the room that large answers share.
    pub crowded: Duration,
    /// How long a connection of the web page is kept for its next request.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(20),
            body: Duration::from_secs(60),
            write: Duration::from_secs(120),
            crowded: Duration::from_secs(20),
            idle: Duration::from_secs(3),
        }
    }
}

/// What the connection waits for when it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// A request's head.
    Head = 0,
    /// Nothing but the client's going away: a handler is at work.
    Handling = 1,
    /// More of a body.
    Body = 2,
}

/// The phase as connection and handler share it.
#[derive(Clone, Default)]
pub struct SharedPhase(Arc<AtomicU8>);

/// Set beside the phase when a request has been handed out, until the connection has noticed.
const HANDED_OUT: u8 = 4;
/// Set beside the phase while the client has not taken all that was written.
const UNSENT: u8 = 8;
/// Set beside the phase when the last request was the web page's.
const BRIEF: u8 = 16;
/// Set beside the phase while there is more of a request's body: what comes is no head, whatever the handler is doing.
const BODY_COMING: u8 = 32;
const FLAGS: u8 = HANDED_OUT | UNSENT | BRIEF | BODY_COMING;

// Connection and handler are polled by the same task: loads and stores never race.
impl SharedPhase {
    /// Enters a phase.
    pub fn set(&self, phase: Phase) {
        let kept = match phase {
            Phase::Head => FLAGS & !BODY_COMING,
            Phase::Handling | Phase::Body => FLAGS,
        };
        let flags = self.0.load(Ordering::Relaxed) & kept;
        self.0.store(phase as u8 | flags, Ordering::Relaxed);
    }

    /// A handler starts; `body` says whether the request has one.
    pub fn hand_out(&self, body: bool) {
        let unsent = self.0.load(Ordering::Relaxed) & UNSENT;
        let phase = Phase::Handling as u8 | HANDED_OUT;
        let coming = if body { BODY_COMING } else { 0 };
        self.0.store(phase | coming | unsent, Ordering::Relaxed);
    }

    /// All of the request's body was taken.
    pub fn body_ended(&self) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value & !BODY_COMING, Ordering::Relaxed);
    }

    fn is_body_coming(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BODY_COMING != 0
    }

    /// The request that is handled is the web page's: what follows it comes soon or over another connection.
    pub fn set_brief(&self) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value | BRIEF, Ordering::Relaxed);
    }

    fn is_brief(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BRIEF != 0
    }

    /// Whether the client has taken all that was written.
    pub fn is_all_sent(&self) -> bool {
        self.0.load(Ordering::Relaxed) & UNSENT == 0
    }

    fn set_unsent(&self, unsent: bool) {
        let value = self.0.load(Ordering::Relaxed);
        let flag = if unsent { UNSENT } else { 0 };
        self.0.store(value & !UNSENT | flag, Ordering::Relaxed);
    }

    fn get(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) & !FLAGS {
            0 => Phase::Head,
            1 => Phase::Handling,
            _ => Phase::Body,
        }
    }

    fn was_handed_out(&self) -> bool {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value & !HANDED_OUT, Ordering::Relaxed);
        value & HANDED_OUT != 0
    }
}

/// The socket as hyper wants it.
pub struct Conn {
    stream: Stream,
    phase: SharedPhase,
    patience: Patience,
    /// Bytes came that belong to a request not yet handed out.
    begun: bool,
    /// How far its first line has come.
    line: FirstLine,
    /// What hyper reads before anything from the socket: of a rewritten beginning what did not fit into its
    /// buffer, and what it is told when it takes up a connection that it was taken from.
    left: Vec<u8>,
    /// An answer that takes the place of hyper's, and how much of it is sent.
    refusal: Option<(Vec<u8>, usize)>,
    reading: Option<Pin<Box<Timer>>>,
    writing: Option<Unsent>,
}

/// A client takes nothing of its answer.
struct Unsent {
    timer: Pin<Box<Timer>>,
    /// How long it has not, at the timer's end.
    silence: Duration,
}

impl Conn {
    /// Wraps a stream.
    pub fn new(stream: Stream, phase: SharedPhase, patience: Patience) -> Conn {
        Conn {
            stream,
            phase,
            patience,
            begun: false,
            line: FirstLine::Method,
            left: Vec::new(),
            refusal: None,
            reading: None,
            writing: None,
        }
    }

    /// Takes the stream from hyper: what hyper had read already is kept.
    pub fn park(&mut self, unread: &[u8]) {
        self.reading = None;
        self.left.splice(..0, unread.iter().copied());
    }

    /// What hyper reads first when it gets the stream back.
    pub fn resume(&mut self, head: &[u8]) {
        self.left.splice(..0, head.iter().copied());
    }

    /// While hyper does not have the stream: ready when nobody waits for an answer any more.
    pub fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What TLS still holds has to go out, whoever polls.
        if let Poll::Ready(Err(_)) = self.stream.poll_flush(cx) {
            return Poll::Ready(());
        }
        self.stream.poll_ended(cx)
    }

    /// Called when the socket has nothing: whether waiting has lasted too long.
    fn wait_to_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let limit = match self.phase.get() {
            Phase::Head if self.begun => self.patience.head,
            Phase::Body => self.patience.body,
            Phase::Head if self.phase.is_brief() => {
                ready!(over(&mut self.reading, self.patience.idle, cx));
                // Nothing was read: as if the client had ended it.
                return Poll::Ready(Ok(()));
            }
            Phase::Head | Phase::Handling => {
                self.reading = None;
                return Poll::Pending;
            }
        };
        wait(&mut self.reading, limit, cx)
    }
}

fn wait(
    timer: &mut Option<Pin<Box<Timer>>>,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    ready!(over(timer, limit, cx));
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

fn over(timer: &mut Option<Pin<Box<Timer>>>, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(Timer::after(limit)));
    timer.as_mut().poll(cx).map(drop)
}

impl Read for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.phase.was_handed_out() {
            this.begun = false;
            this.reading = None;
        }
        if !this.left.is_empty() {
            let taken = this.left.len().min(buf.remaining());
            buf.put_slice(&this.left[..taken]);
            this.left.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        // SAFETY: only initialised bytes are written to the buffer, none is made uninitialised.
        let room = unsafe { buf.as_mut() };
        match this.stream.poll_recv(cx, room) {
            Poll::Ready(Ok(n)) => {
                let mut rewritten = None;
                match this.phase.get() {
                    Phase::Body => this.reading = None,
                    // hyper reads ahead of a handler that is busy with an earlier piece.
                    Phase::Handling if this.phase.is_body_coming() => {}
                    // A head's time counts from its first byte, so its timer stays.
                    Phase::Head | Phase::Handling => {
                        if !this.begun {
                            this.line = FirstLine::Method;
                            this.reading = None;
                        }
                        // SAFETY: `poll_recv` has initialised `n` bytes, and they are only read.
                        let piece = unsafe { std::slice::from_raw_parts(room.as_ptr().cast(), n) };
                        rewritten = this.line.escaped(piece);
                        this.begun = n > 0;
                    }
                }
                match rewritten {
                    Some(mut bytes) => {
                        this.left = bytes.split_off(bytes.len().min(buf.remaining()));
                        buf.put_slice(&bytes);
                    }
                    // SAFETY: `poll_recv` has initialised `n` bytes.
                    None => unsafe { buf.advance(n) },
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => this.wait_to_read(cx),
        }
    }
}

impl Write for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refuses(bytes) {
            return this.send_refusal(bytes.len(), cx);
        }
        let sent = this.stream.poll_send(cx, bytes);
        this.sent(sent, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(first) = slices.first()
            && this.refuses(first)
        {
            let all = slices.iter().map(|s| s.len()).sum();
            return this.send_refusal(all, cx);
        }
        let sent = this.stream.poll_send_vectored(cx, slices);
        this.sent(sent, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_vectored()
    }

    /// hyper flushes whenever it has been woken: also the moment to see that nobody waits for the answer any
    /// more. hyper itself would look for that with a read, and hold a buffer for as long as a query blocks.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.phase.get() == Phase::Handling && this.stream.poll_ended(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        this.stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_close(cx)
    }
}

impl Conn {
    /// Whether hyper answers for itself, because what came is no request that could be handed out.
    fn refuses(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_none() && self.begun && self.phase.get() == Phase::Head {
            self.refusal = refusal(bytes).map(|text| (text, 0));
        }
        self.refusal.is_some()
    }

    /// Sends the other answer; `replaced` is the length of hyper's, which counts as sent at the end.
    fn send_refusal(&mut self, replaced: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((text, done)) = &mut self.refusal
            && let Some(rest) = text.get(*done..).filter(|rest| !rest.is_empty())
        {
            match self.stream.poll_send(cx, rest) {
                Poll::Ready(Ok(sent)) => *done += sent,
                other => return self.sent(other, cx),
            }
        }
        self.refusal = None;
        self.sent(Poll::Ready(Ok(replaced)), cx)
    }

    /// Called when the socket takes nothing: whether waiting has lasted too long, looked at in steps.
    fn wait_to_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Patience { write, crowded, .. } = self.patience;
        let step = crowded.min(write);
        loop {
            let unsent = self.writing.get_or_insert_with(|| Unsent {
                timer: Box::pin(Timer::after(step)),
                silence: step,
            });
            ready!(unsent.timer.as_mut().poll(cx));
            if unsent.silence >= write || BUDGET.is_wanted() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            unsent.silence += step;
            unsent.timer = Box::pin(Timer::after(step));
        }
    }

    /// Bounds the wait for a client that takes nothing.
    fn sent(
        &mut self,
        sent: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.phase.set_unsent(sent.is_pending());
        if sent.is_pending() {
            return self.wait_to_write(cx);
        }
        self.writing = None;
        sent
    }
}
