//! `maint`: puts a node or a service into maintenance, which takes it out of discovery.
//!
//! Source: `docs/reference/cli.md` section 8.

use std::collections::BTreeMap;

use super::client::{Client, Query};
use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::structs::HealthCheck;

/// The check of a node in maintenance.
const NODE_CHECK: &str = "_node_maintenance";
/// The checks of services in maintenance begin with this.
const SERVICE_CHECK: &str = "_service_maintenance:";

pub const COMMAND: Command = simple(
    "maint",
    "Takes the node or a service out of discovery, or back in",
    "Usage: consul maint [options]

  Puts the agent's node or one of its services into maintenance, or ends it; without options it lists what
  is in maintenance:

      $ consul maint -enable -service=redis -reason=\"new disk\"",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags()
        .command("disable", Kind::Bool, "End maintenance.")
        .command("enable", Kind::Bool, "Begin maintenance.")
        .command("reason", Kind::String, "Why, for those who wonder.")
        .command(
            "service",
            Kind::String,
            "The id of the service; without it the whole node.",
        )
}

fn run(call: &Invocation) -> u8 {
    let (enable, disable) = (call.args.bool("enable"), call.args.bool("disable"));
    let (reason, service) = (call.args.string("reason"), call.args.string("service"));
    if enable && disable {
        return call.fail("Only one of -enable or -disable may be provided");
    }
    if !enable && !reason.is_empty() {
        return call.fail("Reason may only be provided with -enable");
    }
    if !enable && !disable && !service.is_empty() {
        return call.fail("Service requires either -enable or -disable");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    if !enable && !disable {
        return match client.node_name() {
            Ok(node) => list(call, &client, &node),
            Err(why) => call.fail(format!("Error querying Consul agent: {why}")),
        };
    }
    let mut query: Query = vec![("enable", enable.to_string())];
    if enable {
        query.push(("reason", reason.to_owned()));
    }
    let (path, what, of) = match service {
        "" => ("/v1/agent/maintenance".to_owned(), "node", String::new()),
        id => (
            format!("/v1/agent/service/maintenance/{id}"),
            "service",
            format!(" for \"{id}\""),
        ),
    };
    let (verb, state) = match enable {
        true => ("enabling", "now enabled"),
        false => ("disabling", "now disabled"),
    };
    match client.put(&path, &query, Vec::new()) {
        Ok(_) => {
            let title = if service.is_empty() {
                "Node"
            } else {
                "Service"
            };
            say(format!("{title} maintenance is {state}{of}"));
            OK
        }
        Err(why) => call.fail(format!("Error {verb} {what} maintenance: {why}")),
    }
}

fn list(call: &Invocation, client: &Client, node: &str) -> u8 {
    let checks: BTreeMap<String, HealthCheck> = match client.read("/v1/agent/checks", &[]) {
        Ok(checks) => checks,
        Err(why) => return call.fail(format!("Error getting checks: {why}")),
    };
    for (id, check) in &checks {
        if id == NODE_CHECK {
            say(format!(
                "Node:\n  Name:   {node}\n  Reason: {}\n",
                check.notes
            ));
        } else if id.starts_with(SERVICE_CHECK) {
            say(format!(
                "Service:\n  ID:     {}\n  Reason: {}\n",
                check.service_id, check.notes
            ));
        }
    }
    OK
}
