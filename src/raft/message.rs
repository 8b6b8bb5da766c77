//! What servers say to each other: hashicorp/raft's five requests and their responses.
//!
//! Fields are those of the wire without the header and without addresses: whoever carries messages
//! knows the sender and fills those in. One thing is added: `seq`, which never travels. The wire pairs
//! responses with requests by order on a connection; here each request carries a number, the response
//! the number of its request. The carrier of a request that came in chooses its `seq` freely (a slot,
//! a connection) and finds it again in the response; a response that comes in gets the `seq` of the
//! request it answers, as the core had chosen it.
//! Source: hashicorp/raft protocol version 3; Raft thesis 3.3, 3.4, 3.10, 7, 9.6.

use super::membership::Configuration;
use super::types::{Entry, ServerId};

/// A message with its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whom it is for.
    pub to: ServerId,
    /// What to say.
    pub message: Message,
}

/// Everything a server can hear from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// RPC 0: replicate entries, or a heartbeat.
    AppendEntries(AppendEntries),
    /// Answer to RPC 0.
    AppendEntriesResponse(AppendEntriesResponse),
    /// RPC 1: ask for a vote.
    RequestVote(RequestVote),
    /// Answer to RPC 1.
    RequestVoteResponse(VoteResponse),
    /// RPC 2: replace the state machine. The data travels beside it and is the driver's affair.
    InstallSnapshot(InstallSnapshot),
    /// Answer to RPC 2.
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// RPC 3: start an election at once.
    TimeoutNow(TimeoutNow),
    /// Answer to RPC 3.
    TimeoutNowResponse(TimeoutNowResponse),
    /// RPC 4: ask whether a vote would be given.
    RequestPreVote(RequestPreVote),
    /// Answer to RPC 4.
    RequestPreVoteResponse(VoteResponse),
}

/// RPC 0. With all of `prev_index`, `prev_term`, `leader_commit` 0 and no entries it is a heartbeat,
/// answered without touching the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendEntries {
    /// Pairs request and response; never on the wire.
    pub seq: u64,
    /// The leader's term.
    pub term: u64,
    /// Wire: `PrevLogEntry`. The index before the first entry.
    pub prev_index: u64,
    /// Wire: `PrevLogTerm`.
    pub prev_term: u64,
    /// Wire: `Entries`.
    pub entries: Vec<Entry>,
    /// Wire: `LeaderCommitIndex`.
    pub leader_commit: u64,
}

/// Answer to RPC 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendEntriesResponse {
    /// The `seq` of the request.
    pub seq: u64,
    /// The follower's term.
    pub term: u64,
    /// Wire: `LastLog`. The follower's last index before the request was processed.
    pub last_log: u64,
    /// Whether everything in the request is on the follower's disk now.
    pub success: bool,
    /// Whether the leader may try again without waiting.
    pub no_retry_backoff: bool,
}

/// RPC 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestVote {
    /// Pairs request and response; never on the wire.
    pub seq: u64,
    /// The candidate's term.
    pub term: u64,
    /// Index of the candidate's last entry.
    pub last_log_index: u64,
    /// Term of the candidate's last entry.
    pub last_log_term: u64,
    /// Whether the leader asked for this election, so that knowing a leader is no reason to refuse.
    pub leadership_transfer: bool,
}

/// RPC 4. `term` is the term the candidate would have, one above its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPreVote {
    /// Pairs request and response; never on the wire.
    pub seq: u64,
    /// The term the candidate would stand in.
    pub term: u64,
    /// Index of the candidate's last entry.
    pub last_log_index: u64,
    /// Term of the candidate's last entry.
    pub last_log_term: u64,
}

/// Answer to RPC 1 and RPC 4. An older peer that does not know RPC 4 closes the connection: a refusal;
/// an error naming an "unexpected command" is to be handed in as `granted`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoteResponse {
    /// The `seq` of the request.
    pub seq: u64,
    /// The voter's term.
    pub term: u64,
    /// Whether the vote was, or would be, given.
    pub granted: bool,
}

