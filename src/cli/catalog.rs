//! `catalog`: datacenters, nodes and services as the servers know them.
//!
//! Source: `docs/reference/cli.md` section 7.

use std::collections::BTreeMap;

use super::client::{Client, Query};
use super::columns::{spaced, table};
use super::command::{Command, Invocation, NAMESPACE, OK, error, say, server_flags};
use super::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::sorted;
use crate::structs::{Node, NodeService, ServiceNode};

pub const COMMAND: Command = group(
    "catalog",
    "Shows what is in the catalog",
    "Usage: consul catalog <subcommand> [options] [args]

  Shows datacenters, nodes and services as the servers know them:

      $ consul catalog nodes
      $ consul catalog services -tags",
    &[
        simple(
            "datacenters",
            "Lists the known datacenters",
            "Usage: consul catalog datacenters [options]

  Lists the datacenters that the servers know, the nearest first.",
            server_flags,
            datacenters,
        ),
        simple(
            "nodes",
            "Lists the nodes of a datacenter",
            "Usage: consul catalog nodes [options]

  Lists the nodes of a datacenter, the agent's own if none is named:

      $ consul catalog nodes -service=web -near=_agent",
            node_flags,
            nodes,
        ),
        simple(
            "services",
            "Lists the services of a datacenter",
            "Usage: consul catalog services [options]

  Lists the names of the services of a datacenter, or of one node:

      $ consul catalog services -node=worker-01",
            service_flags,
            services,
        ),
    ],
);

const META: &str =
    "Only nodes with this `key=value` in their metadata; may be given several times.";

fn node_flags() -> FlagSet {
    server_flags()
        .command(
            "detailed",
            Kind::Bool,
            "Print whole ids, tagged addresses and metadata.",
        )
        .command("filter", Kind::String, "Filter expression.")
        .command(
            "near",
            Kind::String,
            "Sort by the time a packet takes from this node; _agent is the node of the agent asked.",
        )
        .command("node-meta", Kind::List, META)
        .command(
            "service",
            Kind::String,
            "Only nodes with this service, by `id or name`.",
        )
}

fn service_flags() -> FlagSet {
    server_flags()
        .flag(NAMESPACE)
        .command(
            "node",
            Kind::String,
            "Only services of this node, by `id or name`.",
        )
        .command("node-meta", Kind::List, META)
        .command("tags", Kind::Bool, "Print the tags of each service too.")
}

/// The parameters of `-node-meta`, each `key=value` as the API wants `key:value`.
fn meta(call: &Invocation) -> Result<Query, u8> {
    let mut query = Query::new();
    for pair in call.args.list("node-meta") {
        let Some((key, value)) = pair.split_once('=') else {
            error(&format!(
                "invalid value \"{pair}\" for flag -node-meta: Missing \"=\" value in argument: {pair}"
            ));
            error(flags_of(call).trim_end());
            return Err(super::command::FAILED);
        };
        query.push(("node-meta", format!("{key}:{value}")));
    }
    Ok(query)
}

fn flags_of(call: &Invocation) -> String {
    match call.args.is_set("tags") || call.help().contains("catalog services") {
        true => service_flags().go_usage(),
        false => node_flags().go_usage(),
    }
}

