//! `kv import`: writes the entries that `kv export` wrote down.

use super::{Entry, path, well_formed};
use crate::cli::command::{Command, Invocation, OK, namespace_flags, say};
use crate::cli::{data, simple};
use crate::wire::json;

pub const COMMAND: Command = simple(
    "import",
    "Writes entries from JSON",
    "Usage: consul kv import [DATA]

  Writes the entries of a JSON text as 'consul kv export' prints it: the text itself, '-' for stdin, or '@file':

      $ consul kv import @values.json",
    namespace_flags,
    run,
);

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let data = match args.as_slice() {
        [] => return call.fail("Error! Missing DATA argument"),
        [data] if data.is_empty() => return call.fail("Error! Empty DATA argument"),
        [data] => data::load(data),
        more => {
            let n = more.len();
            return call.fail(format!("Error! Too many arguments (expected 1, got {n})"));
        }
    };
    let data = match data {
        Ok(data) => data,
        Err(why) => return call.fail(format!("Error! {why}")),
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let entries: Vec<Entry> = match json::from_slice_lenient(&data) {
        Ok(entries) => entries,
        Err(why) => {
            let why = why.to_string();
            // What ends too early does so in the words of Go's decoder of whole texts.
            let why = match why.ends_with("EOF") {
                true => "unexpected end of JSON input".to_owned(),
                false => why.replace("[]structs.", "[]*impexp."),
            };
            return call.fail(format!("Cannot unmarshal data: {why}"));
        }
    };
    for entry in entries {
        let value = match crate::wire::base64::decode(entry.value.as_bytes()) {
            Ok(value) => value,
            Err(why) => {
                return call.fail(format!(
                    "Error base 64 decoding value for key {}: {why}",
                    entry.key
                ));
            }
        };
        let mut query = Vec::new();
        if entry.flags > 0 {
            query.push(("flags", entry.flags.to_string()));
        }
        let written =
            well_formed(&entry.key).and_then(|()| client.put(&path(&entry.key), &query, value));
        if let Err(why) = written {
            return call.fail(format!(
                "Error! Failed writing data for key {}: {why}",
                entry.key
            ));
        }
        say(format!("Imported: {}", entry.key));
    }
    OK
}
