//! Servers under faults: processes killed, stopped and started again, hosts parted in one direction or both,
//! packets lost and late. Meanwhile clients at every agent write, compare-and-set and read; what they saw must be
//! linearizable, with a last read of everything at every agent: so no acknowledged write is lost.
//!
//! `FAULT_ROUNDS=n` runs that many rounds of each size, `FAULT_SEED=n` names the first round's faults (those
//! are drawn from it; when they happen to meet what is not).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::hosts::{Cluster, HTTP};
use crate::common::harness::{Outcome, Test};
use crate::common::http::Client;
use crate::common::json::Json;
use crate::common::linear::{self, Op, Operation, Verdict};
use crate::common::netns::Link;

/// How long a cluster may take to serve, at first and after faults.
const READY: Duration = Duration::from_secs(120);
/// An operation without an answer after this has an unknown outcome.
const ANSWER: Duration = Duration::from_secs(5);
/// Faults of one round.
const FAULTS: usize = 3;
/// Registers of one round.
const KEYS: usize = 12;
/// Acknowledged writes of one round, at least.
const WRITES: usize = 60;
/// Clients at each agent.
const CLIENTS: usize = 2;

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("faults::the_checker_knows_good_from_bad", || {
            linear::self_check();
            Outcome::Passed
        }),
        Test::new("faults::three_servers_stay_linearizable", || {
            rounds(3, 0, 2)
        }),
        Test::new(
            "faults::five_servers_and_a_client_stay_linearizable",
            || rounds(5, 1, 1),
        ),
    ]
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What clients do and see in one round.
struct Round {
    number: u64,
    start: Instant,
    over: AtomicBool,
    /// The next value to write: each is written once.
    next: AtomicU64,
    history: Mutex<Vec<(usize, Operation)>>,
}

fn rounds(servers: usize, clients: usize, few: u64) -> Outcome {
    let mut cluster = match Cluster::start(servers, clients, READY) {
        Ok(cluster) => cluster,
        Err(why) => return Outcome::Skipped(why),
    };
    let first = number("FAULT_SEED").unwrap_or(1);
    for seed in first..first + number("FAULT_ROUNDS").unwrap_or(few) {
        let operations = round(&mut cluster, seed);
        println!("{servers}+{clients} agents, round {seed}: {operations} operations, linearizable");
    }
    Outcome::Passed
}

/// Sets a flag when it goes out of scope.
struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One round; how many operations there were.
fn round(cluster: &mut Cluster, seed: u64) -> usize {
    let round = Round {
        number: seed,
        start: Instant::now(),
        over: AtomicBool::new(false),
        next: AtomicU64::new(1),
        history: Mutex::default(),
    };
    let mut rng = Rng::with_seed(seed);
    let agents = cluster.agents();
    let mut told = Vec::new();
    // The faults are drawn by this thread; the clients run beside it, each on its agent's host.
    std::thread::scope(|scope| {
        for client in 0..agents * CLIENTS {
            let (round, network) = (&round, cluster.network.clone());
            scope.spawn(move || {
                network.enter(client % agents);
                round.be_client(client);
            });
        }
        // The clients end with this, however it ends.
        let _over = SetAtTheEnd(&round.over);
        for _ in 0..FAULTS {
            told.push(fault(cluster, &mut rng));
        }
        heal(cluster);
        cluster.wait_all(READY);
        let enough = crate::common::try_until(READY, || (round.written() >= WRITES).then_some(()));
        round.over.store(true, Ordering::Relaxed);
        assert!(
            enough.is_some(),
            "too few writes\nfaults: {told:#?}\n{}",
            cluster.logs(40)
        );
    });
    for agent in 0..agents {
        cluster.network.on(agent, || round.read_all(agent));
    }
    let history = round.history.into_inner().expect("no client panicked");
    for key in 0..KEYS {
        let of_key = history.iter().filter(|(k, _)| *k == key);
        let of_key: Vec<Operation> = of_key.map(|(_, o)| o.clone()).collect();
        match linear::check(&of_key) {
            Verdict::Linearizable => {}
            verdict => {
                let path = cluster.dir().join(format!("history-{seed}-{key}"));
                let lines = of_key.iter().map(|o| format!("{o:?}\n"));
                let _ = std::fs::write(&path, lines.collect::<String>());
                panic!(
                    "FAULT_SEED={seed}, {} servers, key {key} ({}): {verdict:?}\nfaults: {told:#?}\n{}",
                    cluster.servers(),
                    path.display(),
                    cluster.logs(60)
                );
            }
        }
    }
    history.len()
}

