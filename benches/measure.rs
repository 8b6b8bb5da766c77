//! The measurements, each on both sides, and how agents are made ready for them.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::agent::{Agent, Plan as AgentPlan};
use crate::common::http::Client;
use crate::common::{Loopback, cache_dir, consul_lite, oracle, try_until};
use crate::cores::{Cores, Side};
use crate::load::{self, Kind};

/// What to run.
pub struct Plan {
    /// The real Consul's, then ours.
    pub binaries: [PathBuf; 2],
    /// Rounds per measurement.
    pub rounds: usize,
    /// Seconds per round and side.
    pub seconds: u64,
    /// How long both are left alone to see what they write.
    pub idle_seconds: u64,
    /// Starts timed per side.
    pub starts: usize,
    /// Idle blocking queries.
    pub blocked: usize,
    /// Only rows whose name has this.
    pub only: Option<String>,
    /// How agents and load share the machine, in words for the report.
    pub sharing: &'static str,
}

/// A row of which less is better.
pub fn row(name: &'static str, unit: &'static str, values: [f64; 2], target: &'static str) -> Row {
    Row {
        name,
        unit,
        values,
        more_is_better: false,
        target,
    }
}

/// A number from the environment, or one for a full or, with `BENCH_QUICK`, for a quick run.
pub fn number(name: &str, full: u64, quick: u64) -> u64 {
    let quickly = std::env::var_os("BENCH_QUICK").is_some();
    let given = std::env::var(name).ok().and_then(|v| v.parse().ok());
    given.unwrap_or(if quickly { quick } else { full })
}

/// Both programs, the real Consul's first, or `None` when there is no real one, which is said. To be called before
/// anything else.
pub fn binaries() -> Option<[PathBuf; 2]> {
    let consul = oracle::find()
        .map_err(|why| println!("skipped: {why}"))
        .ok()?;
    // Data directories belong on the disk the build is on, not on a memory file system.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("TMPDIR", cache_dir()) };
    Some([consul, consul_lite()])
}

/// One row of the table.
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The real Consul's, then ours.
    pub values: [f64; 2],
    /// Whether more is better.
    pub more_is_better: bool,
    /// The issue's target, in words.
    pub target: &'static str,
}

/// Runs everything the plan wants.
pub fn all(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    let wanted = |name: &str| plan.only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    let net = Loopback::claim();
    if wanted("exec to first acknowledged write") {
        rows.push(starts(plan, &net));
    }
    let cores = Cores::all();
    cores.take(Side::Agents);
    let mut agents = [0, 1].map(|side| start(plan, &net, side));
    cores.take(Side::Load);
    for agent in &mut agents {
        agent.wait_ready(Duration::from_secs(60));
    }
    if wanted("idle") {
        rows.extend(idle(plan, &mut agents));
    }
    agents.iter().for_each(fill);
    let queries = [
        question("three.service.consul", 1),
        question("three.service.consul", 33),
    ];
    type Measure<'a> = Box<dyn Fn(&Agent) -> f64 + 'a>;
    let s = plan.seconds;
    let http = |kind: Kind, n: usize| -> Measure {
        Box::new(move |a: &Agent| load::http(a.http(), kind, n, s))
    };
    let dns = |q: Vec<u8>| -> Measure { Box::new(move |a: &Agent| load::dns(a.dns(), &q, 32, s)) };
    let [a, srv] = queries;
    let table: [(&'static str, &'static str, Measure); 7] = [
        (
            "PUT 64 B, 64 connections",
            "at least 4x",
            http(Kind::Put, 64),
        ),
        ("PUT 64 B, 1 connection", "at least 2x", http(Kind::Put, 1)),
        (
            "GET 64 B, 64 connections",
            "at least 2.5x",
            http(Kind::Get("/v1/kv/bench/get"), 64),
        ),
        (
            "/v1/health/service/X, 3 instances",
            "at least 4x",
            http(Kind::Get("/v1/health/service/three"), 64),
        ),
        (
            "/v1/health/service/X, 20 instances",
            "at least 4x",
            http(Kind::Get("/v1/health/service/twenty"), 64),
        ),
        ("DNS A, UDP", "at least 4x", dns(a)),
        ("DNS SRV, UDP", "at least 4x", dns(srv)),
    ];
    for (name, target, measure) in table {
        if !wanted(name) {
            continue;
        }
        eprintln!("{name}");
        rows.push(Row {
            name,
            unit: "/s",
            values: alternate(plan.rounds, &agents, |_, agent| measure(agent)),
            more_is_better: true,
            target,
        });
    }
    if wanted("memory after load") {
        rows.push(row(
            "memory after load (RSS)",
            "MiB",
            [0, 1].map(|n| rss(&mut agents[n]) / 1024.0),
            "at most 24 MiB",
        ));
    }
    drop(agents);
    if wanted("blocking query") {
        rows.push(blocked(plan, &net));
    }
    if wanted("GET 64 B with a token, default deny") {
        rows.extend(guarded(plan, &net));
    }
    let size = |p: &Path| std::fs::metadata(p).map_or(0.0, |m| m.len() as f64 / 1_048_576.0);
    rows.push(row(
        "binary",
        "MiB",
        [size(&plan.binaries[0]), size(&plan.binaries[1])],
        "at most 6 MiB",
    ));
    rows
}

