//! A server in a memory cgroup of 32 MiB: 10,000 keys and 200 services with checks go in, are read, listed and
//! resolved under load from several connections, and the kernel kills nobody. The page cache counts, too. The same
//! through a client agent in such a cgroup.
//!
//! At the end eight clients list all keys at once, some of them slowly: such answers are read as they are sent.
//! And what an idle blocking query costs, what slow clients make the agent hold, and input that is meant to fill memory.
//! Wants root and a memory controller (cgroup v1 or v2); without them it is skipped, loudly.
//! `CONSUL_LITE=/path` for another program.

#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod hostile;
mod slow;

use std::fs;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::agent::{Agent, Plan};
use common::harness::{self, Outcome, Test};
use common::http::{Client, read_response};
use common::{Loopback, TempDir, consul_lite, wait_until};

const LIMIT: u64 = 32 << 20;
const KEYS: usize = 10_000;
const SERVICES: usize = 200;
const WRITERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    harness::main(vec![
        // First: a child is counted with what its parent has ever held.
        Test::new("hostile_configuration", hostile::configuration),
        Test::new("server_in_32_mib", || in_cgroup("server", server_in_32_mib)),
        Test::new("client_in_32_mib", || in_cgroup("client", client_in_32_mib)),
        Test::new("idle_blocking_queries", idle_blocking_queries),
        Test::new("slow_bodies", slow::bodies),
        Test::new("answers_that_wait", slow::answers),
        Test::new("hostile_requests", hostile::requests),
    ])
}

/// Held by whoever counts what a child has held, to which its parent's is added, and by whoever makes the parent hold
/// much.
static PARENT: Mutex<()> = Mutex::new(());

/// For as long as the value lives nobody else has it.
fn parent() -> MutexGuard<'static, ()> {
    PARENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Idle blocking queries, each on a connection of its own, at the KiB that each may cost.
const BLOCKED: usize = 2000;
const KIB_PER_BLOCKED: f64 = 12.0;

fn idle_blocking_queries() -> Outcome {
    common::raise_open_files();
    let net = Loopback::claim();
    let mut agent = Agent::start(&Plan {
        binary: &consul_lite(),
        ip: net.ip(1),
        node: "n1",
        config: vec![(
            "50-limits.json".into(),
            r#"{"limits": {"http_max_conns_per_client": 8000},
                "telemetry": {"prometheus_retention_time": "1m", "disable_hostname": true}}"#
                .into(),
        )],
    });
    agent.wait_ready(PATIENCE);
    let mut client = agent.client();
    client.put("/v1/kv/wake", b"1").expect("an answer");
    let index = client.get("/v1/kv/wake").expect("an answer").index();
    let index = index.expect("an index");
    let before = rss_kib(&mut agent);
    let request = format!("GET /v1/kv/wake?index={index}&wait=10m HTTP/1.1\r\nHost: test\r\n\r\n");
    let open = |_| {
        let mut stream = TcpStream::connect(agent.http()).expect("a connection");
        stream.write_all(request.as_bytes()).expect("a request");
        stream
    };
    let streams: Vec<TcpStream> = (0..BLOCKED).map(open).collect();
    let all_wait = || blocking_queries(&mut client).filter(|n| *n >= BLOCKED as f64);
    wait_until(PATIENCE, "all queries wait", all_wait);
    let each = (rss_kib(&mut agent) - before) / BLOCKED as f64;
    println!("memory: {each:.1} KiB per idle blocking query");
    // All of them wait indeed: one write answers them all.
    agent.client().put("/v1/kv/wake", b"2").expect("an answer");
    for stream in streams {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let answer = read_response(&mut BufReader::new(stream), false);
        assert!(answer.expect("an answer").index() > Some(index));
    }
    if each > KIB_PER_BLOCKED {
        return Outcome::Failed(format!("{each:.1} KiB each, at most {KIB_PER_BLOCKED}"));
    }
    Outcome::Passed
}

/// How many queries the agent says to be waiting.
fn blocking_queries(client: &mut Client) -> Option<f64> {
    let metrics = client.get("/v1/agent/metrics?format=prometheus").ok()?;
    let text = metrics.text();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("consul_rpc_queries_blocking "))?;
    line.trim().parse().ok()
}

fn rss_kib(agent: &mut Agent) -> f64 {
    let status = format!("/proc/{}/status", agent.process().pid());
    let text = fs::read_to_string(status).expect("the agent's status");
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.expect("a size")
}

