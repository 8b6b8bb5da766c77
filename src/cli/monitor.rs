//! `monitor`: the agent's log, as it is written.

use hyper::{Method, StatusCode};
use smol::future::FutureExt;

use super::client::Client;
use super::command::{Command, FAILED, Invocation, OK, agent_flags, error, print};
use super::simple;
use crate::cli::agent::signals::SignalStream;
use crate::config::flags::{FlagSet, Kind};
use crate::net::http_stream::Upload;

pub const COMMAND: Command = simple(
    "monitor",
    "Shows the agent's log as it is written",
    "Usage: consul monitor [options]

  Shows the agent's log as it is written, at a level of its own choice, until interrupted.",
    flags,
    run,
);

fn flags() -> FlagSet {
    agent_flags()
        .command("log-json", Kind::Bool, "Lines as JSON.")
        .command_default(
            "log-level",
            Kind::String,
            "INFO",
            "The least important level to show.",
        )
}

fn run(call: &Invocation) -> u8 {
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let mut query = vec![("loglevel", call.args.string("log-level").to_owned())];
    if call.args.bool("log-json") {
        query.push(("logjson", "true".to_owned()));
    }
    let mut signals = match SignalStream::new() {
        Ok(signals) => signals,
        Err(why) => return call.fail(format!("Error starting monitor: {why}")),
    };
    crate::net::block_on(async {
        let ended = async {
            signals.next().await;
            OK
        };
        follow(call, &client, &query).or(ended).await
    })
}

async fn follow(call: &Invocation, client: &Client, query: &[(&'static str, String)]) -> u8 {
    let opened = client.open(Method::GET, "/v1/agent/monitor", query, Upload::Bytes(None));
    let mut log = match opened.await {
        Ok(answer) => answer,
        Err(why) => return call.fail(format!("Error starting monitor: {why}")),
    };
    if log.head.status != StatusCode::OK {
        let body = log.whole(64 * 1024).await.unwrap_or_default();
        return call.fail(format!(
            "Error starting monitor: Unexpected response code: {} ({})",
            log.head.status.as_u16(),
            String::from_utf8_lossy(&body)
        ));
    }
    while let Ok(Some(lines)) = log.chunk().await {
        print(&lines);
    }
    error("");
    error("Remote side ended the monitor! This usually means that the");
    error("remote side has exited or crashed.");
    FAILED
}
