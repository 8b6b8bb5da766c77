//! The arguments and results of the `ACL.*` methods.
//!
//! Source: `docs/reference/rpc.md` appendix A.

use super::acl::*;
use super::go::{Bytes, GoDuration, GoTime, List, Map};
use super::request::{QueryMeta, QueryOptions};
use crate::codec::{Deserialize, Serialize};

macro_rules! reads {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(default, rename_all = "PascalCase")]
            pub struct $name {
                /// Where.
                pub datacenter: String,
                $($(#[$attr])* pub $field: $type,)*
                /// How to read: blocking, consistency, token.
                #[serde(rename = "")]
                pub options: QueryOptions,
            }
        )*
    };
}

macro_rules! writes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            #[serde(default, rename_all = "PascalCase")]
            pub struct $name {
                /// Where.
                pub datacenter: String,
                $($(#[$attr])* pub $field: $type,)*
                /// On whose behalf.
                pub token: String,
            }
        )*
    };
}

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
            #[serde(default, rename_all = "PascalCase")]
            pub struct $name {
                $($(#[$attr])* pub $field: $type,)*
                /// What the answering server says about the read.
                #[serde(rename = "")]
                pub meta: QueryMeta,
            }
        )*
    };
}

reads! {
    /// Names a token.
    ACLTokenGetRequest {
        /// Its accessor or its secret.
        #[serde(rename = "TokenID")]
        token_id: String,
        /// `accessor` or `secret`.
        #[serde(rename = "TokenIDType")]
        token_id_type: String,
    }
    /// Which tokens to list.
    ACLTokenListRequest {
        /// Those of this datacenter.
        include_local: bool,
        /// Those of all datacenters.
        include_global: bool,
        /// Linked to this policy.
        policy: String,
        /// Linked to this role.
        role: String,
        /// Made through this auth method.
        auth_method: String,
    }
    /// Names tokens.
    ACLTokenBatchGetRequest {
        /// Their accessors.
        #[serde(rename = "AccessorIDs")]
        accessor_ids: List<String>,
    }
    /// Names a policy.
    ACLPolicyGetRequest {
        /// By ID.
        #[serde(rename = "PolicyID")]
        policy_id: String,
        /// By name.
        policy_name: String,
    }
    /// All policies.
    ACLPolicyListRequest {}
    /// Names policies.
    ACLPolicyBatchGetRequest {
        /// Their IDs.
        #[serde(rename = "PolicyIDs")]
        policy_ids: List<String>,
    }
    /// Names a role.
    ACLRoleGetRequest {
        /// By ID.
        #[serde(rename = "RoleID")]
        role_id: String,
        /// By name.
        role_name: String,
    }
    /// Which roles to list.
    ACLRoleListRequest {
        /// Linked to this policy.
        policy: String,
    }
    /// Names roles.
    ACLRoleBatchGetRequest {
        /// Their IDs.
        #[serde(rename = "RoleIDs")]
        role_ids: List<String>,
    }
    /// Names an auth method.
    ACLAuthMethodGetRequest {
        /// Its name.
        auth_method_name: String,
    }
    /// All auth methods.
    ACLAuthMethodListRequest {}
    /// Names a binding rule.
    ACLBindingRuleGetRequest {
        /// Its ID.
        #[serde(rename = "BindingRuleID")]
        binding_rule_id: String,
    }
    /// Which binding rules to list.
    ACLBindingRuleListRequest {
        /// Those of this auth method.
        auth_method: String,
    }
    /// Names a token of before 1.4.
    ACLSpecificRequest {
        /// Its ID.
        #[serde(rename = "ACL")]
        acl: String,
    }
    /// Asks for what a token of before 1.4 may do.
    ACLPolicyResolveLegacyRequest {
        /// Its ID.
        #[serde(rename = "ACL")]
        acl: String,
        /// What the asker has already.
        #[serde(rename = "ETag")]
        etag: String,
    }
    /// Asks what a token may do.
    RemoteACLAuthorizationRequest {
        /// The questions.
        requests: List<ACLAuthorizationRequest>,
    }
}

