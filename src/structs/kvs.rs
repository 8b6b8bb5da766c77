//! Key/value entries and the requests around them.
//!
//! Source: `docs/reference/http-1.md` section 2, `docs/reference/rpc.md` appendix A.

use super::go::{Bytes, List};
use super::request::{QueryMeta, QueryOptions};
use crate::codec::{Deserialize, Serialize};

/// One entry of the key/value store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirEntry {
    /// Number of successful acquisitions of its lock.
    #[serde(rename = "LockIndex")]
    pub lock_index: u64,
    #[serde(rename = "Key")]
    pub key: String,
    #[serde(rename = "Flags")]
    pub flags: u64,
    #[serde(rename = "Value")]
    pub value: Bytes,
    /// The session that holds the lock, or empty.
    #[serde(rename = "Session", serialize_with = "omitempty")]
    pub session: String,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// Names of the operations of `KVS.Apply` and of KV operations in transactions.
pub mod kv_op {
    /// Write unconditionally.
    pub const SET: &str = "set";
    /// Delete one key.
    pub const DELETE: &str = "delete";
    /// Delete if the modify index matches.
    pub const DELETE_CAS: &str = "delete-cas";
    /// Delete everything under a prefix.
    pub const DELETE_TREE: &str = "delete-tree";
    /// Write if the modify index matches; 0 means create only.
    pub const CAS: &str = "cas";
    /// Acquire the key's lock for a session.
    pub const LOCK: &str = "lock";
    /// Release the key's lock.
    pub const UNLOCK: &str = "unlock";
    /// Read one key (transactions only).
    pub const GET: &str = "get";
    /// Read everything under a prefix (transactions only).
    pub const GET_TREE: &str = "get-tree";
    /// Fail unless the modify index matches (transactions only).
    pub const CHECK_INDEX: &str = "check-index";
    /// Fail unless the session holds the lock (transactions only).
    pub const CHECK_SESSION: &str = "check-session";
    /// Fail if the key exists (transactions only).
    pub const CHECK_NOT_EXISTS: &str = "check-not-exists";
}

/// A write to the key/value store (`KVS.Apply`, FSM command 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KVSRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    /// One of the names in [`kv_op`].
    #[serde(rename = "Op")]
    pub op: String,
    #[serde(rename = "DirEnt")]
    pub dir_ent: DirEntry,
    #[serde(rename = "Token")]
    pub token: String,
}

/// Reads one key (`KVS.Get`) or everything under a prefix (`KVS.List`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Key")]
    pub key: String,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// Lists keys under a prefix, cut after a separator (`KVS.ListKeys`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyListRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Prefix")]
    pub prefix: String,
    /// Consul's own spelling.
    #[serde(rename = "Seperator")]
    pub seperator: String,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// Removes tombstones up to an index (FSM command 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TombstoneRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Op")]
    pub op: String,
    #[serde(rename = "ReapIndex")]
    pub reap_index: u64,
    #[serde(rename = "Token")]
    pub token: String,
}

/// Answer of `KVS.Get` and `KVS.List`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedDirEntries {
    #[serde(rename = "Entries")]
    pub entries: List<DirEntry>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Answer of `KVS.ListKeys`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedKeyList {
    #[serde(rename = "Keys")]
    pub keys: List<String>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}
