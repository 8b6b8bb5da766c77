//! `members`: who is in the gossip pool.
//!
//! Source: `docs/reference/cli.md` section 4.

use super::columns::table;
use super::command::{Command, Invocation, OK, agent_flags, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::filter::regexp;
use crate::sorted;
use crate::structs::Member;

/// Exit code when no member matches.
const NO_MATCH: u8 = 2;

pub const COMMAND: Command = simple(
    "members",
    "Lists the members of the pool",
    "Usage: consul members [options]

  Lists the members of the gossip pool as the agent knows them.",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags()
        .command("detailed", Kind::Bool, "Print all tags of each member.")
        .command(
            "segment",
            Kind::String,
            "Only members of this network segment. Only enterprise agents have segments.",
        )
        .command_default(
            "status",
            Kind::String,
            ".*",
            "Only members whose status matches this regular expression.",
        )
        .command(
            "wan",
            Kind::Bool,
            "The pool of the servers of all datacenters, instead of that of the own one.",
        )
}

fn run(call: &Invocation) -> u8 {
    let pattern = match regexp::parse(call.args.string("status")) {
        Ok(pattern) => pattern,
        Err(why) => return call.fail(format!("Failed to compile status regexp: {why}")),
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let segment = match call.args.string("segment") {
        "" => "_all",
        segment => segment,
    };
    let mut query = vec![("segment", segment.to_owned())];
    if call.args.bool("wan") {
        query.push(("wan", "1".to_owned()));
    }
    let mut members: Vec<Member> = match client.read("/v1/agent/members", &query) {
        Ok(members) => members,
        Err(why) => return call.fail(format!("Error retrieving members: {why}")),
    };
    for member in &mut members {
        let segment = match member.tags.get("segment").map(String::as_str) {
            _ if tag(member, "role") == "consul" => "<all>",
            None | Some("") => "<default>",
            Some(segment) => segment,
        };
        let segment = segment.to_owned();
        member.tags.insert("segment".to_owned(), segment);
    }
    members.retain(|m| pattern.is_match(status(m)));
    if members.is_empty() {
        return NO_MATCH;
    }
    sorted::sort_by(&mut members, |a, b| {
        (tag(a, "segment"), &a.name).cmp(&(tag(b, "segment"), &b.name))
    });
    let rows = match call.args.bool("detailed") {
        true => detailed(&members),
        false => standard(&members),
    };
    table(&rows).iter().for_each(say);
    OK
}

fn status(member: &Member) -> &'static str {
    match member.status {
        1 => "alive",
        2 => "leaving",
        3 => "left",
        4 => "failed",
        _ => "none",
    }
}

fn tag<'a>(member: &'a Member, name: &str) -> &'a str {
    member.tags.get(name).map_or("", String::as_str)
}

/// `host:port`, with brackets where they are needed.
fn address(member: &Member) -> String {
    match member.addr.contains(':') {
        true => format!("[{}]:{}", member.addr, member.port),
        false => format!("{}:{}", member.addr, member.port),
    }
}

fn standard(members: &[Member]) -> Vec<Vec<String>> {
    let header = [
        "Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for member in members {
        let build = tag(member, "build");
        let kind = match tag(member, "role") {
            "node" => "client",
            "consul" => "server",
            _ => "unknown",
        };
        let (build, protocol, dc) = match kind {
            "unknown" => ("unknown", "unknown", "unknown"),
            _ => (
                // Behind the colon stands the revision.
                build.split(':').next().unwrap_or_default(),
                tag(member, "vsn"),
                tag(member, "dc"),
            ),
        };
        let cells = [
            &member.name,
            &address(member),
            status(member),
            kind,
            build,
            protocol,
            dc,
            tag(member, "segment"),
        ];
        rows.push(cells.map(str::to_owned).to_vec());
    }
    rows
}

fn detailed(members: &[Member]) -> Vec<Vec<String>> {
    let header = ["Node", "Address", "Status", "Tags"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for member in members {
        let tags: Vec<String> = member
            .tags
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        rows.push(vec![
            member.name.clone(),
            address(member),
            status(member).to_owned(),
            tags.join(","),
        ]);
    }
    rows
}
