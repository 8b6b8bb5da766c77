//! `operator raft`: the servers that keep the state.

use hyper::Method;

use crate::cli::client::{Client, Reply};
use crate::cli::columns::table;
use crate::cli::command::{Command, Invocation, OK, say, server_flags};
use crate::cli::{group, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::RaftConfigurationResponse;

pub const COMMAND: Command = group(
    "raft",
    "Shows and changes the Raft peers",
    "Usage: consul operator raft <subcommand> [options]

  Shows the servers that keep the state by Raft, removes one that will not come back, and lets another lead.",
    &[
        simple(
            "list-peers",
            "Lists the Raft peers",
            "Usage: consul operator raft list-peers [options]

  Lists the servers of the Raft configuration; with -stale also without a leader.",
            server_flags,
            list_peers,
        ),
        simple(
            "remove-peer",
            "Removes a server from the Raft peers",
            "Usage: consul operator raft remove-peer [options]

  Removes a server from the Raft configuration. One that still runs is added again: this is for servers that
  are gone and are not removed by themselves.",
            remove_flags,
            remove_peer,
        ),
        simple(
            "transfer-leader",
            "Hands leadership to another server",
            "Usage: consul operator raft transfer-leader [options]

  Hands leadership to the server that is named by -id, or to any other that votes. Answers once it leads.",
            transfer_flags,
            transfer_leader,
        ),
    ],
);

fn remove_flags() -> FlagSet {
    server_flags()
        .command("address", Kind::String, "The server's address with port.")
        .command("id", Kind::String, "The server's id.")
}

fn transfer_flags() -> FlagSet {
    server_flags().command("id", Kind::String, "The server's id.")
}

fn transfer_leader(call: &Invocation) -> u8 {
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error initializing client: {why}")),
    };
    let query: Vec<_> = match call.args.string("id") {
        "" => Vec::new(),
        id => vec![("id", id.to_owned())],
    };
    let path = "/v1/operator/raft/transfer-leader";
    let asked = client.ask(Method::POST, path, &query, Vec::new());
    match crate::net::block_on(asked).and_then(Reply::ok) {
        Ok(_) => {
            say("Success");
            OK
        }
        Err(why) => call.fail(format!("Error transfering leadership: {why}")),
    }
}

fn list_peers(call: &Invocation) -> u8 {
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error initializing client: {why}")),
    };
    let peers: RaftConfigurationResponse = match client.read("/v1/operator/raft/configuration", &[])
    {
        Ok(peers) => peers,
        Err(why) => {
            return call.fail(format!(
                "Error getting peers: Failed to retrieve raft configuration: {why}"
            ));
        }
    };
    let header = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for server in peers.servers.unwrap_or_default() {
        let protocol = match server.protocol_version.as_str() {
            "" => "<=1".to_owned(),
            version => version.to_owned(),
        };
        let state = if server.leader { "leader" } else { "follower" };
        rows.push(vec![
            server.node,
            server.id,
            server.address,
            state.to_owned(),
            server.voter.to_string(),
            protocol,
        ]);
    }
    table(&rows).iter().for_each(say);
    OK
}

fn remove_peer(call: &Invocation) -> u8 {
    let (id, address) = (call.args.string("id"), call.args.string("address"));
    let (what, value) = match (id, address) {
        ("", "") => {
            return call
                .fail("Error removing peer: an address or id is required for the peer to remove");
        }
        ("", address) => ("address", address),
        (id, "") => ("id", id),
        _ => return call.fail("Error removing peer: cannot give both an address and id"),
    };
    let client = match Client::new(&call.args) {
        Ok(client) => client,
        Err(why) => return call.fail(format!("Error initializing client: {why}")),
    };
    let query = [(what, value.to_owned())];
    let asked = client.ask(Method::DELETE, "/v1/operator/raft/peer", &query, Vec::new());
    match crate::net::block_on(asked).and_then(Reply::ok) {
        Ok(_) => {
            say(format!("Removed peer with {what} \"{value}\""));
            OK
        }
        Err(why) => call.fail(format!("Error removing peer: {why}")),
    }
}
