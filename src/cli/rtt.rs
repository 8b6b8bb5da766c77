//! `rtt`: how long a packet takes from one node to another and back, by their coordinates.
//!
//! Source: `docs/reference/cli.md` section 4.

use super::client::Client;
use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::server::rtt::distance;
use crate::structs::{Coordinate, DatacenterMap, Position};

pub const COMMAND: Command = simple(
    "rtt",
    "Estimates the time between two nodes",
    "Usage: consul rtt [options] node1 [node2]

  Estimates the round-trip time between two nodes from their network coordinates; the second node is the
  agent's own if not named.",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags().command(
        "wan",
        Kind::Bool,
        "Servers of any datacenter, named as <node name>.<datacenter>.",
    )
}

fn run(call: &Invocation) -> u8 {
    let mut nodes = call.args.args();
    if nodes.is_empty() || nodes.len() > 2 {
        return call.misuse("One or two node names must be specified");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let wan = call.args.bool("wan");
    let positions = match wan {
        true => wan_positions(call, &client, &mut nodes),
        false => lan_positions(call, &client, &mut nodes),
    };
    let (a, b) = match positions {
        Ok(pair) => pair,
        Err(code) => return code,
    };
    let millis = distance(&a, &b) * 1000.0;
    let pool = if wan { "WAN" } else { "LAN" };
    say(format!(
        "Estimated {} <-> {} rtt: {millis:.3} ms (using {pool} coordinates)",
        nodes[0], nodes[1]
    ));
    OK
}

fn missing(call: &Invocation, node: &str) -> u8 {
    call.fail(format!("Could not find a coordinate for node \"{node}\""))
}

fn lan_positions(
    call: &Invocation,
    client: &Client,
    nodes: &mut Vec<String>,
) -> Result<(Position, Position), u8> {
    if nodes.len() == 1 {
        let own = client
            .node_name()
            .map_err(|why| call.fail(format!("Unable to look up agent info: {why}")))?;
        nodes.push(own);
    }
    let all: Vec<Coordinate> = client
        .read("/v1/coordinate/nodes", &[])
        .map_err(|why| call.fail(format!("Error getting coordinates: {why}")))?;
    let find = |name: &str| {
        let found = all.iter().find(|c| c.node == name && c.segment.is_empty());
        found
            .and_then(|c| c.coord.clone())
            .ok_or_else(|| missing(call, name))
    };
    Ok((find(&nodes[0])?, find(&nodes[1])?))
}

fn wan_positions(
    call: &Invocation,
    client: &Client,
    nodes: &mut Vec<String>,
) -> Result<(Position, Position), u8> {
    #[derive(Default, crate::codec::Deserialize)]
    #[serde(default)]
    struct AgentSelf {
        #[serde(rename = "Config")]
        config: Named,
    }
    #[derive(Default, crate::codec::Deserialize)]
    #[serde(default)]
    struct Named {
        #[serde(rename = "NodeName")]
        node: String,
        #[serde(rename = "Datacenter")]
        datacenter: String,
    }
    let misnamed =
        || call.fail("Node names must be specified as <node name>.<datacenter> with -wan");
    if nodes.iter().any(|node| !node.contains('.')) {
        return Err(misnamed());
    }
    if nodes.len() == 1 {
        let own: AgentSelf = client
            .read("/v1/agent/self", &[])
            .map_err(|why| call.fail(format!("Unable to look up agent info: {why}")))?;
        nodes.push(format!("{}.{}", own.config.node, own.config.datacenter));
    }
    let all: Vec<DatacenterMap> = client
        .read("/v1/coordinate/datacenters", &[])
        .map_err(|why| call.fail(format!("Error getting coordinates: {why}")))?;
    let find = |name: &str| {
        let (node, dc) = name.rsplit_once('.')?;
        let dc = all.iter().find(|map| map.datacenter == dc)?;
        let nodes = dc.coordinates.as_ref()?;
        nodes.iter().find(|c| c.node == node)?.coord.clone()
    };
    let first = find(&nodes[0]).ok_or_else(|| missing(call, &nodes[0]))?;
    // Consul names the first node here too.
    let second = find(&nodes[1]).ok_or_else(|| missing(call, &nodes[0]))?;
    Ok((first, second))
}
