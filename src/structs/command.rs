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
