//! Every request of `cases.txt` with every kind of token, ours beside Consul's.

use std::path::Path;
use std::time::Duration;

use crate::common::agent::{Agent, Plan};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, try_until};
use crate::{Api, MASTER, field};

/// Targets whose bodies differ for a reason; their statuses are compared all the same.
const DIFFERENT: &[(&str, &str)] = &[
    ("/v1/agent/self", "figures of the process"),
    ("/v1/agent/host", "figures of the machine"),
    ("/v1/agent/metrics", "figures of the moment"),
    ("/v1/agent/members", "versions of the protocols' tags"),
    ("/v1/agent/service/web1", "the content hash is opaque"),
    (
        "/v1/agent/health/service/",
        "Consul's checks come in any order",
    ),
    (
        "/v1/operator/autopilot/health",
        "indexes and times of the moment",
    ),
    ("/v1/catalog/nodes", "Consul's order of maps"),
    (
        "expired: POST\t/v1/acl/logout",
        "whether Consul has removed the token yet, which it looks for every half minute, is a matter of time",
    ),
];
/// Targets that are not compared at all.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "/v1/coordinate/node",
        "whether a coordinate is there yet is a matter of time",
    ),
    (
        "/v1/operator/autopilot/health",
        "whether autopilot has looked yet is a matter of time",
    ),
    (
        "/v1/event/list",
        "whether gossip has delivered yet is a matter of time",
    ),
];

const KINDS: [&str; 7] = [
    "agent", "key", "node", "service", "session", "event", "query",
];
const PUBLIC_KEY: &str = include_str!("jwt.pub");
/// Signed by a key that the auth method does not have.
const FORGED: &str = include_str!("forged.jwt");

pub fn tests() -> Vec<Test> {
    vec![Test::new("every_request_with_every_token", matrix)]
}

fn policy(level: &str) -> String {
    let mut text: String = KINDS
        .iter()
        .map(|kind| format!("{kind}_prefix \"\" {{ policy = \"{level}\" }}\n"))
        .collect();
    for scalar in ["acl", "keyring", "operator"] {
        text += &format!("{scalar} = \"{level}\"\n");
    }
    text
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.trim_end().replace('\n', "\\n"))
}

/// Kinds of tokens with their secrets.
fn make_tokens(api: &mut Api) -> Vec<(&'static str, String)> {
    let mut ends = String::new();
    let mut tokens = vec![
        ("none", String::new()),
        ("unknown", "11111111-2222-3333-4444-555555555555".to_owned()),
    ];
    let wrong: String = KINDS
        .iter()
        .map(|kind| format!("{kind} \"elsewhere\" {{ policy = \"write\" }}\n"))
        .collect();
    for (name, rules) in [
        ("read", policy("read")),
        ("write", policy("write")),
        ("deny", policy("deny")),
        ("wrong", wrong),
        ("list", "key_prefix \"\" { policy = \"list\" }".to_owned()),
    ] {
        let body = format!("{{\"Name\":\"{name}\",\"Rules\":{}}}", quoted(&rules));
        api.must("PUT", "/v1/acl/policy", &body);
        let body = format!("{{\"Description\":\"{name}\",\"Policies\":[{{\"Name\":\"{name}\"}}]}}");
        let made = api.must("PUT", "/v1/acl/token", &body);
        tokens.push((name, field(&made, "SecretID")));
    }
    for (name, body) in [
        (
            "service",
            "{\"ServiceIdentities\":[{\"ServiceName\":\"web\"}]}",
        ),
        (
            "node",
            "{\"NodeIdentities\":[{\"NodeName\":\"n1\",\"Datacenter\":\"dc1\"}]}",
        ),
        ("deleted", "{}"),
        (
            "expired",
            "{\"Policies\":[{\"Name\":\"write\"}],\"ExpirationTTL\":\"1m\"}",
        ),
    ] {
        let made = api.must("PUT", "/v1/acl/token", body);
        tokens.push((name, field(&made, "SecretID")));
        if name == "expired" {
            ends = field(&made, "SecretID");
        }
        if name == "deleted" {
            let target = format!("/v1/acl/token/{}", field(&made, "AccessorID"));
            api.must("DELETE", &target, "");
        }
    }
    let ended = try_until(Duration::from_secs(180), || {
        (api.ask(&ends, "GET", "/v1/acl/token/self", "").0 == 403).then_some(())
    });
    assert!(ended.is_some(), "a token of a minute is still there");
    tokens.push(("management", MASTER.to_owned()));
    tokens.push((ANONYMOUS, String::new()));
    tokens
}

