//! Readiness of sockets and the passing of time, for the tasks of this process.
//!
//! One epoll, edge-triggered: a socket is registered once, when it is made, and no call to the system is spent on
//! waiting for it again. Whichever thread has nothing else to do waits for all of them ([`block_on`]); when it is
//! called away, another idle thread takes its place.
//! Holds true: an event that came before somebody began to wait for it is not lost; a wait that nobody interrupts
//! costs nothing, and ends at the first timer.
//! Leaves to others: running tasks (`drive::runtime`).
//! Source: epoll(7), "Level-triggered and edge-triggered"; eventfd(2).

mod park;
mod source;
#[cfg(test)]
mod tests;
mod timer;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll, eventfd};
use slab::Slab;

use park::Parker;
pub use park::{block_on, when_woken};
pub use source::Async;
use source::Source;
pub use timer::Timer;
use timer::Timers;

/// Events taken from the system at once.
const BATCH: usize = 256;
/// What the event of [`Reactor::interrupt`] is registered under.
const INTERRUPT: u64 = u64::MAX;

struct Reactor {
    epoll: OwnedFd,
    /// Written to end a wait.
    interrupt: OwnedFd,
    /// Held by the thread that waits.
    lead: Mutex<()>,
    /// Everything registered; an event carries the place in here.
    sources: Mutex<Slab<Arc<Source>>>,
    timers: Timers,
    /// Threads that sleep because another one waits.
    parked: Mutex<Vec<Arc<Parker>>>,
}

/// Where a thread that waits puts what it gets.
#[derive(Default)]
struct Room {
    events: Vec<epoll::Event>,
    woken: Vec<Waker>,
}

/// What a poisoned lock guards here is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reactor {
    fn new() -> io::Result<Reactor> {
        let reactor = Reactor {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            interrupt: eventfd(
                0,
                rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
            )?,
            lead: Mutex::default(),
            sources: Mutex::default(),
            timers: Timers::default(),
            parked: Mutex::default(),
        };
        let when = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(
            &reactor.epoll,
            &reactor.interrupt,
            epoll::EventData::new_u64(INTERRUPT),
            when,
        )?;
        Ok(reactor)
    }

    /// The one of this process.
    ///
    /// # Errors
    /// When the system has no descriptor left for it.
    fn try_get() -> io::Result<&'static Reactor> {
        static REACTOR: OnceLock<Reactor> = OnceLock::new();
        if let Some(reactor) = REACTOR.get() {
            return Ok(reactor);
        }
        // Of two threads that come first at once, one makes a reactor that is dropped again.
        let reactor = Reactor::new()?;
        Ok(REACTOR.get_or_init(|| reactor))
    }

    /// The one of this process.
    ///
    /// # Panics
    /// When the system has no descriptor left at the very first call: nothing can run without it.
    fn get() -> &'static Reactor {
        match Reactor::try_get() {
            Ok(reactor) => reactor,
            Err(e) => panic!("cannot wait for sockets: {e}"),
        }
    }

    fn register(&self, io: impl AsFd, source: Arc<Source>) -> io::Result<usize> {
        use epoll::EventFlags as F;
        let key = lock(&self.sources).insert(source);
        let when = F::IN | F::OUT | F::RDHUP | F::ET;
        let data = epoll::EventData::new_u64(key as u64);
        if let Err(e) = epoll::add(&self.epoll, io, data, when) {
            lock(&self.sources).remove(key);
            return Err(e.into());
        }
        Ok(key)
    }

    fn deregister(&self, io: impl AsFd, key: usize) {
        // It is open, and was registered: nothing else can be wrong with it.
        let _ = epoll::delete(&self.epoll, io);
        lock(&self.sources).remove(key);
    }

    /// Ends the wait that is going on. The counter is never read: a write is an edge whatever it holds.
    fn interrupt(&self) {
        // It fails only when the counter is full, after 2^64 calls.
        let _ = rustix::io::write(&self.interrupt, &1u64.to_ne_bytes());
    }

    /// Waits for events and timers, or sleeps while another thread does; returns when the thread is woken, but
    /// also for no reason.
    fn wait(&self, parker: &Arc<Parker>, room: &mut Room) {
        let Some(lead) = self.try_lead() else {
            return self.sleep(parker);
        };
        self.wait_for_events(parker, room);
        drop(lead);
        for waker in room.woken.drain(..) {
            waker.wake();
        }
    }

    fn try_lead(&self) -> Option<MutexGuard<'_, ()>> {
        match self.lead.try_lock() {
            Ok(lead) => Some(lead),
            Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Collects who is to be woken.
    fn wait_for_events(&self, parker: &Parker, room: &mut Room) {
        if !parker.begin_waiting() {
            return;
        }
        let limit = self.timers.begin_wait().map(timespec);
        let Room { events, woken } = room;
        events.clear();
        events.reserve(BATCH);
        // A signal may have ended it: then nothing has come.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), limit.as_ref());
        parker.end_waiting();
        self.timers.end_wait(woken);
        let sources = lock(&self.sources);
        for event in events {
            let (flags, data) = (event.flags, event.data);
            // One that was just deregistered may still be told of.
            if let Ok(key) = usize::try_from(data.u64())
                && let Some(source) = sources.get(key)
            {
                source.note(flags, woken);
            }
        }
    }

    /// Sleeps until woken, or until the thread that waits is called away.
    fn sleep(&self, parker: &Arc<Parker>) {
        lock(&self.parked).push(parker.clone());
        // The other one may have gone since: then nobody would wake this one.
        if self.try_lead().is_none() {
            parker.park();
        }
        lock(&self.parked).retain(|other| !Arc::ptr_eq(other, parker));
    }

    /// A thread that was called away says so, whether it has waited or only slept: if now nobody waits, a sleeping
    /// thread takes the place.
    fn pass_on(&self) {
        let mut parked = lock(&self.parked);
        // Whoever lies down after this has looked for a free place himself.
        if !parked.is_empty() && self.try_lead().is_some() {
            let next = parked.pop();
            drop(parked);
            if let Some(parker) = next {
                parker.wake_up();
            }
        }
    }
}

fn timespec(limit: Duration) -> Timespec {
    Timespec {
        // The system takes milliseconds in 31 bits; a wait may end early.
        tv_sec: limit.as_secs().min(1 << 20) as _,
        // On some processors it has 32 bits, enough for a billion.
        tv_nsec: limit.subsec_nanos() as _,
    }
}

/// How long until a moment.
fn until(at: Instant) -> Duration {
    at.saturating_duration_since(Instant::now())
}
