//! The log: one backend for the whole process, which writes Consul's lines to stdout, to a file, to
//! syslog, and to whoever follows over `/v1/agent/monitor`.
//!
//! Rooms log through the `log` crate; `target` is Consul's logger name (`agent.http`), key-value pairs
//! come after the message: `warn!(target: "agent", check = id; "Check is now critical")`.
//! Holds true: a line is built once per form that somebody wants, and not at all when nobody wants its
//! level; a follower that is slow loses lines, never slows the agent.
//! Source: `docs/reference/config.md` section 14, `docs/reference/http-2.md` section 5.5.

mod file;
mod format;
mod syslog;

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use smol::channel::{Receiver, Sender, TrySendError};

use crate::config;
use crate::net::dial::errno_text;
use crate::structs::{Error, Result};

use file::LogFile;
use syslog::Syslog;

/// How many lines a follower may be behind.
const FOLLOWER_BUFFER: usize = 512;
/// The most followers at a time.
const MAX_FOLLOWERS: usize = 64;
/// The most lines kept until the banner is printed.
const MAX_PENDING: usize = 1024;
/// Age at which a log file is rotated unless configured.
const DEFAULT_ROTATION: Duration = Duration::from_secs(24 * 3600);

/// Reads the name of a level, in any case: trace, debug, info, warn, err or error.
pub fn parse_level(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_lowercase().as_str() {
        "trace" => Some(LevelFilter::Trace),
        "debug" => Some(LevelFilter::Debug),
        "info" => Some(LevelFilter::Info),
        "warn" => Some(LevelFilter::Warn),
        "err" | "error" => Some(LevelFilter::Error),
        _ => None,
    }
}

/// A follower of the log.
struct Follower {
    level: LevelFilter,
    json: bool,
    sender: Sender<String>,
}

struct Sinks {
    level: LevelFilter,
    json: bool,
    /// Lines that wait for the banner; `None` once it is printed.
    pending: Option<Vec<String>>,
    file: Option<LogFile>,
    syslog: Option<Syslog>,
    followers: Vec<Follower>,
}

struct Backend {
    sinks: Mutex<Sinks>,
}

static BACKEND: OnceLock<Backend> = OnceLock::new();

fn sinks() -> Option<MutexGuard<'static, Sinks>> {
    let backend = BACKEND.get()?;
    Some(backend.lock())
}

impl Backend {
    fn lock(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At boot the agent may be there before syslog is: how often that is tried again, and after how long.
const SYSLOG_TRIES: u32 = 12;
const SYSLOG_PAUSE: Duration = Duration::from_secs(5);

/// Nothing runs yet that could be held up by waiting here.
fn open_syslog(facility: &str) -> Result<Syslog> {
    let failed = |e: &dyn fmt::Display| format!("Syslog setup error: {e}");
    for _ in 0..SYSLOG_TRIES {
        match Syslog::open(facility) {
            Ok(syslog) => return Ok(syslog),
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                return Err(Error::new(failed(&e)));
            }
            Err(e) => eprintln!("==> {}, trying again in 5s", failed(&e)),
        }
        std::thread::sleep(SYSLOG_PAUSE);
    }
    Syslog::open(facility).map_err(|e| Error::new(failed(&e)))
}

/// Sets the log up as configured; lines are kept back until [`release`]. A second call changes nothing.
///
/// # Errors
/// When the log file or syslog cannot be opened.
pub fn init(options: &config::Log) -> Result<()> {
    let level = parse_level(&options.level).unwrap_or(LevelFilter::Info);
    let file = if options.file.is_empty() {
        None
    } else {
        let age = if options.rotate_duration.is_zero() {
            DEFAULT_ROTATION
        } else {
            options.rotate_duration
        };
        let size = u64::try_from(options.rotate_bytes).unwrap_or(0);
        let opened = LogFile::open(&options.file, size, age, options.rotate_max_files);
        Some(opened.map_err(|e| {
            let (file, why) = (&options.file, errno_text(&e));
            Error::new(format!("Failed to setup logging: open {file}: {why}"))
        })?)
    };
    let syslog = if options.syslog {
        Some(open_syslog(&options.syslog_facility)?)
    } else {
        None
    };
    let sinks = Sinks {
        level,
        json: options.json,
        pending: Some(Vec::new()),
        file,
        syslog,
        followers: Vec::new(),
    };
    let mut fresh = false;
    let backend = BACKEND.get_or_init(|| {
        fresh = true;
        Backend {
            sinks: Mutex::new(sinks),
        }
    });
    if fresh && log::set_logger(backend).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Prints what was kept back, and from now on every line as it comes.
pub fn release() {
    let Some(mut sinks) = sinks() else {
        return;
    };
    for line in sinks.pending.take().unwrap_or_default() {
        print(&line);
    }
}

/// Changes the level of what is logged.
pub fn set_level(level: LevelFilter) {
    if let Some(mut sinks) = sinks() {
        sinks.level = level;
        sinks.apply_level();
    }
}

/// Follows the log from now on, one line per message, without line ends.
///
/// # Errors
/// When too many follow already, or nothing is logged in this process.
pub fn follow(level: LevelFilter, json: bool) -> Result<Receiver<String>> {
    let mut sinks = sinks().ok_or_else(|| Error::new("the log is not set up"))?;
    sinks.followers.retain(|f| !f.sender.is_closed());
    if sinks.followers.len() >= MAX_FOLLOWERS {
        return Err(Error::new(format!(
            "{MAX_FOLLOWERS} clients follow the log already; end one first"
        )));
    }
    let (sender, receiver) = smol::channel::bounded(FOLLOWER_BUFFER);
    sinks.followers.push(Follower {
        level,
        json,
        sender,
    });
    sinks.apply_level();
    Ok(receiver)
}

impl Sinks {
    fn apply_level(&self) {
        let followers = self.followers.iter().map(|f| f.level);
        log::set_max_level(followers.fold(self.level, Ord::max));
    }

    fn write(&mut self, record: &Record<'_>) {
        let mut lines = format::Lines::new(record);
        if record.level() <= self.level {
            let line = lines.get(self.json);
            match &mut self.pending {
                Some(pending) if pending.len() < MAX_PENDING => pending.push(line.to_owned()),
                Some(_) => {}
                None => print(line),
            }
            if let Some(file) = &mut self.file {
                file.write(line);
            }
            if let Some(syslog) = &self.syslog {
                syslog.write(record.level(), lines.message());
            }
        }
        let before = self.followers.len();
        self.followers.retain(|follower| {
            if record.level() > follower.level {
                return !follower.sender.is_closed();
            }
            let line = lines.get(follower.json).to_owned();
            !matches!(follower.sender.try_send(line), Err(TrySendError::Closed(_)))
        });
        if self.followers.len() < before {
            self.apply_level();
        }
    }
}

/// A line on stdout, indented as Consul does.
fn print(line: &str) {
    let text = format!("    {line}\n");
    // A closed stdout must not end the agent.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

impl Log for Backend {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if format::is_ours(record) {
            self.lock().write(record);
        }
    }

    fn flush(&self) {}
}
