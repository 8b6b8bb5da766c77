//! A datacenter of agents on addresses of its own: servers and clients, real ones and ours, and what one asks
//! of them in tests. When a test fails the ends of all logs are printed.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::agent::{Agent, Plan, SERF_LAN};
use crate::common::http::Response;
use crate::common::json::Json;
use crate::common::{Loopback, try_until};
use crate::dns;

/// Limit of everything that takes the cluster a while: elections, failure detection, anti-entropy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// An agent with its name and place.
pub struct Member {
    /// Node name.
    pub name: String,
    /// The process.
    pub agent: Agent,
}

/// The agents of a datacenter.
pub struct Datacenter {
    /// Everybody, in the order of their start. Before `net`, so that they end before their addresses are
    /// given back.
    pub members: Vec<Member>,
    net: Loopback,
    /// Further members of every agent's configuration, each with its comma.
    extra: String,
    /// Whose gossip addresses all agents join.
    seeds: Vec<u8>,
}

impl Datacenter {
    /// A datacenter that will have `servers` servers, named `s1` and so on. `extra` is part of every agent's
    /// configuration.
    pub fn new(servers: u8, extra: &str) -> Datacenter {
        Datacenter {
            members: Vec::new(),
            net: Loopback::claim(),
            extra: extra.to_owned(),
            seeds: (1..=servers).collect(),
        }
    }

    /// The address of a server by its number.
    pub fn ip(&self, host: u8) -> Ipv4Addr {
        self.net.ip(host)
    }

    fn start(&mut self, binary: &Path, name: &str, host: u8, role: &str) {
        let seed = |n: &u8| format!("\"{}:{SERF_LAN}\"", self.net.ip(*n));
        let seeds: Vec<String> = self.seeds.iter().map(seed).collect();
        let role = format!(
            r#""node_id": "00000000-0000-4000-8000-0000000000{host:02x}", {role} {}
 "retry_join": [{}], "retry_interval": "1s","#,
            self.extra,
            seeds.join(", ")
        );
        let plan = Plan {
            binary,
            ip: self.net.ip(host),
            node: name,
            config: Vec::new(),
        };
        let agent = Agent::start_as(&plan, &role);
        let name = name.to_owned();
        self.members.push(Member { name, agent });
    }

