//! What can be seen of a server from outside: for telemetry, autopilot and operators.
//!
//! A copy; looking changes nothing. Source: Consul's `Status.RaftStats` and `operator raft`.

use std::time::Duration;

use super::progress::Mode;
use super::ready::Role;
use super::types::ServerId;
use super::{Configuration, Raft};

/// One server's view of itself and, on a leader, of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<ServerId>,
    /// The index up to which it knows entries to be committed.
    pub commit: u64,
    /// The index up to which its state machine has applied them.
    pub applied: u64,
    /// Its last index, and the term of it.
    pub last_index: u64,
    /// The term of `last_index`.
    pub last_term: u64,
    /// The index up to which its log is on disk.
    pub persisted: u64,
    /// The index before the first one in the log.
    pub snapshot_index: u64,
    /// How long ago it heard the leader: zero on the leader, `None` for never.
    pub last_contact: Option<Duration>,
    /// The configuration in force.
    pub configuration: Configuration,
    /// The index of the entry that set it.
    pub configuration_index: u64,
    /// Whether the last step down was for the disk and it has not recovered.
    pub disk_failed: bool,
    /// On a leader, every other server.
    pub peers: Vec<PeerStatus>,
}

/// A leader's view of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub id: ServerId,
    /// How entries go to it.
    pub mode: Mode,
    /// The last index known to be on its disk.
    pub matched: u64,
    /// The term of that index; `None` when it lies before the log.
    pub matched_term: Option<u64>,
    /// The next index to send.
    pub next: u64,
    /// How long ago it answered, `None` for never in this term.
    pub last_contact: Option<Duration>,
}

impl Raft {
    /// How things stand.
    pub fn status(&self, now: Duration) -> Status {
        let peers = self.lead.iter().flat_map(|lead| &lead.peers);
        let peers = peers.map(|(id, peer)| PeerStatus {
            id: id.clone(),
            mode: peer.mode,
            matched: peer.matched,
            matched_term: self.log.term(peer.matched).ok().flatten(),
            next: peer.next,
            last_contact: peer.last_contact.map(|at| now.saturating_sub(at)),
        });
        let last_contact = match self.lead {
            Some(_) => Some(Duration::ZERO),
            None => self.last_contact.map(|at| now.saturating_sub(at)),
        };
        Status {
            role: self.role,
            term: self.term,
            leader: self.leader.clone(),
            commit: self.commit,
            applied: self.applied,
            last_index: self.log.last_index(),
            last_term: self.log.last_term(),
            persisted: self.log.stable(),
            snapshot_index: self.log.base_index(),
            last_contact,
            configuration: self.members.latest().clone(),
            configuration_index: self.members.latest_index(),
            disk_failed: self.disk_failed,
            peers: peers.collect(),
        }
    }

    /// When this server, a follower, last heard its leader.
    pub fn last_heard(&self) -> Option<Duration> {
        self.last_contact
    }

    /// Whether this server leads.
    pub fn is_leading(&self) -> bool {
        self.is_leader()
    }
}
