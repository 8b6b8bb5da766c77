//! TTL checks: they keep the status they are told, until they are not told for too long.
//!
//! Holds true: after it expired the clock stands still until the next update; an update costs no wake-up
//! before the old deadline.
//! Source: `docs/reference/http-2.md` section 4.5.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::Event;
use log::warn;

use super::head;
use crate::agent::local::{CRITICAL, State};
use crate::drive::{Instant, now, sleep_until};

#[derive(Default)]
struct Inner {
    /// `None` while the clock stands still.
    deadline: Option<Instant>,
    last_output: String,
}

/// The clock of a TTL check.
pub struct Ttl {
    state: Arc<State>,
    check_id: String,
    ttl: Duration,
    inner: Mutex<Inner>,
    restarted: Event,
}

impl Ttl {
    /// A clock that starts now.
    pub(super) fn new(state: Arc<State>, check_id: &str, ttl: Duration) -> Self {
        let last_output = state.check(check_id).map(|c| c.output).unwrap_or_default();
        Self {
            state,
            check_id: check_id.to_owned(),
            ttl,
            inner: Mutex::new(Inner {
                deadline: Some(now() + ttl),
                last_output,
            }),
            restarted: Event::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the check waits.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Takes what it is told and restarts the clock.
    pub fn set_status(&self, status: &str, output: &str) {
        let mut inner = self.lock();
        output.clone_into(&mut inner.last_output);
        let stood = inner.deadline.replace(now() + self.ttl).is_none();
        drop(inner);
        if stood {
            self.restarted.notify(usize::MAX);
        }
        self.state.update_check(&self.check_id, status, output);
    }

    /// Moves the deadline, as when a state from before a restart is taken up.
    pub fn set_deadline(&self, remaining: Duration, output: &str) {
        let mut inner = self.lock();
        inner.deadline = Some(now() + remaining);
        output.clone_into(&mut inner.last_output);
        drop(inner);
        self.restarted.notify(usize::MAX);
    }

    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let restarted = self.restarted.listen();
            let deadline = self.lock().deadline;
            match deadline {
                None => restarted.await,
                Some(at) if at > now() => {
                    // A later deadline is noticed at the old one, an earlier one at once.
                    smol::future::or(sleep_until(at), restarted).await;
                }
                Some(_) => self.expire(),
            }
        }
    }

    fn expire(&self) {
        let mut inner = self.lock();
        if inner.deadline.is_some_and(|at| at > now()) {
            return;
        }
        inner.deadline = None;
        let output = if inner.last_output.is_empty() {
            "TTL expired".to_owned()
        } else {
            format!(
                "TTL expired (last output before timeout follows): {}",
                inner.last_output
            )
        };
        drop(inner);
        warn!(target: "agent", check = self.check_id.as_str(); "Check missed TTL, is now critical");
        self.state.update_check(&self.check_id, CRITICAL, &output);
    }
}

/// An output cut to `limit` bytes, with a mark that says so.
pub fn truncate(output: &str, limit: usize) -> String {
    if output.len() <= limit {
        return output.to_owned();
    }
    let kept = head(output, limit);
    format!(
        "{kept} ... (captured {} of {} bytes)",
        kept.len(),
        output.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_keep_their_head() {
        assert_eq!(truncate("abc", 3), "abc");
        assert_eq!(truncate("abcd", 3), "abc ... (captured 3 of 4 bytes)");
        assert_eq!(truncate("aé", 2), "a ... (captured 1 of 3 bytes)");
    }
}
