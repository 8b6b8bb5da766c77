//! When the local state is compared with the catalog and pushed: at start, periodically with a random
//! stagger, soon after a server appeared, at once after a change, and sooner again after a failure.
//!
//! Holds true: one loop, which sleeps until its next deadline and is woken by the state's trigger only.
//! Source: `docs/reference/http-2.md` section 6.2.

use std::sync::Arc;
use std::time::Duration;

use log::error;

use super::local::State;
use crate::drive::{Instant, Shutdown, now, timeout_at};
use crate::structs::rpc::Delegate;

/// Time between comparisons, before the random part.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time until a comparison that failed is tried again, before the random part.
const RETRY: Duration = Duration::from_secs(15);
/// Longest random delay of a comparison after a server appeared, before scaling.
const SERVER_UP: Duration = Duration::from_secs(3);
/// Up to this many members the random parts are not scaled.
const SCALE_THRESHOLD: usize = 128;

/// The factor by which random delays grow with the number of members, so that a big cluster spreads
/// its load: one more for each doubling beyond 128.
pub fn scale_factor(members: usize) -> u32 {
    let doublings = members.div_ceil(SCALE_THRESHOLD).max(1);
    // ceil(log2 n) of an integer n > 0 is the number of bits of n - 1.
    usize::BITS - (doublings - 1).leading_zeros() + 1
}

/// The loop that keeps the catalog equal to the local state.
pub struct StateSyncer {
    state: Arc<State>,
    delegate: Arc<dyn Delegate>,
    shutdown: Shutdown,
}

impl StateSyncer {
    /// A syncer of `state` through `delegate`.
    pub fn new(state: Arc<State>, delegate: Arc<dyn Delegate>, shutdown: Shutdown) -> Self {
        Self {
            state,
            delegate,
            shutdown,
        }
    }

    fn stagger(&self, longest: Duration) -> Duration {
        let members = self.delegate.members(false).map_or(1, |m| m.len());
        (longest * scale_factor(members)).mul_f64(fastrand::f64())
    }

    /// Compares and pushes; the moment of the next comparison.
    async fn full(&self) -> Instant {
        match self.state.sync_full(&*self.delegate).await {
            Ok(()) => now() + INTERVAL + self.stagger(INTERVAL),
            Err(e) => {
                error!(target: "agent.anti_entropy", error = e.text(); "failed to sync remote state");
                now() + RETRY + self.stagger(RETRY)
            }
        }
    }

    async fn changes(&self) {
        if let Err(e) = self.state.sync_changes(&*self.delegate).await {
            error!(target: "agent.anti_entropy", error = e.text(); "failed to sync changes");
        }
    }

    /// Runs until shutdown.
    pub async fn run(self) {
        let work = async {
            let mut next_full = self.full().await;
            loop {
                let woken = self.state.trigger().listen();
                if self.state.trigger().take_full() {
                    next_full = next_full.min(now() + self.stagger(SERVER_UP));
                }
                let due = self.state.end_deferrals() | self.state.trigger().take_changes();
                if now() >= next_full {
                    next_full = self.full().await;
                    continue;
                }
                if due {
                    self.changes().await;
                    continue;
                }
                let wake = match self.state.next_deferral() {
                    Some(deferral) => deferral.min(next_full),
                    None => next_full,
                };
                // Either end of the wait leads to the same look at what is due.
                let _ = timeout_at(wake, woken).await;
            }
        };
        smol::future::or(work, self.shutdown.triggered()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::scale_factor;

    #[test]
    fn random_delays_grow_with_the_cluster() {
        for (members, factor) in [
            (0, 1),
            (1, 1),
            (128, 1),
            (129, 2),
            (256, 2),
            (257, 3),
            (512, 3),
            (1024, 4),
            (8192, 7),
        ] {
            assert_eq!(scale_factor(members), factor, "{members}");
        }
    }
}
