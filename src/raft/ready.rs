//! What the core asks of its driver: one `Ready` after another.
//!
//! The parts of a `Ready` do not wait for each other; everything that must wait for the disk is held
//! back by the core until [`Raft::persisted`](super::Raft::persisted) is called, so a driver cannot
//! send too early.
//! Source: Raft thesis 10.2.1 (writing to the leader's disk in parallel).

use super::message::Outgoing;
use super::types::{Entry, HardState, ServerId, SnapshotMeta};

/// What a server is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads its term.
    Leader,
}

/// Who leads, as far as this server knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This server's role.
    pub role: Role,
    /// This server's term.
    pub term: u64,
    /// The leader of that term, this server included.
    pub leader: Option<ServerId>,
}

/// One batch of work for the driver. Carry out the parts in any order and side by side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Role, term or leader changed. When `role` leaves `Leader`, whoever waits for a proposal must be
    /// told that leadership was lost (the proposal may still commit).
    pub leadership: Option<Leadership>,
    /// To be written in one transaction with one fsync, then reported with
    /// [`Raft::persisted`](super::Raft::persisted). Writes keep their order; several that queue up may
    /// share a transaction, reported once with the last number.
    pub write: Option<Write>,
    /// To be sent at once. Order matters only for speed.
    pub messages: Vec<Outgoing>,
    /// Committed entries of every kind, in order, to be applied and then reported with
    /// [`Raft::applied`](super::Raft::applied); until then no further ones are handed out. Bounded by
    /// [`Config::max_apply_bytes`](super::Config::max_apply_bytes).
    pub committed: Vec<Entry>,
    /// Reads that may be answered once the state machine has applied `index`.
    pub reads: Vec<ReadState>,
    /// Followers that need a snapshot: take one of the state machine, then call
    /// [`Raft::send_snapshot`](super::Raft::send_snapshot) or
    /// [`Raft::snapshot_failed`](super::Raft::snapshot_failed).
    pub snapshots_wanted: Vec<ServerId>,
    /// Replace the state machine by the snapshot that came with this request, durably, then call
    /// [`Raft::snapshot_installed`](super::Raft::snapshot_installed).
    pub install: Option<Install>,
    /// Something the operator should hear of.
    pub fault: Option<Fault>,
}

/// One write to the log and the hard state, to be carried out in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// To be handed to [`Raft::persisted`](super::Raft::persisted). Counts up by one.
    pub number: u64,
    /// First delete every entry from this index on.
    pub truncate_from: Option<u64>,
    /// Then append these. They follow the last entry, except after a snapshot replaced the log.
    pub entries: Vec<Entry>,
    /// Then store the term and the vote.
    pub hard_state: Option<HardState>,
}

/// The answer to one [`Raft::read_index`](super::Raft::read_index).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// The caller's own mark.
    pub ctx: u64,
    /// Read once this index is applied; `None` when leadership was lost meanwhile.
    pub index: Option<u64>,
}

/// A snapshot to install, and the request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The leader that sent it.
    pub from: ServerId,
    /// The `seq` of its request.
    pub seq: u64,
    /// What it holds; to be stored durably with the state machine.
    pub meta: SnapshotMeta,
}

/// Trouble that the core survived by doing nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The log on disk could not be read. The driver decides whether to step down.
    LogUnreadable(String),
    /// A leader's entries contradict committed ones: two clusters were mixed, or a disk lost writes.
    CommittedConflict {
        /// The leader that sent them.
        from: ServerId,
        /// The first index in conflict.
        index: u64,
    },
}
