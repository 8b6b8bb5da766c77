//! `Operator.*`: the Raft configuration and autopilot.
//!
//! Source: `docs/reference/http-1.md` section 10.

use crate::acl::{self, Ask, Scalar};
use crate::server::Server;
use crate::store::ApplyReply;
use crate::structs::go::quote;
use crate::structs::{
    AutopilotConfig, AutopilotSetConfigRequest, DCSpecificRequest, Error, OperatorHealthReply,
    RaftConfigurationResponse, RaftRemovePeerRequest, RaftServer, Result, TransferLeaderRequest,
    TransferLeaderResponse, command,
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
        self.require(&request.options.token, Ask::ReadScalar(Scalar::Operator))?;
        let leader = self.raft.leadership().leader;
        let metas = self.lan.servers();
        let status = self.raft.status().await;
        let servers = status.map(|s| s.configuration.servers).unwrap_or_default();
        let servers = servers.into_iter().map(|server| RaftServer {
            node: if server.id == self.options.node_id {
                self.options.node_name.clone()
            } else {
                let known = metas.iter().find(|meta| meta.id == server.id);
                known.map_or_else(|| "(unknown)".to_owned(), |meta| meta.name.clone())
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
        self.require(&request.token, Ask::WriteScalar(Scalar::Operator))?;
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
        self.remove_server(&server.id, "asked by an operator").await
    }

    /// `Operator.TransferLeader`.
    pub(crate) async fn raft_transfer_leader(
        &self,
        request: TransferLeaderRequest,
    ) -> Result<TransferLeaderResponse> {
        self.check_datacenter(&request.datacenter)?;
        self.wait_for_leader().await?;
        self.require(&request.token, Ask::WriteScalar(Scalar::Operator))?;
        let to = Some(request.id.as_str()).filter(|id| !id.is_empty());
        self.hand_over(to.map(Into::into)).await?;
        Ok(TransferLeaderResponse { success: true })
    }

    /// `Operator.AutopilotGetConfiguration`.
    pub(crate) async fn autopilot_get_configuration(
        &self,
        request: DCSpecificRequest,
    ) -> Result<AutopilotConfig> {
        self.check_datacenter(&request.datacenter)?;
        let (_, config) = self
            .read(&request.options, |state, watch, acl| {
                acl::require(acl, Ask::ReadScalar(Scalar::Operator))?;
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
        self.wait_for_leader().await?;
        self.require(&request.token, Ask::WriteScalar(Scalar::Operator))?;
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
        self.require(&request.options.token, Ask::ReadScalar(Scalar::Operator))?;
        let config = self.autopilot_config()?;
        self.server_health(&config).await
    }
}
