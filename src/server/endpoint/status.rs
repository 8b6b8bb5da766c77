//! `Status.*`: who leads, who is there. Answered by the server asked, also without a leader.
//!
//! Source: `docs/reference/http-1.md` section 8.

use crate::server::Server;
use crate::structs::{DCSpecificRequest, Result, ServerStats};

impl Server {
    /// `Status.Leader`: `ip:port`, or empty.
    pub(crate) async fn status_leader(&self, request: DCSpecificRequest) -> Result<String> {
        self.check_datacenter(&request.datacenter)?;
        Ok(self.leader_address().await)
    }

    /// `Status.Peers`: `ip:port` of every server of the Raft configuration.
    pub(crate) async fn status_peers(&self, request: DCSpecificRequest) -> Result<Vec<String>> {
        self.check_datacenter(&request.datacenter)?;
        let status = self.raft.status().await;
        let servers = status.map(|s| s.configuration.servers).unwrap_or_default();
        Ok(servers.into_iter().map(|s| s.address).collect())
    }

    /// `Status.RaftStats`.
    pub(crate) async fn status_raft_stats(&self) -> Result<ServerStats> {
        let Some(status) = self.raft.status().await else {
            return Ok(ServerStats::default());
        };
        let last_contact = if self.raft.is_leader() { "0" } else { "never" };
        Ok(ServerStats {
            last_contact: last_contact.to_owned(),
            last_term: status.last_term,
            last_index: status.last_index,
        })
    }

    /// Address of the leader's RPC listener, empty when none is known.
    pub(in crate::server) async fn leader_address(&self) -> String {
        let Some(leader) = self.raft.leadership().leader else {
            return String::new();
        };
        let Some(status) = self.raft.status().await else {
            return String::new();
        };
        let mut servers = status.configuration.servers.into_iter();
        servers
            .find(|s| *s.id == *leader)
            .map(|s| s.address)
            .unwrap_or_default()
    }
}
