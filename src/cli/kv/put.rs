//! `kv put`: writes an entry, perhaps only if it is as expected, or with a lock.

use super::path;
use crate::cli::command::{Command, Invocation, OK, error, namespace_flags, say};
use crate::cli::{data, simple};
use crate::config::flags::{FlagSet, Kind};

pub const COMMAND: Command = simple(
    "put",
    "Writes an entry",
    "Usage: consul kv put [options] KEY [DATA]

  Writes DATA to KEY; without DATA the value is empty, '-' takes it from stdin, '@file' from a file:

      $ consul kv put config/redis/maxconns 25
      $ consul kv put config/program/license @license.lic",
    flags,
    run,
);

fn flags() -> FlagSet {
    namespace_flags()
        .command(
            "acquire",
            Kind::Bool,
            "Lock the key with the session of -session.",
        )
        .command("base64", Kind::Bool, "DATA is in base64.")
        .command(
            "cas",
            Kind::Bool,
            "Write only if the entry still has the index of -modify-index.",
        )
        .command(
            "flags",
            Kind::Uint,
            "A number kept with the entry, for whoever reads it.",
        )
        .command("modify-index", Kind::Uint, "The index to expect with -cas.")
        .command(
            "release",
            Kind::Bool,
            "Unlock the key that the session of -session has locked.",
        )
        .command(
            "session",
            Kind::String,
            "The session that locks or unlocks.",
        )
}

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let (key, data) = match args.as_slice() {
        [] => return call.fail("Error! Missing KEY argument"),
        [key] => (key.as_str(), Ok(Vec::new())),
        // A key of its own, not a flag: `-foo` is data.
        [key, data] => (key.as_str(), data::load(data)),
        more => {
            let n = more.len();
            return call.fail(format!(
                "Error! Too many arguments (expected 1 or 2, got {n})"
            ));
        }
    };
    let data = match data {
        Ok(data) => data,
        Err(why) => return call.fail(format!("Error! {why}")),
    };
    let data = match call.args.bool("base64") {
        false => data,
        true => match crate::wire::base64::decode(&data) {
            Ok(data) => data,
            Err(why) => {
                // Consul says so and goes on with nothing.
                error(&format!("Error! Cannot base 64 decode data: {why}"));
                Vec::new()
            }
        },
    };
    let (acquire, release) = (call.args.bool("acquire"), call.args.bool("release"));
    let session = call.args.string("session");
    if (acquire || release) && session.is_empty() {
        return call.fail("Error! Missing -session (required with -acquire and -release)");
    }
    let (cas, index) = (call.args.bool("cas"), call.args.uint("modify-index"));
    if cas && index == 0 {
        return call.fail("Must specify -modify-index with -cas!");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    if key.starts_with('/') {
        return call.fail(format!(
            "Error! Failed writing data: Invalid key. Key must not begin with a '/': {key}"
        ));
    }
    let mut query = Vec::new();
    if call.args.uint("flags") > 0 {
        query.push(("flags", call.args.uint("flags").to_string()));
    }
    let (done, refused) = if cas {
        query.push(("cas", index.to_string()));
        (
            format!("Success! Data written to: {key}"),
            format!("Error! Did not write to {key}: CAS failed"),
        )
    } else if acquire {
        query.push(("acquire", session.to_owned()));
        (
            format!("Success! Lock acquired on: {key}"),
            "Error! Did not acquire lock".to_owned(),
        )
    } else if release {
        query.push(("release", session.to_owned()));
        (
            format!("Success! Lock released on: {key}"),
            "Error! Did not release lock".to_owned(),
        )
    } else {
        (format!("Success! Data written to: {key}"), String::new())
    };
    match client.put(&path(key), &query, data) {
        Err(why) => call.fail(format!("Error! Failed writing data: {why}")),
        Ok(_) if refused.is_empty() => {
            say(done);
            OK
        }
        Ok(body) if body.trim_ascii() == b"true" => {
            say(done);
            OK
        }
        Ok(_) => call.fail(refused),
    }
}
