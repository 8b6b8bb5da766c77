//! Agents whose servers are away, by each down policy, and what an agent lets be done by itself: the agent's master
//! token, kept tokens, and the list level of keys; each beside Consul.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::beside::{self, Side, told};
use crate::common::agent::Agent;
use crate::common::harness::Test;
use crate::common::try_until;
use crate::{Api, MASTER, field};

/// Limit of everything that takes agents a while.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long answers of servers are remembered in these tests.
const TTL: Duration = Duration::from_secs(2);

pub fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = ["allow", "deny", "extend-cache", "async-cache"]
        .map(|policy| {
            let name = format!("servers_away::{}", policy.replace('-', "_"));
            beside::test(&name, move |side| away(side, policy))
        })
        .into();
    tests.push(beside::test("the_agents_master_token", agent_master));
    tests.push(beside::test("set_tokens_survive_a_restart", kept));
    for on in [false, true] {
        let name = format!("list_level_of_keys::{}", if on { "on" } else { "off" });
        tests.push(beside::test(&name, move |side| key_list(side, on)));
    }
    tests
}

fn acl(more: &str) -> String {
    format!("\"enabled\":true,\"default_policy\":\"deny\"{more}")
}

fn with_master(more: &str) -> String {
    acl(&format!(
        ",\"tokens\":{{\"master\":\"{MASTER}\",\"agent\":\"{MASTER}\"{more}}}"
    ))
}

fn until(what: &str, agent: &Agent, mut ready: impl FnMut() -> bool) {
    let done = try_until(PATIENCE, || ready().then_some(()));
    assert!(done.is_some(), "not {what}:\n{}", agent.log_tail(25));
}

fn token(server: &mut Api, name: &str, rules: &str) -> String {
    let rules = rules.replace('"', "\\\"");
    let body = format!("{{\"Name\":\"{name}\",\"Rules\":\"{rules}\"}}");
    server.must("PUT", "/v1/acl/policy", &body);
    let body = format!("{{\"Policies\":[{{\"Name\":\"{name}\"}}]}}");
    field(&server.must("PUT", "/v1/acl/token", &body), "SecretID")
}

/// A client agent that knows one token and not another when its server goes away.
fn away(side: &Side, policy: &str) -> Vec<String> {
    let mut server_agent = side.server(&with_master(""));
    let mut server = Api::new(&server_agent);
    server.wait_modern(&server_agent);
    let ttl = format!("{}s", TTL.as_secs());
    let more = format!(
        ",\"down_policy\":\"{policy}\",\"token_ttl\":\"{ttl}\",\"policy_ttl\":\"{ttl}\",\"role_ttl\":\"{ttl}\",\
         \"tokens\":{{\"agent\":\"{MASTER}\"}}"
    );
    let client_agent = side.client(&acl(&more));
    let mut client = Api::new(&client_agent);
    client.wait_ready(&client_agent);
    let rules = "service_prefix \"\" { policy = \"read\" } agent_prefix \"\" { policy = \"read\" }";
    let known = token(&mut server, "known", rules);
    let unknown = token(&mut server, "unknown", rules);
    let service = "{\"Name\":\"web\",\"ID\":\"web1\"}";
    client.must("PUT", "/v1/agent/service/register", service);
    until("known to the agent", &client_agent, || {
        let (_, text) = client.ask(&known, "GET", "/v1/agent/services", "");
        text.contains("web1")
    });
    let (status, _) = client.ask(&known, "GET", "/v1/agent/self", "");
    let mut lines = vec![format!("with servers: {status}")];
    server_agent.kill();
    // What is remembered has become too old, whatever is made of that.
    let begun = Instant::now();
    until("over", &client_agent, || begun.elapsed() > 2 * TTL);
    let (status, text) = client.ask(&known, "GET", "/v1/agent/services", "");
    let sees = text.contains("web1");
    lines.push(format!("without: {status}, sees web1: {sees}"));
    if side.ours {
        for _ in 0..2 {
            promised(policy, &mut client, &known, &unknown);
        }
    }
    lines
}

