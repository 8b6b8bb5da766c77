//! Several servers on addresses of one block, ours or the real Consul's: started in any order, killed, started
//! again, asked through any of them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::agent::{Agent, HTTP, Plan, SERF_LAN, SERVER};
use crate::common::http::Client;
use crate::common::json::Json;
use crate::common::{Loopback, consul_lite, try_until, wait_until};

/// What the slowest machine may take for anything that takes a moment.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Servers by number, from 1.
pub struct Fleet {
    /// Before `net`, so that they end before their addresses are given back.
    agents: Vec<Option<Agent>>,
    net: Loopback,
    /// Added to every server's configuration.
    extra: String,
}

/// How one server begins.
#[derive(Clone)]
pub struct Member {
    pub binary: PathBuf,
    /// The servers that it joins.
    pub joins: Vec<usize>,
    /// How many servers it waits for; 1 begins alone, 0 waits to be taken in.
    pub expect: u32,
}

impl Member {
    /// One of ours.
    pub fn ours(expect: u32, joins: &[usize]) -> Member {
        Member {
            binary: consul_lite(),
            joins: joins.to_vec(),
            expect,
        }
    }

    /// The same by another program.
    pub fn by(self, binary: &Path) -> Member {
        Member {
            binary: binary.to_owned(),
            ..self
        }
    }
}

/// The node id of a server.
pub fn node_id(n: usize) -> String {
    format!("{n:08}-1111-2222-3333-444444444444")
}

impl Fleet {
    /// Nobody yet. `extra` are further settings for all, as members of a JSON object.
    pub fn new(extra: &str) -> Fleet {
        Fleet {
            agents: Vec::new(),
            net: Loopback::claim(),
            extra: extra.to_owned(),
        }
    }

    /// Servers 1 to `n` that expect each other, all started at once, with a leader.
    pub fn formed(n: usize, extra: &str) -> Fleet {
        let mut fleet = Fleet::new(extra);
        let all: Vec<usize> = (1..=n).collect();
        for at in 1..=n {
            let expect = u32::try_from(n).unwrap_or(0);
            fleet.start(at, &Member::ours(expect, &all));
        }
        fleet.wait_voters(n);
        fleet
    }

    /// The address of a server.
    pub fn ip(&self, n: usize) -> Ipv4Addr {
        self.net.ip(u8::try_from(n).expect("few servers"))
    }

    /// Where a server's RPC is, as Raft names it.
    pub fn rpc(&self, n: usize) -> String {
        format!("{}:{SERVER}", self.ip(n))
    }

    fn joins(&self, joins: &[usize]) -> String {
        let list = joins
            .iter()
            .map(|j| format!("\"{}:{SERF_LAN}\"", self.ip(*j)));
        list.collect::<Vec<_>>().join(",")
    }

