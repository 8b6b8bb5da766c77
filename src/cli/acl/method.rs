//! `acl auth-method`.

use super::{delete, path, put, run, show, shown_flags, wants_json};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, say, server_flags};
use crate::cli::{data, group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::go::{Any, Map};
use crate::structs::{ACLAuthMethod, ACLAuthMethodListStub};
use crate::wire::json;

pub const COMMAND: Command = group(
    "auth-method",
    "Manages auth methods",
    "Usage: consul acl auth-method <subcommand> [options] [args]

  Manages auth methods: ways to log in with what another system vouches for.",
    &[
        simple(
            "create",
            "Makes an auth method",
            "Usage: consul acl auth-method create -name=<name> -type=<type> [options]

  Makes an auth method.",
            create_flags,
            create,
        ),
        simple(
            "delete",
            "Deletes an auth method",
            "Usage: consul acl auth-method delete -name=<name>

  Deletes an auth method with its binding rules and the tokens made through it.",
            delete_flags,
            remove,
        ),
        simple(
            "list",
            "Lists all auth methods",
            "Usage: consul acl auth-method list

  Lists all auth methods.",
            shown_flags,
            list,
        ),
        simple(
            "read",
            "Shows an auth method",
            "Usage: consul acl auth-method read -name=<name> [options]

  Shows an auth method.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes an auth method",
            "Usage: consul acl auth-method update -name=<name> [options]

  Changes what is given and leaves the rest, unless told not to merge.",
            update_flags,
            update,
        ),
    ],
);

fn delete_flags() -> FlagSet {
    server_flags().command("name", Kind::String, "Name of the auth method.")
}

fn read_flags() -> FlagSet {
    shown_flags().command("name", Kind::String, "Name of the auth method.")
}

fn content() -> FlagSet {
    read_flags()
        .command("description", Kind::String, "What the auth method is for.")
        .command("display-name", Kind::String, "A name for people.")
        .command("max-token-ttl", Kind::Duration, "How long its tokens live.")
        .command(
            "token-locality",
            Kind::String,
            "Where its tokens are valid: `local` or `global`.",
        )
        .command(
            "config",
            Kind::String,
            "Its configuration as JSON: text, `@file`, or `-` for stdin.",
        )
}

fn create_flags() -> FlagSet {
    content().command("type", Kind::String, "Its type: `jwt`.")
}

fn update_flags() -> FlagSet {
    content().command("no-merge", Kind::Bool, "Clear what is not given.")
}

fn config(call: &Invocation) -> Result<Map<Any>, String> {
    let given = call.args.string("config");
    if given.is_empty() {
        return Ok(None);
    }
    let bytes = data::load(given).map_err(|e| format!("Error loading configuration file: {e}"))?;
    json::from_slice_lenient(&bytes)
        .map_err(|e| format!("Error parsing JSON for auth method config: {e}"))
}

fn fetch(client: &Client, name: &str) -> Result<ACLAuthMethod, String> {
    let failed = |e: String| format!("Error reading auth method \"{name}\": {e}");
    let reply = client
        .get(&path("/v1/acl/auth-method/", name), &[])
        .map_err(failed)?;
    if reply.status == hyper::StatusCode::NOT_FOUND {
        return Err(format!("Auth method not found with name \"{name}\""));
    }
    json::from_slice_lenient(&reply.ok().map_err(failed)?).map_err(|e| e.to_string())
}

fn shown(call: &Invocation, method: &ACLAuthMethod) -> Result<(), String> {
    let text = super::show::method(method, call.args.bool("meta"))?;
    show(call, method, |_| text)
}

fn create(call: &Invocation) -> u8 {
    let args = &call.args;
    for flag in ["type", "name"] {
        if args.string(flag).is_empty() {
            return call.misuse(&format!("Missing required '-{flag}' flag"));
        }
    }
    run(call, |client| {
        let method = ACLAuthMethod {
            name: args.string("name").to_owned(),
            kind: args.string("type").to_owned(),
            description: args.string("description").to_owned(),
            display_name: args.string("display-name").to_owned(),
            token_locality: args.string("token-locality").to_owned(),
            max_token_ttl: args.duration("max-token-ttl"),
            config: config(call)?,
            ..ACLAuthMethod::default()
        };
        let made: ACLAuthMethod = put(client, "/v1/acl/auth-method", &method)
            .map_err(|e| format!("Failed to create new auth method: {e}"))?;
        shown(call, &made)
    })
}

fn read(call: &Invocation) -> u8 {
    let name = call.args.string("name");
    if name.is_empty() {
        return call.misuse("Must specify the -name parameter");
    }
    run(call, |client| shown(call, &fetch(client, name)?))
}

fn list(call: &Invocation) -> u8 {
    run(call, |client| {
        let methods: Vec<ACLAuthMethodListStub> = client
            .read("/v1/acl/auth-methods", &[])
            .map_err(|e| format!("Failed to retrieve the auth method list: {e}"))?;
        if wants_json(call)? {
            say(super::show::json(&methods)?);
            return Ok(());
        }
        let text = super::show::methods(&methods, call.args.bool("meta"));
        say(text.trim_end());
        Ok(())
    })
}

fn update(call: &Invocation) -> u8 {
    let args = &call.args;
    let name = args.string("name");
    if name.is_empty() {
        return call.misuse("Cannot update an auth method without specifying the -name parameter");
    }
    run(call, |client| {
        let mut method = fetch(client, name)?;
        let clear = args.bool("no-merge");
        for (flag, field) in [
            ("description", &mut method.description),
            ("display-name", &mut method.display_name),
            ("token-locality", &mut method.token_locality),
        ] {
            if clear || args.is_set(flag) {
                args.string(flag).clone_into(field);
            }
        }
        if clear || args.is_set("max-token-ttl") {
            method.max_token_ttl = args.duration("max-token-ttl");
        }
        if clear || args.is_set("config") {
            method.config = config(call)?;
        }
        let changed: ACLAuthMethod = put(client, &path("/v1/acl/auth-method/", name), &method)
            .map_err(|e| format!("Error updating auth method \"{name}\": {e}"))?;
        shown(call, &changed)
    })
}

fn remove(call: &Invocation) -> u8 {
    let name = call.args.string("name");
    if name.is_empty() {
        return call.misuse("Must specify the -name parameter");
    }
    run(call, |client| {
        delete(client, &path("/v1/acl/auth-method/", name))
            .map_err(|e| format!("Error deleting auth method \"{name}\": {e}"))?;
        say(format!("Auth method \"{name}\" deleted successfully"));
        Ok(())
    })
}
