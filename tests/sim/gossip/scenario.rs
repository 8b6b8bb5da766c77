//! What may happen to a pool, and what must come of it.
//!
//! The bounds are those of the papers: a round of probes visits everybody once, so a failure is noticed
//! first within two rounds of one member at worst, and by chance far earlier with all of them probing;
//! a suspect has between the shortest and the longest time of Lifeguard; news need a multiple of log n rounds.

use std::collections::BTreeSet;
use std::time::Duration;

use consul_lite::gossip::{
    Change, Config, Event, KeyOperation, KeyOutcome, Keyring, MergeFilter, Pool, QueryOptions,
};
use consul_lite::structs::MemberStatus;

use super::chaos;
use super::world::{Node, World, ms, s};

/// Who misses some news hears of it with an exchange of everything, of which there is one with a random
/// member every 30 s, the first one later.
pub const CONVERGENCE: Duration = Duration::from_secs(180);

/// Figures to be sure that something happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub worlds: u64,
    pub packets: u64,
    pub failures_seen: u64,
    /// Of all failures: the longest until the first and until the last member knew.
    pub first_detection: Duration,
    pub last_detection: Duration,
    pub false_positives: u64,
    pub healthy_hours: f64,
    /// Members that saw another one leave, and those of them that took it for a failure at first.
    pub leaves_seen: u64,
    pub leaves_mistaken: u64,
    /// Faults that were drawn.
    pub faults: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.worlds += other.worlds;
        self.packets += other.packets;
        self.failures_seen += other.failures_seen;
        self.first_detection = self.first_detection.max(other.first_detection);
        self.last_detection = self.last_detection.max(other.last_detection);
        self.false_positives += other.false_positives;
        self.healthy_hours += other.healthy_hours;
        self.leaves_seen += other.leaves_seen;
        self.leaves_mistaken += other.leaves_mistaken;
        self.faults += other.faults;
    }
}

pub type Outcome = Result<Totals, String>;

pub fn lan(name: &str, addr: std::net::SocketAddr, seed: u64) -> Config {
    let tags = [("role", "node"), ("dc", "dc1")];
    let tags = tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Config {
        seed,
        // Some compress, as it costs most of the time here.
        compress: seed.is_multiple_of(4),
        filter: MergeFilter::Lan {
            id: name.to_owned(),
            name: name.to_owned(),
            datacenter: "dc1".to_owned(),
            segment: String::new(),
        },
        ..Config::lan(name, addr, tags)
    }
}

pub fn all(n: usize) -> BTreeSet<usize> {
    (0..n).collect()
}

pub fn ensure(so: bool, what: &str) -> Result<(), String> {
    if so { Ok(()) } else { Err(what.to_owned()) }
}

/// A pool whose members all know each other, each joined through an earlier one.
pub fn formed(
    seed: u64,
    n: usize,
    trace: bool,
    config: impl Fn(&str, std::net::SocketAddr, u64) -> Config + 'static,
) -> Result<World, String> {
    let mut world = World::new(seed, n, trace, config);
    for i in 1..n {
        let through = world.rng.usize(..i);
        world.join(i, through);
        let pause = ms(world.rng.u64(..400));
        world.run(pause);
    }
    world.until("everybody knows everybody", CONVERGENCE, |w| {
        w.all_see(&all(n))
    })?;
    Ok(world)
}

pub fn totals(world: &World) -> Totals {
    Totals {
        worlds: 1,
        packets: world.packets,
        ..Totals::default()
    }
}

/// Everybody learns of everybody, though a part of the datagrams is lost.
fn joins(seed: u64, trace: bool) -> Outcome {
    let n = 3 + (seed % 38) as usize;
    let mut world = World::new(seed, n, trace, lan);
    world.loss = world.rng.f64() * 0.2;
    let mut through: Vec<usize> = (1..n).collect();
    world.rng.shuffle(&mut through);
    for i in through {
        world.join(i, 0);
    }
    world.until("everybody knows everybody", CONVERGENCE, |w| {
        w.all_see(&all(n))
    })?;
    ensure(world.changes(Change::Failed) == 0, "nobody has failed")?;
    for node in &world.nodes {
        let reached = |e: &Event| matches!(e, Event::Joined { reached: 1, .. });
        let joined = node.events.iter().any(|(_, e)| reached(e));
        ensure(joined || node.name == "n0", "each join has its end")?;
    }
    Ok(totals(&world))
}

