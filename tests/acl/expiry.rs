//! Tokens that end: within which bounds, when exactly, and what is left of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::beside::{self, Side, told};
use crate::common::harness::Test;
use crate::common::try_until;
use crate::{Api, MASTER, field};

/// A token of a minute, the shortest there is, is gone by then.
const MINUTES: Duration = Duration::from_secs(180);

pub fn tests() -> Vec<Test> {
    vec![beside::test("tokens_end_in_time_and_are_removed", life)]
}

fn seconds_from_now(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs() + seconds
}

/// A time of day as RFC 3339 has it.
fn written(unix: u64, rest: &str) -> String {
    let (days, second) = (unix / 86_400, unix % 86_400);
    // Days since 0000-03-01, after H. Hinnant's `civil_from_days`.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, (mp + 2) % 12 + 1);
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}{rest}Z",
        second % 60
    )
}

/// The part of a time after its minute, in nanoseconds.
fn nanos(time: &str) -> i64 {
    let parts: Vec<&str> = time.trim_end_matches('Z').split(['T', ':']).collect();
    let [_, hour, minute, second] = parts.as_slice() else {
        panic!("{time} is no time");
    };
    let (whole, rest) = second.split_once('.').unwrap_or((second, ""));
    let number = |text: &str| text.parse::<i64>().unwrap();
    ((number(hour) * 60 + number(minute)) * 60 + number(whole)) * 1_000_000_000
        + number(&format!("{rest:0<9}"))
}

/// How long a token was given, whatever the day.
fn lives(token: &str) -> String {
    let (from, to) = (field(token, "CreateTime"), field(token, "ExpirationTime"));
    if to.is_empty() {
        return "for ever".to_owned();
    }
    let day = 86_400 * 1_000_000_000_i64;
    format!("{} ns", (nanos(&to) - nanos(&from)).rem_euclid(day))
}

fn life(side: &Side) -> Vec<String> {
    let agent = side.server(&format!(
        "\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{{\"master\":\"{MASTER}\"}}"
    ));
    let mut api = Api::new(&agent);
    api.wait_modern(&agent);
    let rules = "{\"Name\":\"r\",\"Rules\":\"key_prefix \\\"\\\" { policy = \\\"write\\\" }\"}";
    api.must("PUT", "/v1/acl/policy", rules);
    let mut lines = Vec::new();
    let short = |local: bool| {
        format!("{{\"Policies\":[{{\"Name\":\"r\"}}],\"ExpirationTTL\":\"1m\",\"Local\":{local}}}")
    };
    let ending = [false, true].map(|local| api.must("PUT", "/v1/acl/token", &short(local)));
    lines.extend(ending.iter().map(|made| lives(made)));
    bounds(&mut api, &mut lines);
    changes(&mut api, &mut lines);
    ends(side, &agent, &mut api, &ending, &mut lines);
    lines
}

/// What may be asked for, and what comes of it to the nanosecond.
fn bounds(api: &mut Api, lines: &mut Vec<String>) {
    for ttl in [
        "\"59s\"",
        "\"59.999999999s\"",
        "\"60s\"",
        "\"1m0.000000001s\"",
        "\"90s500ms\"",
        "\"1h1m1.123456789s\"",
        "\"24h\"",
        "\"24h0m0.000000001s\"",
        "\"0s\"",
        "\"-1s\"",
        "\"1d\"",
        "90000000000",
        "1",
        "1.5",
        "null",
        "true",
    ] {
        let body = format!("{{\"ExpirationTTL\":{ttl}}}");
        let (status, text) = api.ask(MASTER, "PUT", "/v1/acl/token", &body);
        lines.push(match status {
            200 => format!("{body}: {}", lives(&text)),
            _ => format!("{body}: {status} {}", crate::matrix::plain(&text, "none")),
        });
    }
    for (ahead, rest) in [(3600, ""), (3600, ".5"), (7200, ".123456789"), (86_000, "")] {
        let time = written(seconds_from_now(ahead), rest);
        let body = format!("{{\"ExpirationTime\":\"{time}\"}}");
        let made = api.must("PUT", "/v1/acl/token", &body);
        let kept = field(&made, "ExpirationTime") == time;
        lines.push(format!("{ahead}{rest} s from now: kept as given: {kept}"));
    }
    for ahead in [10, 50, 87_000] {
        let time = written(seconds_from_now(ahead), "");
        let body = format!("{{\"ExpirationTime\":\"{time}\"}}");
        let (status, text) = api.ask(MASTER, "PUT", "/v1/acl/token", &body);
        let text = text.split(" (was ").next().unwrap_or_default().to_owned();
        lines.push(format!("{ahead} s from now: {status} {text}"));
    }
    let both = format!(
        "{{\"ExpirationTTL\":\"1h\",\"ExpirationTime\":\"{}\"}}",
        written(seconds_from_now(3600), "")
    );
    let (status, text) = api.ask(MASTER, "PUT", "/v1/acl/token", &both);
    lines.push(format!("both: {status} {text}"));
}

