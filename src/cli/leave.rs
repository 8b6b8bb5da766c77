//! `leave`: makes the agent leave its pools and end.

use super::command::{Command, FAILED, Invocation, OK, agent_flags, error, say};
use super::simple;

pub const COMMAND: Command = simple(
    "leave",
    "Makes the agent leave and end",
    "Usage: consul leave [options]

  Makes the agent tell the others that it leaves, and end.",
    agent_flags,
    run,
);

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    if !args.is_empty() {
        error(&format!(
            "Error found unexpected args: [{}]",
            args.join(" ")
        ));
        say(call.help());
        return FAILED;
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    match client.put("/v1/agent/leave", &[], Vec::new()) {
        Ok(_) => {
            say("Graceful leave complete");
            OK
        }
        Err(why) => call.fail(format!("Error leaving: {why}")),
    }
}
