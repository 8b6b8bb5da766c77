//! `acl`: tokens, policies, roles, auth methods and binding rules.
//!
//! Holds true: what is asked for by the beginning of its ID is one thing or an error; secrets are shown only where Consul
//! shows them.
//! Source: `docs/reference/cli.md` section 18; a running Consul 1.8.7.

mod binding_rule;
mod method;
mod misc;
mod object;
mod policy;
mod role;
mod show;
mod token;

use super::client::Client;
use super::command::{Command, Invocation, OK, namespace_flags};
use super::group;
use crate::config::flags::{FlagSet, Kind};
use crate::structs::go::quote;
use crate::structs::{ACLLink, ACLNodeIdentity, ACLServiceIdentity};
use object::Object;

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

/// The flag that says how something is shown.
fn format_flag(flags: FlagSet) -> FlagSet {
    flags.command(
        "format",
        Kind::String,
        "How to show it: `pretty` or `json`.",
    )
}

/// Flags of every command that shows something.
fn shown_flags() -> FlagSet {
    format_flag(namespace_flags()).command("meta", Kind::Bool, "Show hash and indexes as well.")
}

/// Flags that say which one is meant.
fn named(flags: FlagSet) -> FlagSet {
    flags
        .command(
            "id",
            Kind::String,
            "Its ID, or the beginning if that is one's alone.",
        )
        .command("name", Kind::String, "Its name.")
}

/// Flags of commands that delete by ID or name.
fn delete_flags() -> FlagSet {
    named(namespace_flags())
}

/// Flags of commands that read by ID or name.
fn read_flags() -> FlagSet {
    named(shown_flags())
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
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    match work(&client) {
        Ok(()) => OK,
        Err(why) => call.fail(why),
    }
}

/// A path whose last part is a name.
fn path(before: &str, name: &str) -> String {
    format!(
        "{before}{}",
        crate::net::url::escape_path(name).replace('/', "%2F")
    )
}

/// Links to things of one kind, by name and by the beginning of the ID.
fn links<T: Object>(client: &Client, call: &Invocation) -> Result<Vec<ACLLink>, String> {
    let typed = |what: &str| call.args.list(&format!("{}-{what}", T::NOUN));
    let by_name = |name| ACLLink {
        name,
        ..ACLLink::default()
    };
    let mut links: Vec<ACLLink> = typed("name").into_iter().map(by_name).collect();
    for typed in typed("id") {
        let id = object::by_prefix::<T>(client, &typed)
            .map_err(|e| format!("Error resolving {} ID : {e}", T::NOUN))?;
        links.push(ACLLink {
            id,
            ..ACLLink::default()
        });
    }
    Ok(links)
}

/// Service identities as they are typed.
fn service_identities(call: &Invocation) -> Result<Vec<ACLServiceIdentity>, String> {
    let typed = call.args.list("service-identity").into_iter();
    typed
        .map(|text| {
            let mut parts = text.split(':').map(str::to_owned);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(service_name), datacenters, None) => Ok(ACLServiceIdentity {
                    service_name,
                    datacenters: datacenters
                        .map(|list| list.split(',').map(str::to_owned).collect()),
                }),
                _ => Err(malformed("service", &text)),
            }
        })
        .collect()
}

/// Node identities as they are typed.
fn node_identities(call: &Invocation) -> Result<Vec<ACLNodeIdentity>, String> {
    let typed = call.args.list("node-identity").into_iter();
    typed
        .map(|text| match text.split_once(':') {
            Some((name, datacenter)) if !datacenter.contains(':') => Ok(ACLNodeIdentity {
                node_name: name.to_owned(),
                datacenter: datacenter.to_owned(),
            }),
            _ => Err(malformed("node", &text)),
        })
        .collect()
}

fn malformed(kind: &str, text: &str) -> String {
    format!("Malformed -{kind}-identity argument: {}", quote(text))
}

/// What a list becomes: replaced, or with `merge` added to; what is the `same` is there once, as it was given last.
fn merged<T>(
    old: Option<Vec<T>>,
    new: Vec<T>,
    merge: bool,
    same: fn(&T, &T) -> bool,
) -> Option<Vec<T>> {
    let mut all = old.filter(|_| merge).unwrap_or_default();
    for one in new {
        match all.iter_mut().find(|old| same(old, &one)) {
            Some(old) if merge => *old = one,
            _ => all.push(one),
        }
    }
    Some(all)
}

fn same_link(a: &ACLLink, b: &ACLLink) -> bool {
    (!b.id.is_empty() && a.id == b.id) || (!b.name.is_empty() && a.name == b.name)
}

fn same_service(a: &ACLServiceIdentity, b: &ACLServiceIdentity) -> bool {
    a.service_name == b.service_name
}
