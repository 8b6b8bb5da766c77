//! The memory that large answers of servers have together in the agent that asked for them.
//!
//! Holds true: of what comes of large answers no more than [`SHARED`] bytes are held at once, and one answer beside,
//! whatever its size: the one whose turn it is. Who finds no room keeps nothing, waits for the turn, and asks again;
//! whoever has the turn waits for nobody here, so that two never wait for each other. Small answers need no room.
//! What becomes of an answer, its text for example, takes its room over, until the work for which it was asked is done.
//! Leaves to others: asking again (`pool`), and texts on their way to clients (`http`).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smol::future::FutureExt;
use smol::lock::{Mutex, MutexGuard};

use super::reactor::Timer;

/// An answer of no more bytes needs no room.
const SMALL: usize = 64 << 10;
/// Bytes of large answers that are held at once, beside that of whoever has the turn.
const SHARED: usize = 1 << 20;
/// How long the turn is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all answers of the process share.
static ALL: Rooms = Rooms::new();

struct Rooms {
    /// Bytes that are held.
    held: AtomicUsize,
    /// Whoever has it may hold as much as there is. It goes from one to the next in the order of asking.
    turn: Mutex<()>,
}

impl Rooms {
    const fn new() -> Rooms {
        Rooms {
            held: AtomicUsize::new(0),
            turn: Mutex::new(()),
        }
    }
}

thread_local! {
    /// What the work that runs on this thread keeps, if it is such that keeps.
    static KEPT: Cell<Option<Room>> = const { Cell::new(None) };
}

/// The room of one answer, given back when dropped.
pub(super) struct Room {
    of: &'static Rooms,
    bytes: usize,
    turn: Option<MutexGuard<'static, ()>>,
}

impl Default for Room {
    fn default() -> Room {
        Room::none(&ALL)
    }
}

impl Room {
    fn none(of: &'static Rooms) -> Room {
        Room {
            of,
            bytes: 0,
            turn: None,
        }
    }

    /// Makes room for an answer of which so many bytes came; whether there is some.
    pub fn reach(&mut self, bytes: usize) -> bool {
        if bytes <= SMALL {
            return true;
        }
        let more = bytes.saturating_sub(self.bytes);
        let held = self.of.held.fetch_add(more, Ordering::Relaxed) + more;
        self.bytes += more;
        if held > SHARED && self.turn.is_none() {
            self.turn = self.of.turn.try_lock();
            return self.turn.is_some();
        }
        true
    }

    /// Waits for the turn with empty hands; whether it came in time.
    pub async fn wait(&mut self) -> bool {
        *self = Room::none(self.of);
        let turn = async { Some(self.of.turn.lock().await) };
        let late = async {
            Timer::after(PATIENCE).await;
            None
        };
        self.turn = turn.or(late).await;
        self.turn.is_some()
    }

    /// Whether the answer is a large one.
    pub fn is_large(&self) -> bool {
        self.bytes > 0
    }

    /// Leaves the room to the work that is under way, if it keeps such.
    pub fn keep(self) {
        KEPT.with(|kept| {
            if kept.take().is_some() {
                kept.set(Some(self));
            }
        });
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Does work that makes something of the answers it gets: the room of the last of them is given back when this is dropped.
pub fn keeping<F: Future>(mut work: Pin<&mut F>) -> impl Future<Output = F::Output> {
    let mut own = Some(Room::default());
    poll_fn(move |cx| {
        let outer = KEPT.replace(own.take());
        let polled = work.as_mut().poll(cx);
        own = KEPT.replace(outer);
        polled
    })
}

/// Gives back what the work under way has kept: it asks for more, and must not wait for itself.
pub(super) fn let_go() {
    KEPT.with(|kept| {
        if let Some(room) = kept.take() {
            drop(room);
            kept.set(Some(Room::default()));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{block_on, pending, poll_once};
    use std::pin::pin;

    fn rooms() -> &'static Rooms {
        Box::leak(Box::new(Rooms::new()))
    }

    #[test]
    fn one_answer_may_be_large_and_the_others_wait_with_empty_hands() {
        let rooms = rooms();
        let [mut small, mut first, mut second, mut third] = [(); 4].map(|()| Room::none(rooms));
        assert!(small.reach(SMALL) && !small.is_large());
        assert!(first.reach(SHARED / 2) && second.reach(SHARED / 2));
        // One grows beyond what is shared, and beyond all bounds.
        assert!(first.reach(SHARED) && first.reach(64 * SHARED));
        assert!(!second.reach(SHARED / 2 + 1) && !third.reach(SMALL + 1));
        block_on(async {
            {
                let mut next = pin!(second.wait());
                let mut last = pin!(third.wait());
                assert!(poll_once(&mut next).await.is_none());
                assert!(poll_once(&mut last).await.is_none());
                assert_eq!(rooms.held.load(Ordering::Relaxed), 64 * SHARED);
                drop(first);
                assert_eq!(poll_once(&mut next).await, Some(true));
                assert!(poll_once(&mut last).await.is_none());
            }
            assert!(second.reach(2 * SHARED) && !third.reach(SMALL + 1));
        });
        drop((second, third));
        assert_eq!(rooms.held.load(Ordering::Relaxed), 0);
        assert!(rooms.turn.try_lock().is_some());
    }

    #[test]
    fn work_keeps_the_room_of_its_last_answer_until_it_is_dropped() {
        let rooms = rooms();
        let held = || rooms.held.load(Ordering::Relaxed);
        let answered = |bytes| {
            let_go();
            let mut room = Room::none(rooms);
            assert!(room.reach(bytes));
            room.keep();
        };
        block_on(async {
            {
                let mut work = pin!(async {
                    answered(100_000);
                    smol::future::yield_now().await;
                    answered(200_000);
                    pending::<()>().await;
                });
                let mut keeping = pin!(keeping(work.as_mut()));
                assert!(poll_once(&mut keeping).await.is_none());
                assert_eq!(held(), 100_000);
                // Who does not keep gives back at once, whatever others keep.
                answered(300_000);
                assert_eq!(held(), 100_000);
                assert!(poll_once(&mut keeping).await.is_none());
                assert_eq!(held(), 200_000);
            }
            assert_eq!(held(), 0);
        });
    }
}
