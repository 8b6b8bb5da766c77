//! How often something may be done: a bucket of tokens that fills at a steady rate.
//!
//! The time is an argument. Used for `limits.rpc_rate` and `cache.entry_fetch_rate`.
//! Source: Consul's documentation of the two.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Times per second; 0 or less, or no finite number, is no limit.
    pub per_second: f64,
    /// How many times at once.
    pub burst: i64,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        per_second: -1.0,
        burst: 0,
    };

    /// Whether there is no limit.
    pub fn is_unlimited(self) -> bool {
        // Also when it is no number.
        !(self.per_second > 0.0 && self.per_second < f64::MAX)
    }
}

struct Bucket {
    rate: Rate,
    tokens: f64,
    /// When `tokens` was right.
    at: Instant,
}

/// Lets through as long as there are tokens.
pub struct Limiter(Mutex<Bucket>);

impl Limiter {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self(Mutex::new(Bucket {
            rate,
            tokens: rate.burst as f64,
            at: now,
        }))
    }

    /// Changes the rate; a bucket of another rate begins full.
    pub fn set(&self, rate: Rate, now: Instant) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.rate != rate {
            *bucket = Bucket {
                rate,
                tokens: rate.burst as f64,
                at: now,
            };
        }
    }

    /// Takes a token if there is one.
    pub fn allow(&self, now: Instant) -> bool {
        self.take(now).is_zero()
    }

    /// Takes a token, if need be the next one that will be there; how long until it is.
    pub fn reserve(&self, now: Instant) -> Duration {
        let wait = self.take(now);
        if !wait.is_zero() {
            let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.tokens -= 1.0;
        }
        wait
    }

    /// Takes a token if there is one; how long until there will be one.
    fn take(&self, now: Instant) -> Duration {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.rate.is_unlimited() {
            return Duration::ZERO;
        }
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        let filled = bucket.tokens + passed * bucket.rate.per_second;
        bucket.tokens = filled.min(bucket.rate.burst as f64);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Duration::ZERO;
        }
        let missing = (1.0 - bucket.tokens) / bucket.rate.per_second;
        Duration::try_from_secs_f64(missing).unwrap_or(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: f64, burst: i64) -> Rate {
        Rate { per_second, burst }
    }

    fn allowed(limiter: &Limiter, now: Instant, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.allow(now)).count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let limiter = Limiter::new(rate(10.0, 5), start);
        assert_eq!(allowed(&limiter, start, 20), 5);
        assert_eq!(allowed(&limiter, start + Duration::from_millis(210), 20), 2);
        // No more than the burst gathers.
        assert_eq!(allowed(&limiter, start + Duration::from_secs(60), 20), 5);
    }

    #[test]
    fn no_rate_is_no_limit_and_a_new_rate_counts_at_once() {
        let start = Instant::now();
        for none in [-1.0, 0.0, f64::MAX, f64::INFINITY, f64::NAN] {
            let limiter = Limiter::new(rate(none, 0), start);
            assert_eq!(allowed(&limiter, start, 5000), 5000, "{none}");
            limiter.set(rate(1.0, 3), start);
            assert_eq!(allowed(&limiter, start, 5000), 3, "{none}");
        }
    }

    #[test]
    fn whoever_reserves_waits_for_its_turn() {
        let start = Instant::now();
        let limiter = Limiter::new(rate(2.0, 1), start);
        assert_eq!(limiter.reserve(start), Duration::ZERO);
        assert_eq!(limiter.reserve(start), Duration::from_millis(500));
        assert_eq!(limiter.reserve(start), Duration::from_secs(1));
        let later = start + Duration::from_secs(2);
        assert_eq!(limiter.reserve(later), Duration::ZERO);
    }

    #[test]
    fn an_unchanged_rate_does_not_fill_the_bucket() {
        let start = Instant::now();
        let limiter = Limiter::new(rate(1.0, 3), start);
        assert_eq!(allowed(&limiter, start, 10), 3);
        limiter.set(rate(1.0, 3), start);
        assert_eq!(allowed(&limiter, start, 10), 0);
    }
}
