//! A running agent, real or ours, as a single server on an address of its own with fixed ports and its
//! own data directory; gone when the value is dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::http::{Client, Response};
use super::json::Json;
use super::{Process, TempDir, wait_until};

/// The ports every test agent uses on its own address.
pub const HTTP: u16 = 18500;
/// DNS, UDP and TCP.
pub const DNS: u16 = 18600;
/// Server RPC.
pub const SERVER: u16 = 18300;
/// LAN gossip.
pub const SERF_LAN: u16 = 18301;
/// WAN gossip.
pub const SERF_WAN: u16 = 18302;

/// What to start.
pub struct Plan<'a> {
    /// The program: the real Consul's or ours.
    pub binary: &'a Path,
    /// Bind and client address.
    pub ip: Ipv4Addr,
    /// `node_name`.
    pub node: &'a str,
    /// Further configuration files: name (`*.json`, `*.hcl`) and text.
    pub config: Vec<(String, String)>,
}

/// A started agent.
pub struct Agent {
    dir: TempDir,
    process: Process,
    binary: PathBuf,
    ip: Ipv4Addr,
}

impl Agent {
    /// Starts a single server with a data directory and `raft_multiplier` 1.
    pub fn start(plan: &Plan) -> Agent {
        let alone = r#""node_id": "8f20b1c4-5a1d-4c07-9f6e-0123456789ab", "server": true, "bootstrap_expect": 1,"#;
        Agent::start_as(plan, alone)
    }

    /// Starts a single server without further configuration, and waits until it is ready.
    pub fn ready(binary: &Path, ip: Ipv4Addr, within: Duration) -> Agent {
        let mut agent = Agent::start(&Plan {
            binary,
            ip,
            node: "n1",
            config: Vec::new(),
        });
        agent.wait_ready(within);
        agent
    }

    /// Starts an agent whose role and identity are these members of a JSON object, each with its comma.
    pub fn start_as(plan: &Plan, role: &str) -> Agent {
        let dir = TempDir::new("agent");
        dir.write("config/00-base.json", &base_config(plan, role, dir.path()));
        for (name, text) in &plan.config {
            dir.write(&format!("config/{name}"), text);
        }
        let process = launch(plan.binary, dir.path());
        Agent {
            dir,
            process,
            binary: plan.binary.to_path_buf(),
            ip: plan.ip,
        }
    }

    /// Kills the process at once (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the process again on the same data directory; kill it first.
    pub fn restart(&mut self) {
        self.process = launch(&self.binary, self.dir.path());
    }

    /// The child process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its own directory: `config/`, `data/`, `log`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where its HTTP API is.
    pub fn http(&self) -> SocketAddr {
        (self.ip, HTTP).into()
    }

    /// Where its DNS is.
    pub fn dns(&self) -> SocketAddr {
        (self.ip, DNS).into()
    }

    /// A client for its HTTP API.
    pub fn client(&self) -> Client {
        Client::new(self.http(), Duration::from_secs(30))
    }

    /// Waits until it leads and its own node, service and check are in the catalog as they will stay;
    /// panics with the end of its log when it does not come to that.
    pub fn wait_ready(&mut self, within: Duration) {
        let addr = self.http();
        let ok = super::try_until(within, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            let mut client = Client::new(addr, Duration::from_secs(5));
            settled(&mut client).then_some(true)
        });
        if ok != Some(true) {
            let what = match self.process.ended() {
                Some(status) => format!("ended with {status}"),
                None => format!("is not ready within {within:?}"),
            };
            panic!(
                "{} {what}; its log ends:\n{}",
                self.binary.display(),
                self.log_tail(25)
            );
        }
    }

    /// Whether the leader put the node into the catalog before the agent's own synchronisation did. Consul
    /// does either; which one shows in the indexes of all that the start itself wrote.
    pub fn leader_came_first(&self) -> bool {
        let health = ok(self.client().get("/v1/health/service/consul")).unwrap_or_default();
        let created = |from: &str| {
            let rest = health.split_once(from)?.1.split_once("\"CreateIndex\":")?.1;
            rest.split_once(|c: char| !c.is_ascii_digit()).map(|s| s.0)
        };
        let node = created("\"Node\":{");
        node.is_some() && node == created("\"CheckID\":\"serfHealth\"")
    }

    /// Waits until it is a member with a server, and all of its own node is in the catalog; panics with the
    /// end of its log when it does not come to that.
    pub fn wait_client_ready(&mut self, within: Duration) {
        let addr = self.http();
        let ok = super::try_until(within, || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            client_settled(&mut Client::new(addr, Duration::from_secs(5))).then_some(true)
        });
        if ok != Some(true) {
            panic!(
                "{} is no client of a server within {within:?}; its log ends:\n{}",
                self.binary.display(),
                self.log_tail(25)
            );
        }
    }

    /// The last lines of what it logged.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

fn ok(r: std::io::Result<Response>) -> Option<String> {
    r.ok().filter(|r| r.status == 200).map(|r| r.text())
}

fn settled(client: &mut Client) -> bool {
    let leader = ok(client.get("/v1/status/leader"));
    if leader.is_none_or(|l| l.len() < 4) {
        return false;
    }
    let health = ok(client.get("/v1/health/service/consul"));
    let Some(health) = health else { return false };
    // The agent's own anti-entropy adds the node's metadata after the leader added the node.
    health.contains("Agent alive and reachable") && health.contains("consul-network-segment")
}

fn client_settled(client: &mut Client) -> bool {
    let about = ok(client.get("/v1/agent/self")).and_then(|text| Json::parse(&text));
    let name = about.and_then(|j| {
        j.at(".Config.NodeName")
            .and_then(Json::scalar)
            .map(str::to_owned)
    });
    let Some(name) = name else { return false };
    let checks = ok(client.get(&format!("/v1/health/node/{name}")));
    let node = ok(client.get(&format!("/v1/catalog/node/{name}")));
    checks.is_some_and(|c| c.contains("Agent alive and reachable"))
        && node.is_some_and(|n| n.contains("consul-network-segment"))
}

fn base_config(plan: &Plan, role: &str, dir: &Path) -> String {
    let (ip, node) = (plan.ip, plan.node);
    let data = dir.join("data").display().to_string();
    format!(
        r#"{{"node_name": "{node}", {role} "data_dir": "{data}",
 "bind_addr": "{ip}", "client_addr": "{ip}", "performance": {{"raft_multiplier": 1}},
 "ports": {{"http": {HTTP}, "dns": {DNS}, "server": {SERVER}, "serf_lan": {SERF_LAN}, "serf_wan": {SERF_WAN}, "grpc": -1}},
 "disable_update_check": true}}
"#
    )
}

fn launch(binary: &Path, dir: &Path) -> Process {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log file");
    let log2 = log.try_clone().expect("a second handle of the log file");
    let mut command = Command::new(binary);
    command
        .arg("agent")
        .arg("-config-dir")
        .arg(dir.join("config"))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log2);
    if binary.is_absolute() {
        // So that a configuration can name files that lie beside it.
        command.current_dir(dir);
    }
    without_own_settings(&mut command);
    let name = binary.display().to_string();
    Process::start(&name, &mut command).unwrap_or_else(|e| panic!("{name} does not start: {e}"))
}

/// Keeps what the tests' own environment says to a Consul from a process.
pub fn without_own_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CONSUL_") {
            command.env_remove(name);
        }
    }
}

/// Waits until something accepts TCP connections at `addr`.
pub fn wait_open(addr: SocketAddr, within: Duration) {
    wait_until(within, &format!("{addr} accepts connections"), || {
        std::net::TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()
    });
}