/// What Consul's documentation promises, of which Consul 1.8.7 keeps but the first answer: until its TTL is over it then
/// says `ACL not found` whatever the policy, and it takes tokens that it never saw for almighty while caches are extended.
fn promised(policy: &str, client: &mut Api, known: &str, unknown: &str) {
    let nobody = "11111111-2222-3333-4444-555555555555";
    for (secret, was_known) in [
        (known, true),
        (unknown, false),
        (nobody, false),
        ("", false),
    ] {
        // Everything, what the token grants, or nothing.
        let (sees, writes) = match policy {
            "allow" => (true, true),
            "deny" => (false, false),
            _ => (was_known, false),
        };
        let (status, text) = client.ask(secret, "GET", "/v1/agent/services", "");
        assert_eq!(
            (status, text.contains("web1")),
            (200, sees),
            "{policy}: {text}"
        );
        let (status, text) = client.ask(secret, "GET", "/v1/agent/self", "");
        assert_eq!(status, if sees { 200 } else { 403 }, "{policy}: {text}");
        let check = "{\"Name\":\"c\",\"TTL\":\"100s\"}";
        let (status, text) = client.ask(secret, "PUT", "/v1/agent/check/register", check);
        assert_eq!(status, if writes { 200 } else { 403 }, "{policy}: {text}");
    }
}

/// A token that the agent alone knows.
fn agent_master(side: &Side) -> Vec<String> {
    let own = ",\"agent_master\":\"towel\"";
    let mut server_agent = side.server(&with_master(own));
    let mut server = Api::new(&server_agent);
    server.wait_modern(&server_agent);
    let client_agent = side.client(&acl(&format!(
        ",\"tokens\":{{\"agent\":\"{MASTER}\"{own}}}"
    )));
    let mut client = Api::new(&client_agent);
    client.wait_ready(&client_agent);
    until("a member", &client_agent, || {
        let (_, text) = client.ask("towel", "GET", "/v1/agent/members", "");
        text.contains("\"n1\"") && text.contains("\"c1\"")
    });
    let local = [
        ("GET", "/v1/agent/self"),
        ("GET", "/v1/agent/members"),
        ("GET", "/v1/agent/services"),
        ("GET", "/v1/agent/host"),
        ("GET", "/v1/agent/metrics"),
        ("PUT", "/v1/agent/maintenance?enable=false"),
        ("PUT", "/v1/agent/token/default"),
        ("PUT", "/v1/agent/force-leave/nope"),
        ("PUT", "/v1/agent/service/register"),
    ];
    let remote = [
        ("GET", "/v1/kv/a"),
        ("PUT", "/v1/kv/a"),
        ("GET", "/v1/catalog/nodes"),
        ("GET", "/v1/acl/tokens"),
        ("GET", "/v1/acl/token/self"),
        ("PUT", "/v1/session/create"),
        ("GET", "/v1/operator/raft/configuration"),
    ];
    let mut lines = Vec::new();
    let mut ask = |name: &str, api: &mut Api, list: &[(&str, &str)]| {
        for (method, target) in list {
            let body = match *target {
                "/v1/agent/token/default" => "{\"Token\":\"\"}",
                "/v1/agent/service/register" => "{\"Name\":\"web\"}",
                _ => "",
            };
            let (status, text) = api.ask("towel", method, target, body);
            let text = if status == 200 { String::new() } else { text };
            let text = text
                .split("rpc error making call: ")
                .last()
                .unwrap_or_default();
            lines.push(format!("{name}: {method} {target}: {status} {text}"));
        }
    };
    ask("server", &mut server, &local);
    ask("server", &mut server, &remote);
    ask("client", &mut client, &local);
    ask("client", &mut client, &remote);
    server_agent.kill();
    ask("alone", &mut client, &local);
    lines
}

