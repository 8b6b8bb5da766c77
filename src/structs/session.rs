//! Sessions and the requests around them.
//!
//! Source: `docs/reference/http-1.md` section 4, `docs/reference/rpc.md` appendix A.

use super::go::{GoDuration, List};
use super::request::{QueryMeta, QueryOptions};
use crate::codec::{Deserialize, Serialize};

/// A service check that a session depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceCheck {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Namespace")]
    pub namespace: String,
}

/// A session: what holds locks, and ends with its checks, its node or its TTL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "")]
pub struct Session {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "LockDelay")]
    pub lock_delay: GoDuration,
    /// `release` or `delete`: what becomes of held keys.
    #[serde(rename = "Behavior")]
    pub behavior: String,
    /// Go duration as the user wrote it, empty for none.
    #[serde(rename = "TTL")]
    pub ttl: String,
    #[serde(rename = "NodeChecks")]
    pub node_checks: List<String>,
    #[serde(rename = "ServiceChecks")]
    pub service_checks: List<ServiceCheck>,
    /// Deprecated spelling of both lists.
    #[serde(rename = "Checks", serialize_with = "omitempty")]
    pub checks: List<String>,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// Names of the operations of `Session.Apply`.
pub mod session_op {
    /// Make a session.
    pub const CREATE: &str = "create";
    /// End a session.
    pub const DESTROY: &str = "destroy";
}

/// Names of what becomes of the keys that an ended session held.
pub mod session_behavior {
    /// The locks are released.
    pub const RELEASE: &str = "release";
    /// The keys are deleted.
    pub const DELETE: &str = "delete";
}

/// Creates or destroys a session (`Session.Apply`, FSM command 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    /// `create` or `destroy`.
    #[serde(rename = "Op")]
    pub op: String,
    #[serde(rename = "Session")]
    pub session: Session,
    #[serde(rename = "Token")]
    pub token: String,
}

/// Names one session (`Session.Get`, `Session.Renew`), or none (`Session.List`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSpecificRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "SessionID")]
    pub session_id: String,
    /// Old name of `SessionID`, senders fill both.
    #[serde(rename = "Session")]
    pub session: String,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// Answer of the session reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexedSessions {
    #[serde(rename = "Sessions")]
    pub sessions: List<Session>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}