writes! {
    /// Creates or changes a token, or copies one.
    ACLTokenSetRequest {
        /// The token.
        #[serde(rename = "ACLToken")]
        acl_token: ACLToken,
        /// It must not be there yet.
        create: bool,
    }
    /// Names a token to delete.
    ACLTokenDeleteRequest {
        /// Its accessor.
        #[serde(rename = "TokenID")]
        token_id: String,
    }
    /// Creates or changes a policy.
    ACLPolicySetRequest {
        /// The policy.
        policy: ACLPolicy,
    }
    /// Names a policy to delete.
    ACLPolicyDeleteRequest {
        /// Its ID.
        #[serde(rename = "PolicyID")]
        policy_id: String,
    }
    /// Creates or changes a role.
    ACLRoleSetRequest {
        /// The role.
        role: ACLRole,
    }
    /// Names a role to delete.
    ACLRoleDeleteRequest {
        /// Its ID.
        #[serde(rename = "RoleID")]
        role_id: String,
    }
    /// Creates or changes an auth method.
    ACLAuthMethodSetRequest {
        /// The method.
        auth_method: ACLAuthMethod,
    }
    /// Names an auth method to delete.
    ACLAuthMethodDeleteRequest {
        /// Its name.
        auth_method_name: String,
    }
    /// Creates or changes a binding rule.
    ACLBindingRuleSetRequest {
        /// The rule.
        binding_rule: ACLBindingRule,
    }
    /// Names a binding rule to delete.
    ACLBindingRuleDeleteRequest {
        /// Its ID.
        #[serde(rename = "BindingRuleID")]
        binding_rule_id: String,
    }
    /// Asks for a token.
    ACLLoginRequest {
        /// With what.
        auth: Option<ACLLoginParams>,
    }
    /// Gives a login's token back.
    ACLLogoutRequest {}
}

/// With what somebody logs in.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLLoginParams {
    /// The auth method.
    pub auth_method: String,
    /// What the other system vouches with.
    pub bearer_token: String,
    /// Kept in the token's description.
    #[serde(serialize_with = "omitempty")]
    pub meta: Map<String>,
}

impl ACLTokenGetRequest {
    /// Asks for the token of a secret in its own name; a server that lags may answer.
    pub fn of_secret(datacenter: &str, secret: &str) -> Self {
        Self {
            datacenter: datacenter.to_owned(),
            token_id: secret.to_owned(),
            token_id_type: "secret".to_owned(),
            options: QueryOptions {
                token: secret.to_owned(),
                allow_stale: true,
                ..QueryOptions::default()
            },
        }
    }
}

/// Shows no secret.
impl std::fmt::Debug for ACLLoginParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ACLLoginParams")
            .field("auth_method", &self.auth_method)
            .finish_non_exhaustive()
    }
}

/// A token in a list, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLTokenListStub {
    /// What it is called openly.
    #[serde(rename = "AccessorID")]
    pub accessor_id: String,
    /// For people.
    pub description: String,
    /// Linked policies.
    #[serde(serialize_with = "omitempty")]
    pub policies: List<ACLLink>,
    /// Linked roles.
    #[serde(serialize_with = "omitempty")]
    pub roles: List<ACLLink>,
    /// Services it may run.
    #[serde(serialize_with = "omitempty")]
    pub service_identities: List<ACLServiceIdentity>,
    /// Nodes it may run.
    #[serde(serialize_with = "omitempty")]
    pub node_identities: List<ACLNodeIdentity>,
    /// Valid in this datacenter alone.
    pub local: bool,
    /// The auth method that a login made it through.
    #[serde(serialize_with = "omitempty")]
    pub auth_method: String,
    /// When it ends.
    #[serde(serialize_with = "omitempty")]
    pub expiration_time: Option<GoTime>,
    /// When it was made.
    pub create_time: GoTime,
    /// Of everything that users set.
    pub hash: Bytes,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
    /// It is of before 1.4, with rules of its own.
    #[serde(serialize_with = "omitempty")]
    pub legacy: bool,
}

impl From<ACLToken> for ACLTokenListStub {
    fn from(t: ACLToken) -> Self {
        Self {
            legacy: !t.rules.is_empty(),
            accessor_id: t.accessor_id,
            description: t.description,
            policies: t.policies,
            roles: t.roles,
            service_identities: t.service_identities,
            node_identities: t.node_identities,
            local: t.local,
            auth_method: t.auth_method,
            expiration_time: t.expiration_time,
            create_time: t.create_time,
            hash: t.hash,
            create_index: t.create_index,
            modify_index: t.modify_index,
        }
    }
}

