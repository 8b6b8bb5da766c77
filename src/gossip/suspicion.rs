//! How long a suspect has for defending itself: the more members agree, the shorter (Lifeguard).
//!
//! Source: the Lifeguard paper (2018), "LHA-Suspicion"; `docs/reference/gossip.md` section 5.3.

use std::time::Duration;

use super::timer::Set;

/// The suspicion of one member.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    since: Duration,
    min: Duration,
    max: Duration,
    /// How many confirmations count.
    wanted: usize,
    /// Who said so, the first accuser included; at most one more than `wanted`.
    accusers: Vec<String>,
    /// Tells its timers from those of earlier suspicions.
    pub generation: u64,
    /// Its timer.
    pub timer: Option<Set>,
}

/// The shortest time, for a pool of `n` members.
pub(super) fn shortest(mult: u32, n: usize, interval: Duration) -> Duration {
    let scale = (n.max(1) as f64).log10().max(1.0);
    let thousandths = (scale * 1000.0) as u32;
    interval * mult * thousandths / 1000
}

impl Suspicion {
    /// Begins now, with one accuser, in a pool of `n` members.
    pub fn new(
        now: Duration,
        from: &str,
        n: usize,
        (mult, max_mult): (u32, u32),
        interval: Duration,
    ) -> Self {
        // Members that could confirm: all but the two concerned.
        let wanted = (mult as usize).saturating_sub(2);
        let wanted = if n.saturating_sub(2) < wanted {
            0
        } else {
            wanted
        };
        let min = shortest(mult, n, interval);
        Self {
            since: now,
            min,
            max: min * max_mult,
            wanted,
            accusers: vec![from.to_owned()],
            generation: 0,
            timer: None,
        }
    }

    /// Another accuser; whether that is news.
    pub fn confirm(&mut self, from: &str) -> bool {
        if self.confirmations() >= self.wanted || self.accusers.iter().any(|a| a == from) {
            return false;
        }
        self.accusers.push(from.to_owned());
        true
    }

    pub fn confirmations(&self) -> usize {
        self.accusers.len() - 1
    }

    /// When the suspect counts as dead.
    pub fn deadline(&self) -> Duration {
        if self.wanted == 0 {
            return self.since + self.min;
        }
        let part = (self.confirmations() as f64 + 1.0).ln() / (self.wanted as f64 + 1.0).ln();
        let seconds = self.max.as_secs_f64() - part * (self.max - self.min).as_secs_f64();
        let ms = Duration::from_millis((seconds.max(0.0) * 1000.0) as u64);
        self.since + ms.max(self.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn confirmations_shorten_it_logarithmically() {
        let mut suspicion = Suspicion::new(10 * S, "a", 10, (4, 6), S);
        assert_eq!(suspicion.deadline(), 34 * S);
        assert!(!suspicion.confirm("a"));
        assert!(suspicion.confirm("b"));
        // 24 - 20 * ln 2 / ln 3, cut to milliseconds.
        assert_eq!(suspicion.deadline(), 10 * S + Duration::from_millis(11_381));
        assert!(!suspicion.confirm("b"));
        assert!(suspicion.confirm("c"));
        assert_eq!(suspicion.deadline(), 14 * S);
        assert!(!suspicion.confirm("d"), "enough have agreed");
    }

    #[test]
    fn small_pools_do_not_wait_for_confirmations() {
        let mut suspicion = Suspicion::new(S, "a", 3, (4, 6), S);
        assert_eq!(suspicion.deadline(), 5 * S);
        assert!(!suspicion.confirm("b"));
    }

    #[test]
    fn large_pools_wait_longer() {
        assert_eq!(shortest(4, 10, S), 4 * S);
        assert_eq!(shortest(4, 100, S), 8 * S);
        assert_eq!(shortest(4, 50, S).as_millis(), 6792);
        assert_eq!(shortest(4, 0, S), 4 * S);
    }
}
