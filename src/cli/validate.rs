//! `validate`: reads configuration files as an agent would and says what is wrong.

use super::command::{Command, FAILED, Invocation, OK, error, say};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::config::{self, Format, Host};

pub const COMMAND: Command = simple(
    "validate",
    "Checks configuration files and directories",
    "Usage: consul validate [options] FILE_OR_DIRECTORY...

  Reads the files, and the files of the directories, as an agent would read them, and exits with 1 if an
  agent would refuse to start with them.",
    flags,
    run,
);

fn flags() -> FlagSet {
    FlagSet::new()
        .command(
            "config-format",
            Kind::String,
            "Read every file as this format, hcl or json, whatever its name.",
        )
        .command("quiet", Kind::Bool, "Say nothing when all is well.")
}

fn run(call: &Invocation) -> u8 {
    let format = match call.args.string("config-format") {
        "" => None,
        "hcl" => Some(Format::Hcl),
        "json" => Some(Format::Json),
        _ => return call.fail("-config-format must be either 'hcl' or 'json"),
    };
    let paths = call.args.args();
    if paths.is_empty() {
        return call.fail("Must specify at least one config file or directory");
    }
    match config::load_paths(&paths, format, &Host::system()) {
        Ok(loaded) => {
            if call.args.bool("quiet") {
                return OK;
            }
            for warning in &loaded.warnings {
                error(warning);
            }
            say("Configuration is valid!");
            OK
        }
        Err(why) => {
            error(&format!("Config validation failed: {why}"));
            FAILED
        }
    }
}
