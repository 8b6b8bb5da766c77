//! A cluster of three servers and a client agent, the real Consul 1.8.7's and consul-lite's side by side in one run,
//! as a Markdown table: `cargo bench --bench cluster`. Cold start to the first write through the client, the loss of
//! the leader to the next write, writes through leader, follower and client, and what an idle cluster costs.
//!
//! `BENCH_QUICK=1` for a short run; `BENCH_ROUNDS` (5), `BENCH_SECONDS` (3) per round and side, `BENCH_STARTS` (3)
//! starts and losses, `IDLE_SECONDS` (30); `CONSUL_ORACLE=/path`, `CONSUL_LITE=/path`; a word picks rows whose name
//! has it.

#[path = "../tests/common/mod.rs"]
mod common;

#[allow(dead_code)]
mod cores;
mod load;
#[allow(dead_code)]
mod measure;
mod report;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::agent::{Agent, Plan as AgentPlan, SERF_LAN, SERVER};
use common::http::Client;
use common::{Loopback, try_until, wait_until};
use load::Kind;
use measure::{Plan, Row, cpu, median, number, proc_number, row, rss};

const SERVERS: u8 = 3;
const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let Some(binaries) = measure::binaries() else {
        return ExitCode::SUCCESS;
    };
    let plan = Plan {
        binaries,
        rounds: number("BENCH_ROUNDS", 5, 2) as usize,
        seconds: number("BENCH_SECONDS", 3, 1),
        idle_seconds: number("IDLE_SECONDS", 30, 10),
        starts: number("BENCH_STARTS", 3, 1) as usize,
        blocked: 0,
        only: std::env::args().skip(1).find(|a| !a.starts_with('-')),
        sharing: "shared by agents and load",
    };
    let rows = rows(&plan);
    report::print(&plan, &rows);
    ExitCode::SUCCESS
}

/// Three servers, then their client agent.
struct Cluster {
    agents: Vec<Agent>,
    net: Loopback,
}

impl Cluster {
    /// Starts everybody at once, the one with this number first, with Consul's default timings.
    fn start(binary: &Path, first: usize) -> Cluster {
        let net = Loopback::claim();
        let seeds: Vec<String> = (1..=SERVERS)
            .map(|n| format!("\"{}:{SERF_LAN}\"", net.ip(n)))
            .collect();
        let seeds = seeds.join(", ");
        let mut agents: Vec<(usize, Agent)> = (0..=SERVERS as usize)
            .map(|n| (n + first) % (SERVERS as usize + 1))
            .map(|n| {
                let host = n as u8 + 1;
                let role = if host <= SERVERS {
                    format!(r#""server": true, "bootstrap_expect": {SERVERS},"#)
                } else {
                    String::new()
                };
                let role = format!(
                    r#""node_id": "00000000-0000-4000-8000-00000000000{host}", {role} "retry_join": [{seeds}],"#
                );
                let timings = r#"{"performance": {"raft_multiplier": 5}}"#;
                let plan = AgentPlan {
                    binary,
                    ip: net.ip(host),
                    node: &format!("n{host}"),
                    config: vec![("50-default.json".into(), timings.into())],
                };
                (n, Agent::start_as(&plan, &role))
            })
            .collect();
        agents.sort_by_key(|(n, _)| *n);
        let agents = agents.into_iter().map(|(_, agent)| agent).collect();
        Cluster { agents, net }
    }

    fn client(&mut self) -> &mut Agent {
        self.agents.last_mut().expect("four agents")
    }

    /// The number of the server that leads, as the client hears.
    fn leader(&self) -> usize {
        let addr = self.agents.last().expect("four agents").http();
        wait_until(PATIENCE, "a leader", || {
            let answer = Client::new(addr, Duration::from_secs(5))
                .get("/v1/status/leader")
                .ok()?;
            let leads = |n: &usize| {
                let rpc = format!("\"{}:{SERVER}\"", self.net.ip(*n as u8 + 1));
                answer.text().trim() == rpc
            };
            (0..SERVERS as usize).find(leads)
        })
    }

    /// Seconds until a write through an agent is acknowledged.
    fn first_write(addr: SocketAddr) -> f64 {
        let began = Instant::now();
        let took = try_until(PATIENCE, || {
            let mut client = Client::new(addr, Duration::from_secs(30));
            let answer = client.put("/v1/kv/first", b"x").ok()?;
            (answer.status == 200).then(|| began.elapsed().as_secs_f64())
        });
        took.unwrap_or(f64::NAN)
    }

    /// Waits until all servers vote and everybody is in the catalog.
    fn settle(&mut self) {
        let addr = self.client().http();
        wait_until(PATIENCE, "a whole cluster", || {
            let mut client = Client::new(addr, Duration::from_secs(5));
            let answer = client.get("/v1/operator/raft/configuration").ok()?;
            let text = answer.text();
            let voters =
                text.matches("\"Voter\":true").count() + text.matches("\"Voter\": true").count();
            (voters == SERVERS as usize).then_some(())
        });
        self.client().wait_client_ready(PATIENCE);
    }
}

fn rows(plan: &Plan) -> Vec<Row> {
    let wanted = |name: &str| plan.only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    let mut rows = Vec::new();
    let name = "cold start of 3+1 to the first write through the client";
    if wanted(name) {
        eprintln!("{name}");
        // Another order of start each time.
        let values = times(plan, |side, round| {
            let mut cluster = Cluster::start(&plan.binaries[side], round);
            let addr = cluster.client().http();
            Cluster::first_write(addr)
        });
        rows.push(row(name, "s", values, "at most 3 s"));
    }
    let mut clusters = [0, 1].map(|side| Cluster::start(&plan.binaries[side], 0));
    clusters.iter_mut().for_each(Cluster::settle);
    if wanted("idle") {
        rows.extend(idle(plan, &mut clusters));
    }
    for (name, place) in [
        ("PUT 64 B through the leader, 64 connections", Place::Leader),
        (
            "PUT 64 B through a follower, 64 connections",
            Place::Follower,
        ),
        ("PUT 64 B through the client, 64 connections", Place::Client),
    ] {
        if wanted(name) {
            eprintln!("{name}");
            rows.push(puts(plan, &clusters, name, place));
        }
    }
    if wanted("memory after load") {
        rows.extend(memory(
            &mut clusters,
            [
                "memory after load, largest server",
                "memory after load, client",
            ],
            ["", ""],
        ));
    }
    let name = "SIGKILL of the leader to the next write";
    if wanted(name) {
        eprintln!("{name}");
        let lost = |cluster: &mut Cluster| {
            let leader = cluster.leader();
            let other = cluster.agents[(leader + 1) % SERVERS as usize].http();
            cluster.agents[leader].kill();
            let took = Cluster::first_write(other);
            cluster.agents[leader].restart();
            cluster.settle();
            took
        };
        let mut all = [Vec::new(), Vec::new()];
        for _ in 0..plan.starts {
            for (side, cluster) in clusters.iter_mut().enumerate() {
                all[side].push(lost(cluster));
            }
        }
        rows.push(row(name, "s", all.map(median), "at most 3 s"));
    }
    rows
}

/// Medians of what both sides take in turn.
fn times(plan: &Plan, once: impl Fn(usize, usize) -> f64) -> [f64; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..plan.starts {
        for (side, times) in all.iter_mut().enumerate() {
            times.push(once(side, round));
        }
    }
    all.map(median)
}

/// Through whom is written.
#[derive(Clone, Copy)]
enum Place {
    Leader,
    Follower,
    Client,
}

fn puts(plan: &Plan, clusters: &[Cluster; 2], name: &'static str, place: Place) -> Row {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..plan.rounds {
        for turn in 0..2 {
            let side = (round + turn) % 2;
            let cluster = &clusters[side];
            let at = match place {
                Place::Leader => cluster.leader(),
                Place::Follower => (cluster.leader() + 1) % SERVERS as usize,
                Place::Client => SERVERS as usize,
            };
            let addr = cluster.agents[at].http();
            all[side].push(load::http(addr, Kind::Put, CONNECTIONS, plan.seconds));
        }
    }
    Row {
        name,
        unit: "/s",
        values: all.map(median),
        more_is_better: true,
        target: "at least 3x",
    }
}

