//! `kill -9` at random moments under write load, again and again on the same data directory: whatever was
//! acknowledged is there after the restart, nothing has an older index than was seen before, and the agent
//! serves again soon. The moments and the writes come from a seed, which is printed.
//!
//! `CRASH_ROUNDS` (50), `CRASH_SEED`, and `CONSUL_LITE=/path` for another program.

#[path = "../common/mod.rs"]
mod common;

mod load;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::agent::{Agent, Plan};
use common::harness::{self, Outcome, Test};
use common::http::Client;
use common::json::Json;
use common::{Loopback, consul_lite, try_until};
use load::{Ledger, Load};

/// A restart takes at most this long as a rule: the median of all.
const SERVES_WITHIN: Duration = Duration::from_secs(1);
/// No restart takes longer than this, whatever else the machine does.
const SERVES_AT_LAST: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let sees = || match load::ledger_sees_losses() {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    };
    harness::main(vec![
        Test::new("ledger_sees_losses", sees),
        Test::new("kill_under_load", kill_under_load),
    ])
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn kill_under_load() -> Outcome {
    let rounds = number("CRASH_ROUNDS").unwrap_or(50);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = number("CRASH_SEED").unwrap_or(now.map_or(1, |d| d.as_secs()));
    println!("crash: {rounds} rounds, CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let net = Loopback::claim();
    let binary = consul_lite();
    let mut agent = Agent::start(&Plan {
        binary: &binary,
        ip: net.ip(1),
        node: "n1",
        config: Vec::new(),
    });
    agent.wait_ready(Duration::from_secs(60));
    let mut ledger = Ledger::default();
    let mut times = Vec::new();
    for round in 0..rounds {
        let load = Load::start(agent.http(), round, random.u64(..));
        // The moment of the kill is the test's input, not something it waits for.
        std::thread::sleep(Duration::from_millis(random.u64(20..600)));
        agent.kill();
        let wrote = load.stop(&mut ledger);
        let start = Instant::now();
        agent.restart();
        let Some(took) = served(&mut agent, start) else {
            let log = agent.log_tail(20);
            return Outcome::Failed(format!("round {round}: it does not serve again:\n{log}"));
        };
        times.push(took);
        let mut client = agent.client();
        if let Err(why) = verify(&mut client, &mut ledger) {
            return Outcome::Failed(format!("seed {seed}, round {round}: {why}"));
        }
        println!(
            "round {round}: {wrote} acknowledged, {} in all; serving {} ms after exec",
            ledger.acknowledged(),
            took.as_millis()
        );
    }
    times.sort();
    let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) else {
        return Outcome::Failed("no rounds".into());
    };
    println!(
        "crash: exec to first acknowledged write: median {} ms, worst {} ms of {rounds}",
        median.as_millis(),
        worst.as_millis()
    );
    if *median > SERVES_WITHIN || *worst > SERVES_AT_LAST {
        let took = format!("{median:?} until it served again as a rule, {worst:?} at worst");
        return Outcome::Failed(took);
    }
    Outcome::Passed
}

/// The time from exec until a write was acknowledged.
fn served(agent: &mut Agent, start: Instant) -> Option<Duration> {
    let addr = agent.http();
    try_until(Duration::from_secs(30), || {
        let mut client = Client::new(addr, Duration::from_secs(5));
        let answer = client.put("/v1/kv/probe", b"x").ok()?;
        (answer.status == 200).then(|| start.elapsed())
    })
}

/// Compares what the agent has with what it acknowledged.
fn verify(client: &mut Client, ledger: &mut Ledger) -> Result<(), String> {
    let mut ask = |path: &str| {
        let r = client.get(path).map_err(|e| format!("{path}: {e}"))?;
        let index = r.index().unwrap_or(0);
        let json = Json::parse(&r.text()).ok_or_else(|| format!("{path}: {}", r.text()))?;
        Ok::<_, String>((index, json))
    };
    for path in load::WATCHED {
        let (index, _) = ask(path)?;
        let before = ledger.index(path);
        if index < before {
            return Err(format!("{path}: X-Consul-Index was {before}, is {index}"));
        }
        ledger.saw(path, index);
    }
    let (_, kv) = ask("/v1/kv/?recurse")?;
    let (_, sessions) = ask("/v1/session/list")?;
    ledger.check(&kv, &sessions)
}
