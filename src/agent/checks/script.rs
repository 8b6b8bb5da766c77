//! Script checks: a command of the user's, judged by its exit code: 0 passing, 1 warning, else critical.
//!
//! Holds true: the command runs in a process group of its own, which is killed when the time is over or
//! the check goes away; of stdout and stderr, merged, only the last bytes are kept.
//! Source: `docs/reference/http-2.md` sections 4.1 and 4.2.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::process::Child;

use super::{AtOnce, Outcome, SCRIPT_TIMEOUT, Surroundings, limit};
use crate::drive::timeout;
use crate::net::Async;
use crate::net::dial::errno_text;
use crate::structs::{CheckType, Error, Result};

pub(super) struct ScriptProbe {
    args: Vec<String>,
    timeout: Duration,
    max_output: usize,
}

impl ScriptProbe {
    pub(super) fn new(around: &Surroundings, check: &CheckType) -> Self {
        Self {
            args: check.script_args.clone().unwrap_or_default(),
            timeout: limit(check, SCRIPT_TIMEOUT),
            max_output: around.output_limit(check),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        let mut script = match Script::start(&self.args, &[], Stdio::null(), self.max_output) {
            Ok(script) => script,
            Err(e) => return at_once(e.text().to_owned(), AtOnce::NotInvoked),
        };
        let finished = timeout(self.timeout, script.finish()).await;
        let output = script.output.text();
        match finished {
            Err(_) => {
                let timeout = crate::structs::go::GoDuration::from(self.timeout);
                let mut text = format!("Timed out ({timeout}) running check");
                if !output.is_empty() {
                    text = format!("{text}\n\n{output}");
                }
                at_once(text, AtOnce::TimedOut(self.timeout))
            }
            Ok(Err(e)) => Outcome::critical(errno_text(&e)),
            Ok(Ok(status)) => match status.code() {
                Some(0) => Outcome::passing(output),
                Some(1) => Outcome::warning(output),
                _ => Outcome::critical(output),
            },
        }
    }
}

/// Critical without regard to thresholds: the script has said nothing.
fn at_once(output: String, why: AtOnce) -> Outcome {
    Outcome {
        at_once: Some(why),
        ..Outcome::critical(output)
    }
}

/// A running command; dropping it kills its process group.
pub(in crate::agent) struct Script {
    child: Child,
    pipe: Async<File>,
    /// The last bytes it printed.
    pub(in crate::agent) output: Tail,
    done: bool,
}

impl Script {
    /// Starts a command with additional environment.
    ///
    /// # Errors
    /// Go's words.
    pub(in crate::agent) fn start(
        args: &[String],
        env: &[(&str, &str)],
        stdin: Stdio,
        max_output: usize,
    ) -> Result<Self> {
        let Some((program, rest)) = args.split_first() else {
            return Err(Error::new("need an executable to run"));
        };
        let fault = |e: &io::Error| {
            if e.kind() == io::ErrorKind::NotFound && !program.contains('/') {
                return Error::new(format!(
                    "exec: \"{program}\": executable file not found in $PATH"
                ));
            }
            Error::new(format!("fork/exec {program}: {}", errno_text(e)))
        };
        let (reader, writer) = io::pipe().map_err(|e| fault(&e))?;
        let second = writer.try_clone().map_err(|e| fault(&e))?;
        let mut command = Command::new(program);
        command
            .args(rest)
            .envs(env.iter().copied())
            .process_group(0);
        // The conversion forgets streams that were set before it.
        let mut command = smol::process::Command::from(command);
        command.stdin(stdin).stdout(writer).stderr(second);
        let child = command.spawn().map_err(|e| fault(&e))?;
        // The command holds the writing ends: without them the pipe ends when the last process does.
        drop(command);
        let pipe = Async::new(File::from(OwnedFd::from(reader))).map_err(|e| fault(&e))?;
        Ok(Self {
            child,
            pipe,
            output: Tail::new(max_output),
            done: false,
        })
    }

    /// Writes `input` to a piped stdin while it reads the output to its end; how the command ended.
    pub(in crate::agent) async fn talk(&mut self, input: &[u8]) -> io::Result<ExitStatus> {
        let stdin = self.child.stdin.take();
        let write = async {
            if let Some(mut stdin) = stdin {
                // Whoever does not want to read its input need not.
                let _ = stdin.write_all(input).await;
            }
        };
        smol::future::zip(write, self.finish()).await.1
    }

    /// Reads the output to its end; how the command ended.
    pub(in crate::agent) async fn finish(&mut self) -> io::Result<ExitStatus> {
        let mut chunk = [0u8; 4096];
        loop {
            let n = self.pipe.read(&mut chunk).await?;
            if n == 0 {
                break;
            }
            self.output.push(&chunk[..n]);
        }
        let status = self.child.status().await?;
        self.done = true;
        Ok(status)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: killpg(2) takes no pointers. The child was made leader of its own group and is not
            // reaped yet, so the number still names that group.
            unsafe { libc::killpg(pid, libc::SIGKILL) };
        }
    }
}

/// The last bytes of a stream, and how many there were.
pub(in crate::agent) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    total: usize,
}

impl Tail {
    pub(in crate::agent) fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            limit,
            total: 0,
        }
    }

    pub(in crate::agent) fn push(&mut self, chunk: &[u8]) {
        self.total += chunk.len();
        let keep = &chunk[chunk.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + keep.len()).saturating_sub(self.limit);
        self.bytes.drain(..over);
        self.bytes.extend(keep);
    }

    /// The text, with a mark in front when something was cut off.
    pub(in crate::agent) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        if self.total <= self.limit {
            return text.into_owned();
        }
        format!(
            "Captured {} of {} bytes\n...\n{text}",
            self.limit, self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_the_output_is_kept() {
        let mut tail = Tail::new(4);
        tail.push(b"ab");
        assert_eq!(tail.text(), "ab");
        tail.push(b"cdef");
        assert_eq!(tail.text(), "Captured 4 of 6 bytes\n...\ncdef");
        tail.push(b"g");
        assert_eq!(tail.text(), "Captured 4 of 7 bytes\n...\ndefg");
    }
}
