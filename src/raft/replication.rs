//! Entries from the leader to the others: sending, accepting, committing.
//!
//! It holds true: only entries of the leader's own term are counted towards the quorum, its own only once
//! they are on its disk; a follower says yes only for what is on its disk; committed entries are never cut.
//! Leaves what one follower's answers mean for the next request to `progress`.
//! Source: Raft paper 5.3, 5.4.2; thesis 10.2.1; hashicorp/raft's rules for stepping back.

use std::time::Duration;

use super::membership::Configuration;
use super::message::{AppendEntries, AppendEntriesResponse, Message};
use super::node::Leading;
use super::progress::{Mode, Progress, Sent};
use super::ready::Fault;
use super::types::{Entry, EntryKind, LogError, ServerId};
use super::{Config, Raft};

/// Heartbeats go out every 1 to 2 times this part of the heartbeat timeout.
const HEARTBEATS_PER_TIMEOUT: u32 = 10;

// The leader's side.
impl Raft {
    pub(super) fn heartbeat_interval(&mut self) -> Duration {
        self.randomized(self.config.heartbeat_timeout / HEARTBEATS_PER_TIMEOUT)
    }

    pub(super) fn leader_deadline(&self, lead: &Leading) -> Option<Duration> {
        if lead.peers.is_empty() {
            return None;
        }
        let mut next = lead.heartbeat_at;
        next = next.min(self.quorum_lost_at(lead));
        next = next.min(lead.commit_flush_at.unwrap_or(next));
        next = next.min(lead.transfer.as_ref().map_or(next, |t| t.deadline));
        for peer in lead.peers.values() {
            next = next.min(peer.retry_at.unwrap_or(next));
            let oldest = peer.inflight.front();
            next = next.min(oldest.map_or(next, |s| s.at + self.config.rpc_timeout));
        }
        Some(next)
    }

    fn quorum_lost_at(&self, lead: &Leading) -> Duration {
        let contact = self.quorum_contact(lead);
        contact.saturating_add(self.config.lease_timeout)
    }

    pub(super) fn tick_leader(&mut self, now: Duration) {
        let Some(lead) = self.lead.as_deref() else {
            return;
        };
        if now >= self.quorum_lost_at(lead) {
            self.become_follower(now, self.term);
            return;
        }
        if now >= lead.heartbeat_at && !lead.peers.is_empty() {
            self.send_heartbeats(now);
        }
        let Some(lead) = &mut self.lead else {
            return;
        };
        lead.transfer.take_if(|t| now >= t.deadline);
        lead.commit_flush_at.take_if(|at| now >= *at);
        for peer in lead.peers.values_mut() {
            peer.retry_at.take_if(|at| now >= *at);
            if let Some(deadline) = now.checked_sub(self.config.rpc_timeout) {
                peer.expire(now, deadline);
            }
        }
    }

    pub(super) fn send_heartbeats(&mut self, now: Duration) {
        let next = now + self.heartbeat_interval();
        let term = self.term;
        let Some(lead) = &mut self.lead else {
            return;
        };
        lead.heartbeat_at = next;
        for (to, peer) in &mut lead.peers {
            self.next_seq += 1;
            peer.record_beat(self.next_seq, now);
            let beat = AppendEntries {
                seq: self.next_seq,
                term,
                ..AppendEntries::default()
            };
            self.outbox.push(super::Outgoing {
                to: to.clone(),
                message: Message::AppendEntries(beat),
            });
        }
    }

    /// Sends every follower what it may get now.
    pub(super) fn replicate(&mut self, now: Duration) {
        let Some(lead) = &self.lead else {
            return;
        };
        let ids: Vec<ServerId> = lead.peers.keys().cloned().collect();
        for to in ids {
            while self.replicate_once(now, &to) {}
        }
    }

