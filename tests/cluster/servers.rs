//! Clusters of servers as real processes: coming together in any order, losing and regaining servers, changing
//! who belongs to them, recovery by hand.

use std::fs;
use std::time::Duration;

use crate::common::harness::{Outcome, Test};
use crate::common::wait_until;
use crate::fleet::{Fleet, Member, PATIENCE, node_id};

/// Consul's own timings; the base configuration has the fastest.
const DEFAULT_TIMINGS: &str = r#""performance": {"raft_multiplier": 5}"#;

pub fn tests() -> Vec<Test> {
    let test = |name: &str, run: fn()| {
        Test::new(format!("servers::{name}"), move || {
            run();
            Outcome::Passed
        })
    };
    vec![
        test("come_together_in_any_order", any_order),
        test(
            "one_that_expects_takes_in_others_that_only_join",
            only_first_expects,
        ),
        test("a_killed_leader_is_replaced", killed_leader),
        test("a_stopped_leader_hands_over_first", stopped_leader),
        test("a_killed_follower_comes_back", killed_follower),
        test(
            "a_whole_cluster_comes_back_at_other_addresses",
            other_addresses,
        ),
        test(
            "machines_that_swapped_addresses_find_each_other",
            swapped_addresses,
        ),
        test("a_lone_server_moves", lone_server_moves),
        test("peers_json_recovers_one_of_three", peers_json),
        test(
            "a_peers_json_that_cannot_be_used_stops_the_start",
            bad_peers_json,
        ),
        test("a_snapshot_is_restored_on_all", snapshot),
        test("leadership_is_handed_over_when_asked", transfer),
        test("a_removed_peer_that_runs_is_taken_in_again", remove_peer),
        test("servers_leave_one_after_the_other", leave),
        test(
            "a_leaving_server_does_not_strand_the_other",
            leave_beside_a_dead_one,
        ),
        test("a_dead_server_of_five_is_given_up", cleanup),
        test("a_follower_tells_how_old_its_answers_are", stale_reads),
    ]
}

fn any_order() {
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let mut fleet = Fleet::new("");
        for (started, n) in order.into_iter().enumerate() {
            if started > 0 {
                // So that the order is one: the one before is up.
                let before = order[started - 1];
                let addr = (fleet.ip(before), crate::common::agent::HTTP).into();
                crate::common::agent::wait_open(addr, PATIENCE);
            }
            fleet.start(n, &Member::ours(3, &[1, 2, 3]));
        }
        let took = fleet.put_soon(order[2], "first");
        println!("order {order:?}: the last server took its first write after {took:?}");
        fleet.wait_voters(3);
        for n in 1..=3 {
            assert_eq!(fleet.read(n, "first", "consistent").as_deref(), Some("v"));
            for node in 1..=3 {
                fleet.wait_health(n, node, Some("passing"));
            }
        }
    }
}

fn only_first_expects() {
    let mut fleet = Fleet::new("");
    fleet.start(2, &Member::ours(0, &[1]));
    fleet.start(3, &Member::ours(0, &[1]));
    fleet.start(1, &Member::ours(3, &[]));
    fleet.wait_voters(3);
    fleet.put_soon(3, "k");
    // One more is taken in, and votes once it has been healthy for a while.
    fleet.start(4, &Member::ours(0, &[1]));
    fleet.wait_voters(4);
    // A log of few entries may still be on its way to a voter.
    let value = wait_until(PATIENCE, "it has the key", || fleet.value(4, "k", "stale"));
    assert_eq!(value, "v");
}

fn killed_leader() {
    let mut fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    let first = fleet.wait_leader(1);
    fleet.put_soon(1, "before");
    let other = first % 3 + 1;
    fleet.kill(first);
    let took = fleet.put_soon(other, "after");
    println!("default timings: the next write came {took:?} after the leader was killed");
    assert!(took < Duration::from_secs(10), "{took:?}\n{}", fleet.logs());
    assert_eq!(fleet.read(other, "before", "").as_deref(), Some("v"));
    fleet.wait_health(other, first, Some("critical"));
    fleet.restart(first);
    fleet.wait_health(first, first, Some("passing"));
    assert_eq!(fleet.read(first, "after", "").as_deref(), Some("v"));
    fleet.wait_exactly(other, &[1, 2, 3]);
}

