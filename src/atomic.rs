//! The 64-bit counter that threads share: the standard library's where the processor has one, else (32-bit MIPS) the
//! one of `portable-atomic`, which takes a lock.

#[cfg(not(target_has_atomic = "64"))]
pub use portable_atomic::AtomicU64;
#[cfg(target_has_atomic = "64")]
pub use std::sync::atomic::AtomicU64;