/// The last kind: no token, when the anonymous one has rights.
const ANONYMOUS: &str = "anonymous with rights";

fn give_anonymous_rights(api: &mut Api) {
    let target = "/v1/acl/token/00000000-0000-0000-0000-000000000002";
    api.must("PUT", target, "{\"Policies\":[{\"Name\":\"write\"}]}");
}

/// What the requests are about; names in braces with their values.
fn make_world(api: &mut Api) -> Vec<(&'static str, String)> {
    api.must("PUT", "/v1/kv/a", "1");
    api.must("PUT", "/v1/kv/other", "2");
    api.must(
        "PUT",
        "/v1/agent/service/register",
        "{\"Name\":\"web\",\"ID\":\"web1\"}",
    );
    api.must(
        "PUT",
        "/v1/agent/check/register",
        "{\"Name\":\"c1\",\"TTL\":\"1000s\"}",
    );
    let check = "{\"Name\":\"c2\",\"TTL\":\"1000s\",\"ServiceID\":\"web1\"}";
    api.must("PUT", "/v1/agent/check/register", check);
    let ext = "{\"Node\":\"ext\",\"Address\":\"9.9.9.9\",\"Service\":{\"Service\":\"web\",\"ID\":\"web-ext\",\"Port\":1},\
               \"Check\":{\"Name\":\"w\",\"ServiceID\":\"web-ext\",\"Status\":\"passing\"}}";
    api.must("PUT", "/v1/catalog/register", ext);
    api.must("PUT", "/v1/acl/role", "{\"Name\":\"r1\"}");
    let method = format!(
        "{{\"Name\":\"m1\",\"Type\":\"jwt\",\"Config\":{{\"JWTValidationPubKeys\":[{}],\"JWTSupportedAlgs\":[\"ES256\"],\
         \"BoundIssuer\":\"iss\",\"ClaimMappings\":{{\"user\":\"user\"}},\"ListClaimMappings\":{{\"groups\":\"groups\"}}}}}}",
        quoted(PUBLIC_KEY)
    );
    api.must("PUT", "/v1/acl/auth-method", &method);
    let session = api.must(
        "PUT",
        "/v1/session/create",
        "{\"Name\":\"s\",\"NodeChecks\":[]}",
    );
    let token = api.must(
        "PUT",
        "/v1/acl/token",
        "{\"Description\":\"tok\",\"ExpirationTTL\":\"1h\"}",
    );
    let policy = api.must("PUT", "/v1/acl/policy", "{\"Name\":\"polx\"}");
    // The agent brings what it has into the catalog in its own time.
    let there = try_until(Duration::from_secs(60), || {
        let checks = api.must("GET", "/v1/health/node/n1", "");
        let all = ["c1", "c2"].map(|id| format!("\"CheckID\":\"{id}\""));
        all.iter().all(|id| checks.contains(id)).then_some(())
    });
    assert!(there.is_some(), "the checks are not in the catalog");
    vec![
        ("{session}", field(&session, "ID")),
        ("{token}", field(&token, "AccessorID")),
        ("{policy}", field(&policy, "ID")),
        ("{jwt}", FORGED.trim().to_owned()),
    ]
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// An answer without what is random or belongs to the agent that gave it.
pub fn plain(text: &str, ip: &str) -> String {
    let text = text.replace(ip, "IP");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        if let Some(head) = rest.as_bytes().get(..36).filter(|head| is_uuid(head)) {
            out.push_str("UUID");
            rest = &rest[head.len()..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    for name in ["CreateIndex", "ModifyIndex", "LockIndex", "Index"] {
        out = cut(&out, &format!("\"{name}\":"), |c| c.is_ascii_digit());
    }
    for name in ["CreateTime", "ExpirationTime", "Hash"] {
        out = cut(&out, &format!("\"{name}\":\""), |c| c != '"');
    }
    for before in ["reset index: ", "(was ", "current modify index "] {
        out = cut(&out, before, |c| c.is_ascii_digit() || ".hms-".contains(c));
    }
    // Lists come in any order.
    if out.starts_with("[{") {
        let mut parts: Vec<&str> = out
            .split("},{")
            .map(|p| p.trim_matches(['[', ']', '{', '}']))
            .collect();
        parts.sort_unstable();
        return parts.join("\n");
    }
    out
}

/// Removes what follows each `mark` as long as `belongs`.
fn cut(text: &str, mark: &str, belongs: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark) {
        out.push_str(before);
        out.push_str(mark);
        rest = after.trim_start_matches(&belongs);
    }
    out + rest
}

type Answer = (String, u16, String);

/// All answers of one agent, in the table's order.
fn answers(binary: &Path, ip: std::net::Ipv4Addr) -> Vec<Answer> {
    let acl = format!(
        "{{\"acl\":{{\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{{\"master\":\"{MASTER}\"}}}}}}"
    );
    let agent = Agent::start(&Plan {
        binary,
        ip,
        node: "n1",
        config: vec![("50-acl.json".to_owned(), acl)],
    });
    let mut api = Api::new(&agent);
    api.wait_modern(&agent);
    let tokens = make_tokens(&mut api);
    let world = make_world(&mut api);
    let ip = ip.to_string();
    let mut all = Vec::new();
    for (kind, secret) in &tokens {
        if *kind == ANONYMOUS {
            give_anonymous_rights(&mut api);
        }
        let lines = include_str!("cases.txt").lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let mut parts = line.split('\t').map(|part| {
                let fill = |text: String, (name, value): &(&str, String)| text.replace(name, value);
                world.iter().fold(part.to_owned(), fill)
            });
            let mut next = || parts.next().unwrap_or_default();
            let (method, target, body) = (next(), next(), next());
            let (status, text) = api.ask(secret, &method, &target, &body);
            all.push((format!("{kind}: {line}"), status, plain(&text, &ip)));
        }
    }
    all
}

fn matrix() -> Outcome {
    let consul = match oracle::find() {
        Ok(path) => path,
        Err(why) => return Outcome::Skipped(why),
    };
    let block = Loopback::claim();
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| answers(&consul, block.ip(1)));
        let ours = answers(&consul_lite(), block.ip(2));
        match theirs.join() {
            Ok(theirs) => (theirs, ours),
            Err(cause) => std::panic::resume_unwind(cause),
        }
    });
    assert_eq!(theirs.len(), ours.len());
    let listed =
        |list: &[(&str, &str)], cell: &str| list.iter().any(|(target, _)| cell.contains(target));
    let mut wrong = Vec::new();
    let mut compared = 0;
    for ((cell, status, body), (_, own_status, own_body)) in theirs.iter().zip(&ours) {
        if listed(LEFT_OUT, cell) {
            continue;
        }
        compared += 1;
        let same = body == own_body || listed(DIFFERENT, cell);
        if status != own_status || !same {
            wrong.push(format!(
                "{cell}\n  Consul {status} {body}\n  ours   {own_status} {own_body}"
            ));
        }
    }
    assert!(compared > 3200, "only {compared} cells");
    if wrong.is_empty() {
        return Outcome::Passed;
    }
    let shown = wrong
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    Outcome::Failed(format!(
        "{} of {compared} cells differ:\n{shown}",
        wrong.len()
    ))
}
