//! Consul's part in a gossip pool, shared by servers and client agents: what members say about themselves, who
//! is a server, who is joined, where keys and snapshots lie, what user events are called.
//!
//! Holds true: nothing here runs unless it was configured; what members claim is checked before it is used.
//! Leaves to others: the pool itself (`gossip`), its sockets (`drive::gossip`), what servers do with members.
//! Source: `docs/reference/gossip.md` section 15, `docs/reference/config.md` sections 17 and 21.

mod asked;
pub mod discover;
pub mod event;
pub mod join;
pub mod keyring;
pub mod mdns;
pub mod meta;
pub mod resolve;
pub mod settings;
pub mod tags;

pub use asked::{force_leave, join, stats};
pub use event::Notice;
pub use meta::ServerMeta;
pub use tags::{client_tags, server_tags};

/// The version of Consul whose behaviour and protocols this agent has; it is what peers and tools read.
pub const CONSUL_VERSION: &str = "1.8.7";

/// The two pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The agents of one datacenter.
    Lan,
    /// The servers of all datacenters.
    Wan,
}

impl Area {
    /// The word in logs.
    pub fn word(self) -> &'static str {
        match self {
            Area::Lan => "LAN",
            Area::Wan => "WAN",
        }
    }
}
