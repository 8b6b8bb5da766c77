//! `acl token`.

use hyper::Method;

use super::object::{by_prefix, change, create, display, list, remove};
use super::{
    format_flag, identity_flags, links, merged, node_identities, path, policy_link_flags, run,
    same_link, same_service, service_identities, shown_flags,
};
use crate::acl::ANONYMOUS_ACCESSOR;
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, namespace_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::{ACLPolicy, ACLRole, ACLToken};

pub const COMMAND: Command = group(
    "token",
    "Manages tokens",
    "Usage: consul acl token <subcommand> [options] [args]

  Manages tokens: secrets, and what they grant.",
    &[
        simple(
            "clone",
            "Copies a token",
            "Usage: consul acl token clone [options]

  Makes a token that grants what another one does.",
            clone_flags,
            clone,
        ),
        simple(
            "create",
            "Makes a token",
            "Usage: consul acl token create [options]

  Makes a token with policies, roles and identities.",
            create_flags,
            make,
        ),
        simple(
            "delete",
            "Deletes a token",
            "Usage: consul acl token delete [options] -id TOKEN

  Deletes a token.",
            id_flags,
            delete,
        ),
        simple(
            "list",
            "Lists all tokens",
            "Usage: consul acl token list [options]

  Lists all tokens, without their secrets.",
            shown_flags,
            |call| list::<ACLToken>(call, &[]),
        ),
        simple(
            "read",
            "Shows a token",
            "Usage: consul acl token read [options] -id TOKENID

  Shows a token.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a token",
            "Usage: consul acl token update [options]

  Changes a token. Lists that are given replace the old ones unless they are merged.",
            update_flags,
            alter,
        ),
    ],
);

fn id(flags: FlagSet) -> FlagSet {
    flags.command(
        "id",
        Kind::String,
        "Accessor of the token, or its beginning if that is one's alone.",
    )
}

fn id_flags() -> FlagSet {
    id(namespace_flags())
}

fn with_id() -> FlagSet {
    id(shown_flags())
}

fn read_flags() -> FlagSet {
    with_id().command(
        "self",
        Kind::Bool,
        "Show the token that the command itself uses.",
    )
}

fn clone_flags() -> FlagSet {
    id(format_flag(namespace_flags())).command(
        "description",
        Kind::String,
        "Description of the copy.",
    )
}

fn role_link_flags(flags: FlagSet) -> FlagSet {
    flags
        .command("role-id", Kind::List, "ID of a role; may be repeated.")
        .command("role-name", Kind::List, "Name of a role; may be repeated.")
}

fn create_flags() -> FlagSet {
    identity_flags(role_link_flags(policy_link_flags(shown_flags())))
        .command(
            "accessor",
            Kind::String,
            "Accessor to use in place of a new one.",
        )
        .command(
            "secret",
            Kind::String,
            "Secret to use in place of a new one.",
        )
        .command("description", Kind::String, "What the token is for.")
        .command("local", Kind::Bool, "Valid in this datacenter alone.")
        .command(
            "expires-ttl",
            Kind::Duration,
            "How long the token lives, such as `1h`.",
        )
}

fn update_flags() -> FlagSet {
    identity_flags(role_link_flags(policy_link_flags(with_id())))
        .command("description", Kind::String, "What the token is for.")
        .command("merge-policies", Kind::Bool, "Add to the policies.")
        .command("merge-roles", Kind::Bool, "Add to the roles.")
        .command(
            "merge-service-identities",
            Kind::Bool,
            "Add to the service identities.",
        )
        .command(
            "merge-node-identities",
            Kind::Bool,
            "Add to the node identities.",
        )
        .command(
            "upgrade-legacy",
            Kind::Bool,
            "Make a token of before 1.4 one of the present kind.",
        )
}

/// The accessor that begins as asked.
pub(super) fn accessor(client: &Client, typed: &str) -> Result<String, String> {
    match typed {
        "anonymous" => Ok(ANONYMOUS_ACCESSOR.to_owned()),
        _ => by_prefix::<ACLToken>(client, typed),
    }
}