/// A cgroup with the limit, removed with the value.
struct Cgroup {
    dir: PathBuf,
    unified: bool,
}

impl Cgroup {
    fn new(name: &str) -> Result<Cgroup, String> {
        let root = Path::new("/sys/fs/cgroup");
        let (root, unified) = if root.join("cgroup.controllers").exists() {
            (root.to_owned(), true)
        } else {
            (root.join("memory"), false)
        };
        let dir = root.join(format!("consul-lite-test-{name}-{}", std::process::id()));
        let failed = |e: std::io::Error| format!("no memory cgroup: {}: {e}", dir.display());
        fs::create_dir(&dir).map_err(failed)?;
        let cgroup = Cgroup {
            dir: dir.clone(),
            unified,
        };
        let (limit, swap) = if unified {
            ("memory.max", "memory.swap.max")
        } else {
            ("memory.limit_in_bytes", "memory.swappiness")
        };
        fs::write(dir.join(limit), LIMIT.to_string()).map_err(failed)?;
        // Not every kernel has swap to forbid.
        let _ = fs::write(dir.join(swap), "0");
        Ok(cgroup)
    }

    /// How often the kernel killed in it.
    fn kills(&self) -> u64 {
        let file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|n| n.trim().parse().ok())
            .expect("a count of kills")
    }

    /// A program that runs `binary` inside.
    fn wrap(&self, dir: &TempDir, binary: &Path) -> PathBuf {
        let procs = self.dir.join("cgroup.procs");
        let (procs, binary) = (procs.display(), binary.display());
        let text = format!("#!/bin/sh\necho $$ >{procs} && exec {binary} \"$@\"\n");
        let wrapper = dir.write("consul-lite", &text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&wrapper, mode).expect("a mode can be set");
        wrapper
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Goes only when it is empty, which it is when the agent has been reaped.
        let _ = fs::remove_dir(&self.dir);
    }
}

fn in_cgroup(name: &str, test: fn(&Cgroup) -> Outcome) -> Outcome {
    match Cgroup::new(name) {
        Ok(cgroup) => test(&cgroup),
        Err(why) => Outcome::Skipped(why),
    }
}

fn server_in_32_mib(cgroup: &Cgroup) -> Outcome {
    let net = Loopback::claim();
    let dir = TempDir::new("memory");
    let wrapper = cgroup.wrap(&dir, &consul_lite());
    let mut agent = Agent::ready(&wrapper, net.ip(1), PATIENCE);
    under_load(&agent);
    listings(agent.http());
    survived(&mut agent, cgroup)
}

/// A client agent keeps no keys, but everything goes through it: the services are its own, the keys a server's outside.
/// It holds an answer of a server's as a whole before it passes it on, but only so many at a time.
fn client_in_32_mib(cgroup: &Cgroup) -> Outcome {
    let net = Loopback::claim();
    let dir = TempDir::new("memory-client");
    let server = Agent::ready(&consul_lite(), net.ip(1), PATIENCE);
    let join = format!(
        r#"{{"retry_join": ["{}:{}"], "limits": {{"rpc_client_timeout": "5m"}}}}"#,
        net.ip(1),
        common::agent::SERF_LAN
    );
    let wrapper = cgroup.wrap(&dir, &consul_lite());
    let plan = Plan {
        binary: &wrapper,
        ip: net.ip(2),
        node: "c1",
        config: vec![("50-join.json".into(), join)],
    };
    let mut agent = Agent::start_as(&plan, r#""server": false,"#);
    agent.wait_client_ready(PATIENCE);
    under_load(&agent);
    let at_server = server.client().get("/v1/kv/load/09999?raw");
    assert_eq!(at_server.expect("an answer").body.len(), 200);
    listings(agent.http());
    crowd::listings(&agent);
    survived(&mut agent, cgroup)
}

/// Puts services and keys in through the agent, and reads and lists them meanwhile.
fn under_load(agent: &Agent) {
    let addr = agent.http();
    register(addr);
    std::thread::scope(|scope| {
        for n in 0..WRITERS {
            scope.spawn(move || load(addr, n));
        }
    });
    let mut client = agent.client();
    wait_until(PATIENCE, "all services are in the catalog", || {
        let services = client.get("/v1/catalog/services").ok()?.text();
        (services.matches("service-").count() == SERVICES).then_some(())
    });
}

/// Whether the agent runs still and the kernel has killed nobody.
fn survived(agent: &mut Agent, cgroup: &Cgroup) -> Outcome {
    let status = format!("/proc/{}/status", agent.process().pid());
    let status = fs::read_to_string(status).unwrap_or_default();
    let memory = status
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("RssAnon"));
    println!("memory: {}", memory.collect::<Vec<_>>().join(", "));
    if let Some(ended) = agent.process().ended() {
        return Outcome::Failed(format!("the agent ended with {ended}"));
    }
    match cgroup.kills() {
        0 => Outcome::Passed,
        n => Outcome::Failed(format!("the kernel killed {n} times")),
    }
}

