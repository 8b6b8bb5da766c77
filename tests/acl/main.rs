//! Access control beside the real Consul 1.8.7, and in datacenters of both.
//!
//! The matrix: every request of one table with every kind of token, answered by ours and by Consul; status and body must
//! be the same but for what is random (IDs, times, hashes) and what `matrix::DIFFERENT` names with its reason.

mod away;
mod beside;
#[path = "../common/mod.rs"]
mod common;
mod elsewhere;
mod expiry;
mod jwt;
mod life;
mod matrix;
mod mixed;
mod modern;
mod names;
mod primary_away;
mod replication;
mod secondary;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut tests = matrix::tests();
    tests.extend(life::tests());
    tests.extend(mixed::tests());
    tests.extend(modern::tests());
    tests.extend(expiry::tests());
    tests.extend(away::tests());
    tests.extend(elsewhere::tests());
    tests.extend(jwt::tests());
    tests.extend(secondary::tests());
    tests.extend(replication::tests());
    tests.extend(primary_away::tests());
    common::harness::main(tests)
}

/// What every agent of these tests has in its configuration: the tutorial's token, which is no UUID.
pub const MASTER: &str = "XAi/F5LQ+IbrAW8Mkyon+K+PCkSu+aoFf2YUeixMYA0=";

/// A client that speaks with a token.
pub struct Api {
    client: common::http::Client,
}

impl Api {
    /// Speaks to an agent.
    pub fn new(agent: &common::agent::Agent) -> Api {
        Api {
            client: agent.client(),
        }
    }

    /// Speaks to an agent whose answers may take long.
    pub fn patient(agent: &common::agent::Agent, within: std::time::Duration) -> Api {
        Api {
            client: common::http::Client::new(agent.http(), within),
        }
    }

    /// The index of an answer.
    pub fn index(&mut self, token: &str, target: &str) -> Option<u64> {
        let headers = [("X-Consul-Token".to_owned(), token.to_owned())];
        let answer = self.client.request("GET", target, &headers, b"").ok()?;
        answer.index()
    }

    /// Asks; status and body.
    pub fn ask(&mut self, token: &str, method: &str, target: &str, body: &str) -> (u16, String) {
        let mut headers = Vec::new();
        if !token.is_empty() {
            headers.push(("X-Consul-Token".to_owned(), token.to_owned()));
        }
        match self
            .client
            .request(method, target, &headers, body.as_bytes())
        {
            Ok(answer) => (answer.status, answer.text()),
            Err(e) => (0, e.to_string()),
        }
    }

    /// Asks as the master token with a body of any bytes; status and body.
    pub fn raw(&mut self, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let headers = [("X-Consul-Token".to_owned(), MASTER.to_owned())];
        match self.client.request(method, target, &headers, body) {
            Ok(answer) => (answer.status, answer.body),
            Err(e) => (0, e.to_string().into_bytes()),
        }
    }

    /// Asks as the master token; the body, which must come with 200.
    pub fn must(&mut self, method: &str, target: &str, body: &str) -> String {
        let (status, text) = self.ask(MASTER, method, target, body);
        assert_eq!(status, 200, "{method} {target}: {text}");
        text
    }

    /// Waits until the agent answers the master token as one that it knows.
    pub fn wait_ready(&mut self, agent: &common::agent::Agent) {
        let within = std::time::Duration::from_secs(60);
        let ready = common::try_until(within, || {
            let (status, _) = self.ask(MASTER, "GET", "/v1/acl/token/self", "");
            (status == 200).then_some(())
        });
        assert!(ready.is_some(), "not ready:\n{}", agent.log_tail(25));
    }

    /// Waits until servers, too, do what came with 1.4: real ones that have just started still count with agents that do
    /// not know it.
    pub fn wait_modern(&mut self, agent: &common::agent::Agent) {
        self.wait_ready(agent);
        let within = std::time::Duration::from_secs(90);
        let ready = common::try_until(within, || {
            let (status, _) = self.ask(MASTER, "PUT", "/v1/acl/role", "{\"Name\":\"wait\"}");
            (status == 200).then_some(())
        });
        assert!(ready.is_some(), "not modern:\n{}", agent.log_tail(25));
        let text = self.must("GET", "/v1/acl/role/name/wait", "");
        let target = format!("/v1/acl/role/{}", field(&text, "ID"));
        self.must("DELETE", &target, "");
    }
}

/// The value of a text field of a JSON object.
pub fn field(json: &str, name: &str) -> String {
    let mark = format!("\"{name}\":\"");
    let rest = json.split_once(&mark).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().to_owned()
}
