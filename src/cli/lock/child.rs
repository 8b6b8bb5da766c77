//! The command that runs under a lock, or for a watch.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use smol::future::FutureExt;
use smol::process::{Child as Process, Command};

use crate::net::dial::errno_text;

/// How long a command may take to end after it was asked to.
pub const GRACE: Duration = Duration::from_secs(5);
/// What the command finds in its environment.
const HELD: (&str, &str) = ("CONSUL_LOCK_HELD", "true");

/// A running command.
pub struct Child {
    process: Process,
}

/// How a command ended.
pub struct Ended(std::io::Result<ExitStatus>);

impl Ended {
    /// Whether it ended well.
    pub fn is_success(&self) -> bool {
        self.0.as_ref().is_ok_and(ExitStatus::success)
    }

    /// How it failed, in Go's words.
    pub fn failure(&self) -> Option<String> {
        match &self.0 {
            Ok(status) => status_text(*status),
            Err(why) => Some(errno_text(why)),
        }
    }
}

pub use crate::agent::watch::handler::exit_error as status_text;

/// A command by a shell, or by itself.
pub fn command(words: &[String], shell: bool) -> Command {
    match (shell, words) {
        (false, [program, args @ ..]) => {
            let mut command = Command::new(program);
            command.args(args);
            command
        }
        _ => {
            let shell = std::env::var("SHELL").unwrap_or_default();
            let shell = if shell.is_empty() { "/bin/sh" } else { &shell };
            let mut command = Command::new(shell);
            command.arg("-c").arg(words.join(" "));
            command
        }
    }
}

impl Child {
    /// Starts a command.
    ///
    /// # Errors
    /// In Go's words.
    pub fn start(words: &[String], shell: bool, stdin: bool) -> Result<Self, String> {
        let mut command = command(words, shell);
        command.env(HELD.0, HELD.1);
        command.stdin(if stdin {
            Stdio::inherit()
        } else {
            Stdio::null()
        });
        match command.spawn() {
            Ok(process) => Ok(Self { process }),
            Err(why) => Err(start_error(words, &why)),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Ended {
        Ended(self.process.status().await)
    }

    /// Asks it to end; `None` if it does not in time.
    pub async fn terminate(&mut self) -> Option<Ended> {
        if let Ok(pid) = libc::pid_t::try_from(self.process.id()) {
            // SAFETY: kill(2) has no memory to violate; the process is our own child and not yet waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let late = async {
            crate::drive::sleep(GRACE).await;
            None
        };
        async { Some(self.wait().await) }.or(late).await
    }

    /// Ends it.
    pub async fn kill(&mut self) -> Ended {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.wait().await
    }
}

/// Why a command could not be started, in Go's words.
pub fn start_error(words: &[String], why: &std::io::Error) -> String {
    let program = words.first().map_or("", String::as_str);
    match why.kind() == std::io::ErrorKind::NotFound && !program.contains('/') {
        true => format!("exec: \"{program}\": executable file not found in $PATH"),
        false => format!("fork/exec {program}: {}", errno_text(why)),
    }
}
