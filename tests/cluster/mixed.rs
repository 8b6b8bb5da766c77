//! Real Consul 1.8.7 and consul-lite in one datacenter: our client agents with real servers, and real client
//! agents with our servers, with and without encrypted gossip. Each goes through the same life.

use std::path::Path;

use crate::common::consul_lite;
use crate::common::harness::{Outcome, Test};
use crate::common::json::Json;
use crate::datacenter::{Datacenter, real};

/// Gossip encryption, as a member of a configuration.
const ENCRYPTED: &str = r#""encrypt": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=","#;

pub fn tests() -> Vec<Test> {
    let case = |name: &str, servers: u8, extra: &'static str, ours_serve: bool| {
        Test::new(format!("mixed::{name}"), move || {
            let real = match real() {
                Ok(real) => real,
                Err(why) => return Outcome::Skipped(why),
            };
            let ours = consul_lite();
            match ours_serve {
                true => life(servers, extra, &ours, &real),
                false => life(servers, extra, &real, &ours),
            }
            Outcome::Passed
        })
    };
    vec![
        case("our_client_with_a_real_server", 1, "", false),
        case("our_client_with_three_real_servers", 3, "", false),
        case(
            "our_client_with_a_real_server_encrypted",
            1,
            ENCRYPTED,
            false,
        ),
        case("a_real_client_with_our_server", 1, "", true),
        case("a_real_client_with_three_of_our_servers", 3, "", true),
        case(
            "a_real_client_with_our_server_encrypted",
            1,
            ENCRYPTED,
            true,
        ),
    ]
}

/// Servers of one kind and a client agent of the other, from the first join to the last leave.
fn life(servers: u8, extra: &str, server_binary: &Path, client_binary: &Path) {
    let mut dc = Datacenter::new(servers, extra);
    dc.start_servers(server_binary);
    dc.start_client(client_binary, "c1");
    for viewer in ["s1", "c1"] {
        dc.wait_status(viewer, "c1", 1);
        dc.wait_status(viewer, "s1", 1);
    }
    services_and_checks(&mut dc);
    names(&mut dc);
    keys(&mut dc);
    locks(&mut dc);
    events(&mut dc);
    snapshot(&mut dc);
    coordinates(&mut dc);
    if servers > 1 {
        loss_of_the_leader(&mut dc);
    }
    failure_and_return(&mut dc);
    leave_and_return(&mut dc);
}

fn services_and_checks(dc: &mut Datacenter) {
    let own = dc.get("c1").agent.http();
    let web = format!(
        r#"{{"Name": "web", "ID": "web1", "Port": 80, "Tags": ["blue"], "Meta": {{"v": "1"}}, "Checks": [
            {{"CheckID": "ttl", "Name": "told", "TTL": "10m"}},
            {{"CheckID": "http", "Name": "asked", "HTTP": "http://{own}/v1/status/leader", "Interval": "1s"}}]}}"#
    );
    dc.must("c1", "PUT", "/v1/agent/service/register", &web);
    dc.must("c1", "PUT", "/v1/agent/check/pass/ttl?note=well", "");
    let healthy = "/v1/health/service/web?passing";
    for viewer in ["s1", "c1"] {
        dc.wait_contains(viewer, healthy, "\"ID\":\"web1\"");
    }
    dc.must("c1", "PUT", "/v1/agent/check/fail/ttl?note=unwell", "");
    dc.wait_contains("s1", "/v1/health/checks/web", "\"Output\":\"unwell\"");
    dc.wait_lacks("s1", healthy, "web1");
    dc.must("c1", "PUT", "/v1/agent/check/pass/ttl", "");
    dc.wait_contains("s1", healthy, "web1");
    dc.wait_contains("s1", "/v1/health/node/c1", "Agent alive and reachable");
    dc.must(
        "c1",
        "PUT",
        "/v1/agent/maintenance?enable=true&reason=test",
        "",
    );
    dc.wait_lacks("s1", healthy, "web1");
    dc.must("c1", "PUT", "/v1/agent/maintenance?enable=false", "");
    dc.wait_contains("s1", healthy, "web1");
}

