//! `acl role`.

use super::object::{
    create, display, fetch, fetch_at, find, find_id, list, remove, unnamed, update,
};
use super::{
    delete_flags, identity_flags, links, merged, node_identities, path, policy_link_flags,
    read_flags, run, same_link, same_service, service_identities, shown_flags,
};
use crate::cli::command::{Command, Invocation};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::{ACLPolicy, ACLRole};

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
            make,
        ),
        simple(
            "delete",
            "Deletes a role",
            "Usage: consul acl role delete [options] -id ROLE

  Deletes a role; links to it vanish.",
            delete_flags,
            delete,
        ),
        simple(
            "list",
            "Lists all roles",
            "Usage: consul acl role list [options]

  Lists all roles.",
            shown_flags,
            |call| list::<ACLRole>(call, &[]),
        ),
        simple(
            "read",
            "Shows a role",
            "Usage: consul acl role read [options] ROLE

  Shows a role.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a role",
            "Usage: consul acl role update [options]

  Changes a role; what is given is added unless told not to merge.",
            update_flags,
            alter,
        ),
    ],
);

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
    content(read_flags()).command("no-merge", Kind::Bool, "Replace rather than add.")
}

fn make(call: &Invocation) -> u8 {
    let args = &call.args;
    if args.string("name").is_empty() {
        return call.explain("Missing require '-name' flag");
    }
    let grants = [
        "policy-name",
        "policy-id",
        "service-identity",
        "node-identity",
    ];
    if grants.iter().all(|flag| args.list(flag).is_empty()) {
        return call.fail(
            "Cannot create a role without specifying -policy-name, -policy-id, -service-identity, or -node-identity \
             at least once",
        );
    }
    run(call, |client| {
        let role = ACLRole {
            name: args.string("name").to_owned(),
            description: args.string("description").to_owned(),
            policies: Some(links::<ACLPolicy>(client, call)?),
            service_identities: Some(service_identities(call)?),
            node_identities: Some(node_identities(call)?),
            ..ACLRole::default()
        };
        create(call, client, &role)
    })
}

fn read(call: &Invocation) -> u8 {
    if unnamed(call) {
        return call.fail("Must specify either the -id or -name parameters");
    }
    run(call, |client| {
        let name = call.args.string("name");
        let role: ACLRole = match call.args.string("id") {
            "" => fetch_at(client, &path("/v1/acl/role/name/", name), "name", name)?,
            _ => fetch(client, &find::<ACLRole>(client, call)?)?,
        };
        display(call, &role)
    })
}

fn alter(call: &Invocation) -> u8 {
    let args = &call.args;
    let typed = args.string("id");
    if typed.is_empty() {
        return call.fail("Cannot update a role without specifying the -id parameter");
    }
    run(call, |client| {
        let id = find_id::<ACLRole>(client, typed)?;
        let old: ACLRole = fetch(client, &id)?;
        let merge = !args.bool("no-merge");
        let keep = |flag: &str, old: String| match args.string(flag) {
            "" if merge => old,
            given => given.to_owned(),
        };
        let (services, nodes) = (service_identities(call)?, node_identities(call)?);
        let policies = links::<ACLPolicy>(client, call)?;
        let role = ACLRole {
            id: id.clone(),
            name: keep("name", old.name),
            description: keep("description", old.description),
            policies: merged(old.policies, policies, merge, same_link),
            service_identities: merged(old.service_identities, services, merge, same_service),
            node_identities: merged(old.node_identities, nodes, merge, PartialEq::eq),
            ..ACLRole::default()
        };
        update(call, client, &id, &role)
    })
}

fn delete(call: &Invocation) -> u8 {
    match unnamed(call) {
        true => call.fail("Must specify the -id or -name parameters"),
        false => remove::<ACLRole>(call, |client| find::<ACLRole>(client, call)),
    }
}
