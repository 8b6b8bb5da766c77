//! What becomes of members: intents to join and to leave, and what memberlist finds out.
//!
//! Holds true: a member that said it leaves ends as left, one that did not as failed; of two intents
//! about a member the one with the later time wins. Intents about members not known yet are kept, within limits.
//! Source: `docs/reference/gossip.md` section 11.2.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::codec::push_pull::MAX_MEMBERS;
use super::codec::serf::{Join, Leave, SerfMessage};
use super::codec::tags;
use super::leave::Phase;
use super::members::Member;
use super::output::{Change, Event};
use super::state::MAX_NAME;
use super::timer::Timer;
use super::{Error, Pool};
use crate::structs::MemberStatus;

/// Most intents about members not known yet.
const MAX_INTENTS: usize = MAX_MEMBERS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Join,
    Leave,
}

#[derive(Clone, Copy, Debug)]
struct Intent {
    kind: Kind,
    ltime: u64,
    at: Duration,
}

/// The newest intent about each member not known yet.
#[derive(Debug, Default)]
pub(super) struct Intents {
    by_name: BTreeMap<String, Intent>,
}

impl Intents {
    /// Remembers an intent; whether it is news.
    fn remember(&mut self, name: &str, kind: Kind, ltime: u64, at: Duration) -> bool {
        let full = self.by_name.len() >= MAX_INTENTS || name.len() > MAX_NAME;
        match self.by_name.get_mut(name) {
            Some(old) if ltime <= old.ltime => return false,
            Some(old) => *old = Intent { kind, ltime, at },
            None if full => return false,
            None => drop(
                self.by_name
                    .insert(name.to_owned(), Intent { kind, ltime, at }),
            ),
        }
        true
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Forgets what is older.
    pub fn expire(&mut self, before: Duration) {
        self.by_name.retain(|_, intent| intent.at >= before);
    }
}

impl Pool {
    /// Somebody joins; whether to pass it on.
    pub(super) fn on_join_intent(&mut self, m: &Join) -> bool {
        self.clock.witness(m.ltime);
        let Some(member) = self.members.get_mut(&m.node) else {
            let news = self
                .intents
                .remember(&m.node, Kind::Join, m.ltime, self.now);
            self.arm_reap();
            return news;
        };
        if m.ltime <= member.status_ltime {
            return false;
        }
        member.status_ltime = m.ltime;
        if member.status == MemberStatus::Leaving {
            member.status = MemberStatus::Alive;
            member.pruning = false;
            self.revision += 1;
        }
        true
    }

    /// Somebody leaves, or is to; whether to pass it on.
    pub(super) fn on_leave_intent(&mut self, m: &Leave) -> bool {
        self.clock.witness(m.ltime);
        let own = self.is_self(&m.node);
        let Some(member) = self.members.get_mut(&m.node) else {
            let news = self
                .intents
                .remember(&m.node, Kind::Leave, m.ltime, self.now);
            self.arm_reap();
            return news;
        };
        if m.ltime <= member.status_ltime {
            return false;
        }
        if own && self.phase == Phase::Running {
            log::debug!(target: &self.config.loggers[1], "serf: Refuting an older leave intent");
            self.announce();
            return false;
        }
        member.status_ltime = m.ltime;
        let before = member.status;
        match before {
            MemberStatus::Alive => {
                member.status = MemberStatus::Leaving;
                member.gone_since = self.now;
                self.revision += 1;
                self.arm_objection();
            }
            MemberStatus::Failed => {
                member.status = MemberStatus::Left;
                member.gone_since = self.now;
                let member = member.clone();
                self.snapshot.not_alive(&m.node);
                self.changed(Change::Leave, member);
            }
            MemberStatus::Leaving | MemberStatus::Left | MemberStatus::None => {}
        }
        if m.prune {
            self.prune(&m.node, before);
        }
        true
    }

    /// Forgets a member that was forced to leave: at once, or when it has had the time to say so itself.
    fn prune(&mut self, name: &str, before: MemberStatus) {
        if !matches!(before, MemberStatus::Alive | MemberStatus::Leaving) {
            return self.erase(name);
        }
        if let Some(member) = self.members.get_mut(name)
            && !std::mem::replace(&mut member.pruning, true)
        {
            let wait = self.config.broadcast_timeout + self.config.leave_propagate_delay;
            self.timers
                .set(self.now + wait, Timer::Prune(name.to_owned()));
        }
    }

    /// A member that was forced to leave has had its time; one that has come back stays. One that is there still
    /// may not have heard of it, or object: it is forgotten when it is gone, for what memberlist sees as alive
    /// would never join again.
    pub(super) fn prune_ended(&mut self, name: &str) {
        let there = self.nodes.get(name).is_some_and(|node| node.is_there());
        let member = self.members.get(name).filter(|member| member.pruning);
        if !there && member.is_some_and(|member| member.status != MemberStatus::Alive) {
            self.erase(name);
        }
    }

