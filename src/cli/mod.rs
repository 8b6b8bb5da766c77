//! The command line: one file per command, all of one shape.
//!
//! `agent` puts the rooms together; every other command speaks HTTP to an agent. Output, exit codes and
//! environment variables are Consul's, also when the binary is run under another name.
//! Source: `docs/reference/cli.md`.

mod acl;
mod agent;
mod catalog;
mod client;
mod columns;
mod command;
mod data;
mod event;
mod force_leave;
mod info;
mod join;
mod keygen;
mod keyring;
mod kv;
mod leave;
mod lock;
mod login;
mod maint;
mod members;
mod monitor;
mod operator;
mod reload;
mod rtt;
mod services;
mod snapshot;
mod validate;
mod version;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use command::{Command, FAILED, OK, Shape, asks_for_help, error, say};

/// Exit code when no command is named, or one that does not exist.
const NO_COMMAND: u8 = 127;

/// All commands, in the order of their names.
const COMMANDS: &[Command] = &[
    acl::COMMAND,
    agent::COMMAND,
    catalog::COMMAND,
    event::COMMAND,
    force_leave::COMMAND,
    info::COMMAND,
    join::COMMAND,
    keygen::COMMAND,
    keyring::COMMAND,
    kv::COMMAND,
    leave::COMMAND,
    lock::COMMAND,
    login::LOGIN,
    login::LOGOUT,
    maint::COMMAND,
    members::COMMAND,
    monitor::COMMAND,
    operator::COMMAND,
    reload::COMMAND,
    rtt::COMMAND,
    services::COMMAND,
    snapshot::COMMAND,
    validate::COMMAND,
    version::COMMAND,
    watch::COMMAND,
];

/// Commands of Consul for what this agent does not have.
const ABSENT: &[(&str, &str)] = &[
    ("config", "configuration entries are"),
    ("connect", "Connect is"),
    ("debug", "the debugging archive is"),
    ("exec", "remote execution is"),
    ("intention", "Connect is"),
    ("tls", "the built-in certificate authority is"),
];

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os().skip(1).collect()))
}

fn run(args: Vec<OsString>) -> u8 {
    let is_flag = |arg: &&OsString| arg.to_string_lossy().starts_with('-');
    let flags = args.iter().take_while(is_flag).count();
    let is_version = |arg: &OsString| arg == "-v" || arg == "-version" || arg == "--version";
    if args[..flags].iter().any(is_version) {
        return version::print();
    }
    let Some(name) = args.get(flags) else {
        return usage(asks_for_help(&args));
    };
    let Some(command) = COMMANDS.iter().find(|c| name == c.name) else {
        return unknown(&name.to_string_lossy());
    };
    if flags > 0 && !asks_for_help(&args[..flags]) {
        error("Invalid flags before the subcommand. If these flags are for");
        error("the subcommand, please put them after the subcommand.\n");
        error(command.help.trim_end());
        return FAILED;
    }
    let mut rest = args[flags + 1..].to_vec();
    if flags > 0 {
        rest.insert(0, "-h".into());
    }
    command.run(rest)
}

fn unknown(name: &str) -> u8 {
    match ABSENT.iter().find(|(absent, _)| *absent == name) {
        Some((_, what)) => {
            error(&format!("{name}: {what} not part of consul-lite yet"));
            FAILED
        }
        None => usage(false),
    }
}

/// The list of commands: asked for, or for want of a known one.
fn usage(asked: bool) -> u8 {
    let width = COMMANDS.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut text = String::from(
        "Usage: consul [--version] [--help] <command> [<args>]\n\nAvailable commands are:",
    );
    for command in COMMANDS {
        text += &format!("\n    {:width$}    {}", command.name, command.synopsis);
    }
    text.push('\n');
    match asked {
        true => {
            say(&text);
            OK
        }
        false => {
            error(&text);
            NO_COMMAND
        }
    }
}

/// A command that is run with its flags.
const fn simple(
    name: &'static str,
    synopsis: &'static str,
    help: &'static str,
    flags: fn() -> crate::config::flags::FlagSet,
    run: fn(&command::Invocation) -> u8,
) -> Command {
    Command {
        name,
        synopsis,
        help,
        shape: Shape::Run { flags, run },
    }
}

/// Commands under a common name.
const fn group(
    name: &'static str,
    synopsis: &'static str,
    help: &'static str,
    commands: &'static [Command],
) -> Command {
    Command {
        name,
        synopsis,
        help,
        shape: Shape::Group(commands),
    }
}
