//! `acl policy`.

use super::object::{create, fetch, find, list, overwrite, remove, unnamed, update};
use super::{delete_flags, read_flags, run, shown_flags};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation};
use crate::cli::{data, group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::{ACLPolicy, ACLToken};

pub const COMMAND: Command = group(
    "policy",
    "Manages policies",
    "Usage: consul acl policy <subcommand> [options] [args]

  Manages policies: rules under a name.",
    &[
        simple(
            "create",
            "Makes a policy",
            "Usage: consul acl policy create -name NAME [options]

  Makes a policy.",
            create_flags,
            make,
        ),
        simple(
            "delete",
            "Deletes a policy",
            "Usage: consul acl policy delete [options] -id POLICY

  Deletes a policy; links to it vanish.",
            delete_flags,
            delete,
        ),
        simple(
            "list",
            "Lists all policies",
            "Usage: consul acl policy list [options]

  Lists all policies, without their rules.",
            shown_flags,
            |call| list::<ACLPolicy>(call, &[]),
        ),
        simple(
            "read",
            "Shows a policy",
            "Usage: consul acl policy read [options] POLICY

  Shows a policy.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a policy",
            "Usage: consul acl policy update [options]

  Changes what is given and leaves the rest, unless told not to merge.",
            update_flags,
            alter,
        ),
    ],
);

/// Said when neither `-id` nor `-name` is given.
const UNNAMED: &str = "Must specify either the -id or -name parameters";

fn content(flags: FlagSet) -> FlagSet {
    flags
        .command("description", Kind::String, "What the policy is for.")
        .command(
            "rules",
            Kind::String,
            "The rules: text, `@file`, or `-` for stdin.",
        )
        .command(
            "valid-datacenter",
            Kind::List,
            "A datacenter where it holds; may be repeated.",
        )
}

fn create_flags() -> FlagSet {
    content(shown_flags())
        .command("name", Kind::String, "Name of the policy.")
        .command(
            "from-token",
            Kind::String,
            "A token of before 1.4 to take the rules of.",
        )
        .command(
            "token-secret",
            Kind::Bool,
            "What -from-token names is a secret.",
        )
}

fn update_flags() -> FlagSet {
    content(read_flags()).command("no-merge", Kind::Bool, "Clear what is not given.")
}

fn rules(call: &Invocation) -> Result<String, String> {
    let bytes =
        data::load(call.args.string("rules")).map_err(|e| format!("Error loading rules: {e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The translated rules of a token of before 1.4.
pub(super) fn rules_of(client: &Client, typed: &str, secret: bool) -> Result<String, String> {
    let failed = |e: String| format!("Error reading token: {e}");
    let token: ACLToken = if secret {
        client.as_token(typed).read("/v1/acl/token/self", &[])
    } else {
        let id = super::token::accessor(client, typed)?;
        client.read(&super::path("/v1/acl/token/", &id), &[])
    }
    .map_err(failed)?;
    if token.rules.is_empty() {
        return Err("Token is not a legacy token with rules".to_owned());
    }
    crate::acl::translate(&token.rules).map_err(|e| format!("Error translating rules: {e}"))
}

fn datacenters(call: &Invocation) -> Option<Vec<String>> {
    Some(call.args.list("valid-datacenter")).filter(|list| !list.is_empty())
}

fn make(call: &Invocation) -> u8 {
    let args = &call.args;
    if args.string("name").is_empty() {
        return call.explain("Missing require '-name' flag");
    }
    run(call, |client| {
        let from = args.string("from-token");
        if !from.is_empty() && !args.string("rules").is_empty() {
            let why = "Cannot specify both -rules and -from-token";
            return Err(format!("Error loading rules: {why}"));
        }
        let rules = match from.is_empty() {
            true => rules(call)?,
            false => rules_of(client, from, args.bool("token-secret"))
                .map_err(|e| format!("Error loading rules: {e}"))?,
        };
        let policy = ACLPolicy {
            name: args.string("name").to_owned(),
            description: args.string("description").to_owned(),
            rules,
            datacenters: datacenters(call),
            ..ACLPolicy::default()
        };
        create(call, client, &policy)
    })
}

fn read(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.fail(UNNAMED);
    }
    run(call, |client| {
        let id = find::<ACLPolicy>(client, call)?;
        super::object::display(call, &fetch::<ACLPolicy>(client, &id)?)
    })
}

fn alter(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.fail(UNNAMED);
    }
    run(call, |client| {
        let args = &call.args;
        let id = find::<ACLPolicy>(client, call)?;
        let mut policy: ACLPolicy = fetch(client, &id)?;
        let clear = args.bool("no-merge");
        if args.is_set("id") && args.is_set("name") {
            args.string("name").clone_into(&mut policy.name);
        }
        overwrite(call, [("description", &mut policy.description)]);
        if clear || args.is_set("rules") {
            policy.rules = rules(call)?;
        }
        if clear || args.is_set("valid-datacenter") {
            policy.datacenters = datacenters(call);
        }
        update(call, client, &id, &policy)
    })
}

fn delete(call: &Invocation) -> u8 {
    match unnamed(call) {
        true => call.fail(UNNAMED),
        false => remove::<ACLPolicy>(call, |client| find::<ACLPolicy>(client, call)),
    }
}
