//! `acl policy`.

use super::{by_prefix, delete, path, put, run, show, shown_flags, wants_json};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, say, server_flags};
use crate::cli::{data, group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::{ACLPolicy, ACLPolicyListStub, ACLToken};

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
            create,
        ),
        simple(
            "delete",
            "Deletes a policy",
            "Usage: consul acl policy delete [options] -id ID

  Deletes a policy; links to it vanish.",
            delete_flags,
            remove,
        ),
        simple(
            "list",
            "Lists all policies",
            "Usage: consul acl policy list [options]

  Lists all policies, without their rules.",
            shown_flags,
            list,
        ),
        simple(
            "read",
            "Shows a policy",
            "Usage: consul acl policy read [options] [-id ID | -name NAME]

  Shows a policy.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a policy",
            "Usage: consul acl policy update [options] [-id ID | -name NAME]

  Changes what is given and leaves the rest, unless told not to merge.",
            update_flags,
            update,
        ),
    ],
);

fn named(flags: FlagSet) -> FlagSet {
    flags
        .command(
            "id",
            Kind::String,
            "ID of the policy, or its beginning if that is one's alone.",
        )
        .command("name", Kind::String, "Name of the policy.")
}

fn delete_flags() -> FlagSet {
    named(server_flags())
}

fn read_flags() -> FlagSet {
    named(shown_flags())
}

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
    content(named(shown_flags())).command("no-merge", Kind::Bool, "Clear what is not given.")
}

fn find(client: &Client, call: &Invocation) -> Result<String, String> {
    let (id, name) = (call.args.string("id"), call.args.string("name"));
    if id.len() == 36 {
        return Ok(id.to_owned());
    }
    let failed = |e: String| format!("Error determining policy ID: {e}");
    let known = client
        .read::<Vec<ACLPolicyListStub>>("/v1/acl/policies", &[])
        .map_err(failed)?;
    if !id.is_empty() {
        return by_prefix(known.into_iter().map(|p| p.id), id, "policy").map_err(failed);
    }
    let found = known.into_iter().find(|p| p.name == name);
    found
        .map(|p| p.id)
        .ok_or_else(|| failed(format!("No such policy with name {name}")))
}

fn unnamed(call: &Invocation) -> bool {
    call.args.string("id").is_empty() && call.args.string("name").is_empty()
}

fn rules(call: &Invocation) -> Result<String, String> {
    let bytes =
        data::load(call.args.string("rules")).map_err(|e| format!("Error loading rules: {e}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn create(call: &Invocation) -> u8 {
    let args = &call.args;
    if args.string("name").is_empty() {
        return call.misuse("Missing require '-name' flag");
    }
    run(call, |client| {
        let from = args.string("from-token");
        let rules = if from.is_empty() {
            rules(call)?
        } else {
            let token: ACLToken = if args.bool("token-secret") {
                let known: Vec<crate::structs::ACL> = client
                    .read(&path("/v1/acl/info/", from), &[])
                    .map_err(|e| format!("Error retrieving token: {e}"))?;
                known
                    .into_iter()
                    .next()
                    .map(ACLToken::from)
                    .unwrap_or_default()
            } else {
                let id = super::token::accessor(client, from)?;
                client
                    .read(&path("/v1/acl/token/", &id), &[])
                    .map_err(|e| format!("Error retrieving token: {e}"))?
            };
            crate::acl::translate(&token.rules).map_err(|e| e.text().to_owned())?
        };
        let policy = ACLPolicy {
            name: args.string("name").to_owned(),
            description: args.string("description").to_owned(),
            rules,
            datacenters: Some(args.list("valid-datacenter")),
            ..ACLPolicy::default()
        };
        let made: ACLPolicy = put(client, "/v1/acl/policy", &policy)
            .map_err(|e| format!("Failed to create new policy: {e}"))?;
        show(call, &made, |meta| super::show::policy(&made, meta))
    })
}

fn read(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.misuse("Must specify either the -id or -name parameters");
    }
    run(call, |client| {
        let id = find(client, call)?;
        let policy: ACLPolicy = client
            .read(&path("/v1/acl/policy/", &id), &[])
            .map_err(|e| format!("Error reading policy \"{id}\": {e}"))?;
        show(call, &policy, |meta| super::show::policy(&policy, meta))
    })
}

fn list(call: &Invocation) -> u8 {
    run(call, |client| {
        let policies: Vec<ACLPolicyListStub> = client
            .read("/v1/acl/policies", &[])
            .map_err(|e| format!("Failed to retrieve the policy list: {e}"))?;
        if wants_json(call)? {
            say(super::show::json(&policies)?);
            return Ok(());
        }
        let text = super::show::policies(&policies, call.args.bool("meta"));
        say(text.trim_end());
        Ok(())
    })
}

fn update(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.misuse("Must specify either the -id or -name parameters");
    }
    run(call, |client| {
        let args = &call.args;
        let id = find(client, call)?;
        let mut policy: ACLPolicy = client
            .read(&path("/v1/acl/policy/", &id), &[])
            .map_err(|e| format!("Error reading policy \"{id}\": {e}"))?;
        let clear = args.bool("no-merge");
        if args.is_set("id") && args.is_set("name") {
            args.string("name").clone_into(&mut policy.name);
        }
        if clear || args.is_set("description") {
            args.string("description")
                .clone_into(&mut policy.description);
        }
        if clear || args.is_set("rules") {
            policy.rules = rules(call)?;
        }
        if clear || args.is_set("valid-datacenter") {
            policy.datacenters = Some(args.list("valid-datacenter"));
        }
        let changed: ACLPolicy = put(client, &path("/v1/acl/policy/", &id), &policy)
            .map_err(|e| format!("Error updating policy \"{id}\": {e}"))?;
        show(call, &changed, |meta| super::show::policy(&changed, meta))
    })
}

fn remove(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.misuse("Must specify either the -id or -name parameters");
    }
    run(call, |client| {
        let id = find(client, call)?;
        delete(client, &path("/v1/acl/policy/", &id))
            .map_err(|e| format!("Error deleting policy \"{id}\": {e}"))?;
        say(format!("Policy \"{id}\" deleted successfully"));
        Ok(())
    })
}
