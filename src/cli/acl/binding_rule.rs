//! `acl binding-rule`.

use super::{by_prefix, delete, path, put, run, show, shown_flags, wants_json};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, say, server_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::ACLBindingRule;
use crate::wire::json;

pub const COMMAND: Command = group(
    "binding-rule",
    "Manages binding rules",
    "Usage: consul acl binding-rule <subcommand> [options] [args]

  Manages binding rules: what the logins of an auth method are given.",
    &[
        simple(
            "create",
            "Makes a binding rule",
            "Usage: consul acl binding-rule create -method=<auth-method> [options]

  Makes a binding rule.",
            create_flags,
            create,
        ),
        simple(
            "delete",
            "Deletes a binding rule",
            "Usage: consul acl binding-rule delete -id=<id> [options]

  Deletes a binding rule.",
            delete_flags,
            remove,
        ),
        simple(
            "list",
            "Lists all binding rules",
            "Usage: consul acl binding-rule list [options]

  Lists all binding rules, or those of an auth method.",
            list_flags,
            list,
        ),
        simple(
            "read",
            "Shows a binding rule",
            "Usage: consul acl binding-rule read -id=<id> [options]

  Shows a binding rule.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a binding rule",
            "Usage: consul acl binding-rule update -id=<id> [options]

  Changes what is given and leaves the rest, unless told not to merge.",
            update_flags,
            update,
        ),
    ],
);

fn id(flags: FlagSet) -> FlagSet {
    flags.command(
        "id",
        Kind::String,
        "ID of the rule, or its beginning if that is one's alone.",
    )
}

fn delete_flags() -> FlagSet {
    id(server_flags())
}

fn read_flags() -> FlagSet {
    id(shown_flags())
}

fn list_flags() -> FlagSet {
    shown_flags().command("method", Kind::String, "Only those of this auth method.")
}

fn content(flags: FlagSet) -> FlagSet {
    flags
        .command("description", Kind::String, "What the rule is for.")
        .command(
            "bind-type",
            Kind::String,
            "What is given: `service`, `role` or `node`.",
        )
        .command(
            "bind-name",
            Kind::String,
            "Its name, with `${...}` from the login.",
        )
        .command(
            "selector",
            Kind::String,
            "An expression about the login; empty for all.",
        )
}

fn create_flags() -> FlagSet {
    content(shown_flags()).command("method", Kind::String, "The auth method.")
}

fn update_flags() -> FlagSet {
    content(read_flags()).command("no-merge", Kind::Bool, "Clear what is not given.")
}

fn find(client: &Client, typed: &str) -> Result<String, String> {
    if typed.len() == 36 {
        return Ok(typed.to_owned());
    }
    let known = client
        .read::<Vec<ACLBindingRule>>("/v1/acl/binding-rules", &[])
        .map_err(|e| format!("Error determining binding rule ID: {e}"))?;
    by_prefix(known.into_iter().map(|r| r.id), typed, "rule")
        .map_err(|e| format!("Error determining binding rule ID: {e}"))
}

fn fetch(client: &Client, id: &str) -> Result<ACLBindingRule, String> {
    let failed = |e: String| format!("Error reading binding rule \"{id}\": {e}");
    let reply = client
        .get(&path("/v1/acl/binding-rule/", id), &[])
        .map_err(failed)?;
    if reply.status == hyper::StatusCode::NOT_FOUND {
        return Err(format!("Binding rule not found with ID \"{id}\""));
    }
    json::from_slice_lenient(&reply.ok().map_err(failed)?).map_err(|e| e.to_string())
}

fn create(call: &Invocation) -> u8 {
    let args = &call.args;
    for flag in ["method", "bind-type", "bind-name"] {
        if args.string(flag).is_empty() {
            return call.misuse(&format!("Missing required '-{flag}' flag"));
        }
    }
    run(call, |client| {
        let text = |flag| args.string(flag).to_owned();
        let rule = ACLBindingRule {
            description: text("description"),
            auth_method: text("method"),
            bind_type: text("bind-type"),
            bind_name: text("bind-name"),
            selector: text("selector"),
            ..ACLBindingRule::default()
        };
        let made: ACLBindingRule = put(client, "/v1/acl/binding-rule", &rule)
            .map_err(|e| format!("Failed to create new binding rule: {e}"))?;
        show(call, &made, |meta| super::show::rule(&made, meta, false))
    })
}

fn read(call: &Invocation) -> u8 {
    let typed = call.args.string("id");
    if typed.is_empty() {
        return call.misuse("Must specify the -id parameter.");
    }
    run(call, |client| {
        let rule = fetch(client, &find(client, typed)?)?;
        show(call, &rule, |meta| super::show::rule(&rule, meta, false))
    })
}

fn list(call: &Invocation) -> u8 {
    run(call, |client| {
        let method = call.args.string("method").to_owned();
        let query: Vec<(&'static str, String)> = match method.is_empty() {
            true => Vec::new(),
            false => vec![("authmethod", method)],
        };
        let rules: Vec<ACLBindingRule> = client
            .read("/v1/acl/binding-rules", &query)
            .map_err(|e| format!("Failed to retrieve the binding rule list: {e}"))?;
        if wants_json(call)? {
            say(super::show::json(&rules)?);
            return Ok(());
        }
        let meta = call.args.bool("meta");
        let text: String = rules
            .iter()
            .map(|r| super::show::rule(r, meta, true))
            .collect();
        say(text.trim_end());
        Ok(())
    })
}

fn update(call: &Invocation) -> u8 {
    let args = &call.args;
    let typed = args.string("id");
    if typed.is_empty() {
        return call.misuse("Cannot update a binding rule without specifying the -id parameter");
    }
    run(call, |client| {
        let id = find(client, typed)?;
        let mut rule = fetch(client, &id)?;
        let clear = args.bool("no-merge");
        for (flag, field) in [
            ("description", &mut rule.description),
            ("bind-type", &mut rule.bind_type),
            ("bind-name", &mut rule.bind_name),
            ("selector", &mut rule.selector),
        ] {
            if clear || args.is_set(flag) {
                args.string(flag).clone_into(field);
            }
        }
        let changed: ACLBindingRule = put(client, &path("/v1/acl/binding-rule/", &id), &rule)
            .map_err(|e| format!("Error updating binding rule \"{id}\": {e}"))?;
        show(call, &changed, |meta| {
            super::show::rule(&changed, meta, false)
        })
    })
}

fn remove(call: &Invocation) -> u8 {
    let typed = call.args.string("id");
    if typed.is_empty() {
        return call.misuse("Must specify the -id parameter");
    }
    run(call, |client| {
        let id = find(client, typed)?;
        delete(client, &path("/v1/acl/binding-rule/", &id))
            .map_err(|e| format!("Error deleting binding rule \"{id}\": {e}"))?;
        say(format!("Binding rule \"{id}\" deleted successfully"));
        Ok(())
    })
}
