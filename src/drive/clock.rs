//! Reading the clock and waiting on it.
//!
//! Durations come from the monotonic clock; the wall clock is for what users read and for deadlines that
//! survive a restart.

use std::future::Future;
use std::time::{Duration, SystemTime};

pub use std::time::Instant;

use smol::future::FutureExt;

use crate::net::Timer;

/// A bounded wait ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Monotonic time.
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Waits for a duration.
pub async fn sleep(duration: Duration) {
    Timer::after(duration).await;
}

/// Waits until a moment.
pub async fn sleep_until(deadline: Instant) {
    Timer::at(deadline).await;
}

/// Waits for `future`, but no longer than `limit`.
///
/// # Errors
/// [`Elapsed`] when the limit passed first; the future is then dropped.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    timeout_at(Instant::now() + limit, future).await
}

/// Waits for `future`, but not beyond `deadline`.
///
/// # Errors
/// [`Elapsed`] when the deadline passed first; the future is then dropped.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let expired = async {
        Timer::at(deadline).await;
        Err(Elapsed)
    };
    async { Ok(future.await) }.or(expired).await
}
