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
    let scale = (log2(n) * std::f64::consts::LOG10_2).max(1.0);
    // A power of ten is not to miss its whole number by a rounding.
    let thousandths = (scale * 1000.0 + 1e-6) as u32;
    interval * mult * thousandths / 1000
}

/// The binary logarithm of a whole number, to 12 digits after the point. The one of `std` is the C library's, and would
/// be all that an agent has its mathematics loaded for: a third of a megabyte.
fn log2(n: usize) -> f64 {
    let n = n.max(1) as u64;
    let whole = n.ilog2();
    let (mut sum, mut bit) = (f64::from(whole), 0.5);
    let mut rest = n as f64 / (1_u64 << whole) as f64;
    while bit > 1e-13 {
        rest *= rest;
        if rest >= 2.0 {
            rest /= 2.0;
            sum += bit;
        }
        bit /= 2.0;
    }
    sum
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
        let part = log2(self.confirmations() + 1) / log2(self.wanted + 1);
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
    fn logarithms_are_those_of_the_c_library() {
        assert_eq!((log2(0), log2(1), log2(1 << 20)), (0.0, 0.0, 20.0));
        for n in (1..5000).chain([99_999, 1 << 30, usize::MAX]) {
            assert!((log2(n) - (n as f64).log2()).abs() < 1e-12, "{n}");
        }
        for (n, thousandths) in [(3, 1000), (10, 1000), (100, 2000), (1000, 3000), (5, 1000)] {
            assert_eq!(shortest(1, n, S), S * thousandths / 1000, "{n}");
        }
    }

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
