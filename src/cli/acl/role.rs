//! `acl role`.

use super::{
    by_prefix, delete, identity_flags, links, merged, node_identities, path, policy_link_flags,
    put, run, service_identities, show, shown_flags, wants_json,
};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, say, server_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::ACLRole;

pub const COMMAND: Command = group(
    "role",
    "Manages roles",
    "Usage: consul acl role <subcommand> [options] [args]

  Manages roles: policies and identities under a name.",
    &[
        simple(
            "create",
            "Makes a role",
            "Usage: consul acl role create -name NAME [options]

  Makes a role.",
            create_flags,
            create,
        ),
        simple(
            "delete",
            "Deletes a role",
            "Usage: consul acl role delete [options] -id ID

  Deletes a role; links to it vanish.",
            delete_flags,
            remove,
        ),
        simple(
            "list",
            "Lists all roles",
            "Usage: consul acl role list [options]

  Lists all roles.",
            shown_flags,
            list,
        ),
        simple(
            "read",
            "Shows a role",
            "Usage: consul acl role read [options] [-id ID | -name NAME]

  Shows a role.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a role",
            "Usage: consul acl role update [options] -id ID

  Changes a role; what is given is added unless told not to merge.",
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
            "ID of the role, or its beginning if that is one's alone.",
        )
        .command("name", Kind::String, "Name of the role.")
}

fn delete_flags() -> FlagSet {
    named(server_flags())
}

fn read_flags() -> FlagSet {
    named(shown_flags())
}

fn content(flags: FlagSet) -> FlagSet {
    identity_flags(policy_link_flags(flags)).command(
        "description",
        Kind::String,
        "What the role is for.",
    )
}

fn create_flags() -> FlagSet {
    content(shown_flags()).command("name", Kind::String, "Name of the role.")
}

fn update_flags() -> FlagSet {
    content(named(shown_flags())).command("no-merge", Kind::Bool, "Replace rather than add.")
}

fn find(client: &Client, call: &Invocation) -> Result<String, String> {
    let (id, name) = (call.args.string("id"), call.args.string("name"));
    if id.len() == 36 {
        return Ok(id.to_owned());
    }
    let known = client
        .read::<Vec<ACLRole>>("/v1/acl/roles", &[])
        .map_err(|e| format!("Error determining role ID: {e}"))?;
    if !id.is_empty() {
        return by_prefix(known.into_iter().map(|r| r.id), id, "role")
            .map_err(|e| format!("Error determining role ID: {e}"));
    }
    let found = known.into_iter().find(|r| r.name == name);
    found
        .map(|r| r.id)
        .ok_or_else(|| format!("Role not found with name \"{name}\""))
}

fn unnamed(call: &Invocation) -> bool {
    call.args.string("id").is_empty() && call.args.string("name").is_empty()
}

fn fetch(client: &Client, id: &str) -> Result<ACLRole, String> {
    let reply = client
        .get(&path("/v1/acl/role/", id), &[])
        .map_err(|e| format!("Error reading role \"{id}\": {e}"))?;
    if reply.status == hyper::StatusCode::NOT_FOUND {
        return Err(format!("Role not found with ID \"{id}\""));
    }
    let body = reply
        .ok()
        .map_err(|e| format!("Error reading role \"{id}\": {e}"))?;
    crate::wire::json::from_slice_lenient(&body).map_err(|e| e.to_string())
}

fn create(call: &Invocation) -> u8 {
    let args = &call.args;
    if args.string("name").is_empty() {
        return call.misuse("Missing require '-name' flag");
    }
    let grants = [
        "policy-name",
        "policy-id",
        "service-identity",
        "node-identity",
    ];
    if grants.iter().all(|flag| args.list(flag).is_empty()) {
        return call.misuse(
            "Cannot create a role without specifying -policy-name, -policy-id, -service-identity, or -node-identity \
             at least once",
        );
    }
    run(call, |client| {
        let role = ACLRole {
            name: args.string("name").to_owned(),
            description: args.string("description").to_owned(),
            policies: Some(links(call, "policy")),
            service_identities: Some(service_identities(call)),
            node_identities: Some(node_identities(call)?),
            ..ACLRole::default()
        };
        let made: ACLRole = put(client, "/v1/acl/role", &role)
            .map_err(|e| format!("Failed to create new role: {e}"))?;
        show(call, &made, |meta| super::show::role(&made, meta))
    })
}

fn read(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.misuse("Must specify either the -id or -name parameters");
    }
    run(call, |client| {
        let id = find(client, call)?;
        let role = fetch(client, &id)?;
        show(call, &role, |meta| super::show::role(&role, meta))
    })
}

fn list(call: &Invocation) -> u8 {
    run(call, |client| {
        let roles: Vec<ACLRole> = client
            .read("/v1/acl/roles", &[])
            .map_err(|e| format!("Failed to retrieve the role list: {e}"))?;
        if wants_json(call)? {
            say(super::show::json(&roles)?);
            return Ok(());
        }
        let text = super::show::roles(&roles, call.args.bool("meta"));
        say(text.trim_end());
        Ok(())
    })
}

fn update(call: &Invocation) -> u8 {
    let args = &call.args;
    if args.string("id").is_empty() {
        return call.misuse("Cannot update a role without specifying the -id parameter");
    }
    run(call, |client| {
        let id = find(client, call)?;
        let old = fetch(client, &id)?;
        let merge = !args.bool("no-merge");
        let keep = |flag: &str, old: String| match args.string(flag) {
            "" if merge => old,
            given => given.to_owned(),
        };
        let role = ACLRole {
            id: id.clone(),
            name: match args.string("name") {
                "" => old.name,
                given => given.to_owned(),
            },
            description: keep("description", old.description),
            policies: merged(old.policies, links(call, "policy"), merge),
            service_identities: merged(old.service_identities, service_identities(call), merge),
            node_identities: merged(old.node_identities, node_identities(call)?, merge),
            ..ACLRole::default()
        };
        let changed: ACLRole = put(client, &path("/v1/acl/role/", &id), &role)
            .map_err(|e| format!("Error updating role \"{id}\": {e}"))?;
        show(call, &changed, |meta| super::show::role(&changed, meta))
    })
}

fn remove(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.misuse("Must specify the -id or -name parameters");
    }
    run(call, |client| {
        let id = find(client, call)?;
        delete(client, &path("/v1/acl/role/", &id))
            .map_err(|e| format!("Error deleting role \"{id}\": {e}"))?;
        say(format!("Role \"{id}\" deleted successfully"));
        Ok(())
    })
}
