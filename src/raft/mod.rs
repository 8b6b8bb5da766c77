//! Raft as a pure state machine: what happened goes in with the time, one [`Ready`] comes out.
//!
//! No sockets, no disk, no clock, no randomness of its own. Time is a [`Duration`] since any fixed start
//! and never goes back; the seed of the random timeouts is in the [`Config`]. It holds Raft's own
//! promises (election safety, log matching, leader completeness, state machine safety) as long as the
//! driver keeps two: a write is reported as persisted only when an fsync says so, and committed entries
//! are applied in order. Leaves the disk to `store`, sending and timers to `drive`; `rpc` is
//! what the messages look like on the wire.
//!
//! # Driving it
//!
//! ```text
//! start    Raft::bootstrap(&Configuration)            first write of a new cluster, stored by the driver
//!          Raft::new(now, config, hard_state, base, applied, reader)
//! input    step(now, &from, message)                  a message came in
//!          rpc_failed(now, &to, seq)                  a request got no answer and will not
//!          tick(now)                                  when next_deadline() is reached; None: no timer needed
//!          suspect(now, &peer)                        its connection ended, or gossip lost it
//!          found(now, &Configuration)                 a new cluster, by a server that runs already
//!          propose, propose_conf_change, read_index, transfer_leadership, step_down, resume
//! output   ready(now) -> Option<Ready>                after every input, until None:
//!            messages   send at once; answers go back by their seq
//!            write      queue for the disk; once synced: persisted(now, write.number)
//!            committed  apply; then: applied(last index)
//!            reads      answer, each when its index is applied
//!            snapshots_wanted  take one, then send_snapshot(now, &to, index) or snapshot_failed(now, &to)
//!            install    replace the state machine, then: snapshot_installed(now, ok)
//!            leadership tell who waits for proposals
//!            fault      log it; perhaps step_down(now, StepDown::Disk), later resume(now)
//! reads    lease_read(now) -> Option<u64>, else read_index(now, ctx)
//! log      compact(index) -> Option<SnapshotMeta>     delete and store that in one transaction
//! restore  begin_restore(archive_index), then finish_restore(ok)
//! look     status(now), configuration(), lease_until()
//! ```
//!
//! Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014); Ongaro's
//! thesis (2014); hashicorp/raft's message set and timings as Consul uses them.

mod codec;
mod election;
mod log;
pub mod membership;
pub mod message;
mod node;
mod progress;
mod read_index;
pub mod ready;
mod replication;
pub mod rpc;
mod snapshot;
pub mod status;
pub mod types;

use std::time::Duration;

pub use membership::{ConfChange, Configuration, Server, Suffrage};
pub use message::{
    AppendEntries, AppendEntriesResponse, InstallSnapshot, InstallSnapshotResponse, Message,
    Outgoing, RequestPreVote, RequestVote, TimeoutNow, TimeoutNowResponse, VoteResponse,
};
pub use node::Raft;
pub use progress::Mode;
pub use ready::{Fault, Install, Leadership, ReadState, Ready, Role, Write};
pub use status::{PeerStatus, Status};
pub use types::{Entry, EntryKind, HardState, LogError, LogReader, ServerId, SnapshotMeta};

/// How a server behaves. [`Config::new`] gives Consul's timings; all servers should have the same.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub id: ServerId,
    /// A follower stands for election after 1 to 2 times this without hearing a leader; sooner if it
    /// was told that the leader is gone, see [`Raft::suspect`]. Heartbeats go out every 1 to 2 tenths
    /// of it.
    pub heartbeat_timeout: Duration,
    /// A candidate tries again after 1 to 2 times this; a transfer of leadership may last this long.
    pub election_timeout: Duration,
    /// A leader that did not hear from a quorum for this long steps down. A server that heard a leader
    /// gives no vote to others for [`Config::loyalty`] of it, and a leader answers reads without asking
    /// for [`Config::read_lease`] of it; clocks may drift against each other by the ratio of those two
    /// before a lease read can be stale.
    pub lease_timeout: Duration,
    /// How long a commit index may wait for an entry to travel with.
    pub commit_timeout: Duration,
    /// A request unanswered for this long counts as lost.
    pub rpc_timeout: Duration,
    /// Entries in one AppendEntries, at most.
    pub max_append_entries: usize,
    /// Bytes in one AppendEntries, at most, unless a single entry is larger.
    pub max_append_bytes: usize,
    /// AppendEntries under way to one follower, at most.
    pub max_inflight: usize,
    /// Bytes of AppendEntries under way to one follower, at most, give or take one request.
    pub max_inflight_bytes: usize,
    /// Bytes of committed entries in one [`Ready`], at most, unless a single entry is larger.
    pub max_apply_bytes: usize,
    /// Bytes of recent entries kept in memory. Entries not yet persisted stay whatever their size.
    pub max_tail_bytes: usize,
    /// Bytes of entries not yet persisted; beyond, proposals are refused as
    /// [`Error::Busy`] and appends of a leader are turned away.
    pub max_pending_bytes: usize,
    /// Reads waiting for [`Raft::read_index`] at the same time.
    pub max_pending_reads: usize,
    /// Ask for pre-votes before an election. To be off beside servers that do not know them.
    pub pre_vote: bool,
    /// Seed of the random parts of timeouts; should differ from server to server.
    pub seed: u64,
}

