//! When tombstones may go: the leader collects the indexes of deletions in coarse buckets and reaps each
//! bucket once it is old enough.
//!
//! Without tombstones there is no bucket, no timer and no write.
//! Source: `docs/reference/http-1.md` section 2.5 (15 minutes, in buckets of 30 seconds).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender};

/// How long a tombstone is kept.
const TTL: Duration = Duration::from_secs(15 * 60);
/// Deletions this close together are reaped together.
const GRANULARITY: Duration = Duration::from_secs(30);

/// The pending buckets, oldest first: when to reap, and the highest index to reap then.
pub struct TombstoneGc {
    buckets: Mutex<VecDeque<(Instant, u64)>>,
    changed: (Sender<()>, Receiver<()>),
}

impl Default for TombstoneGc {
    fn default() -> Self {
        Self {
            buckets: Mutex::default(),
            changed: smol::channel::bounded(1),
        }
    }
}

impl TombstoneGc {
    /// Tells that a tombstone was written at `index`.
    pub fn hint(&self, now: Instant, index: u64) {
        let mut buckets = self.lock();
        let due = now + TTL;
        match buckets.back_mut() {
            Some((at, highest)) if due <= *at => *highest = index.max(*highest),
            _ => {
                buckets.push_back((due + GRANULARITY, index));
                // Full means that the loop will look anyway.
                let _ = self.changed.0.try_send(());
            }
        }
    }

    /// When the oldest bucket is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lock().front().map(|(at, _)| *at)
    }

    /// The highest index among the buckets that are due; they are taken out.
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut buckets = self.lock();
        let mut highest = None;
        while buckets.front().is_some_and(|(at, _)| *at <= now) {
            highest = highest.max(buckets.pop_front().map(|(_, index)| index));
        }
        highest
    }

    /// Forgets all: leadership ended.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Completes when the oldest bucket may be another one.
    pub async fn changed(&self) {
        // The sender lives as long as the receiver: no error.
        let _ = self.changed.1.recv().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, u64)>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_close_together_share_a_bucket() {
        let (gc, start) = (TombstoneGc::default(), Instant::now());
        gc.hint(start, 10);
        gc.hint(start + Duration::from_secs(20), 12);
        gc.hint(start + Duration::from_secs(31), 15);
        assert_eq!(gc.due(start + TTL), None, "kept for the whole time");
        assert_eq!(gc.due(start + TTL + GRANULARITY), Some(12));
        assert_eq!(
            gc.next_deadline(),
            Some(start + Duration::from_secs(31) + TTL + GRANULARITY)
        );
        assert_eq!(gc.due(start + TTL * 2), Some(15));
        assert_eq!(gc.next_deadline(), None);
    }
}
