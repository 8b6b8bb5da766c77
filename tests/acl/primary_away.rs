//! A server of a secondary datacenter that asks the primary what tokens may do, by each down policy, while the primary is
//! away and when it is back, beside Consul.

use std::time::{Duration, Instant};

use crate::beside::{self, Side};
use crate::common::agent::Agent;
use crate::common::harness::Test;
use crate::secondary::until;
use crate::{Api, MASTER, field};

/// How long the primary's answers are remembered in these tests.
const TTL: Duration = Duration::from_secs(4);
/// Nobody's.
const NOBODY: &str = "dddddddd-0000-4000-8000-000000000002";
/// A key that only tokens may read, and one that everybody may.
const CLOSED: &str = "/v1/kv/closed?raw";
const OPEN: &str = "/v1/kv/open?raw";

pub fn tests() -> Vec<Test> {
    ["allow", "deny", "extend-cache", "async-cache"]
        .map(|policy| {
            let name = format!("primary_away::{}", policy.replace('-', "_"));
            beside::test(&name, move |side| life(side, policy))
        })
        .into()
}

fn secondary(side: &Side, policy: &str) -> Agent {
    let ttl = format!("{}s", TTL.as_secs());
    side.secondary(&format!(
        "\"enabled\":true,\"default_policy\":\"deny\",\"down_policy\":\"{policy}\",\"token_ttl\":\"{ttl}\",\
         \"policy_ttl\":\"{ttl}\",\"role_ttl\":\"{ttl}\",\
         \"tokens\":{{\"agent\":\"{MASTER}\",\"replication\":\"{MASTER}\"}}"
    ))
}

/// Makes policies and tokens at the primary: two secrets, which may both read all keys.
fn tokens(primary: &mut Api) -> (String, String) {
    for (name, prefix) in [("all", ""), ("anonymous", "open")] {
        let body = format!(
            "{{\"Name\":\"{name}\",\"Rules\":\"key_prefix \\\"{prefix}\\\" {{ policy = \\\"read\\\" }}\"}}"
        );
        primary.must("PUT", "/v1/acl/policy", &body);
    }
    let anonymous = "/v1/acl/token/00000000-0000-0000-0000-000000000002";
    let links = "{\"Policies\":[{\"Name\":\"anonymous\"}]}";
    primary.must("PUT", anonymous, links);
    let mut token = || {
        let made = primary.must(
            "PUT",
            "/v1/acl/token",
            "{\"Policies\":[{\"Name\":\"all\"}]}",
        );
        field(&made, "SecretID")
    };
    (token(), token())
}

fn life(side: &Side, policy: &str) -> Vec<String> {
    let mut primary =
        side.server(&format!(
        "\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{{\"master\":\"{MASTER}\",\"agent\":\"{MASTER}\"}}"
    ));
    let mut there = Api::new(&primary);
    there.wait_modern(&primary);
    let (known, unknown) = tokens(&mut there);
    let agent = secondary(side, policy);
    let mut here = Api::new(&agent);
    for key in [CLOSED, OPEN] {
        until("written", &agent, || {
            here.ask(MASTER, "PUT", key, "1").0 == 200
        });
    }
    until("all copied", &agent, || {
        let (_, text) = here.ask(MASTER, "GET", "/v1/acl/policies", "");
        text.contains("\"anonymous\"")
    });
    let begun = Instant::now();
    for (secret, key) in [(known.as_str(), CLOSED), ("", OPEN)] {
        until("known", &agent, || {
            here.ask(secret, "GET", key, "").0 == 200
        });
    }
    primary.kill();
    within(begun, &mut here, &known);
    let begun = Instant::now();
    until("over", &agent, || begun.elapsed() > 2 * TTL);
    let mut lines = Vec::new();
    // Consul's further answers in this state are about tokens that it says it has not found.
    let (status, text) = here.ask(&known, "GET", CLOSED, "");
    lines.push(format!("known, without the primary: {status} {text}"));
    if side.ours {
        for _ in 0..2 {
            promised(policy, &mut here, &known, &unknown);
        }
    }
    primary.restart();
    for (name, secret) in [("known", known.as_str()), ("unknown", &unknown)] {
        until("answered again", &agent, || {
            let reads = here.ask(secret, "GET", CLOSED, "").0 == 200;
            let writes = here.ask(secret, "PUT", CLOSED, "1").0 == 200;
            reads && !writes
        });
        lines.push(format!("{name} is what it was"));
    }
    until("denied again", &agent, || {
        here.ask(NOBODY, "GET", CLOSED, "") == (403, "ACL not found".to_owned())
            && here.ask("", "GET", CLOSED, "") == (403, "Permission denied".to_owned())
            && here.ask("", "GET", OPEN, "").0 == 200
    });
    lines
}

/// Whatever the policy, what the primary said after `begun` holds until its time is over.
fn within(begun: Instant, here: &mut Api, known: &str) {
    for (method, wanted) in [("GET", 200), ("PUT", 403)] {
        let (status, text) = here.ask(known, method, CLOSED, "");
        // On a slow machine the time may be over before the answer.
        if begun.elapsed() < TTL {
            assert_eq!(status, wanted, "{method}: {text}");
        }
    }
}

/// What Consul's documentation promises; for Consul 1.8.7 see `away::promised`.
fn promised(policy: &str, here: &mut Api, known: &str, unknown: &str) {
    let remembers = !matches!(policy, "allow" | "deny");
    for (secret, was_known) in [
        (known, true),
        (unknown, false),
        (NOBODY, false),
        ("", false),
    ] {
        let all = policy == "allow";
        let reads = all || remembers && was_known;
        let (status, text) = here.ask(secret, "GET", CLOSED, "");
        assert_eq!(status, if reads { 200 } else { 403 }, "{policy}: {text}");
        let (status, text) = here.ask(secret, "PUT", CLOSED, "1");
        assert_eq!(status, if all { 200 } else { 403 }, "{policy}: {text}");
        // The anonymous token was known for this one.
        let open = reads || remembers && secret.is_empty();
        let (status, text) = here.ask(secret, "GET", OPEN, "");
        assert_eq!(status, if open { 200 } else { 403 }, "{policy}: {text}");
        if !all {
            continue;
        }
        // Allowed is everything but ACLs themselves, which are the primary's.
        let (status, text) = here.ask(secret, "GET", "/v1/acl/policies", "");
        assert_eq!(status, 403, "{policy}: {text}");
    }
}
