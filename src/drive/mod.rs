//! The only room that owns the executor and reads the clock.
//!
//! `runtime` runs tasks on a few threads, `clock` sleeps and bounds waits, `raft` and `gossip` feed the pure
//! cores and carry out what they ask of disk and peers. Knows nothing of HTTP and DNS.

mod clock;
pub mod gossip;
mod limiter;
pub mod raft;
mod runtime;
pub mod statsd;
mod tasks;

pub use clock::{Elapsed, Instant, now, sleep, sleep_until, timeout, timeout_at, wall};
pub use limiter::{Limiter, Rate};
pub use runtime::{Handle, Runtime, Shutdown, Task};
pub use tasks::TaskSet;
