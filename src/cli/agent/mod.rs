//! `agent`: runs an agent until it is told to end.
//!
//! This file reads the command line and the configuration and decides the exit code; `start` puts the rooms
//! together, `banner` and `notify` tell the world, `signals` hears it, `wait_for_address` waits for a late network.
//! Source: `docs/reference/config.md` sections 2, 12 and 15.

mod banner;
mod identity;
mod notify;
mod options;
mod role;
pub(super) mod signals;
mod start;
mod wait_for_address;

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use super::command::{Command, Shape, asks_for_help};
use crate::agent::logging;
use crate::config::flags::{FlagError, Parsed};
use crate::config::{self, Config, Host, Loaded, Log};

/// Exit code after a failure.
const FAILED: u8 = 1;

/// The command in the list of all.
pub const COMMAND: Command = Command {
    name: "agent",
    synopsis: "Runs an agent",
    help: HELP,
    shape: Shape::Raw(run),
};

const HELP: &str = "Usage: consul agent [options]

  Starts the agent and runs until an interrupt is received. The agent
  represents a single node in a cluster.
";

/// Runs the command; its exit code.
fn run(args: Vec<OsString>) -> u8 {
    let flags = config::agent_flags();
    if asks_for_help(&args) {
        println!("{HELP}\n{}", flags.help());
        return 0;
    }
    let parsed = match flags.parse(args) {
        Ok(parsed) => parsed,
        Err(FlagError::Help) => {
            println!("{HELP}\n{}", flags.help());
            return 0;
        }
        Err(FlagError::Wrong(why)) => {
            eprintln!("{why}\n{}==> error parsing flags: {why}", flags.go_usage());
            return FAILED;
        }
    };
    match start(&parsed) {
        Ok(code) => code,
        Err(why) => {
            // A closed stderr is nobody's loss.
            let _ = writeln!(std::io::stderr(), "==> {why}");
            FAILED
        }
    }
}

fn start(parsed: &Parsed) -> Result<u8, String> {
    let extra = parsed.args();
    if !extra.is_empty() {
        return Err(format!("Unexpected extra arguments: [{}]", extra.join(" ")));
    }
    wait_for_address::wait_for_address(parsed)?;
    let host = Host::system();
    let Loaded { config, warnings } = config::load(parsed, &host)?;
    check_log_level(&config)?;
    refuse_unsupported(&config)?;
    options::check_tls(&config)?;
    options::check_telemetry(&config)?;
    let node_id = identity::node_id(&config)?;
    logging::init(&config.log).map_err(|e| e.to_string())?;
    if !config.log.json {
        print!("{}", banner::banner(&config, &node_id));
    }
    logging::release();
    for warning in &warnings {
        log::warn!(target: "agent", "{warning}");
    }
    let config = Arc::new(config);
    let code = start::run(&config, &node_id, parsed);
    log::info!(target: "agent", code = code; "Exit code");
    Ok(code)
}

/// Refuses a configuration that would start an agent other than the one it describes.
fn refuse_unsupported(config: &Config) -> Result<(), String> {
    match config::unsupported(config) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(missing.join("\n==> ")),
    }
}

fn check_log_level(config: &Config) -> Result<(), String> {
    if Log::is_level(&config.log.level) {
        return Ok(());
    }
    Err(format!(
        "Invalid log level: {}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
        config.log.level
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What starting with these settings is refused with; it must not get as far as running.
    fn refusal(settings: &str) -> String {
        let args = ["-dev", "-hcl", settings];
        let parsed = config::agent_flags().parse(args).unwrap();
        let loaded = config::load(&parsed, &Host::system()).unwrap();
        refuse_unsupported(&loaded.config).unwrap_err()
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (settings, name) in [
            ("verify_outgoing = true", "verify_outgoing"),
            ("verify_incoming_rpc = true", "verify_incoming_rpc"),
            ("ports { server = -1 }", "ports.server"),
            ("ports { serf_lan = -1 }", "ports.serf_lan"),
        ] {
            let text = refusal(settings);
            assert!(text.contains(name), "{settings}: {text}");
        }
    }

    #[test]
    fn what_a_development_agent_asks_for_is_supported() {
        let parsed = config::agent_flags().parse(["-dev"]).unwrap();
        let loaded = config::load(&parsed, &Host::system()).unwrap();
        assert_eq!(refuse_unsupported(&loaded.config), Ok(()));
    }
}
