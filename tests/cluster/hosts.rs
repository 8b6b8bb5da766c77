//! A cluster of our agents, each on a host of its own: servers that found a cluster together, and client agents.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::common::agent::without_own_settings;
use crate::common::http::{Client, Response};
use crate::common::netns::Network;
use crate::common::{Process, TempDir, consul_lite, try_until};

/// Where an agent's HTTP API is, on its own host.
pub const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8500);

/// Some hosts with an agent each, the servers first.
pub struct Cluster {
    pub network: Arc<Network>,
    agents: Vec<Option<Process>>,
    dir: TempDir,
    servers: usize,
}

impl Cluster {
    /// Starts servers and client agents, and waits until each of them serves writes.
    ///
    /// # Errors
    /// Why there can be no such hosts here.
    pub fn start(servers: usize, clients: usize, ready: Duration) -> Result<Cluster, String> {
        let agents = servers + clients;
        let network = Arc::new(Network::new(agents)?);
        let mut cluster = Cluster {
            network,
            agents: (0..agents).map(|_| None).collect(),
            dir: TempDir::new("cluster"),
            servers,
        };
        for agent in 0..agents {
            cluster.configure(agent);
            cluster.start_agent(agent);
        }
        cluster.wait_all(ready);
        Ok(cluster)
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// How many of them are servers.
    pub fn servers(&self) -> usize {
        self.servers
    }

    fn configure(&self, agent: usize) {
        let others = (0..self.agents.len()).filter(|other| *other != agent);
        let join: Vec<String> = others
            .map(|other| format!("\"{}\"", self.network.ip(other)))
            .collect();
        let role = match agent < self.servers {
            true => format!("\"server\": true, \"bootstrap_expect\": {},", self.servers),
            false => String::new(),
        };
        let text = format!(
            r#"{{"node_name": "n{agent}", "node_id": "8f20b1c4-5a1d-4c07-9f6e-{agent:012}", {role}
 "data_dir": "{data}", "bind_addr": "{ip}", "client_addr": "127.0.0.1", "retry_join": [{join}],
 "retry_interval": "1s", "performance": {{"raft_multiplier": 1}}, "ports": {{"grpc": -1}},
 "disable_update_check": true, "log_level": "debug"}}"#,
            data = self.dir.path().join(format!("data-{agent}")).display(),
            ip = self.network.ip(agent),
            join = join.join(", "),
        );
        self.dir.write(&format!("config-{agent}.json"), &text);
    }

    /// Starts an agent that does not run.
    pub fn start_agent(&mut self, agent: usize) {
        if self.agents[agent].is_some() {
            return;
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(agent))
            .expect("a log file");
        let log2 = log.try_clone().expect("a second handle of the log file");
        let mut command = Command::new(consul_lite());
        command
            .arg("agent")
            .arg("-config-file")
            .arg(self.dir.path().join(format!("config-{agent}.json")))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log2);
        without_own_settings(&mut command);
        self.network.place(agent, &mut command);
        let name = format!("agent n{agent}");
        let process = Process::start(&name, &mut command);
        self.agents[agent] = Some(process.unwrap_or_else(|e| panic!("{name}: {e}")));
    }

    /// SIGKILL.
    pub fn kill(&mut self, agent: usize) {
        self.agents[agent] = None;
    }

    /// Sends a signal, if it runs.
    pub fn signal(&self, agent: usize, signal: i32) {
        if let Some(process) = &self.agents[agent] {
            process.signal(signal);
        }
    }

    /// Whether its process runs, perhaps stopped.
    pub fn runs(&self, agent: usize) -> bool {
        self.agents[agent].is_some()
    }

    fn log(&self, agent: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("log-{agent}"))
    }

    /// The end of every agent's log.
    pub fn logs(&self, lines: usize) -> String {
        let each = (0..self.agents.len()).map(|agent| {
            let text = fs::read(self.log(agent)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).into_owned();
            let all: Vec<&str> = text.lines().collect();
            let tail = all[all.len().saturating_sub(lines)..].join("\n");
            format!("--- log of n{agent}\n{tail}\n")
        });
        each.collect()
    }

    /// Where the cluster keeps its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Which agent leads, as far as an agent knows.
    pub fn leader(&self) -> Option<usize> {
        (0..self.servers).find_map(|asked| {
            self.agents[asked].as_ref()?;
            let answer = self.network.on(asked, || {
                let mut client = Client::new(HTTP, Duration::from_secs(1));
                client.get("/v1/status/leader").map(|r| r.text()).ok()
            })?;
            let ip = answer.trim().trim_matches('"').split(':').next()?;
            (0..self.servers).find(|n| self.network.ip(*n).to_string() == ip)
        })
    }

    /// Waits until every agent takes writes and reads what is written.
    pub fn wait_all(&self, within: Duration) {
        for agent in 0..self.agents.len() {
            let ready = self.network.on(agent, || {
                try_until(within, || {
                    let mut client = Client::new(HTTP, Duration::from_secs(5));
                    let good = |r: Response| (r.status == 200).then_some(());
                    client.put("/v1/kv/ready", b"x").ok().and_then(good)?;
                    client.get("/v1/kv/ready?consistent").ok().and_then(good)
                })
            });
            if ready.is_none() {
                panic!(
                    "n{agent} does not serve within {within:?}\n{}",
                    self.logs(40)
                );
            }
        }
    }
}
