//! What is done with news: a command that reads them, or a request that carries them.
//!
//! Holds true: of a handler's output only the last bytes are kept; a handler that fails is logged and does
//! not end its watch; a command ends with its watch.
//! Source: `docs/reference/config.md` section 8; log lines recorded of 1.8.7.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use log::{debug, error, trace};

use super::params::go_type;
use super::plan::News;
use crate::agent::checks::script::{Script, Tail};
use crate::drive::{now, sleep_until};
use crate::net::http_client::{Ask, exchange};
use crate::net::tls_client::{self, ClientTls};
use crate::net::url::Url;
use crate::sorted;
use crate::structs::go::{Any, GoDuration};
use crate::structs::{Error, Result};

/// How much of a handler's output is kept.
const MAX_OUTPUT: usize = 4096;
/// How much of an HTTP handler's answer is read.
const MAX_ANSWER: usize = 1 << 20;
/// How long an HTTP handler may take when its definition does not say.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// Go's words for a timeout before the answer's head arrived.
const TIMED_OUT: &str =
    "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

/// What is done with news.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Handler {
    /// A command: what the log calls it, and the program with its arguments.
    Script(String, Vec<String>),
    /// A request.
    Http(HttpTarget),
}

/// Where and how an HTTP handler is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HttpTarget {
    path: String,
    method: String,
    timeout: Duration,
    header: Vec<(String, String)>,
    tls_skip_verify: bool,
}

impl HttpTarget {
    /// Reads `http_handler_config`.
    ///
    /// # Errors
    /// Consul's words, all wrong types at once.
    pub fn parse(config: &Any) -> Result<Self> {
        let Any::Map(fields) = config else {
            let kind = go_kind(config);
            return Err(Error::new(format!("'' expected a map, got '{kind}'")));
        };
        let mut faults = Vec::new();
        let mut target = Self {
            path: String::new(),
            method: String::new(),
            timeout: HTTP_TIMEOUT,
            header: Vec::new(),
            tls_skip_verify: false,
        };
        let mut timeout = String::new();
        for (key, value) in fields {
            let name = key.to_ascii_lowercase();
            match name.as_str() {
                "path" => text(&name, value, &mut target.path, &mut faults),
                "method" => text(&name, value, &mut target.method, &mut faults),
                "timeout" => text(&name, value, &mut timeout, &mut faults),
                "header" => header(value, &mut target.header, &mut faults),
                "tls_skip_verify" => match value {
                    Any::Bool(skip) => target.tls_skip_verify = *skip,
                    Any::Nil => {}
                    other => faults.push(unconvertible(&name, "bool", other)),
                },
                _ => {}
            }
        }
        if !faults.is_empty() {
            sorted::sort(&mut faults);
            let list = faults.join("\n* ");
            let count = faults.len();
            return Err(Error::new(format!(
                "{count} error(s) decoding:\n\n* {list}"
            )));
        }
        if target.path.is_empty() {
            return Err(Error::new("Requires 'path' to be set"));
        }
        if target.method.is_empty() {
            "POST".clone_into(&mut target.method);
        }
        if !timeout.is_empty() {
            let parsed = GoDuration::parse(&timeout)
                .map_err(|e| Error::new(format!("Failed to parse timeout: {e}")))?;
            target.timeout = parsed.to_std();
        }
        Ok(target)
    }

    async fn call(&self, news: &News) {
        let watch = &self.path;
        match self.ask(news).await {
            Ok((status, line, output)) => {
                if (200..300).contains(&status) {
                    trace!(target: "agent", watch = watch.as_str(), output = output.as_str();
                        "http watch handler output");
                } else {
                    error!(target: "agent", watch = watch.as_str(), status = line.as_str(),
                        output = output.as_str(); "http watch handler failed with output");
                }
            }
            Err(e) => {
                let method = capitalized(&self.method);
                let why = format!("{method} \"{watch}\": {e}");
                error!(target: "agent", watch = watch.as_str(), error = why.as_str();
                    "Failed to invoke http watch handler");
            }
        }
    }

    async fn ask(&self, news: &News) -> Result<(u16, String, String)> {
        let url = Url::parse(&self.path)?;
        let mut headers = vec![
            ("User-Agent".to_owned(), "Go-http-client/1.1".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("X-Consul-Index".to_owned(), news.index.to_string()),
        ];
        for (name, value) in &self.header {
            headers.push((name.clone(), value.clone()));
        }
        let tls = if url.is_tls() {
            let options = ClientTls {
                skip_verify: self.tls_skip_verify,
                alpn: vec!["http/1.1"],
                ..ClientTls::default()
            };
            let config =
                tls_client::client_config(&options).map_err(|e| Error::new(e.to_string()))?;
            Some((config, String::new()))
        } else {
            None
        };
        let mut body = news.json.clone();
        body.push(b'\n');
        let ask = Ask {
            method: self.method.clone(),
            url,
            headers,
            body,
            max_body: MAX_ANSWER,
            socket: None,
        };
        let expired = pin!(sleep_until(now() + self.timeout));
        let answer = exchange(&ask, tls.as_ref(), expired)
            .await?
            .ok_or_else(|| Error::new(TIMED_OUT))?;
        let mut tail = Tail::new(MAX_OUTPUT);
        tail.push(&answer.body);
        Ok((answer.status, answer.status_line, tail.text()))
    }
}

/// Go's name of a value's kind.
fn go_kind(value: &Any) -> &'static str {
    match value {
        Any::Array(_) => "slice",
        Any::Map(_) => "map",
        other => go_type(other),
    }
}

