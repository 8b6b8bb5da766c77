//! Passing news on to a few random members at a time.
//!
//! Holds true: without news, or without anybody to tell them, no timer is set.
//! Source: SWIM (2002), section 4.1; `docs/reference/gossip.md` section 6.

use std::time::Duration;

use super::Pool;
use super::codec::push_pull::NodeStatus;
use super::timer::Timer;

impl Pool {
    /// Sees to it that news go out with the next tick; ticks are whole intervals since the start of time.
    pub(super) fn arm_gossip(&mut self) {
        if self.armed.gossip || self.queues.is_empty() || self.nodes.len() < 2 {
            return;
        }
        self.armed.gossip = true;
        let interval = self.config.gossip_interval.max(Duration::from_millis(1));
        let phase = Duration::from_nanos(self.config.seed % interval.as_nanos() as u64);
        let since = self.now.saturating_sub(phase).as_nanos();
        let ticks = (since / interval.as_nanos()) as u32;
        let next = phase + interval * (ticks + 1);
        self.timers.set(next, Timer::Gossip);
    }

    /// A tick: a few random members get a packet of news each.
    pub(super) fn gossip(&mut self) {
        self.armed.gossip = false;
        let (now, own) = (self.now, self.config.name.clone());
        let to_the_dead = self.config.gossip_to_the_dead;
        let wanted = self.config.gossip_nodes;
        let targets = self.nodes.random(wanted, &mut self.rng, |node| {
            let recently_dead = node.status == NodeStatus::Dead && now - node.since <= to_the_dead;
            node.name != own && (node.is_there() || recently_dead)
        });
        let targets: Vec<_> = targets.iter().map(|n| (n.addr, n.takes_crc())).collect();
        for (addr, crc) in targets {
            let news = self.news(self.envelope.room());
            if news.is_empty() {
                break;
            }
            self.send(addr, news, crc);
        }
        self.arm_gossip();
    }
}
