//! The queue from the core's task to a thread that works for it.
//!
//! Holds true: what is put in comes out in order, and the receiver hears of the end after the last of it. Putting in
//! and waking are two steps ([`Bell`]), so that nobody is woken by a thread that holds a lock: on one core the woken
//! thread runs at once, and would only wait for that lock.

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
    /// It is to look up although nothing has come.
    poked: bool,
}

/// The end that puts in; the queue closes when it is dropped.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// The end that takes out.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// Wakes the receiver.
pub(super) struct Bell<T>(Arc<Shared<T>>);

/// What waiting with a limit ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// There is something to take.
    Came,
    /// Nothing came in time, or before it was poked.
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
            poked: false,
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

    /// Wakes the receiver if it sleeps while there is something for it.
    fn ring(&self) {
        let asleep = {
            let mut state = self.lock();
            let due = state.closed || state.poked || !state.items.is_empty();
            due && std::mem::take(&mut state.asleep)
        };
        if asleep {
            self.came.notify_one();
        }
    }
}

impl<T> Sender<T> {
    /// Puts one in. The receiver hears of it when the bell rings.
    pub(super) fn put(&self, item: T) {
        self.0.lock().items.push_back(item);
    }

    /// A bell for the receiver.
    pub(super) fn bell(&self) -> Bell<T> {
        Bell(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.ring();
    }
}

impl<T> Bell<T> {
    /// Wakes the receiver if it sleeps while there is something for it.
    pub(super) fn ring(&self) {
        self.0.ring();
    }
}

impl<T> Receiver<T> {
    /// Waits until there is one, but no longer than `limit`.
    pub(super) fn wait(&self, limit: Option<Duration>) -> Waited {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut state = self.0.lock();
        loop {
            if !state.items.is_empty() {
                return Waited::Came;
            }
            if state.closed {
                return Waited::Closed;
            }
            if std::mem::take(&mut state.poked) {
                return Waited::Quiet;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Waited::Quiet;
            }
            state.asleep = true;
            let came = &self.0.came;
            state = match left {
                Some(left) => {
                    came.wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => came.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.asleep = false;
        }
    }

    /// Ends a wait although nothing has come.
    pub(super) fn poke(&self) {
        self.0.lock().poked = true;
        self.0.ring();
    }

    /// Whether there is nothing to take at the moment.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().items.is_empty()
    }

    /// Takes the next one if there is one already.
    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().items.pop_front()
    }

    /// Takes the next one if there is one already, and it is as wanted.
    pub(super) fn take_if(&self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let mut state = self.0.lock();
        if !wanted(state.items.front()?) {
            return None;
        }
        state.items.pop_front()
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
            while receiver.wait(None) == Waited::Came {
                all.extend(receiver.take());
            }
            all
        });
        let bell = sender.bell();
        for n in 0..10_000 {
            sender.put(n);
            if n % 3 == 0 {
                bell.ring();
            }
        }
        drop(sender);
        assert_eq!(reader.join().unwrap(), (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn waiting_with_a_limit_ends() {
        let (sender, receiver) = queue();
        let short = Some(Duration::from_millis(1));
        assert_eq!(receiver.wait(short), Waited::Quiet);
        receiver.poke();
        assert_eq!(receiver.wait(None), Waited::Quiet);
        for n in 1..=3 {
            sender.put(n);
        }
        assert_eq!(receiver.wait(short), Waited::Came);
        assert_eq!(receiver.take_if(|n| *n > 1), None);
        assert_eq!(receiver.take_if(|n| *n == 1), Some(1));
        let mut rest = VecDeque::new();
        receiver.drain_into(&mut rest);
        assert_eq!((rest, receiver.take()), (VecDeque::from([2, 3]), None));
        drop(sender);
        assert_eq!(receiver.wait(None), Waited::Closed);
    }
}
