//! What every endpoint does alike: routing, methods, headers, query options, encodings.

use std::io::Read;

use consul_lite::http::Live;
use consul_lite::structs::go::GoDuration;

use crate::common::http::{Client, Response};
use crate::stub::Running;

fn ask(c: &mut Client, method: &str, target: &str) -> Response {
    c.request(method, target, &[], b"").unwrap()
}

fn ask_with(c: &mut Client, method: &str, target: &str, header: (&str, &str)) -> Response {
    let headers = [(header.0.to_owned(), header.1.to_owned())];
    c.request(method, target, &headers, b"").unwrap()
}

#[test]
fn a_key_goes_in_and_comes_out() {
    let server = Running::start();
    let mut c = server.client();
    let missing = c.get("/v1/kv/foo").unwrap();
    assert_eq!((missing.status, missing.text().as_str()), (404, ""));
    assert_eq!(missing.index(), Some(1), "never 0");
    assert_eq!(c.put("/v1/kv/foo?flags=7", b"bar").unwrap().text(), "true");
    let found = c.get("/v1/kv/foo").unwrap();
    let want = concat!(
        r#"[{"LockIndex":0,"Key":"foo","Flags":7,"Value":"YmFy","#,
        r#""CreateIndex":1,"ModifyIndex":1}]"#
    );
    assert_eq!(found.text(), want);
    let names: Vec<&str> = found.headers.iter().map(|h| h.0.as_str()).collect();
    for name in [
        "Content-Type",
        "Vary",
        "X-Consul-Index",
        "X-Consul-Knownleader",
        "X-Consul-Lastcontact",
        "Date",
        "Content-Length",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(names.len(), 7, "{names:?}");
    let raw = c.get("/v1/kv/foo?raw").unwrap();
    assert_eq!(raw.text(), "bar");
    assert_eq!(raw.header("Content-Type"), Some("text/plain"));
    assert_eq!(raw.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(raw.header("Content-Security-Policy"), Some("sandbox"));
}

#[test]
fn paths_are_decoded_cleaned_and_redirected() {
    let server = Running::start();
    let mut c = server.client();
    let moved = ask(&mut c, "GET", "/v1//kv/x?a=b%20c");
    assert_eq!(moved.status, 301);
    assert_eq!(moved.header("Location"), Some("/v1/kv/x?a=b%20c"));
    let body = "<a href=\"/v1/kv/x?a=b%20c\">Moved Permanently</a>.\n\n";
    assert_eq!(moved.text(), body);
    assert_eq!(moved.header("Vary"), None);
    let moved = ask(&mut c, "PUT", "/v1/kv/%2Fabs");
    assert_eq!((moved.status, moved.text().as_str()), (301, ""));
    assert_eq!(moved.header("Location"), Some("/v1/kv/abs"));
    assert_eq!(
        ask(&mut c, "GET", "/v1/kv").header("Location"),
        Some("/v1/kv/")
    );
    assert_eq!(ask(&mut c, "PUT", "/v1/kv/a%2Fb+c;d").text(), "true");
    assert!(
        c.get("/v1/kv/a/b%2Bc%3Bd")
            .unwrap()
            .text()
            .contains("\"a/b+c;d\"")
    );
    let unknown = c.get("/v1/nope").unwrap();
    assert_eq!((unknown.status, unknown.text().as_str()), (404, ""));
    assert_eq!(unknown.header("Vary"), None);
    assert_eq!(unknown.header("Content-Length"), Some("0"));
    assert_eq!(c.get("/v1/status/leader/").unwrap().status, 404);
    let index = c.get("/").unwrap();
    assert_eq!(index.text(), "Consul Agent");
}

#[test]
fn methods() {
    let server = Running::start();
    let mut c = server.client();
    let wrong = ask(&mut c, "POST", "/v1/kv/a");
    assert_eq!(
        (wrong.status, wrong.text().as_str()),
        (405, "method POST not allowed")
    );
    assert_eq!(wrong.header("Allow"), Some("OPTIONS,GET,PUT,DELETE"));
    let head = ask(&mut c, "HEAD", "/v1/status/leader");
    assert_eq!(
        (head.status, head.header("Allow")),
        (405, Some("OPTIONS,GET"))
    );
    let options = ask(&mut c, "OPTIONS", "/v1/catalog/register");
    assert_eq!((options.status, options.text().as_str()), (200, ""));
    assert_eq!(options.header("Allow"), Some("OPTIONS,PUT"));
}

#[test]
fn checks_come_in_consuls_order() {
    let server = Running::with(|s| {
        s.block_endpoints = vec!["/v1/status/".to_owned()];
        s.allow_write_http_from = vec!["10.0.0.0/8".parse().unwrap()];
        s.response_headers = vec![("x-my-hdr".parse().unwrap(), "v".parse().unwrap())];
        s.translate_wan_addrs = true;
    });
    let mut c = server.client();
    let bad_query = ask(&mut c, "POST", "/v1/status/leader?x=%zz");
    assert_eq!((bad_query.status, bad_query.text().as_str()), (500, ""));
    assert_eq!(bad_query.header("X-My-Hdr"), Some("v"));
    assert_eq!(
        bad_query.header("X-Consul-Translate-Addresses"),
        Some("true")
    );
    for method in ["OPTIONS", "GET", "POST"] {
        let blocked = ask(&mut c, method, "/v1/status/leader");
        assert_eq!(blocked.status, 403, "{method}");
        assert_eq!(blocked.text(), "Endpoint is blocked by agent configuration");
    }
    assert_eq!(ask(&mut c, "POST", "/v1/kv/a").status, 405);
    let restricted = ask(&mut c, "PUT", "/v1/kv/a");
    assert_eq!(
        (restricted.status, restricted.text().as_str()),
        (403, "Access is restricted")
    );
    assert_eq!(c.get("/v1/kv/a").unwrap().status, 404);
    assert_eq!(c.get("/nope").unwrap().header("X-My-Hdr"), None);
}

#[test]
fn bad_query_options_have_their_texts() {
    let server = Running::start();
    let mut c = server.client();
    let both = "Cannot specify ?stale with ?consistent, conflicting semantics.";
    for (query, want) in [
        ("index=-1", "Invalid index"),
        ("index=0x10", "Invalid index"),
        ("index=x&wait=y", "Invalid wait time"),
        ("wait=5", "Invalid wait time"),
        ("stale&consistent", both),
        ("stale=false;consistent=false", both),
        ("index=x&stale&consistent", both),
        (
            "max_stale=abc&stale&consistent",
            "Invalid max_stale value \"abc\"",
        ),
        ("max_stale=1s&consistent", both),
        (
            "cached&consistent",
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ),
    ] {
        for path in ["/v1/kv/a", "/v1/catalog/nodes"] {
            let answer = c.get(&format!("{path}?{query}")).unwrap();
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (400, want),
                "{path} {query}"
            );
            assert_eq!(answer.index(), None);
        }
    }
    let answer = ask_with(&mut c, "GET", "/v1/kv/a", ("Cache-Control", "max-age=x"));
    assert_eq!(answer.text(), "Invalid Cache-Control header.");
    for fine in [
        "index=&wait=&dc=&token=&filter=",
        "wait=-5s",
        "max_stale=0&consistent",
    ] {
        assert_eq!(
            c.get(&format!("/v1/kv/a?{fine}")).unwrap().status,
            404,
            "{fine}"
        );
    }
}

#[test]
fn failed_reads_and_failed_writes() {
    let server = Running::start();
    let mut c = server.client();
    let read = c.get("/v1/session/list").unwrap();
    assert_eq!(
        (read.status, read.text().as_str()),
        (500, "No cluster leader")
    );
    assert_eq!(read.index(), Some(1));
    assert_eq!(read.header("X-Consul-Knownleader"), Some("false"));
    assert_eq!(read.header("X-Consul-Lastcontact"), Some("0"));
    assert_eq!(
        read.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    let write = c.put("/v1/kv/a?acquire=x", b"").unwrap();
    assert_eq!(
        (write.status, write.text().as_str()),
        (500, "invalid session \"x\"")
    );
    assert_eq!(write.index(), None);
    let denied = c.put("/v1/kv/a?release=x", b"").unwrap();
    assert_eq!(denied.status, 403);
    assert_eq!(denied.text(), "rpc error making call: Permission denied");
}

#[test]
fn kv_parameters() {
    let server = Running::start();
    let mut c = server.client();
    for (method, target, status, want) in [
        ("GET", "/v1/kv/", 400, "Missing key name"),
        ("PUT", "/v1/kv/", 400, "Missing key name"),
        ("DELETE", "/v1/kv/", 400, "Missing key name"),
        (
            "PUT",
            "/v1/kv/a?cas=0&acquire=a/b",
            400,
            "Conflicting flags: acquire=a%2Fb&cas=0",
        ),
        (
            "DELETE",
            "/v1/kv/a?recurse&cas=1",
            400,
            "Conflicting flags: cas=1&recurse=",
        ),
        (
            "PUT",
            "/v1/kv/a?cas=",
            500,
            "strconv.ParseUint: parsing \"\": invalid syntax",
        ),
        (
            "PUT",
            "/v1/kv/a?flags=x",
            500,
            "strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "DELETE",
            "/v1/kv/a?cas=-1",
            500,
            "strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        ("GET", "/v1/kv/?keys", 200, "[]"),
        ("GET", "/v1/kv/zz?keys", 404, ""),
        ("GET", "/v1/kv/zz?recurse=false", 404, ""),
        ("PUT", "/v1/kv/a?cas=5", 200, "false"),
        ("PUT", "/v1/kv/a?cas=0", 200, "true"),
        ("DELETE", "/v1/kv/a", 200, "true"),
    ] {
        let answer = ask(&mut c, method, target);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, want),
            "{method} {target}"
        );
    }
}

#[test]
fn stale_reads_and_their_headers() {
    let live = Live {
        discovery_max_stale: GoDuration::from_secs(10),
        default_token: "agents-own".to_owned(),
    };
    let server = Running::full(|_| {}, live, None);
    let mut c = server.client();
    let mut consistency = |query: &str| {
        let answer = c.get(&format!("/v1/catalog/nodes?{query}")).unwrap();
        assert_eq!(answer.text(), "[]");
        let word = answer
            .header("X-Consul-Effective-Consistency")
            .unwrap()
            .to_owned();
        (
            word,
            answer.header("X-Consul-Lastcontact").unwrap().to_owned(),
        )
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        consistency(""),
        pair("stale", "5000"),
        "discovery_max_stale"
    );
    assert_eq!(consistency("leader"), pair("leader", "0"));
    assert_eq!(consistency("consistent"), pair("consistent", "0"));
    assert_eq!(consistency("stale"), pair("stale", "5000"));
    assert_eq!(consistency("max_stale=6s"), pair("stale", "5000"));
    assert_eq!(
        consistency("max_stale=4s"),
        pair("stale", "0"),
        "asked again"
    );
}

#[test]
fn token_dc_near_and_node_meta_reach_the_servers() {
    let live = Live {
        default_token: "agents-own".to_owned(),
        ..Live::default()
    };
    let server = Running::full(|_| {}, live, None);
    let mut c = server.client();
    let mut seen = |target: &str, header: (&str, &str)| {
        ask_with(&mut c, "GET", target, header);
        server.stub.seen.lock().unwrap().pop().unwrap()
    };
    let none = ("X-Other", "x");
    for (target, header, want) in [
        ("/v1/catalog/nodes", none, "agents-own"),
        ("/v1/catalog/nodes?token=", none, "agents-own"),
        ("/v1/catalog/nodes?token=a", ("X-Consul-Token", "b"), "a"),
        ("/v1/catalog/nodes", ("X-Consul-Token", "b"), "b"),
        ("/v1/catalog/nodes", ("Authorization", "bEARER   c d"), "c"),
        (
            "/v1/catalog/nodes",
            ("Authorization", "Basic c"),
            "agents-own",
        ),
    ] {
        let args = seen(target, header);
        assert!(
            args.contains(&format!("token: \"{want}\"")),
            "{target} {header:?}: {args}"
        );
    }
    let args = seen(
        "/v1/catalog/nodes?dc=dc2&near=_agent&node-meta=a:b:c&node-meta=d&filter=x",
        none,
    );
    for want in [
        "{ datacenter: \"dc2\"",
        "node: \"n1\"",
        "{\"a\": \"b:c\", \"d\": \"\"}",
        "filter: \"x\"",
    ] {
        assert!(args.contains(want), "{want} in {args}");
    }
}

#[test]
fn pretty_and_gzip() {
    let server = Running::start();
    let mut c = server.client();
    let pretty = c.get("/v1/status/leader?pretty=false").unwrap();
    assert_eq!(pretty.text(), "\"127.0.0.1:8300\"\n");
    c.put("/v1/kv/a", b"x").unwrap();
    let pretty = c.get("/v1/kv/a?pretty").unwrap();
    assert!(
        pretty
            .text()
            .starts_with("[\n    {\n        \"LockIndex\": 0,\n")
    );
    assert!(pretty.text().ends_with("\n    }\n]\n"));
    let long = "v".repeat(5000);
    c.put("/v1/kv/long", long.as_bytes()).unwrap();
    for (target, want) in [
        ("/v1/status/leader", "\"127.0.0.1:8300\""),
        ("/v1/kv/long?raw", long.as_str()),
        ("/v1/kv/x?index=x", "Invalid index"),
    ] {
        let answer = ask_with(&mut c, "GET", target, ("Accept-Encoding", "deflate, gzip"));
        assert_eq!(answer.header("Content-Encoding"), Some("gzip"), "{target}");
        let mut text = String::new();
        let mut decoder = flate2::read::GzDecoder::new(answer.body.as_slice());
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!(text, want);
    }
    let empty = ask_with(&mut c, "GET", "/v1/kv/nope", ("Accept-Encoding", "gzip"));
    assert_eq!(empty.header("Content-Encoding"), None);
    let plain = ask_with(
        &mut c,
        "GET",
        "/v1/status/leader",
        ("Accept-Encoding", "gzip;q=0"),
    );
    assert_eq!(plain.header("Content-Encoding"), None);
}

#[test]
fn absent_features_say_so() {
    let server = Running::start();
    let mut c = server.client();
    let acl = c.get("/v1/acl/tokens").unwrap();
    assert_eq!(
        (acl.status, acl.text().as_str()),
        (401, "ACL support disabled")
    );
    assert_eq!(c.get("/v1/config/service-defaults").unwrap().text(), "[]");
    let query = ask(&mut c, "POST", "/v1/query");
    assert_eq!(query.status, 501);
    assert!(
        query
            .text()
            .starts_with("Prepared queries are not supported")
    );
    assert_eq!(
        c.get("/v1/query/web/execute").unwrap().text(),
        "Query not found"
    );
    assert_eq!(c.get("/v1/peerings").unwrap().status, 404);
}

#[test]
fn snapshots_stream_both_ways() {
    let server = Running::start();
    let mut c = server.client();
    let saved = c.get("/v1/snapshot").unwrap();
    assert_eq!(saved.body, vec![7; 300_000]);
    assert_eq!(saved.header("Content-Type"), Some("application/x-gzip"));
    assert_eq!(saved.index(), Some(42));
    let restored = c.put("/v1/snapshot", &saved.body).unwrap();
    assert_eq!((restored.status, restored.text().as_str()), (200, ""));
    assert_eq!(restored.header("Content-Type"), None);
    assert_eq!(*server.stub.restored.lock().unwrap(), saved.body);
    let stale = c.put("/v1/snapshot?stale", b"").unwrap();
    assert_eq!(stale.text(), "stale not allowed for restore");
}
