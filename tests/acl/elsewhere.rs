//! Tokens in calls for another datacenter: one that counts only here stays here, and the call is taken for anonymous
//! there; every other one goes along. Beside Consul.
//!
//! Both datacenters have tokens of the same secrets, and those of the far one may do more than nobody: so what is
//! answered tells whether the secret arrived.

use std::time::Duration;

use crate::beside::{self, Side, told};
use crate::common::agent::Agent;
use crate::common::harness::Test;
use crate::common::try_until;
use crate::{Api, MASTER};

/// Limit of everything that takes agents a while.
const PATIENCE: Duration = Duration::from_secs(90);
const LOCAL: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const GLOBAL: &str = "aaaaaaaa-0000-4000-8000-000000000002";
const NOBODY: &str = "aaaaaaaa-0000-4000-8000-000000000003";

pub fn tests() -> Vec<Test> {
    vec![beside::test("tokens_of_calls_elsewhere", tokens)]
}

fn acl() -> String {
    format!(
        "\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{{\"master\":\"{MASTER}\",\"agent\":\"{MASTER}\"}}"
    )
}

fn policy(server: &mut Api, name: &str, rules: &str) {
    let rules = rules.replace('"', "\\\"");
    let body = format!("{{\"Name\":\"{name}\",\"Rules\":\"{rules}\"}}");
    server.must("PUT", "/v1/acl/policy", &body);
}

fn token(server: &mut Api, secret: &str, local: bool) {
    let body = format!(
        "{{\"SecretID\":\"{secret}\",\"Local\":{local},\"Policies\":[{{\"Name\":\"all\"}}]}}"
    );
    server.must("PUT", "/v1/acl/token", &body);
}

fn until(what: &str, agent: &Agent, mut ready: impl FnMut() -> bool) {
    let done = try_until(PATIENCE, || ready().then_some(()));
    assert!(done.is_some(), "not {what}:\n{}", agent.log_tail(25));
}

fn tokens(side: &Side) -> Vec<String> {
    let near_agent = side.server(&acl());
    let far_agent = side.server_of("dc2", &acl());
    let client_agent = side.client(&acl());
    let [mut near, mut far] = [&near_agent, &far_agent].map(Api::new);
    let mut client = Api::new(&client_agent);
    near.wait_modern(&near_agent);
    far.wait_modern(&far_agent);
    client.wait_ready(&client_agent);
    let all = "key_prefix \"\" { policy = \"write\" } session_prefix \"\" { policy = \"write\" } \
               node_prefix \"\" { policy = \"read\" } event_prefix \"\" { policy = \"write\" } \
               acl = \"write\" operator = \"write\"";
    for server in [&mut near, &mut far] {
        policy(server, "all", all);
    }
    token(&mut near, LOCAL, true);
    token(&mut near, GLOBAL, false);
    // There, both are worth the same.
    token(&mut far, LOCAL, false);
    token(&mut far, GLOBAL, false);
    policy(
        &mut far,
        "open",
        "key_prefix \"open/\" { policy = \"read\" }",
    );
    let anonymous = "{\"AccessorID\":\"00000000-0000-0000-0000-000000000002\",\"Policies\":[{\"Name\":\"open\"}]}";
    let target = "/v1/acl/token/00000000-0000-0000-0000-000000000002";
    far.must("PUT", target, anonymous);
    for key in ["open/x", "closed"] {
        far.must("PUT", &format!("/v1/kv/{key}"), "1");
    }
    let mut lines = Vec::new();
    for (name, api, agent) in [
        ("server", &mut near, &near_agent),
        ("client", &mut client, &client_agent),
    ] {
        until("joined over the WAN", agent, || {
            let (_, text) = api.ask(MASTER, "GET", "/v1/catalog/datacenters", "");
            text.contains("dc2")
        });
        for (token, secret) in [
            ("local", LOCAL),
            ("global", GLOBAL),
            ("unknown", NOBODY),
            ("none", ""),
        ] {
            for (method, target, body) in [
                ("GET", "/v1/kv/open/x?raw&dc=dc2", ""),
                ("GET", "/v1/kv/closed?raw&dc=dc2", ""),
                ("GET", "/v1/kv/closed?raw&dc=dc2&stale", ""),
                ("GET", "/v1/kv/?keys&dc=dc2", ""),
                ("GET", "/v1/kv/?recurse&dc=dc2", ""),
                ("PUT", "/v1/kv/open/y?dc=dc2", "1"),
                ("DELETE", "/v1/kv/open/y?dc=dc2", ""),
                (
                    "PUT",
                    "/v1/txn?dc=dc2",
                    "[{\"KV\":{\"Verb\":\"get\",\"Key\":\"closed\"}}]",
                ),
                ("PUT", "/v1/event/fire/deploy?dc=dc2", "x"),
                ("GET", "/v1/operator/autopilot/configuration?dc=dc2", ""),
                ("GET", "/v1/acl/policy/name/none?dc=dc2", ""),
            ] {
                let line = told(api, (token, secret), method, target, body);
                lines.push(format!("{name}: {line}"));
            }
            // With Consul's one exception: with a snapshot the token goes along whatever it is.
            let (status, text) = api.ask(secret, "GET", "/v1/snapshot?dc=dc2", "");
            let text = if status == 200 { "an archive" } else { &text };
            lines.push(format!(
                "{name}: {token}: a snapshot of dc2: {status} {text}"
            ));
            // And here, where it was made.
            let line = told(api, (token, secret), "PUT", "/v1/kv/here", "1");
            lines.push(format!("{name}: {line}"));
        }
    }
    lines
}
