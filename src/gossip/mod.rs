//! Gossip as one pure state machine: memberlist's membership and failure detection, and Serf on top of it.
//!
//! No sockets, no clock, no randomness of its own. Time is a [`Duration`](std::time::Duration) since any
//! fixed start and never goes back; seed and first nonce are in the [`Config`]. It holds true: whatever
//! comes from outside neither panics nor grows anything beyond a named limit.
//! Leaves sockets and files to `drive`, what members mean to Consul to `server` and `agent`.
//!
//! # Driving it
//!
//! ```text
//! start    Pool::new(now, Config::lan(name, addr, tags))
//! input    handle_packet(now, from, datagram)
//!          handle_stream(now, from, message) -> answer     one message of an accepted connection, see Framer
//!          stream_answered(now, stream, message), stream_failed(now, stream, why)
//!          tick(now)                                       when next_deadline() is reached
//!          join, leave, force_leave, set_tags, user_event, query, respond, key_operation
//! output   poll() -> Option<Output>                        after every input, until None:
//!            Packet     send it
//!            Dial       connect, send, read one message, report
//!            Event      members that come and go, events, queries, the end of what was asked for
//!            Snapshot   append to its file, or replace it
//!            Keyring    rewrite its file
//! look     members(), coordinate(), keys(), stats()
//! ```
//!
//! Source: Das, Gupta, Motivala, "SWIM" (2002); Dadgar, Phillips, Currey, "Lifeguard" (2018); Dabek et al.,
//! "Vivaldi" (2004); `docs/reference/gossip.md`.

mod awareness;
mod broadcast;
pub mod codec;
mod config;
mod conflict;
pub mod coordinate;
mod dissemination;
mod error;
mod event;
mod intent;
mod key_query;
mod keyring;
mod lamport;
mod leave;
mod members;
pub mod merge_filter;
mod objection;
mod output;
mod pool;
mod probe;
mod push_pull;
mod query;
mod reap;
pub mod snapshot;
mod state;
mod suspicion;
mod timer;

pub use config::{CONSUL_VERSIONS, Config};
pub use error::Error;
pub use key_query::KeyOperation;
pub use keyring::{Keyring, MAX_KEYS};
pub use members::Member;
pub use merge_filter::MergeFilter;
pub use output::{Asked, Change, Event, KeyOutcome, Output};
pub use pool::Pool;
pub use query::QueryOptions;
