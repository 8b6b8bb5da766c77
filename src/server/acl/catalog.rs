//! Who may register what.
//!
//! Holds true: the node's record needs `node:write` only if it would change; a service needs `service:write` on its
//! name and on the name that its ID had; whoever may write a node may deregister everything on it.
//! Source: `docs/reference/http-2.md` sections 7 and 16; a running Consul 1.8.7.

use crate::acl::{self, Ask, Authorizer, Resource};
use crate::server::Server;
use crate::store::{Read, WatchSet};
use crate::structs::{
    DeregisterRequest, Error, HealthCheck, Node, NodeService, RegisterRequest, Result, TxnOp, kv_op,
};

/// What is on a node at present.
struct OnNode {
    node: Option<Node>,
    services: Vec<NodeService>,
}

impl OnNode {
    fn read(state: &Read, name: &str) -> Result<Self> {
        let ws = &mut WatchSet::new();
        let found = state.node_services(ws, name)?.1.unwrap_or_default();
        // A node may be asked for by its ID as well.
        let node = found.node.filter(|n| n.node.eq_ignore_ascii_case(name));
        let services = found.services.filter(|_| node.is_some());
        Ok(Self {
            services: services.unwrap_or_default(),
            node,
        })
    }

    fn service(&self, id: &str) -> Option<&NodeService> {
        self.services.iter().find(|s| s.id == id)
    }
}

fn write_node(acl: &Authorizer, name: &str) -> Result<()> {
    acl::require(acl, Ask::Write(Resource::Node, name))
}

fn write_service(acl: &Authorizer, name: &str) -> Result<()> {
    acl::require(acl, Ask::Write(Resource::Service, name))
}

impl Server {
    /// Refuses a registration that the token does not allow.
    pub(in crate::server) fn may_register(&self, r: &RegisterRequest) -> Result<()> {
        if !self.options.acl.enabled {
            return Ok(());
        }
        let authorizer = self.authorizer(&r.token)?;
        let known = OnNode::read(&self.state.read()?, &r.node)?;
        let acl = &*authorizer;
        if known.node.as_ref().is_none_or(|node| changes(r, node)) {
            write_node(acl, &r.node)?;
        }
        if let Some(service) = &r.service {
            write_service(acl, &service.service)?;
            if let Some(old) = known.service(&service.id) {
                write_service(acl, &old.service)?;
            }
        }
        for check in r.check.iter().chain(r.checks.iter().flatten()) {
            register_check(acl, r, check, &known)?;
        }
        Ok(())
    }

    /// Refuses a deregistration that the token does not allow.
    pub(in crate::server) fn may_deregister(&self, r: &DeregisterRequest) -> Result<()> {
        if !self.options.acl.enabled {
            return Ok(());
        }
        let authorizer = self.authorizer(&r.token)?;
        if authorizer.writes(Resource::Node, &r.node) {
            return Ok(());
        }
        let state = self.state.read()?;
        if !r.service_id.is_empty() {
            let known = OnNode::read(&state, &r.node)?;
            return match known.service(&r.service_id) {
                Some(service) => write_service(&authorizer, &service.service),
                None => Err(Error::from(format!("Unknown service '{}'", r.service_id))),
            };
        }
        if !r.check_id.is_empty() {
            let checks = state.node_checks(&mut WatchSet::new(), &r.node)?.1;
            return match checks.iter().find(|c| c.check_id == r.check_id) {
                Some(check) if !check.service_id.is_empty() => {
                    write_service(&authorizer, &check.service_name)
                }
                Some(_) => super::denied(),
                None => Err(Error::from(format!("Unknown check '{}'", r.check_id))),
            };
        }
        super::denied()
    }

    /// Refuses an operation of a transaction on the catalog that the token does not allow.
    pub(in crate::server) fn may_change_catalog(&self, acl: &Authorizer, op: &TxnOp) -> Result<()> {
        if !self.options.acl.enabled {
            return Ok(());
        }
        let state = self.state.read()?;
        if let Some(op) = op.node.as_ref().filter(|op| op.verb != kv_op::GET) {
            return write_node(acl, &op.node.node);
        }
        if let Some(op) = op.service.as_ref().filter(|op| op.verb != kv_op::GET) {
            let known = OnNode::read(&state, &op.node)?;
            let old = known.service(&op.service.id);
            // A deletion names the ID alone.
            if !op.service.service.is_empty() || old.is_none() {
                write_service(acl, &op.service.service)?;
            }
            return old.map_or(Ok(()), |old| write_service(acl, &old.service));
        }
        let Some(op) = op.check.as_ref().filter(|op| op.verb != kv_op::GET) else {
            return Ok(());
        };
        let checks = state.node_checks(&mut WatchSet::new(), &op.check.node)?.1;
        let old = checks.iter().find(|c| c.check_id == op.check.check_id);
        let known = OnNode::read(&state, &op.check.node)?;
        let service_of = |check: &HealthCheck| {
            known
                .service(&check.service_id)
                .map_or_else(|| check.service_name.clone(), |s| s.service.clone())
        };
        for check in old.into_iter().chain([&op.check]) {
            if !check.service_id.is_empty() {
                write_service(acl, &service_of(check))?;
            } else if old.is_none_or(|old| old.service_id.is_empty()) {
                write_node(acl, &check.node)?;
            }
        }
        Ok(())
    }
}

/// Whether a registration would change the node's record.
fn changes(r: &RegisterRequest, node: &Node) -> bool {
    !r.skip_node_update
        && (r.id != node.id
            || !r.node.eq_ignore_ascii_case(&node.node)
            || r.address != node.address
            || r.datacenter != node.datacenter
            || !same_map(&r.tagged_addresses, &node.tagged_addresses)
            || !same_map(&r.node_meta, &node.meta))
}

type Texts = crate::structs::go::Map<String>;

fn same_map(a: &Texts, b: &Texts) -> bool {
    a.iter().flatten().eq(b.iter().flatten())
}

fn register_check(
    acl: &Authorizer,
    r: &RegisterRequest,
    check: &HealthCheck,
    known: &OnNode,
) -> Result<()> {
    if !check.node.eq_ignore_ascii_case(&r.node) {
        return Err(Error::from(format!(
            "Node '{}' for check '{}' doesn't match register request node '{}'",
            check.node, check.check_id, r.node
        )));
    }
    if check.service_id.is_empty() {
        return write_node(acl, &r.node);
    }
    // With the service in the same call its right was checked already.
    if r.service.as_ref().is_some_and(|s| s.id == check.service_id) {
        return Ok(());
    }
    match known.service(&check.service_id) {
        Some(service) => write_service(acl, &service.service),
        None => Err(Error::from(format!(
            "Unknown service '{}' for check '{}'",
            check.service_id, check.check_id
        ))),
    }
}
