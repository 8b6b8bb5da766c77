//! `join`: makes the agent join a pool through the addresses of its members.

use super::command::{Command, FAILED, Invocation, OK, agent_flags, error, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};

pub const COMMAND: Command = simple(
    "join",
    "Makes the agent join a pool",
    "Usage: consul join [options] address ...

  Tells the agent to join the pool of the agents at these addresses. One that is reached is enough.",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags().command(
        "wan",
        Kind::Bool,
        "Join the pool of the servers of all datacenters.",
    )
}

fn run(call: &Invocation) -> u8 {
    let addresses = call.args.args();
    if addresses.is_empty() {
        return call.misuse("At least one address to join must be specified.");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let query = match call.args.bool("wan") {
        true => vec![("wan", "1".to_owned())],
        false => Vec::new(),
    };
    let mut joined = 0;
    for address in &addresses {
        match client.put(&format!("/v1/agent/join/{address}"), &query, Vec::new()) {
            Ok(_) => joined += 1,
            Err(why) => error(&format!("Error joining address '{address}': {why}")),
        }
    }
    if joined == 0 {
        error("Failed to join any nodes.");
        return FAILED;
    }
    say(format!(
        "Successfully joined cluster by contacting {joined} nodes."
    ));
    OK
}
