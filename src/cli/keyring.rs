//! `keyring`: looks at and changes the keys that encrypt gossip.
//!
//! Source: `docs/reference/cli.md` section 5.

use hyper::Method;

use super::client::Query;
use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::structs::KeyringResponse;
use crate::structs::go::quote;

/// Most members that an answer goes through.
const MAX_RELAYS: i64 = 5;

pub const COMMAND: Command = simple(
    "keyring",
    "Looks at and changes the keys that encrypt gossip",
    "Usage: consul keyring [options]

  Lists the keys of all pools, or changes them everywhere, while all agents go on. To replace a key, install
  the new one, use it, and remove the old one:

      $ consul keyring -install=KEY
      $ consul keyring -use=KEY
      $ consul keyring -remove=OLDKEY",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags()
        .command("install", Kind::String, "Install this key on all members.")
        .command("list", Kind::Bool, "List the keys that members have.")
        .command(
            "list-primary",
            Kind::Bool,
            "List the keys that members encrypt with.",
        )
        .command(
            "local-only",
            Kind::Bool,
            "List those of the agent's own datacenter only.",
        )
        .command(
            "relay-factor",
            Kind::Int,
            "How many other members each answer also goes through, 0 to 5.",
        )
        .command(
            "remove",
            Kind::String,
            "Remove this key, which must not be in use.",
        )
        .command(
            "use",
            Kind::String,
            "Encrypt with this key, which is installed.",
        )
}

fn run(call: &Invocation) -> u8 {
    let args = &call.args;
    let [install, using, remove] = ["install", "use", "remove"].map(|name| args.string(name));
    let (list, primary) = (args.bool("list"), args.bool("list-primary"));
    let asked = [install, using, remove]
        .iter()
        .filter(|key| !key.is_empty())
        .count()
        + usize::from(list)
        + usize::from(primary);
    let (local, relays) = (args.bool("local-only"), args.int("relay-factor"));
    let (progress, method, key) = match (asked, install, using, remove) {
        (0, ..) => return call.fail(call.help()),
        (1, ..) if list => ("Gathering installed encryption keys...", Method::GET, ""),
        (1, ..) if primary => (
            "Gathering installed primary encryption keys...",
            Method::GET,
            "",
        ),
        (1, key, "", "") => ("Installing new gossip encryption key...", Method::POST, key),
        (1, "", key, "") => (
            "Changing primary gossip encryption key...",
            Method::PUT,
            key,
        ),
        (1, "", "", key) => ("Removing gossip encryption key...", Method::DELETE, key),
        _ => return call.fail("Only a single action is allowed"),
    };
    if !(0..=MAX_RELAYS).contains(&relays) {
        return call.fail("Error parsing relay factor: Relay factor must be in range: [0, 5]");
    }
    if local && method != Method::GET {
        return call
            .fail("Error validating local-only: local-only can only be set for list requests");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    say(format!("==> {progress}"));
    let mut query = Query::new();
    if relays > 0 {
        query.push(("relay-factor", relays.to_string()));
    }
    if local {
        query.push(("local-only", "true".to_owned()));
    }
    let path = "/v1/operator/keyring";
    if method == Method::GET {
        return match client.read::<Vec<KeyringResponse>>(path, &query) {
            Ok(responses) => show(&responses, primary),
            Err(why) => call.fail(format!("error: {why}")),
        };
    }
    let body = format!("{{\"Key\":{}}}", quote(key)).into_bytes();
    match client.send(method, path, &query, body) {
        Ok(_) => OK,
        Err(why) => call.fail(format!("error: {why}")),
    }
}

fn show(responses: &[KeyringResponse], primary: bool) -> u8 {
    for response in responses {
        let pool = match response.wan {
            true => "WAN".to_owned(),
            false => format!("{} (LAN)", response.datacenter),
        };
        let segment = match response.segment.as_str() {
            "" => String::new(),
            name => format!(" [{name}]"),
        };
        say(format!("\n{pool}{segment}:"));
        for (node, message) in response.messages.iter().flatten() {
            say(format!("  ===> {node}: {message}"));
        }
        let keys = match primary {
            true => &response.primary_keys,
            false => &response.keys,
        };
        for (key, count) in keys.iter().flatten() {
            say(format!("  {key} [{count}/{}]", response.num_nodes));
        }
    }
    OK
}
