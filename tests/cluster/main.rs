//! Agents that speak to each other over the wire, ours and the real Consul's.

#[path = "../common/mod.rs"]
mod common;
mod rpc;

use std::process::ExitCode;

fn main() -> ExitCode {
    common::harness::main(rpc::tests())
}
