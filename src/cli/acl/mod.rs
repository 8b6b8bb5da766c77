//! `acl`: tokens, policies, roles, auth methods and binding rules.
//!
//! Holds true: what is asked for by the beginning of its ID is one thing or an error; secrets are shown only where Consul
//! shows them.
//! Source: `docs/reference/cli.md` section 18.

mod binding_rule;
mod method;
mod misc;
mod policy;
mod role;
mod show;
mod token;

use super::client::Client;
use super::command::{Command, Invocation, OK, say, server_flags};
use super::group;
use crate::codec::{Deserialize, Serialize};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::{ACLLink, ACLNodeIdentity, ACLServiceIdentity};
use crate::wire::json;
use hyper::Method;

pub const COMMAND: Command = group(
    "acl",
    "Manages tokens, policies and roles",
    "Usage: consul acl <subcommand> [options] [args]

  Manages who may do what. A new cluster with ACLs gets its first token by 'acl bootstrap'.",
    &[
        method::COMMAND,
        binding_rule::COMMAND,
        misc::BOOTSTRAP,
        policy::COMMAND,
        role::COMMAND,
        misc::SET_AGENT_TOKEN,
        token::COMMAND,
        misc::TRANSLATE_RULES,
    ],
);

/// Flags of every command that shows something.
fn shown_flags() -> FlagSet {
    server_flags()
        .command(
            "format",
            Kind::String,
            "How to show it: `pretty` or `json`.",
        )
        .command("meta", Kind::Bool, "Show hash and indexes as well.")
}

/// Flags of links to policies.
fn policy_link_flags(flags: FlagSet) -> FlagSet {
    flags
        .command("policy-id", Kind::List, "ID of a policy; may be repeated.")
        .command(
            "policy-name",
            Kind::List,
            "Name of a policy; may be repeated.",
        )
}

/// Flags of identities.
fn identity_flags(flags: FlagSet) -> FlagSet {
    flags
        .command(
            "service-identity",
            Kind::List,
            "A service to run, `NAME` or `NAME:DC1,DC2`; may be repeated.",
        )
        .command(
            "node-identity",
            Kind::List,
            "A node to run, `NAME:DC`; may be repeated.",
        )
}

/// Whether the answer is to be shown as JSON.
fn wants_json(call: &Invocation) -> Result<bool, String> {
    match call.args.string("format") {
        "" | "pretty" => Ok(false),
        "json" => Ok(true),
        other => Err(format!("Unknown format: {other}")),
    }
}

/// Runs a command against an agent; what goes wrong is said.
fn run(call: &Invocation, work: impl FnOnce(&Client) -> Result<(), String>) -> u8 {
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error connecting to Consul agent: {why}")),
    };
    match wants_json(call).and_then(|_| work(&client)) {
        Ok(()) => OK,
        Err(why) => call.fail(why),
    }
}

/// Asks, and reads the answer as a structure.
fn ask<T: Deserialize + Default>(
    client: &Client,
    method: Method,
    path: &str,
    body: &impl Serialize,
) -> Result<T, String> {
    let body = json::to_vec(body).map_err(|e| e.to_string())?;
    let answer = smol::block_on(client.ask(method, path, &[], body))?.ok()?;
    json::from_slice_lenient(&answer).map_err(|e| e.to_string())
}

/// Writes something with PUT.
fn put<T: Deserialize + Default>(
    client: &Client,
    path: &str,
    body: &impl Serialize,
) -> Result<T, String> {
    ask(client, Method::PUT, path, body)
}

/// Deletes something.
fn delete(client: &Client, path: &str) -> Result<(), String> {
    smol::block_on(client.ask(Method::DELETE, path, &[], Vec::new()))?.ok()?;
    Ok(())
}

/// A path whose last part is a name.
fn path(before: &str, name: &str) -> String {
    format!(
        "{before}{}",
        crate::net::url::escape_path(name).replace('/', "%2F")
    )
}

/// The one ID that begins as asked.
fn by_prefix(
    ids: impl Iterator<Item = String>,
    prefix: &str,
    what: &str,
) -> Result<String, String> {
    let mut found: Vec<String> = ids.filter(|id| id.starts_with(prefix)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(id), true) => Ok(id),
        (Some(_), false) => Err(format!(
            "Error determining {what} ID: {what} ID prefix {prefix} is not unique"
        )),
        (None, _) => Err(format!("No such {what} ID with prefix: {prefix}")),
    }
}

/// Links by ID and by name.
fn links(call: &Invocation, kind: &str) -> Vec<ACLLink> {
    let ids = call
        .args
        .list(&format!("{kind}-id"))
        .into_iter()
        .map(|id| ACLLink {
            id,
            ..ACLLink::default()
        });
    let names = call.args.list(&format!("{kind}-name")).into_iter();
    ids.chain(names.map(|name| ACLLink {
        name,
        ..ACLLink::default()
    }))
    .collect()
}

/// Service identities as they are typed.
fn service_identities(call: &Invocation) -> Vec<ACLServiceIdentity> {
    let typed = call.args.list("service-identity").into_iter();
    typed
        .map(|text| match text.split_once(':') {
            Some((name, datacenters)) => ACLServiceIdentity {
                service_name: name.to_owned(),
                datacenters: Some(datacenters.split(',').map(str::to_owned).collect()),
            },
            None => ACLServiceIdentity {
                service_name: text,
                datacenters: None,
            },
        })
        .collect()
}

/// Node identities as they are typed.
fn node_identities(call: &Invocation) -> Result<Vec<ACLNodeIdentity>, String> {
    let typed = call.args.list("node-identity").into_iter();
    typed
        .map(|text| match text.split_once(':') {
            Some((name, datacenter)) => Ok(ACLNodeIdentity {
                node_name: name.to_owned(),
                datacenter: datacenter.to_owned(),
            }),
            None => Err(format!(
                "Malformed -node-identity argument: {}",
                crate::structs::go::quote(&text)
            )),
        })
        .collect()
}

/// What a list becomes: replaced, or with `merge` added to.
fn merged<T: PartialEq>(old: Option<Vec<T>>, new: Vec<T>, merge: bool) -> Option<Vec<T>> {
    if !merge {
        return Some(new);
    }
    let mut all = old.unwrap_or_default();
    for one in new {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Some(all)
}

/// Shows something as text or as JSON.
fn show(
    call: &Invocation,
    value: &dyn Serialize,
    text: impl FnOnce(bool) -> String,
) -> Result<(), String> {
    if wants_json(call)? {
        say(show::json(value)?);
        return Ok(());
    }
    let text = text(call.args.bool("meta"));
    say(text.trim_end_matches('\n'));
    Ok(())
}
