//! The commands that write tokens, policies, roles, binding rules and auth methods.
//!
//! Holds true: what a command names that is not there is refused alike by every server; deleting what is not there
//! moves no index.
//! Source: `docs/reference/raft.md` section 7; indexes and texts observed on Consul 1.8.7.

use super::acl_object::{self, Object};
use super::tx::{Cmd, Fail, Tx, index_of};
use crate::codec::Deserialize;
use crate::store::fsm::ApplyReply;
use crate::structs::*;
use crate::wire::msgpack;

/// Entry of the index table: when the first token was made.
pub const BOOTSTRAP: &str = "acl-token-bootstrap";

fn decode<T: Deserialize + Default>(body: &[u8]) -> Cmd<T> {
    msgpack::from_slice(body).map_err(|e| Fail::Refused(format!("failed to decode request: {e}")))
}

/// Applies a command of the ACL system by its number.
pub fn apply(tx: &mut Tx<'_>, number: u8, body: &[u8]) -> Cmd<ApplyReply> {
    match number {
        command::ACL => legacy(tx, decode(body)?)?,
        command::ACL_BOOTSTRAP => {
            let r: ACLTokenBootstrapRequest = decode(body)?;
            bootstrap(tx, r.reset_index, r.token)?;
        }
        command::ACL_TOKEN_SET => tx.acl_tokens_set(&decode(body)?)?,
        command::ACL_TOKEN_DELETE => {
            let r: ACLTokenBatchDeleteRequest = decode(body)?;
            for accessor in r.token_ids.unwrap_or_default() {
                tx.acl_token_delete(&accessor)?;
            }
        }
        command::ACL_POLICY_SET => {
            let r: ACLPolicyBatchSetRequest = decode(body)?;
            for policy in r.policies.unwrap_or_default() {
                policy_set(tx, policy)?;
            }
        }
        command::ACL_POLICY_DELETE => {
            let r: ACLPolicyBatchDeleteRequest = decode(body)?;
            for id in r.policy_ids.unwrap_or_default() {
                if id == crate::acl::GLOBAL_MANAGEMENT_ID {
                    return Fail::refuse(
                        "Deletion of the builtin global-management policy is not permitted",
                    );
                }
                tx.acl_object_delete::<ACLPolicy>(&id)?;
            }
        }
        command::ACL_ROLE_SET => {
            let r: ACLRoleBatchSetRequest = decode(body)?;
            for role in r.roles.unwrap_or_default() {
                role_set(tx, role, r.allow_missing_links)?;
            }
        }
        command::ACL_ROLE_DELETE => {
            let r: ACLRoleBatchDeleteRequest = decode(body)?;
            for id in r.role_ids.unwrap_or_default() {
                tx.acl_object_delete::<ACLRole>(&id)?;
            }
        }
        command::ACL_BINDING_RULE_SET => {
            let r: ACLBindingRuleBatchSetRequest = decode(body)?;
            for rule in r.binding_rules.unwrap_or_default() {
                rule_set(tx, rule)?;
            }
        }
        command::ACL_BINDING_RULE_DELETE => {
            let r: ACLBindingRuleBatchDeleteRequest = decode(body)?;
            for id in r.binding_rule_ids.unwrap_or_default() {
                tx.acl_object_delete::<ACLBindingRule>(&id)?;
            }
        }
        command::ACL_AUTH_METHOD_SET => {
            let r: ACLAuthMethodBatchSetRequest = decode(body)?;
            for method in r.auth_methods.unwrap_or_default() {
                method_set(tx, method)?;
            }
        }
        command::ACL_AUTH_METHOD_DELETE => {
            let r: ACLAuthMethodBatchDeleteRequest = decode(body)?;
            for name in r.auth_method_names.unwrap_or_default() {
                method_delete(tx, &name)?;
            }
        }
        other => return Fail::refuse(format!("unknown ACL command {other}")),
    }
    Ok(ApplyReply::Nil)
}

fn legacy(tx: &mut Tx<'_>, r: ACLRequest) -> Cmd<()> {
    match r.op.as_str() {
        "set" | "force-set" => tx.acl_legacy_set(r.acl.into()),
        "delete" => tx.acl_token_delete_by_secret(&r.acl.id),
        // Servers of before 1.4 ask whether they may make the first token: only the present way is taken.
        "bootstrap-init" => Ok(()),
        "bootstrap-now" => bootstrap(tx, 0, r.acl.into()),
        op => Fail::refuse(format!("Invalid ACL operation '{op}'")),
    }
}

