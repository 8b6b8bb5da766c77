//! `force-leave`: moves a failed member to `left`.

use super::command::{Command, Invocation, OK, agent_flags};
use super::simple;
use crate::config::flags::{FlagSet, Kind};

pub const COMMAND: Command = simple(
    "force-leave",
    "Moves a failed member to the state \"left\"",
    "Usage: consul force-leave [options] name

  Tells the pool that a failed member will not come back. One that is alive after all joins again.

  -prune    Forget the member altogether",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags().command(
        "prune",
        Kind::Bool,
        "Forget the member altogether, instead of keeping it as one that left.",
    )
}

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let [node] = args.as_slice() else {
        return call.misuse("A single node name must be specified to force leave.");
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let query = match call.args.bool("prune") {
        true => vec![("prune", "1".to_owned())],
        false => Vec::new(),
    };
    match client.put(&format!("/v1/agent/force-leave/{node}"), &query, Vec::new()) {
        Ok(_) => OK,
        Err(why) => call.fail(format!("Error force leaving: {why}")),
    }
}
