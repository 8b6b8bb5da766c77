//! A member of a gossip pool as users see it.
//!
//! Source: `docs/reference/http-2.md` sections 5.1 and 5.2.

use std::collections::BTreeMap;

use crate::codec::{Deserialize, Serialize};

/// Serf's view of a member's life; the numbers are those of the HTTP API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MemberStatus {
    /// Never seen.
    #[default]
    None = 0,
    /// In the pool.
    Alive = 1,
    /// Announced that it leaves.
    Leaving = 2,
    /// Left gracefully, or was forced to.
    Left = 3,
    /// Not answering.
    Failed = 4,
}

impl MemberStatus {
    /// The word that `consul members` prints.
    pub fn word(self) -> &'static str {
        match self {
            MemberStatus::None => "none",
            MemberStatus::Alive => "alive",
            MemberStatus::Leaving => "leaving",
            MemberStatus::Left => "left",
            MemberStatus::Failed => "failed",
        }
    }
}

/// A member, in the JSON shape of `/v1/agent/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Node name; on the WAN pool `node.datacenter`.
    #[serde(rename = "Name")]
    pub name: String,
    /// Address without port.
    #[serde(rename = "Addr")]
    pub addr: String,
    /// Gossip port.
    #[serde(rename = "Port")]
    pub port: u16,
    /// Serf tags: role, dc, id, version and so on.
    #[serde(rename = "Tags")]
    pub tags: BTreeMap<String, String>,
    /// A [`MemberStatus`] as its number.
    #[serde(rename = "Status")]
    pub status: u8,
    /// Oldest memberlist protocol understood.
    #[serde(rename = "ProtocolMin")]
    pub protocol_min: u8,
    /// Newest memberlist protocol understood.
    #[serde(rename = "ProtocolMax")]
    pub protocol_max: u8,
    /// Memberlist protocol spoken.
    #[serde(rename = "ProtocolCur")]
    pub protocol_cur: u8,
    /// Oldest Serf protocol understood.
    #[serde(rename = "DelegateMin")]
    pub delegate_min: u8,
    /// Newest Serf protocol understood.
    #[serde(rename = "DelegateMax")]
    pub delegate_max: u8,
    /// Serf protocol spoken.
    #[serde(rename = "DelegateCur")]
    pub delegate_cur: u8,
}
