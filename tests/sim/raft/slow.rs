//! A slow disk does not lose the leader: heartbeats and their answers never wait for a sync, and with the
//! leader's own sync beside the followers' a majority of quick disks is enough to commit.
//!
//! Source: Raft thesis 10.2.1; Consul's timings at `raft_multiplier` 1, the least patient ones.

use std::time::Duration;

use consul_lite::raft::Raft;
use fastrand::Rng;

use super::plan::{Plan, ms};
use super::world::World;

/// What one write takes on a slow disk: three times a heartbeat timeout.
const SLOW: Duration = Duration::from_secs(3);
/// How long the disks stay slow.
const WHILE: Duration = Duration::from_secs(20);

fn until(world: &mut World, what: &str, limit: Duration, so: impl Fn(&World) -> bool) {
    let end = world.now + limit;
    while !so(world) {
        assert!(world.now < end, "{what}: not within {limit:?}");
        world.step().expect("no promise is broken");
    }
}

fn leader(world: &World) -> Option<usize> {
    let leads = |s: &super::server::Server| s.raft.as_ref().is_some_and(Raft::is_leading);
    world.servers.iter().position(leads)
}

fn commit(world: &World, server: usize) -> u64 {
    let raft = world.servers[server].raft.as_ref();
    raft.map_or(0, |raft| raft.status(Duration::ZERO).commit)
}

/// Makes some disks slow; the leader is number 0. Gives the entries committed meanwhile.
fn with_slow_disks(seed: u64, voters: usize, slow: &[usize]) -> u64 {
    let mut world = World::of(Plan::calm(voters), Rng::with_seed(seed), false);
    until(&mut world, "a leader", ms(10_000), |w| {
        leader(w).is_some_and(|l| commit(w, l) > 5)
    });
    let leads = leader(&world).expect("waited for");
    let elections = world.checker.totals.elections;
    for number in slow {
        let server = (leads + number) % voters;
        world.servers[server].disk_takes = Some(SLOW);
    }
    let before = commit(&world, leads);
    let end = world.now + WHILE;
    while world.now < end {
        world.step().expect("no promise is broken");
        assert_eq!(leader(&world), Some(leads), "the leader of {seed} is lost");
    }
    assert_eq!(world.checker.totals.elections, elections);
    commit(&world, leads) - before
}

#[test]
fn the_leader_stays_and_goes_on() {
    for seed in 0..2 {
        for voters in [3, 5] {
            let quick = with_slow_disks(seed, voters, &[]);
            let beside = with_slow_disks(seed, voters, &[1]);
            assert!(
                beside > quick / 2,
                "{beside} entries with a slow follower, {quick} without"
            );
            // The followers' disks are a majority, but the leader answers once its own has the entry, too:
            // each of the four clients asks again after 1.5 s, and two of three times it reads.
            let leading = with_slow_disks(seed, voters, &[0]);
            assert!(leading > 15, "only {leading} entries with a slow leader");
            // Nothing is committed faster than a majority can store it, yet it goes on.
            let all: Vec<usize> = (0..voters).collect();
            let slowly = with_slow_disks(seed, voters, &all);
            assert!(slowly >= 3, "only {slowly} entries with slow disks only");
        }
    }
}
