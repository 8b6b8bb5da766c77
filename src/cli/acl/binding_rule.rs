//! `acl binding-rule`.

use super::object::{create, display, fetch, find_id, list, missing, overwrite, remove, update};
use super::{run, shown_flags};
use crate::cli::command::{Command, Invocation, namespace_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::ACLBindingRule;

pub const COMMAND: Command = group(
    "binding-rule",
    "Manages binding rules",
    "Usage: consul acl binding-rule <subcommand> [options] [args]

  Manages binding rules: what the logins of an auth method are given.",
    &[
        simple(
            "create",
            "Makes a binding rule",
            "Usage: consul acl binding-rule create [options]

  Makes a binding rule.",
            create_flags,
            make,
        ),
        simple(
            "delete",
            "Deletes a binding rule",
            "Usage: consul acl binding-rule delete -id ID [options]

  Deletes a binding rule.",
            delete_flags,
            delete,
        ),
        simple(
            "list",
            "Lists all binding rules",
            "Usage: consul acl binding-rule list [options]

  Lists all binding rules, or those of an auth method.",
            list_flags,
            all,
        ),
        simple(
            "read",
            "Shows a binding rule",
            "Usage: consul acl binding-rule read -id ID [options]

  Shows a binding rule.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a binding rule",
            "Usage: consul acl binding-rule update -id ID [options]

  Changes what is given and leaves the rest, unless told not to merge.",
            update_flags,
            alter,
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
    id(namespace_flags())
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
        .command_default(
            "bind-type",
            Kind::String,
            "service",
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

fn make(call: &Invocation) -> u8 {
    let args = &call.args;
    if let Some(why) = missing(call, &["method", "bind-type", "bind-name"]) {
        return call.explain(&why);
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
        create(call, client, &rule)
    })
}

fn read(call: &Invocation) -> u8 {
    let typed = call.args.string("id");
    if typed.is_empty() {
        return call.fail("Must specify the -id parameter.");
    }
    run(call, |client| {
        let id = find_id::<ACLBindingRule>(client, typed)?;
        display::<ACLBindingRule>(call, &fetch(client, &id)?)
    })
}

fn all(call: &Invocation) -> u8 {
    let method = call.args.string("method");
    let query = [("authmethod", method.to_owned())];
    let query = if method.is_empty() { &[][..] } else { &query };
    list::<ACLBindingRule>(call, query)
}

/// Changes a rule. As Consul's command does, it counts a type that is not given as `service`.
fn alter(call: &Invocation) -> u8 {
    let args = &call.args;
    let typed = args.string("id");
    if typed.is_empty() {
        return call.fail("Cannot update a binding rule without specifying the -id parameter");
    }
    run(call, |client| {
        let id = find_id::<ACLBindingRule>(client, typed)?;
        let mut rule: ACLBindingRule = fetch(client, &id)?;
        let texts = [
            ("description", &mut rule.description),
            ("bind-name", &mut rule.bind_name),
            ("selector", &mut rule.selector),
        ];
        overwrite(call, texts);
        args.string("bind-type").clone_into(&mut rule.bind_type);
        if args.bool("no-merge") && rule.bind_name.is_empty() {
            return Err(format!(
                "Missing required '-bind-name' flag\n{}",
                call.help()
            ));
        }
        update(call, client, &id, &rule)
    })
}

fn delete(call: &Invocation) -> u8 {
    let typed = call.args.string("id");
    if typed.is_empty() {
        return call.fail("Must specify the -id parameter");
    }
    remove::<ACLBindingRule>(call, |client| find_id::<ACLBindingRule>(client, typed))
}
