//! What a pool costs: packets and bytes a second, beside memberlist's formula.
//!
//! At rest memberlist sends, for each member and second: one ping and one ack (probe interval 1 s), nothing by
//! gossip as long as there is no news, and one exchange of everything each push/pull interval, 30 s in a pool
//! of up to 32 members and 30 s more for each time it doubles. While there is news, each round of gossip tells
//! three members (every 200 ms), until each piece of news was sent four times the digits of the pool's size.
//!
//! `SIM_MEMBERS=1000 cargo test --test sim load -- --nocapture` says the figures for 1,000;
//! what a member costs in memory is measured in `tests/golden/hostile.rs`.

use std::time::Duration;

use super::scenario::{all, formed, lan};
use super::world::s;

const MEMBERS: u64 = 80;
/// How long the pool is watched at rest.
const REST: Duration = Duration::from_secs(240);

#[test]
fn packets_are_no_more_than_those_of_memberlist() {
    let n = crate::number("SIM_MEMBERS").unwrap_or(MEMBERS);
    let mut world = formed(7, n as usize, false, lan).expect("a pool can be formed");
    world.run(s(120));
    assert!(world.all_see(&all(n as usize)));
    let (packets, streams, bytes) = (world.packets, world.streams, world.bytes);
    world.run(REST);
    let of = |total: u64| total as f64 / n as f64 / REST.as_secs_f64();
    let resting = of(world.packets - packets);
    let (dials, rate) = (of(world.streams - streams), of(world.bytes - bytes));
    println!(
        "{n} members at rest: each sends {resting:.2} packets, {dials:.4} \
         streams and {rate:.0} bytes a second"
    );
    // Ping and ack.
    assert!(
        (1.9..=2.01).contains(&resting),
        "{resting} packets a second"
    );
    let doublings = (n as f64 / 32.0).log2().ceil().max(0.0);
    let interval = 30.0 * (1.0 + doublings);
    // Within the time there may be one more than its share.
    let most = 1.0 / interval + 1.0 / REST.as_secs_f64();
    assert!(dials <= most, "{dials} streams a second, {most} at most");
    // One piece of news: four times the digits of the pool's size.
    let before = world.packets;
    let fired = world.with(0, |pool, now| pool.user_event(now, "news", b"x", false));
    assert_eq!(fired, Ok(()));
    world.run(s(10));
    let more = (world.packets - before) as f64 / n as f64 - 10.0 * resting;
    let digits = (n as f64 + 1.0).log10().ceil();
    println!("one piece of news: {more:.1} packets more from each member");
    assert!(
        more <= 4.0 * digits,
        "{more} packets a member for one piece of news"
    );
}