/// A crash is noticed by all, in time, and nobody else is accused.
fn failure(seed: u64, trace: bool) -> Outcome {
    let n = 4 + (seed % 30) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    let pause = ms(world.rng.u64(..5_000));
    world.run(pause);
    let victim = world.rng.usize(..n);
    let start = world.now;
    world.crash(victim);
    // Two rounds of one member, the longest suspicion, and time for the news.
    let scale = (n as f64).log10().max(1.0);
    let longest = s(1).mul_f64(4.0 * scale * 6.0);
    let limit = s(2 * n as u64) + longest + s(3);
    world.until("all see the failure", limit, |w| {
        w.seen_as(victim, MemberStatus::Failed)
    })?;
    let times = world
        .nodes
        .iter()
        .filter(|node| node.name != format!("n{victim}"))
        .map(|node| {
            let failed = |e: &&(Duration, Event)| matches!(&e.1, Event::Member(Change::Failed, _));
            node.events
                .iter()
                .find(failed)
                .map_or(Duration::MAX, |e| e.0 - start)
        });
    let (first, last) = (times.clone().min(), times.max());
    // All but the last few of a suspicion's time is shortened by confirmations.
    ensure(
        first >= Some(s(4)),
        "nobody is declared dead before the shortest suspicion",
    )?;
    ensure(
        world.changes(Change::Failed) == n - 1,
        "nobody else is accused",
    )?;
    let mut totals = totals(&world);
    totals.failures_seen = n as u64 - 1;
    totals.first_detection = first.unwrap_or_default();
    totals.last_detection = last.unwrap_or_default();
    // It comes back under its name, from its snapshot, without being told where to.
    world.start(victim);
    world.until("the victim is back", CONVERGENCE, |w| w.all_see(&all(n)))?;
    Ok(totals)
}

/// A quiet network that loses a part of the datagrams: nobody is accused wrongly.
fn lossy(seed: u64, trace: bool) -> Outcome {
    let n = 5 + (seed % 16) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    world.loss = 0.05 + world.rng.f64() * 0.15;
    world.latency = ms(1 + world.rng.u64(..200));
    world.run(s(300));
    let mut totals = totals(&world);
    totals.false_positives = world.changes(Change::Failed) as u64;
    totals.healthy_hours = n as f64 * 300.0 / 3600.0;
    world.loss = 0.0;
    world.until("all are well again", CONVERGENCE, |w| w.all_see(&all(n)))?;
    Ok(totals)
}

/// One member is so slow that it misses nearly all answers: it does not take the healthy ones with it.
fn slow(seed: u64, trace: bool) -> Outcome {
    let n = 6 + (seed % 10) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    let slow = world.rng.usize(..n);
    let delay = ms(1_500 + world.rng.u64(..3_000));
    world.slow_down(slow, delay);
    let mut score = 0;
    for _ in 0..120 {
        world.run(s(1));
        let pool = world.nodes[slow].pool.as_ref();
        score = pool.map_or(0, Pool::health_score).max(score);
    }
    let name = world.nodes[slow].name.clone();
    ensure(score > 0, "the slow member notices its own bad health")?;
    let mut totals = totals(&world);
    let wrong = |e: &Event| match e {
        Event::Member(Change::Failed, member) => member.name != name,
        _ => false,
    };
    let healthy = world.nodes.iter().filter(|node| node.name != name);
    let events = healthy.flat_map(|node| &node.events);
    totals.false_positives = events.filter(|(_, e)| wrong(e)).count() as u64;
    totals.healthy_hours = n as f64 * 120.0 / 3600.0;
    world.slow_down(slow, Duration::ZERO);
    world.until("all are well again", CONVERGENCE, |w| w.all_see(&all(n)))?;
    Ok(totals)
}