fn stopped_leader() {
    let mut fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    fleet.put_soon(1, "before");
    // It has a second for it, which a busy machine may not give it each time.
    let handed_over = (0..5).any(|_| {
        let first = fleet.wait_leader(1);
        let other = first % 3 + 1;
        fleet.agent(first).process().signal(libc::SIGTERM);
        let status = fleet.agent(first).process().wait(PATIENCE);
        assert_eq!(
            status.code(),
            Some(1),
            "servers do not leave when they are stopped"
        );
        // It is not missed: another one led already when it ended.
        let log = fleet.agent(first).log_tail(40);
        let handed_over = log.contains("leadership transfer started")
            && !log.contains("leadership stays here until it is missed");
        let second = wait_until(PATIENCE, "another leader", || {
            fleet.leader(other).filter(|second| *second != first)
        });
        let took = fleet.put_soon(other, "after");
        println!("default timings: the next write came {took:?} after the leader was stopped");
        fleet.restart(first);
        fleet.wait_health(other, first, Some("passing"));
        assert_ne!(first, second);
        handed_over
    });
    assert!(handed_over, "{}", fleet.logs());
}

fn killed_follower() {
    // Not the fastest: a busy machine alone must not make it lose leadership.
    let mut fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    let leader = fleet.wait_leader(1);
    let follower = leader % 3 + 1;
    fleet.kill(follower);
    fleet.put_soon(leader, "meanwhile");
    assert_eq!(fleet.leader(leader), Some(leader), "it went on leading");
    fleet.wait_health(leader, follower, Some("critical"));
    fleet.restart(follower);
    wait_until(PATIENCE, "the follower has caught up", || {
        fleet.value(follower, "meanwhile", "stale")
    });
    fleet.wait_health(leader, follower, Some("passing"));
}

fn other_addresses() {
    let mut fleet = Fleet::formed(3, "");
    fleet.put_soon(1, "kept");
    for n in 1..=3 {
        fleet.kill(n);
    }
    for n in 1..=3 {
        fleet.move_to(n, n + 10, &[11, 12, 13]);
    }
    wait_until(PATIENCE, "the value is read", || {
        fleet.value(12, "kept", "")
    });
    fleet.put_soon(13, "new");
    wait_until(PATIENCE, "Raft knows the new addresses", || {
        let peers = fleet.get(11, "/v1/status/peers")?.compact();
        let there = (11..=13).all(|n| peers.contains(&fleet.rpc(n)));
        (there && !peers.contains(&fleet.rpc(1))).then_some(())
    });
    wait_until(PATIENCE, "the catalog knows the new addresses", || {
        let node = fleet.get(11, "/v1/catalog/node/s2")?;
        let address = node.at("Node.Address")?.scalar()?.to_owned();
        (address == fleet.ip(12).to_string()).then_some(())
    });
}

fn swapped_addresses() {
    let mut fleet = Fleet::formed(3, "");
    fleet.put_soon(1, "kept");
    for n in 1..=3 {
        fleet.kill(n);
    }
    for n in 1..=3 {
        fleet.move_to(n, n % 3 + 1, &[1, 2, 3]);
    }
    wait_until(PATIENCE, "the value is read", || fleet.value(1, "kept", ""));
    fleet.put_soon(2, "new");
    fleet.wait_voters(3);
    wait_until(PATIENCE, "Raft knows who is where", || {
        let list = fleet.get(1, "/v1/operator/raft/configuration")?;
        let all = (0..3).all(|at| {
            let text = |what: &str| {
                list.at(&format!("Servers[{at}].{what}"))
                    .and_then(|j| j.scalar())
            };
            (1..=3).any(|n| {
                text("ID") == Some(&node_id(n)) && text("Address") == Some(&fleet.rpc(n % 3 + 1))
            })
        });
        all.then_some(())
    });
}

fn lone_server_moves() {
    let mut fleet = Fleet::new("");
    fleet.start(1, &Member::ours(1, &[]));
    fleet.put_soon(1, "kept");
    fleet.kill(1);
    fleet.move_to(1, 2, &[]);
    wait_until(PATIENCE, "the value is read", || {
        fleet.value(2, "kept", "consistent")
    });
    fleet.put_soon(2, "new");
    wait_until(PATIENCE, "it leads where it is", || {
        (fleet.leader(2) == Some(2)).then_some(())
    });
}

/// Writes `peers.json` with these servers into the data directory of one.
fn write_peers(fleet: &mut Fleet, into: usize, text: &str) {
    let dir = fleet.agent(into).dir().join("data/raft");
    fs::write(dir.join("peers.json"), text).expect("a file can be written");
}

