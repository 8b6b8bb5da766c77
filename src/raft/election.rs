//! Who leads: pre-votes, votes, loyalty to a leader, leases, handing over.
//!
//! It holds true: at most one vote per term, on disk before anybody hears of it, the own one included; a
//! server that heard a leader gives no vote to others for a while, which is what leases count on.
//! Leaves to `replication` what a leader does once it leads.
//! Source: Raft paper 5.2 and 5.4.1; thesis 3.10 (transfer), 6.4.1 (leases), 9.6 (pre-vote).
//!
//! One rule of newer hashicorp/raft is left out on purpose: refusing candidates that are no voters in
//! the own configuration. A server may lag behind the very entry that made the candidate a voter, and
//! its vote may be the one needed (thesis 4.1); pre-vote and loyalty keep removed servers quiet.

use std::time::Duration;

use super::message::{
    Message, RequestPreVote, RequestVote, TimeoutNow, TimeoutNowResponse, VoteResponse,
};
use super::node::{Leading, Transfer};
use super::progress::Progress;
use super::read_index::Reads;
use super::ready::{Held, ReadState, Role};
use super::types::{EntryKind, ServerId};
use super::{Configuration, Error, Raft};

/// The first pause of a server that suspects that nobody leads is at most this part of the heartbeat
/// timeout; a power of two.
const IMPATIENCE: u32 = 16;

impl Raft {
    /// Whether this server may stand for election. Until the entry that took its vote is known to be
    /// committed it stands too, counting only the others: it may be the one with the longest log
    /// (thesis 4.2.2).
    pub(super) fn can_stand(&self) -> bool {
        if self.disk_failed || self.installing.is_some() {
            return false;
        }
        let newest = self.members.latest_index();
        let counted = |configuration: &Configuration| configuration.is_voter(&self.config.id);
        counted(self.members.latest())
            || newest > self.commit && counted(&self.members.at(newest - 1).1)
    }

    /// Begins as a follower that knows no leader.
    pub(super) fn start_waiting(&mut self, now: Duration) {
        self.begin_suspicion(now);
        if self.can_stand() && self.members.latest().is_sole_voter(&self.config.id) {
            self.stand(now, false);
        }
    }

    fn arm_election(&mut self, now: Duration) {
        let pause = match self.suspicion {
            Some(n) => self.impatience(n + 1),
            None => self.randomized(self.config.heartbeat_timeout),
        };
        self.election_deadline = now + pause;
    }

    /// The connection of this server ended, or gossip lost it. If it leads, the others are asked soon
    /// whether they miss it too: as soon as the promise of loyalty to it is over.
    pub fn suspect(&mut self, now: Duration, peer: &ServerId) {
        if self.leader.as_ref() == Some(peer) && !self.is_leader() && self.suspicion.is_none() {
            self.begin_suspicion(now);
        }
    }

    /// Pre-votes disturb nobody, so they may be asked for without waiting for a timeout. Without them a
    /// server must be patient.
    fn begin_suspicion(&mut self, now: Duration) {
        if !self.config.pre_vote {
            self.arm_election(now);
            return;
        }
        self.suspicion = Some(0);
        let pause = self.impatience(0);
        self.election_deadline = now.max(self.loyal_until) + pause;
    }

    /// A random pause before standing for the n-th time: short at first, growing to what others wait.
    fn impatience(&mut self, n: u32) -> Duration {
        let longest = self.config.heartbeat_timeout;
        let step = (longest / IMPATIENCE) * (1 << n.min(IMPATIENCE.ilog2()));
        let pause = self.randomized(step) - step;
        if n == 0 {
            pause
        } else {
            step.min(longest) + pause
        }
    }

    /// No leader, or no majority, for too long.
    pub(super) fn election_timed_out(&mut self, now: Duration) {
        self.leader = None;
        if !self.can_stand() {
            self.arm_election(now);
            return;
        }
        let alone = self.members.latest().is_sole_voter(&self.config.id);
        if self.config.pre_vote && !alone {
            self.stand_for_pre_vote(now);
        } else {
            self.stand(now, false);
        }
    }

    fn stand_for_pre_vote(&mut self, now: Duration) {
        let Some(term) = self.term.checked_add(1) else {
            return;
        };
        self.role = Role::PreCandidate;
        self.wait_for_majority(now);
        self.votes.clear();
        self.votes.insert(self.config.id.clone());
        self.campaign_seq = self.next_seq + 1;
        for to in self.other_voters() {
            let seq = self.take_seq();
            let request = RequestPreVote {
                seq,
                term,
                last_log_index: self.log.last_index(),
                last_log_term: self.log.last_term(),
            };
            self.send(&to, Message::RequestPreVote(request));
        }
    }

