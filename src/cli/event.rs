//! `event`: fires a user event.
//!
//! Source: `docs/reference/cli.md` section 8.

use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::filter::regexp;
use crate::structs::UserEvent;
use crate::wire::json;

pub const COMMAND: Command = simple(
    "event",
    "Fires a user event",
    "Usage: consul event [options] [payload]

  Fires an event that reaches every agent of the datacenter, and with it a few bytes of payload. The options
  narrow down which agents act on it.",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags()
        .command("name", Kind::String, "The event's name.")
        .command(
            "node",
            Kind::String,
            "Regular expression for the names of the nodes that act on it.",
        )
        .command(
            "service",
            Kind::String,
            "Regular expression for the services of the nodes that act on it.",
        )
        .command(
            "tag",
            Kind::String,
            "Regular expression for the tags of such a service.",
        )
}

fn run(call: &Invocation) -> u8 {
    let name = call.args.string("name");
    if name.is_empty() {
        return call.misuse("Event name must be specified");
    }
    let (node, service, tag) = (
        call.args.string("node"),
        call.args.string("service"),
        call.args.string("tag"),
    );
    for (what, pattern) in [("node", node), ("service", service), ("tag", tag)] {
        if what == "tag" && !pattern.is_empty() && service.is_empty() {
            return call.fail("Cannot provide tag filter without service filter.");
        }
        if let Err(why) = regexp::parse(pattern) {
            return call.fail(format!("Failed to compile {what} filter regexp: {why}"));
        }
    }
    let args = call.args.args();
    let payload = match args.as_slice() {
        [] => Vec::new(),
        [payload] => payload.clone().into_bytes(),
        _ => return call.misuse("Too many command line arguments."),
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    if let Err(why) = client.node_name() {
        return call.fail(format!("Error querying Consul agent: {why}"));
    }
    let filters = [("node", node), ("service", service), ("tag", tag)];
    let query: Vec<_> = filters
        .into_iter()
        .filter(|(_, pattern)| !pattern.is_empty())
        .map(|(name, pattern)| (name, pattern.to_owned()))
        .collect();
    let fired = client
        .put(&format!("/v1/event/fire/{name}"), &query, payload)
        .and_then(|body| json::from_slice_lenient::<UserEvent>(&body).map_err(|e| e.to_string()));
    match fired {
        Ok(event) => {
            say(format!("Event ID: {}", event.id));
            OK
        }
        Err(why) => call.fail(format!("Error firing event: {why}")),
    }
}
