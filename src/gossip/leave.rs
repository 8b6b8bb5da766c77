//! Leaving gracefully, step by step: say so, wait until that has spread, stay a little, end.
//!
//! Holds true: no step takes longer than its limit; until the end we go on answering.
//! Source: `docs/reference/gossip.md` sections 7 and 11.2.

use std::time::Duration;

use super::Pool;
use super::broadcast::Waiting;
use super::codec::message::{Accusation, Message};
use super::codec::serf::{Leave, SerfMessage};
use super::output::Event;
use super::timer::Timer;

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A member like others.
    Running,
    /// Leaving, at this step.
    Leaving(u64),
    /// Does nothing any more.
    Done,
}

/// Serf's message spreads.
const INTENT: u64 = 1;
/// Memberlist's message spreads.
const DEAD: u64 = 2;
/// Others take notice.
const STAY: u64 = 3;

impl Pool {
    /// Begins to leave; [`Event::Left`] says when that is done. Asking twice changes nothing.
    pub fn leave(&mut self, now: Duration) {
        self.input(now);
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Leaving(INTENT);
        self.flush_snapshot();
        self.snapshot.leave();
        self.flush_snapshot();
        let intent = Leave {
            ltime: self.clock.time(),
            node: self.config.name.clone(),
            prune: false,
        };
        self.clock.increment();
        self.on_leave_intent(&intent);
        let others = self.alive() > 0;
        if let Some(bytes) = SerfMessage::Leave(intent).encode().ok().filter(|_| others) {
            let waiting = Some(Waiting::Leave(INTENT));
            self.queue(|queues| &mut queues.intents, bytes, waiting);
            let at = self.now + self.config.broadcast_timeout;
            self.timers.set(at, Timer::Leave(INTENT));
        } else {
            self.leave_step(INTENT);
        }
    }

    /// What was to spread has done so.
    pub(super) fn spread(&mut self, waiting: Waiting) {
        let Waiting::Leave(step) = waiting;
        // Not from within the making of a packet.
        if self.phase == Phase::Leaving(step) {
            self.timers.set(self.now, Timer::Leave(step));
        }
    }

    /// A step is done, or took long enough.
    pub(super) fn leave_step(&mut self, done: u64) {
        if self.phase != Phase::Leaving(done) {
            return;
        }
        self.phase = Phase::Leaving(done + 1);
        match done {
            INTENT => self.leave_memberlist(),
            DEAD => {
                let at = self.now + self.config.leave_propagate_delay;
                self.timers.set(at, Timer::Leave(STAY));
            }
            _ => {
                self.phase = Phase::Done;
                self.event(Event::Left);
            }
        }
    }

    fn leave_memberlist(&mut self) {
        let Some(own) = self.nodes.get(&self.config.name) else {
            return self.leave_step(DEAD);
        };
        let dead = Accusation {
            incarnation: own.incarnation,
            node: own.name.clone(),
            from: own.name.clone(),
        };
        self.on_dead(&dead);
        if self.has_company() {
            let at = self.now + self.config.broadcast_timeout;
            self.timers.set(at, Timer::Leave(DEAD));
        } else {
            // There is nobody to take notice.
            self.phase = Phase::Leaving(STAY);
            self.leave_step(STAY);
        }
    }

    /// Queues the news that we are gone.
    pub(super) fn broadcast_own_end(&mut self, m: &Accusation) {
        if let Ok(bytes) = Message::Dead(m.clone()).encode() {
            let waiting = Some(Waiting::Leave(DEAD));
            self.queues.nodes.push(Some(&m.node), bytes, waiting);
            self.arm_gossip();
        }
    }

    /// Whether the pool does nothing any more.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether we have not begun to leave.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }
}
