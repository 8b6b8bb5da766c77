//! The metrics with fixed names, as Consul 1.8 calls them, without the prefix.
//!
//! Source: Consul's documentation "Telemetry"; the list of a running Consul 1.8.7.

use super::{Counter, Gauge, Sample};
use crate::structs::kv_op;

// What agents ask of servers.
pub static CLIENT_RPC: Counter = Counter::new("client.rpc");
pub static CLIENT_RPC_EXCEEDED: Counter = Counter::new("client.rpc.exceeded");
pub static CLIENT_RPC_FAILED: Counter = Counter::new("client.rpc.failed");
pub static RPC_ACCEPT_CONN: Counter = Counter::new("rpc.accept_conn");
pub static RPC_RAFT_HANDOFF: Counter = Counter::new("rpc.raft_handoff");
pub static RPC_REQUEST: Counter = Counter::new("rpc.request");
pub static RPC_REQUEST_ERROR: Counter = Counter::new("rpc.request_error");
pub static RPC_QUERY: Counter = Counter::new("rpc.query");
pub static RPC_CONSISTENT_READ: Sample = Sample::new("rpc.consistentRead");
pub static RPC_QUERIES_BLOCKING: Gauge = Gauge::new("rpc.queries_blocking");

// Raft and its state machine.
pub static RAFT_APPLY: Counter = Counter::new("raft.apply");
pub static RAFT_BARRIER: Counter = Counter::new("raft.barrier");
pub static RAFT_VERIFY_LEADER: Counter = Counter::new("raft.verify_leader");
pub static RAFT_STATE_LEADER: Counter = Counter::new("raft.state.leader");
pub static RAFT_STATE_CANDIDATE: Counter = Counter::new("raft.state.candidate");
pub static RAFT_STATE_FOLLOWER: Counter = Counter::new("raft.state.follower");
pub static RAFT_HEARTBEAT_TIMEOUT: Counter = Counter::new("raft.transition.heartbeat_timeout");
pub static RAFT_COMMIT_TIME: Sample = Sample::new("raft.commitTime");
pub static RAFT_DISPATCH_LOG: Sample = Sample::new("raft.leader.dispatchLog");
pub static RAFT_FSM_APPLY: Sample = Sample::new("raft.fsm.apply");
pub static RAFT_FSM_ENQUEUE: Sample = Sample::new("raft.fsm.enqueue");
pub static RAFT_LAST_CONTACT: Sample = Sample::new("raft.leader.lastContact");
pub static RAFT_APPLIED_INDEX: Gauge = Gauge::new("raft.applied_index");
pub static RAFT_LAST_INDEX: Gauge = Gauge::new("raft.last_index");
pub static RAFT_COMMIT_NUM_LOGS: Gauge = Gauge::new("raft.commitNumLogs");
pub static RAFT_DISPATCH_NUM_LOGS: Gauge = Gauge::new("raft.leader.dispatchNumLogs");

pub static RAFT_FSM_RESTORE: Sample = Sample::new("raft.fsm.restore");
pub static RAFT_FSM_SNAPSHOT: Sample = Sample::new("raft.fsm.snapshot");
pub static RAFT_SNAPSHOT_PERSIST: Sample = Sample::new("raft.snapshot.persist");
pub static RAFT_TAKE_SNAPSHOT: Sample = Sample::new("raft.snapshot.takeSnapshot");
pub static RAFT_COMPACT_LOGS: Sample = Sample::new("raft.compactLogs");
pub static FSM_REGISTER: Sample = Sample::new("fsm.register");
pub static FSM_DEREGISTER: Sample = Sample::new("fsm.deregister");
pub static FSM_COORDINATES: Sample = Sample::new("fsm.coordinate.batch-update");
pub static FSM_TXN: Sample = Sample::new("fsm.txn");
/// Of operations on keys, the one that is applied most first.
pub static FSM_KVS: [Sample; 7] = [
    Sample::labelled("fsm.kvs", &[("op", kv_op::SET)]),
    Sample::labelled("fsm.kvs", &[("op", kv_op::DELETE)]),
    Sample::labelled("fsm.kvs", &[("op", kv_op::DELETE_CAS)]),
    Sample::labelled("fsm.kvs", &[("op", kv_op::DELETE_TREE)]),
    Sample::labelled("fsm.kvs", &[("op", kv_op::CAS)]),
    Sample::labelled("fsm.kvs", &[("op", kv_op::LOCK)]),
    Sample::labelled("fsm.kvs", &[("op", kv_op::UNLOCK)]),
];
/// Of operations on sessions.
pub static FSM_SESSION: [Sample; 2] = [
    Sample::labelled("fsm.session", &[("op", "create")]),
    Sample::labelled("fsm.session", &[("op", "destroy")]),
];
pub static FSM_PERSIST: Sample = Sample::new("fsm.persist");
pub static FSM_AUTOPILOT: Sample = Sample::new("fsm.autopilot");

