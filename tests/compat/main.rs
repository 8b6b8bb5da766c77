//! The real Consul 1.8.7 beside consul-lite.

#[path = "../common/mod.rs"]
mod common;

use common::harness::{self, Outcome, Test};
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    harness::main(vec![Test::new("smoke", || {
        let binary = match common::oracle::find() {
            Ok(p) => p,
            Err(why) => return Outcome::Skipped(why),
        };
        let net = common::Loopback::claim();
        let mut a = common::agent::Agent::start(&common::agent::Plan {
            binary: &binary,
            ip: net.ip(1),
            node: "n1",
            config: vec![],
        });
        a.wait_ready(Duration::from_secs(30));
        println!(
            "{:?}",
            a.client().get("/v1/catalog/nodes").map(|r| r.text())
        );
        Outcome::Passed
    })])
}
