//! Timers: who is to be woken when.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Reactor, lock, until};

#[derive(Default)]
pub(super) struct Timers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By time, then in the order they were made.
    queue: BTreeMap<(Instant, u64), Waker>,
    made: u64,
    wait: Wait,
}

/// What the thread that waits does.
#[derive(Default)]
enum Wait {
    /// It does not.
    #[default]
    None,
    Until(Instant),
    Forever,
}

impl Timers {
    /// Notes that a wait begins; how long it may last.
    pub(super) fn begin_wait(&self) -> Option<Duration> {
        let mut inner = lock(&self.0);
        let first = inner.queue.first_key_value().map(|((at, _), _)| *at);
        inner.wait = first.map_or(Wait::Forever, Wait::Until);
        drop(inner);
        first.map(until)
    }

    /// Notes that the wait is over, and takes out who is to be woken.
    pub(super) fn end_wait(&self, woken: &mut Vec<Waker>) {
        let mut inner = lock(&self.0);
        inner.wait = Wait::None;
        if inner.queue.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(first) = inner.queue.first_entry()
            && first.key().0 <= now
        {
            woken.push(first.remove());
        }
    }

    /// Adds one, or gives it another waker; its number.
    fn set(&self, at: Instant, number: Option<u64>, waker: &Waker) -> u64 {
        let mut inner = lock(&self.0);
        let number = number.unwrap_or_else(|| {
            inner.made += 1;
            inner.made
        });
        inner.queue.insert((at, number), waker.clone());
        let early = match inner.wait {
            Wait::None => false,
            Wait::Until(end) => at < end,
            Wait::Forever => true,
        };
        drop(inner);
        if early {
            Reactor::get().interrupt();
        }
        number
    }

    fn remove(&self, at: Instant, number: u64) {
        lock(&self.0).queue.remove(&(at, number));
    }
}

/// A moment to wait for.
pub struct Timer {
    /// `None` for never.
    at: Option<Instant>,
    /// Its number, and who is to be woken, while somebody waits for it.
    waits: Option<(u64, Waker)>,
}

impl Timer {
    /// A moment from now; one beyond what the clock can count never comes.
    pub fn after(duration: Duration) -> Timer {
        Timer {
            at: Instant::now().checked_add(duration),
            waits: None,
        }
    }

    /// A moment.
    pub fn at(at: Instant) -> Timer {
        Timer {
            at: Some(at),
            waits: None,
        }
    }

    fn cancel(&mut self) {
        if let (Some(at), Some((number, _))) = (self.at, self.waits.take()) {
            Reactor::get().timers.remove(at, number);
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if at <= Instant::now() {
            self.cancel();
            return Poll::Ready(());
        }
        let number = match &self.waits {
            Some((_, waker)) if waker.will_wake(cx.waker()) => return Poll::Pending,
            waits => waits.as_ref().map(|(number, _)| *number),
        };
        let number = Reactor::get().timers.set(at, number, cx.waker());
        self.waits = Some((number, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}
