//! Members that are said to leave for longer than leaving takes, and are still there: they are asked.
//!
//! A process that knows nothing of its former one (a lost data directory, a graceful leave) joins at a time that
//! may be the very one of its last leave. Who has heard of that leave takes the join for an old one, and no
//! exchange says more: the times are equal, and so nobody objects.
//!
//! Holds true: only the member itself is asked, by an intent a little later than the one that is believed, so
//! that nobody else comes to believe it; one that is there joins anew, later than all of this.
//! Source: `docs/reference/gossip.md` section 11.2: a member that hears of its own leave while it is alive
//! announces itself again.

use std::net::SocketAddr;
use std::time::Duration;

use super::Pool;
use super::codec::serf::{Leave, SerfMessage};
use super::pool::user_part;
use super::timer::Timer;
use crate::structs::MemberStatus;

impl Pool {
    /// The longest that leaving takes: both messages spread, and others take notice.
    fn longest_leave(&self) -> Duration {
        2 * self.config.broadcast_timeout + self.config.leave_propagate_delay
    }

    /// Sees to it that members that only seem to leave are asked.
    pub(super) fn arm_objection(&mut self) {
        if !std::mem::replace(&mut self.armed.objection, true) {
            let at = self.now + self.longest_leave();
            self.timers.set(at, Timer::Objection);
        }
    }

    /// Asks those whose time for leaving is over, and again later, for packets get lost.
    pub(super) fn ask_for_objections(&mut self) {
        self.armed.objection = false;
        let (now, longest) = (self.now, self.longest_leave());
        let own = &self.config.name;
        let leaving = self.members.values().filter(|member| member.name != *own);
        let leaving = leaving.filter(|member| member.status == MemberStatus::Leaving);
        let overdue = leaving
            .clone()
            .filter(|member| now.saturating_sub(member.gone_since) >= longest);
        let asked: Vec<(SocketAddr, Leave)> = overdue
            .filter(|member| self.nodes.get(&member.name).is_some_and(|n| n.is_there()))
            .map(|member| {
                let intent = Leave {
                    ltime: member.status_ltime.saturating_add(1),
                    node: member.name.clone(),
                    prune: false,
                };
                (member.addr, intent)
            })
            .collect();
        let wait = leaving.count() > 0;
        for (to, intent) in asked {
            log::debug!(target: &self.config.loggers[1],
                "serf: asking {} at {to} whether it is leaving still", intent.node);
            if let Ok(bytes) = SerfMessage::Leave(intent).encode() {
                self.send(to, vec![user_part(&bytes)], false);
            }
        }
        if wait {
            self.arm_objection();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::codec::serf::Join;
    use crate::gossip::{Config, Output};

    fn addr(n: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n as u8], 8301))
    }

    /// Members of one pool that reach each other at once; those that are gone reach nobody.
    struct World(Vec<Option<Pool>>, Duration);

    impl World {
        fn of_two() -> World {
            let member = |n: usize| {
                let config = Config {
                    seed: n as u64,
                    ..Config::lan(&format!("m{n}"), addr(n), Default::default())
                };
                Pool::new(Duration::ZERO, config).expect("a sound configuration")
            };
            let mut world = World(vec![Some(member(0)), Some(member(1))], Duration::ZERO);
            world.member(1).join(Duration::ZERO, &[addr(0)]);
            world.run(5);
            assert_eq!(world.seen(), Some(MemberStatus::Alive));
            world
        }

        fn member(&mut self, n: usize) -> &mut Pool {
            self.0[n].as_mut().expect("a running member")
        }

        /// How the first sees the second.
        fn seen(&self) -> Option<MemberStatus> {
            let first = self.0[0].as_ref()?;
            first.member("m1").map(|member| member.status)
        }

        fn run(&mut self, seconds: u64) {
            let end = self.1 + Duration::from_secs(seconds);
            while self.1 < end {
                self.1 += Duration::from_millis(50);
                for n in 0..2 {
                    if let Some(pool) = &mut self.0[n] {
                        pool.tick(self.1);
                    }
                }
                while self.deliver() {}
            }
        }

        /// Carries out one thing that somebody asks for; false when there is none.
        fn deliver(&mut self) -> bool {
            let now = self.1;
            for n in 0..2 {
                let Some(output) = self.0[n].as_mut().and_then(Pool::poll) else {
                    continue;
                };
                let other = 1 - n;
                match output {
                    Output::Packet { to, bytes } => {
                        let there = if to == addr(n) { n } else { other };
                        if let Some(pool) = &mut self.0[there] {
                            pool.handle_packet(now, addr(n), &bytes);
                        }
                    }
                    Output::Dial { stream, bytes, .. } => {
                        let peer = self.0[other].as_mut();
                        let answer = peer.map(|pool| pool.handle_stream(now, addr(n), &bytes));
                        let pool = self.member(n);
                        match answer {
                            Some(answer) => pool.stream_answered(now, stream, &answer),
                            None => pool.stream_failed(now, stream, "refused"),
                        }
                    }
                    _ => {}
                }
                return true;
            }
            false
        }

        /// The first hears of an old leave whose time is that of the second's join.
        fn old_leave(&mut self, prune: bool) {
            let ltime = self.member(0).clock.time() + 3;
            let node = "m1".to_owned();
            let join = Join {
                ltime,
                node: node.clone(),
            };
            self.member(1).on_join_intent(&join);
            let leave = Leave { ltime, node, prune };
            self.member(0).on_leave_intent(&leave);
            self.member(0).on_join_intent(&join);
            assert_eq!(self.seen(), Some(MemberStatus::Leaving));
        }
    }

    #[test]
    fn a_join_at_the_time_of_an_old_leave_is_believed_in_the_end() {
        let mut world = World::of_two();
        world.old_leave(false);
        // Not before it could have left.
        world.run(12);
        assert_eq!(world.seen(), Some(MemberStatus::Leaving));
        world.run(18);
        assert_eq!(world.seen(), Some(MemberStatus::Alive));
        assert!(!world.member(0).armed.objection, "nothing is left to ask");
    }

    #[test]
    fn one_that_is_gone_is_taken_at_its_word() {
        let mut world = World::of_two();
        world.old_leave(false);
        world.0[1] = None;
        world.run(60);
        assert_eq!(world.seen(), Some(MemberStatus::Left));
        assert!(!world.member(0).armed.objection, "nobody is left to ask");
    }

    #[test]
    fn one_that_is_there_is_not_forgotten_for_an_old_leave() {
        let mut world = World::of_two();
        world.old_leave(true);
        world.run(12);
        assert_eq!(world.seen(), Some(MemberStatus::Leaving));
        world.run(18);
        assert_eq!(world.seen(), Some(MemberStatus::Alive));
        // Nor later, when it fails.
        world.0[1] = None;
        world.run(60);
        assert_eq!(world.seen(), Some(MemberStatus::Failed));
    }

    #[test]
    fn one_that_was_forced_to_leave_is_forgotten_when_it_is_gone() {
        let mut world = World::of_two();
        world.old_leave(true);
        world.0[1] = None;
        world.run(60);
        assert_eq!(world.seen(), None);
    }
}
