//! What an agent costs on a small machine, the real Consul 1.8.7 and consul-lite side by side in one run, as a
//! Markdown table: `cargo bench --bench footprint`. Sizes, start-up, memory of server and client agent, bytes
//! written and processor time while nobody asks anything, and what 10,000 key/value writes cost.
//!
//! `BENCH_QUICK=1` for a short run; `IDLE_SECONDS` (600); `CONSUL_ORACLE=/path`, `CONSUL_LITE=/path`.

#[path = "../tests/common/mod.rs"]
mod common;

#[allow(dead_code)]
mod cores;
#[allow(dead_code)]
mod load;
#[allow(dead_code)]
mod measure;
mod report;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::Loopback;
use common::agent::{Agent, Plan as AgentPlan};
use common::http::Client;
use measure::{Plan, Row, cpu, number, proc_number, row, rss};

/// Writes whose bytes are counted.
const WRITES: usize = 10_000;
/// Connections that write.
const WRITERS: usize = 8;
/// Bytes of a value.
const VALUE: usize = 64;
/// How long nothing is written before a burst counts as over.
const QUIET: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let Some(binaries) = measure::binaries() else {
        return ExitCode::SUCCESS;
    };
    let plan = Plan {
        binaries,
        rounds: 1,
        seconds: 0,
        idle_seconds: number("IDLE_SECONDS", 600, 20),
        starts: number("BENCH_STARTS", 3, 1) as usize,
        blocked: 0,
        only: None,
        sharing: "shared by agents and load",
    };
    let rows = rows(&plan);
    report::print(&plan, &rows);
    ExitCode::SUCCESS
}

fn rows(plan: &Plan) -> Vec<Row> {
    let net = Loopback::claim();
    let size = |n: usize| {
        let data = std::fs::metadata(&plan.binaries[n]);
        data.map_or(f64::NAN, |m| m.len() as f64 / 1_048_576.0)
    };
    let mut rows = vec![
        row("binary", "MiB", [size(0), size(1)], "at most 6 MiB"),
        measure::starts(plan, &net),
    ];
    let mut servers = [0, 1].map(|side| start(plan, &net, side, false));
    let mut clients = [0, 1].map(|side| start(plan, &net, side, true));
    servers.iter_mut().for_each(|a| a.wait_ready(PATIENCE));
    let ready = |a: &mut Agent| a.wait_client_ready(PATIENCE);
    clients.iter_mut().for_each(ready);
    let peak = each(&mut servers, peak_memory);
    rows.push(row("memory of a server at start, peak", "MiB", peak, ""));
    let peak = each(&mut clients, peak_memory);
    let name = "memory of a client agent at start, peak";
    rows.push(row(name, "MiB", peak, ""));
    idle(plan, &mut servers, &mut clients, &mut rows);
    loaded(&mut servers, &mut rows);
    rows
}

/// What the counted writes cost, one side after the other.
fn loaded(servers: &mut [Agent; 2], rows: &mut Vec<Row>) {
    eprintln!("{WRITES} writes");
    let spent = each(servers, |agent| {
        let (bytes, time) = (written(agent), cpu(agent));
        write(agent);
        (quiet(agent) - bytes, cpu(agent) - time)
    });
    let bytes = spent.map(|(bytes, _)| bytes);
    let payload = (WRITES * VALUE) as f64 / 1024.0;
    rows.push(row(
        "written per 10,000 writes of 64 B",
        "MiB",
        bytes.map(|b| b / 1024.0),
        "",
    ));
    rows.push(row(
        "... per byte of payload",
        "B",
        bytes.map(|b| b / payload),
        "",
    ));
    let time = spent.map(|(_, time)| time);
    let name = "processor per 10,000 writes";
    rows.push(row(name, "s", time, ""));
    let peak = each(servers, peak_memory);
    let name = "memory of a server under those, peak";
    rows.push(row(name, "MiB", peak, "at most 24 MiB"));
    let after = each(servers, |a| rss(a) / 1024.0);
    rows.push(row("memory of a server after them", "MiB", after, ""));
}