/// What a cluster costs that nobody asks anything.
fn idle(plan: &Plan, clusters: &mut [Cluster; 2]) -> Vec<Row> {
    eprintln!("idle for {} s", plan.idle_seconds);
    // The last of starting up (full sync after joining) is not idleness.
    std::thread::sleep(Duration::from_secs(10.min(plan.idle_seconds)));
    let leaders = [clusters[0].leader(), clusters[1].leader()];
    let figures = |clusters: &mut [Cluster; 2]| {
        let mut found = [[0.0; 4]; 2];
        for (side, cluster) in clusters.iter_mut().enumerate() {
            for n in 0..SERVERS as usize {
                found[side][0] += proc_number(&mut cluster.agents[n], "io", "write_bytes") / 1024.0;
            }
            let leader = leaders[side];
            let follower = (leader + 1) % SERVERS as usize;
            found[side][1] = cpu(&mut cluster.agents[leader]);
            found[side][2] = cpu(&mut cluster.agents[follower]);
            found[side][3] = cpu(cluster.client());
        }
        found
    };
    let before = figures(clusters);
    std::thread::sleep(Duration::from_secs(plan.idle_seconds));
    let after = figures(clusters);
    let spent = |n: usize| [0, 1].map(|side| after[side][n] - before[side][n]);
    let share = |n: usize| spent(n).map(|s| 100.0 * s / plan.idle_seconds as f64);
    let mut rows = vec![
        row("written by three idle servers", "KiB", spent(0), "0"),
        row("processor, idle leader", "%", share(1), "at most a fifth"),
        row("processor, idle follower", "%", share(2), "at most a fifth"),
        row("processor, idle client", "%", share(3), "at most a fifth"),
    ];
    rows.extend(memory(
        clusters,
        ["memory idle, largest server", "memory idle, client"],
        ["at most 14 MiB", "at most 8 MiB"],
    ));
    rows
}

fn memory(
    clusters: &mut [Cluster; 2],
    names: [&'static str; 2],
    targets: [&'static str; 2],
) -> [Row; 2] {
    let mut found = [[0.0_f64; 2]; 2];
    for (side, cluster) in clusters.iter_mut().enumerate() {
        for n in 0..SERVERS as usize {
            found[0][side] = found[0][side].max(rss(&mut cluster.agents[n]) / 1024.0);
        }
        found[1][side] = rss(cluster.client()) / 1024.0;
    }
    [0, 1].map(|n| row(names[n], "MiB", found[n], targets[n]))
}
