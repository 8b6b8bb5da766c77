//! The scenarios: which agents each needs and what they hold before it begins.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::browser::{self, shots};
use crate::common::agent::{Agent, Plan, SERF_LAN, SERF_WAN};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, oracle, project_dir, wait_until};

const READY: Duration = Duration::from_secs(60);
const BACKEND: u16 = 18080;
/// The management token of clusters with access control.
const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// All scenarios.
pub fn all() -> Vec<Test> {
    vec![
        Test::new("pages", pages),
        Test::new("pages_of_access", || pages_of_access(&oracle::find())),
        Test::new("keys", keys),
        Test::new("live", live),
        Test::new("proxy", proxy),
        Test::new("cost", cost),
        Test::new("access", || access(&Ok(consul_lite()))),
        Test::new("access_of_consul", || access(&oracle::find())),
        Test::new("login", || login(&Ok(consul_lite()))),
        Test::new("login_of_consul", || login(&oracle::find())),
        Test::new("features", || features(&Ok(consul_lite()))),
        Test::new("features_of_consul", || features(&oracle::find())),
        Test::new("cluster", || cluster(&Ok(consul_lite()))),
        Test::new("cluster_of_consul", || cluster(&oracle::find())),
    ]
}

fn started(binary: &Path, net: &Loopback, config: &str) -> Agent {
    Agent::start(&Plan {
        binary,
        ip: net.ip(1),
        node: "n1",
        config: vec![("10-ui.json".into(), config.into())],
    })
}

/// An agent with the page, a service with a check on a backend, and whatever is put into it.
fn ours(net: &Loopback, rest: &str) -> Agent {
    let backend = net.ip(9);
    let config = format!(
        r#"{{"enable_local_script_checks": true, "check_update_interval": "0s",
 "services": [{{"name": "web", "port": 8080, "tags": ["v2", "rails"], "meta": {{"version": "2.4.1"}},
   "checks": [{{"name": "backend answers", "http": "http://{backend}:{BACKEND}/", "interval": "1s", "timeout": "900ms"}}]}},
  {{"name": "db", "port": 5432}}] {rest}}}"#
    );
    let mut agent = started(&consul_lite(), net, &config);
    agent.wait_ready(READY);
    agent
}

fn put(agent: &Agent, target: &str, body: &str) {
    let token = [("X-Consul-Token".to_owned(), TOKEN.to_owned())];
    let answer = agent
        .client()
        .request("PUT", target, &token, body.as_bytes());
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
}

/// What pages show beside the agent itself.
fn fill(agent: &Agent) {
    for n in 1..=5u32 {
        let node = format!(
            r#"{{"Node": "edge-{n}", "Address": "10.0.0.{n}", "NodeMeta": {{"rack": "r{n}"}},
 "Service": {{"Service": "sensor", "Port": 50{n}, "Tags": ["plant-a"], "Meta": {{"firmware": "1.{n}"}}}},
 "Checks": [{{"Name": "Modbus", "ServiceID": "sensor", "Status": "{}", "Output": "registers read in {n} ms"}}]}}"#,
            if n == 4 { "warning" } else { "passing" }
        );
        put(agent, "/v1/catalog/register", &node);
        let coordinate = format!(
            r#"{{"Node": "edge-{n}", "Coord": {{"Vec": [0.00{n},0,0,0,0,0,0,0], "Error": 1.5, "Adjustment": 0, "Height": 0.0001}}}}"#
        );
        put(agent, "/v1/coordinate/update", &coordinate);
    }
    put(
        agent,
        "/v1/kv/app/config.yaml",
        "server:\n  port: 8080\n  hosts: [a, b]\n",
    );
    put(agent, "/v1/kv/app/limits.json", "{\"rps\": 100,}");
    put(agent, "/v1/kv/app/certificate.der", "\u{1}\u{2}\u{0}");
    put(agent, "/v1/kv/motd", "Hello");
    put(
        agent,
        "/v1/session/create",
        r#"{"Name": "leader-election", "TTL": "3600s"}"#,
    );
    put(agent, "/v1/event/fire/deploy", "v2.4.1");
    wait_until(READY, "coordinates are there", || {
        let answer = agent.client().get("/v1/coordinate/node/edge-5").ok()?;
        (answer.status == 200).then_some(())
    });
}

/// The arguments of every scenario, with further members.
fn args(agent: &Agent, path: &str, more: &str) -> String {
    let api = format!("http://{}", agent.http());
    let dir = agent.dir().display();
    let cli = consul_lite();
    let (cli, shots) = (cli.display(), shots());
    format!(
        r#"{{"api": "{api}", "url": "{api}{path}", "path": "{path}", "dir": "{dir}", "cli": "{cli}",
 "shots": "{}", "node": "n1" {more}}}"#,
        shots.display()
    )
}

fn nothing(wish: &str) -> Result<String, String> {
    Err(format!("nobody can {wish}"))
}

