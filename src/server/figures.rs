//! What a server says about itself in `consul info`.
//!
//! Source: `docs/reference/http-2.md` section 5.9.

use std::collections::BTreeMap;

use super::Server;
use crate::raft::Role;

impl Server {
    /// The group `consul`.
    pub(super) fn consul_stats(&self) -> BTreeMap<String, String> {
        let leader = self.raft.leadership().leader;
        let leader_addr = match leader {
            Some(id) if *id == *self.options.node_id => self.rpc_address(),
            _ => String::new(),
        };
        to_map([
            ("acl", "disabled".to_owned()),
            ("bootstrap", self.options.bootstrap.to_string()),
            ("known_datacenters", self.datacenters().len().to_string()),
            ("leader", self.raft.is_leader().to_string()),
            ("leader_addr", leader_addr),
            ("server", "true".to_owned()),
        ])
    }

    /// The group `raft`; empty while the agent shuts down.
    pub(super) async fn raft_stats(&self) -> BTreeMap<String, String> {
        let Some(status) = self.raft.status().await else {
            return BTreeMap::new();
        };
        let state = match status.role {
            Role::Leader => "Leader",
            Role::Candidate | Role::PreCandidate => "Candidate",
            Role::Follower => "Follower",
        };
        let servers: Vec<String> = status
            .configuration
            .servers
            .iter()
            .map(|s| {
                format!(
                    "{{Suffrage:{:?} ID:{} Address:{}}}",
                    s.suffrage, s.id, s.address
                )
            })
            .collect();
        let last_contact = match status.last_contact {
            Some(ago) if ago.is_zero() => "0".to_owned(),
            Some(ago) => crate::structs::go::GoDuration::from(ago).to_string(),
            None => "never".to_owned(),
        };
        let applied = self.raft.applied_index();
        to_map([
            ("applied_index", applied.to_string()),
            ("commit_index", status.commit.max(applied).to_string()),
            (
                "fsm_pending",
                status.commit.saturating_sub(applied).to_string(),
            ),
            ("last_contact", last_contact),
            ("last_log_index", status.last_index.max(applied).to_string()),
            ("last_log_term", status.last_term.to_string()),
            ("last_snapshot_index", status.snapshot_index.to_string()),
            ("last_snapshot_term", "0".to_owned()),
            ("latest_configuration", format!("[{}]", servers.join(" "))),
            ("latest_configuration_index", "0".to_owned()),
            ("num_peers", servers.len().saturating_sub(1).to_string()),
            ("protocol_version", "3".to_owned()),
            ("protocol_version_max", "3".to_owned()),
            ("protocol_version_min", "0".to_owned()),
            ("snapshot_version_max", "1".to_owned()),
            ("snapshot_version_min", "0".to_owned()),
            ("state", state.to_owned()),
            ("term", status.term.to_string()),
        ])
    }
}

fn to_map<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}