/// Tokens that were set, after a restart with a configuration that says otherwise.
fn kept(side: &Side) -> Vec<String> {
    let mut agent = side.server(&acl(&format!(
        ",\"enable_token_persistence\":true,\"tokens\":{{\"master\":\"{MASTER}\",\"agent\":\"{MASTER}\",\
         \"default\":\"nobody\",\"agent_master\":\"towel\"}}"
    )));
    let mut api = Api::new(&agent);
    api.wait_ready(&agent);
    let mut lines = vec![told(&mut api, ("none", ""), "GET", "/v1/kv/a", "")];
    let file = agent.dir().join("data/acl-tokens.json");
    lines.push(format!("a file before any is set: {}", file.exists()));
    for (slot, value) in [
        ("default", MASTER),
        ("agent", MASTER),
        ("agent_master", "other"),
        ("acl_replication_token", "rep"),
    ] {
        let target = format!("/v1/agent/token/{slot}");
        let body = format!("{{\"Token\":\"{value}\"}}");
        lines.push(told(&mut api, ("master", MASTER), "PUT", &target, &body));
        let mode = fs::metadata(&file).map_or(0, |meta| meta.permissions().mode() & 0o777);
        let text = fs::read_to_string(&file).unwrap_or_default();
        lines.push(format!("{mode:o} {text}"));
    }
    let look = |api: &mut Api, lines: &mut Vec<String>| {
        lines.push(told(api, ("none", ""), "GET", "/v1/kv/a", ""));
        for secret in ["towel", "other"] {
            let (status, _) = api.ask(secret, "GET", "/v1/agent/self", "");
            lines.push(format!("{secret}: {status}"));
        }
    };
    look(&mut api, &mut lines);
    agent.kill();
    agent.restart();
    api.wait_ready(&agent);
    look(&mut api, &mut lines);
    agent.kill();
    fs::write(&file, "{\"default\": broken").unwrap();
    agent.restart();
    let runs = try_until(PATIENCE, || {
        if agent.process().ended().is_some() {
            return Some(false);
        }
        let (status, _) = api.ask(MASTER, "GET", "/v1/acl/token/self", "");
        (status == 200).then_some(true)
    });
    lines.push(format!("with a broken file it runs: {runs:?}"));
    lines
}

/// Keys by each level, with and without the level `list` being asked for.
fn key_list(side: &Side, on: bool) -> Vec<String> {
    let agent = side.server(&format!(
        "{},\"enable_key_list_policy\":{on}",
        with_master("")
    ));
    let mut api = Api::new(&agent);
    api.wait_modern(&agent);
    for key in ["a/1", "a/b/2", "a/b/3", "z"] {
        api.must("PUT", &format!("/v1/kv/{key}"), "1");
    }
    let mut lines = Vec::new();
    for (name, rules) in [
        ("read", "key_prefix \"\" { policy = \"read\" }"),
        ("list", "key_prefix \"\" { policy = \"list\" }"),
        ("write", "key_prefix \"\" { policy = \"write\" }"),
        ("below", "key_prefix \"a/\" { policy = \"list\" }"),
        (
            "hole",
            "key_prefix \"\" { policy = \"list\" } key_prefix \"a/b/\" { policy = \"deny\" }",
        ),
        (
            "inner",
            "key_prefix \"a/\" { policy = \"read\" } key_prefix \"a/b/\" { policy = \"list\" }",
        ),
        ("exact", "key \"a/1\" { policy = \"list\" }"),
    ] {
        let secret = token(&mut api, name, rules);
        for target in [
            "/v1/kv/a/1",
            "/v1/kv/?recurse",
            "/v1/kv/a/?recurse",
            "/v1/kv/a/b/?recurse",
            "/v1/kv/a/1?recurse",
            "/v1/kv/none/?recurse",
            "/v1/kv/?keys",
            "/v1/kv/a/?keys",
            "/v1/kv/a/?keys&separator=/",
            "/v1/kv/a/b/?keys",
            "/v1/kv/none/?keys",
        ] {
            lines.push(told(&mut api, (name, &secret), "GET", target, ""));
        }
        for tree in ["", "a/", "a/b/", "none/"] {
            let body = format!("[{{\"KV\":{{\"Verb\":\"get-tree\",\"Key\":\"{tree}\"}}}}]");
            lines.push(told(&mut api, (name, &secret), "PUT", "/v1/txn", &body));
        }
    }
    lines
}
