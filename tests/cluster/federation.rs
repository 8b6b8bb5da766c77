//! Two datacenters joined by their WAN pools, ours or a real Consul's: calls for the other one are answered there,
//! whoever is asked, and its end shows in the words that Consul's users know.

use std::path::Path;

use crate::common::agent::SERF_WAN;
use crate::common::consul_lite;
use crate::common::harness::{Outcome, Test};
use crate::common::json::Json;
use crate::datacenter::{Datacenter, real};

pub fn tests() -> Vec<Test> {
    let with_real = |name: &str, pick: fn(&Path, &Path)| {
        Test::new(format!("federation::{name}"), move || match real() {
            Ok(real) => {
                pick(&consul_lite(), &real);
                Outcome::Passed
            }
            Err(why) => Outcome::Skipped(why),
        })
    };
    vec![
        Test::new("federation::ours_with_ours", || {
            two(&consul_lite(), &consul_lite());
            Outcome::Passed
        }),
        with_real("ours_asks_real_servers", two),
        with_real("real_servers_ask_ours", |ours, real| two(real, ours)),
    ]
}

/// The first datacenter asks the second, which has two servers and in the end none.
fn two(first: &Path, second: &Path) {
    let mut near = Datacenter::new(1, r#""datacenter": "dc1", "translate_wan_addrs": true,"#);
    let seed = format!(
        r#""datacenter": "dc2", "retry_join_wan": ["{}:{SERF_WAN}"], "retry_interval_wan": "1s","#,
        near.ip(1)
    );
    let mut far = Datacenter::new(2, &seed);
    near.start_servers(first);
    near.start_client(first, "c1");
    far.start_servers(second);
    for asked in ["s1", "c1"] {
        near.wait(&format!("{asked} knows both datacenters"), |dc| {
            let found = dc.ask(asked, "GET", "/v1/catalog/datacenters", "")?;
            (names(&found)? == ["dc1", "dc2"]).then_some(())
        });
    }
    far.wait("the other way round", |dc| {
        let found = dc.ask("s1", "GET", "/v1/catalog/datacenters", "")?;
        (names(&found)? == ["dc2", "dc1"]).then_some(())
    });
    // Both servers of the far one, so that a lost one can be stepped over.
    near.wait("all servers in the WAN pool", |dc| {
        let found = dc.ask("s1", "GET", "/v1/agent/members?wan=1", "")?;
        (found.matches("\"Status\":1").count() == 3).then_some(())
    });
    coordinates(&mut near);
    for asked in ["s1", "c1"] {
        keys(&mut near, &mut far, asked);
        catalog(&mut near, &mut far, asked);
        sessions(&mut near, asked);
    }
    events(&mut near, &mut far);
    snapshots(&mut near, &mut far);
    dns(&mut near, &mut far);
    command_line(&mut near);
    unknown(&mut near);
    losses(&mut near, &mut far);
}

/// A JSON list of strings.
fn names(text: &str) -> Option<Vec<String>> {
    let Json::List(list) = Json::parse(text)? else {
        return None;
    };
    let text = |item: &Json| item.scalar().map(str::to_owned);
    list.iter().map(text).collect()
}

fn coordinates(near: &mut Datacenter) {
    for asked in ["s1", "c1"] {
        near.wait(&format!("{asked} tells WAN coordinates"), |dc| {
            let found = dc.ask(asked, "GET", "/v1/coordinate/datacenters", "")?;
            (found.contains("\"Datacenter\":\"dc2\"") && found.matches("\"Vec\"").count() == 3)
                .then_some(())
        });
    }
}

fn keys(near: &mut Datacenter, far: &mut Datacenter, asked: &str) {
    let key = format!("/v1/kv/from-{asked}");
    let remote = format!("{key}?dc=dc2");
    assert_eq!(near.must(asked, "PUT", &remote, "far").trim(), "true");
    assert_eq!(near.must(asked, "GET", &format!("{remote}&raw"), ""), "far");
    let consistent = format!("{key}?raw&consistent");
    assert_eq!(far.must("s1", "GET", &consistent, ""), "far");
    let here = near.request(asked, "GET", &key, "");
    assert_eq!(here.map(|r| r.status), Some(404), "kept apart");
    let txn = r#"[{"KV": {"Verb": "set", "Key": "txn", "Value": "dHhu"}}]"#;
    near.must(asked, "PUT", "/v1/txn?dc=dc2", txn);
    assert_eq!(
        far.must("s2", "GET", "/v1/kv/txn?raw&consistent", ""),
        "txn"
    );
    // A query that blocks here wakes by a write there.
    let index = near
        .request(asked, "GET", &remote, "")
        .and_then(|r| r.index());
    let index = index.expect("an index");
    let mut client = near.get(asked).agent.client();
    let target = format!("{remote}&raw&index={index}&wait=60s");
    let blocked = std::thread::spawn(move || client.get(&target).map(|r| r.text()));
    far.must("s1", "PUT", &key, "woken");
    let woken = blocked.join().expect("a thread that ends");
    assert_eq!(woken.expect("an answer"), "woken");
}

fn catalog(near: &mut Datacenter, far: &mut Datacenter, asked: &str) {
    let name = format!("web-{asked}");
    let service = format!(r#"{{"Name": "{name}", "Port": 80, "Tags": ["far"]}}"#);
    far.must("s1", "PUT", "/v1/agent/service/register", &service);
    let healthy = format!("/v1/health/service/{name}?passing&dc=dc2&near=_agent");
    near.wait_contains(asked, &healthy, "\"Datacenter\":\"dc2\"");
    for cached in ["", "&cached"] {
        let target = format!("/v1/catalog/service/{name}?dc=dc2{cached}");
        near.wait_contains(asked, &target, "\"Node\":\"s1\"");
        let here = near.must(
            asked,
            "GET",
            &format!("/v1/catalog/service/{name}?{cached}"),
            "",
        );
        assert_eq!(here.trim(), "[]", "the near catalog has no such service");
    }
    let leader = near.must(asked, "GET", "/v1/status/leader?dc=dc2", "");
    assert!(
        leader.contains(
            &far.ip(1)
                .to_string()
                .rsplit_once('.')
                .map_or(String::new(), |(net, _)| net.to_owned())
        ),
        "{leader}"
    );
    let peers = near.must(asked, "GET", "/v1/status/peers?dc=dc2", "");
    assert_eq!(
        names(&peers).map(|p| p.len()),
        Some(2),
        "the peers of the other: {peers}"
    );
    let outside = r#"{"Datacenter": "dc2", "Node": "outside", "Address": "10.9.9.9", "Service": {"Service": "lone"}}"#;
    near.must(asked, "PUT", "/v1/catalog/register", outside);
    far.wait_contains("s1", "/v1/catalog/service/lone", "10.9.9.9");
    let gone = r#"{"Datacenter": "dc2", "Node": "outside"}"#;
    near.must(asked, "PUT", "/v1/catalog/deregister", gone);
    far.wait_lacks("s1", "/v1/catalog/nodes", "outside");
}

fn sessions(near: &mut Datacenter, asked: &str) {
    let made = near.must(
        asked,
        "PUT",
        "/v1/session/create?dc=dc2",
        r#"{"Node": "s2", "TTL": "600s", "LockDelay": "0s"}"#,
    );
    let id = Json::parse(&made).and_then(|j| j.at(".ID").and_then(Json::scalar).map(str::to_owned));
    let id = id.expect("a session's ID");
    let listed = near.must(asked, "GET", "/v1/session/list?dc=dc2", "");
    assert!(listed.contains(&id), "{listed}");
    let lock = format!("/v1/kv/lock?dc=dc2&acquire={id}");
    assert_eq!(near.must(asked, "PUT", &lock, "").trim(), "true");
    near.must(
        asked,
        "PUT",
        &format!("/v1/session/destroy/{id}?dc=dc2"),
        "",
    );
    // What the far server refuses is told as its own words.
    let refused = near.request(
        asked,
        "PUT",
        "/v1/session/create?dc=dc2",
        r#"{"Node": "nobody"}"#,
    );
    let refused = refused.expect("an answer");
    assert_eq!(refused.status, 500);
    let text = refused.text();
    assert!(
        text.starts_with("rpc error making call: ") && text.ends_with("Missing node registration"),
        "{text}"
    );
}

fn events(near: &mut Datacenter, far: &mut Datacenter) {
    for asked in ["s1", "c1"] {
        let name = format!("far-{asked}");
        near.must(asked, "PUT", &format!("/v1/event/fire/{name}?dc=dc2"), "x");
        for heard in ["s1", "s2"] {
            far.wait_contains(heard, "/v1/event/list", &name);
        }
        let here = near.must("s1", "GET", "/v1/event/list", "");
        assert!(!here.contains(&name), "{here}");
    }
}

fn snapshots(near: &mut Datacenter, far: &mut Datacenter) {
    far.must("s1", "PUT", "/v1/kv/kept", "before");
    for asked in ["s1", "c1"] {
        let saved = near.request(asked, "GET", "/v1/snapshot?dc=dc2", "");
        let saved = saved.expect("an answer");
        assert_eq!(saved.status, 200, "{}", saved.text());
        far.must("s1", "PUT", "/v1/kv/kept", "after");
        let mut client = near.get(asked).agent.client();
        let restored = client.put("/v1/snapshot?dc=dc2", &saved.body);
        let restored = restored.expect("an answer");
        assert_eq!(restored.status, 200, "{}", restored.text());
        far.wait("the restored value", |dc| {
            (dc.ask("s1", "GET", "/v1/kv/kept?raw", "")? == "before").then_some(())
        });
    }
}

fn dns(near: &mut Datacenter, far: &mut Datacenter) {
    let address = far.ip(1).to_string();
    let service = r#"{"Name": "web", "Port": 80}"#;
    far.must("s1", "PUT", "/v1/agent/service/register", service);
    for asked in ["s1", "c1"] {
        for name in [
            "web.service.dc2.consul",
            "s1.node.dc2.consul",
            "WEB.service.DC2.consul",
        ] {
            near.wait(&format!("{name} at {asked}"), |dc| {
                let found = dc.dig(asked, &[name, "A"]).join("\n");
                found.contains(&address).then_some(())
            });
        }
        let here = near.dig(asked, &["web.service.consul", "A"]).join("\n");
        assert!(!here.contains(&address), "{here}");
    }
    // What changes there changes here.
    far.must("s1", "PUT", "/v1/agent/service/deregister/web", "");
    for asked in ["s1", "c1"] {
        near.wait(&format!("{asked} forgets it"), |dc| {
            let found = dc.dig(asked, &["web.service.dc2.consul", "A"]).join("\n");
            (!found.contains(&address)).then_some(())
        });
    }
}

/// `-datacenter` of the command line.
fn command_line(near: &mut Datacenter) {
    for asked in ["s1", "c1"] {
        let http = format!("-http-addr={}", near.get(asked).agent.http());
        let run = |words: &[&str], rest: &[&str]| {
            let mut command = std::process::Command::new(consul_lite());
            command.args(words).args([&http, "-datacenter=dc2"]);
            for name in ["CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN"] {
                command.env_remove(name);
            }
            let out = command.args(rest).output().expect("our own binary runs");
            assert!(out.status.success(), "{words:?}: {out:?}");
            String::from_utf8_lossy(&out.stdout).trim().to_owned()
        };
        let nodes = run(&["catalog", "nodes"], &[]);
        assert!(nodes.contains("dc2") && !nodes.contains("dc1"), "{nodes}");
        assert_eq!(run(&["kv", "get"], &["kept"]), "before");
        let peers = run(&["operator", "raft", "list-peers"], &[]);
        assert_eq!(peers.matches(" true ").count(), 2, "{peers}");
    }
}

fn unknown(near: &mut Datacenter) {
    for asked in ["s1", "c1"] {
        for (method, target) in [
            ("GET", "/v1/kv/x?dc=nowhere"),
            ("PUT", "/v1/kv/x?dc=nowhere"),
            ("GET", "/v1/catalog/nodes?dc=nowhere"),
            ("GET", "/v1/status/leader?dc=nowhere"),
            ("PUT", "/v1/event/fire/x?dc=nowhere"),
            ("GET", "/v1/snapshot?dc=nowhere"),
        ] {
            let answer = near.request(asked, method, target, "");
            let answer = answer.unwrap_or_else(|| panic!("{method} {target}: no answer"));
            assert_eq!(answer.status, 500, "{method} {target}");
            let text = answer.text();
            assert!(
                text.ends_with("No path to datacenter"),
                "{method} {target}: {text}"
            );
        }
        let found = near.dig(asked, &["web.service.nowhere.consul", "A"]);
        assert!(found.join("\n").contains("NXDOMAIN"), "{found:?}");
    }
}

/// One server of the far datacenter is lost, then comes back; then all leave.
fn losses(near: &mut Datacenter, far: &mut Datacenter) {
    for lost in ["s1", "s2"] {
        far.get(lost).agent.kill();
        // What is left has no quorum: it answers what any server may, whoever was asked before.
        for asked in ["s1", "c1"] {
            near.wait(&format!("{asked} asks the other one, not {lost}"), |dc| {
                let target = "/v1/kv/kept?dc=dc2&raw&stale";
                (dc.ask(asked, "GET", target, "")? == "before").then_some(())
            });
        }
        far.get(lost).agent.restart();
        far.wait_for_leader();
        near.wait("all servers in the WAN pool", |dc| {
            let found = dc.ask("s1", "GET", "/v1/agent/members?wan=1", "")?;
            (found.matches("\"Status\":1").count() == 3).then_some(())
        });
    }
    for lost in ["s1", "s2"] {
        far.get(lost).agent.kill();
    }
    for asked in ["s1", "c1"] {
        near.wait(&format!("{asked} says that nobody is there"), |dc| {
            let answer = dc.request(asked, "GET", "/v1/kv/kept?dc=dc2", "")?;
            let told = answer.text();
            // Real servers say how they failed to reach the last one.
            let known = told.contains("Remote DC has no server currently reachable")
                || told.contains("failed to get conn");
            (answer.status == 500 && known).then_some(())
        });
        let found = near.dig(asked, &["s1.node.dc2.consul", "A"]);
        assert!(found.join("\n").contains("SERVFAIL"), "{found:?}");
        near.wait_contains(asked, "/v1/catalog/datacenters", "dc2");
    }
}
