//! `watch`: shows something of the catalog or the key/value store once, or runs a command whenever it changes.
//!
//! Leaves to others: what is asked and what counts as a change, which the watches of an agent's configuration
//! share (`agent::watch::plan`). A command that runs when a signal comes is left to itself, as with Consul.
//! Source: `docs/reference/cli.md` section 10.

use std::collections::BTreeMap;
use std::process::Stdio;

use async_signal::{Signal, Signals};
use hyper::Method;
use smol::future::FutureExt;
use smol::io::AsyncWriteExt;
use smol::stream::StreamExt;

use super::client::{Client, stamp};
use super::command::{Command, FAILED, Invocation, OK, error, print, say, server_flags};
use super::lock::child::{command, start_error, status_text};
use super::simple;
use crate::agent::watch::params::Params;
use crate::agent::watch::plan::{Answer, News, Plan, Progress};
use crate::config::flags::{FlagSet, Kind, parse_bool};
use crate::drive;
use crate::net::dial::errno_text;
use crate::structs::go::{Any, GoDuration, quote};
use crate::wire::json;

/// Types that make sense in an agent's configuration only.
const AGENT_ONLY: [&str; 3] = ["connect_roots", "connect_leaf", "agent_service"];

pub const COMMAND: Command = simple(
    "watch",
    "Waits for changes and runs a command on each",
    "Usage: consul watch [options] [child...]

  Shows the current state of what -type and the flags of that type name, and ends. With a command it stays,
  and runs the command for the current state and for every change: the state is on its stdin as JSON, the
  index in its environment as CONSUL_INDEX.",
    flags,
    run,
);

fn flags() -> FlagSet {
    server_flags()
        .command("key", Kind::String, "The key of type key.")
        .command("name", Kind::String, "The event's name of type event; all events if not given.")
        .command(
            "passingonly",
            Kind::String,
            "`[true|false]`: leave out instances of type service that do not pass all checks. False if not given.",
        )
        .command("prefix", Kind::String, "The prefix of type keyprefix.")
        .command("service", Kind::String, "The service of type service, or that of type checks.")
        .command_default(
            "shell",
            Kind::Bool,
            "true",
            "Run the command by a shell, that of the environment variable SHELL if there is one.",
        )
        .command("state", Kind::String, "The state of type checks; any if not given.")
        .command(
            "tag",
            Kind::List,
            "A tag that instances of type service must have. May be given several times.",
        )
        .command(
            "type",
            Kind::String,
            "What to watch: key, keyprefix, services, nodes, service, checks or event.",
        )
}

fn run(call: &Invocation) -> u8 {
    let kind = call.args.string("type");
    if kind.is_empty() {
        return call.misuse("Watch type must be specified");
    }
    if AGENT_ONLY.contains(&kind) {
        return call.fail(format!("Type {kind} is not supported in the CLI tool"));
    }
    let plan = match parameters(call)
        .and_then(|mut params| Plan::parse(&mut params).map_err(|e| e.text().to_owned()))
    {
        Ok(plan) => plan,
        Err(why) => return call.fail(why),
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    if let Err(why) = client.node_name() {
        return call.fail(format!("Error querying Consul agent: {why}"));
    }
    // SIGHUP ends the process in the system's own way.
    let mut signals = match Signals::new([Signal::Int, Signal::Term]) {
        Ok(signals) => signals,
        Err(why) => return call.fail(format!("Error watching for signals: {}", errno_text(&why))),
    };
    crate::net::block_on(async {
        let interrupted = async {
            signals.next().await;
            OK
        };
        interrupted.or(watch(call, &client, &plan)).await
    })
}

/// The plan's parameters, of the flags that were given.
fn parameters(call: &Invocation) -> Result<Params, String> {
    let mut params = BTreeMap::new();
    for name in ["type", "key", "name", "prefix", "service", "state"] {
        let text = call.args.string(name);
        if !text.is_empty() {
            params.insert(name.to_owned(), Any::String(text.to_owned()));
        }
    }
    let tags = call.args.list("tag");
    if !tags.is_empty() {
        let tags = tags.into_iter().map(Any::String).collect();
        params.insert("tag".to_owned(), Any::Array(tags));
    }
    if call.args.bool("stale") {
        params.insert("stale".to_owned(), Any::Bool(true));
    }
    let passing_only = call.args.string("passingonly");
    if !passing_only.is_empty() {
        let value = parse_bool(passing_only).ok_or_else(|| {
            let text = quote(passing_only);
            format!("Failed to parse passingonly flag: strconv.ParseBool: parsing {text}: invalid syntax")
        })?;
        params.insert("passingonly".to_owned(), Any::Bool(value));
    }
    Ok(Params(params))
}

/// Asks until there is nothing more to do; the exit code.
async fn watch(call: &Invocation, client: &Client, plan: &Plan) -> u8 {
    let mut progress = Progress::default();
    let words = call.args.args();
    loop {
        match ask(client, plan, &mut progress).await {
            Ok(Some(news)) if words.is_empty() => {
                print(&json::pretty(&news.json));
                say("");
                return OK;
            }
            Ok(Some(news)) => {
                if let Err(why) = tell(&words, call.args.bool("shell"), news).await {
                    error(&why);
                    return FAILED;
                }
            }
            Ok(None) => {}
            Err(why) => {
                let retry = progress.failed();
                let (kind, shown) = (&plan.name, GoDuration::from(retry));
                error(&format!(
                    "{} [ERROR] watch.watch: Watch errored: type={kind} error=\"{why}\" retry={shown}",
                    stamp()
                ));
                drive::sleep(retry).await;
            }
        }
    }
}

async fn ask(
    client: &Client,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<Option<News>, String> {
    let mut query = plan.query(progress);
    // The client says these of every request.
    query.params.retain(|(name, _)| *name != "stale");
    let reply = client
        .ask(Method::GET, &query.path, &query.params, Vec::new())
        .await?;
    let answer = Answer {
        status: reply.status.as_u16(),
        index: reply.index.to_string(),
        hash: String::new(),
        body: reply.body,
    };
    progress
        .take(plan, &answer)
        .map_err(|e| e.text().to_owned())
}

/// Runs the command with the news and waits for its end.
async fn tell(words: &[String], shell: bool, news: News) -> Result<(), String> {
    let mut command = command(words, shell);
    command
        .env("CONSUL_INDEX", news.index.to_string())
        .stdin(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|why| format!("Error starting handler: {}", start_error(words, &why)))?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            let mut input = news.json;
            input.push(b'\n');
            // Whoever does not want to read its input need not.
            let _ = stdin.write_all(&input).await;
        }
    };
    let (ended, ()) = smol::future::zip(child.status(), write).await;
    let failure = match ended {
        Ok(status) => status_text(status),
        Err(why) => Some(errno_text(&why)),
    };
    match failure {
        Some(why) => Err(format!("Error executing handler: {why}")),
        None => Ok(()),
    }
}
