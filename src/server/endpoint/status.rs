//! `Status.*`: who leads, who is there. Answered by the server asked, also without a leader.
//!
//! Source: `docs/reference/http-1.md` section 8.

use crate::server::Server;
use crate::structs::go::GoDuration;
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
        let last_contact = match status.last_contact {
            Some(ago) if ago.is_zero() => "0".to_owned(),
            Some(ago) => GoDuration::from(ago).to_string(),
            None => "never".to_owned(),
        };
        Ok(ServerStats {
            last_contact,
            last_term: status.last_term,
            last_index: status.last_index,
        })
    }

    /// Address of the leader's RPC listener, empty when none is known.
    pub(in crate::server) async fn leader_address(&self) -> String {
        let leader = self.raft.leadership().leader;
        leader
            .and_then(|id| self.raft.address(&id))
            .unwrap_or_default()
    }
}
