//! The members of the pool as they appear in the catalog, and the servers among them in Raft's configuration.
//!
//! Holds true: what the catalog has already is not written again; nodes that never were members stay as they are.
//! Source: `docs/reference/http-2.md` section 9, `docs/reference/gossip.md` section 15.6.

use std::collections::BTreeSet;

use super::Server;
use crate::gossip::{CONSUL_VERSIONS, Member};
use crate::serf::ServerMeta;
use crate::store::WatchSet;
use crate::structs::{
    DeregisterRequest, HealthCheck, MemberStatus, Node, NodeService, RegisterRequest, Result,
    Weights, command,
};
use crate::telemetry::{Timed, metrics};

/// The check that says whether a member is alive.
pub(super) const SERF_HEALTH: &str = "serfHealth";
/// The service that every server is.
pub(super) const CONSUL_SERVICE: &str = "consul";

const PASSING: &str = "passing";
const CRITICAL: &str = "critical";

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
    /// Compares every member with the catalog, and the catalog with the members. Says whether all went well.
    pub(super) async fn reconcile(&self) -> Result<bool> {
        let _timed = Timed::start(&metrics::LEADER_RECONCILE);
        let members = self.lan.members();
        let mut whole = true;
        self.reconcile_own().await?;
        for member in members.iter() {
            whole &= self.reconcile_member(member).await;
        }
        self.reconcile_reaped().await?;
        Ok(whole)
    }

    /// Compares those members with the catalog to which something has happened. Says whether all went well.
    pub(super) async fn reconcile_changed(&self) -> bool {
        let mut whole = true;
        for name in self.lan.take_changed() {
            let members = self.lan.members();
            if let Some(member) = members.iter().find(|member| member.name == name) {
                whole &= self.reconcile_member(member).await;
            } else if let Err(error) = self.reconcile_reaped().await {
                log::error!(target: "agent.server", error:%; "failed to reconcile reaped members");
                whole = false;
            }
        }
        whole
    }

    /// Writes this server's own node.
    pub(super) async fn reconcile_own(&self) -> Result<()> {
        let o = &self.options;
        let own = self.lan.pool().local();
        let [min, max, current, ..] = own.as_ref().map_or(CONSUL_VERSIONS, |own| own.versions);
        let ip = own.map_or(o.advertise, |own| own.addr.ip());
        self.ensure_alive(&Registration {
            name: &o.node_name,
            id: &o.node_id,
            address: ip.to_string(),
            server: Some(ConsulService {
                port: o.server_port,
                protocol: (min, max, current),
                build: super::CONSUL_VERSION,
            }),
        })
        .await
    }

    /// Brings the catalog, and Raft's configuration, in line with one member.
    async fn reconcile_member(&self, member: &Member) -> bool {
        let _timed = Timed::start(&metrics::LEADER_RECONCILE_MEMBER);
        if member.name.eq_ignore_ascii_case(&self.options.node_name) {
            // It knows itself better than the pool does.
            return true;
        }
        let done = match member.status {
            MemberStatus::Alive => self.reconcile_alive(member).await,
            MemberStatus::Failed => self.reconcile_failed(member).await,
            MemberStatus::Left => self.reconcile_gone(member, "left").await,
            MemberStatus::Leaving | MemberStatus::None => Ok(()),
        };
        if let Err(error) = done {
            log::error!(
                target: "agent.server",
                member = member.name.as_str(), error:%; "failed to reconcile member"
            );
            return false;
        }
        true
    }

    async fn reconcile_alive(&self, member: &Member) -> Result<()> {
        let meta = ServerMeta::of(member);
        if let Some(meta) = &meta {
            self.join_server(meta).await?;
        }
        let [min, max, current, ..] = member.versions;
        let server = meta.as_ref().map(|meta| ConsulService {
            port: meta.rpc.port(),
            protocol: (min, max, current),
            build: &meta.build,
        });
        self.ensure_alive(&Registration {
            name: &member.name,
            id: tag_id(member),
            address: member.addr.ip().to_string(),
            server,
        })
        .await
    }

    async fn ensure_alive(&self, member: &Registration<'_>) -> Result<()> {
        let mut request = self.registration(member);
        match self.registered(&request)? {
            Registered::Whole => return Ok(()),
            // The agent itself keeps the rest of its node record: what is there stays.
            Registered::Node => request.skip_node_update = true,
            Registered::No => self.make_room(&request).await?,
        }
        log::info!(
            target: "agent.server",
            member = member.name; "member joined, marking health alive"
        );
        self.propose(command::REGISTER, &request).await?;
        Ok(())
    }

    /// A machine that was set up anew under its old name has another id: the pool says that the old one is gone, so
    /// it must not keep the name.
    async fn make_room(&self, request: &RegisterRequest) -> Result<()> {
        let (node, check) = self.known(&request.node)?;
        let Some(node) = node.filter(|node| !node.id.is_empty() && node.id != request.id) else {
            return Ok(());
        };
        if check.is_none_or(|check| check.status == CRITICAL) {
            return Ok(());
        }
        let replaced = RegisterRequest {
            id: node.id,
            address: node.address,
            check: Some(serf_health(&request.node, CRITICAL)),
            service: None,
            skip_node_update: true,
            ..request.clone()
        };
        self.propose(command::REGISTER, &replaced).await?;
        Ok(())
    }

    async fn reconcile_failed(&self, member: &Member) -> Result<()> {
        let (node, check) = self.known(&member.name)?;
        let Some(node) = node else {
            log::info!(
                target: "agent.server",
                member = member.name.as_str();
                "ignoring failed event for member because it does not exist in the catalog"
            );
            return Ok(());
        };
        let id = tag_id(member);
        let renamed = !node.id.is_empty() && !id.is_empty() && node.id != id;
        if renamed || check.is_some_and(|check| check.status == CRITICAL) {
            return Ok(());
        }
        log::info!(
            target: "agent.server",
            member = member.name.as_str(); "member failed, marking health critical"
        );
        let request = RegisterRequest {
            datacenter: self.options.datacenter.clone(),
            node: member.name.clone(),
            id: node.id,
            address: node.address,
            check: Some(serf_health(&member.name, CRITICAL)),
            skip_node_update: true,
            ..RegisterRequest::default()
        };
        self.propose(command::REGISTER, &request).await?;
        Ok(())
    }

    /// A member that left.
    async fn reconcile_gone(&self, member: &Member, why: &str) -> Result<()> {
        if let Some(meta) = ServerMeta::of(member) {
            self.retire_server(&meta.id, &member.name, why).await?;
        }
        let id = tag_id(member);
        match self.known(&member.name)?.0 {
            // Another machine has taken over the name.
            Some(node) if !id.is_empty() && !node.id.is_empty() && node.id != id => Ok(()),
            Some(_) => self.deregister(&member.name, why).await,
            None => Ok(()),
        }
    }

    /// Takes nodes out whose members the pool has forgotten.
    async fn reconcile_reaped(&self) -> Result<()> {
        let members = self.lan.members();
        let known: BTreeSet<String> = members.iter().map(|m| m.name.to_lowercase()).collect();
        let gone: Vec<(String, String)> = {
            let state = self.state.read()?;
            let none = &mut WatchSet::new();
            let (_, checks) = state.checks_in_state(none, "any", &None)?;
            let unknown = checks.into_iter().filter(|check| {
                check.check_id == SERF_HEALTH && !known.contains(&check.node.to_lowercase())
            });
            let unknown: Vec<String> = unknown.map(|check| check.node).collect();
            let mut gone = Vec::new();
            for name in unknown {
                let (_, node) = state.node(none, &name)?;
                gone.push((node.map(|node| node.id).unwrap_or_default(), name));
            }
            gone
        };
        for (id, name) in gone {
            self.retire_server(&id, &name, "reaped").await?;
            self.deregister(&name, "reaped").await?;
        }
        Ok(())
    }

    /// Takes a server that is gone out of Raft's configuration, unless it is there under another name.
    async fn retire_server(&self, id: &str, name: &str, why: &str) -> Result<()> {
        let servers = self.lan.servers();
        let elsewhere = servers
            .iter()
            .any(|meta| meta.id == id && meta.is_alive() && meta.name != name);
        if elsewhere || id.is_empty() || id == self.options.node_id {
            return Ok(());
        }
        self.remove_server(id, why).await
    }

    async fn deregister(&self, name: &str, why: &str) -> Result<()> {
        if name.eq_ignore_ascii_case(&self.options.node_name) {
            log::warn!(
                target: "agent.server",
                name; "deregistering self should be done by follower"
            );
            return Ok(());
        }
        log::info!(target: "agent.server", member = name, reason = why; "deregistering member");
        let request = DeregisterRequest {
            datacenter: self.options.datacenter.clone(),
            node: name.to_owned(),
            ..DeregisterRequest::default()
        };
        self.propose(command::DEREGISTER, &request).await?;
        Ok(())
    }

    /// A node of the catalog and its `serfHealth`.
    fn known(&self, name: &str) -> Result<(Option<Node>, Option<HealthCheck>)> {
        let state = self.state.read()?;
        let none = &mut WatchSet::new();
        let (_, node) = state.node(none, name)?;
        let (_, checks) = state.node_checks(none, name)?;
        let check = checks
            .into_iter()
            .find(|check| check.check_id == SERF_HEALTH);
        Ok((node, check))
    }

    fn registered(&self, want: &RegisterRequest) -> Result<Registered> {
        let (node, check) = self.known(&want.node)?;
        if !node.is_some_and(|node| node.id == want.id && node.address == want.address) {
            return Ok(Registered::No);
        }
        let same_check = want
            .check
            .as_ref()
            .is_some_and(|want| check.is_some_and(|have| have.status == want.status));
        let Some(service) = &want.service else {
            return Ok(if same_check {
                Registered::Whole
            } else {
                Registered::Node
            });
        };
        let state = self.state.read()?;
        let (_, list) = state.node_services(&mut WatchSet::new(), &want.node)?;
        let services = list.and_then(|list| list.services).unwrap_or_default();
        let same_service = services.iter().any(|have| {
            have.id == service.id && have.port == service.port && have.meta == service.meta
        });
        Ok(if same_service && same_check {
            Registered::Whole
        } else {
            Registered::Node
        })
    }

    fn registration(&self, member: &Registration<'_>) -> RegisterRequest {
        RegisterRequest {
            datacenter: self.options.datacenter.clone(),
            node: member.name.to_owned(),
            id: member.id.to_owned(),
            address: member.address.clone(),
            service: member.server.as_ref().map(consul_service),
            check: Some(serf_health(member.name, PASSING)),
            ..RegisterRequest::default()
        }
    }
}

