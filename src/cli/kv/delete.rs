//! `kv delete`: removes an entry, perhaps only if it is as expected, or everything under a prefix.

use hyper::Method;

use super::{path, typed};
use crate::cli::command::{Command, Invocation, OK, namespace_flags, say};
use crate::cli::simple;
use crate::config::flags::{FlagSet, Kind};

pub const COMMAND: Command = simple(
    "delete",
    "Removes entries",
    "Usage: consul kv delete [options] KEY_OR_PREFIX

  Removes a key, or with -recurse every key that begins with the prefix:

      $ consul kv delete foo
      $ consul kv delete -recurse foo/",
    flags,
    run,
);

fn flags() -> FlagSet {
    namespace_flags()
        .command(
            "cas",
            Kind::Bool,
            "Remove only if the entry still has the index of -modify-index.",
        )
        .command("modify-index", Kind::Uint, "The index to expect with -cas.")
        .command(
            "recurse",
            Kind::Bool,
            "Remove everything whose key begins with the prefix.",
        )
}

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let (cas, index) = (call.args.bool("cas"), call.args.uint("modify-index"));
    let recurse = call.args.bool("recurse");
    let key = match args.as_slice() {
        [] if recurse => "",
        [] => return call.fail("Error! Missing KEY argument"),
        [key] => typed(key),
        more => {
            let n = more.len();
            return call.fail(format!("Too many arguments (expected 1, got {n})"));
        }
    };
    if key.is_empty() && !recurse {
        return call.fail("Error! Missing KEY argument");
    }
    if cas && index == 0 {
        return call.fail("Must specify -modify-index with -cas!");
    }
    if index != 0 && !cas {
        return call.fail("Cannot specify -modify-index without -cas!");
    }
    if cas && recurse {
        return call.fail("Cannot specify both -cas and -recurse!");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let query = match (recurse, cas) {
        (true, _) => vec![("recurse", String::new())],
        (_, true) => vec![("cas", index.to_string())],
        _ => Vec::new(),
    };
    let path = path(key);
    let asked = client.ask(Method::DELETE, &path, &query, Vec::new());
    let body = crate::net::block_on(asked).and_then(crate::cli::client::Reply::ok);
    match body {
        Err(why) if recurse => call.fail(format!("Error! Did not delete prefix {key}: {why}")),
        Err(why) => call.fail(format!("Error deleting key {key}: {why}")),
        Ok(_) if recurse => {
            say(format!("Success! Deleted keys with prefix: {key}"));
            OK
        }
        Ok(body) if cas && body.trim_ascii() != b"true" => {
            call.fail(format!("Error! Did not delete key {key}: CAS failed"))
        }
        Ok(_) => {
            say(format!("Success! Deleted key: {key}"));
            OK
        }
    }
}