fn bootstrap(tx: &mut Tx<'_>, reset_index: u64, token: ACLToken) -> Cmd<()> {
    let done = tx.pending_index(BOOTSTRAP, index_of(tx.conn, BOOTSTRAP)?);
    if done > 0 && reset_index == 0 {
        return Fail::refuse("ACL bootstrap no longer allowed");
    }
    if done > 0 && reset_index != done {
        return Fail::refuse(format!(
            "Invalid bootstrap reset index (specified {reset_index}, reset index: {done})"
        ));
    }
    if token.is_legacy() && token.accessor_id.is_empty() {
        tx.acl_legacy_set(token)?;
    } else {
        tx.acl_tokens_set(&ACLTokenBatchSetRequest {
            tokens: Some(vec![token]),
            ..ACLTokenBatchSetRequest::default()
        })?;
    }
    tx.bump(BOOTSTRAP);
    Ok(())
}

fn policy_set(tx: &mut Tx<'_>, policy: ACLPolicy) -> Cmd<()> {
    if policy.id.is_empty() {
        return Fail::refuse("Missing Policy ID");
    }
    if policy.name.is_empty() {
        return Fail::refuse("Missing Policy Name");
    }
    let known = acl_object::by_id::<ACLPolicy>(tx.conn, &policy.id)?;
    if let Some(old) = &known
        && policy.id == crate::acl::GLOBAL_MANAGEMENT_ID
    {
        if policy.rules != old.rules {
            return Fail::refuse(
                "Changing the Rules for the builtin global-management policy is not permitted",
            );
        }
        if policy.datacenters.iter().flatten().next().is_some() {
            return Fail::refuse(
                "Changing the Datacenters of the builtin global-management policy is not permitted",
            );
        }
    }
    let named = acl_object::by_name::<ACLPolicy>(tx.conn, &policy.name)?;
    if named.is_some_and(|other| other.id != policy.id) {
        return Fail::refuse(format!(
            "A policy with name {} already exists",
            go::quote(&policy.name)
        ));
    }
    tx.acl_object_set(policy, known)
}

fn role_set(tx: &mut Tx<'_>, mut role: ACLRole, allow_missing: bool) -> Cmd<()> {
    if role.id.is_empty() {
        return Fail::refuse("Missing Role ID");
    }
    if role.name.is_empty() {
        return Fail::refuse("Missing Role Name");
    }
    for link in role.policies.iter_mut().flatten() {
        let known = acl_object::by_id::<ACLPolicy>(tx.conn, &link.id)?;
        if known.is_none() && !allow_missing {
            return Fail::refuse(format!("No such policy with ID: {}", link.id));
        }
        link.name = String::new();
    }
    let known = acl_object::by_id::<ACLRole>(tx.conn, &role.id)?;
    let named = acl_object::by_name::<ACLRole>(tx.conn, &role.name)?;
    if named.is_some_and(|other| other.id != role.id) {
        return Fail::refuse(format!(
            "A role with name {} already exists",
            go::quote(&role.name)
        ));
    }
    tx.acl_object_set(role, known)
}

fn rule_set(tx: &mut Tx<'_>, rule: ACLBindingRule) -> Cmd<()> {
    if rule.id.is_empty() {
        return Fail::refuse("Missing BindingRule ID");
    }
    if rule.auth_method.is_empty() {
        return Fail::refuse("Missing BindingRule AuthMethod");
    }
    if acl_object::by_id::<ACLAuthMethod>(tx.conn, &rule.auth_method)?.is_none() {
        return Fail::refuse(format!(
            "failed inserting acl binding rule: auth method not found: {}",
            go::quote(&rule.auth_method)
        ));
    }
    let known = acl_object::by_id::<ACLBindingRule>(tx.conn, &rule.id)?;
    tx.acl_object_set(rule, known)
}

fn method_set(tx: &mut Tx<'_>, method: ACLAuthMethod) -> Cmd<()> {
    if method.name.is_empty() {
        return Fail::refuse("Missing AuthMethod Name");
    }
    if method.kind.is_empty() {
        return Fail::refuse("Missing AuthMethod Type");
    }
    let known = acl_object::by_id::<ACLAuthMethod>(tx.conn, &method.name)?;
    tx.acl_object_set(method, known)
}

/// A method takes its binding rules and the tokens made through it along.
fn method_delete(tx: &mut Tx<'_>, name: &str) -> Cmd<()> {
    let Some(method) = acl_object::by_id::<ACLAuthMethod>(tx.conn, name)? else {
        return Ok(());
    };
    tx.acl_tokens_delete_of_method(&method.name)?;
    for rule in acl_object::with_name::<ACLBindingRule>(tx.conn, &method.name)? {
        tx.acl_object_delete::<ACLBindingRule>(&rule.key())?;
    }
    tx.acl_object_delete::<ACLAuthMethod>(&method.name)
}
