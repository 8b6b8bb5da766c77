//! `kv get`: one entry, the entries under a prefix, or keys.

use hyper::StatusCode;

use super::{path, typed};
use crate::cli::client::{Client, Query};
use crate::cli::columns::spaced;
use crate::cli::command::{Command, FAILED, Invocation, OK, error, namespace_flags, print, say};
use crate::cli::simple;
use crate::codec::base64;
use crate::config::flags::{FlagSet, Kind};
use crate::structs::DirEntry;
use crate::wire::json;

pub const COMMAND: Command = simple(
    "get",
    "Reads entries or lists keys",
    "Usage: consul kv get [options] [KEY_OR_PREFIX]

  Prints the value of a key, or with -recurse every entry under a prefix, or with -keys the keys under it:

      $ consul kv get foo
      $ consul kv get -recurse foo/
      $ consul kv get -keys foo/",
    flags,
    run,
);

fn flags() -> FlagSet {
    namespace_flags()
        .command("base64", Kind::Bool, "Print values in base64.")
        .command(
            "detailed",
            Kind::Bool,
            "Print everything known about an entry, not its value alone.",
        )
        .command(
            "keys",
            Kind::Bool,
            "List keys that begin with the prefix, up to the separator.",
        )
        .command(
            "recurse",
            Kind::Bool,
            "Print every entry whose key begins with the prefix.",
        )
        .command_default(
            "separator",
            Kind::String,
            "/",
            "With -keys: list what lies behind this `string` as one key.",
        )
}

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let (keys, recurse) = (call.args.bool("keys"), call.args.bool("recurse"));
    let key = match args.as_slice() {
        [] if keys || recurse => "",
        [] => return call.fail("Error! Missing KEY argument"),
        [key] => key,
        more => {
            let n = more.len();
            return call.fail(format!("Too many arguments (expected 1, got {n})"));
        }
    };
    // A lone separator would otherwise be no key at all.
    let key = typed(key);
    if key.is_empty() && !keys && !recurse {
        return call.fail("Error! Missing KEY argument");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let result = match (keys, recurse) {
        (true, _) => list_keys(&client, key, call.args.string("separator")),
        (_, true) => recurse_entries(call, &client, key),
        _ => one(call, &client, key),
    };
    match result {
        Ok(code) => code,
        Err(why) => call.fail(format!("Error querying Consul agent: {why}")),
    }
}

/// The body of a read; `None` when nothing is there.
fn fetch(client: &Client, key: &str, query: &Query) -> Result<Option<Vec<u8>>, String> {
    let reply = client.get(&path(key), query)?;
    match reply.status {
        StatusCode::OK => Ok(Some(reply.body)),
        StatusCode::NOT_FOUND => Ok(None),
        // Consul's client drops the body here.
        other => Err(format!("Unexpected response code: {}", other.as_u16())),
    }
}

fn list_keys(client: &Client, key: &str, separator: &str) -> Result<u8, String> {
    let mut query = vec![("keys", String::new())];
    if !separator.is_empty() {
        query.push(("separator", separator.to_owned()));
    }
    if let Some(body) = fetch(client, key, &query)? {
        let keys: Vec<String> = json::from_slice_lenient(&body).map_err(|e| e.to_string())?;
        for key in keys {
            say(key);
        }
    }
    Ok(OK)
}

fn recurse_entries(call: &Invocation, client: &Client, key: &str) -> Result<u8, String> {
    let entries = fetch(client, key, &vec![("recurse", String::new())])?;
    let entries: Vec<DirEntry> = match entries {
        Some(body) => json::from_slice_lenient(&body).map_err(|e| e.to_string())?,
        None => Vec::new(),
    };
    let (detailed, base64) = (call.args.bool("detailed"), call.args.bool("base64"));
    for (n, entry) in entries.iter().enumerate() {
        if detailed {
            if n > 0 {
                say("");
            }
            show(entry, base64);
        } else {
            print(format!("{}:", entry.key).as_bytes());
            print(&value(entry, base64));
            print(b"\n");
        }
    }
    Ok(OK)
}

fn one(call: &Invocation, client: &Client, key: &str) -> Result<u8, String> {
    let body = fetch(client, key, &Vec::new())?;
    let entries: Vec<DirEntry> = match body {
        Some(body) => json::from_slice_lenient(&body).map_err(|e| e.to_string())?,
        None => Vec::new(),
    };
    let Some(entry) = entries.first() else {
        error(&format!("Error! No key exists at: {key}"));
        return Ok(FAILED);
    };
    let base64 = call.args.bool("base64");
    if call.args.bool("detailed") {
        show(entry, base64);
    } else {
        print(&value(entry, base64));
        print(b"\n");
    }
    Ok(OK)
}

fn value(entry: &DirEntry, base64: bool) -> Vec<u8> {
    match base64 {
        true => base64::encode(&entry.value).into_bytes(),
        false => entry.value.to_vec(),
    }
}

/// Prints everything about an entry.
fn show(entry: &DirEntry, base64: bool) {
    let session = match entry.session.as_str() {
        "" => "-",
        session => session,
    };
    let row = |name: &str, value: &str| vec![name.to_owned(), value.to_owned()];
    let rows = [
        row("CreateIndex", &entry.create_index.to_string()),
        row("Flags", &entry.flags.to_string()),
        row("Key", &entry.key),
        row("LockIndex", &entry.lock_index.to_string()),
        row("ModifyIndex", &entry.modify_index.to_string()),
        row("Session", session),
        row("Value", ""),
    ];
    let lines = spaced(&rows, "      ");
    for line in &lines[..rows.len() - 1] {
        say(line);
    }
    let value = value(entry, base64);
    if value.is_empty() {
        say("Value");
    } else {
        print(lines[rows.len() - 1].as_bytes());
        print(&value);
        print(b"\n");
    }
}
