//! The two tables of members: memberlist's nodes, and Serf's members on top of them.
//!
//! Holds true: every node is in the probe order exactly once; the number of nodes is bounded.
//! Leaves to others: when a status changes (`state`, `intent`).
//! Source: `docs/reference/gossip.md` sections 5.1 and 11.2.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::codec::message::{Alive, Versions, ip_bytes};
use super::codec::push_pull::{MAX_MEMBERS, NodeState, NodeStatus};
use super::codec::tags::Tags;
use super::suspicion::Suspicion;
use crate::structs::go::Bytes;
use crate::structs::{self, MemberStatus};

/// The newest memberlist protocol understood, within [`Versions`].
const PROTOCOL_MAX: usize = 1;
/// From this protocol on a node answers probes over TCP.
const TCP_PING: u8 = 3;
/// From this protocol on a node can say that a relayed probe got no answer.
const NACK: u8 = 4;
/// From this protocol on a node understands checksums, and relays answers.
const CRC: u8 = 5;

/// A node as memberlist sees it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub name: String,
    pub addr: SocketAddr,
    pub meta: Vec<u8>,
    pub versions: Versions,
    pub incarnation: u32,
    pub status: NodeStatus,
    /// Since when it has this status; of alive and suspect, the earlier.
    pub since: Duration,
    pub suspicion: Option<Suspicion>,
}

impl Node {
    pub fn is_there(&self) -> bool {
        matches!(self.status, NodeStatus::Alive | NodeStatus::Suspect)
    }

    pub fn answers_tcp(&self) -> bool {
        self.versions[PROTOCOL_MAX] >= TCP_PING
    }

    pub fn can_nack(&self) -> bool {
        self.versions[PROTOCOL_MAX] >= NACK
    }

    pub fn takes_crc(&self) -> bool {
        self.versions[PROTOCOL_MAX] >= CRC
    }

    /// The line in a push/pull.
    pub fn state(&self) -> NodeState {
        NodeState {
            name: self.name.clone(),
            addr: ip_bytes(self.addr.ip()),
            port: self.addr.port(),
            meta: Bytes(self.meta.clone()),
            incarnation: self.incarnation,
            state: self.status as i64,
            vsn: Bytes(self.versions.to_vec()),
        }
    }

    /// The message that says that it is there.
    pub fn alive(&self) -> Alive {
        Alive {
            incarnation: self.incarnation,
            node: self.name.clone(),
            addr: ip_bytes(self.addr.ip()),
            port: self.addr.port(),
            meta: Bytes(self.meta.clone()),
            vsn: Bytes(self.versions.to_vec()),
        }
    }
}

/// All nodes, and in which order they are probed.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_name: BTreeMap<String, Node>,
    order: Vec<String>,
    next: usize,
}

impl Nodes {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.by_name.get_mut(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_name.values()
    }

    /// Adds a node at a random place of the probe order; false when there are too many.
    pub fn insert(&mut self, node: Node, rng: &mut fastrand::Rng) -> bool {
        if self.by_name.len() >= MAX_MEMBERS {
            return false;
        }
        let name = node.name.clone();
        if self.by_name.insert(name.clone(), node).is_none() {
            let last = self.order.len();
            self.order.push(name);
            self.order.swap(rng.usize(..=last), last);
        }
        true
    }

    /// The next in the probe order; nothing when a round is over.
    pub fn next(&mut self) -> Option<&Node> {
        let name = self.order.get(self.next)?;
        self.next += 1;
        self.by_name.get(name)
    }

    /// Begins a new round: forgets who `keep` says no to, and shuffles.
    pub fn new_round(&mut self, rng: &mut fastrand::Rng, keep: impl Fn(&Node) -> bool) {
        self.by_name.retain(|_, node| keep(node));
        self.order.retain(|name| self.by_name.contains_key(name));
        rng.shuffle(&mut self.order);
        self.next = 0;
    }

    /// Up to `wanted` different nodes that fit, at random. It gives up early rather than look at all
    /// of a large pool: fewer than wanted is normal.
    pub fn random(
        &self,
        wanted: usize,
        rng: &mut fastrand::Rng,
        fits: impl Fn(&Node) -> bool,
    ) -> Vec<&Node> {
        let mut found: Vec<&Node> = Vec::with_capacity(wanted);
        for _ in 0..3 * self.order.len() {
            if found.len() >= wanted {
                break;
            }
            let Some(node) = rng.choice(&self.order).and_then(|name| self.get(name)) else {
                break;
            };
            if fits(node) && !found.iter().any(|f| f.name == node.name) {
                found.push(node);
            }
        }
        found
    }
}

/// A member as Serf, and so the rest of Consul, sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name.
    pub name: String,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// What it says about itself.
    pub tags: Tags,
    /// Whether it is there.
    pub status: MemberStatus,
    /// The protocols it speaks.
    pub versions: Versions,
    /// Member clock of the last intent about it.
    pub(super) status_ltime: u64,
    /// When it began to leave, left or failed.
    pub(super) gone_since: Duration,
    /// Whether it is to be forgotten as soon as it is gone.
    pub(super) pruning: bool,
}

impl From<&Member> for structs::Member {
    fn from(member: &Member) -> Self {
        let [
            protocol_min,
            protocol_max,
            protocol_cur,
            delegate_min,
            delegate_max,
            delegate_cur,
        ] = member.versions;
        structs::Member {
            name: member.name.clone(),
            addr: member.addr.ip().to_string(),
            port: member.addr.port(),
            tags: member.tags.clone(),
            status: member.status as u8,
            protocol_min,
            protocol_max,
            protocol_cur,
            delegate_min,
            delegate_max,
            delegate_cur,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.to_owned(),
            addr: SocketAddr::from(([10, 0, 0, 1], 8301)),
            meta: Vec::new(),
            versions: [1, 5, 2, 2, 5, 4],
            incarnation: 1,
            status: NodeStatus::Alive,
            since: Duration::ZERO,
            suspicion: None,
        }
    }

    #[test]
    fn a_round_visits_everybody_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut nodes = Nodes::default();
        for n in 0..20 {
            assert!(nodes.insert(node(&n.to_string()), &mut rng));
        }
        nodes.insert(node("7"), &mut rng);
        nodes.new_round(&mut rng, |node| node.name != "3");
        let mut seen = Vec::new();
        while let Some(node) = nodes.next() {
            seen.push(node.name.clone());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 19);
    }

    #[test]
    fn random_nodes_differ_and_fit() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut nodes = Nodes::default();
        assert!(nodes.random(3, &mut rng, |_| true).is_empty());
        for n in 0..5 {
            nodes.insert(node(&n.to_string()), &mut rng);
        }
        let found = nodes.random(9, &mut rng, |node| node.name != "3");
        assert!(found.len() <= 4 && found.iter().all(|node| node.name != "3"));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut nodes = Nodes::default();
        for n in 0..MAX_MEMBERS {
            assert!(nodes.insert(node(&n.to_string()), &mut rng));
        }
        assert!(!nodes.insert(node("x"), &mut rng));
    }
}