/// DNS says the same at both, once each has heard of the service: lookups may be answered by a server that lags.
fn names(dc: &mut Datacenter) {
    let address = dc.get("c1").agent.http().ip().to_string();
    for name in ["s1", "c1"] {
        dc.wait(&format!("{name} answers with {address}"), |dc| {
            let found = dc.dig(name, &["web.service.consul", "A"]).join("\n");
            found.contains(&address).then_some(())
        });
    }
    for question in [
        ["web.service.consul", "A"],
        ["blue.web.service.consul", "SRV"],
        ["c1.node.consul", "A"],
        ["none.service.consul", "A"],
    ] {
        dc.wait(&format!("{question:?} at c1 as at s1"), |dc| {
            let (server, client) = (dc.dig("s1", &question), dc.dig("c1", &question));
            (client == server).then_some(())
        });
    }
}

fn keys(dc: &mut Datacenter) {
    assert_eq!(dc.must("c1", "PUT", "/v1/kv/a/b", "one").trim(), "true");
    assert_eq!(dc.must("s1", "GET", "/v1/kv/a/b?raw&consistent", ""), "one");
    assert_eq!(
        dc.must("c1", "PUT", "/v1/kv/a/b?cas=1", "two").trim(),
        "false"
    );
    let txn = r#"[{"KV": {"Verb": "set", "Key": "a/c", "Value": "dHhu"}}, {"KV": {"Verb": "get", "Key": "a/b"}}]"#;
    let done = dc.must("c1", "PUT", "/v1/txn", txn);
    assert!(done.contains("b25l"), "{done}");
    assert_eq!(dc.must("s1", "GET", "/v1/kv/a/c?raw", ""), "txn");
    // A query that blocks at the client wakes by a write at a server.
    let index = dc
        .request("c1", "GET", "/v1/kv/a/b", "")
        .and_then(|r| r.index());
    let index = index.expect("an index");
    let mut client = dc.get("c1").agent.client();
    let target = format!("/v1/kv/a/b?raw&index={index}&wait=60s");
    let blocked = std::thread::spawn(move || client.get(&target).map(|r| r.text()));
    dc.must("s1", "PUT", "/v1/kv/a/b", "three");
    let woken = blocked
        .join()
        .expect("a thread that ends")
        .expect("an answer");
    assert_eq!(woken, "three");
    // More than goes over the wire at once.
    for n in 0..40 {
        let value = char::from(b'a' + n % 26).to_string().repeat(20_000);
        dc.must("c1", "PUT", &format!("/v1/kv/a/large/{n:02}"), &value);
    }
    for target in ["/v1/kv/a/large/?recurse", "/v1/kv/a/?keys"] {
        let target = format!("{target}&consistent");
        let listed = dc.must("c1", "GET", &target, "");
        assert_eq!(listed.matches("a/large/").count(), 40);
        assert!(listed == dc.must("s1", "GET", &target, ""), "{target}");
    }
    assert_eq!(
        dc.must("c1", "DELETE", "/v1/kv/a/?recurse", "").trim(),
        "true"
    );
    let gone = dc.request("s1", "GET", "/v1/kv/a/b", "");
    assert_eq!(gone.map(|r| r.status), Some(404));
}

fn locks(dc: &mut Datacenter) {
    let create = |dc: &mut Datacenter, at: &str| {
        let made = dc.must(
            at,
            "PUT",
            "/v1/session/create",
            r#"{"LockDelay": "0s", "TTL": "600s"}"#,
        );
        let id =
            Json::parse(&made).and_then(|j| j.at(".ID").and_then(Json::scalar).map(str::to_owned));
        id.expect("a session's ID")
    };
    let (mine, theirs) = (create(dc, "c1"), create(dc, "s1"));
    let acquire = |id: &str| format!("/v1/kv/lock?acquire={id}");
    assert_eq!(dc.must("c1", "PUT", &acquire(&mine), "c1").trim(), "true");
    assert_eq!(
        dc.must("s1", "PUT", &acquire(&theirs), "s1").trim(),
        "false"
    );
    let renewed = dc.must("c1", "PUT", &format!("/v1/session/renew/{mine}"), "");
    assert!(
        renewed.contains(&mine) && renewed.contains("\"Node\":\"c1\""),
        "{renewed}"
    );
    dc.must("c1", "PUT", &format!("/v1/session/destroy/{mine}"), "");
    dc.wait("the lock is free", |dc| {
        let taken = dc.ask("s1", "PUT", &acquire(&theirs), "s1")?;
        (taken.trim() == "true").then_some(())
    });
    dc.must("s1", "PUT", &format!("/v1/session/destroy/{theirs}"), "");
}

