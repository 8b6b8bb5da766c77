//! The RPC endpoints, one file per RPC name.
//!
//! Each method validates what Consul validates on the leader, then reads the state or proposes the FSM
//! command. Source: `docs/reference/rpc.md` section 11.

mod acl;
pub(super) mod asked;
mod catalog;
mod coordinate;
mod health;
mod internal;
mod keyring;
mod kvs;
pub(super) mod listing;
mod operator;
mod session;
mod status;
mod txn;