/// A policy in a list, without its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLPolicyListStub {
    /// What links point to.
    #[serde(rename = "ID")]
    pub id: String,
    /// What users say.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where it holds; everywhere if empty.
    pub datacenters: List<String>,
    /// Of everything that users set.
    pub hash: Bytes,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

impl From<ACLPolicy> for ACLPolicyListStub {
    fn from(p: ACLPolicy) -> Self {
        Self {
            id: p.id,
            name: p.name,
            description: p.description,
            datacenters: p.datacenters,
            hash: p.hash,
            create_index: p.create_index,
            modify_index: p.modify_index,
        }
    }
}

/// An auth method in a list, without its config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLAuthMethodListStub {
    /// Its name.
    pub name: String,
    /// `jwt` or `kubernetes`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// For people.
    #[serde(serialize_with = "omitempty")]
    pub display_name: String,
    /// For people.
    #[serde(serialize_with = "omitempty")]
    pub description: String,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

impl From<ACLAuthMethod> for ACLAuthMethodListStub {
    fn from(m: ACLAuthMethod) -> Self {
        Self {
            name: m.name,
            kind: m.kind,
            display_name: m.display_name,
            description: m.description,
            create_index: m.create_index,
            modify_index: m.modify_index,
        }
    }
}

/// One question of what a token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLAuthorizationRequest {
    /// Such as `key`.
    pub resource: String,
    /// Its name.
    #[serde(serialize_with = "omitempty")]
    pub segment: String,
    /// `read`, `list` or `write`.
    pub access: String,
}

/// Its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLAuthorizationResponse {
    /// The question.
    #[serde(rename = "")]
    pub request: ACLAuthorizationRequest,
    /// Yes or no.
    pub allow: bool,
}

answers! {
    /// A token, if there is one.
    ACLTokenResponse {
        /// The token.
        #[serde(rename = "Token")]
        found: Option<ACLToken>,
        /// The secret is hidden.
        redacted: bool,
        /// Who answered.
        source_datacenter: String,
    }
    /// Tokens.
    ACLTokenListResponse {
        /// Without their secrets.
        tokens: List<ACLTokenListStub>,
    }
    /// Tokens.
    ACLTokenBatchResponse {
        /// Those that are there.
        tokens: List<ACLToken>,
        /// Some secrets are hidden.
        redacted: bool,
        /// Some were left out.
        removed: bool,
    }
    /// A policy, if there is one.
    ACLPolicyResponse {
        /// The policy.
        policy: Option<ACLPolicy>,
    }
    /// Policies.
    ACLPolicyListResponse {
        /// Without their rules.
        policies: List<ACLPolicyListStub>,
    }
    /// Policies.
    ACLPolicyBatchResponse {
        /// Those that are there.
        policies: List<ACLPolicy>,
    }
    /// A role, if there is one.
    ACLRoleResponse {
        /// The role.
        role: Option<ACLRole>,
    }
    /// Roles.
    ACLRoleListResponse {
        /// All of them.
        roles: List<ACLRole>,
    }
    /// Roles.
    ACLRoleBatchResponse {
        /// Those that are there.
        roles: List<ACLRole>,
    }
    /// An auth method, if there is one.
    ACLAuthMethodResponse {
        /// The method.
        auth_method: Option<ACLAuthMethod>,
    }
    /// Auth methods.
    ACLAuthMethodListResponse {
        /// Without their configs.
        auth_methods: List<ACLAuthMethodListStub>,
    }
    /// A binding rule, if there is one.
    ACLBindingRuleResponse {
        /// The rule.
        binding_rule: Option<ACLBindingRule>,
    }
    /// Binding rules.
    ACLBindingRuleListResponse {
        /// All of them.
        binding_rules: List<ACLBindingRule>,
    }
    /// Tokens of before 1.4.
    IndexedACLs {
        /// All of them.
        #[serde(rename = "ACLs")]
        acls: List<ACL>,
    }
    /// What a token of before 1.4 may do.
    ACLPolicyResolveLegacyResponse {
        /// Of the answer.
        #[serde(rename = "ETag")]
        etag: String,
        /// The default: `allow`, `deny` or `manage`.
        parent: String,
        /// The rules; nothing if the asker has them already.
        policy: Option<super::go::Any>,
        /// How long it may be remembered.
        #[serde(rename = "TTL")]
        ttl: GoDuration,
    }
}
