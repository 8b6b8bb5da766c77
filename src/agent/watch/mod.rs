//! Watches of the configuration: each asks the agent's own HTTP API over and over and runs its handler when
//! something is new.
//!
//! Holds true: a watch runs its handler once at a time; new watches replace the old ones only when all of
//! them are right. Leaves to others: what is asked and what is news (`plan`), handlers (`handler`).
//! Source: `docs/reference/config.md` section 8; texts recorded of 1.8.7.

pub mod handler;
mod own;
pub mod params;
pub mod plan;
mod shape;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use log::{error, warn};
use smol::future::FutureExt;

use self::handler::{Handler, HttpTarget, log_value};
use self::own::Own;
use self::params::Params;
use self::plan::{News, Plan, Progress};
use super::Agent;
use crate::config::Config;
use crate::drive::{self, Shutdown, Task};
use crate::sorted::IntoMap;
use crate::structs::go::{Any, GoDuration};
use crate::structs::{Error, Result};

/// What runs commands given as one text, when the environment does not say.
const SHELL: &str = "/bin/sh";
/// Breath between two requests, should answers come at once without news.
const BREATH: Duration = Duration::from_millis(100);

/// A watch that can be started.
pub struct Watch {
    plan: Plan,
    handler: Handler,
}

/// A watch at work.
pub(super) struct Watching {
    stop: Shutdown,
    pub(super) task: Task<()>,
}

/// Reads the watches of a configuration.
///
/// # Errors
/// Consul's text for the first that is wrong.
pub fn prepare(config: &Config) -> Result<Vec<Watch>> {
    let watches: Result<Vec<Watch>> = config.watches.iter().map(watch).collect();
    if !config.watches.is_empty() {
        Own::new(config)?;
    }
    watches
}

fn watch(definition: &BTreeMap<String, Any>) -> Result<Watch> {
    // As Consul reads it: a list of one thing is the thing.
    let single = |value: &Any| match value {
        Any::Array(items) if items.len() == 1 => items.first().cloned().unwrap_or_default(),
        value => value.clone(),
    };
    let definition = definition.iter().map(|(k, v)| (k.clone(), single(v)));
    let mut params = Params(definition.into_map());
    match params.0.get("handler_type") {
        None => {
            let script = Any::String("script".to_owned());
            params.0.insert("handler_type".to_owned(), script);
        }
        Some(Any::String(kind)) if kind == "script" || kind == "http" => {}
        Some(other) => {
            let shown = match other {
                Any::String(kind) => kind.clone(),
                Any::Float(n) => format!("%!s(float64={n})"),
                Any::Int(n) => format!("%!s(int={n})"),
                Any::Bool(b) => format!("%!s(bool={b})"),
                other => format!("{other:?}"),
            };
            return Err(Error::new(format!("Handler type '{shown}' not recognized")));
        }
    }
    if let Some(Any::String(kind)) = params.0.get("type")
        && (kind == "connect_roots" || kind == "connect_leaf")
    {
        return Err(Error::new(format!(
            "Watch type {kind} is not allowed in agent config"
        )));
    }
    let plan = Plan::parse(&mut params).map_err(|e| {
        let left = params.go_syntax();
        Error::new(format!("Failed to parse watch ({left}): {e}"))
    })?;
    let handler = handler(&plan)?;
    Ok(Watch { plan, handler })
}

