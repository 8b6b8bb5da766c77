//! Roles.
//!
//! Source: `docs/reference/http-1.md` section 11.4.

use super::{fail, identity, is_name};
use crate::server::Server;
use crate::server::acl::role_hash;
use crate::store::WatchSet;
use crate::structs::go::{new_uuid, quote};
use crate::structs::*;

/// Longest name.
const MAX_NAME: usize = 256;

impl Server {
    /// `ACL.RoleRead`.
    pub(crate) async fn acl_role_read(
        &self,
        request: ACLRoleGetRequest,
    ) -> Result<ACLRoleResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, role) = self
            .read_unguarded(&request.options, |state, watch| {
                let (index, role) = if request.role_id.is_empty() {
                    state.acl_object_named::<ACLRole>(watch, &request.role_name)?
                } else {
                    state.acl_object::<ACLRole>(watch, &request.role_id)?
                };
                let role = role.map(|r| state.acl_role_resolved(r)).transpose()?;
                Ok((index, role))
            })
            .await?;
        Ok(ACLRoleResponse { role, meta })
    }

    /// `ACL.RoleList`.
    pub(crate) async fn acl_role_list(
        &self,
        request: ACLRoleListRequest,
    ) -> Result<ACLRoleListResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, roles) = self
            .roles(&request.options, |role| {
                request.policy.is_empty()
                    || role
                        .policies
                        .iter()
                        .flatten()
                        .any(|link| link.id.eq_ignore_ascii_case(&request.policy))
            })
            .await?;
        Ok(ACLRoleListResponse {
            roles: Some(roles),
            meta,
        })
    }

    async fn roles(
        &self,
        options: &QueryOptions,
        keep: impl Fn(&ACLRole) -> bool,
    ) -> Result<(QueryMeta, Vec<ACLRole>)> {
        self.read_unguarded(options, |state, watch| {
            let (index, all) = state.acl_objects::<ACLRole>(watch, None)?;
            let kept = all.into_iter().filter(|role| keep(role));
            let kept = kept.map(|role| state.acl_role_resolved(role));
            Ok((index, kept.collect::<std::result::Result<_, _>>()?))
        })
        .await
    }

    /// `ACL.RoleBatchRead`.
    pub(crate) async fn acl_role_batch_read(
        &self,
        request: ACLRoleBatchGetRequest,
    ) -> Result<ACLRoleBatchResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let ids = request.role_ids.unwrap_or_default();
        let (meta, roles) = self
            .roles(&request.options, |role| ids.contains(&role.id))
            .await?;
        Ok(ACLRoleBatchResponse {
            roles: Some(roles),
            meta,
        })
    }

    /// `ACL.RoleResolve`: those that the token has.
    pub(crate) async fn acl_role_resolve(
        &self,
        request: ACLRoleBatchGetRequest,
    ) -> Result<ACLRoleBatchResponse> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.make_consistent(&request.options).await?;
        let Some(token) = self.valid_token(&request.options.token)? else {
            return Err(Error::new(ACL_NOT_FOUND));
        };
        let ids = request.role_ids.unwrap_or_default();
        let held = |role: &ACLRole| {
            let mut links = token.roles.iter().flatten();
            ids.contains(&role.id) && links.any(|link| link.id == role.id)
        };
        let (meta, roles) = self.roles(&request.options, held).await?;
        Ok(ACLRoleBatchResponse {
            roles: Some(roles),
            meta,
        })
    }

    /// `ACL.RoleSet`.
    pub(crate) async fn acl_role_set(&self, request: ACLRoleSetRequest) -> Result<ACLRole> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let mut role = request.role;
        if role.name.is_empty() {
            return fail("Invalid Role: no Name is set");
        }
        if !is_name(&role.name, MAX_NAME) {
            return fail(
                "Invalid Role: invalid Name. Only alphanumeric characters, '-' and '_' are allowed",
            );
        }
        self.complete_role(&mut role)?;
        role.service_identities = identity::services(role.service_identities, "role", false)?;
        role.node_identities = identity::nodes(role.node_identities, "role")?;
        role.hash = role_hash(&role);
        let id = role.id.clone();
        let request = ACLRoleBatchSetRequest {
            roles: Some(vec![role]),
            allow_missing_links: false,
        };
        self.apply(command::ACL_ROLE_SET, &request).await?;
        let state = self.state.read()?;
        let (_, written) = state.acl_object::<ACLRole>(&mut WatchSet::new(), &id)?;
        match written {
            Some(role) => Ok(state.acl_role_resolved(role)?),
            None => fail("Failed to retrieve the role after insertion"),
        }
    }

    fn complete_role(&self, role: &mut ACLRole) -> Result<()> {
        let state = self.state.read()?;
        let ws = &mut WatchSet::new();
        let named = state.acl_object_named::<ACLRole>(ws, &role.name)?.1;
        if role.id.is_empty() {
            if named.is_some() {
                let name = quote(&role.name);
                return fail(format!(
                    "Invalid Role: A Role with Name {name} already exists"
                ));
            }
            role.id = new_uuid();
        } else {
            let Some(known) = state.acl_object::<ACLRole>(ws, &role.id)?.1 else {
                return fail(format!("cannot find role {}", role.id));
            };
            if named.is_some_and(|other| other.id != known.id) {
                let name = quote(&role.name);
                return fail(format!(
                    "Invalid Role: A role with name {name} already exists"
                ));
            }
            role.id = known.id;
        }
        let given = role.policies.take();
        role.policies = identity::links::<ACLPolicy>(&state, given, false)?;
        Ok(())
    }

    /// `ACL.RoleDelete`: the name.
    pub(crate) async fn acl_role_delete(&self, request: ACLRoleDeleteRequest) -> Result<String> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let known = self
            .state
            .read()?
            .acl_object::<ACLRole>(&mut WatchSet::new(), &request.role_id)?
            .1;
        let Some(known) = known else {
            return Ok(String::new());
        };
        let request = ACLRoleBatchDeleteRequest {
            role_ids: Some(vec![known.id]),
        };
        self.apply(command::ACL_ROLE_DELETE, &request).await?;
        Ok(known.name)
    }
}
