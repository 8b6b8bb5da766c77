//! A thread that runs a future, and waits for sockets and timers while that has nothing to do.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use super::{Reactor, Room, lock};

/// Runs the future's code, or is about to look whether it should.
const RUNNING: u8 = 0;
/// To poll the future once more.
const WOKEN: u8 = 1;
/// Sleeps, while another thread waits for events.
const PARKED: u8 = 2;
/// Waits for events.
const WAITING: u8 = 3;

/// One thread inside of [`block_on`].
pub(super) struct Parker {
    state: AtomicU8,
    thread: Thread,
}

impl Parker {
    fn here() -> Parker {
        Parker {
            state: AtomicU8::new(RUNNING),
            thread: std::thread::current(),
        }
    }

    fn take_woken(&self) -> bool {
        self.state.swap(RUNNING, Ordering::AcqRel) == WOKEN
    }

    fn change(&self, from: u8, to: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        self.state
            .compare_exchange(from, to, success, failure)
            .is_ok()
    }

    /// False when woken already.
    pub(super) fn begin_waiting(&self) -> bool {
        self.change(RUNNING, WAITING)
    }

    pub(super) fn end_waiting(&self) {
        self.change(WAITING, RUNNING);
    }

    /// Sleeps until woken.
    pub(super) fn park(&self) {
        if self.change(RUNNING, PARKED) {
            while self.state.load(Ordering::Acquire) == PARKED {
                std::thread::park();
            }
        }
    }

    pub(super) fn wake_up(&self) {
        match self.state.swap(WOKEN, Ordering::AcqRel) {
            PARKED => self.thread.unpark(),
            WAITING => Reactor::get().interrupt(),
            _ => {}
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_up();
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let parker = Arc::new(Parker::here());
    let waker = Waker::from(parker.clone());
    let mut room = Room::default();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        while !parker.take_woken() {
            Reactor::get().wait(&parker, &mut room);
        }
        Reactor::get().pass_on();
    }
}

/// Who is behind a waker that also remembers that it was used.
struct Remembering {
    woken: AtomicBool,
    behind: Mutex<Waker>,
}

impl Wake for Remembering {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        // Not under the lock: whoever is woken takes it at once.
        let behind = lock(&self.behind).clone();
        behind.wake();
    }
}

/// A future that is polled only when it was itself woken, whatever else its task is woken for.
pub async fn when_woken<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let remembering = Arc::new(Remembering {
        woken: AtomicBool::new(true),
        behind: Mutex::new(Waker::noop().clone()),
    });
    let waker = Waker::from(remembering.clone());
    std::future::poll_fn(|cx| {
        lock(&remembering.behind).clone_from(cx.waker());
        if !remembering.woken.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}
