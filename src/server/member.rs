//! The members of the pool as this server knows them, and how they appear in the catalog.
//!
//! Source: `docs/reference/http-2.md` sections 5.1 and 9.

use super::{CONSUL_VERSION, Server};
use crate::store::WatchSet;
use crate::structs::{HealthCheck, NodeService, RegisterRequest, Result, Weights, command};
use crate::telemetry::{Timed, metrics};

/// The check that says whether a member is alive.
pub(super) const SERF_HEALTH: &str = "serfHealth";
/// The service that every server is.
pub(super) const CONSUL_SERVICE: &str = "consul";

/// How much of a registration the catalog has already.
enum Registered {
    /// Nothing, or another address or id.
    No,
    /// The node, but not its service and check.
    Node,
    /// All of it.
    Whole,
}

impl Server {
    /// Writes this server's node, `consul` service and `serfHealth` check unless the catalog has them.
    pub(super) async fn reconcile(&self) -> Result<()> {
        let _timed = Timed::start(&metrics::LEADER_RECONCILE);
        let _member = Timed::start(&metrics::LEADER_RECONCILE_MEMBER);
        let mut request = self.own_registration();
        match self.registered(&request)? {
            Registered::Whole => return Ok(()),
            // The agent itself keeps the rest of its node record: what is there stays.
            Registered::Node => request.skip_node_update = true,
            Registered::No => {}
        }
        log::info!(
            target: "agent.server",
            member = self.options.node_name.as_str(); "member joined, marking health alive"
        );
        self.propose(command::REGISTER, &request).await?;
        Ok(())
    }

    fn registered(&self, want: &RegisterRequest) -> Result<Registered> {
        let state = self.state.read()?;
        let none = &mut WatchSet::new();
        let (_, Some(list)) = state.node_services(none, &want.node)? else {
            return Ok(Registered::No);
        };
        let services = list.services.unwrap_or_default();
        if !list
            .node
            .is_some_and(|node| node.id == want.id && node.address == want.address)
        {
            return Ok(Registered::No);
        }
        let same_service = want.service.as_ref().is_some_and(|service| {
            services.iter().any(|have| {
                have.id == service.id && have.port == service.port && have.meta == service.meta
            })
        });
        let (_, checks) = state.node_checks(none, &want.node)?;
        let same_check = want.check.as_ref().is_some_and(|check| {
            checks
                .iter()
                .any(|have| have.check_id == check.check_id && have.status == check.status)
        });
        Ok(if same_service && same_check {
            Registered::Whole
        } else {
            Registered::Node
        })
    }

    fn own_registration(&self) -> RegisterRequest {
        let o = &self.options;
        let meta = [
            ("non_voter", "false"),
            ("raft_version", "3"),
            ("serf_protocol_current", "2"),
            ("serf_protocol_max", "5"),
            ("serf_protocol_min", "1"),
            ("version", CONSUL_VERSION),
        ];
        RegisterRequest {
            datacenter: o.datacenter.clone(),
            node: o.node_name.clone(),
            id: o.node_id.clone(),
            address: o.advertise.to_string(),
            service: Some(NodeService {
                id: CONSUL_SERVICE.to_owned(),
                service: CONSUL_SERVICE.to_owned(),
                port: i64::from(o.server_port),
                meta: Some(meta.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                weights: Some(Weights {
                    passing: 1,
                    warning: 1,
                }),
                ..NodeService::default()
            }),
            check: Some(HealthCheck {
                node: o.node_name.clone(),
                check_id: SERF_HEALTH.to_owned(),
                name: "Serf Health Status".to_owned(),
                status: "passing".to_owned(),
                output: "Agent alive and reachable".to_owned(),
                ..HealthCheck::default()
            }),
            ..RegisterRequest::default()
        }
    }
}
