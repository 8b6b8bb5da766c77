//! What news about a member change: alive, suspect, dead, and how we defend ourselves.
//!
//! Holds true: of two news about a member the one with the larger incarnation wins, and among equals
//! dead beats suspect beats alive; only the member itself makes its incarnation grow. News that cannot be
//! true (`is_believable`) change nothing.
//! Source: SWIM (2002), section 4.2; `docs/reference/gossip.md` section 7.

use std::net::SocketAddr;

use super::Pool;
use super::codec::message::{Accusation, Alive, Message, Versions, parse_ip};
use super::codec::push_pull::NodeStatus;
use super::codec::tags::{self, MAX_META};
use super::leave::Phase;
use super::members::{Member, Node};
use super::merge_filter::Candidate;
use super::suspicion::Suspicion;
use super::timer::Timer;
use crate::structs::MemberStatus;
use crate::telemetry::metrics;

/// Bytes of a node's name, at most.
pub(super) const MAX_NAME: usize = 512;
/// No member lives long enough to defend itself this often: who says so lies, and could not be refuted.
const MAX_INCARNATION: u32 = 1 << 31;

/// An alive message that makes sense.
struct News {
    addr: SocketAddr,
    versions: Versions,
}

impl Pool {
    /// Queues news about a member.
    fn broadcast(&mut self, name: &str, message: &Message) {
        if let Ok(bytes) = message.encode() {
            self.queues.nodes.push(Some(name), bytes, None);
            self.arm_gossip();
        }
    }

    /// Whether news with this incarnation about this member, from this one, can be true.
    fn is_believable(&self, node: &str, from: &str, incarnation: u32) -> bool {
        let believable =
            incarnation < MAX_INCARNATION && node.len() <= MAX_NAME && from.len() <= MAX_NAME;
        if !believable {
            let shown: String = node.chars().take(MAX_NAME).collect();
            log::warn!(target: &self.config.loggers[0],
                "memberlist: ignoring news about '{shown}' that cannot be true: incarnation {incarnation}");
        }
        believable
    }

    /// Says that news about a member are of no use.
    fn ignore(&self, name: &str, why: &dyn std::fmt::Display) {
        log::warn!(target: &self.config.loggers[0],
            "memberlist: ignoring an alive message for '{name}': {why}");
    }

    /// Whether an alive message makes sense, and who it is about may be in the pool.
    fn checked(&self, m: &Alive) -> Option<News> {
        if !self.is_believable(&m.node, "", m.incarnation) {
            return None;
        }
        let versions = Versions::try_from(&m.vsn[..]);
        let sound = |[min, max, ..]: &Versions| *min > 0 && *max > 0 && min <= max;
        let Ok(versions) = versions.map_err(drop).and_then(|v| match sound(&v) {
            true => Ok(v),
            false => Err(()),
        }) else {
            self.ignore(&m.node, &"protocol version(s) are wrong");
            return None;
        };
        if m.node.is_empty() || m.meta.len() > MAX_META {
            self.ignore(&m.node, &"it has no name, or more tags than fit");
            return None;
        }
        let port = if m.port == 0 {
            self.config.addr.port()
        } else {
            m.port
        };
        let addr = match parse_ip(&m.addr) {
            Ok(ip) => SocketAddr::new(ip, port),
            Err(e) => {
                self.ignore(&m.node, &e);
                return None;
            }
        };
        if !self.is_self(&m.node) {
            if !self.config.allows(addr.ip()) {
                log::warn!(target: &self.config.loggers[0],
                    "memberlist: Rejected node {} ({}): {} is not allowed", m.node, addr.ip(), addr.ip());
                return None;
            }
            let (name, tags) = (&m.node[..], &tags::decode(&m.meta));
            let left = false;
            let candidate = Candidate { name, tags, left };
            let mut allowed = self.config.filter.check(&[candidate]);
            if allowed.is_ok() && self.nodes.get(name).is_none_or(|node| node.meta != *m.meta) {
                let alive = |m: &&Member| m.status == MemberStatus::Alive;
                let there = self.members.values().filter(alive);
                let there = there.map(|m| (&m.name[..], &m.tags));
                allowed = self.config.filter.check_id(&candidate, there);
            }
            if let Err(e) = allowed {
                self.ignore(name, &e);
                return None;
            }
        }
        Some(News { addr, versions })
    }

