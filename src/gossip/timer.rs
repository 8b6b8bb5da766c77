//! What is to happen later.
//!
//! Holds true: what is due first comes first, and among equals what was set first. Timers that have
//! become pointless are found out by what they point at, and taken back only where messages could set many.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The next member is probed.
    Probe,
    /// The probe with this number got no direct answer in time.
    ProbeTimeout(u32),
    /// The probe with this number is over.
    ProbeEnd(u32),
    /// A relayed probe of this number got no answer in time.
    Relayed(u32),
    /// News go out.
    Gossip,
    /// Everything is exchanged with one member.
    PushPull,
    /// A suspect's time is over, if its suspicion is of this generation.
    Suspicion(String, u64),
    /// Members are forgotten.
    Reap,
    /// A failed member is tried again.
    Reconnect,
    /// Members that leave for too long are asked.
    Objection,
    /// The query with this number waits no longer.
    QueryEnd(u32),
    /// An application's time for answering a query is over.
    AnswerEnd(u64, u32),
    /// The clocks are noted down.
    Snapshot,
    /// A member that was forced to leave is forgotten.
    Prune(String),
    /// A step of leaving took long enough.
    Leave(u64),
}

/// Names a timer that was set.
pub(super) type Set = (Duration, u64);

/// The timers that are set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<(Duration, u64), Timer>,
    count: u64,
}

impl Timers {
    /// Sets one; what it can be taken back by.
    pub fn set(&mut self, at: Duration, timer: Timer) -> Set {
        self.count += 1;
        self.set.insert((at, self.count), timer);
        (at, self.count)
    }

    /// Takes one back that others could set without end.
    pub fn cancel(&mut self, set: Set) {
        self.set.remove(&set);
    }

    pub fn next(&self) -> Option<Duration> {
        self.set.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next one that is due.
    pub fn due(&mut self, now: Duration) -> Option<Timer> {
        let first = self.set.first_entry().filter(|e| e.key().0 <= now)?;
        Some(first.remove())
    }
}
