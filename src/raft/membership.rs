//! Who belongs to the cluster, and how that changes.
//!
//! One change at a time, each a log entry of its own that takes effect when appended.
//! Source: Raft thesis 4.1; hashicorp/raft's configuration entry (protocol version 3).

use serde::{Deserialize, Serialize};

use super::types::ServerId;

/// Whether a server counts towards the quorum; the numbers are those of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Suffrage {
    /// Votes and counts.
    #[default]
    Voter,
    /// Receives entries only.
    Nonvoter,
    /// Known to the wire, used by nobody; treated as a nonvoter.
    Staging,
}

impl From<Suffrage> for u8 {
    fn from(s: Suffrage) -> u8 {
        match s {
            Suffrage::Voter => 0,
            Suffrage::Nonvoter => 1,
            Suffrage::Staging => 2,
        }
    }
}

impl TryFrom<u8> for Suffrage {
    type Error = String;
    fn try_from(n: u8) -> Result<Suffrage, String> {
        match n {
            0 => Ok(Suffrage::Voter),
            1 => Ok(Suffrage::Nonvoter),
            2 => Ok(Suffrage::Staging),
            _ => Err(format!("no suffrage has the number {n}")),
        }
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Whether it counts.
    #[serde(rename = "Suffrage")]
    pub suffrage: Suffrage,
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// "ip:port" of its RPC listener.
    #[serde(rename = "Address")]
    pub address: String,
}

/// All members, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The members.
    #[serde(rename = "Servers")]
    pub servers: Vec<Server>,
}

/// A change of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfChange {
    /// Adds a voter, or makes a known server one, at this address.
    AddVoter {
        /// Whom.
        id: ServerId,
        /// "ip:port".
        address: String,
    },
    /// Adds a server that does not count; a known one only changes its address.
    AddNonvoter {
        /// Whom.
        id: ServerId,
        /// "ip:port".
        address: String,
    },
    /// Makes a voter a nonvoter.
    Demote {
        /// Whom.
        id: ServerId,
    },
    /// Takes a server out.
    Remove {
        /// Whom.
        id: ServerId,
    },
}
