//! Three of our servers and a client agent of ours: what is registered on the client is found from everywhere,
//! the client works on while servers are lost one at a time, and what it owns comes back with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::consul_lite;
use crate::common::harness::{Outcome, Test};
use crate::common::http::Client;
use crate::common::{try_until, wait_until};
use crate::datacenter::{Datacenter, PATIENCE};

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("client::is_found_from_every_agent", found_everywhere),
        Test::new("client::works_on_while_servers_are_lost", servers_lost),
        Test::new("client::refuses_too_many_calls", limited),
        Test::new("client::waits_for_its_servers", before_the_servers),
    ]
}

/// Three servers and the client agent `c1`.
fn datacenter() -> Datacenter {
    let mut dc = Datacenter::new(3, "");
    dc.start_servers(&consul_lite());
    dc.start_client(&consul_lite(), "c1");
    dc
}

const AGENTS: [&str; 4] = ["s1", "s2", "s3", "c1"];

fn found_everywhere() -> Outcome {
    let mut dc = datacenter();
    let web = r#"{"Name": "web", "Port": 80, "Tags": ["blue"], "Check": {"TTL": "10m", "Status": "passing"}}"#;
    dc.must("c1", "PUT", "/v1/agent/service/register", web);
    let address = dc.get("c1").agent.http().ip().to_string();
    for agent in AGENTS {
        dc.wait_contains(agent, "/v1/health/service/web?passing", "\"Node\":\"c1\"");
        dc.wait_contains(
            agent,
            "/v1/health/service/web?passing&stale",
            "\"Node\":\"c1\"",
        );
        dc.wait(&format!("{agent} names web's address"), |dc| {
            let found = dc.dig(agent, &["web.service.consul", "A"]).join("\n");
            found.contains(&address).then_some(())
        });
        dc.wait_status(agent, "c1", 1);
    }
    // Cached at the client: the second look is a hit, and follows the catalog without being asked to.
    let cached = "/v1/health/service/web?cached";
    dc.must("c1", "GET", cached, "");
    let hit = dc.request("c1", "GET", cached, "").expect("an answer");
    assert_eq!(hit.header("X-Cache"), Some("HIT"), "{:?}", hit.headers);
    assert_eq!(hit.header("Age"), Some("0"));

    dc.get("c1").agent.kill();
    for agent in ["s1", "s2", "s3"] {
        dc.wait_status(agent, "c1", 4);
        dc.wait_contains(agent, "/v1/health/node/c1", "Agent not live or unreachable");
        dc.wait(&format!("{agent} names web no more"), |dc| {
            let found = dc.dig(agent, &["web.service.consul", "A"]).join("\n");
            (!found.contains(&address)).then_some(())
        });
    }
    dc.get("c1").agent.restart();
    for agent in AGENTS {
        dc.wait_contains(agent, "/v1/catalog/service/web", "\"Node\":\"c1\"");
        dc.wait_contains(agent, "/v1/health/node/c1", "Agent alive and reachable");
    }
    Outcome::Passed
}

/// Writes and reads without end until told to stop; how many writes were acknowledged.
fn load(client: Client, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicUsize>) {
    let mut client = client;
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let key = format!("/v1/kv/load/{n}");
        let done = client.put(&key, n.to_string().as_bytes());
        if done.is_ok_and(|r| r.status == 200 && r.text().trim() == "true") {
            acknowledged.fetch_add(1, Ordering::SeqCst);
            // What was acknowledged is there, whoever answers now.
            let there = try_until(PATIENCE, || {
                let read = client.get(&format!("{key}?raw")).ok()?;
                (read.status == 200).then(|| read.text())
            });
            assert_eq!(there, Some(n.to_string()), "{key} was acknowledged");
        }
    }
}

fn servers_lost() -> Outcome {
    let mut dc = datacenter();
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let client = dc.get("c1").agent.client();
    let writer = {
        let (stop, count) = (stop.clone(), count.clone());
        std::thread::spawn(move || load(client, stop, count))
    };
    for server in ["s1", "s2", "s3"] {
        dc.get(server).agent.kill();
        let before = count.load(Ordering::SeqCst);
        wait_until(PATIENCE, &format!("writes go on without {server}"), || {
            (count.load(Ordering::SeqCst) > before + 10).then_some(())
        });
        dc.wait_status("c1", server, 4);
        dc.get(server).agent.restart();
        dc.wait_status("c1", server, 1);
        dc.wait_for_leader();
    }
    stop.store(true, Ordering::SeqCst);
    assert!(writer.join().is_ok(), "an acknowledged write was lost");
    Outcome::Passed
}

/// `limits.rpc_rate` holds for what is asked of servers, and a reload changes it.
fn limited() -> Outcome {
    let mut dc = Datacenter::new(1, "");
    dc.start_servers(&consul_lite());
    dc.start_client(&consul_lite(), "c1");
    let dir = dc.get("c1").agent.dir().join("config/50-limits.json");
    let limits = |text: &str| std::fs::write(&dir, text).expect("a configuration file");
    limits(r#"{"limits": {"rpc_rate": 0.01, "rpc_max_burst": 5}}"#);
    dc.must("c1", "PUT", "/v1/agent/reload", "");
    let codes: Vec<u16> = (0..30)
        .filter_map(|_| Some(dc.request("c1", "GET", "/v1/kv/x", "")?.status))
        .collect();
    assert!(codes.contains(&429), "{codes:?}");
    assert!(
        codes.iter().filter(|c| **c == 404).count() <= 5,
        "{codes:?}"
    );
    let refused = dc
        .request("c1", "GET", "/v1/catalog/nodes", "")
        .expect("an answer");
    assert_eq!((refused.status, refused.text().as_str()), (429, ""));
    assert_eq!(refused.header("X-Consul-Index"), Some("1"));
    // What needs no server is not limited.
    dc.must("c1", "GET", "/v1/agent/services", "");
    limits("{}");
    dc.must("c1", "PUT", "/v1/agent/reload", "");
    for _ in 0..30 {
        dc.must("c1", "GET", "/v1/catalog/nodes", "");
    }
    Outcome::Passed
}

/// A client agent that starts first says what Consul's says, and pushes what it has once there is a server.
fn before_the_servers() -> Outcome {
    let mut dc = Datacenter::new(1, "");
    dc.start_lonely_client(&consul_lite(), "c1");
    dc.wait("the client answers", |dc| {
        dc.ask("c1", "GET", "/v1/agent/self", "")
    });
    // At once: it does not wait for servers. One of some times, for machines that are busy just then.
    let at_once = (0..5).any(|_| {
        let began = Instant::now();
        let refused = dc
            .request("c1", "GET", "/v1/catalog/nodes", "")
            .expect("an answer");
        assert_eq!(refused.status, 500);
        assert_eq!(refused.text(), "No known Consul servers");
        began.elapsed() < Duration::from_secs(5)
    });
    assert!(at_once);
    let web = r#"{"Name": "early", "Port": 80}"#;
    dc.must("c1", "PUT", "/v1/agent/service/register", web);
    dc.must("c1", "GET", "/v1/agent/service/early", "");
    dc.start_servers(&consul_lite());
    dc.get("c1").agent.wait_client_ready(PATIENCE);
    dc.wait_contains("s1", "/v1/catalog/service/early", "\"Node\":\"c1\"");
    dc.wait_contains("s1", "/v1/coordinate/nodes", "\"Node\":\"c1\"");
    Outcome::Passed
}
