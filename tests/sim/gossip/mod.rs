//! Gossip pools of three to five hundred members in a world that loses, delays, doubles and parts.
//!
//! Every seed is one world and one scenario (`scenario`): what must come of it is checked at its end
//! and at the turns between. Nothing but the pools themselves runs here, on virtual time.

mod chaos;
mod lifeguard;
mod load;
mod scenario;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use scenario::Totals;

/// Seeds run when nothing else is asked for.
const DEFAULT_SEEDS: u64 = 300;
/// False accusations allowed for each hour that a healthy member spends on a bad network.
const FALSE_POSITIVES_PER_HOUR: f64 = 1.0;
/// Part of those who see a member leave that may miss its intent, and take it for a failure at first.
const MISTAKEN_LEAVES: f64 = 0.03;

fn run(seed: u64, trace: bool) -> Result<Totals, String> {
    let run = AssertUnwindSafe(|| scenario::run(seed, trace));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

#[test]
fn pools_keep_together() {
    if let Some(seed) = crate::number("SIM_SEED") {
        match run(seed, true) {
            Ok(totals) => println!("seed {seed}: {totals:?}"),
            Err(broken) => panic!("SIM_SEED={seed}: {broken}"),
        }
        return;
    }
    let first = crate::number("SIM_FIRST").unwrap_or(0);
    let end = first + crate::number("SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let next = AtomicU64::new(first);
    let results = Mutex::new((Totals::default(), Vec::new()));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let result = run(seed, false);
            let mut results = results.lock().expect("no worker panics");
            match result {
                Ok(more) => results.0.add(&more),
                Err(why) => results.1.push((seed, why)),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let (totals, mut broken) = results.into_inner().expect("no worker panics");
    println!("{totals:?}");
    broken.sort();
    for (seed, why) in &broken {
        eprintln!("SIM_SEED={seed}: {why}");
    }
    assert!(broken.is_empty(), "{} seeds broke a promise", broken.len());
    assert!(totals.failures_seen > 0 && totals.packets > 0 && totals.faults > 0);
    let mistaken = totals.leaves_mistaken as f64 / totals.leaves_seen.max(1) as f64;
    assert!(mistaken <= MISTAKEN_LEAVES, "{mistaken} of the leaves seen");
    let rate = totals.false_positives as f64 / totals.healthy_hours.max(1.0);
    assert!(
        rate <= FALSE_POSITIVES_PER_HOUR,
        "{rate} false accusations an hour"
    );
}