fn start(plan: &Plan, net: &Loopback, side: usize) -> Agent {
    Agent::start(&AgentPlan {
        binary: &plan.binaries[side],
        ip: net.ip(side as u8 + 1),
        node: "n1",
        config: vec![(
            "50-bench.json".into(),
            r#"{"limits": {"http_max_conns_per_client": 8000}}"#.into(),
        )],
    })
}

/// Medians of rounds that take turns: side 0 first in even rounds, side 1 in odd ones.
fn alternate(rounds: usize, agents: &[Agent; 2], f: impl Fn(usize, &Agent) -> f64) -> [f64; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let side = (round + turn) % 2;
            all[side].push(f(side, &agents[side]));
        }
    }
    all.map(median)
}

/// The median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// A number from a `Name:   123 ...` line of a file under `/proc/PID`.
pub fn proc_number(agent: &mut Agent, file: &str, name: &str) -> f64 {
    let path = format!("/proc/{}/{file}", agent.process().pid());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    let word = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
    word.and_then(|w| w.parse().ok()).unwrap_or(f64::NAN)
}

/// Resident memory in KiB.
pub fn rss(agent: &mut Agent) -> f64 {
    proc_number(agent, "status", "VmRSS")
}

/// Seconds of processor time so far (proc(5): fields 14 and 15 of `stat`).
pub fn cpu(agent: &mut Agent) -> f64 {
    let path = format!("/proc/{}/stat", agent.process().pid());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |n: usize| {
        fields
            .get(n - 3)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(f64::NAN)
    };
    // SAFETY: sysconf takes no pointers.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    (ticks(14) + ticks(15)) / per_second
}

/// Seconds from exec to the first acknowledged write, with timings as configured by default.
pub fn starts(plan: &Plan, net: &Loopback) -> Row {
    let once = |side: usize| {
        let begin = Instant::now();
        let agent = Agent::start(&AgentPlan {
            binary: &plan.binaries[side],
            ip: net.ip(side as u8 + 1),
            node: "n1",
            config: vec![(
                "50-default.json".into(),
                r#"{"performance": {"raft_multiplier": 5}}"#.into(),
            )],
        });
        let addr = agent.http();
        let took = try_until(Duration::from_secs(60), || {
            let mut client = Client::new(addr, Duration::from_secs(10));
            let answer = client.put("/v1/kv/first", b"x").ok()?;
            (answer.status == 200).then(|| begin.elapsed().as_secs_f64())
        });
        took.unwrap_or(f64::NAN)
    };
    eprintln!("exec to first acknowledged write");
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..plan.starts {
        for (side, times) in all.iter_mut().enumerate() {
            times.push(once(side));
        }
    }
    row(
        "exec to first acknowledged write",
        "s",
        all.map(median),
        "under 0.5 s",
    )
}

/// What both write while nobody asks them anything, and what they weigh then.
fn idle(plan: &Plan, agents: &mut [Agent; 2]) -> Vec<Row> {
    eprintln!("idle for {} s", plan.idle_seconds);
    // The last of starting up (full sync after joining) is not idleness.
    std::thread::sleep(Duration::from_secs(10.min(plan.idle_seconds)));
    let written = |agents: &mut [Agent; 2]| {
        let [a, b] = agents;
        [a, b].map(|agent| proc_number(agent, "io", "write_bytes"))
    };
    let before = written(agents);
    std::thread::sleep(Duration::from_secs(plan.idle_seconds));
    let after = written(agents);
    let [a, b] = agents;
    vec![
        row(
            "memory idle (RSS)",
            "MiB",
            [rss(a) / 1024.0, rss(b) / 1024.0],
            "at most 10 MiB",
        ),
        row(
            "written while idle",
            "KiB",
            [0, 1].map(|n| (after[n] - before[n]) / 1024.0),
            "0",
        ),
    ]
}

/// Registers what is asked for: a key of 64 bytes, services of 3 and of 20 instances on as many nodes.
fn fill(agent: &Agent) {
    let mut client = agent.client();
    let mut put = |path: &str, body: &str| {
        let answer = client.put(path, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    };
    put("/v1/kv/bench/get", &"x".repeat(64));
    for (service, count) in [("three", 3), ("twenty", 20)] {
        for n in 1..=count {
            let body = format!(
                r#"{{"Node": "{service}-{n}", "Address": "10.0.{count}.{n}",
                    "Service": {{"Service": "{service}", "Port": 80, "Tags": ["v1", "primary"], "Meta": {{"zone": "a"}}}},
                    "Checks": [{{"Name": "node", "Status": "passing"}},
                               {{"Name": "http", "Status": "passing", "ServiceID": "{service}", "Output": "HTTP GET http://10.0.0.1/: 200 OK"}}]}}"#
            );
            put("/v1/catalog/register", &body);
        }
    }
}

