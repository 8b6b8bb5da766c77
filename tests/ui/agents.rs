//! The agents of the scenarios: how they are started, what they hold, and what they are measured by.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::agent::{Agent, Plan, SERF_LAN};
use crate::common::{Loopback, consul_lite, project_dir, wait_until};

/// How long an agent may take to be what a scenario wants.
pub const READY: Duration = Duration::from_secs(180);
/// The management token of clusters with access control.
pub const TOKEN: &str = "11111111-2222-3333-4444-555555555555";
const BACKEND: u16 = 18080;

/// Where the backend is whose absence a check reports.
pub fn backend_of(net: &Loopback) -> SocketAddr {
    SocketAddr::from((net.ip(9), BACKEND))
}

/// A check on a backend at that address.
fn check_of(ip: Ipv4Addr) -> String {
    format!(
        r#"{{"name": "backend answers", "http": "http://{ip}:{BACKEND}/", "interval": "1s", "timeout": "900ms"}}"#
    )
}

/// Whether a program is the one that is built here.
pub fn is_ours(binary: &Path) -> bool {
    binary == consul_lite()
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
pub fn ours(net: &Loopback, rest: &str) -> Agent {
    let check = check_of(net.ip(9));
    let config = format!(
        r#"{{"enable_local_script_checks": true, "check_update_interval": "0s",
 "services": [{{"name": "web", "port": 8080, "tags": ["v2", "rails"], "meta": {{"version": "2.4.1"}},
   "checks": [{check}]}},
  {{"name": "db", "port": 5432}}] {rest}}}"#
    );
    let mut agent = started(&consul_lite(), net, &config);
    agent.wait_ready(READY);
    agent
}

pub fn put(agent: &Agent, target: &str, body: &str) {
    let token = [("X-Consul-Token".to_owned(), TOKEN.to_owned())];
    let answer = agent
        .client()
        .request("PUT", target, &token, body.as_bytes());
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
}

/// What pages show beside the agent itself.
pub fn fill(agent: &Agent) {
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
        let token = [("X-Consul-Token".to_owned(), TOKEN.to_owned())];
        let mut client = agent.client();
        let answer = client.request("GET", "/v1/coordinate/node/edge-5", &token, b"");
        let answer = answer.ok()?;
        (answer.status == 200).then_some(())
    });
}

/// Three servers with access control, default deny, the page (for others than ours from the sources), and some
/// content; `web` of the first has a check on the backend when there is to be one.
pub fn guarded(binary: &Path, net: &Loopback, checked: bool) -> Vec<Agent> {
    let page = match is_ours(binary) {
        true => r#""ui": true"#.to_owned(),
        false => {
            let page = project_dir().join("src/ui/page");
            format!(r#""ui_dir": "{}""#, page.display())
        }
    };
    let check = check_of(net.ip(9));
    let servers: Vec<Agent> = (1..=3)
        .map(|host| {
            let checks = if checked && host == 1 { check.as_str() } else { "" };
            let config = format!(
                r#"{{{page}, "check_update_interval": "0s", "acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"master": "{TOKEN}", "agent": "{TOKEN}"}}}},
 "connect": {{"enabled": true}}, "node_id": "8f20b1c4-5a1d-4c07-9f6e-00000000000{host}",
 "bootstrap_expect": 3, "retry_join": ["{}:{SERF_LAN}", "{}:{SERF_LAN}"],
 "services": [{{"name": "web", "port": 8080, "token": "{TOKEN}", "tags": ["v2", "rails"], "meta": {{"version": "2.4.1"}},
   "checks": [{checks}]}}]}}"#,
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
    wait_until(READY, "the agent answers", || {
        let answer = agent.client().get("/v1/acl/token/self");
        answer.ok()
    });
    wait_guarded(agent);
    put(agent, "/v1/kv/other", "x");
    servers
}

/// Waits until access control works, the three services are in the catalog and all servers follow the leader.
pub fn wait_guarded(agent: &Agent) {
    let token = [("X-Consul-Token".to_owned(), TOKEN.to_owned())];
    wait_until(READY, "access control and the services are there", || {
        let mut client = agent.client();
        let mut has = |target: &str, text: &str| {
            let answer = client.request("GET", target, &token, b"");
            answer.is_ok_and(|a| a.status == 200 && a.text().contains(text))
        };
        let there = has("/v1/acl/token/self", "global-management")
            && has("/v1/acl/policies", "global-management")
            && has("/v1/operator/autopilot/health", "\"FailureTolerance\":1")
            && ["n1", "n2", "n3"]
                .iter()
                .all(|node| has("/v1/catalog/service/web", node));
        there.then_some(())
    });
}

/// The connections that the agent has open at an address of its own.
pub fn connections(at: SocketAddr) -> usize {
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
pub fn resident(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((kib * 1024).to_string())
}

/// A server that answers every request with 200, until it is dropped.
pub struct Backend {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Listens at the address once it is free.
    pub fn start(address: SocketAddr) -> Backend {
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
