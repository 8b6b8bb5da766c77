//! consul-lite: Consul's agent for small machines.
//!
//! `docs/design/house.md` says which room holds what and in which direction they may know each other.

use std::process::ExitCode;

pub mod acl;
pub mod agent;
pub mod atomic;
pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
pub mod dns;
pub mod drive;
pub mod filter;
pub mod gossip;
pub mod heap;
pub mod http;
pub mod net;
pub mod raft;
pub mod serf;
pub mod server;
pub mod sorted;
pub mod store;
pub mod structs;
pub mod telemetry;
pub mod ui;
pub mod wire;

/// Runs the command line of this process; the exit code is Consul's.
pub fn main() -> ExitCode {
    cli::main()
}
