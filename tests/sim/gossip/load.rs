//! What a pool costs: packets and bytes a second, beside memberlist's formula.
//!
//! At rest memberlist sends, for each member and second: one ping and one ack (probe interval 1 s), nothing by
//! gossip as long as there is no news, and one exchange of everything each push/pull interval. While there is
//! news, each round of gossip tells three members (gossip interval 200 ms), 15 packets a second, until each
//! piece of news was sent four times the digits of the pool's size. `benches/gossip.rs` measures memory and
//! 1,000 members.

use super::scenario::{all, formed, lan};
use super::world::s;

const MEMBERS: usize = 80;

#[test]
fn packets_are_no_more_than_those_of_memberlist() {
    let mut world = formed(7, MEMBERS, false, lan).expect("a pool can be formed");
    world.run(s(120));
    assert!(world.all_see(&all(MEMBERS)));
    let (packets, streams) = (world.packets, world.streams);
    world.run(s(240));
    let per_second = |n: u64| n as f64 / MEMBERS as f64 / 240.0;
    let (resting, dials) = (
        per_second(world.packets - packets),
        per_second(world.streams - streams),
    );
    // Ping and ack.
    assert!(
        (1.9..=2.01).contains(&resting),
        "{resting} packets a second and member"
    );
    // Every 30 s, three times that in a pool of this size.
    assert!(dials <= 1.0 / 80.0, "{dials} streams a second and member");
    // One piece of news: 4 * 2 transmissions by each member at the most.
    let before = world.packets;
    world
        .with(0, |pool, now| pool.user_event(now, "news", b"x", false))
        .expect("an event");
    world.run(s(10));
    let more = (world.packets - before) as f64 / MEMBERS as f64 - 10.0 * resting;
    assert!(more <= 8.0, "{more} packets a member for one piece of news");
}
