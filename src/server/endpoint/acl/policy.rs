//! Policies.
//!
//! Source: `docs/reference/http-1.md` section 11.3.

use super::{fail, is_name};
use crate::acl::{self, Rules, Syntax};
use crate::server::Server;
use crate::server::acl::{is_uuid, policy_hash};
use crate::store::WatchSet;
use crate::structs::go::{new_uuid, quote};
use crate::structs::*;

/// Longest name.
const MAX_NAME: usize = 128;

impl Server {
    /// `ACL.PolicyRead`.
    pub(crate) async fn acl_policy_read(
        &self,
        request: ACLPolicyGetRequest,
    ) -> Result<ACLPolicyResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, policy) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(if request.policy_id.is_empty() {
                    state.acl_object_named::<ACLPolicy>(watch, &request.policy_name)?
                } else {
                    state.acl_object::<ACLPolicy>(watch, &request.policy_id)?
                })
            })
            .await?;
        Ok(ACLPolicyResponse { policy, meta })
    }

    /// `ACL.PolicyList`.
    pub(crate) async fn acl_policy_list(
        &self,
        request: ACLPolicyListRequest,
    ) -> Result<ACLPolicyListResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, policies) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_objects::<ACLPolicy>(watch, None)?)
            })
            .await?;
        let stubs = policies.into_iter().map(ACLPolicyListStub::from);
        Ok(ACLPolicyListResponse {
            policies: Some(stubs.collect()),
            meta,
        })
    }

    /// `ACL.PolicyBatchRead`.
    pub(crate) async fn acl_policy_batch_read(
        &self,
        request: ACLPolicyBatchGetRequest,
    ) -> Result<ACLPolicyBatchResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        self.policies_by_id(&request).await
    }

    async fn policies_by_id(
        &self,
        request: &ACLPolicyBatchGetRequest,
    ) -> Result<ACLPolicyBatchResponse> {
        let ids = request.policy_ids.clone().unwrap_or_default();
        let (meta, policies) = self
            .read_unguarded(&request.options, |state, watch| {
                let (index, all) = state.acl_objects::<ACLPolicy>(watch, None)?;
                let wanted = all.into_iter().filter(|p| ids.contains(&p.id));
                Ok((index, wanted.collect()))
            })
            .await?;
        Ok(ACLPolicyBatchResponse {
            policies: Some(policies),
            meta,
        })
    }

    /// `ACL.PolicyResolve`: those that the token holds, itself or by its roles.
    pub(crate) async fn acl_policy_resolve(
        &self,
        mut request: ACLPolicyBatchGetRequest,
    ) -> Result<ACLPolicyBatchResponse> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.make_consistent(&request.options).await?;
        let held: Vec<String> = {
            let Some(token) = self.valid_token(&request.options.token)? else {
                return Err(Error::new(ACL_NOT_FOUND));
            };
            let state = self.state.read()?;
            let roles = self.roles_of(&state, &token)?;
            let links = roles.into_iter().filter_map(|r| r.policies);
            let links = links.chain(token.policies).flatten();
            links.map(|link| link.id).collect()
        };
        if let Some(ids) = &mut request.policy_ids {
            ids.retain(|id| held.contains(id));
        }
        self.policies_by_id(&request).await
    }

    /// `ACL.PolicySet`.
    pub(crate) async fn acl_policy_set(&self, request: ACLPolicySetRequest) -> Result<ACLPolicy> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let mut policy = request.policy;
        if policy.name.is_empty() {
            return fail("Invalid Policy: no Name is set");
        }
        if !is_name(&policy.name, MAX_NAME) {
            return fail(
                "Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed",
            );
        }
        self.complete_policy(&mut policy)?;
        Rules::parse(&policy.rules, Syntax::Current)?;
        policy.syntax = 0;
        policy.hash = policy_hash(&policy);
        let id = policy.id.clone();
        let request = ACLPolicyBatchSetRequest {
            policies: Some(vec![policy]),
        };
        self.apply(command::ACL_POLICY_SET, &request).await?;
        let state = self.state.read()?;
        let (_, written) = state.acl_object(&mut WatchSet::new(), &id)?;
        written.ok_or_else(|| Error::new("Failed to retrieve the policy after insertion"))
    }

    fn complete_policy(&self, policy: &mut ACLPolicy) -> Result<()> {
        let state = self.state.read()?;
        let ws = &mut WatchSet::new();
        let named = state.acl_object_named::<ACLPolicy>(ws, &policy.name)?.1;
        if policy.id.is_empty() {
            if named.is_some() {
                let name = quote(&policy.name);
                return fail(format!(
                    "Invalid Policy: A Policy with Name {name} already exists"
                ));
            }
            policy.id = new_uuid();
            return Ok(());
        }
        if !is_uuid(&policy.id) {
            return fail("Policy ID invalid UUID");
        }
        let Some(known) = state.acl_object::<ACLPolicy>(ws, &policy.id)?.1 else {
            return fail(format!("cannot find policy {}", policy.id));
        };
        if named.is_some_and(|other| other.id != known.id) {
            let name = quote(&policy.name);
            return fail(format!(
                "Invalid Policy: A policy with name {name} already exists"
            ));
        }
        if known.id == acl::GLOBAL_MANAGEMENT_ID {
            if policy.datacenters.iter().flatten().next().is_some() {
                return fail(
                    "Changing the Datacenters of the builtin global-management policy is not permitted",
                );
            }
            if policy.rules != known.rules {
                return fail(
                    "Changing the Rules for the builtin global-management policy is not permitted",
                );
            }
        }
        policy.id = known.id;
        Ok(())
    }

    /// `ACL.PolicyDelete`: the name.
    pub(crate) async fn acl_policy_delete(
        &self,
        request: ACLPolicyDeleteRequest,
    ) -> Result<String> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let id = request.policy_id;
        let known = self
            .state
            .read()?
            .acl_object::<ACLPolicy>(&mut WatchSet::new(), &id)?
            .1;
        let Some(known) = known else {
            return Ok(String::new());
        };
        if known.id == acl::GLOBAL_MANAGEMENT_ID {
            return fail("Delete operation not permitted on the builtin global-management policy");
        }
        let request = ACLPolicyBatchDeleteRequest {
            policy_ids: Some(vec![known.id]),
        };
        self.apply(command::ACL_POLICY_DELETE, &request).await?;
        Ok(known.name)
    }
}