fn events(dc: &mut Datacenter) {
    for (from, to) in [("c1", "s1"), ("s1", "c1")] {
        let name = format!("from-{from}");
        dc.must(from, "PUT", &format!("/v1/event/fire/{name}"), "payload");
        for at in [from, to] {
            dc.wait_contains(at, &format!("/v1/event/list?name={name}"), "cGF5bG9hZA==");
        }
    }
}

fn snapshot(dc: &mut Datacenter) {
    dc.must("c1", "PUT", "/v1/kv/kept", "before");
    let saved = dc
        .request("c1", "GET", "/v1/snapshot", "")
        .expect("an answer");
    assert_eq!(saved.status, 200, "{}", saved.text());
    assert_eq!(
        saved.body.get(..2),
        Some(&[0x1f, 0x8b][..]),
        "a gzip archive"
    );
    dc.must("c1", "PUT", "/v1/kv/kept", "after");
    let mut client = dc.get("c1").agent.client();
    let restored = client.put("/v1/snapshot", &saved.body).expect("an answer");
    assert_eq!(restored.status, 200, "{}", restored.text());
    dc.wait("the restored value", |dc| {
        (dc.ask("s1", "GET", "/v1/kv/kept?raw", "")? == "before").then_some(())
    });
    let refused = dc.request("c1", "PUT", "/v1/snapshot", "garbage");
    assert_eq!(refused.map(|r| r.status), Some(500));
    dc.wait_contains("s1", "/v1/health/service/web?passing", "web1");
}

fn coordinates(dc: &mut Datacenter) {
    dc.wait_contains("s1", "/v1/coordinate/node/c1", "\"Vec\"");
    dc.wait_contains("c1", "/v1/coordinate/nodes", "\"Node\":\"c1\"");
}

/// The client goes on while the servers choose another leader.
fn loss_of_the_leader(dc: &mut Datacenter) {
    let leader = dc.leader("c1");
    dc.get(&leader).agent.kill();
    dc.wait("a write through the client", |dc| {
        let done = dc.ask("c1", "PUT", "/v1/kv/after", "loss")?;
        (done.trim() == "true").then_some(())
    });
    let other = if leader == "s1" { "s2" } else { "s1" };
    // It may not have heard of the next leader yet.
    let read = dc.wait("a read at another server", |dc| {
        dc.ask(other, "GET", "/v1/kv/after?raw", "")
    });
    assert_eq!(read, "loss");
    dc.wait_status("c1", &leader, 4);
    dc.get(&leader).agent.restart();
    dc.wait_status("c1", &leader, 1);
    dc.wait_for_leader();
}

/// Killed without a word: critical, and back with what it had.
fn failure_and_return(dc: &mut Datacenter) {
    dc.get("c1").agent.kill();
    dc.wait_status("s1", "c1", 4);
    dc.wait_contains("s1", "/v1/health/node/c1", "Agent not live or unreachable");
    dc.wait_lacks("s1", "/v1/health/service/web?passing", "web1");
    dc.get("c1").agent.restart();
    dc.wait_status("s1", "c1", 1);
    dc.wait_contains("s1", "/v1/health/node/c1", "Agent alive and reachable");
    dc.wait_contains("c1", "/v1/agent/services", "web1");
    dc.must("c1", "PUT", "/v1/agent/check/pass/ttl", "");
    dc.wait_contains("s1", "/v1/health/service/web?passing", "web1");
}

/// Gone with a word: forgotten, and back when it joins again.
fn leave_and_return(dc: &mut Datacenter) {
    assert_eq!(dc.leave("c1"), Some(0));
    dc.wait_status("s1", "c1", 3);
    dc.wait_lacks("s1", "/v1/catalog/nodes", "\"Node\":\"c1\"");
    dc.wait_lacks("s1", "/v1/catalog/services", "\"web\"");
    dc.get("c1").agent.restart();
    dc.wait_status("s1", "c1", 1);
    dc.wait_contains("s1", "/v1/catalog/service/web", "\"ServiceID\":\"web1\"");
    dc.wait_contains("s1", "/v1/health/node/c1", "Agent alive and reachable");
}
