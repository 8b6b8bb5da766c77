//! Whether the catalog's copy of a service, a check or a node says the same as the local one.
//!
//! Empty and absent are the same, indexes do not count.
//! Source: `docs/reference/http-2.md` section 6.3.

use std::collections::BTreeMap;

use crate::structs::go::{List, Map};
use crate::structs::{HealthCheck, Node, NodeService, Weights};

use super::Identity;

fn same_list<T: PartialEq>(a: &List<T>, b: &List<T>) -> bool {
    a.as_deref().unwrap_or(&[]) == b.as_deref().unwrap_or(&[])
}

fn same_map<V: PartialEq>(a: &Map<V>, b: &Map<V>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b,
        (Some(m), None) | (None, Some(m)) => m.is_empty(),
        (None, None) => true,
    }
}

fn weights(service: &NodeService) -> Weights {
    service.weights.clone().unwrap_or(Weights {
        passing: 1,
        warning: 1,
    })
}

/// Whether two services are the same to a user.
pub(super) fn same_service(a: &NodeService, b: &NodeService) -> bool {
    a.id == b.id
        && a.service == b.service
        && same_list(&a.tags, &b.tags)
        && a.address == b.address
        && a.port == b.port
        && same_map(&a.tagged_addresses, &b.tagged_addresses)
        && same_map(&a.meta, &b.meta)
        && weights(a) == weights(b)
        && a.enable_tag_override == b.enable_tag_override
        && a.kind == b.kind
        && a.proxy == b.proxy
        && a.connect == b.connect
}

/// Whether two checks are the same to a user; `but_output` leaves the output aside.
pub(super) fn same_check(a: &HealthCheck, b: &HealthCheck, but_output: bool) -> bool {
    a.node == b.node
        && a.check_id == b.check_id
        && a.name == b.name
        && a.status == b.status
        && a.notes == b.notes
        && (but_output || a.output == b.output)
        && a.service_id == b.service_id
        && a.service_name == b.service_name
        && same_list(&a.service_tags, &b.service_tags)
        && a.definition == b.definition
}

/// Whether the catalog's node record is this agent's.
pub(super) fn same_node(
    node: &Node,
    identity: &Identity,
    metadata: &BTreeMap<String, String>,
) -> bool {
    let map = |m: &Map<String>| m.clone().unwrap_or_default();
    node.id == identity.id
        && map(&node.tagged_addresses) == identity.tagged_addresses
        && map(&node.meta) == *metadata
}
