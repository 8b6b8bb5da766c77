//! Tokens, policies, roles, auth methods and binding rules, and the FSM commands that write them.
//!
//! Holds true: users write the same structures that servers keep; what Consul reads with a decoder of its own has no name in
//! errors, as there.
//! Source: `docs/reference/rpc.md` appendix A, `docs/reference/http-1.md` section 11; a running Consul 1.8.7.

use super::go::{Any, Bytes, GoDuration, GoTime, List, Map, duration_string_omitempty};
use crate::codec::{Deserialize, Deserializer, Error, Origin, Serialize, base64};

/// `#[serde(deserialize_with)]`: a hash, which users may send as any text, for nobody counts on it.
fn any_hash(into: &mut Bytes, from: &Deserializer<'_, '_>) -> Result<(), Error> {
    if from.origin() == Origin::Msgpack {
        return into.deserialize(from);
    }
    let mut text = String::new();
    text.deserialize(from)?;
    into.0 = base64::decode(text.as_bytes()).unwrap_or_default();
    Ok(())
}

/// Points to a policy or role; the name is filled in when it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "ACLTokenPolicyLink")]
pub struct ACLLink {
    /// What holds.
    #[serde(rename = "ID")]
    pub id: String,
    /// What users say.
    #[serde(rename = "Name")]
    pub name: String,
}

/// Stands for a policy to run a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLServiceIdentity {
    /// The service.
    pub service_name: String,
    /// Where it holds; everywhere if empty.
    #[serde(serialize_with = "omitempty")]
    pub datacenters: List<String>,
}

/// Stands for a policy to run a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLNodeIdentity {
    /// The node.
    pub node_name: String,
    /// Its datacenter; elsewhere the identity grants nothing.
    pub datacenter: String,
}

/// A token: a secret and what it grants.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "", rename_all = "PascalCase")]
pub struct ACLToken {
    /// What it is called openly.
    #[serde(rename = "AccessorID")]
    pub accessor_id: String,
    /// What whoever has it may do.
    #[serde(rename = "SecretID")]
    pub secret_id: String,
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
    /// `client` or `management` for tokens of before 1.4 and the first one; else empty.
    #[serde(rename = "Type", hidden)]
    pub kind: String,
    /// Rules of its own, for tokens of before 1.4.
    #[serde(serialize_with = "omitempty")]
    pub rules: String,
    /// Valid in this datacenter alone.
    pub local: bool,
    /// The auth method that a login made it through.
    #[serde(serialize_with = "omitempty")]
    pub auth_method: String,
    /// When it ends.
    #[serde(serialize_with = "omitempty")]
    pub expiration_time: Option<GoTime>,
    /// How long it is to live; set on requests alone.
    #[serde(rename = "ExpirationTTL", serialize_with = "duration_string_omitempty")]
    pub expiration_ttl: GoDuration,
    /// When it was made.
    pub create_time: GoTime,
    /// Of everything that users set.
    #[serde(deserialize_with = "any_hash")]
    pub hash: Bytes,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

/// Shows no secret.
impl std::fmt::Debug for ACLToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ACLToken")
            .field("accessor_id", &self.accessor_id)
            .finish_non_exhaustive()
    }
}

impl ACLToken {
    /// Whether it ended by `now`.
    pub fn is_expired(&self, now: GoTime) -> bool {
        self.expiration_time
            .is_some_and(|end| !end.is_zero() && end <= now)
    }

    /// Whether it is one of before 1.4 whose rights are in itself.
    pub fn is_legacy(&self) -> bool {
        !self.kind.is_empty()
    }
}

