//! Lock delays: for a while after a session that held a key was invalidated, nobody may lock the key.
//!
//! Not replicated and not on disk: the leader keeps them in memory and asks before it proposes a lock.
//! Time comes from the caller. Expired ones leave when new ones come.
//! Source: `docs/reference/http-1.md` section 4.3.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Keys remembered at most. Beyond, the delay that ends first makes room.
const MAX_KEYS: usize = 65_536;

/// Which keys are in their lock delay.
#[derive(Debug, Default)]
pub struct LockDelay(Mutex<HashMap<Box<str>, Duration>>);

impl LockDelay {
    /// How much longer `key` may not be locked; zero when it may. `now` is on the clock that
    /// [`Fsm::apply`](super::Fsm::apply) is given.
    pub fn remaining(&self, now: Duration, key: &str) -> Duration {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(key)
            .map_or(Duration::ZERO, |until| until.saturating_sub(now))
    }

    pub(super) fn start(&self, now: Duration, key: &str, delay: Duration) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_KEYS {
            keys.retain(|_, until| *until > now);
        }
        if keys.len() >= MAX_KEYS
            && let Some(first) = keys.iter().min_by_key(|(_, u)| **u).map(|(k, _)| k.clone())
        {
            keys.remove(&first);
        }
        keys.insert(key.into(), now.saturating_add(delay));
    }

    pub(super) fn clear(&self) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.clear();
        keys.shrink_to_fit();
    }
}
