//! The queue from the core's task to a thread that works for it.
//!
//! Holds true: what is put in comes out in order, and the receiver hears of the end after the last of it. The
//! sender wakes after it has let go of the lock: on one core the woken thread runs at once, and would only wait
//! for the lock else.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

struct Shared<T> {
    state: Mutex<State<T>>,
    came: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    /// No more will come.
    closed: bool,
    /// The receiver sleeps.
    asleep: bool,
}

/// The end that puts in; the queue closes when it is dropped.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// The end that takes out.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// What waiting with a limit ended with.
pub(super) enum Next<T> {
    Item(T),
    /// Nothing came in time.
    Quiet,
    /// The sender is gone, and everything has been taken out.
    Closed,
}

/// A queue without a bound of its own: the core bounds what it has under way.
pub(super) fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            items: VecDeque::new(),
            closed: false,
            asleep: false,
        }),
        came: Condvar::new(),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Shared<T> {
    /// A poisoned lock means that a thread panicked; what it guards here is always whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes the receiver if it sleeps.
    fn wake(&self, change: impl FnOnce(&mut State<T>)) {
        let asleep = {
            let mut state = self.lock();
            change(&mut state);
            std::mem::take(&mut state.asleep)
        };
        if asleep {
            self.came.notify_one();
        }
    }
}

impl<T> Sender<T> {
    /// Puts one in.
    pub(super) fn send(&self, item: T) {
        self.0.wake(|state| state.items.push_back(item));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.wake(|state| state.closed = true);
    }
}

impl<T> Receiver<T> {
    /// Waits for the next one; `None` when no more will come.
    pub(super) fn next(&self) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state.asleep = true;
            state = self
                .0
                .came
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next one, but no longer than `limit`.
    pub(super) fn next_within(&self, limit: Duration) -> Next<T> {
        let end = Instant::now() + limit;
        let mut state = self.0.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Next::Item(item);
            }
            if state.closed {
                return Next::Closed;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.asleep = false;
                return Next::Quiet;
            }
            state.asleep = true;
            let waited = self.0.came.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next one if there is one already.
    pub(super) fn try_next(&self) -> Option<T> {
        self.0.lock().items.pop_front()
    }

    /// Moves everything that is there to the end of `to`.
    pub(super) fn drain_into(&self, to: &mut VecDeque<T>) {
        to.append(&mut self.0.lock().items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_out_in_order_before_the_end() {
        let (sender, receiver) = queue();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            while let Some(item) = receiver.next() {
                all.push(item);
            }
            all
        });
        for n in 0..10_000 {
            sender.send(n);
        }
        drop(sender);
        assert_eq!(reader.join().unwrap(), (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn waiting_with_a_limit_ends() {
        let (sender, receiver) = queue();
        assert!(matches!(
            receiver.next_within(Duration::from_millis(1)),
            Next::Quiet
        ));
        sender.send(1);
        sender.send(2);
        assert!(matches!(
            receiver.next_within(Duration::ZERO),
            Next::Item(1)
        ));
        let mut rest = VecDeque::new();
        receiver.drain_into(&mut rest);
        assert_eq!((rest, receiver.try_next()), (VecDeque::from([2]), None));
        drop(sender);
        assert!(matches!(
            receiver.next_within(Duration::from_secs(60)),
            Next::Closed
        ));
    }
}