fn datacenters(call: &Invocation) -> u8 {
    let args = call.args.args();
    if !args.is_empty() {
        let n = args.len();
        return call.fail(format!("Too many arguments (expected 0, got {n})"));
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    match client.read::<Vec<String>>("/v1/catalog/datacenters", &[]) {
        Ok(all) => {
            all.iter().for_each(say);
            OK
        }
        Err(why) => call.fail(format!("Error listing datacenters: {why}")),
    }
}

/// A node by either of the two answers that list nodes.
#[derive(Default)]
struct Row {
    node: String,
    id: String,
    address: String,
    datacenter: String,
    tagged_addresses: BTreeMap<String, String>,
    meta: BTreeMap<String, String>,
}

fn nodes(call: &Invocation) -> u8 {
    let args = call.args.args();
    if !args.is_empty() {
        let n = args.len();
        return call.fail(format!("Too many arguments (expected 0, got {n})"));
    }
    let mut query = match meta(call) {
        Ok(query) => query,
        Err(code) => return code,
    };
    for flag in ["filter", "near"] {
        if !call.args.string(flag).is_empty() {
            query.push((flag, call.args.string(flag).to_owned()));
        }
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let rows = match call.args.string("service") {
        "" => client
            .read::<Vec<Node>>("/v1/catalog/nodes", &query)
            .map(|nodes| nodes.into_iter().map(of_node).collect()),
        service => client
            .read::<Vec<ServiceNode>>(&format!("/v1/catalog/service/{service}"), &query)
            .map(|nodes| nodes.into_iter().map(of_service_node).collect()),
    };
    let rows: Vec<Row> = match rows {
        Ok(rows) => rows,
        Err(why) => return call.fail(format!("Error listing nodes: {why}")),
    };
    if rows.is_empty() {
        error("No nodes match the given query - try expanding your search.");
        return OK;
    }
    let detailed = call.args.bool("detailed");
    let mut lines = vec![header(detailed)];
    lines.extend(rows.into_iter().map(|row| cells(row, detailed)));
    table(&lines).iter().for_each(say);
    OK
}

fn of_node(node: Node) -> Row {
    Row {
        node: node.node,
        id: node.id,
        address: node.address,
        datacenter: node.datacenter,
        tagged_addresses: node.tagged_addresses.unwrap_or_default(),
        meta: node.meta.unwrap_or_default(),
    }
}

fn of_service_node(node: ServiceNode) -> Row {
    Row {
        node: node.node,
        id: node.id,
        address: node.address,
        datacenter: node.datacenter,
        tagged_addresses: node.tagged_addresses.unwrap_or_default(),
        meta: node.node_meta.unwrap_or_default(),
    }
}

fn header(detailed: bool) -> Vec<String> {
    let short = ["Node", "ID", "Address", "DC"];
    let more = ["TaggedAddresses", "Meta"];
    let all = short.iter().chain(more.iter().filter(|_| detailed));
    all.map(|name| (*name).to_owned()).collect()
}

fn cells(row: Row, detailed: bool) -> Vec<String> {
    let pairs = |map: &BTreeMap<String, String>| {
        let pairs = map.iter().map(|(k, v)| format!("{k}={v}"));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let id = match detailed {
        true => row.id,
        // The first group of the id is enough to tell nodes apart.
        false => row.id.split('-').next().unwrap_or_default().to_owned(),
    };
    let mut cells = vec![row.node, id, row.address, row.datacenter];
    if detailed {
        cells.push(pairs(&row.tagged_addresses));
        cells.push(pairs(&row.meta));
    }
    cells
}

fn services(call: &Invocation) -> u8 {
    let args = call.args.args();
    if !args.is_empty() {
        let n = args.len();
        return call.fail(format!("Too many arguments (expected 0, got {n})"));
    }
    let query = match meta(call) {
        Ok(query) => query,
        Err(code) => return code,
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let services = match call.args.string("node") {
        "" => client.read::<BTreeMap<String, Vec<String>>>("/v1/catalog/services", &query),
        node => of_one_node(&client, node, &query),
    };
    let services = match services {
        Ok(services) => services,
        Err(why) => return call.fail(format!("Error listing services: {why}")),
    };
    if services.is_empty() {
        error("No services match the given query - try expanding your search.");
        return OK;
    }
    if !call.args.bool("tags") {
        services.keys().for_each(say);
        return OK;
    }
    let rows = services.into_iter().map(|(name, mut tags)| {
        sorted::sort(&mut tags);
        vec![name, tags.join(",")]
    });
    let lines = spaced(&rows.collect::<Vec<_>>(), "      ");
    say(lines.join("\n").trim_end());
    OK
}

/// The services of a node with the tags of all their instances.
fn of_one_node(
    client: &Client,
    node: &str,
    query: &Query,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    #[derive(Default, crate::codec::Deserialize)]
    #[serde(default)]
    struct OfNode {
        #[serde(rename = "Services")]
        services: BTreeMap<String, NodeService>,
    }
    let found: Option<OfNode> = client.read(&format!("/v1/catalog/node/{node}"), query)?;
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in found.unwrap_or_default().services.into_values() {
        let tags = out.entry(service.service).or_default();
        for tag in service.tags.unwrap_or_default() {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    Ok(out)
}
