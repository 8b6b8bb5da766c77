//! What a server says about itself in `consul info`, and how a lone server answers `join`.
//!
//! Source: `docs/reference/http-2.md` sections 5.1 and 5.9.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::Server;
use crate::raft::Role;
use crate::structs::{Result, error_list};

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
            ("known_datacenters", "1".to_owned()),
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

    /// Joins through addresses. A lone server reaches itself; of others it says that it cannot yet.
    pub(super) fn join_addresses(&self, addresses: &[String]) -> Result<usize> {
        let mut errors = Vec::new();
        let mut reached = 0;
        for address in addresses {
            match self.join_one(address) {
                Ok(()) => reached += 1,
                Err(why) => errors.push(why),
            }
        }
        match error_list(&errors) {
            Some(error) if reached == 0 => Err(error),
            _ => Ok(reached),
        }
    }

    fn join_one(&self, address: &str) -> std::result::Result<(), String> {
        let default_port = self.options.serf_lan_port;
        let resolved: Vec<SocketAddr> = if let Ok(ip) = address.parse::<IpAddr>() {
            vec![SocketAddr::new(ip, default_port)]
        } else if let Ok(address) = address.parse::<SocketAddr>() {
            vec![address]
        } else {
            let with_port = if address.contains(':') {
                address.to_owned()
            } else {
                format!("{address}:{default_port}")
            };
            let found = with_port
                .to_socket_addrs()
                .map(Iterator::collect)
                .unwrap_or_default();
            if address.is_empty() || Vec::is_empty(&found) {
                return Err(format!(
                    "Failed to resolve {address}: lookup {address}: no such host"
                ));
            }
            found
        };
        let own = SocketAddr::new(self.options.advertise, default_port);
        if resolved.contains(&own) {
            return Ok(());
        }
        let host = resolved
            .first()
            .map_or(address.to_owned(), |a| a.ip().to_string());
        Err(format!(
            "Failed to join {host}: this version runs as a lone server and speaks no gossip yet; join \
             from a version that does, or leave the address out"
        ))
    }
}

fn to_map<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}
