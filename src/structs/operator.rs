//! Raft and autopilot as operators see them, user events, and the snapshot stream's header.
//!
//! Source: `docs/reference/http-1.md` sections 5, 9 and 10, `docs/reference/rpc.md` appendix A.

use super::go::{Bytes, GoDuration, GoTime, List, Map, duration_string};
use super::request::{QueryMeta, QueryOptions};
use crate::codec::{Deserialize, Serialize};

/// One server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftServer {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Node")]
    pub node: String,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "Leader")]
    pub leader: bool,
    #[serde(rename = "ProtocolVersion")]
    pub protocol_version: String,
    #[serde(rename = "Voter")]
    pub voter: bool,
}

/// Answer of `Operator.RaftGetConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftConfigurationResponse {
    #[serde(rename = "Servers")]
    pub servers: List<RaftServer>,
    #[serde(rename = "Index")]
    pub index: u64,
}

/// Removes a peer by ID or by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftRemovePeerRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Address")]
    pub address: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Token")]
    pub token: String,
}

/// Hands leadership to a server, or to any other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransferLeaderRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    /// To whom; empty for any.
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Token")]
    pub token: String,
}

/// Answer of `Operator.TransferLeader`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TransferLeaderResponse {
    #[serde(rename = "Success")]
    pub success: bool,
}

/// Autopilot's settings, replicated through Raft.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "AutopilotConfiguration")]
pub struct AutopilotConfig {
    #[serde(rename = "CleanupDeadServers")]
    pub cleanup_dead_servers: bool,
    #[serde(rename = "LastContactThreshold", serialize_with = "duration_string")]
    pub last_contact_threshold: GoDuration,
    #[serde(rename = "MaxTrailingLogs")]
    pub max_trailing_logs: u64,
    #[serde(rename = "MinQuorum")]
    pub min_quorum: u64,
    #[serde(rename = "ServerStabilizationTime", serialize_with = "duration_string")]
    pub server_stabilization_time: GoDuration,
    #[serde(rename = "RedundancyZoneTag")]
    pub redundancy_zone_tag: String,
    #[serde(rename = "DisableUpgradeMigration")]
    pub disable_upgrade_migration: bool,
    #[serde(rename = "UpgradeVersionTag")]
    pub upgrade_version_tag: String,
    /// Raft index of the write that created it.
    #[serde(rename = "CreateIndex")]
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    #[serde(rename = "ModifyIndex")]
    pub modify_index: u64,
}

/// Writes autopilot's settings (`Operator.AutopilotSetConfiguration`, FSM command 9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutopilotSetConfigRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Config")]
    pub config: AutopilotConfig,
    #[serde(rename = "CAS")]
    pub cas: bool,
    #[serde(rename = "Token")]
    pub token: String,
}

/// Health of one server as autopilot judges it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerHealth {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Address")]
    pub address: String,
    /// 0 none, 1 alive, 2 leaving, 3 left, 4 failed.
    #[serde(rename = "SerfStatus")]
    pub serf_status: i64,
    #[serde(rename = "Version")]
    pub version: String,
    #[serde(rename = "Leader")]
    pub leader: bool,
    #[serde(rename = "LastContact", serialize_with = "duration_string")]
    pub last_contact: GoDuration,
    #[serde(rename = "LastTerm")]
    pub last_term: u64,
    #[serde(rename = "LastIndex")]
    pub last_index: u64,
    #[serde(rename = "Healthy")]
    pub healthy: bool,
    #[serde(rename = "Voter")]
    pub voter: bool,
    #[serde(rename = "StableSince")]
    pub stable_since: GoTime,
}

/// Answer of `Operator.ServerHealth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorHealthReply {
    #[serde(rename = "Healthy")]
    pub healthy: bool,
    #[serde(rename = "FailureTolerance")]
    pub failure_tolerance: i64,
    #[serde(rename = "Servers")]
    pub servers: List<ServerHealth>,
}

/// Answer of `Status.RaftStats`; `LastContact` is text: `0`, `never` or a Go duration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerStats {
    #[serde(rename = "LastContact")]
    pub last_contact: String,
    #[serde(rename = "LastTerm")]
    pub last_term: u64,
    #[serde(rename = "LastIndex")]
    pub last_index: u64,
}

/// Asks a server to broadcast a user event (`Internal.EventFire`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFireRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Payload")]
    pub payload: Bytes,
    /// How to read: blocking, consistency, token, filter.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// Answer of `Internal.EventFire`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFireResponse {
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// Looks at or changes the gossip keys (`Internal.KeyringOperation`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyringRequest {
    /// One of [`keyring_op`].
    #[serde(rename = "Operation")]
    pub operation: String,
    /// In base64.
    #[serde(rename = "Key")]
    pub key: String,
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    /// Another server has asked the WAN pool and the other datacenters already.
    #[serde(rename = "Forwarded")]
    pub forwarded: bool,
    /// How many members each answer also goes through.
    #[serde(rename = "RelayFactor")]
    pub relay_factor: u8,
    /// Only the LAN pool of the server asked.
    #[serde(rename = "LocalOnly")]
    pub local_only: bool,
    /// How to read: of interest is the token.
    #[serde(rename = "")]
    pub options: QueryOptions,
}

/// The operations of a [`KeyringRequest`].
pub mod keyring_op {
    /// Which keys are there?
    pub const LIST: &str = "list";
    /// Add a key.
    pub const INSTALL: &str = "install";
    /// Encrypt with this key.
    pub const USE: &str = "use";
    /// Forget a key.
    pub const REMOVE: &str = "remove";
}

/// What one pool answers to a [`KeyringRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyringResponse {
    #[serde(rename = "WAN")]
    pub wan: bool,
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Segment")]
    pub segment: String,
    /// What members had to say, by their names.
    #[serde(rename = "Messages", serialize_with = "omitempty")]
    pub messages: Map<String>,
    /// How many members have each key.
    #[serde(rename = "Keys")]
    pub keys: Map<i64>,
    /// How many members encrypt with each key.
    #[serde(rename = "PrimaryKeys")]
    pub primary_keys: Map<i64>,
    #[serde(rename = "NumNodes")]
    pub num_nodes: i64,
    /// What went wrong with the pool as a whole.
    #[serde(rename = "Error", serialize_with = "omitempty")]
    pub error: String,
}

/// Answer of `Internal.KeyringOperation`: one for each pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyringResponses {
    #[serde(rename = "Responses")]
    pub responses: List<KeyringResponse>,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}

/// First message of a snapshot stream; `Op` 0 saves, 1 restores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotRequest {
    #[serde(rename = "Datacenter")]
    pub datacenter: String,
    #[serde(rename = "Token")]
    pub token: String,
    #[serde(rename = "AllowStale")]
    pub allow_stale: bool,
    #[serde(rename = "Op")]
    pub op: i64,
}

/// Answer to a snapshot request; a save's archive follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotResponse {
    #[serde(rename = "Error")]
    pub error: String,
    /// What the answering server says about the read.
    #[serde(rename = "")]
    pub meta: QueryMeta,
}
