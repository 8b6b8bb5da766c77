//! Writing through all servers at the same time while the leader is killed again and again: what was acknowledged
//! is there afterwards, on all of them, and no compare-and-set succeeded twice.
//!
//! `CLUSTER_ROUNDS` says how often the leader is killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::common::harness::{Outcome, Test};
use crate::common::wait_until;
use crate::fleet::{Fleet, PATIENCE};

/// Kills when nothing else is asked for.
const ROUNDS: u64 = 3;
/// Writers for each server.
const WRITERS: usize = 2;
/// Acknowledged writes between two kills, at least.
const PACE: u64 = 100;

pub fn tests() -> Vec<Test> {
    vec![Test::new("rounds::no_acknowledged_write_is_lost", || {
        run(number("CLUSTER_ROUNDS").unwrap_or(ROUNDS));
        Outcome::Passed
    })]
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

fn run(rounds: u64) {
    let mut fleet = Fleet::formed(3, r#""limits": {"http_max_conns_per_client": 2000}"#);
    let acknowledged: Mutex<BTreeMap<String, String>> = Mutex::default();
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for writer in 0..3 * WRITERS {
            let mut client = fleet.client(writer % 3 + 1);
            let (acknowledged, count, stop) = (&acknowledged, &count, &stop);
            scope.spawn(move || {
                for n in 0u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (key, value) = (format!("w{writer}/{n}"), format!("{writer}-{n}"));
                    // Created once: an index of 0 means that it must not be there.
                    let target = format!("/v1/kv/{key}?cas=0");
                    match client.put(&target, value.as_bytes()) {
                        Ok(answer) if answer.status == 200 => {
                            // Said no, it was there already: the first try had gone through unheard.
                            if answer.text().trim() == "true" {
                                let mut all =
                                    acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                                all.insert(key, value);
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        _ => std::thread::sleep(Duration::from_millis(20)),
                    }
                }
            });
        }
        for round in 0..rounds {
            let target = count.load(Ordering::Relaxed) + PACE;
            wait_until(PATIENCE, &format!("writes in round {round}"), || {
                (count.load(Ordering::Relaxed) >= target).then_some(())
            });
            let leader = (1..=3).find_map(|n| fleet.leader(n));
            let leader = leader.unwrap_or(1);
            fleet.kill(leader);
            let target = count.load(Ordering::Relaxed) + PACE;
            wait_until(
                PATIENCE,
                &format!("writes after the kill of round {round}"),
                || (count.load(Ordering::Relaxed) >= target).then_some(()),
            );
            fleet.restart(leader);
            wait_until(PATIENCE, "it is back", || fleet.leader(leader));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let acknowledged = acknowledged
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} acknowledged writes over {rounds} lost leaders",
        acknowledged.len()
    );
    for (key, value) in &acknowledged {
        let found = fleet.read(1, key, "consistent");
        assert_eq!(found.as_ref(), Some(value), "{key}\n{}", fleet.logs());
    }
    // Every server has all of it.
    for n in 1..=3 {
        wait_until(PATIENCE, &format!("server {n} has everything"), || {
            let missing = acknowledged
                .iter()
                .find(|(key, value)| fleet.value(n, key, "stale").as_ref() != Some(*value));
            missing.is_none().then_some(())
        });
    }
}
