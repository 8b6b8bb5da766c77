//! The memory that large bodies and large answers of all connections have together.
//!
//! Holds true: what is held of them is never more than [`TOTAL`]; who finds no room waits for it, in the order of coming,
//! and holds nothing meanwhile, so that two never wait for each other. While somebody waits, a body has to come at
//! [`PACE`], and an answer to be taken (`conn`). What is small needs no room: a connection's own buffers are of that size.
//! Leaves to others: listings of keys, which are read while they are sent (`listing`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;
use hyper::body::Bytes;

use crate::drive;

/// Bytes of bodies and answers that are held at once. One that is larger is held alone.
const TOTAL: usize = 4 << 20;
/// What is not larger needs no room.
pub(super) const SMALL: usize = 16 << 10;
/// Bytes of a body that have to come in a second when others wait, after [`START`].
const PACE: usize = 64 << 10;
const START: Duration = Duration::from_secs(2);

/// What all connections of the process share.
pub(super) static BUDGET: Budget = Budget::new();

/// Room for bodies and answers.
pub(super) struct Budget {
    free: Mutex<usize>,
    /// Whoever has it is the next to get room.
    turn: smol::lock::Mutex<()>,
    waiting: AtomicUsize,
    returned: Event,
}

impl Budget {
    const fn new() -> Budget {
        Budget {
            free: Mutex::new(TOTAL),
            turn: smol::lock::Mutex::new(()),
            waiting: AtomicUsize::new(0),
            returned: Event::new(),
        }
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        // A number stays a number even if a holder panicked.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for so many bytes, if there is some and nobody waits for it.
    pub fn try_take(&'static self, bytes: usize) -> Option<Share> {
        if self.is_wanted() {
            return None;
        }
        self.grab(bytes)
    }

    fn grab(&'static self, bytes: usize) -> Option<Share> {
        let bytes = bytes.min(TOTAL);
        let mut free = self.free();
        *free = free.checked_sub(bytes)?;
        Some(Share {
            budget: self,
            bytes,
        })
    }

    /// Room for so many bytes, as soon as there is some. Whoever asks must hold none.
    pub async fn take(&'static self, bytes: usize) -> Share {
        if let Some(share) = self.try_take(bytes) {
            return share;
        }
        let _waiting = Waiting::new(&self.waiting);
        let _turn = self.turn.lock().await;
        loop {
            let returned = self.returned.listen();
            if let Some(share) = self.grab(bytes) {
                return share;
            }
            returned.await;
        }
    }

    /// Whether somebody waits for room.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Ends when somebody waits and a body of so many bytes that began to come at `start` should be there.
    pub async fn turn_over(&self, start: Instant, bytes: usize) {
        let end = start + START + Duration::from_secs((bytes / PACE) as u64);
        loop {
            let left = end.saturating_duration_since(drive::now());
            if left.is_zero() && self.is_wanted() {
                return;
            }
            drive::sleep(left.max(Duration::from_secs(1))).await;
        }
    }
}

/// One that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room that is taken until this is dropped.
pub(super) struct Share {
    budget: &'static Budget,
    bytes: usize,
}

impl Share {
    /// How many bytes it is for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.give_back(rest);
    }

    fn give_back(&self, bytes: usize) {
        *self.budget.free() += bytes;
        self.budget.returned.notify(1);
    }

    /// Bytes that keep the room until the last of them is gone.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            _share: self,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{block_on, poll_once};

    fn budget() -> &'static Budget {
        Box::leak(Box::new(Budget::new()))
    }

    #[test]
    fn who_finds_no_room_waits_its_turn() {
        let budget = budget();
        let mut first = budget.try_take(TOTAL - 10).expect("room");
        assert!(budget.try_take(11).is_none());
        let second = budget.try_take(10).expect("room");
        let mut large = Box::pin(budget.take(2 * TOTAL));
        let mut small = Box::pin(budget.take(20));
        block_on(async {
            assert!(poll_once(&mut large).await.is_none());
            assert!(poll_once(&mut small).await.is_none());
            first.shrink(10);
            assert_eq!(*budget.free(), TOTAL - 20);
            // Who came later waits although it would find room.
            assert!(poll_once(&mut small).await.is_none());
            assert!(budget.try_take(1).is_none());
            drop((first, second));
            let all = poll_once(&mut large).await.expect("all the room");
            assert!(poll_once(&mut small).await.is_none());
            let bytes = all.hold(Bytes::from_static(b"abc"));
            let half = bytes.slice(1..);
            drop(bytes);
            assert!(poll_once(&mut small).await.is_none());
            assert_eq!(half, b"bc"[..]);
            drop(half);
            assert!(poll_once(&mut small).await.is_some());
        });
        assert_eq!(*budget.free(), TOTAL);
        assert!(budget.try_take(TOTAL).is_some());
    }

    #[test]
    fn who_gives_up_waiting_is_not_waited_for() {
        let budget = budget();
        let all = budget.try_take(TOTAL).expect("room");
        let mut gone = Box::pin(budget.take(1));
        let mut next = Box::pin(budget.take(1));
        block_on(async {
            assert!(poll_once(&mut gone).await.is_none());
            assert!(poll_once(&mut next).await.is_none());
            drop(all);
            drop(gone);
            assert!(poll_once(&mut next).await.is_some());
        });
        assert!(budget.try_take(1).is_some());
    }
}