/// Registers the services at the agent, each with a check that it has to keep.
fn register(addr: SocketAddr) {
    let mut client = Client::new(addr, PATIENCE);
    for n in 0..SERVICES {
        let body = format!(
            r#"{{"Name": "service-{n}", "Port": {}, "Tags": ["v1"], "Check": {{"TTL": "10m", "Status": "passing"}}}}"#,
            10_000 + n
        );
        let answer = client.put("/v1/agent/service/register", body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }
}

/// Lists all keys from eight clients at once, whose answers are those of listings that are small enough to be whole.
fn listings(addr: SocketAddr) {
    let mut client = Client::new(addr, PATIENCE);
    let whole = |client: &mut Client, query: &str| -> String {
        let parts = (0..KEYS / 100).map(|n| {
            let answer = client.get(&format!("/v1/kv/load/{n:03}?{query}"));
            let text = answer.expect("an answer").text();
            let list = text.trim_end().trim_start_matches('[');
            list.trim_end_matches(']').trim_end().to_owned()
        });
        let end = if query.contains("pretty") {
            "\n]\n"
        } else {
            "]"
        };
        format!("[{}{end}", parts.collect::<Vec<_>>().join(","))
    };
    let queries = ["recurse", "recurse&pretty", "keys", "keys&pretty"];
    let wanted = queries.map(|query| (query, whole(&mut client, query)));
    std::thread::scope(|scope| {
        for n in 0..WRITERS {
            let (query, wanted) = &wanted[[0, 0, 0, 1, 0, 0, 2, 3][n]];
            scope.spawn(move || {
                let request = format!("/v1/kv/load/?{query}");
                if n >= 4 {
                    taken_slowly(addr, &request);
                }
                let answer = Client::new(addr, PATIENCE).get(&request);
                let text = answer.expect("the agent lives").text();
                assert!(text == *wanted, "{query}: {} bytes", text.len());
            });
        }
    });
    let cut = client.get("/v1/kv/load/?keys&separator=5");
    let cut = cut.expect("an answer").text();
    let keys: Vec<&str> = cut.trim_matches(['[', ']']).split(',').collect();
    let mut expected: Vec<String> = (0..KEYS).map(|n| cut_behind(&format!("{n:05}"))).collect();
    expected.dedup();
    assert_eq!(keys, expected);
}

fn cut_behind(key: &str) -> String {
    let end = key.find('5').map_or(key.len(), |at| at + 1);
    format!("\"load/{}\"", &key[..end])
}

/// Asks, and takes a little of the answer before going away.
fn taken_slowly(addr: SocketAddr, path: &str) {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    taken_slowly_from(&mut stream, path);
}

/// Asks, and takes a little of the answer.
fn taken_slowly_from(stream: &mut TcpStream, path: &str) -> std::io::Cursor<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut taken = Vec::new();
    let mut piece = [0; 512];
    for _ in 0..20 {
        std::io::Read::read_exact(stream, &mut piece).expect("some of an answer");
        taken.extend_from_slice(&piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::io::Cursor::new(taken)
}

/// One connection's share of the keys, with reads and lists between.
fn load(addr: SocketAddr, writer: usize) {
    let mut client = Client::new(addr, PATIENCE);
    let value = vec![b'v'; 200];
    for n in (writer..KEYS).step_by(WRITERS) {
        let answer = client.put(&format!("/v1/kv/load/{n:05}"), &value);
        let answer = answer.expect("the agent lives");
        assert_eq!(answer.status, 200, "{}", answer.text());
        if n % 64 == writer {
            let health = format!("/v1/health/service/service-{}", n % SERVICES);
            let hundred = format!("/v1/kv/load/{:03}?recurse", n / 100);
            for path in [health.as_str(), hundred.as_str(), "/v1/catalog/services"] {
                let answer = client.get(path).expect("the agent lives");
                assert_eq!(answer.status, 200, "{path}");
            }
        }
    }
}
