//! `acl auth-method`.

use super::object::{create, display, fetch_at, list, missing, overwrite, remove, update};
use super::{path, run, shown_flags};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, namespace_flags};
use crate::cli::{data, group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::ACLAuthMethod;
use crate::structs::go::{Any, Map};
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
            "Usage: consul acl auth-method create -name NAME -type TYPE [options]

  Makes an auth method.",
            create_flags,
            make,
        ),
        simple(
            "delete",
            "Deletes an auth method",
            "Usage: consul acl auth-method delete -name NAME [options]

  Deletes an auth method with its binding rules and the tokens made through it.",
            delete_flags,
            delete,
        ),
        simple(
            "list",
            "Lists all auth methods",
            "Usage: consul acl auth-method list [options]

  Lists all auth methods.",
            shown_flags,
            |call| list::<ACLAuthMethod>(call, &[]),
        ),
        simple(
            "read",
            "Shows an auth method",
            "Usage: consul acl auth-method read -name NAME [options]

  Shows an auth method.",
            read_flags,
            read,
        ),
        simple(
            "update",
            "Changes an auth method",
            "Usage: consul acl auth-method update -name NAME [options]

  Changes what is given and leaves the rest, unless told not to merge.",
            update_flags,
            alter,
        ),
    ],
);

fn delete_flags() -> FlagSet {
    namespace_flags().command("name", Kind::String, "Name of the auth method.")
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
        .command(
            "kubernetes-host",
            Kind::String,
            "Address of the Kubernetes API server.",
        )
        .command(
            "kubernetes-ca-cert",
            Kind::String,
            "CA certificate of the Kubernetes API server: PEM, `@file`, or `-` for stdin.",
        )
        .command(
            "kubernetes-service-account-jwt",
            Kind::String,
            "Service account token to ask the Kubernetes API server with.",
        )
}

fn create_flags() -> FlagSet {
    content().command("type", Kind::String, "Its type: `jwt`.")
}

fn update_flags() -> FlagSet {
    content().command("no-merge", Kind::Bool, "Clear what is not given.")
}

/// Flags that stand for the configuration of a method of type `kubernetes`, with their keys in it.
const KUBERNETES: [(&str, &str); 3] = [
    ("kubernetes-host", "Host"),
    ("kubernetes-ca-cert", "CACert"),
    ("kubernetes-service-account-jwt", "ServiceAccountJWT"),
];

/// What the Kubernetes flags say.
fn kubernetes(call: &Invocation) -> Result<Vec<(&'static str, String)>, String> {
    let mut given = Vec::new();
    for (flag, key) in KUBERNETES {
        let text = call.args.string(flag);
        if text.is_empty() {
            continue;
        }
        let text = match flag {
            "kubernetes-ca-cert" => {
                let bytes = data::load(text)
                    .map_err(|e| format!("Invalid '-kubernetes-ca-cert' value: {e}"))?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => text.to_owned(),
        };
        given.push((key, text));
    }
    Ok(given)
}

fn config(call: &Invocation, kind: &str) -> Result<Map<Any>, String> {
    let given = call.args.string("config");
    let flags = kubernetes(call)?;
    if given.is_empty() {
        if kind != "kubernetes" {
            return Ok(None);
        }
        let pairs = flags.into_iter();
        let map: std::collections::BTreeMap<String, Any> = pairs
            .map(|(key, text)| (key.to_owned(), Any::String(text)))
            .collect();
        return Ok(Some(map).filter(|map| !map.is_empty()));
    }
    if !flags.is_empty() {
        return Err("Cannot use command line arguments with '-config' flags".to_owned());
    }
    let bytes = data::load(given).map_err(|e| format!("Error loading configuration file: {e}"))?;
    json::from_slice_lenient(&bytes).map_err(|e| {
        let why = match e {
            crate::wire::Error::Eof | crate::wire::Error::UnexpectedEof => {
                "unexpected end of JSON input".to_owned()
            }
            other => other.to_string(),
        };
        format!("Error parsing JSON configuration file: {why}")
    })
}

fn fetch(client: &Client, name: &str) -> Result<ACLAuthMethod, String> {
    fetch_at(client, &path("/v1/acl/auth-method/", name), "name", name)
}

fn make(call: &Invocation) -> u8 {
    let args = &call.args;
    if let Some(why) = missing(call, &["type", "name"]) {
        return call.explain(&why);
    }
    if args.string("type") == "kubernetes"
        && args.string("config").is_empty()
        && let Some(why) = missing(call, &KUBERNETES.map(|(flag, _)| flag))
    {
        return call.fail(why);
    }
    run(call, |client| {
        let method = ACLAuthMethod {
            name: args.string("name").to_owned(),
            kind: args.string("type").to_owned(),
            description: args.string("description").to_owned(),
            display_name: args.string("display-name").to_owned(),
            token_locality: args.string("token-locality").to_owned(),
            max_token_ttl: args.duration("max-token-ttl"),
            config: config(call, args.string("type"))?,
            ..ACLAuthMethod::default()
        };
        create(call, client, &method)
    })
}

fn read(call: &Invocation) -> u8 {
    let name = call.args.string("name");
    if name.is_empty() {
        return call.fail("Must specify the -name parameter");
    }
    run(call, |client| display(call, &fetch(client, name)?))
}

fn alter(call: &Invocation) -> u8 {
    let args = &call.args;
    let name = args.string("name");
    if name.is_empty() {
        return call.fail("Cannot update an auth method without specifying the -name parameter");
    }
    run(call, |client| {
        let mut method = fetch(client, name)?;
        let clear = args.bool("no-merge");
        let texts = [
            ("description", &mut method.description),
            ("display-name", &mut method.display_name),
            ("token-locality", &mut method.token_locality),
        ];
        overwrite(call, texts);
        if clear || args.is_set("max-token-ttl") {
            method.max_token_ttl = args.duration("max-token-ttl");
        }
        let config = config(call, &method.kind)?;
        if clear || args.is_set("config") {
            method.config = config;
        } else {
            // Single keys of a Kubernetes configuration are put over the old ones.
            let old = method.config.get_or_insert_default();
            old.extend(config.into_iter().flatten());
        }
        update(call, client, name, &method)
    })
}

fn delete(call: &Invocation) -> u8 {
    let name = call.args.string("name");
    if name.is_empty() {
        return call.fail("Must specify the -name parameter");
    }
    remove::<ACLAuthMethod>(call, |_| Ok(name.to_owned()))
}
