//! How healthy this member itself seems to be (Lifeguard's local health): who misses answers may be the one who is slow.
//!
//! Source: Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure
//! Detection" (2018); `docs/reference/gossip.md` section 5.2.

use std::time::Duration;

use crate::telemetry::metrics;

/// A score, 0 when all is well.
#[derive(Debug)]
pub(super) struct Awareness {
    score: u32,
    /// One more than the largest score.
    limit: u32,
}

impl Awareness {
    pub fn new(limit: u32) -> Self {
        Self { score: 0, limit }
    }

    pub fn score(&self) -> u32 {
        self.score
    }

    /// Bad news make it grow, good ones shrink.
    pub fn add(&mut self, delta: i64) {
        let most = i64::from(self.limit.saturating_sub(1));
        let score = i64::from(self.score).saturating_add(delta);
        self.score = score.clamp(0, most) as u32;
        metrics::MEMBERLIST_HEALTH.set(self.score.into());
    }

    /// How long to wait when it would be `normal` in good health.
    pub fn scale(&self, normal: Duration) -> Duration {
        normal * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_between_its_limits() {
        let mut health = Awareness::new(8);
        health.add(-1);
        assert_eq!(health.score(), 0);
        health.add(3);
        assert_eq!(health.scale(Duration::from_secs(1)).as_secs(), 4);
        health.add(100);
        assert_eq!(health.score(), 7);
        health.add(-1);
        assert_eq!(health.score(), 6);
    }
}