fn pages() -> Outcome {
    let net = Loopback::claim();
    let agent = ours(&net, r#", "ui": true"#);
    fill(&agent);
    let paths = r#", "paths": ["dc1/overview", "dc1/services", "dc1/services/web", "dc1/services/sensor", "dc1/nodes",
 "dc1/nodes/n1", "dc1/nodes/edge-4", "dc1/kv", "dc1/kv/app/", "dc1/kv/app/config.yaml", "dc1/kv/app/certificate.der",
 "dc1/kv/app/?new=1", "dc1/intentions", "dc1/queries", "dc1/events", "dc1/metrics", "dc1/sign-in", "dc1/services/none"]"#;
    browser::run("pages", &args(&agent, "/ui/", paths), nothing)
}

fn keys() -> Outcome {
    let net = Loopback::claim();
    let agent = ours(&net, r#", "ui": true"#);
    browser::run("keys", &args(&agent, "/ui/", ""), nothing)
}

fn proxy() -> Outcome {
    let net = Loopback::claim();
    let agent = ours(
        &net,
        r#", "ui_config": {"enabled": true, "content_path": "/my/own-ui"}"#,
    );
    browser::run("proxy", &args(&agent, "/my/own-ui/", ""), nothing)
}

fn live() -> Outcome {
    let net = Loopback::claim();
    let address = SocketAddr::from((net.ip(9), BACKEND));
    let mut backend = Some(Backend::start(address));
    let mut agent = ours(&net, r#", "ui": true"#);
    let args = args(&agent, "/ui/", "");
    browser::run("live", &args, |wish| {
        match wish {
            "stop backend" => backend = None,
            "start backend" => backend = Some(Backend::start(address)),
            "kill agent" => agent.kill(),
            "start agent" => {
                agent.restart();
                agent.wait_ready(READY);
            }
            _ => return nothing(wish),
        }
        Ok(String::new())
    })
}

fn cost() -> Outcome {
    let net = Loopback::claim();
    let mut agent = ours(&net, r#", "ui": true"#);
    let pid = agent.process().pid();
    let http = agent.http();
    let paths = r#", "paths": ["dc1/services", "dc1/services/web", "dc1/nodes", "dc1/nodes/n1", "dc1/kv", "dc1/kv/x?new=1",
 "dc1/tokens", "dc1/policies", "dc1/roles", "dc1/auth-methods", "dc1/intentions", "dc1/queries", "dc1/events",
 "dc1/metrics", "dc1/sign-in"]"#;
    browser::run("cost", &args(&agent, "/ui/", paths), |wish| match wish {
        "memory" => resident(pid).ok_or_else(|| "no memory to be read".to_owned()),
        "connections" => Ok(connections(http).to_string()),
        _ => nothing(wish),
    })
}

/// The connections that the agent has open at an address of its own.
fn connections(at: SocketAddr) -> usize {
    const ESTABLISHED: &str = "01";
    let std::net::IpAddr::V4(ip) = at.ip() else {
        return 0;
    };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), at.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system's connections");
    let ours = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&local) && words.nth(1) == Some(ESTABLISHED)
    };
    table.lines().filter(ours).count()
}

/// A process's resident memory in bytes, as text.
fn resident(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kib * 1024).to_string())
}

/// Three servers with access control, default deny, the page from the sources, and some content.
fn guarded(binary: &Path, net: &Loopback) -> Vec<Agent> {
    let page = project_dir().join("src/ui/page").display().to_string();
    let servers: Vec<Agent> = (1..=3)
        .map(|host| {
            let config = format!(
                r#"{{"ui_dir": "{page}", "acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"master": "{TOKEN}", "agent": "{TOKEN}"}}}},
 "connect": {{"enabled": true}}, "node_id": "8f20b1c4-5a1d-4c07-9f6e-00000000000{host}",
 "bootstrap_expect": 3, "retry_join": ["{}:{SERF_LAN}", "{}:{SERF_LAN}"],
 "services": [{{"name": "web", "port": 8080, "token": "{TOKEN}"}}]}}"#,
                net.ip(1),
                net.ip(2)
            );
            Agent::start(&Plan {
                binary,
                ip: net.ip(host),
                node: &format!("n{host}"),
                config: vec![("10-acl.json".into(), config)],
            })
        })
        .collect();
    let agent = &servers[0];
    let token = [("X-Consul-Token".to_owned(), TOKEN.to_owned())];
    let answer = wait_until(READY, "the agent answers", || {
        let answer = agent.client().get("/v1/acl/token/self");
        answer.ok()
    });
    assert_ne!(answer.text(), "ACL support disabled");
    wait_until(READY, "access control and the service are there", || {
        let mut client = agent.client();
        let mut has = |target: &str, text: &str| {
            let answer = client.request("GET", target, &token, b"");
            answer.is_ok_and(|a| a.status == 200 && a.text().contains(text))
        };
        let there = has("/v1/acl/token/self", "global-management")
            && has("/v1/acl/policies", "global-management")
            && ["n1", "n2", "n3"]
                .iter()
                .all(|node| has("/v1/catalog/service/web", node));
        there.then_some(())
    });
    put(agent, "/v1/kv/other", "x");
    servers
}