fn handler(plan: &Plan) -> Result<Handler> {
    let mut found = Vec::new();
    match plan.exempt.get("handler") {
        None => {}
        Some(Any::String(command)) => {
            warn!(target: "agent", "The 'handler' field in watches has been deprecated and replaced with the 'args' field. See https://www.consul.io/docs/agent/watches.html");
            found.push(Handler::Script(log_value(command), shell(command)));
        }
        Some(_) => return Err(Error::new("Watch handler must be a string")),
    }
    if let Some(args) = plan.exempt.get("args") {
        let args = arguments(args)?;
        let shown: Vec<String> = args.iter().map(|arg| log_value(arg)).collect();
        let shown = format!("[{}]", shown.join(", "));
        let args = if args.is_empty() { shell("") } else { args };
        found.push(Handler::Script(shown, args));
    }
    if let Some(config) = plan.exempt.get("http_handler_config") {
        found.push(Handler::Http(HttpTarget::parse(config)?));
    }
    let handler = found.pop();
    match handler {
        None => Err(Error::new("Must define a watch handler")),
        Some(_) if !found.is_empty() => Err(Error::new("Only one watch handler allowed")),
        Some(handler) => Ok(handler),
    }
}

/// The words of `args`; one alone may have lost its brackets.
fn arguments(args: &Any) -> Result<Vec<String>> {
    let wrong = || Error::new("Watch args must be a list of strings");
    match args {
        Any::String(one) => Ok(vec![one.clone()]),
        Any::Array(items) => items
            .iter()
            .map(|item| match item {
                Any::String(text) => Ok(text.clone()),
                _ => Err(wrong()),
            })
            .collect(),
        _ => Err(wrong()),
    }
}

/// A command given as one text, as the user's shell runs it.
pub fn shell(command: &str) -> Vec<String> {
    let shell = std::env::var("SHELL").ok().filter(|s| !s.is_empty());
    let shell = shell.unwrap_or_else(|| SHELL.to_owned());
    vec![shell, "-c".to_owned(), command.to_owned()]
}

impl Agent {
    /// Ends the watches that run, after handlers that run, and starts these.
    ///
    /// # Errors
    /// When the agent has no HTTP API to ask.
    pub fn start_watches(&self, watches: Vec<Watch>) -> Result<()> {
        let own = match watches.is_empty() {
            true => None,
            false => Some(Own::new(&self.config())?),
        };
        let mut running = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|watch| !watch.task.is_finished());
        for watch in running.iter() {
            watch.stop.trigger();
        }
        for (watch, own) in watches.into_iter().zip(own.iter().cycle()) {
            let stop = Shutdown::default();
            let task = run(watch, own.clone(), stop.clone());
            let task = self.around.handle.spawn(task);
            running.push(Watching { stop, task });
        }
        Ok(())
    }
}

async fn run(watch: Watch, own: Own, stop: Shutdown) {
    let Watch { plan, handler } = watch;
    let mut progress = Progress::default();
    while !stop.is_triggered() {
        let news = async { Some(next(&plan, &own, &mut progress).await) };
        let stopped = async {
            stop.triggered().await;
            None
        };
        // A handler may itself have asked for the reload that stops its watch.
        if let Some(Some(news)) = news.or(stopped).await {
            handler.run(&news).await;
        }
    }
}

