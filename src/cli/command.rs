//! The shape that all commands share: a name, what it does in a line, its flags and help, and the function that runs it.
//!
//! Holds true: results go to stdout, errors to stderr; a reader of stdout that went away ends nothing but the output.
//! Source: `docs/reference/cli.md` section 1.

use std::ffi::OsString;
use std::io::Write;

use crate::config::flags::{Flag, FlagError, FlagSet, Group, Kind, Parsed};

/// Exit code of success.
pub const OK: u8 = 0;
/// Exit code of nearly every failure.
pub const FAILED: u8 = 1;

/// One command, or a group of commands.
pub struct Command {
    /// What is typed.
    pub name: &'static str,
    /// What it does, in the list of commands.
    pub synopsis: &'static str,
    /// First lines of its help, which begin with `Usage: consul ...`.
    pub help: &'static str,
    /// What it is.
    pub shape: Shape,
}

/// A command or a group.
pub enum Shape {
    /// Commands under a common name.
    Group(&'static [Command]),
    /// A command with flags.
    Run {
        /// Its flags.
        flags: fn() -> FlagSet,
        /// Runs it; the exit code.
        run: fn(&Invocation) -> u8,
    },
    /// A command that reads its own command line.
    Raw(fn(Vec<OsString>) -> u8),
}

/// A command that is run with what was typed.
pub struct Invocation {
    /// Flags and words.
    pub args: Parsed,
    help: String,
}

impl Invocation {
    /// Says what is wrong and exits with failure.
    pub fn fail(&self, text: impl AsRef<str>) -> u8 {
        error(text.as_ref());
        FAILED
    }

    /// Says what is wrong, then how the command is used.
    pub fn misuse(&self, text: &str) -> u8 {
        error(text);
        error("");
        error(&self.help);
        FAILED
    }

    /// As [`Invocation::misuse`], without a line between.
    pub fn explain(&self, text: &str) -> u8 {
        self.fail(format!("{text}\n{}", self.help))
    }

    /// How the command is used.
    pub fn help(&self) -> &str {
        &self.help
    }
}

/// Writes a line to stdout.
pub fn say(text: impl AsRef<str>) {
    print(text.as_ref().as_bytes());
    print(b"\n");
}

/// Writes bytes to stdout.
pub fn print(bytes: &[u8]) {
    // Whoever reads may have seen enough.
    let _ = std::io::stdout().write_all(bytes);
}

/// Writes a line to stderr.
pub fn error(text: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl Command {
    /// Runs the command with the words after its name.
    pub fn run(&self, args: Vec<OsString>) -> u8 {
        match &self.shape {
            Shape::Raw(run) => run(args),
            Shape::Group(commands) => self.run_group(commands, args),
            Shape::Run { flags, run } => {
                let flags = flags();
                let help = self.help_text(&flags);
                if asks_for_help(&args) {
                    say(&help);
                    return OK;
                }
                match flags.parse(args) {
                    Ok(args) => run(&Invocation { args, help }),
                    Err(FlagError::Help) => {
                        say(&help);
                        OK
                    }
                    Err(FlagError::Wrong(why)) => {
                        error(&why);
                        error(flags.go_usage().trim_end());
                        if self.help.starts_with("Usage: consul operator ") {
                            // These say it once more, after the usage.
                            error(&format!("Failed to parse args: {why}"));
                        }
                        FAILED
                    }
                }
            }
        }
    }

    fn run_group(&self, commands: &[Command], args: Vec<OsString>) -> u8 {
        let word = args.iter().position(|arg| !is_flag(arg));
        let chosen = word.and_then(|at| {
            let command = commands.iter().find(|c| args[at] == c.name)?;
            Some((command, args[at + 1..].to_vec()))
        });
        match chosen {
            Some((command, rest)) if word == Some(0) => command.run(rest),
            _ => {
                let help = group_help(self, commands);
                if asks_for_help(&args) {
                    say(&help);
                    return OK;
                }
                error(&help);
                FAILED
            }
        }
    }

    fn help_text(&self, flags: &FlagSet) -> String {
        let flags = flags.help();
        let text = self.help.trim_end();
        match flags.is_empty() {
            true => text.to_owned(),
            false => format!("{text}\n\n{flags}"),
        }
    }
}

fn is_flag(arg: &OsString) -> bool {
    arg.to_string_lossy().starts_with('-')
}

/// Help is asked for by a flag anywhere before a `--`.
pub fn asks_for_help(args: &[OsString]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "-h" || arg == "-help" || arg == "--help")
}

fn group_help(group: &Command, commands: &[Command]) -> String {
    let width = commands.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut text = format!("{}\n\nSubcommands:", group.help.trim_end());
    for command in commands {
        text += &format!("\n    {:width$}    {}", command.name, command.synopsis);
    }
    text
}

const fn api(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        name,
        kind,
        default: "",
        help,
        group: Group::Api,
    }
}

/// Flags of every command that speaks to an agent.
pub const CLIENT_FLAGS: &[Flag] = &[
    api(
        "ca-file",
        Kind::Value,
        "File with the CA certificates that the agent's certificate is checked against. CONSUL_CACERT does the same.",
    ),
    api(
        "ca-path",
        Kind::Value,
        "Directory of CA certificates that the agent's certificate is checked against. CONSUL_CAPATH does the same.",
    ),
    api(
        "client-cert",
        Kind::Value,
        "File with the certificate to show to an agent that asks for one. CONSUL_CLIENT_CERT does the same.",
    ),
    api(
        "client-key",
        Kind::Value,
        "File with the key of the certificate to show. CONSUL_CLIENT_KEY does the same.",
    ),
    api(
        "http-addr",
        Kind::Value,
        "The `address` of the agent's HTTP interface: host and port, a URL, or unix:// and a path. CONSUL_HTTP_ADDR does \
         the same; without either it is http://127.0.0.1:8500.",
    ),
    api(
        "tls-server-name",
        Kind::Value,
        "The name to expect in the agent's certificate. CONSUL_TLS_SERVER_NAME does the same.",
    ),
    api(
        "token",
        Kind::Value,
        "ACL token of the request. CONSUL_HTTP_TOKEN does the same; without either the agent uses its own default token.",
    ),
    api(
        "token-file",
        Kind::Value,
        "File with the ACL token of the request, which goes before -token. CONSUL_HTTP_TOKEN_FILE does the same.",
    ),
];

/// Flags of every command that asks the servers.
pub const SERVER_FLAGS: &[Flag] = &[
    api(
        "datacenter",
        Kind::Value,
        "The datacenter to ask; the agent's own if not given.",
    ),
    api(
        "stale",
        Kind::BoolValue,
        "Let any server answer, not the leader alone: quicker, but perhaps not the latest state. Reads only.",
    ),
];

/// The flag of commands whose objects may lie in a namespace.
pub const NAMESPACE: Flag = Flag {
    name: "namespace",
    kind: Kind::Value,
    default: "",
    help: "The namespace to use, `default` if not given. Only enterprise agents have namespaces.",
    group: Group::Command,
};

/// Flags of a command that speaks to its agent alone.
pub fn agent_flags() -> FlagSet {
    FlagSet::new().all(CLIENT_FLAGS)
}

/// Flags of a command that asks the servers.
pub fn server_flags() -> FlagSet {
    FlagSet::new().all(CLIENT_FLAGS).all(SERVER_FLAGS)
}

/// Flags of a command that asks the servers for things in a namespace.
pub fn namespace_flags() -> FlagSet {
    server_flags().flag(NAMESPACE)
}