fn peers_json() {
    let mut fleet = Fleet::formed(3, "");
    fleet.put_soon(1, "kept");
    wait_until(PATIENCE, "server 2 has it", || {
        fleet.value(2, "kept", "stale")
    });
    for n in 1..=3 {
        fleet.kill(n);
    }
    let text = format!(
        r#"[{{"id": "{}", "address": "{}"}}]"#,
        node_id(2),
        fleet.rpc(2)
    );
    write_peers(&mut fleet, 2, &text);
    fleet.restart(2);
    wait_until(PATIENCE, "the value is read", || {
        fleet.value(2, "kept", "consistent")
    });
    fleet.put_soon(2, "new");
    let dir = fleet.agent(2).dir().join("data/raft");
    assert!(!dir.join("peers.json").exists(), "it was used up");
    assert!(dir.join("peers.info").exists());
    // The others are taken in again, with the state of this one.
    let others = fleet.raft_servers(2).expect("the configuration");
    assert_eq!(others, [(node_id(2), true)]);
    fs::remove_dir_all(fleet.agent(1).dir().join("data/raft")).expect("it can be removed");
    fleet.restart(1);
    fleet.wait_exactly(2, &[1, 2]);
    wait_until(PATIENCE, "server 1 has it", || {
        fleet.value(1, "new", "stale")
    });
}

fn bad_peers_json() {
    let mut fleet = Fleet::new("");
    fleet.start(1, &Member::ours(1, &[]));
    fleet.put_soon(1, "kept");
    for (text, why) in [
        (
            "bad",
            "recovery failed to parse peers.json: invalid character 'b' looking for beginning of value",
        ),
        ("[]", "Need at least one voter in configuration: {[]}"),
    ] {
        fleet.kill(1);
        write_peers(&mut fleet, 1, text);
        fleet.restart(1);
        let status = fleet.agent(1).process().wait(PATIENCE);
        assert_eq!(status.code(), Some(1));
        let log = fleet.agent(1).log_tail(5);
        assert!(log.contains(why), "{log}");
        let file = fleet.agent(1).dir().join("data/raft/peers.json");
        assert!(file.exists(), "the file stays");
        fs::remove_file(file).expect("it can be removed");
    }
    fleet.restart(1);
    wait_until(PATIENCE, "nothing was changed", || {
        fleet.value(1, "kept", "")
    });
}

fn snapshot() {
    let fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    fleet.put_soon(1, "old");
    let saved = fleet.client(2).get("/v1/snapshot").expect("an answer");
    assert_eq!(saved.status, 200, "{}", saved.text());
    fleet.put_soon(3, "lost");
    let restored = fleet.client(3).put("/v1/snapshot", &saved.body);
    let restored = restored.expect("an answer");
    assert_eq!(restored.status, 200, "{}", restored.text());
    for n in 1..=3 {
        wait_until(
            PATIENCE,
            &format!("server {n} has the restored state"),
            || {
                let old = fleet.value(n, "old", "stale");
                (old.is_some() && fleet.value(n, "lost", "stale").is_none()).then_some(())
            },
        );
    }
    fleet.put_soon(2, "new");
    for n in 1..=3 {
        assert_eq!(fleet.read(n, "new", "").as_deref(), Some("v"));
    }
}

fn transfer() {
    // A transfer may take as long as an election, which is longer with these.
    let fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    let first = fleet.wait_leader(1);
    let to = first % 3 + 1;
    let target = format!("/v1/operator/raft/transfer-leader?id={}", node_id(to));
    let answer = fleet.client(first).request("POST", &target, &[], b"");
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status, answer.text().trim()),
        (200, r#"{"Success":true}"#)
    );
    wait_until(PATIENCE, "it leads", || {
        (fleet.leader(first) == Some(to)).then_some(())
    });
    fleet.put_soon(first, "k");
    let nobody =
        fleet
            .client(first)
            .request("POST", "/v1/operator/raft/transfer-leader?id=x", &[], b"");
    let nobody = nobody.expect("an answer");
    assert_eq!(nobody.status, 500);
    assert!(
        nobody.text().contains("cannot find peer"),
        "{}",
        nobody.text()
    );
}

