//! Transactions: several operations on KV and catalog, all or none.
//!
//! Source: `docs/reference/http-1.md` section 3, `docs/reference/rpc.md` appendix A.

use super::catalog::{HealthCheck, Node, NodeService};
use super::go::{Any, List};
use super::kvs::DirEntry;
use super::request::{QueryMeta, QueryOptions};
use super::session::Session;
use crate::codec::{Deserialize, Serialize};

/// One operation on the key/value store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnKVOp {
    #[serde(rename = "Verb")]
    pub verb: String,
    #[serde(rename = "DirEnt")]
    pub dir_ent: DirEntry,
}

/// One operation on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnNodeOp {
    #[serde(rename = "Verb")]
    pub verb: String,
    #[serde(rename = "Node")]
    pub node: Node,
}

/// One operation on a service of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnServiceOp {
    #[serde(rename = "Verb")]
    pub verb: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Service")]
    pub service: NodeService,
}

/// One operation on a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnCheckOp {
    #[serde(rename = "Verb")]
    pub verb: String,
    #[serde(rename = "Check")]
    pub check: HealthCheck,
}

/// One operation on a session (internal: Consul deletes sessions this way).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnSessionOp {
    #[serde(rename = "Verb")]
    pub verb: String,
    #[serde(rename = "Session")]
    pub session: Session,
}

/// Exactly one of its members is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnOp {
    #[serde(rename = "KV")]
    pub kv: Option<TxnKVOp>,
    #[serde(rename = "Node")]
    pub node: Option<TxnNodeOp>,
    #[serde(rename = "Service")]
    pub service: Option<TxnServiceOp>,
    #[serde(rename = "Check")]
    pub check: Option<TxnCheckOp>,
    #[serde(rename = "Session")]
    pub session: Option<TxnSessionOp>,
    /// Not offered over HTTP, kept so that it is refused by name.
    #[serde(rename = "Intention")]
    pub intention: Option<Any>,
}

/// A writing transaction (`Txn.Apply`, FSM command 8).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Ops")]
    pub ops: List<TxnOp>,
    #[serde(rename = "Token")]
    pub token: String,
}

/// A transaction that only reads (`Txn.Read`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnReadRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Ops")]
    pub ops: List<TxnOp>,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// What one operation yielded: exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnResult {
    #[serde(rename = "KV", serialize_with = "omitempty")]
    pub kv: Option<DirEntry>,
    #[serde(rename = "Node", serialize_with = "omitempty")]
    pub node: Option<Node>,
    #[serde(rename = "Service", serialize_with = "omitempty")]
    pub service: Option<NodeService>,
    #[serde(rename = "Check", serialize_with = "omitempty")]
    pub check: Option<HealthCheck>,
}

/// Why one operation failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnError {
    #[serde(rename = "OpIndex")]
    pub op_index: i64,
    #[serde(rename = "What")]
    pub what: String,
}

/// Answer of `Txn.Apply`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnResponse {
    #[serde(rename = "Results")]
    pub results: List<TxnResult>,
    #[serde(rename = "Errors")]
    pub errors: List<TxnError>,
}

/// Answer of `Txn.Read`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TxnReadResponse {
    #[serde(rename = "Results")]
    pub results: List<TxnResult>,
    #[serde(rename = "Errors")]
    pub errors: List<TxnError>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}
