//! Links and identities as tokens and roles have them: checked, without doubles, in order.
//!
//! Source: `docs/reference/http-1.md` sections 11.2 and 11.4.

use super::fail;
use crate::sorted;
use crate::store::{AclObject, Read, WatchSet};
use crate::structs::go::{List, quote};
use crate::structs::{ACLLink, ACLNodeIdentity, ACLPolicy, ACLRole, ACLServiceIdentity, Result};

/// Longest name of an identity.
const MAX_NAME: usize = 256;

/// Whether a text is a name as identities have them.
pub fn is_identity_name(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    name.len() <= MAX_NAME
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// Service identities of a token or role (`of`), merged and sorted.
pub fn services(
    given: List<ACLServiceIdentity>,
    of: &str,
    local: bool,
) -> Result<List<ACLServiceIdentity>> {
    let mut out: Vec<ACLServiceIdentity> = Vec::new();
    for mut one in given.into_iter().flatten() {
        if one.service_name.is_empty() {
            return fail(format!(
                "Service identity is missing the service name field on this {of}"
            ));
        }
        if local && one.datacenters.iter().flatten().next().is_some() {
            return fail(format!(
                "Service identity {} cannot specify a list of datacenters on a local token",
                quote(&one.service_name)
            ));
        }
        if !is_identity_name(&one.service_name) {
            return fail(format!(
                "Service identity {} has an invalid name. Only alphanumeric characters, '-' and '_' are allowed",
                quote(&one.service_name)
            ));
        }
        one.datacenters = one.datacenters.filter(|list| !list.is_empty());
        match out.iter_mut().find(|o| o.service_name == one.service_name) {
            // One that holds everywhere needs no list.
            Some(known) => match (&mut known.datacenters, one.datacenters) {
                (Some(known), Some(more)) => known.extend(more),
                (known, _) => *known = None,
            },
            None => out.push(one),
        }
    }
    for one in out.iter_mut().filter_map(|o| o.datacenters.as_mut()) {
        sorted::sort(one);
        one.dedup();
    }
    sorted::sort_by(&mut out, |a, b| a.service_name.cmp(&b.service_name));
    Ok(Some(out).filter(|list| !list.is_empty()))
}

/// Node identities of a token or role (`of`), without doubles and in order.
pub fn nodes(given: List<ACLNodeIdentity>, of: &str) -> Result<List<ACLNodeIdentity>> {
    let mut out: Vec<ACLNodeIdentity> = given.into_iter().flatten().collect();
    for one in &out {
        if one.node_name.is_empty() {
            return fail(format!(
                "Node identity is missing the node name field on this {of}"
            ));
        }
        if one.datacenter.is_empty() {
            return fail(format!(
                "Node identity is missing the datacenter field on this {of}"
            ));
        }
        if !is_identity_name(&one.node_name) {
            return fail(
                "Node identity has an invalid name. Only alphanumeric characters, '-' and '_' are allowed",
            );
        }
    }
    // Consul's order, which is none of its own when names and datacenters disagree: it shows in answers and in the hash.
    let less = |a: &ACLNodeIdentity, b: &ACLNodeIdentity| {
        a.node_name < b.node_name || a.datacenter < b.datacenter
    };
    for end in 1..out.len() {
        let mut at = end;
        while at > 0 && less(&out[at], &out[at - 1]) {
            out.swap(at, at - 1);
            at -= 1;
        }
    }
    out.dedup();
    Ok(Some(out).filter(|list| !list.is_empty()))
}

/// An object that links lead to.
pub trait Target: AclObject {
    /// What errors call it.
    const WORD: &'static str;
    /// Its own ID and name as written.
    fn labels(&self) -> (String, String);
}

impl Target for ACLPolicy {
    const WORD: &'static str = "policy";
    fn labels(&self) -> (String, String) {
        (self.id.clone(), self.name.clone())
    }
}

impl Target for ACLRole {
    const WORD: &'static str = "role";
    fn labels(&self) -> (String, String) {
        (self.id.clone(), self.name.clone())
    }
}

/// Links by ID and name: those with a name alone are looked up; with `check`, the others too.
pub fn links<T: Target>(state: &Read, given: List<ACLLink>, check: bool) -> Result<List<ACLLink>> {
    let ws = &mut WatchSet::new();
    let mut out: Vec<ACLLink> = Vec::new();
    for link in given.into_iter().flatten() {
        let id = if link.id.is_empty() {
            let (_, found) = state.acl_object_named::<T>(ws, &link.name)?;
            match found {
                Some(target) => target.labels().0,
                None => {
                    let name = quote(&link.name);
                    return fail(format!("No such ACL {} with name {name}", T::WORD));
                }
            }
        } else if check {
            let found = state.acl_object::<T>(ws, &link.id).map_err(|e| {
                let id = quote(&link.id);
                let why = crate::structs::Error::from(e);
                crate::structs::Error::from(format!(
                    "Error looking up {} for id {id}: {why}",
                    T::WORD
                ))
            })?;
            match found.1 {
                Some(target) => target.labels().0,
                None => {
                    let id = quote(&link.id);
                    return fail(format!("No such ACL {} with ID {id}", T::WORD));
                }
            }
        } else {
            link.id
        };
        if !out.iter().any(|known| known.id == id) {
            out.push(ACLLink {
                id,
                name: String::new(),
            });
        }
    }
    Ok(Some(out).filter(|list| !list.is_empty()))
}
