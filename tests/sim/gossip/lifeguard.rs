//! False deaths of healthy members while some others take seconds for everything: with Lifeguard, and with plain
//! SWIM, which is the same pool without local health and without longer suspicions.
//!
//! Lifeguard is published to cut them by a factor of about fifty (Dadgar, Phillips and Currey, 2018; HashiCorp's
//! "Making Gossip More Robust with Lifeguard"). The experiment is theirs in small: some members are slow for a
//! while, then others.

use std::time::Duration;

use consul_lite::gossip::{Change, Config, Event};

use super::scenario::{formed, lan};
use super::world::{World, ms, s};

const MEMBERS: usize = 24;
/// Members that are slow at the same time.
const SLOW: usize = 6;
const ROUNDS: u32 = 2;
/// Healthy members that others take for dead by mistake: this many times fewer with Lifeguard.
const PUBLISHED: u64 = 50;

/// How often any member took a healthy one for dead.
fn false_deaths(seed: u64, lifeguard: bool) -> u64 {
    let mut world = formed(seed, MEMBERS, false, move |name, addr, seed| {
        let config = lan(name, addr, seed);
        if lifeguard {
            return config;
        }
        Config {
            awareness_max: 1,
            suspicion_max_timeout_mult: 1,
            ..config
        }
    })
    .expect("a pool can be formed");
    let mut found = 0;
    for _ in 0..ROUNDS {
        let mut slow: Vec<usize> = (0..MEMBERS).collect();
        world.rng.shuffle(&mut slow);
        slow.truncate(SLOW);
        let from = world.now;
        for i in &slow {
            let by = ms(world.rng.u64(3_000..10_000));
            world.slow_down(*i, by);
        }
        world.run(s(60));
        found += mistakes(&world, from, &slow);
        slow.iter()
            .for_each(|i| world.slow_down(*i, Duration::ZERO));
        world.run(s(60));
    }
    found
}

fn mistakes(world: &World, from: Duration, slow: &[usize]) -> u64 {
    let name = |i: &usize| world.nodes[*i].name.clone();
    let slow: Vec<String> = slow.iter().map(name).collect();
    let healthy = world.nodes.iter().filter(|node| !slow.contains(&node.name));
    let events = healthy.flat_map(|node| &node.events);
    let wrong = events.filter(|(at, event)| match event {
        Event::Member(Change::Failed, member) => *at > from && !slow.contains(&member.name),
        _ => false,
    });
    wrong.count() as u64
}

#[test]
fn false_deaths_are_as_rare_as_published() {
    let seeds = crate::number("SIM_SEEDS").map_or(3, |seeds| seeds.clamp(3, 100));
    let of = |lifeguard| {
        (0..seeds)
            .map(|seed| false_deaths(seed, lifeguard))
            .sum::<u64>()
    };
    let (swim, lifeguard) = (of(false), of(true));
    println!("false deaths of healthy members: {swim} with SWIM, {lifeguard} with Lifeguard");
    assert!(swim >= seeds, "only {swim} with SWIM: that shows nothing");
    // Few experiments may have one by chance.
    assert!(
        lifeguard * PUBLISHED <= swim.max(PUBLISHED),
        "{lifeguard} false deaths with Lifeguard, {swim} with SWIM"
    );
}
