//! `kv put`: writes an entry, perhaps only if it is as expected, or with a lock.

use super::{path, well_formed};
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
        Ok(data) => decoded(call, data),
        Err(why) => return call.fail(format!("Error! {why}")),
    };
    let condition = match Condition::of(call, key) {
        Ok(condition) => condition,
        Err(why) => return call.fail(why),
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    if let Err(why) = well_formed(key) {
        return call.fail(format!("Error! Failed writing data: {why}"));
    }
    let mut query = Vec::new();
    if call.args.uint("flags") > 0 {
        query.push(("flags", call.args.uint("flags").to_string()));
    }
    query.extend(condition.parameter);
    match client.put(&path(key), &query, data) {
        Err(why) => call.fail(format!("Error! Failed writing data: {why}")),
        Ok(body) => match condition.refused {
            Some(refused) if body.trim_ascii() != b"true" => call.fail(refused),
            _ => {
                say(condition.done);
                OK
            }
        },
    }
}

/// The value as it was given, or what its base64 stands for.
fn decoded(call: &Invocation, data: Vec<u8>) -> Vec<u8> {
    if !call.args.bool("base64") {
        return data;
    }
    crate::wire::base64::decode(&data).unwrap_or_else(|why| {
        // Consul says so and goes on with nothing.
        error(&format!("Error! Cannot base 64 decode data: {why}"));
        Vec::new()
    })
}

/// On what the write depends, and what is said of it.
struct Condition {
    parameter: Option<(&'static str, String)>,
    done: String,
    /// Said when it did not hold.
    refused: Option<String>,
}

impl Condition {
    fn of(call: &Invocation, key: &str) -> Result<Self, &'static str> {
        let (acquire, release) = (call.args.bool("acquire"), call.args.bool("release"));
        let session = call.args.string("session");
        if (acquire || release) && session.is_empty() {
            return Err("Error! Missing -session (required with -acquire and -release)");
        }
        let (cas, index) = (call.args.bool("cas"), call.args.uint("modify-index"));
        if cas && index == 0 {
            return Err("Must specify -modify-index with -cas!");
        }
        let parameter = match (cas, acquire, release) {
            (true, _, _) => Some(("cas", index.to_string())),
            (_, true, _) => Some(("acquire", session.to_owned())),
            (_, _, true) => Some(("release", session.to_owned())),
            _ => None,
        };
        let (done, refused) = match parameter.as_ref().map(|(name, _)| *name) {
            Some("acquire") => (
                format!("Success! Lock acquired on: {key}"),
                Some("Error! Did not acquire lock".to_owned()),
            ),
            Some("release") => (
                format!("Success! Lock released on: {key}"),
                Some("Error! Did not release lock".to_owned()),
            ),
            conditional => (
                format!("Success! Data written to: {key}"),
                conditional.map(|_| format!("Error! Did not write to {key}: CAS failed")),
            ),
        };
        Ok(Self {
            parameter,
            done,
            refused,
        })
    }
}