/// The same, as most commands say what is wrong.
fn find(client: &Client, typed: &str) -> Result<String, String> {
    accessor(client, typed).map_err(|e| format!("Error determining token ID: {e}"))
}

fn make(call: &Invocation) -> u8 {
    let grants = [
        "policy-name",
        "policy-id",
        "role-name",
        "role-id",
        "service-identity",
        "node-identity",
    ];
    if grants.iter().all(|flag| call.args.list(flag).is_empty()) {
        return call.fail(
            "Cannot create a token without specifying -policy-name, -policy-id, -role-name, -role-id, \
             -service-identity, or -node-identity at least once",
        );
    }
    run(call, |client| {
        let text = |flag| call.args.string(flag).to_owned();
        let mut token = ACLToken {
            accessor_id: text("accessor"),
            secret_id: text("secret"),
            description: text("description"),
            local: call.args.bool("local"),
            service_identities: Some(service_identities(call)?),
            node_identities: Some(node_identities(call)?),
            policies: Some(links::<ACLPolicy>(client, call)?),
            roles: Some(links::<ACLRole>(client, call)?),
            ..ACLToken::default()
        };
        let ttl = call.args.duration("expires-ttl");
        if ttl.0 > 0 {
            token.expiration_ttl = ttl;
        }
        create(call, client, &token)
    })
}

fn read(call: &Invocation) -> u8 {
    let own = call.args.bool("self");
    let id = call.args.string("id");
    if id.is_empty() && !own {
        return call.fail("Must specify the -id parameter");
    }
    run(call, |client| {
        let token: ACLToken = if own {
            client
                .read("/v1/acl/token/self", &[])
                .map_err(|e| format!("Error reading token: {e}"))?
        } else {
            super::object::fetch(client, &find(client, id)?)?
        };
        display(call, &token)
    })
}

fn alter(call: &Invocation) -> u8 {
    let id = call.args.string("id");
    if id.is_empty() {
        return call.fail("Cannot update a token without specifying the -id parameter");
    }
    run(call, |client| {
        let args = &call.args;
        let id = find(client, id)?;
        let mut token: ACLToken = client
            .read(&path("/v1/acl/token/", &id), &[])
            .map_err(|e| format!("Error when retrieving current token: {e}"))?;
        if args.bool("upgrade-legacy") {
            token.rules.clear();
        }
        if args.is_set("description") {
            args.string("description")
                .clone_into(&mut token.description);
        }
        let (policies, roles) = (
            links::<ACLPolicy>(client, call)?,
            links::<ACLRole>(client, call)?,
        );
        let (services, nodes) = (service_identities(call)?, node_identities(call)?);
        let merge = |what: &str| args.bool(&format!("merge-{what}"));
        token.policies = merged(token.policies, policies, merge("policies"), same_link);
        token.roles = merged(token.roles, roles, merge("roles"), same_link);
        token.service_identities = merged(
            token.service_identities,
            services,
            merge("service-identities"),
            same_service,
        );
        token.node_identities = merged(
            token.node_identities,
            nodes,
            merge("node-identities"),
            PartialEq::eq,
        );
        let failed = |e: String| format!("Failed to update token {id}: {e}");
        let path = path("/v1/acl/token/", &id);
        change(call, client, Method::PUT, &path, &token, &failed)
    })
}

fn clone(call: &Invocation) -> u8 {
    let id = call.args.string("id");
    if id.is_empty() {
        return call.fail("Cannot update a token without specifying the -id parameter");
    }
    run(call, |client| {
        let id = find(client, id)?;
        let body = ACLToken {
            description: call.args.string("description").to_owned(),
            ..ACLToken::default()
        };
        let path = format!("{}/clone", path("/v1/acl/token/", &id));
        let failed = |e: String| format!("Error cloning token: {e}");
        change(call, client, Method::PUT, &path, &body, &failed)
    })
}

fn delete(call: &Invocation) -> u8 {
    let id = call.args.string("id");
    if id.is_empty() {
        return call.fail("Must specify the -id parameter");
    }
    remove::<ACLToken>(call, |client| find(client, id))
}
