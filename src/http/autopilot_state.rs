//! The body of `/v1/operator/autopilot/state`, which later Consul versions have: the servers' health in another shape.
//!
//! Source: `docs/reference/http-1.md` section 10.2.

use std::collections::BTreeMap;

use super::operator::status_word;
use crate::codec::{Deserialize, Serialize};
use crate::sorted::IntoMap;
use crate::structs::go::{GoDuration, GoTime, duration_string};
use crate::structs::{OperatorHealthReply, ServerHealth};

/// How autopilot sees the servers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AutopilotState {
    /// Whether all servers are healthy.
    #[serde(rename = "Healthy")]
    pub healthy: bool,
    /// How many voters may fail.
    #[serde(rename = "FailureTolerance")]
    pub failure_tolerance: i64,
    /// The same with features of Consul Enterprise: none.
    #[serde(rename = "OptimisticFailureTolerance")]
    pub optimistic_failure_tolerance: i64,
    /// All servers by id.
    #[serde(rename = "Servers")]
    pub servers: BTreeMap<String, AutopilotServer>,
    /// The leader's id.
    #[serde(rename = "Leader")]
    pub leader: String,
    /// The ids of those that vote.
    #[serde(rename = "Voters")]
    pub voters: Vec<String>,
}

/// How autopilot sees one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AutopilotServer {
    /// Node id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    #[serde(rename = "Name")]
    pub name: String,
    /// `ip:port` of its RPC listener.
    #[serde(rename = "Address")]
    pub address: String,
    /// Its status in the LAN pool.
    #[serde(rename = "NodeStatus")]
    pub node_status: String,
    /// Its version.
    #[serde(rename = "Version")]
    pub version: String,
    /// How long ago it was heard.
    #[serde(rename = "LastContact", serialize_with = "duration_string")]
    pub last_contact: GoDuration,
    /// Term of its last entry.
    #[serde(rename = "LastTerm")]
    pub last_term: u64,
    /// Index of its last entry.
    #[serde(rename = "LastIndex")]
    pub last_index: u64,
    /// Whether it is healthy.
    #[serde(rename = "Healthy")]
    pub healthy: bool,
    /// Since when that is so.
    #[serde(rename = "StableSince")]
    pub stable_since: GoTime,
    /// `leader`, `voter` or `non-voter`.
    #[serde(rename = "Status")]
    pub status: String,
    /// Metadata of the node: none that autopilot would use.
    #[serde(rename = "Meta")]
    pub meta: BTreeMap<String, String>,
    /// What it is meant to be.
    #[serde(rename = "NodeType")]
    pub node_type: String,
}

impl From<OperatorHealthReply> for AutopilotState {
    fn from(health: OperatorHealthReply) -> Self {
        let servers = health.servers.unwrap_or_default();
        let leader = servers.iter().find(|server| server.leader);
        let voters = servers.iter().filter(|server| server.voter);
        Self {
            healthy: health.healthy,
            failure_tolerance: health.failure_tolerance,
            optimistic_failure_tolerance: 0,
            leader: leader.map(|server| server.id.clone()).unwrap_or_default(),
            voters: voters.map(|server| server.id.clone()).collect(),
            servers: servers
                .into_iter()
                .map(|server| (server.id.clone(), server.into()))
                .into_map(),
        }
    }
}

impl From<ServerHealth> for AutopilotServer {
    fn from(server: ServerHealth) -> Self {
        let status = match (server.leader, server.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "non-voter",
        };
        Self {
            node_status: status_word(server.serf_status).to_owned(),
            status: status.to_owned(),
            node_type: "voter".to_owned(),
            meta: BTreeMap::new(),
            id: server.id,
            name: server.name,
            address: server.address,
            version: server.version,
            last_contact: server.last_contact,
            last_term: server.last_term,
            last_index: server.last_index,
            healthy: server.healthy,
            stable_since: server.stable_since,
        }
    }
}
