//! A new cluster the modern way: the first token and its reset, queries that end with their token, logins, snapshots
//! that carry tokens to Consul and back, files that only their owner can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::agent::{Agent, Plan};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, try_until};
use crate::{Api, MASTER, field};

/// Signed by the key in `jwt.pub`: user bob, group dev.
const GOOD: &str = include_str!("good.jwt");
const WITHIN: Duration = Duration::from_secs(60);

pub fn tests() -> Vec<Test> {
    let test = |name: &str, run: fn()| {
        Test::new(name, move || {
            run();
            Outcome::Passed
        })
    };
    vec![
        test(
            "the_first_token_is_made_once_and_again_after_a_reset",
            first_token,
        ),
        test("a_blocked_query_ends_with_its_token", blocked),
        test("a_login_gives_what_the_binding_rules_say", login),
        test(
            "set_tokens_are_kept_where_only_the_owner_reads",
            kept_tokens,
        ),
        Test::new("snapshots_carry_tokens_to_consul_and_back", snapshots),
    ]
}

fn start(net: &Loopback, host: u8, binary: &std::path::Path, acl: &str) -> Agent {
    Agent::start(&Plan {
        binary,
        ip: net.ip(host),
        node: "n1",
        config: vec![("50-acl.json".to_owned(), format!("{{\"acl\":{{{acl}}}}}"))],
    })
}

fn with_master() -> String {
    format!("\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{{\"master\":\"{MASTER}\"}}")
}

fn first_token() {
    let net = Loopback::claim();
    let agent = start(
        &net,
        1,
        &consul_lite(),
        "\"enabled\":true,\"default_policy\":\"deny\"",
    );
    let mut api = Api::new(&agent);
    let mut bootstrap = || {
        try_until(WITHIN, || {
            let answer = api.ask("", "PUT", "/v1/acl/bootstrap", "");
            (answer.0 == 200 || answer.0 == 403).then_some(answer)
        })
        .unwrap_or_else(|| panic!("no answer:\n{}", agent.log_tail(20)))
    };
    let (status, made) = bootstrap();
    assert_eq!(status, 200, "{made}");
    let secret = field(&made, "SecretID");
    assert_eq!(field(&made, "ID"), secret);
    let (status, refused) = bootstrap();
    assert_eq!(status, 403);
    let mark = "ACL bootstrap no longer allowed (reset index: ";
    let index = refused
        .split_once(mark)
        .map_or("", |(_, rest)| rest.trim_end_matches(')'));
    let reset = agent.dir().join("data/acl-bootstrap-reset");
    fs::write(&reset, "1").unwrap();
    assert_eq!(bootstrap().0, 403, "a wrong index resets nothing");
    fs::write(&reset, index).unwrap();
    let (status, again) = bootstrap();
    assert_eq!(status, 200, "{again}");
    assert!(!reset.exists());
    for secret in [secret, field(&again, "SecretID")] {
        assert_eq!(api.ask(&secret, "GET", "/v1/acl/tokens", "").0, 200);
        let log = fs::read_to_string(agent.dir().join("log")).unwrap();
        assert!(!log.contains(&secret), "a secret is in the log");
    }
}

fn blocked() {
    let net = Loopback::claim();
    let agent = start(&net, 1, &consul_lite(), &with_master());
    let mut api = Api::new(&agent);
    api.wait_ready(&agent);
    api.must(
        "PUT",
        "/v1/acl/policy",
        "{\"Name\":\"r\",\"Rules\":\"key_prefix \\\"\\\" { policy = \\\"read\\\" }\"}",
    );
    let made = api.must("PUT", "/v1/acl/token", "{\"Policies\":[{\"Name\":\"r\"}]}");
    api.must("PUT", "/v1/kv/a", "1");
    let secret = field(&made, "SecretID");
    let mut other = Api::new(&agent);
    let (_, text) = other.ask(&secret, "GET", "/v1/kv/a", "");
    let index = text
        .split_once("\"ModifyIndex\":")
        .map_or("", |(_, r)| r.trim_end_matches("}]"));
    let target = format!("/v1/kv/a?wait=10m&index={index}");
    let began = Instant::now();
    let waiting = std::thread::spawn(move || other.ask(&secret, "GET", &target, ""));
    // Whether it waits already or comes later, it must not outlive its token.
    api.must("GET", "/v1/kv/a", "");
    let accessor = format!("/v1/acl/token/{}", field(&made, "AccessorID"));
    api.must("DELETE", &accessor, "");
    let (status, text) = waiting.join().unwrap();
    assert_eq!((status, text.as_str()), (403, "ACL not found"));
    assert!(began.elapsed() < WITHIN, "it waited out its time");
}