/// KiB written so far.
fn written(agent: &mut Agent) -> f64 {
    proc_number(agent, "io", "write_bytes") / 1024.0
}

/// The most memory it has ever had, in MiB.
fn peak_memory(agent: &mut Agent) -> f64 {
    proc_number(agent, "status", "VmHWM") / 1024.0
}

/// Waits until what a burst leaves to be done later (the log is cut, files shrink) is done, and gives what
/// [`written`] gives then.
fn quiet(agent: &mut Agent) -> f64 {
    let mut last = (written(agent), Instant::now());
    let begun = Instant::now();
    while last.1.elapsed() < QUIET && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_secs(1));
        let now = written(agent);
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

fn each<T>(agents: &mut [Agent; 2], f: impl Fn(&mut Agent) -> T) -> [T; 2] {
    let [a, b] = agents;
    [f(a), f(b)]
}

/// A server, or a client agent of the server of its side.
fn start(plan: &Plan, net: &Loopback, side: usize, client: bool) -> Agent {
    let host = side as u8 + 1;
    let as_server = r#"{"performance": {"raft_multiplier": 5}}"#.to_owned();
    let (ip, port) = (net.ip(host), common::agent::SERF_LAN);
    let as_client = format!(r#"{{"retry_join": ["{ip}:{port}"]}}"#);
    let config = if client { as_client } else { as_server };
    let agent = AgentPlan {
        binary: &plan.binaries[side],
        ip: net.ip(if client { host + 10 } else { host }),
        node: if client { "client" } else { "server" },
        config: vec![("50-footprint.json".into(), config)],
    };
    match client {
        true => Agent::start_as(&agent, r#""server": false,"#),
        false => Agent::start(&agent),
    }
}

/// What all four do while nobody asks them anything.
fn idle(plan: &Plan, servers: &mut [Agent; 2], clients: &mut [Agent; 2], rows: &mut Vec<Row>) {
    eprintln!("idle for {} s", plan.idle_seconds);
    // The last of starting up (full sync after joining) is not idleness.
    std::thread::sleep(Duration::from_secs(10.min(plan.idle_seconds)));
    let figures = |s: &mut [Agent; 2], c: &mut [Agent; 2]| {
        [
            each(s, written),
            each(c, written),
            each(s, cpu),
            each(c, cpu),
        ]
    };
    let before = figures(servers, clients);
    std::thread::sleep(Duration::from_secs(plan.idle_seconds));
    let after = figures(servers, clients);
    let spent = |n: usize| [0, 1].map(|side| after[n][side] - before[n][side]);
    let share = |n: usize| spent(n).map(|s| 100.0 * s / plan.idle_seconds as f64);
    let memory = [servers, clients].map(|agents| each(agents, |a| rss(a) / 1024.0));
    rows.push(row(
        "memory of an idle server",
        "MiB",
        memory[0],
        "at most 14 MiB",
    ));
    rows.push(row(
        "memory of an idle client agent",
        "MiB",
        memory[1],
        "at most 8 MiB",
    ));
    rows.push(row("written by an idle server", "KiB", spent(0), "0"));
    rows.push(row("written by an idle client agent", "KiB", spent(1), "0"));
    rows.push(row("processor, idle server", "%", share(2), ""));
    rows.push(row("processor, idle client agent", "%", share(3), ""));
}

/// The writes that are counted, each acknowledged.
fn write(agent: &Agent) {
    let addr = agent.http();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let mut client = Client::new(addr, PATIENCE);
                for n in (writer..WRITES).step_by(WRITERS) {
                    let answer = client.put(&format!("/v1/kv/footprint/{n}"), &[b'v'; VALUE]);
                    assert_eq!(answer.expect("an answer").status, 200);
                }
            });
        }
    });
}
