//! Gossip as pure state machines: memberlist's membership and failure detection, Serf's events and queries.
//!
//! Source: `docs/reference/gossip.md`.

pub mod codec;
mod error;
mod keyring;

pub use error::Error;
pub use keyring::{Keyring, MAX_KEYS};