/// Asks once; pauses when there is no news.
async fn next(plan: &Plan, own: &Own, progress: &mut Progress) -> Option<News> {
    let answer = own.ask(plan, progress).await;
    match answer.and_then(|answer| progress.take(plan, &answer)) {
        Ok(Some(news)) => return Some(news),
        Ok(None) => drive::sleep(BREATH).await,
        Err(e) => {
            let retry = progress.failed();
            let (kind, why) = (&plan.name, log_value(e.text()));
            let shown = GoDuration::from(retry);
            error!(target: "agent.watch.watch",
                "Watch errored: type={kind} error={why} retry={shown}");
            drive::sleep(retry).await;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;

    fn parse(definition: &str) -> Result<Watch> {
        let definition = json::from_slice_lenient(definition.as_bytes()).unwrap();
        watch(&definition)
    }

    /// Definitions and Consul's answers to them, recorded.
    const WRONG: &[(&str, &str)] = &[
        (
            r#"{"type":"bogus","args":["true"]}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true"}): Unsupported watch type: bogus"#,
        ),
        (
            r#"{"type":"key","args":"true"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true"}): Must specify a single key to watch"#,
        ),
        (
            r#"{"args":"true"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true", "handler_type":"script"}): Watch type must be specified"#,
        ),
        (r#"{"type":"key","key":"a"}"#, "Must define a watch handler"),
        (
            r#"{"type":"key","key":"a","handler":"true","args":"x"}"#,
            "Only one watch handler allowed",
        ),
        (
            r#"{"type":"key","key":"a","args":"x","extra":1}"#,
            r#"Failed to parse watch (map[string]interface {}{"extra":1}): Invalid parameters: [extra]"#,
        ),
        (
            r#"{"type":"key","key":1,"args":"x"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"x", "key":1}): Expecting key to be a string"#,
        ),
        (
            r#"{"type":"service","service":"a","passingonly":"x","args":"x"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"x", "passingonly":"x"}): Expecting passingonly to be a boolean"#,
        ),
        (
            r#"{"type":"service","service":"a","tag":1,"args":"x"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"x", "tag":1}): Expecting tag to be a string or []string"#,
        ),
        (
            r#"{"type":"key","key":"a","handler_type":"http"}"#,
            r#"Failed to parse watch (map[string]interface {}{"key":"a"}): Handler type 'http' requires 'http_handler_config' to be set"#,
        ),
        (
            r#"{"type":"key","key":"a","handler_type":"http","http_handler_config":{}}"#,
            r#"Failed to parse watch (map[string]interface {}{"http_handler_config":map[string]interface {}{}, "key":"a"}): Failed to parse 'http_handler_config': Requires 'path' to be set"#,
        ),
        (
            r#"{"type":"connect_roots","handler_type":"bogus"}"#,
            "Handler type 'bogus' not recognized",
        ),
        (
            r#"{"type":"nodes","handler_type":1,"args":"x"}"#,
            "Handler type '%!s(float64=1)' not recognized",
        ),
        (
            r#"{"type":"connect_roots"}"#,
            "Watch type connect_roots is not allowed in agent config",
        ),
        (
            r#"{"type":"key","key":"a","args":[1]}"#,
            "Watch args must be a list of strings",
        ),
        (
            r#"{"type":"key","key":"a","handler":1}"#,
            "Watch handler must be a string",
        ),
        (
            r#"{"type":"checks","state":"passing","service":"x","args":"true"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true"}): Cannot specify service and state"#,
        ),
        (
            r#"{"type":"key","key":"a","stale":"x","args":"true"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true", "key":"a", "stale":"x"}): Expecting stale to be a boolean"#,
        ),
        (
            r#"{"type":"key","key":"a","datacenter":["x","y"],"args":"true"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true", "datacenter":[]interface {}{"x", "y"}, "handler_type":"script", "key":"a", "type":"key"}): Expecting datacenter to be a string"#,
        ),
        (
            r#"{"type":"service","args":"true"}"#,
            r#"Failed to parse watch (map[string]interface {}{"args":"true"}): Must specify a single service to watch"#,
        ),
    ];

    #[test]
    fn wrong_watches_are_told_in_consuls_words() {
        for (definition, fault) in WRONG {
            let got = parse(definition)
                .map(|_| ())
                .map_err(|e| e.text().to_owned());
            // JSON numbers of definitions are floats.
            assert_eq!(got, Err((*fault).to_owned()), "{definition}");
        }
    }

    #[test]
    fn handlers_are_commands_or_requests() {
        let name = |definition: &str| match parse(definition).map(|w| w.handler) {
            Ok(Handler::Script(name, args)) => (name, args.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            name(r#"{"type":"nodes","args":["sh","-c","cat; x"]}"#),
            ("[sh, -c, \"cat; x\"]".to_owned(), 3)
        );
        assert_eq!(
            name(r#"{"type":"nodes","handler":"cat"}"#),
            ("cat".to_owned(), 3)
        );
        let http = parse(
            r#"{"type":"nodes","handler_type":"http","http_handler_config":{"path":"http://x"}}"#,
        );
        assert!(matches!(http.map(|w| w.handler), Ok(Handler::Http(_))));
    }
}
