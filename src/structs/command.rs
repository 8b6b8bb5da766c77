//! Numbers of the FSM commands: the first byte of a log entry's data.
//!
//! Source: `docs/reference/raft.md` section 7.

/// Write a node, service and checks: `RegisterRequest`.
pub const REGISTER: u8 = 0;
/// Remove a service, check or node: `DeregisterRequest`.
pub const DEREGISTER: u8 = 1;
/// Write a key: `KVSRequest`.
pub const KVS: u8 = 2;
/// Create or destroy a session: `SessionRequest`.
pub const SESSION: u8 = 3;
/// Reap tombstones: `TombstoneRequest`.
pub const TOMBSTONE: u8 = 5;
/// A transaction: `TxnRequest`.
pub const TXN: u8 = 8;
/// Autopilot's settings: `AutopilotSetConfigRequest`.
pub const AUTOPILOT: u8 = 9;
/// A token of before 1.4: `ACLRequest`.
pub const ACL: u8 = 4;
/// The first token: `ACLTokenBootstrapRequest`.
pub const ACL_BOOTSTRAP: u8 = 11;
/// Write tokens: `ACLTokenBatchSetRequest`.
pub const ACL_TOKEN_SET: u8 = 17;
/// Delete tokens: `ACLTokenBatchDeleteRequest`.
pub const ACL_TOKEN_DELETE: u8 = 18;
/// Write policies: `ACLPolicyBatchSetRequest`.
pub const ACL_POLICY_SET: u8 = 19;
/// Delete policies: `ACLPolicyBatchDeleteRequest`.
pub const ACL_POLICY_DELETE: u8 = 20;
/// Write roles: `ACLRoleBatchSetRequest`.
pub const ACL_ROLE_SET: u8 = 23;
/// Delete roles: `ACLRoleBatchDeleteRequest`.
pub const ACL_ROLE_DELETE: u8 = 24;
/// Write binding rules: `ACLBindingRuleBatchSetRequest`.
pub const ACL_BINDING_RULE_SET: u8 = 25;
/// Delete binding rules: `ACLBindingRuleBatchDeleteRequest`.
pub const ACL_BINDING_RULE_DELETE: u8 = 26;
/// Write auth methods: `ACLAuthMethodBatchSetRequest`.
pub const ACL_AUTH_METHOD_SET: u8 = 27;
/// Delete auth methods: `ACLAuthMethodBatchDeleteRequest`.
pub const ACL_AUTH_METHOD_DELETE: u8 = 28;
