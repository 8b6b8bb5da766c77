//! `operator autopilot`: how the leader looks after the other servers.

use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, OK, say, server_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::http::AutopilotState;
use crate::structs::AutopilotConfig;
use crate::structs::go::quote;
use crate::wire::json;

const PATH: &str = "/v1/operator/autopilot/configuration";

pub const COMMAND: Command = group(
    "autopilot",
    "Shows and changes the settings of autopilot",
    "Usage: consul operator autopilot <subcommand> [options]

  Shows and changes how the leader looks after the other servers.",
    &[
        simple(
            "get-config",
            "Shows the settings of autopilot",
            "Usage: consul operator autopilot get-config [options]

  Shows the settings that are in force.",
            server_flags,
            get,
        ),
        simple(
            "set-config",
            "Changes the settings of autopilot",
            "Usage: consul operator autopilot set-config [options]

  Changes the settings that are given and leaves the others as they are.",
            set_flags,
            set,
        ),
        simple(
            "state",
            "Shows how autopilot sees the servers",
            "Usage: consul operator autopilot state [options]

  Shows which servers there are, who of them votes and how healthy they are.",
            state_flags,
            state,
        ),
    ],
);

fn set_flags() -> FlagSet {
    server_flags()
        .command(
            "cleanup-dead-servers",
            Kind::BoolValue,
            "Whether servers that failed are removed when others take their place: `true|false`.",
        )
        .command(
            "disable-upgrade-migration",
            Kind::BoolValue,
            "Enterprise only: `true|false`.",
        )
        .command(
            "last-contact-threshold",
            Kind::DurationValue,
            "How long ago a healthy server may have heard the leader, such as `200ms`.",
        )
        .command(
            "max-trailing-logs",
            Kind::UintValue,
            "How many entries a healthy server may lag behind.",
        )
        .command(
            "min-quorum",
            Kind::UintValue,
            "Below this number of servers none is removed.",
        )
        .command("redundancy-zone-tag", Kind::Value, "Enterprise only.")
        .command(
            "server-stabilization-time",
            Kind::DurationValue,
            "How long a new server must be healthy before it votes, such as `10s`.",
        )
        .command("upgrade-version-tag", Kind::Value, "Enterprise only.")
}

fn state_flags() -> FlagSet {
    server_flags().command("format", Kind::Value, "How to show it: `pretty` or `json`.")
}

fn state(call: &Invocation) -> u8 {
    let format = match call.args.string("format") {
        "" => "pretty",
        format @ ("pretty" | "json") => format,
        other => {
            return call.fail(format!(
                "Error formatting autopilot state: Unknown format: {other}"
            ));
        }
    };
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error initializing client: {why}")),
    };
    let state: AutopilotState = match client.read("/v1/operator/autopilot/state", &[]) {
        Ok(state) => state,
        Err(why) => return call.fail(format!("Error querying Autopilot state: {why}")),
    };
    match (format, json::to_vec(&state)) {
        ("json", Ok(text)) => say(String::from_utf8_lossy(&json::pretty(&text))),
        ("json", Err(why)) => {
            return call.fail(format!("Error formatting autopilot state: {why}"));
        }
        _ => show_state(&state),
    }
    OK
}

fn show_state(state: &AutopilotState) {
    say(format!("Healthy:                      {}", state.healthy));
    say(format!(
        "Failure Tolerance:            {}",
        state.failure_tolerance
    ));
    say(format!(
        "Optimistic Failure Tolerance: {}",
        state.optimistic_failure_tolerance
    ));
    say(format!("Leader:                       {}", state.leader));
    say("Voters:");
    for id in &state.voters {
        say(format!("   {id}"));
    }
    say("Servers:");
    for server in state.servers.values() {
        say(format!("   {}", server.id));
        for (name, value) in [
            ("Name:", server.name.clone()),
            ("Address:", server.address.clone()),
            ("Version:", server.version.clone()),
            ("Status:", server.status.clone()),
            ("Node Type:", server.node_type.clone()),
            ("Node Status:", server.node_status.clone()),
            ("Healthy:", server.healthy.to_string()),
            ("Last Contact:", server.last_contact.to_string()),
            ("Last Term:", server.last_term.to_string()),
            ("Last Index:", server.last_index.to_string()),
        ] {
            say(format!("      {name:<16} {value}"));
        }
    }
}

fn get(call: &Invocation) -> u8 {
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error initializing client: {why}")),
    };
    let c: AutopilotConfig = match client.read(PATH, &[]) {
        Ok(config) => config,
        Err(why) => return call.fail(format!("Error querying Autopilot configuration: {why}")),
    };
    say(format!("CleanupDeadServers = {}", c.cleanup_dead_servers));
    say(format!(
        "LastContactThreshold = {}",
        c.last_contact_threshold
    ));
    say(format!("MaxTrailingLogs = {}", c.max_trailing_logs));
    say(format!("MinQuorum = {}", c.min_quorum));
    say(format!(
        "ServerStabilizationTime = {}",
        c.server_stabilization_time
    ));
    say(format!(
        "RedundancyZoneTag = {}",
        quote(&c.redundancy_zone_tag)
    ));
    say(format!(
        "DisableUpgradeMigration = {}",
        c.disable_upgrade_migration
    ));
    say(format!(
        "UpgradeVersionTag = {}",
        quote(&c.upgrade_version_tag)
    ));
    OK
}

fn set(call: &Invocation) -> u8 {
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error initializing client: {why}")),
    };
    let mut config: AutopilotConfig = match client.read(PATH, &[]) {
        Ok(config) => config,
        Err(why) => return call.fail(format!("Error querying Autopilot configuration: {why}")),
    };
    let args = &call.args;
    if let Some(on) = args.opt_bool("cleanup-dead-servers") {
        config.cleanup_dead_servers = on;
    }
    if let Some(on) = args.opt_bool("disable-upgrade-migration") {
        config.disable_upgrade_migration = on;
    }
    if args.is_set("last-contact-threshold") {
        config.last_contact_threshold = args.duration("last-contact-threshold");
    }
    if args.is_set("max-trailing-logs") {
        config.max_trailing_logs = args.uint("max-trailing-logs");
    }
    if args.is_set("min-quorum") {
        config.min_quorum = args.uint("min-quorum");
    }
    if args.is_set("redundancy-zone-tag") {
        args.string("redundancy-zone-tag")
            .clone_into(&mut config.redundancy_zone_tag);
    }
    if args.is_set("server-stabilization-time") {
        config.server_stabilization_time = args.duration("server-stabilization-time");
    }
    if args.is_set("upgrade-version-tag") {
        args.string("upgrade-version-tag")
            .clone_into(&mut config.upgrade_version_tag);
    }
    let body = match json::to_vec(&config) {
        Ok(body) => body,
        Err(why) => return call.fail(format!("Error setting Autopilot configuration: {why}")),
    };
    let query = [("cas", config.modify_index.to_string())];
    match client.put(PATH, &query, body) {
        Ok(answer) if answer.trim_ascii() == b"true" => {
            say("Configuration updated!");
            OK
        }
        Ok(_) => call.fail("Configuration could not be atomically updated, please try again"),
        Err(why) => call.fail(format!("Error setting Autopilot configuration: {why}")),
    }
}
