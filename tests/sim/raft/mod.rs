//! Raft servers in a world that loses, delays, doubles and cuts messages, crashes servers and fails disks.
//!
//! Every seed is one world: first faults and clients side by side, checked at each step (`check`), then
//! all faults end and the cluster must become live again. What the product's loops do around the core
//! is done here by `server`, in virtual time.

mod check;
mod client;
mod disk;
mod faults;
mod plan;
mod server;
mod slow;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use world::World;

use crate::number;

/// Seeds run when nothing else is asked for: well under 20 seconds in a debug build on two cores.
const DEFAULT_SEEDS: u64 = 300;

/// After this many broken worlds the rest would teach nothing new.
const ENOUGH_BROKEN: usize = 10;

/// Runs one world; an error says which promise was broken.
fn run(seed: u64, trace: bool) -> Result<check::Totals, String> {
    let run = AssertUnwindSafe(|| World::new(seed, trace).run());
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

#[test]
fn raft_keeps_its_promises() {
    if let Some(seed) = number("SIM_SEED") {
        match run(seed, true) {
            Ok(totals) => println!("seed {seed}: kept every promise: {totals:?}"),
            Err(broken) => panic!("SIM_SEED={seed}: {broken}"),
        }
        return;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let end = first + number("SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let next = AtomicU64::new(first);
    let failed = AtomicUsize::new(0);
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let worker = || {
        let (mut totals, mut broken) = (check::Totals::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || failed.load(Ordering::Relaxed) >= ENOUGH_BROKEN {
                return (totals, broken);
            }
            match run(seed, false) {
                Ok(more) => totals.add(&more),
                Err(why) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    broken.push((seed, why));
                }
            }
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|w| w.join());
        joined.map(|r| r.expect("a worker ends")).collect()
    });
    let (mut totals, mut broken) = (check::Totals::default(), Vec::new());
    for (more, mut worse) in results {
        totals.add(&more);
        broken.append(&mut worse);
    }
    println!(
        "{} seeds in {:?}: {totals:?}",
        end - first,
        started.elapsed()
    );
    broken.sort();
    for (seed, why) in &broken {
        eprintln!("SIM_SEED={seed}: {why}");
    }
    assert!(
        broken.is_empty(),
        "{} of {} seeds broke a promise; replay the first with SIM_SEED={} cargo test --test sim",
        broken.len(),
        next.load(Ordering::Relaxed).min(end) - first,
        broken[0].0
    );
    totals.assert_not_idle();
}
