//! Every recorded value whose structure we have, through that structure: nothing is lost or added.

use consul_lite::codec::{Deserialize, Serialize};
use consul_lite::structs::rpc::{Method, method};
use consul_lite::structs::*;
use consul_lite::wire::{self, Value, msgpack};

use crate::vectors::{canonical, load, values};

/// Reads bytes as a structure and writes it again.
type Through = fn(&[u8]) -> std::result::Result<Vec<u8>, wire::Error>;

fn through<T: Deserialize + Default + Serialize>(
    bytes: &[u8],
) -> std::result::Result<Vec<u8>, wire::Error> {
    msgpack::to_vec(&msgpack::from_slice::<T>(bytes)?)
}

/// A method's name with the ways through its argument and its result.
fn method<M>() -> (&'static str, Through, Through)
where
    M: Method,
    M::Args: Deserialize + Default + Serialize,
    M::Reply: Deserialize + Default + Serialize,
{
    (M::NAME, through::<M::Args>, through::<M::Reply>)
}

macro_rules! methods {
    ($($name:ident)*) => { [$(method::<method::$name>()),*] };
}

/// What comes back must be the same up to the order of map keys; with those in order to begin
/// with, the same bytes.
fn check(name: &str, bytes: &[u8], through: Through) {
    let back = through(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let wanted = canonical(bytes);
    if canonical(&back) != wanted {
        let shown = |b: &[u8]| format!("{:?}", values(b));
        panic!(
            "{name}:\n{}\nbecame\n{}",
            shown(&wanted),
            shown(&canonical(&back))
        );
    }
    if wanted == bytes {
        assert_eq!(back, bytes, "{name}");
    }
}

#[test]
fn rpc_messages_survive_their_structures() {
    let methods = methods! {
        AclAuthMethodList AclAuthMethodRead AclAuthMethodSet AclBindingRuleList
        AclBindingRuleSet AclBootstrapTokens AclGetPolicy AclList AclLogin AclPolicyBatchRead
        AclPolicyList AclPolicyRead AclPolicyResolve AclPolicySet AclReplicationStatus AclRoleList
        AclRoleRead AclRoleResolve AclRoleSet AclTokenBatchRead AclTokenClone AclTokenDelete
        AclTokenList AclTokenRead AclTokenSet
        CatalogDeregister CatalogListDatacenters CatalogListNodes CatalogListServices
        CatalogNodeServiceList CatalogNodeServices CatalogRegister CatalogServiceNodes
        CoordinateListDatacenters CoordinateListNodes CoordinateNode CoordinateUpdate
        HealthChecksInState HealthNodeChecks HealthServiceChecks HealthServiceNodes
        InternalEventFire InternalNodeDump InternalNodeInfo InternalServiceDump
        KvsApply KvsGet KvsList KvsListKeys
        AutopilotGetConfiguration AutopilotSetConfiguration RaftGetConfiguration
        OperatorServerHealth
        SessionApply SessionGet SessionList SessionNodeSessions SessionRenew
        StatusLeader StatusPeers StatusRaftStats
        TxnApply TxnRead
    };
    let mut seen = 0;
    for vector in load("rpc") {
        let values = values(&vector.bytes);
        for pair in values.chunks(2) {
            let [header, body] = pair else { continue };
            let name = header
                .get("ServiceMethod")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let Some((_, args, reply)) = methods.iter().find(|m| m.0 == name) else {
                continue;
            };
            // An error, or a method without a result, comes with an empty map.
            if *body == Value::Map(Vec::new()) {
                continue;
            }
            let through = if vector.name.ends_with(".req") {
                args
            } else {
                reply
            };
            let bytes = msgpack::to_vec(body).expect("values can be written");
            check(&vector.name, &bytes, *through);
            seen += 1;
        }
    }
    assert!(seen > 130, "only {seen} messages have a structure");
}

#[test]
fn fsm_commands_survive_their_structures() {
    let commands: [(&str, Through); 14] = [
        ("fsm-ACLBootstrap", through::<ACLTokenBootstrapRequest>),
        ("fsm-ACLTokenSet", through::<ACLTokenBatchSetRequest>),
        ("fsm-ACLTokenDelete", through::<ACLTokenBatchDeleteRequest>),
        ("fsm-ACLPolicySet", through::<ACLPolicyBatchSetRequest>),
        ("fsm-ACLRoleSet", through::<ACLRoleBatchSetRequest>),
        (
            "fsm-ACLBindingRuleSet",
            through::<ACLBindingRuleBatchSetRequest>,
        ),
        (
            "fsm-ACLAuthMethodSet",
            through::<ACLAuthMethodBatchSetRequest>,
        ),
        ("fsm-Register", through::<RegisterRequest>),
        ("fsm-Deregister", through::<DeregisterRequest>),
        ("fsm-KVS", through::<KVSRequest>),
        ("fsm-Session", through::<SessionRequest>),
        ("fsm-Txn", through::<TxnRequest>),
        ("fsm-Autopilot", through::<AutopilotSetConfigRequest>),
        ("fsm-CoordinateBatchUpdate", through::<Vec<Coordinate>>),
    ];
    let vectors = load("raft");
    for (name, through) in commands {
        let vector = vectors
            .iter()
            .find(|v| v.name == name)
            .expect("a vector of that name");
        check(name, &vector.bytes[1..], through);
    }
}