/// What an end is worth when a token is changed or copied.
fn changes(api: &mut Api, lines: &mut Vec<String>) {
    let made = api.must("PUT", "/v1/acl/token", "{\"ExpirationTTL\":\"2h\"}");
    let target = format!("/v1/acl/token/{}", field(&made, "AccessorID"));
    let end = field(&made, "ExpirationTime");
    for body in [
        "{\"Description\":\"x\"}".to_owned(),
        format!("{{\"ExpirationTime\":\"{end}\"}}"),
        "{\"ExpirationTTL\":\"2h\"}".to_owned(),
        "{\"ExpirationTime\":\"2030-01-01T00:00:00Z\"}".to_owned(),
    ] {
        let (status, text) = api.ask(MASTER, "PUT", &target, &body);
        let same = field(&text, "ExpirationTime") == end;
        let text = match status {
            200 => String::new(),
            _ => crate::matrix::plain(&text, "none"),
        };
        lines.push(format!("changed: {status} {text} same end: {same}"));
    }
    let copy = api.must("PUT", &format!("{target}/clone"), "{}");
    lines.push(format!("copy: {}", field(&copy, "ExpirationTime") == end));
    let list = api.must("GET", "/v1/acl/tokens", "");
    lines.push(format!("listed: {}", list.matches(&end).count()));
}

/// A token of a minute works, then is refused, then is removed without anybody's doing.
fn ends(
    side: &Side,
    agent: &crate::common::agent::Agent,
    api: &mut Api,
    ending: &[String; 2],
    lines: &mut Vec<String>,
) {
    api.must("PUT", "/v1/kv/a", "1");
    let secrets = [0, 1].map(|n| field(&ending[n], "SecretID"));
    let accessors = [0, 1].map(|n| field(&ending[n], "AccessorID"));
    for secret in &secrets {
        lines.push(told(api, ("new", secret), "PUT", "/v1/kv/b", "1"));
    }
    let (_, text) = api.ask(MASTER, "GET", "/v1/kv/a", "");
    let index = text
        .split_once("\"ModifyIndex\":")
        .map_or("", |(_, rest)| rest.trim_end_matches("}]"))
        .to_owned();
    // Only ours promises that a query that waits ends with its token.
    let waiting = side.ours.then(|| {
        let mut other = Api::patient(agent, MINUTES);
        let secret = secrets[0].clone();
        std::thread::spawn(move || {
            other.ask(
                &secret,
                "GET",
                &format!("/v1/kv/a?wait=10m&index={index}"),
                "",
            )
        })
    });
    let index = |api: &mut Api| api.index(MASTER, "/v1/acl/tokens").unwrap_or_default();
    let before = index(api);
    for secret in &secrets {
        let ended = try_until(MINUTES, || {
            let (status, _) = api.ask(secret, "GET", "/v1/acl/token/self", "");
            (status != 200).then_some(())
        });
        assert!(ended.is_some(), "the token lives:\n{}", agent.log_tail(20));
        lines.push(told(
            api,
            ("ended", secret),
            "GET",
            "/v1/acl/token/self",
            "",
        ));
        lines.push(told(api, ("ended", secret), "PUT", "/v1/kv/b", "1"));
        lines.push(told(api, ("ended", secret), "GET", "/v1/agent/self", ""));
        lines.push(told(api, ("ended", secret), "GET", "/v1/catalog/nodes", ""));
    }
    for accessor in &accessors {
        let target = format!("/v1/acl/token/{accessor}");
        let gone = try_until(MINUTES, || {
            let (status, _) = api.ask(MASTER, "GET", &target, "");
            (status != 200).then_some(())
        });
        assert!(gone.is_some(), "it can be read:\n{}", agent.log_tail(20));
        let (status, text) = api.ask(MASTER, "GET", &target, "");
        lines.push(format!("by accessor: {status} {text}"));
    }
    let reaped = try_until(MINUTES, || (index(api) > before).then_some(()));
    assert!(reaped.is_some(), "never removed:\n{}", agent.log_tail(20));
    let list = api.must("GET", "/v1/acl/tokens", "");
    let left = accessors.iter().filter(|a| list.contains(*a)).count();
    lines.push(format!("still listed: {left}"));
    if let Some(waiting) = waiting {
        let (status, text) = waiting.join().unwrap();
        assert_eq!((status, text.as_str()), (403, "ACL not found"));
    }
}
