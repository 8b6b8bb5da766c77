//! `version`: which Consul this agent speaks like, and which build it is.

use super::command::{Command, Invocation, OK, print as write, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::server::CONSUL_VERSION;

/// The build; Consul has its commit here.
const REVISION: &str = concat!("consul-lite-", env!("CARGO_PKG_VERSION"));

pub const COMMAND: Command = simple(
    "version",
    "Prints the version",
    "Usage: consul version [options]

  Prints the version of Consul whose behaviour and protocols this program has, and its own.",
    flags,
    run,
);

fn flags() -> FlagSet {
    FlagSet::new().command_default(
        "format",
        Kind::String,
        "pretty",
        "Form of the output: pretty or json.",
    )
}

fn run(call: &Invocation) -> u8 {
    match call.args.string("format") {
        "pretty" => print(),
        "json" => {
            say(format!(
                "{{\n   \"Version\": \"{CONSUL_VERSION}\",\n   \"Revision\": \"{REVISION}\",\n   \"Prerelease\": \"\",\n   \
                 \"RPC\": {{\n      \"Default\": 2,\n      \"Min\": 2,\n      \"Max\": 3\n   }}\n}}"
            ));
            OK
        }
        other => call.fail(format!("Unknown format: {other}")),
    }
}

/// Prints the version for people.
pub fn print() -> u8 {
    write(
        format!(
            "Consul v{CONSUL_VERSION}\nRevision {REVISION}\nProtocol 2 spoken by default, understands 2 to 3 \
             (agent will automatically use protocol >2 when speaking to compatible agents)\n\n"
        )
        .as_bytes(),
    );
    OK
}
