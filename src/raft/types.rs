//! The nouns of Raft: entries, hard state, snapshots' descriptions, and the log that lies on disk.
//!
//! Plain data only. How an entry is stored belongs to `store`, how it travels to `wire`.
//! Source: hashicorp/raft's log entry (protocol version 3): index, term, type, data, extensions.

use std::sync::Arc;

use super::membership::Configuration;

/// A server's id: in Consul the node id, a UUID in text. Cheap to clone.
pub type ServerId = Arc<str>;

/// What a log entry is for; the numbers are those of the wire.
///
/// Types 2 and 3 (add and remove peer, before protocol version 3) are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A command for the state machine.
    Command = 0,
    /// The first entry of each leader's term. Never reaches the state machine.
    Noop = 1,
    /// Does nothing, yet counts as applied: who waits for it knows all before it is applied.
    Barrier = 4,
    /// A [`Configuration`] in msgpack; takes effect when appended.
    Configuration = 5,
}

impl EntryKind {
    /// The kind with this number, `None` for a number this version does not speak.
    pub fn from_u8(n: u8) -> Option<EntryKind> {
        match n {
            0 => Some(EntryKind::Command),
            1 => Some(EntryKind::Noop),
            4 => Some(EntryKind::Barrier),
            5 => Some(EntryKind::Configuration),
            _ => None,
        }
    }
}

/// One entry of the replicated log. Clones share the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in the log, from 1, without gaps but for a user's restore.
    pub index: u64,
    /// The term of the leader that created it.
    pub term: u64,
    /// What it is for.
    pub kind: EntryKind,
    /// The payload: for a command Consul's FSM command (type byte and msgpack).
    pub data: Arc<[u8]>,
    /// Chunking information, nearly always empty.
    pub extensions: Vec<u8>,
}

/// What an entry costs in memory beside its payload; counted against every bound in bytes.
const ENTRY_OVERHEAD: usize = 96;

impl Entry {
    /// Bytes this entry counts against bounds of memory and of messages.
    pub fn size(&self) -> usize {
        self.data.len() + self.extensions.len() + ENTRY_OVERHEAD
    }
}

/// What must be on disk before a server may act on it (Raft paper, figure 2, persistent state).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term this server has seen.
    pub term: u64,
    /// Who got this server's vote in `term`.
    pub voted_for: Option<ServerId>,
}

/// Describes a snapshot of the state machine: everything up to `index` is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last index the snapshot covers; 0 for no snapshot.
    pub index: u64,
    /// The term of that index.
    pub term: u64,
    /// The membership in force at `index`.
    pub configuration: Configuration,
    /// The index of the entry that set `configuration`.
    pub configuration_index: u64,
}

/// The log as it lies on disk, for entries that have left the core's memory.
///
/// The core asks only for what it was told is persisted. Calls may block on the disk; an error makes
/// the core report [`Fault::LogUnreadable`](super::Fault) and act as if the message had been lost.
pub trait LogReader: Send {
    /// First index held, 0 when the log is empty. Asked once, at start.
    fn first_index(&self) -> u64;
    /// Last index held, 0 when the log is empty. Asked once, at start.
    fn last_index(&self) -> u64;
    /// Term of the entry at `index`, `None` if it is not held.
    fn term(&self, index: u64) -> Result<Option<u64>, LogError>;
    /// Entries `lo..=hi` in order, stopping early once `max_bytes` (of [`Entry::size`]) is passed;
    /// at least one entry if `lo` is held.
    fn entries(&self, lo: u64, hi: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError>;
    /// All entries of kind [`EntryKind::Configuration`] held, in order. Asked once, at start.
    fn configurations(&self) -> Result<Vec<Entry>, LogError>;
}

/// Why the log on disk could not be read, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogError(pub String);

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}