fn unconvertible(name: &str, wanted: &str, got: &Any) -> String {
    let got = go_type(got);
    format!("'{name}' expected type '{wanted}', got unconvertible type '{got}'")
}

fn text(name: &str, value: &Any, out: &mut String, faults: &mut Vec<String>) {
    match value {
        Any::String(text) => out.clone_from(text),
        Any::Nil => {}
        other => faults.push(unconvertible(name, "string", other)),
    }
}

fn header(value: &Any, out: &mut Vec<(String, String)>, faults: &mut Vec<String>) {
    let Any::Map(lines) = value else {
        let kind = go_kind(value);
        faults.push(format!("'header' expected a map, got '{kind}'"));
        return;
    };
    for (name, values) in lines {
        let Any::Array(values) = values else {
            let kind = go_kind(values);
            faults.push(format!(
                "'header[{name}]': source data must be an array or slice, got {kind}"
            ));
            continue;
        };
        for (n, value) in values.iter().enumerate() {
            let mut line = String::new();
            text(&format!("header[{name}][{n}]"), value, &mut line, faults);
            out.push((name.clone(), line));
        }
    }
}

fn capitalized(method: &str) -> String {
    let mut verb = method.to_lowercase();
    if let Some(first) = verb.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    verb
}

impl Handler {
    /// Hands the news over and waits for the handler's end.
    pub async fn run(&self, news: &News) {
        match self {
            Handler::Http(target) => target.call(news).await,
            Handler::Script(name, args) => run_script(name, args, news).await,
        }
    }
}

async fn run_script(name: &str, args: &[String], news: &News) {
    let index = news.index.to_string();
    let env = [("CONSUL_INDEX", index.as_str())];
    let fault = |why: &str| {
        let why = log_value(why);
        error!(target: "agent", "Failed to run watch handler: watch_handler={name} error={why}");
    };
    let output = match Script::start(args, &env, Stdio::piped(), MAX_OUTPUT) {
        Ok(mut script) => {
            let mut input = news.json.clone();
            input.push(b'\n');
            match script.talk(&input).await {
                Ok(status) => {
                    if let Some(why) = exit_error(status) {
                        fault(&why);
                    }
                }
                Err(e) => fault(&crate::net::dial::errno_text(&e)),
            }
            script.output.text()
        }
        Err(e) => {
            fault(e.text());
            String::new()
        }
    };
    let output = log_value(&output);
    debug!(target: "agent", "watch handler output: watch_handler={name} output={output}");
}

/// A value as the log shows it: in quotes when it is not one word.
pub(super) fn log_value(text: &str) -> String {
    if text.contains([' ', '\t', '\n', '\r', '"', '=']) {
        format!("\"{text}\"")
    } else {
        text.to_owned()
    }
}

/// Go's words for how a command failed, `None` when it did not.
pub fn exit_error(status: ExitStatus) -> Option<String> {
    if status.success() {
        return None;
    }
    let Some(signal) = status.signal() else {
        return Some(format!("exit status {}", status.code().unwrap_or(-1)));
    };
    let name = match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        other => &format!("signal {other}"),
    };
    let dumped = if status.core_dumped() {
        " (core dumped)"
    } else {
        ""
    };
    Some(format!("signal: {name}{dumped}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn map(pairs: &[(&str, Any)]) -> Any {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        Any::Map(pairs.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn wrong_http_handlers_are_told_in_consuls_words() {
        let text = |s: &str| Any::String(s.to_owned());
        // Recorded.
        for (config, fault) in [
            (text("x"), "'' expected a map, got 'string'"),
            (map(&[]), "Requires 'path' to be set"),
            (
                map(&[("path", text("x")), ("timeout", text("x"))]),
                "Failed to parse timeout: time: invalid duration \"x\"",
            ),
            (
                map(&[
                    ("path", text("x")),
                    ("header", map(&[("X", text("y"))])),
                    ("method", Any::Array(vec![text("a"), text("b")])),
                    ("timeout", Any::Float(5.0)),
                ]),
                "3 error(s) decoding:\n\n* 'header[X]': source data must be an array or slice, got string\n\
                 * 'method' expected type 'string', got unconvertible type '[]interface {}'\n\
                 * 'timeout' expected type 'string', got unconvertible type 'float64'",
            ),
            (
                map(&[("path", text("x")), ("header", Any::Array(vec![text("x")]))]),
                "1 error(s) decoding:\n\n* 'header' expected a map, got 'slice'",
            ),
        ] {
            assert_eq!(HttpTarget::parse(&config), Err(Error::new(fault)));
        }
    }

    #[test]
    fn failures_have_gos_words() {
        assert_eq!(exit_error(ExitStatus::from_raw(0)), None);
        let text = |raw| exit_error(ExitStatus::from_raw(raw)).unwrap_or_default();
        assert_eq!(text(3 << 8), "exit status 3");
        assert_eq!(text(libc::SIGKILL), "signal: killed");
        assert_eq!(text(libc::SIGTERM), "signal: terminated");
    }
}
