//! `acl token`.

use super::{
    ask, by_prefix, delete, identity_flags, links, merged, node_identities, path,
    policy_link_flags, put, run, service_identities, show, shown_flags, wants_json,
};
use crate::acl::ANONYMOUS_ACCESSOR;
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, say, server_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::go::GoDuration;
use crate::structs::{ACLToken, ACLTokenListStub};

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
            create,
        ),
        simple(
            "delete",
            "Deletes a token",
            "Usage: consul acl token delete -id ID [options]

  Deletes a token.",
            id_flags,
            remove,
        ),
        simple(
            "list",
            "Lists all tokens",
            "Usage: consul acl token list [options]

  Lists all tokens, without their secrets.",
            shown_flags,
            list,
        ),
        simple(
            "read",
            "Shows a token",
            "Usage: consul acl token read [options] -id ID

  Shows a token.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes a token",
            "Usage: consul acl token update -id ID [options]

  Changes a token. Lists that are given replace the old ones unless they are merged.",
            update_flags,
            update,
        ),
    ],
);

fn id_flags() -> FlagSet {
    server_flags().command(
        "id",
        Kind::String,
        "Accessor of the token, or its beginning if that is one's alone.",
    )
}

fn with_id() -> FlagSet {
    shown_flags().command(
        "id",
        Kind::String,
        "Accessor of the token, or its beginning if that is one's alone.",
    )
}

fn read_flags() -> FlagSet {
    with_id().command(
        "self",
        Kind::Bool,
        "Show the token that the command itself uses.",
    )
}

fn clone_flags() -> FlagSet {
    with_id().command("description", Kind::String, "Description of the copy.")
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
    if typed == "anonymous" {
        return Ok(ANONYMOUS_ACCESSOR.to_owned());
    }
    if typed.len() == 36 {
        return Ok(typed.to_owned());
    }
    let known = client
        .read::<Vec<ACLTokenListStub>>("/v1/acl/tokens", &[])
        .map_err(|e| format!("Error determining token ID: {e}"))?;
    by_prefix(known.into_iter().map(|t| t.accessor_id), typed, "token")
        .map_err(|e| format!("Error determining token ID: {e}"))
}

fn create(call: &Invocation) -> u8 {
    let grants = [
        "policy-name",
        "policy-id",
        "role-name",
        "role-id",
        "service-identity",
        "node-identity",
    ];
    if grants.iter().all(|flag| call.args.list(flag).is_empty()) {
        return call.misuse(
            "Cannot create a token without specifying -policy-name, -policy-id, -role-name, -role-id, \
             -service-identity, or -node-identity at least once",
        );
    }
    run(call, |client| {
        let text = |flag| call.args.string(flag).to_owned();
        let token = ACLToken {
            accessor_id: text("accessor"),
            secret_id: text("secret"),
            description: text("description"),
            local: call.args.bool("local"),
            expiration_ttl: match call.args.is_set("expires-ttl") {
                true => call.args.duration("expires-ttl"),
                false => GoDuration(0),
            },
            policies: Some(links(call, "policy")),
            roles: Some(links(call, "role")),
            service_identities: Some(service_identities(call)),
            node_identities: Some(node_identities(call)?),
            ..ACLToken::default()
        };
        let made: ACLToken = put(client, "/v1/acl/token", &token)
            .map_err(|e| format!("Failed to create new token: {e}"))?;
        show(call, &made, |meta| super::show::token(&made, meta))
    })
}

fn read(call: &Invocation) -> u8 {
    let own = call.args.bool("self");
    let id = call.args.string("id");
    if id.is_empty() && !own {
        return call.misuse("Must specify the -id parameter");
    }
    run(call, |client| {
        let token: ACLToken = if own {
            client
                .read("/v1/acl/token/self", &[])
                .map_err(|e| format!("Error reading token: {e}"))?
        } else {
            let id = accessor(client, id)?;
            client
                .read(&path("/v1/acl/token/", &id), &[])
                .map_err(|e| format!("Error reading token \"{id}\": {e}"))?
        };
        show(call, &token, |meta| super::show::token(&token, meta))
    })
}

fn list(call: &Invocation) -> u8 {
    run(call, |client| {
        let tokens: Vec<ACLTokenListStub> = client
            .read("/v1/acl/tokens", &[])
            .map_err(|e| format!("Failed to retrieve the token list: {e}"))?;
        if wants_json(call)? {
            say(super::show::json(&tokens)?);
        } else {
            say(super::show::tokens(&tokens, call.args.bool("meta")));
        }
        Ok(())
    })
}

fn update(call: &Invocation) -> u8 {
    let id = call.args.string("id");
    if id.is_empty() {
        return call.misuse("Cannot update a token without specifying the -id parameter");
    }
    run(call, |client| {
        let args = &call.args;
        let id = accessor(client, id)?;
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
        let old = std::mem::take(&mut token);
        token = ACLToken {
            policies: merged(
                old.policies.clone(),
                links(call, "policy"),
                args.bool("merge-policies"),
            ),
            roles: merged(
                old.roles.clone(),
                links(call, "role"),
                args.bool("merge-roles"),
            ),
            service_identities: merged(
                old.service_identities.clone(),
                service_identities(call),
                args.bool("merge-service-identities"),
            ),
            node_identities: merged(
                old.node_identities.clone(),
                node_identities(call)?,
                args.bool("merge-node-identities"),
            ),
            ..old
        };
        let changed: ACLToken = put(client, &path("/v1/acl/token/", &id), &token)
            .map_err(|e| format!("Failed to update token {id}: {e}"))?;
        show(call, &changed, |meta| super::show::token(&changed, meta))
    })
}

fn clone(call: &Invocation) -> u8 {
    let id = call.args.string("id");
    if id.is_empty() {
        return call.misuse("Cannot update a token without specifying the -id parameter");
    }
    run(call, |client| {
        let id = accessor(client, id)?;
        let body = ACLToken {
            description: call.args.string("description").to_owned(),
            ..ACLToken::default()
        };
        let at = format!("{}/clone", path("/v1/acl/token/", &id));
        let copy: ACLToken = ask(client, hyper::Method::PUT, &at, &body)
            .map_err(|e| format!("Error cloning token: {e}"))?;
        show(call, &copy, |meta| super::show::token(&copy, meta))
    })
}

fn remove(call: &Invocation) -> u8 {
    let id = call.args.string("id");
    if id.is_empty() {
        return call.misuse("Must specify the -id parameter");
    }
    run(call, |client| {
        let id = accessor(client, id)?;
        delete(client, &path("/v1/acl/token/", &id))
            .map_err(|e| format!("Error deleting token \"{id}\": {e}"))?;
        say(format!("Token \"{id}\" deleted successfully"));
        Ok(())
    })
}