/// Two halves lose and find each other again.
fn partition(seed: u64, trace: bool) -> Outcome {
    let n = 4 + (seed % 20) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    let part = 1 + world.rng.usize(..n - 1);
    let (left, right): (BTreeSet<usize>, BTreeSet<usize>) = (0..n).partition(|i| *i < part);
    right.iter().for_each(|i| world.groups[*i] = 1);
    // Whose probes all fail takes up to eight times as long for each.
    let limit = s(8 * n as u64 + 60);
    world.until("the halves have parted", limit, |w| {
        w.all_see(&left) && w.all_see(&right)
    })?;
    let longer = s(world.rng.u64(..200));
    world.run(longer);
    ensure(
        world.all_see(&left) && world.all_see(&right),
        "they stay apart",
    )?;
    world.groups.fill(0);
    // Every 30 s each half tries one that failed, likelier the more have failed.
    world.until("the halves have found each other", s(300), |w| {
        w.all_see(&all(n))
    })?;
    Ok(totals(&world))
}

/// Leaving is not failing.
fn leaving(seed: u64, trace: bool) -> Outcome {
    let n = 4 + (seed % 12) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    world.loss = world.rng.f64() * 0.1;
    let goes = world.rng.usize(..n);
    world.with(goes, |pool, now| pool.leave(now));
    let left = |w: &World, i: usize| {
        let events = &w.nodes[i].events;
        events.iter().any(|(_, e)| *e == Event::Left)
    };
    world.until("it may go", s(14), |w| left(w, goes))?;
    world.crash(goes);
    world.until("all see that it left", CONVERGENCE, |w| {
        w.seen_as(goes, MemberStatus::Left)
    })?;
    world.run(s(30));
    ensure(world.seen_as(goes, MemberStatus::Left), "it stays so")?;
    // Who misses the intent and hears of the end first takes it for a failure, until the next exchange.
    let mistaken = world.changes(Change::Failed) as u64;
    ensure(
        world.nodes[goes].file.ends_with("leave\n"),
        "its snapshot says so",
    )?;
    // It comes back alone and has to be asked to join.
    world.loss = 0.0;
    world.start(goes);
    world.run(s(5));
    let alone = world.nodes[goes]
        .pool
        .as_ref()
        .is_some_and(|p| p.alive() == 1);
    ensure(alone, "it does not rejoin by itself")?;
    world.join(goes, (goes + 1) % n);
    world.until("it is back", CONVERGENCE, |w| w.all_see(&all(n)))?;
    // One that failed is forced to leave, another one is forgotten at once.
    for prune in [false, true] {
        let victim = world.rng.usize(..n);
        world.crash(victim);
        world.until("it has failed", s(120), |w| {
            w.seen_as(victim, MemberStatus::Failed)
        })?;
        let name = world.nodes[victim].name.clone();
        let by = (victim + 1) % n;
        let done = world.with(by, |pool, now| pool.force_leave(now, &name, prune));
        ensure(done == Ok(()), "a failed member can be forced to leave")?;
        let knows = |w: &World, i: usize| {
            let pool = w.nodes[i].pool.as_ref();
            pool.is_some_and(|pool| pool.member(&name).is_some())
        };
        let gone = |w: &World| match prune {
            false => w.seen_as(victim, MemberStatus::Left),
            true => (0..n).all(|i| !knows(w, i)),
        };
        let mut done = world.until("it has left", CONVERGENCE, gone);
        // What all others have forgotten no exchange tells of: whom gossip happened to miss has to be asked.
        if prune && done.is_err() {
            let missed: Vec<usize> = (0..n).filter(|i| knows(&world, *i)).collect();
            ensure(missed.len() == 1, "gossip misses one at most")?;
            for i in missed {
                let asked = world.with(i, |pool, now| pool.force_leave(now, &name, true));
                ensure(asked == Ok(()), "it can be asked itself")?;
            }
            done = world.until("it has left at last", CONVERGENCE, gone);
        }
        done?;
        world.start(victim);
        world.join(victim, by);
        world.until("it is back", CONVERGENCE, |w| w.all_see(&all(n)))?;
    }
    let mut totals = totals(&world);
    totals.leaves_seen = n as u64 - 1;
    totals.leaves_mistaken = mistaken;
    Ok(totals)
}