    fn stand(&mut self, now: Duration, leadership_transfer: bool) {
        let Some(term) = self.term.checked_add(1) else {
            return;
        };
        self.enter_term(term);
        self.voted_for = Some(self.config.id.clone());
        self.role = Role::Candidate;
        self.leader = None;
        self.wait_for_majority(now);
        self.votes.clear();
        self.hold(0, Held::OwnVote);
        for to in self.other_voters() {
            let seq = self.take_seq();
            let request = RequestVote {
                seq,
                term,
                last_log_index: self.log.last_index(),
                last_log_term: self.log.last_term(),
                leadership_transfer,
            };
            self.hold_message(0, &to, Message::RequestVote(request));
        }
    }

    /// How long a candidate gives the others to answer.
    fn wait_for_majority(&mut self, now: Duration) {
        let patience = match self.suspicion {
            Some(n) => {
                self.suspicion = Some(n.saturating_add(1));
                self.impatience(n + 1)
            }
            None => self.randomized(self.config.election_timeout),
        };
        self.election_deadline = now + patience;
    }

    fn other_voters(&self) -> Vec<ServerId> {
        let voters = self.members.latest().voters();
        let others = voters.filter(|v| **v != *self.config.id);
        others.map(ServerId::from).collect()
    }

    pub(super) fn enter_term(&mut self, term: u64) {
        self.term = term;
        self.voted_for = None;
        self.hard_dirty = true;
        self.supersede_held();
    }

    /// A follower of `term`, the own or a newer one, that knows no leader yet.
    pub(super) fn become_follower(&mut self, now: Duration, term: u64) {
        if term > self.term {
            self.enter_term(term);
        }
        if let Some(lead) = self.lead.take() {
            let lost = lead.reads.into_waiting();
            let lost = lost.map(|ctx| ReadState { ctx, index: None });
            self.answered_reads.extend(lost);
            self.snapshots_wanted.clear();
        }
        self.role = Role::Follower;
        self.leader = None;
        self.votes.clear();
        self.arm_election(now);
    }

    /// A valid leader of this term spoke.
    pub(super) fn heard_leader(&mut self, now: Duration, leader: &ServerId) {
        self.leader = Some(leader.clone());
        self.last_contact = Some(now);
        self.loyal_until = now + self.config.loyalty();
        self.loyal_to = Some(leader.clone());
        self.suspicion = None;
        self.arm_election(now);
    }

    fn is_loyal_to_another(&self, now: Duration, candidate: &ServerId) -> bool {
        self.is_leader() || now < self.loyal_until && self.loyal_to.as_ref() != Some(candidate)
    }

    fn is_up_to_date(&self, last_term: u64, last_index: u64) -> bool {
        (last_term, last_index) >= (self.log.last_term(), self.log.last_index())
    }

    pub(super) fn on_request_vote(&mut self, now: Duration, from: &ServerId, m: &RequestVote) {
        let disloyal = m.leadership_transfer || !self.is_loyal_to_another(now, from);
        if disloyal && m.term > self.term {
            self.become_follower(now, m.term);
        }
        let free = self.voted_for.as_ref().is_none_or(|v| v == from);
        let granted = disloyal
            && m.term == self.term
            && free
            && !self.disk_failed
            && self.is_up_to_date(m.last_log_term, m.last_log_index);
        if granted {
            self.role = Role::Follower;
            self.voted_for = Some(from.clone());
            self.hard_dirty = true;
            self.arm_election(now);
        }
        let response = VoteResponse {
            seq: m.seq,
            term: self.term,
            granted,
        };
        self.hold_message(0, from, Message::RequestVoteResponse(response));
    }

    pub(super) fn on_request_pre_vote(
        &mut self,
        now: Duration,
        from: &ServerId,
        m: &RequestPreVote,
    ) {
        let granted = !self.is_loyal_to_another(now, from)
            && m.term > self.term
            && !self.disk_failed
            && self.is_up_to_date(m.last_log_term, m.last_log_index);
        let response = VoteResponse {
            seq: m.seq,
            term: self.term,
            granted,
        };
        self.send(from, Message::RequestPreVoteResponse(response));
    }

    pub(super) fn on_vote_response(&mut self, now: Duration, from: &ServerId, m: &VoteResponse) {
        if m.term > self.term {
            self.become_follower(now, m.term);
        } else if self.role == Role::Candidate && m.term == self.term && m.granted {
            self.votes.insert(from.clone());
            self.count_votes(now);
        }
    }

    pub(super) fn on_pre_vote_response(
        &mut self,
        now: Duration,
        from: &ServerId,
        m: &VoteResponse,
    ) {
        if m.granted {
            if self.role == Role::PreCandidate && m.seq >= self.campaign_seq {
                self.votes.insert(from.clone());
                self.count_votes(now);
            }
        } else if m.term > self.term {
            self.become_follower(now, m.term);
        }
    }

