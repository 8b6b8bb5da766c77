//! The leader's clocks for session TTLs: which session runs out when.
//!
//! Only the leader has them; they are armed anew when leadership begins, and a renewal writes nothing to
//! Raft. A session runs out after twice its TTL, so that it never does so before the TTL.
//! Source: `docs/reference/http-1.md` section 4.3.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender};

use crate::structs::Session;
use crate::structs::go::GoDuration;
use crate::telemetry::metrics;

/// How many TTLs a session lives without renewal.
const TTL_MULTIPLIER: u32 = 2;

#[derive(Default)]
struct Armed {
    by_time: BTreeSet<(Instant, String)>,
    by_id: HashMap<String, Instant>,
}

impl Armed {
    /// Shows how many sessions have a clock.
    fn show(&self) {
        metrics::SESSION_TTL_ACTIVE.set(self.by_id.len() as f64);
    }
}

/// The armed timers of all sessions that have a TTL.
pub struct SessionTimers {
    armed: Mutex<Armed>,
    /// Says that the earliest deadline moved; one message is as good as many.
    changed: (Sender<()>, Receiver<()>),
}

impl Default for SessionTimers {
    fn default() -> Self {
        Self {
            armed: Mutex::default(),
            changed: smol::channel::bounded(1),
        }
    }
}

/// The TTL of a session, `None` when it has none (or one that validation would not have let through).
pub fn ttl(session: &Session) -> Option<Duration> {
    match GoDuration::parse(&session.ttl) {
        Ok(ttl) if ttl.0 > 0 => Some(ttl.to_std()),
        _ => None,
    }
}

impl SessionTimers {
    /// (Re)starts the clock of a session; one without a TTL is left alone.
    pub fn reset(&self, now: Instant, session: &Session) {
        let Some(ttl) = ttl(session) else { return };
        let deadline = now + ttl * TTL_MULTIPLIER;
        let mut armed = self.lock();
        let earliest = armed.by_time.first().map(|(at, _)| *at);
        if let Some(old) = armed.by_id.insert(session.id.clone(), deadline) {
            armed.by_time.remove(&(old, session.id.clone()));
        }
        armed.by_time.insert((deadline, session.id.clone()));
        armed.show();
        if armed.by_time.first().map(|(at, _)| *at) != earliest {
            // Full means that the loop will look anyway.
            let _ = self.changed.0.try_send(());
        }
    }

    /// Forgets a session.
    pub fn clear(&self, id: &str) {
        let mut armed = self.lock();
        if let Some(deadline) = armed.by_id.remove(id) {
            armed.by_time.remove(&(deadline, id.to_owned()));
            armed.show();
        }
    }

    /// Forgets all: leadership ended.
    pub fn clear_all(&self) {
        let mut armed = self.lock();
        *armed = Armed::default();
        armed.show();
    }

    /// How many sessions have a clock running.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// The next moment at which a session runs out.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.lock().by_time.first().map(|(at, _)| *at)
    }

    /// Takes out the sessions whose time is over.
    pub fn expired(&self, now: Instant) -> Vec<String> {
        let mut armed = self.lock();
        let mut out = Vec::new();
        while armed.by_time.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, id)) = armed.by_time.pop_first() {
                armed.by_id.remove(&id);
                out.push(id);
            }
        }
        if !out.is_empty() {
            armed.show();
        }
        out
    }

    /// Completes when the earliest deadline may have moved.
    pub async fn changed(&self) {
        // The sender lives as long as the receiver: no error.
        let _ = self.changed.1.recv().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, ttl: &str) -> Session {
        Session {
            id: id.to_owned(),
            ttl: ttl.to_owned(),
            ..Session::default()
        }
    }

    #[test]
    fn a_session_runs_out_after_twice_its_ttl_unless_renewed() {
        let (timers, start) = (SessionTimers::default(), Instant::now());
        timers.reset(start, &session("a", "10s"));
        timers.reset(start, &session("b", "15s"));
        timers.reset(start, &session("none", ""));
        timers.reset(start, &session("zero", "0s"));
        assert_eq!(timers.len(), 2);
        assert_eq!(
            timers.next_deadline(),
            Some(start + Duration::from_secs(20))
        );
        assert!(timers.expired(start + Duration::from_secs(19)).is_empty());

        timers.reset(start + Duration::from_secs(15), &session("a", "10s"));
        assert_eq!(timers.expired(start + Duration::from_secs(34)), ["b"]);
        assert_eq!(timers.expired(start + Duration::from_secs(35)), ["a"]);
        assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn clearing_disarms() {
        let (timers, start) = (SessionTimers::default(), Instant::now());
        timers.reset(start, &session("a", "10s"));
        timers.clear("a");
        timers.clear("unknown");
        assert!(timers.expired(start + Duration::from_secs(60)).is_empty());
        timers.reset(start, &session("a", "10s"));
        timers.clear_all();
        assert_eq!(timers.len(), 0);
    }
}