/// A policy: rules under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "", rename_all = "PascalCase")]
pub struct ACLPolicy {
    /// What links point to.
    #[serde(rename = "ID")]
    pub id: String,
    /// What users say.
    pub name: String,
    /// For people.
    pub description: String,
    /// The rules' text.
    pub rules: String,
    /// 0 for the present language, 1 for that of before 1.4.
    #[serde(hidden)]
    pub syntax: i64,
    /// Where it holds; everywhere if empty.
    #[serde(serialize_with = "omitempty")]
    pub datacenters: List<String>,
    /// Of everything that users set.
    #[serde(deserialize_with = "any_hash")]
    pub hash: Bytes,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

/// A role: policies and identities under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "", rename_all = "PascalCase")]
pub struct ACLRole {
    /// What links point to.
    #[serde(rename = "ID")]
    pub id: String,
    /// What users say.
    pub name: String,
    /// For people.
    pub description: String,
    /// Linked policies.
    #[serde(serialize_with = "omitempty")]
    pub policies: List<ACLLink>,
    /// Services it may run.
    #[serde(serialize_with = "omitempty")]
    pub service_identities: List<ACLServiceIdentity>,
    /// Nodes it may run.
    #[serde(serialize_with = "omitempty")]
    pub node_identities: List<ACLNodeIdentity>,
    /// Of everything that users set.
    #[serde(deserialize_with = "any_hash")]
    pub hash: Bytes,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

/// A way to get tokens with what another system vouches for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLAuthMethod {
    /// How long its tokens live; 0 for ever.
    #[serde(rename = "MaxTokenTTL", serialize_with = "duration_string_omitempty")]
    pub max_token_ttl: GoDuration,
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
    /// `local` (or empty) or `global`.
    #[serde(serialize_with = "omitempty")]
    pub token_locality: String,
    /// What its kind needs.
    pub config: Map<Any>,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

/// What an auth method's logins are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLBindingRule {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// For people.
    pub description: String,
    /// The auth method.
    pub auth_method: String,
    /// An expression about the login; empty for all.
    pub selector: String,
    /// `service`, `node` or `role`.
    pub bind_type: String,
    /// Its name, with `${...}` from the login.
    pub bind_name: String,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

/// A token of before 1.4.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACL {
    /// Its secret, which is also its name.
    #[serde(rename = "ID")]
    pub id: String,
    /// For people.
    pub name: String,
    /// `client` or `management`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Its rules.
    pub rules: String,
    /// Raft index of the write that created it.
    pub create_index: u64,
    /// Raft index of the last write that changed it.
    pub modify_index: u64,
}

/// Shows no secret.
impl std::fmt::Debug for ACL {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ACL")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl From<ACL> for ACLToken {
    fn from(acl: ACL) -> Self {
        Self {
            secret_id: acl.id,
            description: acl.name,
            kind: acl.kind,
            rules: acl.rules,
            create_index: acl.create_index,
            modify_index: acl.modify_index,
            ..Self::default()
        }
    }
}

/// What is asked of tokens of before 1.4 (`ACL.Apply`, FSM command 4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLRequest {
    /// Where.
    pub datacenter: String,
    /// `set`, `force-set`, `delete`, `bootstrap-init` or `bootstrap-now`.
    pub op: String,
    /// The token.
    #[serde(rename = "ACL")]
    pub acl: ACL,
    /// On whose behalf.
    pub token: String,
}

/// FSM command 11: the first token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLTokenBootstrapRequest {
    /// The token.
    pub token: ACLToken,
    /// The index of the bootstrap that this one replaces.
    pub reset_index: u64,
}

/// FSM command 17: writes tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLTokenBatchSetRequest {
    /// The tokens.
    pub tokens: List<ACLToken>,
    /// Only those whose index is still theirs.
    #[serde(rename = "CAS")]
    pub cas: bool,
    /// Links may lead nowhere.
    pub allow_missing_links: bool,
    /// A token that grants nothing is refused.
    pub prohibit_unprivileged: bool,
    /// They come from the primary datacenter.
    pub from_replication: bool,
}

/// FSM command 18: deletes tokens by accessor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ACLTokenBatchDeleteRequest {
    /// Accessors.
    #[serde(rename = "TokenIDs")]
    pub token_ids: List<String>,
}

/// FSM command 19: writes policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLPolicyBatchSetRequest {
    /// The policies.
    pub policies: List<ACLPolicy>,
}

/// FSM command 20: deletes policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ACLPolicyBatchDeleteRequest {
    /// IDs.
    #[serde(rename = "PolicyIDs")]
    pub policy_ids: List<String>,
}

/// FSM command 23: writes roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLRoleBatchSetRequest {
    /// The roles.
    pub roles: List<ACLRole>,
    /// Links may lead nowhere.
    pub allow_missing_links: bool,
}

/// FSM command 24: deletes roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ACLRoleBatchDeleteRequest {
    /// IDs.
    #[serde(rename = "RoleIDs")]
    pub role_ids: List<String>,
}

/// FSM command 25: writes binding rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLBindingRuleBatchSetRequest {
    /// The rules.
    pub binding_rules: List<ACLBindingRule>,
}

/// FSM command 26: deletes binding rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ACLBindingRuleBatchDeleteRequest {
    /// IDs.
    #[serde(rename = "BindingRuleIDs")]
    pub binding_rule_ids: List<String>,
}

/// FSM command 27: writes auth methods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLAuthMethodBatchSetRequest {
    /// The methods.
    pub auth_methods: List<ACLAuthMethod>,
}

/// FSM command 28: deletes auth methods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLAuthMethodBatchDeleteRequest {
    /// Names.
    pub auth_method_names: List<String>,
}

/// How the copying of ACLs from the primary datacenter fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ACLReplicationStatus {
    /// It is wanted.
    pub enabled: bool,
    /// It goes on.
    pub running: bool,
    /// From where.
    pub source_datacenter: String,
    /// `policies`, `roles`, `tokens`, or empty.
    pub replication_type: String,
    /// How far policies are.
    pub replicated_index: u64,
    /// How far roles are.
    pub replicated_role_index: u64,
    /// How far tokens are.
    pub replicated_token_index: u64,
    /// The last time it went well.
    pub last_success: GoTime,
    /// The last time it failed.
    pub last_error: GoTime,
}

/// Who an auth method of type `jwt` says somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtIdentity {
    /// Single claims by the names that the method gives them.
    pub value: Map<String>,
    /// Lists of claims by the names that the method gives them.
    pub list: Map<List<String>>,
}