fn access(binary: &Result<PathBuf, String>) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net);
    let agent = &servers[0];
    let token = format!(r#", "token": "{TOKEN}""#);
    browser::run("access", &args(agent, "/ui/", &token), nothing)
}

fn pages_of_access(binary: &Result<PathBuf, String>) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net);
    let agent = &servers[0];
    let id = "aaaaaaaa-2222-3333-4444-555555555555";
    put(
        agent,
        "/v1/acl/policy",
        r#"{"Name": "web-read", "Description": "read services", "Rules": "service_prefix \"\" {\n  policy = \"read\"\n}\n"}"#,
    );
    put(
        agent,
        "/v1/acl/token",
        &format!(
            r#"{{"AccessorID": "{id}", "Description": "web of team 7", "Policies": [{{"Name": "web-read"}}]}}"#
        ),
    );
    let more = format!(
        r#", "token": "{TOKEN}", "prefix": "acl-", "paths": ["dc1/tokens", "dc1/tokens/{id}", "dc1/tokens/new", "dc1/policies",
 "dc1/policies/00000000-0000-0000-0000-000000000001", "dc1/policies/new", "dc1/roles", "dc1/roles/new", "dc1/auth-methods",
 "dc1/auth-methods/new", "dc1/intentions", "dc1/queries/new", "dc1/sign-in"]"#
    );
    browser::run("pages", &args(agent, "/ui/", &more), nothing)
}

/// Signing in through an auth method.
fn login(binary: &Result<PathBuf, String>) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net);
    let more = format!(r#", "token": "{TOKEN}", "prefix": "{}""#, prefix(binary));
    browser::run("login", &args(&servers[0], "/ui/", &more), nothing)
}

/// What only some agents' API has.
fn features(binary: &Result<PathBuf, String>) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let servers = guarded(binary, &net);
    let has = *binary != consul_lite();
    let more = format!(r#", "token": "{TOKEN}", "has": {has}"#);
    browser::run("features", &args(&servers[0], "/ui/", &more), nothing)
}

/// What screenshots of a program's page begin with.
fn prefix(binary: &Path) -> &'static str {
    if binary == consul_lite() {
        ""
    } else {
        "consul-"
    }
}

/// Three servers of one datacenter and one of another.
fn cluster(binary: &Result<PathBuf, String>) -> Outcome {
    let binary = match binary {
        Ok(binary) => binary,
        Err(why) => return Outcome::Skipped(why.clone()),
    };
    let net = Loopback::claim();
    let page = project_dir().join("src/ui/page").display().to_string();
    let start = |host: u8, node: &str, rest: &str| {
        let config = format!(
            r#"{{"node_id": "8f20b1c4-5a1d-4c07-9f6e-00000000000{host}", "ui_dir": "{page}",
 "retry_join_wan": ["{}:{SERF_WAN}"], {rest}}}"#,
            net.ip(1)
        );
        Agent::start(&Plan {
            binary,
            ip: net.ip(host),
            node,
            config: vec![("10-ui.json".into(), config)],
        })
    };
    let three = format!(
        r#""bootstrap_expect": 3, "retry_join": ["{}:{SERF_LAN}", "{}:{SERF_LAN}"]"#,
        net.ip(1),
        net.ip(2)
    );
    let mut servers: Vec<Agent> = (1..=3)
        .map(|host| start(host, &format!("n{host}"), &three))
        .collect();
    let _far = start(4, "far", r#""datacenter": "dc2""#);
    servers
        .iter_mut()
        .for_each(|server| server.wait_ready(READY));
    wait_until(READY, "all datacenters and voters are known", || {
        let mut client = servers[0].client();
        let mut has = |target: &str, text: &str| {
            let answer = client.get(target);
            answer.is_ok_and(|a| a.status == 200 && a.text().contains(text))
        };
        let other = has("/v1/catalog/datacenters", "dc2")
            && has("/v1/catalog/nodes?dc=dc2", "far")
            && has("/v1/operator/autopilot/health?dc=dc2", "\"Healthy\":true");
        (other && has("/v1/operator/autopilot/health", "\"FailureTolerance\":1")).then_some(())
    });
    let more = format!(r#", "prefix": "{}""#, prefix(binary));
    let args = args(&servers[0], "/ui/", &more);
    browser::run("cluster", &args, |wish| {
        match wish {
            "stop two" => servers[1..].iter_mut().for_each(Agent::kill),
            "start two" => servers[1..].iter_mut().for_each(Agent::restart),
            _ => return nothing(wish),
        }
        Ok(String::new())
    })
}

/// A server that answers every request with 200, until it is dropped.
struct Backend {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn start(address: SocketAddr) -> Backend {
        let listener = wait_until(READY, "the backend's port is free", || {
            TcpListener::bind(address).ok()
        });
        listener.set_nonblocking(true).expect("a listener");
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        let _ = stream.set_nonblocking(false);
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                        let _ = stream.read(&mut [0; 2048]);
                        let _ = stream.write_all(
                            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
                        );
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(10));
                    }
                    Err(_) => break,
                }
            }
        });
        Backend {
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