// What servers do.
pub static CATALOG_REGISTER: Sample = Sample::new("catalog.register");
pub static CATALOG_DEREGISTER: Sample = Sample::new("catalog.deregister");
pub static KVS_APPLY: Sample = Sample::new("kvs.apply");
pub static SESSION_APPLY: Sample = Sample::new("session.apply");
pub static SESSION_RENEW: Sample = Sample::new("session.renew");
pub static SESSION_TTL_INVALIDATE: Sample = Sample::new("session_ttl.invalidate");
pub static SESSION_TTL_ACTIVE: Gauge = Gauge::new("session_ttl.active");
pub static TXN_APPLY: Sample = Sample::new("txn.apply");
pub static TXN_READ: Sample = Sample::new("txn.read");
pub static LEADER_BARRIER: Sample = Sample::new("leader.barrier");
pub static LEADER_RECONCILE: Sample = Sample::new("leader.reconcile");
pub static LEADER_RECONCILE_MEMBER: Sample = Sample::new("leader.reconcileMember");
pub static LEADER_REAP_TOMBSTONES: Sample = Sample::new("leader.reapTombstones");
pub static AUTOPILOT_HEALTHY: Gauge = Gauge::new("autopilot.healthy");
pub static AUTOPILOT_FAILURE_TOLERANCE: Gauge = Gauge::new("autopilot.failure_tolerance");

// The gossip pools; an event's name follows `serf.events`.
pub static SERF_EVENTS: Counter = Counter::new("serf.events");
pub static SERF_MEMBER_JOIN: Counter = Counter::new("serf.member.join");
pub static SERF_MEMBER_UPDATE: Counter = Counter::new("serf.member.update");
pub static SERF_MEMBER_FAILED: Counter = Counter::new("serf.member.failed");
pub static SERF_MEMBER_LEFT: Counter = Counter::new("serf.member.left");
pub static SERF_MSGS_RECEIVED: Sample = Sample::new("serf.msgs.received");
pub static SERF_MSGS_SENT: Sample = Sample::new("serf.msgs.sent");
pub static SERF_QUEUE_EVENT: Sample = Sample::new("serf.queue.Event");
pub static SERF_QUEUE_INTENT: Sample = Sample::new("serf.queue.Intent");
pub static SERF_QUEUE_QUERY: Sample = Sample::new("serf.queue.Query");
pub static SERF_ADJUSTMENT: Sample = Sample::new("serf.coordinate.adjustment-ms");
pub static SERF_SNAPSHOT_APPEND: Sample = Sample::new("serf.snapshot.appendLine");
pub static MEMBERLIST_HEALTH: Gauge = Gauge::new("memberlist.health.score");
pub static MEMBERLIST_DEGRADED: Counter = Counter::new("memberlist.degraded.probe");
pub static MEMBERLIST_PROBE: Sample = Sample::new("memberlist.probeNode");
pub static MEMBERLIST_ALIVE: Counter = Counter::new("memberlist.msg.alive");
pub static MEMBERLIST_SUSPECT: Counter = Counter::new("memberlist.msg.suspect");
pub static MEMBERLIST_DEAD: Counter = Counter::new("memberlist.msg.dead");
pub static MEMBERLIST_PACKETS_SENT: Sample = Sample::adding("memberlist.udp.sent");
pub static MEMBERLIST_PACKETS_RECEIVED: Sample = Sample::adding("memberlist.udp.received");
pub static MEMBERLIST_STREAM_ACCEPT: Counter = Counter::new("memberlist.tcp.accept");
pub static MEMBERLIST_STREAM_CONNECT: Counter = Counter::new("memberlist.tcp.connect");
pub static MEMBERLIST_STREAM_SENT: Sample = Sample::adding("memberlist.tcp.sent");

// DNS; Consul labels these with the node's name, see `dns_domain_query` and its like.
pub static DNS_STALE_QUERIES: Counter = Counter::new("dns.stale_queries");
