//! Everything goes wrong at random, then all is healed: the pool must find together again by itself.
//!
//! Each kind of fault is drawn separately for each world, so that some worlds are nearly calm and some have
//! everything. What an agent does around its pool is done here: a member that starts joins one of the
//! others, as `retry_join` has it, and again when that reached nobody. Checked all the while: no process of a member is told of a user event
//! twice. Checked after the healing: everybody sees everybody, and news reach all of them once.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use consul_lite::gossip::{Config, Event, Keyring, Pool};
use consul_lite::structs::MemberStatus;

use super::scenario::{Outcome, Totals, all, ensure, formed, lan, totals};
use super::world::{World, ms, s};

/// How long a pool may take to find together again: some exchanges of everything, whose interval grows
/// with the pool.
const HEALING: Duration = Duration::from_secs(400);

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The process ends and starts again.
    Crash,
    /// The same, and what was not synced is lost.
    Power,
    /// The same, and the data directory is lost.
    DataLoss,
    /// Nothing gets from one member to some others.
    Cut,
    /// A member is slow.
    Slow,
    /// Some members are parted from the others.
    Partition,
    /// A member leaves and comes back.
    Leave,
    /// A user event is fired.
    Fire,
    /// A member changes its tags.
    Tags,
}

const ALL: [Fault; 9] = [
    Fault::Crash,
    Fault::Power,
    Fault::DataLoss,
    Fault::Cut,
    Fault::Slow,
    Fault::Partition,
    Fault::Leave,
    Fault::Fire,
    Fault::Tags,
];

/// What is to be undone later.
enum Undo {
    Start(usize),
    Uncut(Vec<(usize, usize)>),
    Quicken(usize),
    Unite,
}

/// Mostly small pools, for they are quick; now and then a large one.
fn size(seed: u64) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed);
    match rng.u8(..60) {
        0 => rng.usize(100..=500),
        1..=5 => rng.usize(40..100),
        _ => rng.usize(3..40),
    }
}

fn start(world: &mut World, i: usize) {
    if world.nodes[i].pool.is_some() {
        world.crash(i);
    }
    world.start(i);
    join(world, i);
}

/// Joins through up to three others.
fn join(world: &mut World, i: usize) {
    let up = (0..world.nodes.len()).filter(|o| *o != i && world.nodes[*o].pool.is_some());
    let mut up: Vec<usize> = up.collect();
    world.rng.shuffle(&mut up);
    up.truncate(3);
    world.join_any(i, &up);
}

/// Joins again who is alone.
fn retry_join(world: &mut World) {
    for i in 0..world.nodes.len() {
        let pool = world.nodes[i].pool.as_ref();
        if pool.is_some_and(|pool| pool.is_running() && pool.alive() < 2) {
            join(world, i);
        }
    }
}

fn undo(world: &mut World, what: Undo) {
    match what {
        Undo::Start(i) => start(world, i),
        Undo::Uncut(cuts) => cuts.iter().for_each(|cut| {
            world.cuts.remove(cut);
        }),
        Undo::Quicken(i) => world.slow_down(i, Duration::ZERO),
        Undo::Unite => world.groups.fill(0),
    }
}

/// Makes something go wrong; what undoes it.
fn go_wrong(world: &mut World, fault: Fault, number: u64) -> Result<Option<Undo>, String> {
    let n = world.nodes.len();
    let i = world.rng.usize(..n);
    let runs = world.nodes[i].pool.is_some();
    match fault {
        Fault::Crash if runs => world.crash(i),
        Fault::Power if runs => world.lose_power(i),
        Fault::DataLoss if runs => {
            world.crash(i);
            world.forget(i);
        }
        Fault::Leave if runs => world.with(i, |pool, now| pool.leave(now)),
        Fault::Cut => {
            let some = 1 + world.rng.usize(..n);
            let out = world.rng.bool();
            let others: Vec<usize> = (0..some).map(|_| world.rng.usize(..n)).collect();
            let cut = |other: usize| if out { (i, other) } else { (other, i) };
            let cuts: Vec<_> = others.into_iter().map(cut).filter(|c| c.0 != c.1).collect();
            world.cuts.extend(cuts.iter().copied());
            return Ok(Some(Undo::Uncut(cuts)));
        }
        Fault::Slow => {
            let by = ms(world.rng.u64(..4_000));
            world.slow_down(i, by);
            return Ok(Some(Undo::Quicken(i)));
        }
        Fault::Partition => {
            for group in 0..n {
                world.groups[group] = world.rng.u32(..2);
            }
            return Ok(Some(Undo::Unite));
        }
        Fault::Fire if runs => {
            let name = format!("deploy-{number}");
            let done = world.with(i, |pool, now| pool.user_event(now, &name, b"x", false));
            ensure(done == Ok(()), "an event can be fired")?;
            return Ok(None);
        }
        Fault::Tags if runs => {
            let tags = [("role", "node"), ("dc", "dc1"), ("n", &number.to_string())];
            let tags = tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            let done = world.with(i, |pool, now| pool.set_tags(now, tags));
            ensure(done == Ok(()), "tags can be changed")?;
            return Ok(None);
        }
        _ => return Ok(None),
    }
    Ok(Some(Undo::Start(i)))
}