/// Memory per idle blocking query, each on a connection of its own to a fresh agent.
fn blocked(plan: &Plan, net: &Loopback) -> Row {
    eprintln!("{} blocking queries", plan.blocked);
    let values = [0, 1].map(|side| {
        let mut agent = start(plan, net, side);
        agent.wait_ready(Duration::from_secs(60));
        fill(&agent);
        let agent = &mut agent;
        let mut client = agent.client();
        let answer = client.get("/v1/kv/bench/get").expect("an answer");
        let index = answer.index().unwrap_or(1);
        let before = rss(agent);
        let request =
            format!("GET /v1/kv/bench/get?index={index}&wait=10m HTTP/1.1\r\nHost: bench\r\n\r\n");
        let open = |_| {
            let mut stream = TcpStream::connect(agent.http()).expect("a connection");
            stream.write_all(request.as_bytes()).expect("a request");
            stream
        };
        let streams: Vec<TcpStream> = (0..plan.blocked).map(open).collect();
        // All have been taken up when the figure no longer grows.
        let mut last = (rss(agent), 0);
        try_until(Duration::from_secs(60), || {
            let now = rss(agent);
            last = if now > last.0 + 64.0 {
                (now, 0)
            } else {
                (last.0, last.1 + 1)
            };
            (last.1 > 40).then_some(())
        });
        let after = rss(agent);
        drop(streams);
        (after - before) / plan.blocked as f64
    });
    row(
        "memory per idle blocking query",
        "KiB",
        values,
        "at most 12 KiB",
    )
}

/// What access control costs: a key read by a token that may read a prefix, where the default is deny, and by nobody in
/// particular where there is no access control; both agents of a side run at once and take turns.
fn guarded(plan: &Plan, net: &Loopback) -> [Row; 2] {
    const MASTER: &str = "5f0c1a62-0000-4000-8000-000000000001";
    const READER: &str = "5f0c1a62-0000-4000-8000-000000000002";
    const KEY: &str = "/v1/kv/bench/get";
    eprintln!("GET with a token");
    let mut guarded = [0.0; 2];
    let mut shares = [0.0; 2];
    for side in 0..2 {
        let mut open = start(plan, net, side);
        open.wait_ready(Duration::from_secs(60));
        fill(&open);
        let acl = format!(
            r#"{{"acl": {{"enabled": true, "default_policy": "deny",
                "tokens": {{"master": "{MASTER}", "agent": "{MASTER}"}}}}}}"#
        );
        let closed = Agent::start(&AgentPlan {
            binary: &plan.binaries[side],
            ip: net.ip(side as u8 + 11),
            node: "n1",
            config: vec![("50-acl.json".into(), acl)],
        });
        let headers = [("X-Consul-Token".to_owned(), MASTER.to_owned())];
        let put = |path: &str, body: &str| {
            // Servers that have just started do not take policies yet.
            let made = try_until(Duration::from_secs(60), || {
                let mut client = closed.client();
                let answer = client.request("PUT", path, &headers, body.as_bytes());
                answer.ok().filter(|answer| answer.status == 200)
            });
            assert!(made.is_some(), "{path} fails:\n{}", closed.log_tail(10));
        };
        put(KEY, &"x".repeat(64));
        put(
            "/v1/acl/policy",
            r#"{"Name": "reader", "Rules": "key_prefix \"bench/\" { policy = \"read\" }"}"#,
        );
        put(
            "/v1/acl/token",
            &format!(r#"{{"SecretID": "{READER}", "Policies": [{{"Name": "reader"}}]}}"#),
        );
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..plan.rounds {
            let kinds = [Kind::Get(KEY), Kind::GetAs(KEY, READER)];
            for (n, (agent, kind)) in [&open, &closed].into_iter().zip(kinds).enumerate() {
                rates[n].push(load::http(agent.http(), kind, 64, plan.seconds));
            }
        }
        let [free, asked] = rates.map(median);
        (guarded[side], shares[side]) = (asked, 100.0 * asked / free);
    }
    [
        Row {
            name: "GET 64 B with a token, default deny",
            unit: "/s",
            values: guarded,
            more_is_better: true,
            target: "-",
        },
        Row {
            name: "... of the same without access control",
            unit: "%",
            values: shares,
            more_is_better: true,
            target: "at least 85 %",
        },
    ]
}

/// A DNS question as a message (RFC 1035, section 4).
fn question(name: &str, qtype: u8) -> Vec<u8> {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, qtype, 0, 1]);
    message
}