    /// Says whether there may be more to send to this follower.
    fn replicate_once(&mut self, now: Duration, to: &ServerId) -> bool {
        let (commit, last) = (self.commit, self.log.last_index());
        let Some(lead) = &mut self.lead else {
            return false;
        };
        let flush = lead.commit_flush_at.is_none();
        let Some(peer) = lead.peers.get_mut(to) else {
            return false;
        };
        if !may_send(&self.config, peer, last, commit, flush) {
            return false;
        }
        let prev = peer.next - 1;
        let found = self.log.term(prev).and_then(|prev_term| {
            let Some(prev_term) = prev_term else {
                return Ok(None);
            };
            let (most, bytes) = (self.config.max_append_entries, self.config.max_append_bytes);
            let entries = self.log.slice(prev + 1, last, most, bytes)?;
            Ok(Some((prev_term, entries)))
        });
        let (prev_term, entries) = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                peer.needs_snapshot();
                self.snapshots_wanted.push(to.clone());
                return false;
            }
            Err(error) => {
                peer.pause(now);
                self.log_failed(error);
                return false;
            }
        };
        self.next_seq += 1;
        let sent = Sent {
            seq: self.next_seq,
            prev,
            last: prev + entries.len() as u64,
            bytes: entries.iter().map(Entry::size).sum(),
            at: now,
        };
        peer.record_append(sent, commit);
        let request = AppendEntries {
            seq: sent.seq,
            term: self.term,
            prev_index: prev,
            prev_term,
            entries,
            leader_commit: commit,
        };
        self.send(to, Message::AppendEntries(request));
        true
    }

    pub(super) fn on_append_response(
        &mut self,
        now: Duration,
        from: &ServerId,
        m: &AppendEntriesResponse,
    ) {
        if m.term > self.term {
            self.become_follower(now, m.term);
            return;
        }
        let Some(lead) = self.lead.as_mut().filter(|_| m.term == self.term) else {
            return;
        };
        let Some(peer) = lead.peers.get_mut(from) else {
            return;
        };
        let rose = peer.answered(now, m);
        if peer.mode == Mode::Replicate && peer.sent_commit < self.commit {
            let at = now + self.config.commit_timeout;
            lead.commit_flush_at.get_or_insert(at);
        }
        if rose {
            self.advance_commit(now);
            self.advance_transfer();
        }
        self.confirm_reads(now);
    }

    /// Commits what a quorum has on disk, if it is of this term.
    pub(super) fn advance_commit(&mut self, now: Duration) {
        let stable = self.log.stable();
        let latest = self.members.latest();
        let Some(lead) = &mut self.lead else {
            return;
        };
        let matched = |voter: &str| lead.peers.get(voter).map_or(stable, |p| p.matched);
        let Some(reached) = latest.quorum_value(matched) else {
            return;
        };
        if reached <= self.commit || reached < lead.term_start {
            return;
        }
        self.commit = reached;
        if !lead.peers.is_empty() {
            let at = now + self.config.commit_timeout;
            lead.commit_flush_at.get_or_insert(at);
        }
        self.retire_if_not_voter(now);
    }
}

fn may_send(config: &Config, peer: &Progress, last: u64, commit: u64, flush: bool) -> bool {
    if peer.retry_at.is_some() {
        return false;
    }
    let news = peer.next <= last;
    match peer.mode {
        Mode::Snapshot => false,
        Mode::Probe => {
            let uncertain = peer.matched < last || peer.sent_commit < commit;
            peer.inflight.is_empty() && (news || uncertain)
        }
        Mode::Replicate => {
            let room = peer.inflight.len() < config.max_inflight
                && peer.inflight_bytes() < config.max_inflight_bytes;
            room && (news || flush && peer.sent_commit < commit)
        }
    }
}

// The follower's side.
impl Raft {
    pub(super) fn on_append(&mut self, now: Duration, from: &ServerId, m: AppendEntries) {
        let last_log = self.log.last_index();
        let current = self.accept_leader(now, from, m.term);
        let heartbeat =
            m.prev_index == 0 && m.prev_term == 0 && m.leader_commit == 0 && m.entries.is_empty();
        let outcome = if !current {
            Outcome::Refused
        } else if heartbeat {
            Outcome::Stored(0)
        } else {
            self.accept_entries(from, &m).unwrap_or_else(|error| {
                self.log_failed(error);
                Outcome::Refused
            })
        };
        let (success, no_retry_backoff, upto) = match outcome {
            Outcome::Stored(upto) => (true, false, upto),
            Outcome::Mismatch => (false, true, 0),
            Outcome::Refused => (false, false, 0),
        };
        let response = AppendEntriesResponse {
            seq: m.seq,
            term: self.term,
            last_log,
            success,
            no_retry_backoff,
        };
        self.hold_message(upto, from, Message::AppendEntriesResponse(response));
    }