/// What is registered of a member.
struct Registration<'a> {
    name: &'a str,
    id: &'a str,
    address: String,
    server: Option<ConsulService<'a>>,
}

/// What is registered of a server.
struct ConsulService<'a> {
    port: u16,
    /// Memberlist's oldest, newest and present protocol.
    protocol: (u8, u8, u8),
    build: &'a str,
}

fn tag_id(member: &Member) -> &str {
    member.tags.get("id").map_or("", String::as_str)
}

fn serf_health(node: &str, status: &str) -> HealthCheck {
    let output = match status {
        PASSING => "Agent alive and reachable",
        _ => "Agent not live or unreachable",
    };
    HealthCheck {
        node: node.to_owned(),
        check_id: SERF_HEALTH.to_owned(),
        name: "Serf Health Status".to_owned(),
        status: status.to_owned(),
        output: output.to_owned(),
        ..HealthCheck::default()
    }
}

fn consul_service(server: &ConsulService<'_>) -> NodeService {
    let (min, max, current) = server.protocol;
    let meta = [
        ("non_voter", "false".to_owned()),
        ("raft_version", "3".to_owned()),
        ("serf_protocol_current", current.to_string()),
        ("serf_protocol_max", max.to_string()),
        ("serf_protocol_min", min.to_string()),
        ("version", server.build.to_owned()),
    ];
    NodeService {
        id: CONSUL_SERVICE.to_owned(),
        service: CONSUL_SERVICE.to_owned(),
        port: i64::from(server.port),
        meta: Some(meta.map(|(k, v)| (k.to_owned(), v)).into()),
        weights: Some(Weights {
            passing: 1,
            warning: 1,
        }),
        ..NodeService::default()
    }
}
