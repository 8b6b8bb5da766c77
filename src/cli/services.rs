//! `services`: registers services with the agent, and removes them.
//!
//! Source: `docs/reference/cli.md` section 7.

use std::collections::BTreeMap;

use super::command::{Command, FAILED, Invocation, NAMESPACE, OK, error, say, server_flags};
use super::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::config::{self, Host};
use crate::sorted::IntoMap;
use crate::structs::{ServiceAddress, ServiceDefinition};
use crate::wire::json;

pub const COMMAND: Command = group(
    "services",
    "Registers services with the agent",
    "Usage: consul services <subcommand> [options] [args]

  Registers services with the agent, and removes them:

      $ consul services register web.json
      $ consul services deregister web.json",
    &[
        simple(
            "deregister",
            "Removes services from the agent",
            "Usage: consul services deregister [options] [FILE...]

  Removes the service of -id, or the services that the files define:

      $ consul services deregister -id web",
            deregister_flags,
            deregister,
        ),
        simple(
            "register",
            "Registers services with the agent",
            "Usage: consul services register [options] [FILE...]

  Registers the service that the flags describe, or those that the files define:

      $ consul services register -name web -port 80",
            register_flags,
            register,
        ),
    ],
);

fn register_flags() -> FlagSet {
    server_flags()
        .flag(NAMESPACE)
        .command("address", Kind::String, "The service's address.")
        .command(
            "id",
            Kind::String,
            "The service's id; its name if not given.",
        )
        .command("kind", Kind::String, "The service's kind.")
        .command(
            "meta",
            Kind::List,
            "Metadata as key=value; may be given several times.",
        )
        .command("name", Kind::String, "The service's name.")
        .command("port", Kind::Int, "The service's port.")
        .command(
            "tag",
            Kind::List,
            "A tag of the service; may be given several times.",
        )
        .command(
            "tagged-address",
            Kind::List,
            "Another address as key=value with or without a port; may be given several times.",
        )
}

fn deregister_flags() -> FlagSet {
    server_flags()
        .flag(NAMESPACE)
        .command("id", Kind::String, "The service's id.")
}

/// Pairs of a flag that wants `key=value`.
fn pairs(call: &Invocation, flag: &str) -> Result<BTreeMap<String, String>, u8> {
    let mut out = BTreeMap::new();
    for pair in call.args.list(flag) {
        let Some((key, value)) = pair.split_once('=') else {
            error(&format!(
                "invalid value \"{pair}\" for flag -{flag}: Missing \"=\" value in argument: {pair}"
            ));
            error(register_flags().go_usage().trim_end());
            return Err(FAILED);
        };
        out.insert(key.to_owned(), value.to_owned());
    }
    Ok(out)
}

/// `10.0.0.1`, `10.0.0.1:80`, `[::1]:80`.
fn service_address(text: &str) -> ServiceAddress {
    let whole = || (text.to_owned(), 0);
    let (address, port) = match text.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host.trim_matches(['[', ']']).to_owned(), port),
            Err(_) => whole(),
        },
        None => whole(),
    };
    ServiceAddress { address, port }
}

fn from_flags(call: &Invocation) -> Result<ServiceDefinition, u8> {
    let text = |flag| call.args.string(flag).to_owned();
    let meta = pairs(call, "meta")?;
    let tagged = pairs(call, "tagged-address")?;
    let tagged = tagged.iter().map(|(k, v)| (k.clone(), service_address(v)));
    let tags = call.args.list("tag");
    Ok(ServiceDefinition {
        kind: text("kind"),
        id: text("id"),
        name: text("name"),
        address: text("address"),
        port: call.args.int("port"),
        tags: (!tags.is_empty()).then_some(tags),
        meta: (!meta.is_empty()).then_some(meta),
        tagged_addresses: Some(tagged.into_map()).filter(|t| !t.is_empty()),
        ..ServiceDefinition::default()
    })
}

fn from_files(files: &[String]) -> Result<Vec<ServiceDefinition>, String> {
    let host = Host::default();
    let mut all = Vec::new();
    for file in files {
        let (services, skipped) = config::services_of(&[file], &host)?;
        for warning in skipped {
            error(&warning);
        }
        all.extend(services);
    }
    Ok(all)
}

fn register(call: &Invocation) -> u8 {
    let files = call.args.args();
    let flags = match from_flags(call) {
        Ok(service) => service,
        Err(code) => return code,
    };
    // Consul looks at the name alone here.
    if !files.is_empty() && !flags.name.is_empty() {
        return call.fail("Service registration requires arguments or -id, not both.");
    }
    if files.is_empty() && flags.name.is_empty() {
        return call.fail("Service registration requires at least one argument or flags.");
    }
    let services = match files.is_empty() {
        true => vec![flags],
        false => match from_files(&files) {
            Ok(services) => services,
            Err(why) => return call.fail(format!("Error: {why}")),
        },
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    for service in services {
        let body = match json::to_vec(&service) {
            Ok(body) => body,
            Err(why) => return call.fail(format!("Error: {why}")),
        };
        if let Err(why) = client.put("/v1/agent/service/register", &[], body) {
            return call.fail(format!(
                "Error registering service \"{}\": {why}",
                service.name
            ));
        }
        say(format!("Registered service: {}", service.name));
    }
    OK
}

fn deregister(call: &Invocation) -> u8 {
    let files = call.args.args();
    let id = call.args.string("id");
    if files.is_empty() && id.is_empty() {
        return call.fail("Service deregistration requires at least one argument or -id.");
    }
    if !files.is_empty() && !id.is_empty() {
        return call.fail("Service deregistration requires arguments or -id, not both.");
    }
    let services = match files.is_empty() {
        true => vec![ServiceDefinition {
            id: id.to_owned(),
            ..ServiceDefinition::default()
        }],
        false => match from_files(&files) {
            Ok(services) => services,
            Err(why) => return call.fail(format!("Error: {why}")),
        },
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    for service in services {
        let id = match service.id.as_str() {
            "" => &service.name,
            id => id,
        };
        let path = format!("/v1/agent/service/deregister/{id}");
        if let Err(why) = client.put(&path, &[], Vec::new()) {
            return call.fail(format!("Error deregistering service \"{id}\": {why}"));
        }
        say(format!("Deregistered service: {id}"));
    }
    OK
}
