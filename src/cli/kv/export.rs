//! `kv export`: the entries under a prefix as JSON, for `kv import`.

use hyper::StatusCode;

use super::{Entry, path, typed};
use crate::cli::client::Client;
use crate::cli::command::{Command, Invocation, OK, namespace_flags, say};
use crate::cli::simple;
use crate::codec::base64;
use crate::structs::DirEntry;
use crate::wire::json;

pub const COMMAND: Command = simple(
    "export",
    "Writes entries as JSON",
    "Usage: consul kv export [KEY_OR_PREFIX]

  Prints every entry under the prefix, or all entries, as JSON that 'consul kv import' reads:

      $ consul kv export vault/",
    namespace_flags,
    run,
);

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let key = match args.as_slice() {
        [] => "",
        [key] => typed(key),
        more => {
            let n = more.len();
            return call.fail(format!("Too many arguments (expected 1, got {n})"));
        }
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let entries = match fetch(&client, key) {
        Ok(entries) => entries,
        Err(why) => return call.fail(format!("Error querying Consul agent: {why}")),
    };
    let exported: Vec<Entry> = entries
        .into_iter()
        .map(|entry| Entry {
            value: base64::encode(&entry.value),
            key: entry.key,
            flags: entry.flags,
        })
        .collect();
    match json::to_vec(&exported) {
        Ok(compact) => {
            // Consul indents this one with tabs.
            let pretty = tabs(&json::pretty(&compact));
            say(pretty.trim_end());
            OK
        }
        Err(why) => call.fail(format!("Error exporting KV data: {why}")),
    }
}

fn fetch(client: &Client, key: &str) -> Result<Vec<DirEntry>, String> {
    let reply = client.get(&path(key), &[("recurse", String::new())])?;
    match reply.status {
        StatusCode::OK => json::from_slice_lenient(&reply.body).map_err(|e| e.to_string()),
        StatusCode::NOT_FOUND => Ok(Vec::new()),
        other => Err(format!("Unexpected response code: {}", other.as_u16())),
    }
}

/// The same text with each step of indentation as a tab; spaces inside of values stay.
fn tabs(pretty: &[u8]) -> String {
    let text = String::from_utf8_lossy(pretty);
    let line = |line: &str| {
        let depth = (line.len() - line.trim_start_matches(' ').len()) / 4;
        format!("{}{}", "\t".repeat(depth), &line[depth * 4..])
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