impl Config {
    /// How long a server that heard a leader gives no vote to others: 4/5 of the lease timeout, so that a
    /// leader that died can be replaced before a silent one would be.
    pub fn loyalty(&self) -> Duration {
        self.lease_timeout * 4 / 5
    }

    /// How long after sending a request that a quorum answered a leader answers reads without asking again:
    /// half the lease timeout.
    pub fn read_lease(&self) -> Duration {
        self.lease_timeout / 2
    }

    /// Consul's defaults with its `raft_multiplier` (1 to 10, by default 5) applied to the timeouts.
    pub fn new(id: ServerId, raft_multiplier: u32, seed: u64) -> Config {
        let second = Duration::from_secs(1) * raft_multiplier;
        Config {
            id,
            heartbeat_timeout: second,
            election_timeout: second,
            lease_timeout: second / 2,
            commit_timeout: Duration::from_millis(50),
            rpc_timeout: Duration::from_secs(10),
            max_append_entries: 64,
            max_append_bytes: 1 << 20,
            max_inflight: 128,
            max_inflight_bytes: 4 << 20,
            max_apply_bytes: 4 << 20,
            max_tail_bytes: 2 << 20,
            max_pending_bytes: 64 << 20,
            max_pending_reads: 65_536,
            pre_vote: true,
            seed,
        }
    }
}

/// Where a batch of proposals went. They are applied when an entry with such an index **and this
/// term** is applied; an entry of another term there means they were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Index of the first.
    pub first: u64,
    /// Index of the last.
    pub last: u64,
    /// Their term.
    pub term: u64,
}

/// Why a leader should stop leading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepDown {
    /// It was asked to; it may stand again later.
    Asked,
    /// Its disk fails: it stands for nothing until [`Raft::resume`]. Writes not reported as persisted
    /// stay to be done, in order, by the driver.
    Disk,
}

/// Why the core refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Only the leader can; here is who that is, if known.
    NotLeader(Option<ServerId>),
    /// Leadership is being handed over; try the next leader.
    TransferInProgress,
    /// Too much is waiting already; try again.
    Busy,
    /// The leader's term has no committed entry yet; try again in a moment.
    NotReady,
    /// The last change of membership is not committed yet.
    ConfChangeInProgress,
    /// The configuration would be invalid, and why.
    InvalidConfiguration(String),
    /// The configuration, as shown, would have nobody who votes.
    NoVoter(String),
    /// No such server in the configuration, or not of the kind needed.
    UnknownServer(ServerId),
    /// There is nobody to hand leadership to.
    NoOtherVoter,
    /// A restore of the state machine is under way.
    RestoreInProgress,
    /// This server has a log already: it belongs to a cluster.
    AlreadyFounded,
    /// Configuration entries are proposed by [`Raft::propose_conf_change`] only.
    InvalidEntry,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NotLeader(None) => f.write_str("node is not the leader, and no leader is known"),
            Error::NotLeader(Some(id)) => write!(f, "node is not the leader; {id} is"),
            Error::TransferInProgress => f.write_str("leadership transfer in progress; try again"),
            Error::Busy => f.write_str("too many writes or reads are waiting; try again"),
            Error::NotReady => f.write_str("leader has not committed an entry yet; try again"),
            Error::ConfChangeInProgress => {
                f.write_str("a configuration change is in progress; try again when it is done")
            }
            Error::InvalidConfiguration(why) => write!(f, "invalid configuration: {why}"),
            Error::NoVoter(shown) => write!(f, "Need at least one voter in configuration: {shown}"),
            Error::UnknownServer(id) => write!(f, "server {id} is not such a member"),
            Error::NoOtherVoter => f.write_str("there is no other voter to hand leadership to"),
            Error::RestoreInProgress => f.write_str("a restore is in progress; try again"),
            Error::AlreadyFounded => {
                f.write_str("bootstrap only works on new clusters: this server has a log already")
            }
            Error::InvalidEntry => {
                f.write_str("configuration entries can only come from a configuration change")
            }
        }
    }
}

impl std::error::Error for Error {}