/// A world of its own kind, by its random numbers.
fn draw(world: &mut World) -> Vec<Fault> {
    let rng = &mut world.rng;
    let mut some = |most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
    world.loss = some(0.3);
    world.duplication = some(0.2);
    world.stragglers = some(0.1);
    world.drift = some(0.05);
    world.latency = ms(1 + rng.u64(..100));
    let chosen = ALL.into_iter().filter(|_| rng.bool());
    chosen.collect()
}

/// Faults for a while, then none.
pub fn chaos(seed: u64, trace: bool) -> Outcome {
    let n = size(seed);
    let encrypted = seed % 2 == 1;
    let mut world = formed(seed, n, trace, move |name, addr, seed| Config {
        keyring: encrypted.then(|| Keyring::new(&[7; 32]).expect("a key")),
        ..lan(name, addr, seed)
    })?;
    let faults = draw(&mut world);
    let mut pending: Vec<(Duration, Undo)> = Vec::new();
    let end = world.now + s(world.rng.u64(30..200));
    let mut drawn = 0;
    while world.now < end {
        let pause = ms(world.rng.u64(..4_000));
        world.run(pause);
        let now = world.now;
        let due: Vec<_> = pending.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, what)| undo(&mut world, what));
        retry_join(&mut world);
        if let Some(fault) = world.rng.choice(&faults).copied() {
            world.note(&format!("fault: {fault:?}"));
            drawn += 1;
            if let Some(what) = go_wrong(&mut world, fault, drawn)? {
                let lasts = ms(world.rng.u64(..60_000));
                pending.push((now + lasts, what));
            }
        }
        ensure(world.twice.is_none(), &format!("{:?}", world.twice))?;
    }
    heal(&mut world, pending)?;
    let end = Totals {
        faults: drawn,
        ..totals(&world)
    };
    Ok(end)
}

/// Makes those acquainted of whom none knows of the others: processes that have forgotten everything, joined one
/// another while the others were out of reach, and so had no reason to ask again. No protocol finds who is known
/// by nobody; it takes somebody's `consul join`.
fn introduce(world: &mut World) {
    let n = world.nodes.len();
    let number: HashMap<&str, usize> = (0..n).map(|i| (&world.nodes[i].name[..], i)).collect();
    let mut group: Vec<usize> = (0..n).collect();
    for i in 0..n {
        let members = world.nodes[i].pool.iter().flat_map(Pool::members);
        // Who has left is not tried again.
        let tried = members.filter(|m| m.status != MemberStatus::Left);
        for other in tried.filter_map(|m| number.get(&m.name[..])) {
            let (from, to) = (group[i], group[*other]);
            group
                .iter_mut()
                .filter(|g| **g == from)
                .for_each(|g| *g = to);
        }
    }
    for i in 1..n {
        if !group[..i].contains(&group[i]) {
            world.note(&format!("n{i} is introduced to n0"));
            world.join(i, 0);
        }
    }
}

fn heal(world: &mut World, pending: Vec<(Duration, Undo)>) -> Result<(), String> {
    let n = world.nodes.len();
    world.note("all faults end");
    (world.loss, world.duplication, world.stragglers) = (0.0, 0.0, 0.0);
    world.cuts.clear();
    world.groups.fill(0);
    pending.into_iter().for_each(|(_, what)| undo(world, what));
    let left = |world: &World, i: usize| {
        let told = &world.nodes[i].events[world.nodes[i].born..];
        told.iter()
            .any(|(_, e)| matches!(e, Event::Left | Event::NameLost))
    };
    for i in 0..n {
        if world.nodes[i].pool.is_none() || left(world, i) {
            start(world, i);
        }
    }
    let everybody = all(n);
    for _ in 0..10 {
        world.run(s(1));
        retry_join(world);
    }
    introduce(world);
    let together = world.until("all are together again", HEALING, |w| w.all_see(&everybody));
    together.map_err(|e| e + &world.picture())?;
    // One that has missed events, whose clock is behind, would fire one that others take for an old one.
    world.run(HEALING / 2);
    // News reach everybody, and nobody twice.
    let by = world.rng.usize(..n);
    let fired = world.with(by, |pool, now| pool.user_event(now, "healed", b"", false));
    ensure(fired == Ok(()), "an event can be fired")?;
    world.until("all are told", HEALING, |w| {
        let told = |i: &usize| {
            let events = &w.nodes[*i].events;
            events
                .iter()
                .any(|(_, e)| matches!(e, Event::User { name, .. } if name == "healed"))
        };
        everybody.iter().all(told)
    })?;
    world.run(s(30));
    ensure(world.twice.is_none(), &format!("{:?}", world.twice))?;
    let still: BTreeSet<usize> = all(n);
    ensure(world.all_see(&still), "they stay together")
}
