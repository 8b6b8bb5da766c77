//! Our server in a cluster of the real Consul's: it is taken in, follows, counts, forwards, and takes over the state
//! by log and by snapshot; it does not stand for election among servers that would not know what to do with it.

use std::time::Duration;

use crate::common::harness::{Outcome, Test};
use crate::common::{oracle, wait_until};
use crate::fleet::{Fleet, Member, PATIENCE};

pub fn tests() -> Vec<Test> {
    let test = |name: &str, run: fn(&std::path::Path)| {
        Test::new(
            format!("beside_consul::{name}"),
            move || match oracle::find() {
                Ok(binary) => {
                    run(&binary);
                    Outcome::Passed
                }
                Err(why) => Outcome::Skipped(why),
            },
        )
    };
    vec![
        test("our_server_is_taken_in_and_counts", counts),
        test("our_server_takes_over_a_snapshot", snapshot),
    ]
}

const QUICK: &str = r#""autopilot": {"server_stabilization_time": "1s"}"#;

/// Servers 1 and 2 are the real Consul's, 3 is ours.
fn mixed(consul: &std::path::Path, before: impl FnOnce(&Fleet)) -> Fleet {
    let mut fleet = Fleet::new(QUICK);
    fleet.start(1, &Member::ours(2, &[1, 2]).by(consul));
    fleet.start(2, &Member::ours(2, &[1, 2]).by(consul));
    fleet.wait_voters(2);
    before(&fleet);
    fleet.start(3, &Member::ours(0, &[1, 2]));
    fleet.wait_voters(3);
    fleet
}

fn counts(consul: &std::path::Path) {
    let mut fleet = mixed(consul, |fleet| {
        fleet.put_soon(1, "before");
    });
    // It forwards to the real leader, and has what was there before.
    fleet.put_soon(3, "through-ours");
    assert_eq!(fleet.read(3, "before", "").as_deref(), Some("v"));
    wait_until(PATIENCE, "it follows", || {
        fleet.value(3, "through-ours", "stale")
    });
    fleet.wait_health(3, 3, Some("passing"));
    for n in 1..=3 {
        fleet.wait_health(n, 3, Some("passing"));
    }
    // With one of the real ones gone its vote and its log are needed.
    let leader = fleet.wait_leader(3);
    assert_ne!(leader, 3, "ours does not lead");
    let follower = 3 - leader;
    fleet.kill(follower);
    fleet.put_soon(3, "with-ours");
    assert_eq!(
        fleet.read(leader, "with-ours", "consistent").as_deref(),
        Some("v")
    );
    fleet.restart(follower);
    wait_until(PATIENCE, "it is back", || {
        fleet.value(follower, "with-ours", "stale")
    });
    // A lost leader is replaced by the other real one, with our vote.
    fleet.kill(leader);
    let took = fleet.put_soon(3, "after");
    println!("mixed servers: the next write came {took:?} after the leader was killed");
    assert_eq!(fleet.wait_leader(3), follower);
    fleet.restart(leader);
    wait_until(PATIENCE, "it is back", || {
        fleet.value(leader, "after", "stale")
    });
    // Ours comes back too.
    fleet.kill(3);
    fleet.put_soon(1, "meanwhile");
    fleet.restart(3);
    wait_until(PATIENCE, "it has caught up", || {
        fleet.value(3, "meanwhile", "stale")
    });
    assert_ne!(fleet.wait_leader(3), 3);
}

fn snapshot(consul: &std::path::Path) {
    let fleet = mixed(consul, |fleet| {
        fleet.put_soon(1, "kept");
        // A restore leaves a gap in the log that only a snapshot can fill.
        let saved = fleet.client(1).get("/v1/snapshot").expect("an answer");
        assert_eq!(saved.status, 200, "{}", saved.text());
        let restored = fleet.client(1).put("/v1/snapshot", &saved.body);
        assert_eq!(restored.expect("an answer").status, 200);
    });
    let within = Duration::from_secs(60);
    wait_until(within, "ours has the state", || {
        fleet.value(3, "kept", "stale")
    });
    fleet.put_soon(3, "more");
    wait_until(within, "ours goes on", || fleet.value(3, "more", "stale"));
    // And once more while it runs.
    let saved = fleet.client(3).get("/v1/snapshot").expect("an answer");
    assert_eq!(saved.status, 200, "{}", saved.text());
    fleet.put_soon(3, "lost");
    let restored = fleet.client(3).put("/v1/snapshot", &saved.body);
    let restored = restored.expect("an answer");
    assert_eq!(restored.status, 200, "{}", restored.text());
    wait_until(within, "ours is restored", || {
        let more = fleet.value(3, "more", "stale");
        (more.is_some() && fleet.value(3, "lost", "stale").is_none()).then_some(())
    });
}