    /// Whether an alive message says nothing new, as most do in an exchange of everything.
    fn is_known(&self, m: &Alive) -> bool {
        self.nodes.get(&m.node).is_some_and(|node| {
            m.incarnation <= node.incarnation
                && m.port == node.addr.port()
                && parse_ip(&m.addr).is_ok_and(|ip| ip == node.addr.ip())
        })
    }

    /// Somebody is there. `bootstrap` when we say so about ourselves, at the start or with new tags.
    pub(super) fn on_alive(&mut self, m: &Alive, bootstrap: bool) {
        let own = self.is_self(&m.node);
        if own && self.phase != Phase::Running {
            return;
        }
        if !own && self.is_known(m) {
            return;
        }
        let Some(News { addr, versions }) = self.checked(m) else {
            return;
        };
        let reclaim = self.config.dead_node_reclaim;
        let mut takeover = false;
        let unknown = self.nodes.get(&m.node).is_none();
        if unknown && (m.incarnation == 0 || !self.insert(m, addr, versions)) {
            return;
        }
        match self.nodes.get(&m.node) {
            Some(node) if node.addr != addr => {
                let dead_for = self.now.saturating_sub(node.since);
                takeover = match node.status {
                    NodeStatus::Left => true,
                    NodeStatus::Dead => !reclaim.is_zero() && dead_for > reclaim,
                    NodeStatus::Alive | NodeStatus::Suspect => false,
                };
                if !takeover {
                    self.on_conflict(&m.node, addr);
                    return;
                }
            }
            _ => {}
        }
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&m.node) else {
            return;
        };
        let stale = if own {
            m.incarnation < node.incarnation
        } else {
            m.incarnation <= node.incarnation && !takeover
        };
        if stale {
            return;
        }
        if let Some(suspicion) = node.suspicion.take() {
            suspicion
                .timer
                .into_iter()
                .for_each(|timer| self.timers.cancel(timer));
        }
        if own && !bootstrap {
            let known = node.incarnation == m.incarnation
                && node.meta == *m.meta
                && node.versions == versions;
            if !known {
                log::warn!(target: &self.config.loggers[0],
                    "memberlist: Refuting an alive message for '{}' ({addr})", m.node);
                self.refute(m.incarnation);
            }
            return;
        }
        let was = node.status;
        let changed = node.meta != *m.meta;
        node.incarnation = m.incarnation;
        node.meta = m.meta.to_vec();
        node.addr = addr;
        node.versions = versions;
        if was != NodeStatus::Alive {
            node.status = NodeStatus::Alive;
            node.since = now;
        }
        metrics::MEMBERLIST_ALIVE.incr();
        self.broadcast(&m.node, &Message::Alive(m.clone()));
        match was {
            NodeStatus::Dead | NodeStatus::Left => self.node_joined(&m.node),
            _ if changed => self.node_updated(&m.node),
            _ => {}
        }
    }

    /// A node never heard of: as dead until the rest of the rules have been followed.
    fn insert(&mut self, m: &Alive, addr: SocketAddr, versions: Versions) -> bool {
        let node = Node {
            name: m.node.clone(),
            addr,
            meta: m.meta.to_vec(),
            versions,
            incarnation: 0,
            status: NodeStatus::Dead,
            since: self.now,
            suspicion: None,
        };
        let done = self.nodes.insert(node, &mut self.rng);
        if !done {
            self.ignore(&m.node, &"the pool has as many members as it may have");
        }
        self.arm();
        done
    }

    /// Somebody does not answer, says somebody.
    pub(super) fn on_suspect(&mut self, m: &Accusation) {
        let (now, n, own) = (self.now, self.nodes.len(), self.is_self(&m.node));
        if !self.is_believable(&m.node, &m.from, m.incarnation) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&m.node) else {
            return;
        };
        if m.incarnation < node.incarnation {
            return;
        }
        if let Some(suspicion) = &mut node.suspicion {
            if suspicion.confirm(&m.from) {
                let (at, generation) = (suspicion.deadline(), suspicion.generation);
                let timer = Timer::Suspicion(m.node.clone(), generation);
                let earlier = suspicion.timer.replace(self.timers.set(at, timer));
                earlier
                    .into_iter()
                    .for_each(|timer| self.timers.cancel(timer));
                self.broadcast(&m.node, &Message::Suspect(m.clone()));
            }
            return;
        }
        if node.status != NodeStatus::Alive {
            return;
        }
        if own {
            log::warn!(target: &self.config.loggers[0],
                "memberlist: Refuting a suspect message (from: {})", m.from);
            self.refute(m.incarnation);
            return;
        }
        let mults = (
            self.config.suspicion_mult,
            self.config.suspicion_max_timeout_mult,
        );
        let interval = self.config.probe_interval;
        let mut suspicion = Suspicion::new(now, &m.from, n, mults, interval);
        self.generation += 1;
        suspicion.generation = self.generation;
        let timer = Timer::Suspicion(m.node.clone(), self.generation);
        suspicion.timer = Some(self.timers.set(suspicion.deadline(), timer));
        node.suspicion = Some(suspicion);
        node.incarnation = m.incarnation;
        node.status = NodeStatus::Suspect;
        node.since = now;
        metrics::MEMBERLIST_SUSPECT.incr();
        self.broadcast(&m.node, &Message::Suspect(m.clone()));
    }

    /// A suspect has not defended itself in time, if this timer is still the one of its suspicion.
    pub(super) fn suspicion_ended(&mut self, name: &str, generation: u64) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let current = node.suspicion.as_ref();
        let Some(suspicion) = current.filter(|s| s.generation == generation) else {
            return;
        };
        // A confirmation has set an earlier timer: this one may be late, never early.
        if suspicion.deadline() > self.now {
            return;
        }
        log::info!(target: &self.config.loggers[0],
            "memberlist: Marking {name} as failed, suspect timeout reached ({} peer confirmations)",
            suspicion.confirmations());
        let dead = Accusation {
            incarnation: node.incarnation,
            node: name.to_owned(),
            from: self.config.name.clone(),
        };
        self.on_dead(&dead);
    }

    /// Somebody is gone, says somebody.
    pub(super) fn on_dead(&mut self, m: &Accusation) {
        let (now, own) = (self.now, self.is_self(&m.node));
        if !self.is_believable(&m.node, &m.from, m.incarnation) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&m.node) else {
            return;
        };
        if m.incarnation < node.incarnation {
            return;
        }
        if let Some(suspicion) = node.suspicion.take() {
            suspicion
                .timer
                .into_iter()
                .for_each(|timer| self.timers.cancel(timer));
        }
        if matches!(node.status, NodeStatus::Dead | NodeStatus::Left) {
            return;
        }
        if own && self.phase == Phase::Running {
            log::warn!(target: &self.config.loggers[0],
                "memberlist: Refuting a dead message (from: {})", m.from);
            self.refute(m.incarnation);
            return;
        }
        node.incarnation = m.incarnation;
        node.since = now;
        node.status = if m.from == m.node {
            NodeStatus::Left
        } else {
            NodeStatus::Dead
        };
        metrics::MEMBERLIST_DEAD.incr();
        if own {
            self.broadcast_own_end(m);
        } else {
            self.broadcast(&m.node, &Message::Dead(m.clone()));
        }
        self.node_gone(&m.node);
    }

    /// We are there, whatever is said.
    fn refute(&mut self, accused: u32) {
        self.awareness.add(1);
        let Some(node) = self.nodes.get_mut(&self.config.name) else {
            return;
        };
        node.incarnation = node.incarnation.max(accused).saturating_add(1);
        let alive = Message::Alive(node.alive());
        let name = self.config.name.clone();
        self.broadcast(&name, &alive);
    }

    /// Tells the pool our tags, which are others now.
    ///
    /// # Errors
    /// When they are too long; nothing has changed then.
    pub fn set_tags(
        &mut self,
        now: std::time::Duration,
        tags: tags::Tags,
    ) -> Result<(), super::Error> {
        self.input(now);
        let meta = tags::encode(&tags)?;
        let Some(node) = self.nodes.get_mut(&self.config.name) else {
            return Ok(());
        };
        let mut alive = node.alive();
        alive.incarnation = alive.incarnation.saturating_add(1);
        alive.meta = crate::structs::go::Bytes(meta);
        self.config.tags = tags;
        self.on_alive(&alive, true);
        Ok(())
    }
}