    /// Follows the sender of this term, unless the term is over.
    pub(super) fn accept_leader(&mut self, now: Duration, from: &ServerId, term: u64) -> bool {
        if term < self.term || (self.is_leader() && term == self.term) {
            return false;
        }
        if term > self.term || self.role != super::Role::Follower {
            self.become_follower(now, term);
        }
        self.heard_leader(now, from);
        true
    }

    fn accept_entries(&mut self, from: &ServerId, m: &AppendEntries) -> Result<Outcome, LogError> {
        if !is_well_formed(m) {
            return Ok(Outcome::Refused);
        }
        // What is committed here is in every leader's log, so it need not be compared.
        let agreed =
            m.prev_index <= self.commit || self.log.term(m.prev_index)? == Some(m.prev_term);
        if !agreed {
            return Ok(Outcome::Mismatch);
        }
        let known = self.known(from, m)?;
        let Some(known) = known else {
            return Ok(Outcome::Refused);
        };
        let new = m.entries.get(known..).unwrap_or_default();
        if !new.is_empty() && !self.store(new)? {
            return Ok(Outcome::Refused);
        }
        let upto = m.prev_index + m.entries.len() as u64;
        self.commit = self.commit.max(m.leader_commit.min(upto));
        Ok(Outcome::Stored(upto.min(self.log.last_index())))
    }

    /// How many of the entries are here already; `None` if they contradict committed ones.
    fn known(&mut self, from: &ServerId, m: &AppendEntries) -> Result<Option<usize>, LogError> {
        for (at, entry) in m.entries.iter().enumerate() {
            if entry.index <= self.log.base_index() {
                continue;
            }
            if self.log.term(entry.index)? == Some(entry.term) {
                continue;
            }
            if entry.index <= self.commit {
                self.fault = Some(Fault::CommittedConflict {
                    from: from.clone(),
                    index: entry.index,
                });
                return Ok(None);
            }
            return Ok(Some(at));
        }
        Ok(Some(m.entries.len()))
    }

    /// Puts new entries in the place of whatever is there; `false` if there is no room.
    fn store(&mut self, new: &[Entry]) -> Result<bool, LogError> {
        let full = self.log.unstable_bytes() > self.config.max_pending_bytes;
        if full || self.disk_failed || self.installing.is_some() {
            return Ok(false);
        }
        let mut configurations = Vec::new();
        for entry in new {
            if entry.kind == EntryKind::Configuration {
                let Ok(configuration) = Configuration::decode(&entry.data) else {
                    return Ok(false);
                };
                configurations.push((entry.index, configuration));
            }
        }
        let from = new.first().map_or(0, |e| e.index);
        if from <= self.log.last_index() {
            self.truncate(from)?;
        }
        self.log.append(new.iter().cloned());
        for (index, configuration) in configurations {
            self.members.append(index, configuration);
        }
        Ok(true)
    }

    fn truncate(&mut self, from: u64) -> Result<(), LogError> {
        self.log.truncate(from)?;
        self.members.truncate(from);
        for write in &mut self.writes {
            write.last_index = write.last_index.min(from - 1);
        }
        Ok(())
    }
}

enum Outcome {
    /// Everything up to here is in the log.
    Stored(u64),
    /// The logs do not agree at the index before; the leader should step back.
    Mismatch,
    /// Not now.
    Refused,
}

/// Entries follow each other and `prev`, and their terms never fall nor exceed the leader's.
fn is_well_formed(m: &AppendEntries) -> bool {
    let mut before = (m.prev_index, m.prev_term);
    for entry in &m.entries {
        if Some(entry.index) != before.0.checked_add(1) || entry.term < before.1 {
            return false;
        }
        before = (entry.index, entry.term);
    }
    before.1 <= m.term
}