fn login() {
    let net = Loopback::claim();
    let agent = start(&net, 1, &consul_lite(), &with_master());
    let mut api = Api::new(&agent);
    api.wait_ready(&agent);
    let key = include_str!("jwt.pub").trim().replace('\n', "\\n");
    let method = format!(
        "{{\"Name\":\"m1\",\"Type\":\"jwt\",\"MaxTokenTTL\":\"5m\",\"Config\":{{\"JWTValidationPubKeys\":[\"{key}\"],\
         \"JWTSupportedAlgs\":[\"ES256\"],\"BoundIssuer\":\"iss\",\"ClaimMappings\":{{\"user\":\"user\"}},\
         \"ListClaimMappings\":{{\"groups\":\"groups\"}}}}}}"
    );
    api.must("PUT", "/v1/acl/auth-method", &method);
    let body = format!(
        "{{\"AuthMethod\":\"m1\",\"BearerToken\":\"{}\",\"Meta\":{{\"pod\":\"a\"}}}}",
        GOOD.trim()
    );
    let (status, text) = api.ask("", "POST", "/v1/acl/login", &body);
    assert_eq!(
        (status, text.as_str()),
        (403, "Permission denied"),
        "no rule gives anything"
    );
    for (selector, name) in [
        ("dev in list.groups", "svc-${value.user}"),
        ("value.user == eve", "never"),
    ] {
        let rule = format!(
            "{{\"AuthMethod\":\"m1\",\"BindType\":\"service\",\"BindName\":\"{name}\",\"Selector\":\"{selector}\"}}"
        );
        api.must("PUT", "/v1/acl/binding-rule", &rule);
    }
    let (status, made) = api.ask("", "POST", "/v1/acl/login", &body);
    assert_eq!(status, 200, "{made}");
    assert!(
        made.contains("\"ServiceIdentities\":[{\"ServiceName\":\"svc-bob\"}]"),
        "{made}"
    );
    assert!(
        made.contains("token created via login: {\\\"pod\\\":\\\"a\\\"}"),
        "{made}"
    );
    assert!(made.contains("\"ExpirationTime\""), "{made}");
    let secret = field(&made, "SecretID");
    let (status, _) = api.ask(
        &secret,
        "PUT",
        "/v1/agent/service/register",
        "{\"Name\":\"svc-bob\"}",
    );
    assert_eq!(status, 200);
    let (status, text) = api.ask(MASTER, "POST", "/v1/acl/logout", "");
    assert_eq!((status, text.as_str()), (403, "Permission denied"));
    assert_eq!(api.ask(&secret, "POST", "/v1/acl/logout", "").0, 200);
    assert_eq!(api.ask(&secret, "GET", "/v1/acl/token/self", "").0, 403);
    // A forged one is refused before any rule is looked at.
    let forged = body.replace(GOOD.trim(), include_str!("forged.jwt").trim());
    let (status, text) = api.ask("", "POST", "/v1/acl/login", &forged);
    let want = "no known key successfully validated the token signature";
    assert_eq!((status, text.as_str()), (500, want));
}

fn kept_tokens() {
    let net = Loopback::claim();
    let acl = format!("{},\"enable_token_persistence\":true", with_master());
    let mut agent = start(&net, 1, &consul_lite(), &acl);
    let mut api = Api::new(&agent);
    api.wait_ready(&agent);
    assert_eq!(api.ask("", "GET", "/v1/kv/a", "").0, 403);
    let address = format!("http://{}", agent.http());
    let set = Command::new(consul_lite())
        .args(["acl", "set-agent-token", "default", MASTER])
        .env("CONSUL_HTTP_ADDR", &address)
        .env("CONSUL_HTTP_TOKEN", MASTER)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&set.stdout),
        "ACL token \"default\" set successfully\n"
    );
    let file = agent.dir().join("data/acl-tokens.json");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("{{\"default\":\"{MASTER}\"}}")
    );
    assert_eq!(api.ask("", "GET", "/v1/kv/a", "").0, 404);
    agent.kill();
    agent.restart();
    api.wait_ready(&agent);
    assert_eq!(
        api.ask("", "GET", "/v1/kv/a", "").0,
        404,
        "the token is not kept"
    );
}

/// Saves with one program, restores with the other, and the other way round.
fn snapshots() -> Outcome {
    let consul = match oracle::find() {
        Ok(path) => path,
        Err(why) => return Outcome::Skipped(why),
    };
    let net = Loopback::claim();
    for (from, to, hosts) in [
        (consul_lite(), consul.clone(), (1, 2)),
        (consul, consul_lite(), (3, 4)),
    ] {
        let first = start(&net, hosts.0, &from, &with_master());
        let mut api = Api::new(&first);
        api.wait_modern(&first);
        api.must(
            "PUT",
            "/v1/acl/policy",
            "{\"Name\":\"p\",\"Rules\":\"key \\\"a\\\" { policy = \\\"write\\\" }\"}",
        );
        api.must(
            "PUT",
            "/v1/acl/role",
            "{\"Name\":\"r\",\"Policies\":[{\"Name\":\"p\"}]}",
        );
        let made = api.must("PUT", "/v1/acl/token", "{\"Roles\":[{\"Name\":\"r\"}]}");
        api.must(
            "PUT",
            "/v1/acl/create",
            "{\"ID\":\"old\",\"Rules\":\"key \\\"o\\\" { policy = \\\"write\\\" }\"}",
        );
        let secret = field(&made, "SecretID");
        let second = start(&net, hosts.1, &to, &with_master());
        let mut api = Api::new(&second);
        api.wait_modern(&second);
        let file = first.dir().join("state.snap");
        for (agent, verb) in [(&first, "save"), (&second, "restore")] {
            let done = Command::new(consul_lite())
                .args(["snapshot", verb])
                .arg(&file)
                .env("CONSUL_HTTP_ADDR", format!("http://{}", agent.http()))
                .env("CONSUL_HTTP_TOKEN", MASTER)
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{verb}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        let carried = try_until(WITHIN, || {
            let (status, _) = api.ask(&secret, "PUT", "/v1/kv/a", "1");
            (status == 200).then_some(())
        });
        assert!(
            carried.is_some(),
            "the token does not work:\n{}",
            second.log_tail(20)
        );
        assert_eq!(api.ask(&secret, "PUT", "/v1/kv/b", "1").0, 403);
        assert_eq!(api.ask("old", "PUT", "/v1/kv/o/x", "1").0, 200);
        assert_eq!(api.ask("old", "PUT", "/v1/kv/a", "1").0, 403);
        let (_, own) = api.ask(&secret, "GET", "/v1/acl/token/self", "");
        assert_eq!(field(&own, "AccessorID"), field(&made, "AccessorID"));
    }
    Outcome::Passed
}
