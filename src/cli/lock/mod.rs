//! `lock`: runs a command while holding a lock, or one of several slots of a semaphore.
//!
//! Holds true: the layout in the key/value store is that of Consul's own clients, so that all of them exclude each
//! other; the session is kept alive while the command runs and ended afterwards, and a command whose lock is lost
//! is ended too.
//! Source: `docs/reference/cli.md` section 9.

pub(super) mod child;
mod mutex;
mod semaphore;
mod session;

use std::time::Duration;

use hyper::Method;
use smol::future::FutureExt;

use super::agent::signals::SignalStream;
use super::client::Client;
use super::command::{Command, FAILED, Invocation, OK, error, say, server_flags};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::structs::DirEntry;
use child::{Child, Ended};
use mutex::Mutex;
use semaphore::Semaphore;
use session::Session;

/// Pause after a question that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Exit code when the command failed and that is to be told.
const CHILD_FAILED: u8 = 2;
/// Most slots of a semaphore that make sense.
const ONE: i64 = 1;

pub const COMMAND: Command = simple(
    "lock",
    "Runs a command while holding a lock",
    "Usage: consul lock [options] prefix child...

  Waits for the lock at a prefix of the key/value store, runs the command while holding it, and lets go of it
  afterwards. If the lock is lost meanwhile, the command gets a SIGTERM and, a little later, a SIGKILL.

  With -n the lock has several slots: a semaphore.",
    flags,
    run,
);

fn flags() -> FlagSet {
    server_flags()
        .command(
            "child-exit-code",
            Kind::Bool,
            "Exit with 2 if the command failed.",
        )
        .command_default(
            "monitor-retry",
            Kind::Int,
            "3",
            "How often the lock may be asked for in vain, a second apart, before it counts as lost.",
        )
        .command_default(
            "n",
            Kind::Int,
            "1",
            "How many may hold it at the same time.",
        )
        .command(
            "name",
            Kind::String,
            "Name of the session; made from the command if not given.",
        )
        .command(
            "pass-stdin",
            Kind::Bool,
            "Hand this command's stdin to the other.",
        )
        .command_default(
            "shell",
            Kind::Bool,
            "true",
            "Run the command by a shell, that of the environment variable SHELL if there is one.",
        )
        .command(
            "timeout",
            Kind::Duration,
            "How long to wait for the lock, such as 1s or 3h; for ever if not given.",
        )
        .command("try", Kind::Duration, "The old name of -timeout.")
        .command("verbose", Kind::Bool, "Say what happens.")
}

/// What is waited for.
enum Lock {
    Mutex(Mutex),
    Semaphore(Semaphore),
}

/// What came of letting go.
enum Cleanup {
    Done,
    InUse,
}

impl Lock {
    fn describe(&self, prefix: &str) -> String {
        match self {
            Lock::Mutex(mutex) => format!("Setting up lock at path: {}", mutex.key()),
            Lock::Semaphore(semaphore) => format!(
                "Setting up semaphore (limit {}) at prefix: {prefix}",
                semaphore.limit()
            ),
        }
    }

    async fn acquire(&self, client: &Client, session: &Session) -> Result<(), String> {
        match self {
            Lock::Mutex(mutex) => mutex.acquire(client, session).await,
            Lock::Semaphore(semaphore) => semaphore.acquire(client, session).await,
        }
    }

    /// Resolves when the lock is not held any more.
    async fn lost(&self, client: &Client, session: &Session, retries: i64) {
        let (mut index, mut left) = (0, retries);
        loop {
            let held = match self {
                Lock::Mutex(mutex) => mutex.held(client, session, index).await,
                Lock::Semaphore(semaphore) => semaphore.held(client, session, index).await,
            };
            match held {
                Ok(Some(seen)) => {
                    index = seen;
                    left = retries;
                }
                Ok(None) => return,
                Err(_) if left > 0 => {
                    left -= 1;
                    index = 0;
                    crate::drive::sleep(RETRY).await;
                }
                Err(_) => return,
            }
        }
    }

    async fn release(&self, client: &Client, session: &Session) -> Result<(), String> {
        match self {
            Lock::Mutex(mutex) => mutex.release(client, session).await,
            Lock::Semaphore(semaphore) => semaphore.release(client, session).await,
        }
    }

    async fn clean_up(&self, client: &Client) -> Result<Cleanup, String> {
        match self {
            Lock::Mutex(mutex) => mutex.clean_up(client).await,
            Lock::Semaphore(semaphore) => semaphore.clean_up(client).await,
        }
    }
}

fn run(call: &Invocation) -> u8 {
    let args = call.args.args();
    let [prefix, command @ ..] = args.as_slice() else {
        return call.fail("Key prefix and child command must be specified");
    };
    if command.is_empty() {
        return call.fail("Key prefix and child command must be specified");
    }
    let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
    let limit = call.args.int("n");
    if limit < ONE {
        return call.fail("Lock holder limit must be positive");
    }
    let timeout = match call.args.is_set("try") {
        true => call.args.duration("try"),
        false => call.args.duration("timeout"),
    };
    if timeout.0 < 0 {
        return call.fail("Timeout must be positive");
    }
    if call.args.int("monitor-retry") < 0 {
        return call.fail("Number for 'monitor-retry' must be >= 0");
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    if let Err(why) = client.node_name() {
        return call.fail(format!("Error querying Consul agent: {why}"));
    }
    let name = match call.args.string("name") {
        "" => format!("Consul lock for '{}' at '{prefix}'", command.join(" ")),
        name => name.to_owned(),
    };
    let lock = match limit {
        ONE => Lock::Mutex(Mutex::new(prefix)),
        limit => Lock::Semaphore(Semaphore::new(prefix, limit)),
    };
    let verbose = call.args.bool("verbose");
    let mut holder = Holder {
        call,
        client,
        lock,
        verbose,
    };
    holder.tell(holder.lock.describe(prefix));
    crate::net::block_on(holder.run(&name, command, timeout.to_std()))
}

/// The command while it runs.
struct Holder<'a> {
    call: &'a Invocation,
    client: Client,
    lock: Lock,
    verbose: bool,
}

