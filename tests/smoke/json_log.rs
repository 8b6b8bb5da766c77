//! With `log_json` everything an agent writes to its standard output is JSON, a line each, so that programs that
//! collect logs can read all of it.
//!
//! Source: the output of a running Consul 1.8.7.

use std::time::Duration;

use super::common::agent::{Agent, Plan};
use super::common::harness::Outcome;
use super::common::json::Json;
use super::common::{Loopback, consul_lite, wait_until};

const WITHIN: Duration = Duration::from_secs(60);

pub fn nothing_but_json() -> Outcome {
    let net = Loopback::claim();
    let mut agent = Agent::start(&Plan {
        binary: &consul_lite(),
        ip: net.ip(1),
        node: "n1",
        config: vec![("50-log.json".into(), r#"{"log_json": true}"#.into())],
    });
    agent.wait_ready(WITHIN);
    let text = wait_until(WITHIN, "the log", || {
        let text = std::fs::read_to_string(agent.dir().join("log")).ok()?;
        text.contains("Synced node info").then_some(text)
    });
    // The last line may still be on its way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let object = matches!(Json::parse(line.trim()), Some(Json::Object(_)));
        assert!(object, "{line}");
    }
    Outcome::Passed
}
