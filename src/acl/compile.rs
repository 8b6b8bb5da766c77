//! From a token with its roles and policies to an authorizer.
//!
//! Source: `docs/reference/http-1.md` sections 12.3 and 12.4.

use super::authorizer::{Authorizer, Default};
use super::builtin::{node_identity_rules, service_identity_rules};
use super::rules::{Rules, Syntax};
use crate::structs::go::List;
use crate::structs::{ACLPolicy, ACLRole, ACLToken, Result};

/// Everything that a token may do in a datacenter: by its policies and its roles' (`policies`, which may hold others
/// as well), and by what its identities and its roles' stand for.
///
/// # Errors
/// When a stored policy cannot be read.
pub fn compile(
    token: &ACLToken,
    roles: &[ACLRole],
    policies: &[ACLPolicy],
    datacenter: &str,
    default: Default,
) -> Result<Authorizer> {
    if token.kind == "management" {
        return Ok(Authorizer::fixed(Default::Manage));
    }
    let holds = |at: &List<String>| {
        let mut at = at.iter().flatten().peekable();
        at.peek().is_none() || at.any(|dc| dc == datacenter)
    };
    let mut rules = Vec::new();
    if !token.rules.is_empty() {
        rules.push(Rules::parse(&token.rules, Syntax::Legacy)?);
    }
    let links = token.policies.iter().flatten();
    let links = links.chain(roles.iter().flat_map(|r| r.policies.iter().flatten()));
    let ids: Vec<&str> = links.map(|link| link.id.as_str()).collect();
    for policy in policies {
        if !ids.contains(&policy.id.as_str()) || !holds(&policy.datacenters) {
            continue;
        }
        let syntax = match policy.syntax {
            1 => Syntax::Legacy,
            _ => Syntax::Current,
        };
        rules.push(Rules::parse(&policy.rules, syntax)?);
    }
    let services = token.service_identities.iter().flatten();
    let of_roles = roles
        .iter()
        .flat_map(|r| r.service_identities.iter().flatten());
    for identity in services.chain(of_roles).filter(|i| holds(&i.datacenters)) {
        let text = service_identity_rules(&identity.service_name);
        rules.push(Rules::parse(&text, Syntax::Current)?);
    }
    let nodes = token.node_identities.iter().flatten();
    let of_roles = roles
        .iter()
        .flat_map(|r| r.node_identities.iter().flatten());
    for identity in nodes.chain(of_roles).filter(|i| i.datacenter == datacenter) {
        let text = node_identity_rules(&identity.node_name);
        rules.push(Rules::parse(&text, Syntax::Current)?);
    }
    Ok(Authorizer::new(&rules, default))
}
