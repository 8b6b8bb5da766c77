//! `reload`: makes the agent read its configuration again.

use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;

pub const COMMAND: Command = simple(
    "reload",
    "Makes the agent read its configuration again",
    "Usage: consul reload

  Makes the agent read its configuration files again and take over what may change while it runs.",
    agent_flags,
    run,
);

fn run(call: &Invocation) -> u8 {
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    match client.put("/v1/agent/reload", &[], Vec::new()) {
        Ok(_) => {
            say("Configuration reload triggered");
            OK
        }
        Err(why) => call.fail(format!("Error reloading: {why}")),
    }
}
