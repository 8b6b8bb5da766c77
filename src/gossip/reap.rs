//! Forgetting members that are gone for long, and trying again those that failed.
//!
//! Source: `docs/reference/gossip.md` section 11.5.

use super::Pool;
use super::members::Member;
use super::output::Change;
use super::push_pull::Dialed;
use super::timer::Timer;
use crate::structs::MemberStatus;

impl Pool {
    /// Sees to it that members and intents are forgotten in time.
    pub(super) fn arm_reap(&mut self) {
        if !std::mem::replace(&mut self.armed.reap, true) {
            let at = self.now + self.config.reap_interval;
            self.timers.set(at, Timer::Reap);
        }
    }

    /// Sees to it that failed members are tried again.
    pub(super) fn arm_reconnect(&mut self) {
        if !std::mem::replace(&mut self.armed.reconnect, true) {
            let at = self.now + self.config.reconnect_interval;
            self.timers.set(at, Timer::Reconnect);
        }
    }

    pub(super) fn reap(&mut self) {
        self.armed.reap = false;
        let (now, config) = (self.now, &self.config);
        let old = |member: &&Member| {
            let limit = match member.status {
                MemberStatus::Failed => config.reconnect_timeout,
                MemberStatus::Left => config.tombstone_timeout,
                MemberStatus::None | MemberStatus::Alive | MemberStatus::Leaving => return false,
            };
            now.saturating_sub(member.gone_since) > limit
        };
        let own = &config.name;
        let old: Vec<String> = self
            .members
            .values()
            .filter(|m| m.name != *own)
            .filter(old)
            .map(|m| m.name.clone())
            .collect();
        old.iter().for_each(|name| self.erase(name));
        let before = now.saturating_sub(self.config.recent_intent_timeout);
        self.intents.expire(before);
        let gone = |m: &Member| matches!(m.status, MemberStatus::Failed | MemberStatus::Left);
        if self.members.values().any(gone) || !self.intents.is_empty() {
            self.arm_reap();
        }
    }

    /// Forgets a member.
    pub(super) fn erase(&mut self, name: &str) {
        if self.is_self(name) {
            return;
        }
        if let Some(member) = self.members.remove(name) {
            self.coordinates.forget(name);
            self.changed(Change::Reap, member);
        }
    }

    /// Now and then, one failed member is tried: the more have failed, the likelier.
    pub(super) fn reconnect(&mut self) {
        self.armed.reconnect = false;
        let failed: Vec<&Member> = self
            .members
            .values()
            .filter(|m| m.status == MemberStatus::Failed)
            .collect();
        if failed.is_empty() {
            return;
        }
        let gone = |m: &&Member| matches!(m.status, MemberStatus::Failed | MemberStatus::Left);
        let alive = self.members.len() - self.members.values().filter(gone).count();
        let likely = failed.len() as f64 / alive.max(1) as f64;
        if self.rng.f64() < likely
            && let Some(member) = self.rng.choice(&failed)
        {
            let (name, addr) = (member.name.clone(), member.addr);
            log::info!(target: &self.config.loggers[1], "serf: attempting reconnect to {name} {addr}");
            self.exchange(addr, true, Dialed::Reconnect);
        }
        self.arm_reconnect();
    }
}