    /// Tells everybody that we are in the pool.
    pub(super) fn announce(&mut self) {
        let join = Join {
            ltime: self.clock.time(),
            node: self.config.name.clone(),
        };
        self.on_join_intent(&join);
        if let Ok(bytes) = SerfMessage::Join(join).encode() {
            self.queue(|queues| &mut queues.intents, bytes, None);
        }
        self.note_clocks();
    }

    /// Makes a failed member one that left, and with `prune` forgets it; one that is alive will object
    /// unless it is leaving.
    ///
    /// # Errors
    /// When there is no such member, or it is ourselves.
    pub fn force_leave(&mut self, now: Duration, name: &str, prune: bool) -> Result<(), Error> {
        self.input(now);
        if self.is_self(name) {
            return Err(Error::Request("use leave for this member".to_owned()));
        }
        if !self.members.contains_key(name) {
            return Err(Error::Request(format!("member {name} is not known")));
        }
        let intent = Leave {
            ltime: self.clock.time(),
            node: name.to_owned(),
            prune,
        };
        self.clock.increment();
        self.on_leave_intent(&intent);
        let bytes = SerfMessage::Leave(intent).encode()?;
        self.queue(|queues| &mut queues.intents, bytes, None);
        self.note_clocks();
        Ok(())
    }

    /// Memberlist has found somebody.
    pub(super) fn node_joined(&mut self, name: &str) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let (addr, tags, versions) = (node.addr, tags::decode(&node.meta), node.versions);
        let intent = self.intents.by_name.remove(name);
        let member = self.members.entry(name.to_owned()).or_insert_with(|| {
            let leaves = intent.is_some_and(|i| i.kind == Kind::Leave);
            Member {
                name: name.to_owned(),
                addr,
                tags: tags::Tags::new(),
                status: if leaves {
                    MemberStatus::Leaving
                } else {
                    MemberStatus::None
                },
                versions,
                status_ltime: intent.map_or(0, |i| i.ltime),
                gone_since: self.now,
                pruning: false,
            }
        });
        if member.status != MemberStatus::Leaving || intent.is_none() {
            member.status = MemberStatus::Alive;
            member.pruning = false;
        }
        member.addr = addr;
        member.tags = tags;
        member.versions = versions;
        let member = member.clone();
        self.snapshot.alive(name, addr);
        if member.status == MemberStatus::Leaving {
            self.arm_objection();
        }
        self.changed(Change::Join, member);
    }

    /// Memberlist has lost somebody.
    pub(super) fn node_gone(&mut self, name: &str) {
        let now = self.now;
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        let change = match member.status {
            MemberStatus::Leaving => {
                member.status = MemberStatus::Left;
                Change::Leave
            }
            MemberStatus::Alive => {
                member.status = MemberStatus::Failed;
                Change::Failed
            }
            MemberStatus::None | MemberStatus::Left | MemberStatus::Failed => return,
        };
        member.gone_since = now;
        let member = member.clone();
        let pruning = member.pruning;
        self.snapshot.not_alive(name);
        self.changed(change, member);
        if pruning {
            self.erase(name);
        }
        self.arm_reap();
        self.arm_reconnect();
    }

    /// Memberlist has heard that somebody's tags are others.
    pub(super) fn node_updated(&mut self, name: &str) {
        let (Some(node), Some(member)) = (self.nodes.get(name), self.members.get_mut(name)) else {
            return;
        };
        member.addr = node.addr;
        member.tags = tags::decode(&node.meta);
        member.versions = node.versions;
        let member = member.clone();
        self.changed(Change::Update, member);
    }

    /// Memberlist has heard of somebody else with a known name.
    pub(super) fn on_conflict(&mut self, name: &str, addr: SocketAddr) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        if !self.is_self(name) {
            log::warn!(target: &self.config.loggers[1],
                "serf: Name conflict for '{name}' both {} and {addr} are claiming", node.addr);
            return;
        }
        log::error!(target: &self.config.loggers[1],
            "serf: Node name conflicts with another node at {addr}. Names must be unique! (Resolution enabled: {})",
            self.config.conflict_resolution);
        if self.config.conflict_resolution && self.phase == Phase::Running {
            self.resolve_conflict();
        }
    }

    pub(super) fn changed(&mut self, change: Change, member: Member) {
        let (name, ip) = (&member.name, member.addr.ip());
        match change {
            Change::Join | Change::Leave | Change::Failed => {
                log::info!(target: &self.config.loggers[1], "serf: Event{}: {name} {ip}", change.word());
            }
            Change::Update | Change::Reap => {
                log::info!(target: &self.config.loggers[1], "serf: Event{}: {name}", change.word());
            }
        }
        self.revision += 1;
        self.event(Event::Member(change, member));
        self.note_clocks();
    }
}
