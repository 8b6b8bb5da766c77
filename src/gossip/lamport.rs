//! Lamport's clock: it only ever runs ahead of everything it has seen.
//!
//! Source: Lamport, "Time, Clocks, and the Ordering of Events" (1978); `docs/reference/gossip.md` 11.1.

/// A logical clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock(u64);

impl Clock {
    /// Starts at 1, or behind what was known before.
    pub fn new(seen: u64) -> Self {
        let mut clock = Self(1);
        clock.witness(seen);
        clock
    }

    pub fn time(self) -> u64 {
        self.0
    }

    pub fn increment(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// A time was seen; the clock is now behind it.
    pub fn witness(&mut self, time: u64) {
        if time >= self.0 {
            self.0 = time.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_only_runs_forward() {
        let mut clock = Clock::new(0);
        assert_eq!(clock.time(), 1);
        clock.witness(1);
        clock.witness(0);
        clock.increment();
        assert_eq!(clock.time(), 3);
        clock.witness(u64::MAX);
        assert_eq!(clock.time(), u64::MAX);
        assert_eq!(Clock::new(7).time(), 8);
    }
}
