//! What user events of the LAN pool are called.
//!
//! Source: `docs/reference/gossip.md` section 15.4.

/// In front of the name of an event that a user has fired.
const USER_EVENT: &str = "consul:event:";
/// A server has become the leader; the payload is its name.
pub const NEW_LEADER: &str = "consul:new-leader";

/// Serf's name of an event that a user fires.
pub fn wire_name(name: &str) -> String {
    format!("{USER_EVENT}{name}")
}

/// What an agent hears of its pool, whatever its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A user has fired an event.
    UserEvent {
        /// Serf's event time.
        ltime: u64,
        /// Consul's own encoding of the event.
        payload: Vec<u8>,
    },
    /// A server is there that was not before, or another one leads: what failed may succeed now.
    ServerUp,
}

/// What an event of Serf's is to Consul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// A user has fired the event of this name.
    User(&'a str),
    /// There is a new leader.
    NewLeader,
    /// None of Consul's.
    Other,
}

/// Reads Serf's name of an event.
pub fn meaning(name: &str) -> Meaning<'_> {
    match name.strip_prefix(USER_EVENT) {
        Some(user) => Meaning::User(user),
        None if name == NEW_LEADER => Meaning::NewLeader,
        None => Meaning::Other,
    }
}
