//! `info`: the figures of an agent, for whoever looks for a fault.

use std::collections::BTreeMap;

use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;

pub const COMMAND: Command = simple(
    "info",
    "Shows figures of the agent",
    "Usage: consul info [options]

  Prints figures of the agent in groups: its checks, Raft, the gossip pools, the process.",
    agent_flags,
    run,
);

#[derive(Default, crate::codec::Deserialize)]
#[serde(default)]
struct AgentSelf {
    #[serde(rename = "Stats")]
    stats: BTreeMap<String, BTreeMap<String, String>>,
}

fn run(call: &Invocation) -> u8 {
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let agent: AgentSelf = match client.read("/v1/agent/self", &[]) {
        Ok(agent) => agent,
        Err(why) => return call.fail(format!("Error querying agent: {why}")),
    };
    for (group, figures) in &agent.stats {
        say(format!("{group}:"));
        for (name, value) in figures {
            say(format!("\t{name} = {value}"));
        }
    }
    OK
}
