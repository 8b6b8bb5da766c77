//! `Operator.*`: the Raft configuration and autopilot.
//!
//! Source: `docs/reference/http-1.md` section 10.

use crate::raft::ConfChange;
use crate::server::{CONSUL_VERSION, Server, propose_error};
use crate::store::{ApplyReply, WatchSet};
use crate::structs::go::{GoDuration, GoTime, quote};
use crate::structs::{
    AutopilotConfig, AutopilotSetConfigRequest, DCSpecificRequest, Error, MemberStatus,
    OperatorHealthReply, RaftConfigurationResponse, RaftRemovePeerRequest, RaftServer, Result,
    ServerHealth, command,
};

impl Server {
    /// `Operator.RaftGetConfiguration`.
    pub(crate) async fn raft_get_configuration(
        &self,
        request: DCSpecificRequest,
    ) -> Result<RaftConfigurationResponse> {
        self.check_datacenter(&request.datacenter)?;
        if !request.options.allow_stale {
            self.wait_for_leader().await?;
        }
        let leader = self.raft.leadership().leader;
        let status = self.raft.status().await;
        let servers = status.map(|s| s.configuration.servers).unwrap_or_default();
        let servers = servers.into_iter().map(|server| RaftServer {
            node: if server.id == self.options.node_id {
                self.options.node_name.clone()
            } else {
                "(unknown)".to_owned()
            },
            leader: leader.as_deref() == Some(server.id.as_str()),
            voter: u8::from(server.suffrage) == 0,
            protocol_version: "3".to_owned(),
            id: server.id,
            address: server.address,
        });
        Ok(RaftConfigurationResponse {
            servers: Some(servers.collect()),
            index: 0,
        })
    }

    /// `Operator.RaftRemovePeerByID` and `Operator.RaftRemovePeerByAddress`.
    pub(crate) async fn raft_remove_peer(&self, request: RaftRemovePeerRequest) -> Result<()> {
        self.check_datacenter(&request.datacenter)?;
        self.wait_for_leader().await?;
        let status = self.raft.status().await;
        let servers = status.map(|s| s.configuration.servers).unwrap_or_default();
        let by_id = request.address.is_empty();
        let found = servers.into_iter().find(|server| {
            if by_id {
                server.id == request.id
            } else {
                server.address == request.address
            }
        });
        let Some(server) = found else {
            let (what, value) = if by_id {
                ("id", &request.id)
            } else {
                ("address", &request.address)
            };
            return Err(Error::new(format!(
                "{what} {} was not found in the Raft configuration",
                quote(value)
            )));
        };
        let change = ConfChange::Remove {
            id: server.id.as_str().into(),
        };
        self.raft
            .change_membership(change)
            .await
            .map_err(propose_error)
    }

    /// `Operator.AutopilotGetConfiguration`.
    pub(crate) async fn autopilot_get_configuration(
        &self,
        request: DCSpecificRequest,
    ) -> Result<AutopilotConfig> {
        self.check_datacenter(&request.datacenter)?;
        let (_, config) = self
            .read(&request.options, |state, watch| {
                Ok(state.autopilot_config(watch)?)
            })
            .await?;
        config.ok_or_else(|| Error::new("autopilot config not initialized yet"))
    }

    /// `Operator.AutopilotSetConfiguration`: false when a compare-and-set lost.
    pub(crate) async fn autopilot_set_configuration(
        &self,
        request: AutopilotSetConfigRequest,
    ) -> Result<bool> {
        self.check_datacenter(&request.datacenter)?;
        let (_, reply) = self.apply(command::AUTOPILOT, &request).await?;
        Ok(matches!(reply, ApplyReply::Bool(true)))
    }

    /// `Operator.ServerHealth`.
    pub(crate) async fn operator_server_health(
        &self,
        request: DCSpecificRequest,
    ) -> Result<OperatorHealthReply> {
        self.check_datacenter(&request.datacenter)?;
        self.wait_for_leader().await?;
        // Also tells whether the state can be read at all, which is what health is about.
        self.state.read()?.autopilot_config(&mut WatchSet::new())?;
        let Some(status) = self.raft.status().await else {
            return Err(Error::new("raft is already shutdown"));
        };
        let healthy = self.raft.disk_fault().is_none();
        let since = GoTime {
            nanos: 0,
            ..GoTime::from_system(self.stable_since)
        };
        let server = ServerHealth {
            id: self.options.node_id.clone(),
            name: self.options.node_name.clone(),
            address: self.rpc_address(),
            serf_status: MemberStatus::Alive as i64,
            version: CONSUL_VERSION.to_owned(),
            leader: true,
            last_contact: GoDuration(0),
            last_term: status.last_term,
            last_index: status.last_index,
            healthy,
            voter: true,
            stable_since: since,
        };
        Ok(OperatorHealthReply {
            healthy,
            failure_tolerance: 0,
            servers: Some(vec![server]),
        })
    }
}