/// Events reach everybody once, queries are answered by everybody once, tags are seen by all.
fn events(seed: u64, trace: bool) -> Outcome {
    let n = 3 + (seed % 20) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    world.loss = world.rng.f64() * 0.1;
    let count = 1 + world.rng.usize(..20);
    for k in 0..count {
        let from = world.rng.usize(..n);
        let name = format!("deploy-{k}");
        let fired = world.with(from, |pool, now| pool.user_event(now, &name, b"x", false));
        ensure(fired == Ok(()), "an event can be fired")?;
        let pause = ms(world.rng.u64(..300));
        world.run(pause);
    }
    let delivered = |w: &World, i: usize| {
        let user = |e: &Event| matches!(e, Event::User { .. });
        w.nodes[i].events.iter().filter(|(_, e)| user(e)).count()
    };
    world.until("all have all events", CONVERGENCE, |w| {
        (0..n).all(|i| delivered(w, i) >= count)
    })?;
    let asker = world.rng.usize(..n);
    world.loss = 0.0;
    let mut answers = 0;
    for _ in 0..4 {
        answers = ask(&mut world, asker)?;
        if answers == 2 * n {
            break;
        }
    }
    ensure(answers == 2 * n, "everybody acknowledges and answers once")?;
    let once = (0..n).all(|i| delivered(&world, i) == count);
    ensure(once, "no event is delivered twice")?;
    let tags = [
        ("role".to_owned(), "new".to_owned()),
        ("dc".to_owned(), "dc1".to_owned()),
    ];
    world
        .with(asker, |pool, now| pool.set_tags(now, tags.into()))
        .map_err(|e| e.to_string())?;
    let name = world.nodes[asker].name.clone();
    world.until("all see the new tags", CONVERGENCE, |w| {
        let pools = w.nodes.iter().filter_map(|node| node.pool.as_ref());
        let mut members = pools.map(|pool| pool.member(&name));
        members.all(|m| m.is_some_and(|m| m.tags["role"] == "new"))
    })?;
    Ok(totals(&world))
}

/// Asks everybody, and has everybody answer who hears of it; the number of answers and acknowledgements.
fn ask(world: &mut World, asker: usize) -> Result<usize, String> {
    let options = QueryOptions {
        ack: true,
        relay_factor: 2,
        timeout: Some(s(10)),
        ..QueryOptions::default()
    };
    let query = world.with(asker, |pool, now| pool.query(now, "load", b"?", &options));
    let query = query.map_err(|e| e.to_string())?;
    let end = world.now + s(11);
    let mut asked = BTreeSet::new();
    while world.now < end {
        world.run(ms(100));
        for i in 0..world.nodes.len() {
            let events = world.nodes[i].events.iter();
            let found = events.filter_map(|(_, e)| match e {
                Event::Query(asked) if asked.id == query => Some(asked.ltime),
                _ => None,
            });
            let found = found.max().filter(|_| asked.insert(i));
            if let Some(ltime) = found {
                let done = world.with(i, |pool, now| pool.respond(now, ltime, query, b"0.5"));
                ensure(done == Ok(()), "a query can be answered")?;
            }
        }
    }
    let done = Event::QueryDone { query };
    let events = &world.nodes[asker].events;
    ensure(
        events.iter().any(|(_, e)| *e == done),
        "the query has its end",
    )?;
    let answers = events.iter().filter(|(_, e)| match e {
        Event::QueryAnswer { query: q, .. } | Event::QueryAck { query: q, .. } => *q == query,
        _ => false,
    });
    Ok(answers.count())
}