    /// Starts all servers and waits until they have a leader.
    pub fn start_servers(&mut self, binary: &Path) {
        let count = self.seeds.len();
        for host in self.seeds.clone() {
            let role = format!(r#""server": true, "bootstrap_expect": {count},"#);
            self.start(binary, &format!("s{host}"), host, &role);
        }
        self.wait_for_leader();
    }

    /// Starts a client agent, whether or not there are servers.
    pub fn start_lonely_client(&mut self, binary: &Path, name: &str) {
        let host = 50 + self.members.len() as u8;
        self.start(binary, name, host, "");
    }

    /// Starts a client agent and waits until the catalog has it.
    pub fn start_client(&mut self, binary: &Path, name: &str) {
        self.start_lonely_client(binary, name);
        self.get(name).agent.wait_client_ready(PATIENCE);
    }

    /// Waits until a server knows a leader and all servers are in the catalog.
    pub fn wait_for_leader(&mut self) {
        for host in self.seeds.clone() {
            let name = format!("s{host}");
            self.wait(&format!("{name} serves"), |dc| {
                let nodes = dc.ask(&name, "GET", "/v1/catalog/service/consul", "")?;
                (nodes.matches("\"Node\":").count() == dc.seeds.len()).then_some(())
            });
        }
    }

    /// A member by name.
    pub fn get(&mut self, name: &str) -> &mut Member {
        let found = self.members.iter_mut().find(|m| m.name == name);
        found.unwrap_or_else(|| panic!("no member {name}"))
    }

    /// One request to an agent; `None` when it is not answered.
    pub fn request(
        &mut self,
        name: &str,
        method: &str,
        target: &str,
        body: &str,
    ) -> Option<Response> {
        let mut client = self.get(name).agent.client();
        client.request(method, target, &[], body.as_bytes()).ok()
    }

    /// One request to an agent: the body, if it is answered with 200.
    pub fn ask(&mut self, name: &str, method: &str, target: &str, body: &str) -> Option<String> {
        let answer = self.request(name, method, target, body)?;
        (answer.status == 200).then(|| answer.text())
    }

    /// As [`Datacenter::ask`], where every other answer is a failure.
    pub fn must(&mut self, name: &str, method: &str, target: &str, body: &str) -> String {
        match self.request(name, method, target, body) {
            Some(answer) if answer.status == 200 => answer.text(),
            Some(answer) => panic!(
                "{method} {target} at {name}: {} {}",
                answer.status,
                answer.text()
            ),
            None => panic!("{method} {target} at {name}: no answer"),
        }
    }

    /// Waits for a condition of the datacenter.
    pub fn wait<T>(&mut self, what: &str, mut ready: impl FnMut(&mut Self) -> Option<T>) -> T {
        match try_until(PATIENCE, || ready(self)) {
            Some(value) => value,
            None => panic!("not within {PATIENCE:?}: {what}"),
        }
    }

    /// Waits until an agent's answer has a text.
    pub fn wait_contains(&mut self, name: &str, target: &str, text: &str) {
        self.wait(&format!("{target} at {name} has {text}"), |dc| {
            let answer = dc.ask(name, "GET", target, "")?;
            answer.contains(text).then_some(())
        });
    }

    /// Waits until an agent's answer lacks a text.
    pub fn wait_lacks(&mut self, name: &str, target: &str, text: &str) {
        self.wait(&format!("{target} at {name} lacks {text}"), |dc| {
            let answer = dc.ask(name, "GET", target, "")?;
            (!answer.contains(text)).then_some(())
        });
    }

    /// Waits until an agent sees a member in this state (1 alive, 3 left, 4 failed).
    pub fn wait_status(&mut self, viewer: &str, member: &str, status: u8) {
        self.wait(&format!("{viewer} sees {member} as {status}"), |dc| {
            (dc.status(viewer, member)? == status).then_some(())
        });
    }

    fn status(&mut self, viewer: &str, member: &str) -> Option<u8> {
        let members = Json::parse(&self.ask(viewer, "GET", "/v1/agent/members", "")?)?;
        let Json::List(list) = members else {
            return None;
        };
        let text = |m: &Json, path: &str| m.at(path).and_then(Json::scalar).map(str::to_owned);
        let found = list
            .iter()
            .find(|m| text(m, ".Name").as_deref() == Some(member))?;
        text(found, ".Status")?.parse().ok()
    }

    /// A DNS question to an agent; the answer's records, sorted.
    pub fn dig(&mut self, name: &str, question: &[&str]) -> Vec<String> {
        let words: Vec<String> = question.iter().map(|w| (*w).to_owned()).collect();
        let server = self.get(name).agent.dns();
        let mut lines = match dns::ask(server, &words) {
            Ok(answer) => answer.lines,
            Err(why) => vec![why],
        };
        lines.sort();
        lines
    }

    /// Has a member leave and waits until its process ends; its exit code.
    pub fn leave(&mut self, name: &str) -> Option<i32> {
        // The process may end before it has answered.
        if let Some(answer) = self.request(name, "PUT", "/v1/agent/leave", "") {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        self.wait_end(name)
    }

    /// Waits for the process of a member to end; its exit code.
    pub fn wait_end(&mut self, name: &str) -> Option<i32> {
        let process = self.get(name).agent.process();
        process.wait(PATIENCE).code()
    }

    /// The name of the server that leads, as `viewer` knows it.
    pub fn leader(&mut self, viewer: &str) -> String {
        self.wait("a leader", |dc| {
            let address = dc.ask(viewer, "GET", "/v1/status/leader", "")?;
            let leads = |host: &&u8| address.contains(&format!("\"{}:", dc.net.ip(**host)));
            let host = dc.seeds.iter().find(leads)?;
            Some(format!("s{host}"))
        })
    }
}

impl Drop for Datacenter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for member in &self.members {
                eprintln!(
                    "==== log of {}:\n{}",
                    member.name,
                    member.agent.log_tail(30)
                );
            }
        }
    }
}

/// The real Consul, or why it cannot be had.
pub fn real() -> Result<PathBuf, String> {
    crate::common::oracle::find()
}