    /// Starts a server that was not there before.
    pub fn start(&mut self, n: usize, member: &Member) {
        let expect = match member.expect {
            0 => String::new(),
            expect => format!(r#", "bootstrap_expect": {expect}"#),
        };
        // The base configuration expects one server.
        let text = format!(
            r#"{{"node_id": "{}", "retry_join": [{}] {}{}}}"#,
            node_id(n),
            self.joins(&member.joins),
            if expect.is_empty() {
                r#", "bootstrap_expect": 0"#
            } else {
                &expect
            },
            if self.extra.is_empty() {
                String::new()
            } else {
                format!(", {}", self.extra)
            },
        );
        let agent = Agent::start(&Plan {
            binary: &member.binary,
            ip: self.ip(n),
            node: &format!("s{n}"),
            config: vec![("10-fleet.json".to_owned(), text)],
        });
        if self.agents.len() < n {
            self.agents.resize_with(n, || None);
        }
        self.agents[n - 1] = Some(agent);
    }

    /// A server that was started.
    pub fn agent(&mut self, n: usize) -> &mut Agent {
        self.agents[n - 1].as_mut().expect("the server was started")
    }

    /// SIGKILL.
    pub fn kill(&mut self, n: usize) {
        self.agent(n).kill();
    }

    /// Starts a killed one again.
    pub fn restart(&mut self, n: usize) {
        self.agent(n).restart();
    }

    /// Starts a killed one again at another address, told to join others.
    pub fn move_to(&mut self, n: usize, to: usize, joins: &[usize]) {
        let text = format!(
            r#"{{"bind_addr": "{0}", "client_addr": "{0}", "retry_join": [{1}]}}"#,
            self.ip(to),
            self.joins(joins)
        );
        let dir = self.agent(n).dir().to_owned();
        fs::write(dir.join("config/20-moved.json"), text).expect("a file can be written");
        // Lists of several files add up.
        let first = dir.join("config/10-fleet.json");
        let old = fs::read_to_string(&first).expect("a file can be read");
        let (head, rest) = old.split_once(r#""retry_join": ["#).expect("a list");
        let (_, tail) = rest.split_once("] ").expect("its end");
        fs::write(&first, format!("{head}\"retry_join\": [] {tail}")).expect("it can be written");
        self.restart(n);
    }

    /// A client for a server's HTTP API by the number of its address.
    pub fn client(&self, n: usize) -> Client {
        Client::new((self.ip(n), HTTP).into(), Duration::from_secs(20))
    }

    /// What a server answers with 200; nothing for anything else.
    pub fn get(&self, n: usize, path: &str) -> Option<Json> {
        let answer = self.client(n).get(path).ok()?;
        if answer.status != 200 {
            return None;
        }
        Json::parse(&answer.text())
    }

    /// Writes a key through a server; whether it was acknowledged.
    pub fn put(&self, n: usize, key: &str, value: &str) -> bool {
        let target = format!("/v1/kv/{key}");
        let answer = self
            .client(n)
            .request("PUT", &target, &[], value.as_bytes());
        answer.is_ok_and(|a| a.status == 200 && a.text().trim() == "true")
    }

    /// Writes a key through a server as soon as it takes it; how long that took.
    pub fn put_soon(&self, n: usize, key: &str) -> Duration {
        let began = Instant::now();
        wait_until(PATIENCE, &format!("a write through server {n}"), || {
            self.put(n, key, "v").then_some(())
        });
        began.elapsed()
    }

    /// A key's value through a server; `how` is a consistency.
    pub fn value(&self, n: usize, key: &str, how: &str) -> Option<String> {
        let answer = self
            .client(n)
            .get(&format!("/v1/kv/{key}?raw&{how}"))
            .ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// As [`Fleet::value`], where only an answer counts: a server that is just choosing a leader is asked again. What
    /// is not there is not there.
    pub fn read(&self, n: usize, key: &str, how: &str) -> Option<String> {
        let target = format!("/v1/kv/{key}?raw&{how}");
        wait_until(PATIENCE, &format!("{target} at server {n}"), || {
            let answer = self.client(n).get(&target).ok()?;
            match answer.status {
                200 => Some(Some(answer.text())),
                404 => Some(None),
                _ => None,
            }
        })
    }

    /// The leader as a server sees it.
    pub fn leader(&self, seen_by: usize) -> Option<usize> {
        let Json::Text(address) = self.get(seen_by, "/v1/status/leader")? else {
            return None;
        };
        (1..=250).find(|n| self.rpc(*n) == address)
    }

    /// Waits for a leader that a server sees.
    pub fn wait_leader(&self, seen_by: usize) -> usize {
        wait_until(
            PATIENCE,
            &format!("a leader seen by server {seen_by}"),
            || self.leader(seen_by),
        )
    }

    /// Ids of Raft's servers with whether they vote, as the leader says.
    pub fn raft_servers(&self, seen_by: usize) -> Option<Vec<(String, bool)>> {
        let list = self.get(seen_by, "/v1/operator/raft/configuration")?;
        let Json::List(servers) = list.at("Servers")? else {
            return None;
        };
        let server = |s: &Json| {
            let id = s.at("ID")?.scalar()?.to_owned();
            Some((id, s.at("Voter")?.scalar()? == "true"))
        };
        let mut found: Vec<_> = servers.iter().filter_map(server).collect();
        found.sort();
        Some(found)
    }

    /// Waits until servers 1 to `n` vote, and no others are there.
    pub fn wait_voters(&self, n: usize) {
        let voters: Vec<usize> = (1..=n).collect();
        self.wait_exactly(1, &voters);
    }

    /// Waits until exactly these vote, as a server says.
    pub fn wait_exactly(&self, seen_by: usize, voters: &[usize]) {
        let wanted: Vec<(String, bool)> = voters.iter().map(|n| (node_id(*n), true)).collect();
        let mut last = None;
        let done = try_until(PATIENCE, || {
            last = self.raft_servers(seen_by);
            (last.as_ref() == Some(&wanted)).then_some(())
        });
        assert!(done.is_some(), "votes are {last:?} instead of {wanted:?}");
    }

    /// The status of `serfHealth` of a node, as a server says.
    pub fn health(&self, seen_by: usize, node: usize) -> Option<String> {
        let checks = self.get(seen_by, &format!("/v1/health/node/s{node}"))?;
        let Json::List(checks) = &checks else {
            return None;
        };
        let serf = checks
            .iter()
            .find(|c| c.at("CheckID").and_then(Json::scalar) == Some("serfHealth"))?;
        serf.at("Status")?.scalar().map(str::to_owned)
    }

    /// Waits until that is so.
    pub fn wait_health(&self, seen_by: usize, node: usize, status: Option<&str>) {
        wait_until(
            PATIENCE,
            &format!("serfHealth of s{node} is {status:?}"),
            || (self.health(seen_by, node).as_deref() == status).then_some(()),
        );
    }

    /// The ends of all logs, for whoever wants to know why.
    pub fn logs(&self) -> String {
        let logs = self.agents.iter().flatten().map(|agent| agent.log_tail(40));
        logs.collect::<Vec<_>>().join("\n----\n")
    }
}