/// RPC 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallSnapshot {
    /// Pairs request and response; never on the wire.
    pub seq: u64,
    /// The leader's term.
    pub term: u64,
    /// The last index the snapshot covers.
    pub last_log_index: u64,
    /// The term of that index.
    pub last_log_term: u64,
    /// The membership at that index.
    pub configuration: Configuration,
    /// The index of the entry that set `configuration`.
    pub configuration_index: u64,
}

/// Answer to RPC 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallSnapshotResponse {
    /// The `seq` of the request.
    pub seq: u64,
    /// The follower's term.
    pub term: u64,
    /// Whether the state machine now holds the snapshot or more.
    pub success: bool,
}

/// RPC 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeoutNow {
    /// Pairs request and response; never on the wire.
    pub seq: u64,
    /// The leader's term, 0 when unknown. The wire of hashicorp/raft does not have it (a real peer
    /// ignores it); with it a request that was long under way cannot start an election in a later
    /// term, which is what makes leases safe beside transfers.
    pub term: u64,
}

/// Answer to RPC 3: heard, nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeoutNowResponse {
    /// The `seq` of the request.
    pub seq: u64,
}

impl Message {
    /// The number on the wire of this RPC; a response has that of its request.
    pub fn rpc(&self) -> u8 {
        match self {
            Message::AppendEntries(_) | Message::AppendEntriesResponse(_) => 0,
            Message::RequestVote(_) | Message::RequestVoteResponse(_) => 1,
            Message::InstallSnapshot(_) | Message::InstallSnapshotResponse(_) => 2,
            Message::TimeoutNow(_) | Message::TimeoutNowResponse(_) => 3,
            Message::RequestPreVote(_) | Message::RequestPreVoteResponse(_) => 4,
        }
    }

    /// Whether it is a request, which wants a response.
    pub fn is_request(&self) -> bool {
        matches!(
            self,
            Message::AppendEntries(_)
                | Message::RequestVote(_)
                | Message::InstallSnapshot(_)
                | Message::TimeoutNow(_)
                | Message::RequestPreVote(_)
        )
    }

    /// The number that pairs request and response.
    pub fn seq(&self) -> u64 {
        match self {
            Message::AppendEntries(m) => m.seq,
            Message::AppendEntriesResponse(m) => m.seq,
            Message::RequestVote(m) => m.seq,
            Message::RequestVoteResponse(m) | Message::RequestPreVoteResponse(m) => m.seq,
            Message::InstallSnapshot(m) => m.seq,
            Message::InstallSnapshotResponse(m) => m.seq,
            Message::TimeoutNow(m) => m.seq,
            Message::TimeoutNowResponse(m) => m.seq,
            Message::RequestPreVote(m) => m.seq,
        }
    }

    /// The same under another number, which the carrier of a request chooses.
    pub fn with_seq(mut self, seq: u64) -> Self {
        match &mut self {
            Message::AppendEntries(m) => m.seq = seq,
            Message::AppendEntriesResponse(m) => m.seq = seq,
            Message::RequestVote(m) => m.seq = seq,
            Message::RequestVoteResponse(m) | Message::RequestPreVoteResponse(m) => m.seq = seq,
            Message::InstallSnapshot(m) => m.seq = seq,
            Message::InstallSnapshotResponse(m) => m.seq = seq,
            Message::TimeoutNow(m) => m.seq = seq,
            Message::TimeoutNowResponse(m) => m.seq = seq,
            Message::RequestPreVote(m) => m.seq = seq,
        }
        self
    }

    /// Turns an answer that is not out yet into a refusal of this newer term. `false` for requests,
    /// which have become pointless.
    pub(super) fn refuse(&mut self, new_term: u64) -> bool {
        match self {
            Message::AppendEntriesResponse(m) => {
                m.term = new_term;
                m.success = false;
            }
            Message::RequestVoteResponse(m) | Message::RequestPreVoteResponse(m) => {
                m.term = new_term;
                m.granted = false;
            }
            Message::InstallSnapshotResponse(m) => {
                m.term = new_term;
                m.success = false;
            }
            Message::TimeoutNowResponse(_) => {}
            Message::AppendEntries(_)
            | Message::RequestVote(_)
            | Message::InstallSnapshot(_)
            | Message::TimeoutNow(_)
            | Message::RequestPreVote(_) => return false,
        }
        true
    }
}