/// Something goes wrong for a while; what it was.
fn fault(cluster: &mut Cluster, rng: &mut Rng) -> String {
    let servers = cluster.servers();
    let leader = cluster.leader();
    let victim = match leader {
        Some(leader) if rng.u8(..3) > 0 => leader,
        _ => rng.usize(..servers),
    };
    let lasts = Duration::from_millis(rng.u64(1_000..5_000));
    let kind = rng.u8(..8);
    let others = || (0..servers).filter(move |other| *other != victim);
    let what = match kind {
        0 => {
            cluster.kill(victim);
            "killed"
        }
        1 => {
            cluster.signal(victim, libc::SIGSTOP);
            "stopped"
        }
        2 => {
            others().for_each(|other| {
                cluster.network.cut(victim, other);
                cluster.network.cut(other, victim);
            });
            "parted from the other servers"
        }
        3 => {
            others().for_each(|other| cluster.network.cut(victim, other));
            "heard by no other server"
        }
        4 => {
            others().for_each(|other| cluster.network.cut(other, victim));
            "hearing no other server"
        }
        5 => {
            // Two halves, and one server that reaches both.
            let bridge = rng.usize(..servers);
            for a in (0..servers).filter(|a| *a != bridge) {
                for b in (0..servers).filter(|b| *b != bridge && a % 2 != b % 2) {
                    cluster.network.cut(a, b);
                }
            }
            "one of two halves"
        }
        6 => {
            let (loss, delay) = (rng.f64() * 0.3, Duration::from_millis(rng.u64(1..60)));
            for a in 0..cluster.agents() {
                for b in 0..cluster.agents() {
                    cluster.network.link(a, b, Link { loss, delay });
                }
            }
            "on a bad network"
        }
        _ => {
            // Power fails for most of them, as it does.
            (0..servers)
                .filter(|_| rng.u8(..4) > 0)
                .for_each(|s| cluster.kill(s));
            "killed with others"
        }
    };
    let text = format!("n{victim} is {what} for {lasts:?}; the leader was {leader:?}");
    std::thread::sleep(lasts);
    // Some faults last on while the next one comes.
    if rng.bool() {
        heal(cluster);
    } else if kind == 1 {
        cluster.signal(victim, libc::SIGCONT);
    }
    text
}

fn heal(cluster: &mut Cluster) {
    cluster.network.heal();
    for agent in 0..cluster.agents() {
        cluster.signal(agent, libc::SIGCONT);
        if !cluster.runs(agent) {
            cluster.start_agent(agent);
        }
    }
}

impl Round {
    fn key(&self, key: usize) -> String {
        format!("/v1/kv/round-{}/{key}", self.number)
    }

    fn note(&self, client: usize, key: usize, call: Duration, op: Op) {
        let operation = Operation {
            client,
            call,
            end: self.start.elapsed(),
            op,
        };
        let mut history = self.history.lock().unwrap_or_else(|e| e.into_inner());
        history.push((key, operation));
    }

    /// Writes that were acknowledged so far.
    fn written(&self) -> usize {
        let history = self.history.lock().unwrap_or_else(|e| e.into_inner());
        let written = history.iter().filter(|(_, o)| match o.op {
            Op::Put { known, .. } => known,
            Op::Cas { done, .. } => done == Some(true),
            Op::Get { .. } => false,
        });
        written.count()
    }

    /// What one client does until the round is over.
    fn be_client(&self, client: usize) {
        let mut rng = Rng::with_seed(self.number * 1_000 + client as u64);
        // Half of them read in the default mode.
        let mode = ["?consistent", ""][client / CLIENTS % 2];
        while !self.over.load(Ordering::Relaxed) {
            let key = rng.usize(..KEYS);
            let answered = match rng.u8(..4) {
                0 => self.put(client, key),
                1 => self.compare_and_set(client, key, mode),
                _ => self.get(client, key, mode).is_some(),
            };
            let pause = if answered { 20 } else { 100 };
            std::thread::sleep(Duration::from_millis(rng.u64(..2 * pause)));
        }
    }

    fn value(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A connection for this one operation: a kept one might send a write twice.
    fn fresh() -> Client {
        Client::new(HTTP, ANSWER)
    }

    fn put(&self, client: usize, key: usize) -> bool {
        let (value, call) = (self.value(), self.start.elapsed());
        let answer = Self::fresh().put(&self.key(key), value.to_string().as_bytes());
        let known = matches!(&answer, Ok(r) if r.status == 200 && r.text().trim() == "true");
        self.note(client, key, call, Op::Put { value, known });
        known
    }

    /// A read; the value and its index.
    fn get(&self, client: usize, key: usize, mode: &str) -> Option<(Option<u64>, u64)> {
        let call = self.start.elapsed();
        let answer = Self::fresh()
            .get(&format!("{}{mode}", self.key(key)))
            .ok()?;
        let (value, index) = match answer.status {
            404 => (None, 0),
            200 => {
                let json = Json::parse(&answer.text())?;
                let value = json.at("[0].Value")?.scalar()?.to_owned();
                let value = data_encoding::BASE64.decode(value.as_bytes()).ok()?;
                let value = String::from_utf8(value).ok()?.parse().ok()?;
                let index = json.at("[0].ModifyIndex")?.scalar()?.parse().ok()?;
                (Some(value), index)
            }
            _ => return None,
        };
        self.note(client, key, call, Op::Get { value });
        Some((value, index))
    }

    fn compare_and_set(&self, client: usize, key: usize, mode: &str) -> bool {
        let Some((expected, index)) = self.get(client, key, mode) else {
            return false;
        };
        let (value, call) = (self.value(), self.start.elapsed());
        let target = format!("{}?cas={index}", self.key(key));
        let answer = Self::fresh().put(&target, value.to_string().as_bytes());
        let done = match answer {
            Ok(r) if r.status == 200 && r.text().trim() == "true" => Some(true),
            Ok(r) if r.status == 200 && r.text().trim() == "false" => Some(false),
            _ => None,
        };
        let op = Op::Cas {
            expected,
            value,
            done,
        };
        self.note(client, key, call, op);
        done.is_some()
    }

    /// Reads every register once.
    fn read_all(&self, agent: usize) {
        for key in 0..KEYS {
            let read = crate::common::try_until(READY, || self.get(agent, key, "?consistent"));
            assert!(read.is_some(), "n{agent} does not answer a read");
        }
    }
}