/// The key of a pool is changed while it runs.
fn keys(seed: u64, trace: bool) -> Outcome {
    let n = 3 + (seed % 10) as usize;
    let (old, new) = (vec![1; 16], vec![2; 32]);
    let first = old.clone();
    let mut world = formed(seed, n, trace, move |name, addr, seed| Config {
        keyring: Keyring::new(&first).ok(),
        ..lan(name, addr, seed)
    })?;
    world.loss = world.rng.f64() * 0.1;
    for operation in [
        KeyOperation::Install(new.clone()),
        KeyOperation::Use(new.clone()),
        KeyOperation::Remove(old.clone()),
        KeyOperation::List,
    ] {
        let mut outcome = KeyOutcome::default();
        // A query may miss somebody, or its answer: then it is asked again.
        for _ in 0..20 {
            outcome = key_operation(&mut world, &operation)?;
            if outcome.responses < n {
                world.loss /= 2.0;
            }
            if outcome.responses == n {
                break;
            }
        }
        let good = outcome.responses == n && outcome.errors == 0;
        ensure(good, &format!("{operation:?} on all: {outcome:?}"))?;
        if operation == KeyOperation::List {
            ensure(outcome.keys.values().eq([&n]), "all have the one key")?;
        }
        world.run(s(5));
    }
    ensure(world.all_see(&all(n)), "all are still together")?;
    ensure(world.changes(Change::Failed) == 0, "nobody has failed")?;
    let kept = |node: &Node| node.keyrings.last() == Some(&vec![new.clone()]);
    ensure(world.nodes.iter().all(kept), "the files say so")?;
    Ok(totals(&world))
}

fn key_operation(world: &mut World, operation: &KeyOperation) -> Result<KeyOutcome, String> {
    let by = world.rng.usize(..world.nodes.len());
    let query = world.with(by, |pool, now| {
        pool.key_operation(now, operation.clone(), 1)
    });
    let query = query.map_err(|e| e.to_string())?;
    let outcome = |w: &World| {
        w.nodes[by].events.iter().find_map(|(_, e)| match e {
            Event::Keys { query: q, outcome } if *q == query => Some(outcome.clone()),
            _ => None,
        })
    };
    world.until("the operation has its end", s(10), |w| outcome(w).is_some())?;
    Ok(outcome(world).unwrap_or_default())
}

/// Two members of one name: the newcomer goes.
fn conflict(seed: u64, trace: bool) -> Outcome {
    let n = 4 + (seed % 8) as usize;
    let mut world = formed(seed, n, trace, lan)?;
    world.crash(n - 1);
    world.until("one has gone", s(60), |w| {
        w.seen_as(n - 1, MemberStatus::Failed)
    })?;
    // The last one comes back under the name of the first.
    world.nodes[n - 1].name = "n0".to_owned();
    world.forget(n - 1);
    world.start(n - 1);
    world.join(n - 1, 1);
    let lost = |w: &World, i: usize| {
        let events = &w.nodes[i].events;
        events.iter().any(|(_, e)| *e == Event::NameLost)
    };
    world.until("the newcomer has lost", s(60), |w| lost(w, n - 1))?;
    world.run(s(30));
    ensure(!lost(&world, 0), "the first keeps its name")?;
    Ok(totals(&world))
}

type Scenario = fn(u64, bool) -> Outcome;

const SCENARIOS: [(&str, Scenario); 10] = [
    ("joins", joins),
    ("failure", failure),
    ("lossy", lossy),
    ("slow", slow),
    ("partition", partition),
    ("leaving", leaving),
    ("events", events),
    ("keys", keys),
    ("conflict", conflict),
    ("chaos", chaos::chaos),
];

/// The scenario that a seed stands for.
pub fn run(seed: u64, trace: bool) -> Outcome {
    let (name, scenario) = SCENARIOS[seed as usize % SCENARIOS.len()];
    scenario(seed / SCENARIOS.len() as u64, trace).map_err(|e| format!("{name}: {e}"))
}