    /// The own vote is on disk.
    pub(super) fn own_vote_persisted(&mut self, now: Duration) {
        if self.role == Role::Candidate {
            self.votes.insert(self.config.id.clone());
            self.count_votes(now);
        }
    }

    fn count_votes(&mut self, now: Duration) {
        let votes = &self.votes;
        let granted = |v: &str| votes.contains(v);
        if self.members.latest().quorum_value(granted) != Some(true) {
            return;
        }
        match self.role {
            Role::PreCandidate => self.stand(now, false),
            Role::Candidate => self.become_leader(now),
            Role::Follower | Role::Leader => {}
        }
    }

    fn become_leader(&mut self, now: Duration) {
        self.role = Role::Leader;
        self.suspicion = None;
        self.leader = Some(self.config.id.clone());
        self.votes.clear();
        let heartbeat_at = now + self.heartbeat_interval();
        self.lead = Some(Box::new(Leading {
            term_start: self.log.last_index() + 1,
            peers: Default::default(),
            since: now,
            heartbeat_at,
            commit_flush_at: None,
            reads: Reads::default(),
            transfer: None,
            lease_given_up: false,
            restoring: None,
        }));
        self.membership_changed();
        self.append_own(vec![(EntryKind::Noop, [].into())]);
    }

    /// When a quorum was last heard, the start of the term counting as heard; [`Duration::MAX`] when
    /// this server is a quorum by itself.
    pub(super) fn quorum_contact(&self, lead: &Leading) -> Duration {
        let heard = |peer: &Progress| Some(peer.last_contact.unwrap_or(lead.since));
        self.quorum_time(lead, heard).unwrap_or(lead.since)
    }

    /// The latest time that a quorum has reached. The leader itself is always there.
    fn quorum_time(
        &self,
        lead: &Leading,
        time: impl Fn(&Progress) -> Option<Duration>,
    ) -> Option<Duration> {
        let of = |voter: &str| match lead.peers.get(voter) {
            Some(peer) => time(peer),
            None => Some(Duration::MAX),
        };
        self.members.latest().quorum_value(of).flatten()
    }

    /// Until when no other leader can exist: `None` for no lease, [`Duration::MAX`] for a leader that
    /// is the only voter. Counts from when the requests were sent that a quorum answered.
    pub fn lease_until(&self) -> Option<Duration> {
        let lead = self.lead.as_deref()?;
        if lead.lease_given_up || self.commit < lead.term_start {
            return None;
        }
        let from = self.quorum_time(lead, |peer| peer.lease_from)?;
        Some(from.saturating_add(self.config.read_lease()))
    }

    /// Hands leadership to `to`, or to the voter that has most of the log. Proposals are refused until
    /// the new leader is heard, or one election timeout has passed. Returns to whom.
    pub fn transfer_leadership(
        &mut self,
        now: Duration,
        to: Option<ServerId>,
    ) -> Result<ServerId, Error> {
        self.check_proposals()?;
        let latest = self.members.latest();
        let deadline = now + self.config.election_timeout;
        let Some(lead) = &mut self.lead else {
            return Err(Error::NotLeader(None));
        };
        let mut voters = lead.peers.iter().filter(|(id, _)| latest.is_voter(id));
        let to = match to {
            Some(to) if voters.any(|(id, _)| *id == to) => to,
            Some(to) => return Err(Error::UnknownServer(to)),
            None => {
                let best = voters.max_by_key(|(_, peer)| peer.matched);
                let best = best.map(|(id, _)| id.clone());
                best.ok_or(Error::NoOtherVoter)?
            }
        };
        lead.transfer = Some(Transfer {
            to: to.clone(),
            deadline,
            sent: None,
        });
        self.advance_transfer();
        Ok(to)
    }

    /// Tells the target of a transfer to stand once it has the whole log.
    pub(super) fn advance_transfer(&mut self) {
        let (last, term) = (self.log.last_index(), self.term);
        let Some(lead) = &mut self.lead else {
            return;
        };
        let Some(transfer) = lead.transfer.as_mut().filter(|t| t.sent.is_none()) else {
            return;
        };
        let matched = lead.peers.get(&transfer.to).map(|p| p.matched);
        if matched != Some(last) {
            return;
        }
        self.next_seq += 1;
        let seq = self.next_seq;
        transfer.sent = Some(seq);
        lead.lease_given_up = true;
        let to = transfer.to.clone();
        self.send(&to, Message::TimeoutNow(TimeoutNow { seq, term }));
    }

    pub(super) fn on_timeout_now(&mut self, now: Duration, from: &ServerId, m: &TimeoutNow) {
        let response = TimeoutNowResponse { seq: m.seq };
        self.send(from, Message::TimeoutNowResponse(response));
        let current = match m.term {
            0 => self.leader.as_ref() == Some(from),
            term => term == self.term,
        };
        if current && !self.is_leader() && self.can_stand() {
            self.stand(now, true);
        }
    }
}
