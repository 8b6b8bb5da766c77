//! The command line: one file per command, all of one shape.
//!
//! `agent` puts the rooms together; every other command speaks HTTP to an agent. Output, exit codes and
//! environment variables are Consul's, also when the binary is run under another name.
//! Source: `docs/reference/cli.md`.

mod agent;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((name, rest)) if name == "agent" => ExitCode::from(agent::run(rest.to_vec())),
        _ => ExitCode::from(127),
    }
}