impl Holder<'_> {
    fn tell(&self, text: impl AsRef<str>) {
        if self.verbose {
            say(text);
        }
    }

    async fn run(&mut self, name: &str, command: &[String], timeout: Duration) -> u8 {
        let mut signals = match SignalStream::new() {
            Ok(signals) => signals,
            Err(why) => return self.call.fail(format!("Lock setup failed: {why}")),
        };
        self.tell("Attempting lock acquisition");
        let session = match Session::create(&self.client, name).await {
            Ok(session) => session,
            Err(why) => {
                return self.call.fail(format!(
                    "Lock acquisition failed: failed to create session: {why}"
                ));
            }
        };
        let code = {
            let work = self.hold(&session, command, timeout, &mut signals);
            let renew = async {
                session.keep_alive(&self.client).await;
                std::future::pending().await
            };
            work.or(renew).await
        };
        session.destroy(&self.client).await;
        code
    }

    /// Acquires, runs the command, lets go; the exit code.
    async fn hold(
        &self,
        session: &Session,
        command: &[String],
        timeout: Duration,
        signals: &mut SignalStream,
    ) -> u8 {
        let acquire = async { Some(self.lock.acquire(&self.client, session).await) };
        let give_up = async {
            match timeout {
                Duration::ZERO => std::future::pending().await,
                limit => crate::drive::sleep(limit).await,
            }
            None
        };
        let interrupted = async {
            signals.next().await;
            None
        };
        match acquire.or(give_up).or(interrupted).await {
            Some(Ok(())) => {}
            Some(Err(why)) => {
                return self.call.fail(format!("Lock acquisition failed: {why}"));
            }
            None => {
                return self
                    .call
                    .fail("Shutdown triggered or timeout during lock acquisition");
            }
        }
        let failed = self.run_child(session, command, signals).await;
        let mut code = match failed && self.call.args.bool("child-exit-code") {
            true => CHILD_FAILED,
            false => OK,
        };
        if let Err(why) = self.lock.release(&self.client, session).await {
            error(&format!("Lock release failed: {why}"));
            return FAILED;
        }
        match self.lock.clean_up(&self.client).await {
            Ok(Cleanup::Done) => self.tell("Cleanup succeeded"),
            Ok(Cleanup::InUse) => self.tell("Cleanup aborted, lock in use"),
            Err(why) => {
                error(&format!("Lock cleanup failed: {why}"));
                code = FAILED;
            }
        }
        code
    }

    /// Runs the command until it ends, the lock is lost or a signal comes; whether it failed by itself.
    async fn run_child(
        &self,
        session: &Session,
        command: &[String],
        signals: &mut SignalStream,
    ) -> bool {
        self.tell("Starting handler");
        let args = &self.call.args;
        let mut child = match Child::start(command, args.bool("shell"), args.bool("pass-stdin")) {
            Ok(child) => child,
            Err(why) => {
                error(&format!("Error starting handler: {why}"));
                return true;
            }
        };
        if args.bool("pass-stdin") {
            self.tell("Stdin passed to handler process");
        }
        enum Event {
            Ended(Ended),
            Lost,
            Interrupted,
        }
        let retries = args.int("monitor-retry");
        let event = {
            let ended = async { Event::Ended(child.wait().await) };
            let lost = async {
                self.lock.lost(&self.client, session, retries).await;
                Event::Lost
            };
            let interrupted = async {
                signals.next().await;
                Event::Interrupted
            };
            ended.or(lost).or(interrupted).await
        };
        // Of a child that was ended, it does not count how.
        match event {
            Event::Ended(ended) => {
                self.tell_end(&ended);
                self.tell("Child terminated, releasing lock");
                return !ended.is_success();
            }
            Event::Lost => self.tell("Lock lost, killing child"),
            Event::Interrupted => self.tell("Shutdown triggered, killing child"),
        }
        self.end_child(&mut child).await;
        false
    }

    fn tell_end(&self, ended: &Ended) {
        if let Some(why) = ended.failure() {
            error(&format!("Error running handler: {why}"));
        }
    }

    async fn end_child(&self, child: &mut Child) {
        self.tell(format!("Terminating child pid {}", child.id()));
        if let Some(ended) = child.terminate().await {
            self.tell_end(&ended);
            self.tell("Child terminated");
            return;
        }
        self.tell(format!(
            "Child did not exit after grace period of {}s",
            child::GRACE.as_secs()
        ));
        self.tell(format!("Killing child pid {}", child.id()));
        let ended = child.kill().await;
        self.tell_end(&ended);
    }
}

/// Path of a key in the API.
fn path(key: &str) -> String {
    format!("/v1/kv/{key}")
}

/// Removes a key unless it was changed meanwhile.
async fn remove(client: &Client, entry: &DirEntry) -> Result<Cleanup, String> {
    let query = [("cas", entry.modify_index.to_string())];
    let answer = client
        .ask(Method::DELETE, &path(&entry.key), &query, Vec::new())
        .await?
        .ok()
        .map_err(|why| format!("failed to remove lock: {why}"))?;
    match answer.trim_ascii() == b"true" {
        true => Ok(Cleanup::Done),
        false => Ok(Cleanup::InUse),
    }
}