fn remove_peer() {
    let stabilization = r#""autopilot": {"server_stabilization_time": "1s"}"#;
    let mut fleet = Fleet::formed(3, &format!("{DEFAULT_TIMINGS}, {stabilization}"));
    let leader = fleet.wait_leader(1);
    let other = leader % 3 + 1;
    let target = format!("/v1/operator/raft/peer?id={}", node_id(other));
    let answer = fleet.client(other).request("DELETE", &target, &[], b"");
    assert_eq!(answer.expect("an answer").status, 200);
    fleet.wait_exactly(leader, &[1, 2, 3]);
    // It may have been taken in again before anybody could look: the leader says what it did.
    let log = fs::read_to_string(fleet.agent(leader).dir().join("log")).expect("a log");
    let (id, mut lines) = (node_id(other), log.lines());
    for done in ["removing server by ID", "adding server", "Promoting server"] {
        let told = lines.any(|line| line.contains(done) && line.contains(&id));
        assert!(told, "no {done}\n{log}");
    }
    fleet.put_soon(other, "k");
}

/// Has a server leave and waits until its process ends.
fn leave_and_wait(fleet: &mut Fleet, n: usize) {
    let answer = fleet.client(n).request("PUT", "/v1/agent/leave", &[], b"");
    // The process may end before it has answered.
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let status = fleet.agent(n).process().wait(PATIENCE);
    assert_eq!(status.code(), Some(0));
}

fn leave() {
    let drain = r#""performance": {"raft_multiplier": 1, "leave_drain_time": "100ms"}"#;
    let mut fleet = Fleet::formed(3, drain);
    fleet.put_soon(1, "kept");
    let mut left: Vec<usize> = vec![1, 2, 3];
    while left.len() > 1 {
        let leader = fleet.wait_leader(left[0]);
        leave_and_wait(&mut fleet, leader);
        left.retain(|n| *n != leader);
        fleet.wait_exactly(left[0], &left);
        fleet.wait_health(left[0], leader, None);
        assert_eq!(fleet.read(left[0], "kept", "").as_deref(), Some("v"));
        fleet.put_soon(left[0], "more");
    }
}

fn leave_beside_a_dead_one() {
    let drain = r#""performance": {"raft_multiplier": 1, "leave_drain_time": "100ms"}"#;
    let mut fleet = Fleet::formed(3, drain);
    fleet.put_soon(1, "kept");
    let leader = fleet.wait_leader(1);
    let (dead, leaving) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    fleet.kill(dead);
    fleet.wait_health(leader, dead, Some("critical"));
    leave_and_wait(&mut fleet, leaving);
    fleet.put_soon(leader, "more");
    fleet.wait_exactly(leader, &[leader]);
}

fn cleanup() {
    let mut fleet = Fleet::formed(5, "");
    let leader = fleet.wait_leader(1);
    let dead = leader % 5 + 1;
    fleet.kill(dead);
    let left: Vec<usize> = (1..=5).filter(|n| *n != dead).collect();
    fleet.wait_exactly(left[0], &left);
    // It left as far as the others are concerned, and is out of the catalog.
    fleet.wait_health(left[0], dead, None);
    // Of four no other is given up when half of them are gone.
    let also: Vec<usize> = left
        .iter()
        .copied()
        .filter(|n| *n != leader)
        .take(1)
        .collect();
    fleet.put_soon(left[0], "k");
    fleet.restart(dead);
    fleet.wait_exactly(leader, &[1, 2, 3, 4, 5]);
    fleet.wait_health(leader, also[0], Some("passing"));
}

fn stale_reads() {
    let mut fleet = Fleet::formed(3, DEFAULT_TIMINGS);
    fleet.put_soon(1, "k");
    let leader = fleet.wait_leader(1);
    let (one, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    wait_until(PATIENCE, "the follower has it", || {
        fleet.value(one, "k", "stale")
    });
    let answer = fleet.client(one).get("/v1/kv/k?stale").expect("an answer");
    assert_eq!(answer.header("X-Consul-KnownLeader"), Some("true"));
    fleet.kill(leader);
    fleet.kill(other);
    // Alone it has no leader, and says since when.
    wait_until(PATIENCE, "no leader is known", || {
        let answer = fleet.client(one).get("/v1/kv/k?stale").ok()?;
        assert_eq!(answer.status, 200);
        let age: u64 = answer.header("X-Consul-LastContact")?.parse().ok()?;
        let alone = answer.header("X-Consul-KnownLeader") == Some("false");
        (alone && age > 1000).then_some(())
    });
    let refused = fleet.client(one).get("/v1/kv/k").expect("an answer");
    assert_eq!(refused.status, 500);
    assert_eq!(refused.text().trim(), "No cluster leader");
    let refused = fleet.client(one).put("/v1/kv/k", b"w").expect("an answer");
    assert_eq!(
        (refused.status, refused.text().trim()),
        (500, "No cluster leader")
    );
    fleet.restart(other);
    fleet.put_soon(one, "again");
}
