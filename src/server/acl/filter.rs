//! Leaves out of answers what a token may not see.
//!
//! Source: `docs/reference/http-1.md` section 13, `docs/reference/http-2.md` section 16; a running Consul 1.8.7.

use crate::acl::{Authorizer, Resource};
use crate::structs::{
    CheckServiceNode, Coordinate, DirEntry, HealthCheck, Node, NodeInfo, NodeService, ServiceName,
    ServiceNode, Session,
};

/// Something that only some may see.
pub trait Visible {
    /// Whether it may be seen.
    fn visible(&self, to: &Authorizer) -> bool;
}

fn node(to: &Authorizer, name: &str) -> bool {
    to.reads(Resource::Node, name)
}

/// What belongs to no service is the node's affair.
fn service(to: &Authorizer, name: &str) -> bool {
    name.is_empty() || to.reads(Resource::Service, name)
}

impl Visible for Node {
    fn visible(&self, to: &Authorizer) -> bool {
        node(to, &self.node)
    }
}

impl Visible for ServiceNode {
    fn visible(&self, to: &Authorizer) -> bool {
        node(to, &self.node) && service(to, &self.service_name)
    }
}

impl Visible for ServiceName {
    fn visible(&self, to: &Authorizer) -> bool {
        service(to, &self.name)
    }
}

impl Visible for NodeService {
    fn visible(&self, to: &Authorizer) -> bool {
        service(to, &self.service)
    }
}

impl Visible for HealthCheck {
    fn visible(&self, to: &Authorizer) -> bool {
        node(to, &self.node) && service(to, &self.service_name)
    }
}

impl Visible for CheckServiceNode {
    fn visible(&self, to: &Authorizer) -> bool {
        let on = self.node.as_ref().map_or("", |n| &n.node);
        let of = self.service.as_ref().map_or("", |s| &s.service);
        node(to, on) && service(to, of)
    }
}

impl Visible for NodeInfo {
    fn visible(&self, to: &Authorizer) -> bool {
        node(to, &self.node)
    }
}

impl Visible for Coordinate {
    fn visible(&self, to: &Authorizer) -> bool {
        node(to, &self.node)
    }
}

impl Visible for Session {
    fn visible(&self, to: &Authorizer) -> bool {
        to.reads(Resource::Session, &self.node)
    }
}

impl Visible for DirEntry {
    fn visible(&self, to: &Authorizer) -> bool {
        to.reads(Resource::Key, &self.key)
    }
}

/// Keeps what may be seen.
pub fn retain<T: Visible>(list: &mut Vec<T>, to: &Authorizer) {
    list.retain(|one| one.visible(to));
}
