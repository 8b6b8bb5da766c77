//! A message as a line of text and as a line of JSON, in the form of Consul's log.
//!
//! Source: `docs/reference/config.md` section 14.

use std::fmt::Write;
use std::time::SystemTime;

use log::kv::{Key, Value, VisitSource};
use log::{Level, Record};

use crate::drive::wall;
use crate::structs::go::GoTime;

/// Prefix of the module paths of this package.
const CRATE: &str = "consul_lite::";

/// Whether a message comes from this agent, and not from the depths of a library.
pub(super) fn is_ours(record: &Record<'_>) -> bool {
    let target = record.target();
    target == "agent"
        || target.starts_with("agent.")
        || target.starts_with("connect.")
        || target.starts_with(CRATE)
        || record.level() <= Level::Warn
}

/// The logger's name: the target, or the one of the room that logged without naming any.
fn module<'a>(record: &'a Record<'_>) -> &'a str {
    let target = record.target();
    let Some(path) = target.strip_prefix(CRATE) else {
        return target;
    };
    match path.split("::").next().unwrap_or_default() {
        "http" => "agent.http",
        "dns" => "agent.dns",
        "server" | "store" | "gossip" => "agent.server",
        "raft" | "drive" => "agent.server.raft",
        _ => "agent",
    }
}

/// The lines of one message, each built when first wanted.
pub(super) struct Lines<'a, 'r> {
    record: &'a Record<'r>,
    at: SystemTime,
    text: Option<String>,
    json: Option<String>,
    /// Where the message begins in `text`, after time and level.
    message: usize,
}

impl<'a, 'r> Lines<'a, 'r> {
    pub(super) fn new(record: &'a Record<'r>) -> Self {
        Self {
            record,
            at: wall(),
            text: None,
            json: None,
            message: 0,
        }
    }

    /// The line in the wanted form.
    pub(super) fn get(&mut self, json: bool) -> &str {
        if json {
            let (record, at) = (self.record, self.at);
            self.json.get_or_insert_with(|| json_line(record, at))
        } else {
            let (record, at, start) = (self.record, self.at, &mut self.message);
            self.text.get_or_insert_with(|| {
                let (line, message) = text_line(record, at);
                *start = message;
                line
            })
        }
    }

    /// The text without time and level.
    pub(super) fn message(&mut self) -> &str {
        self.get(false);
        let text = self.text.as_deref().unwrap_or_default();
        text.get(self.message..).unwrap_or_default()
    }
}

/// Offset of local time from UTC at a moment, in seconds.
fn offset(at: SystemTime) -> i64 {
    let seconds = GoTime::from_system(at).unix();
    // Narrower on old 32-bit systems, which then know no later time anyway.
    let time = seconds as libc::time_t;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r(3) reads the first argument and fills the second, both of which live here; an
    // all-zero tm is valid, so it may be read even if the call failed.
    let parts = unsafe {
        libc::localtime_r(&time, parts.as_mut_ptr());
        parts.assume_init()
    };
    Into::<i64>::into(parts.tm_gmtoff)
}

/// Local time with `digits` digits of a second; `colon` separates the hours of the offset from its minutes.
fn stamp(at: SystemTime, digits: u32, colon: &str) -> String {
    let utc = GoTime::from_system(at);
    let offset = offset(at);
    let local = GoTime::from_unix(utc.unix() + offset, utc.nanos);
    let (y, mo, d, h, mi, s) = local.civil();
    let part = utc.nanos / 10u32.pow(9 - digits);
    let width = digits as usize;
    let mut out = format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{part:0width$}");
    if offset == 0 {
        out.push('Z');
    } else {
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.abs() / 60;
        // Writing into a String cannot fail.
        let _ = write!(out, "{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60);
    }
    out
}

fn text_line(record: &Record<'_>, at: SystemTime) -> (String, usize) {
    let level = match record.level() {
        Level::Error => "[ERROR]",
        Level::Warn => "[WARN] ",
        Level::Info => "[INFO] ",
        Level::Debug => "[DEBUG]",
        Level::Trace => "[TRACE]",
    };
    let mut line = format!("{} {level} ", stamp(at, 3, ""));
    let start = line.len();
    let _ = write!(line, "{}: {}", module(record), record.args());
    let mut pairs = TextPairs {
        line: &mut line,
        any: false,
    };
    // The visitor never fails.
    let _ = record.key_values().visit(&mut pairs);
    (line, start)
}

struct TextPairs<'a> {
    line: &'a mut String,
    any: bool,
}

impl<'kvs> VisitSource<'kvs> for TextPairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        if !self.any {
            self.line.push(':');
            self.any = true;
        }
        let text = value.to_string();
        let quote = if text.contains([' ', '\t', '\n', '\r']) {
            "\""
        } else {
            ""
        };
        let _ = write!(self.line, " {key}={quote}{text}{quote}");
        Ok(())
    }
}

fn json_text(text: &str) -> String {
    let text = crate::wire::json::to_vec(&text).unwrap_or_default();
    String::from_utf8(text).unwrap_or_default()
}

fn json_line(record: &Record<'_>, at: SystemTime) -> String {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let mut line = format!(
        "{{\"@level\":\"{level}\",\"@message\":{},\"@module\":{},\"@timestamp\":\"{}\"",
        json_text(&record.args().to_string()),
        json_text(module(record)),
        stamp(at, 6, ":")
    );
    // The visitor never fails.
    let _ = record
        .key_values()
        .visit(&mut JsonPairs { line: &mut line });
    line.push('}');
    line
}

struct JsonPairs<'a> {
    line: &'a mut String,
}

impl<'kvs> VisitSource<'kvs> for JsonPairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let number = value.to_i64().is_some() || value.to_u64().is_some();
        let plain = number || value.to_bool().is_some();
        let text = value.to_string();
        let text = if plain { text } else { json_text(&text) };
        let _ = write!(self.line, ",{}:{text}", json_text(key.as_str()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_consuls_form() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_500_250);
        let pairs = [("check", "c"), ("error", "no such > thing")];
        let record = Record::builder()
            .level(Level::Warn)
            .target("agent")
            .args(format_args!("Check failed"))
            .key_values(&pairs)
            .build();
        let (text, start) = text_line(&record, at);
        assert_eq!(
            &text[start..],
            "agent: Check failed: check=c error=\"no such > thing\""
        );
        assert!(text.contains(" [WARN]  agent"), "{text}");
        let json = json_line(&record, at);
        assert!(
            json.starts_with(
                "{\"@level\":\"warn\",\"@message\":\"Check failed\",\"@module\":\"agent\",\"@timestamp\":\""
            ),
            "{json}"
        );
        assert!(
            json.ends_with(",\"check\":\"c\",\"error\":\"no such \\u003e thing\"}"),
            "{json}"
        );
    }

    #[test]
    fn rooms_without_a_name_get_consuls() {
        let name = |target: &'static str| {
            let record = Record::builder().target(target).build();
            module(&record).to_owned()
        };
        assert_eq!(name("consul_lite::http::server"), "agent.http");
        assert_eq!(name("agent.dns"), "agent.dns");
        assert_eq!(name("consul_lite::agent::load"), "agent");
    }
}
