//! The state of one server, how it starts, and where each input goes.
//!
//! It holds true: `applied <= handed_out <= commit`, and nothing is handed out that is not on this
//! server's own disk; `lead` is there exactly while the role is leader; term and vote never go back.
//! Leaves each subject to its own file: `election`, `replication`, `membership`, `snapshot`,
//! `read_index`, `ready`.
//! Source: Raft paper, figure 2.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::log::Log;
use super::membership::Membership;
use super::message::{Message, Outgoing};
use super::progress::Progress;
use super::read_index::Reads;
use super::ready::{Fault, Hold, Install, Leadership, ReadState, Role, WriteMark};
use super::types::{Entry, EntryKind, HardState, LogError, LogReader, ServerId, SnapshotMeta};
use super::{Config, Configuration, Error, Proposed, StepDown};

/// One server's part in the cluster. See the [module](super) for how to drive it.
pub struct Raft {
    pub(super) config: Config,
    pub(super) rng: fastrand::Rng,
    pub(super) next_seq: u64,

    pub(super) role: Role,
    pub(super) term: u64,
    pub(super) voted_for: Option<ServerId>,
    pub(super) leader: Option<ServerId>,
    pub(super) lead: Option<Box<Leading>>,
    /// Who granted this candidate its vote or pre-vote.
    pub(super) votes: BTreeSet<ServerId>,
    /// Answers to pre-vote requests older than this are of no use.
    pub(super) campaign_seq: u64,
    pub(super) election_deadline: Duration,
    /// How often this server stood since it has reason to believe that nobody leads, so that it need not
    /// wait in silence: since its start, or since it was told that the leader is gone.
    pub(super) suspicion: Option<u32>,
    pub(super) last_contact: Option<Duration>,
    /// No vote for anybody but the leader, last heard, before this.
    pub(super) loyal_until: Duration,
    pub(super) loyal_to: Option<ServerId>,
    pub(super) disk_failed: bool,

    pub(super) log: Log,
    pub(super) members: Membership,
    pub(super) commit: u64,
    pub(super) handed_out: u64,
    pub(super) applied: u64,
    pub(super) installing: Option<Install>,

    pub(super) hard_dirty: bool,
    pub(super) reset: Option<SnapshotMeta>,
    pub(super) writes: VecDeque<WriteMark>,
    pub(super) last_write: u64,
    pub(super) last_hard_write: u64,
    pub(super) persisted_write: u64,
    pub(super) held: Vec<Hold>,

    pub(super) outbox: Vec<Outgoing>,
    pub(super) answered_reads: Vec<ReadState>,
    pub(super) snapshots_wanted: Vec<ServerId>,
    pub(super) install_wanted: bool,
    /// Committed entries could not be read; not tried again before something changes.
    pub(super) apply_stalled: bool,
    pub(super) fault: Option<Fault>,
    pub(super) reported: Leadership,
}

/// What only a leader has.
pub(super) struct Leading {
    /// Index of the term's no-op: only entries from here on count towards the quorum.
    pub term_start: u64,
    pub peers: BTreeMap<ServerId, Progress>,
    pub since: Duration,
    pub heartbeat_at: Duration,
    /// When a commit index that found no entry to travel with is sent alone.
    pub commit_flush_at: Option<Duration>,
    pub reads: Reads,
    pub transfer: Option<Transfer>,
    /// Whether a TimeoutNow was sent in this term. From then on another server may win an election
    /// in spite of a lease.
    pub lease_given_up: bool,
    pub restoring: Option<SnapshotMeta>,
}

/// A transfer of leadership under way.
pub(super) struct Transfer {
    pub to: ServerId,
    pub deadline: Duration,
    /// The number of the TimeoutNow, once sent.
    pub sent: Option<u64>,
}

impl Raft {
    /// A server as its disk describes it.
    ///
    /// `base` tells what precedes the log: the [`SnapshotMeta`] stored at the last compaction or with
    /// the last snapshot installed, whichever is newer; default for none. `applied` is the index up to
    /// which the state machine's own disk holds everything. Fails when log and state do not join. The
    /// only voter of its configuration stands for election at once; it needs no timer.
    pub fn new(
        now: Duration,
        config: Config,
        hard_state: HardState,
        base: SnapshotMeta,
        applied: u64,
        reader: Box<dyn LogReader>,
    ) -> Result<Raft, LogError> {
        let (log, stale) = Log::open(reader, &base, config.max_tail_bytes)?;
        if applied < base.index || applied > log.last_index() {
            return Err(LogError(format!(
                "the state machine is at index {applied}, outside the Raft log ({}..={}); \
                 restore both from the same backup",
                base.index,
                log.last_index()
            )));
        }
        let members = read_members(&log, &base, stale)?;
        let mut rng = fastrand::Rng::with_seed(config.seed);
        // Far from where another run of this server started, so that late answers find no request.
        let next_seq = rng.u64(1..1 << 48);
        // A server that may have answered a leader before its restart must not break the lease
        // that answer gave.
        let loyal_until = if hard_state.term > 0 {
            now + config.loyalty()
        } else {
            now
        };
        let mut raft = Raft {
            rng,
            next_seq,
            role: Role::Follower,
            term: hard_state.term,
            voted_for: hard_state.voted_for,
            leader: None,
            lead: None,
            votes: BTreeSet::new(),
            campaign_seq: 0,
            election_deadline: now,
            suspicion: None,
            last_contact: None,
            loyal_until,
            loyal_to: None,
            disk_failed: false,
            log,
            members,
            commit: applied,
            handed_out: applied,
            applied,
            installing: None,
            hard_dirty: false,
            reset: stale.then_some(base),
            writes: VecDeque::new(),
            last_write: 0,
            last_hard_write: 0,
            persisted_write: 0,
            held: Vec::new(),
            outbox: Vec::new(),
            answered_reads: Vec::new(),
            snapshots_wanted: Vec::new(),
            install_wanted: false,
            apply_stalled: false,
            fault: None,
            reported: Leadership::default(),
            config,
        };
        raft.start_waiting(now);
        Ok(raft)
    }

    /// A message came in.
    pub fn step(&mut self, now: Duration, from: &ServerId, message: Message) {
        match message {
            Message::AppendEntries(m) => self.on_append(now, from, m),
            Message::AppendEntriesResponse(m) => self.on_append_response(now, from, &m),
            Message::RequestVote(m) => self.on_request_vote(now, from, &m),
            Message::RequestVoteResponse(m) => self.on_vote_response(now, from, &m),
            Message::RequestPreVote(m) => self.on_request_pre_vote(now, from, &m),
            Message::RequestPreVoteResponse(m) => self.on_pre_vote_response(now, from, &m),
            Message::InstallSnapshot(m) => self.on_install_snapshot(now, from, m),
            Message::InstallSnapshotResponse(m) => self.on_snapshot_response(now, from, &m),
            Message::TimeoutNow(m) => self.on_timeout_now(now, from, &m),
            // Says only that the request was heard; what counts is the new leader's term.
            Message::TimeoutNowResponse(_) => {}
        }
    }

    /// The request with this number to that server got no answer and will get none.
    pub fn rpc_failed(&mut self, now: Duration, to: &ServerId, seq: u64) {
        let Some(lead) = &mut self.lead else {
            return;
        };
        lead.transfer.take_if(|t| t.sent == Some(seq));
        if let Some(peer) = lead.peers.get_mut(to) {
            peer.lost(now, seq);
        }
    }

    /// When [`Raft::tick`] must be called at the latest; `None` if nothing waits for the time.
    pub fn next_deadline(&self) -> Option<Duration> {
        match &self.lead {
            Some(lead) => self.leader_deadline(lead),
            None => {
                let waits = self.can_stand() || self.leader.is_some();
                waits.then_some(self.election_deadline)
            }
        }
    }

    /// Does what is due. Harmless at any time.
    pub fn tick(&mut self, now: Duration) {
        if self.is_leader() {
            self.tick_leader(now);
        } else if now >= self.election_deadline {
            self.election_timed_out(now);
        }
    }

    /// Appends a batch to the leader's log: all of it or, on error, nothing.
    pub fn propose(
        &mut self,
        _now: Duration,
        batch: Vec<(EntryKind, Arc<[u8]>)>,
    ) -> Result<Proposed, Error> {
        self.check_proposals()?;
        let configuration = |(kind, _): &(EntryKind, _)| *kind == EntryKind::Configuration;
        if batch.is_empty() || batch.iter().any(configuration) {
            return Err(Error::InvalidEntry);
        }
        if self.log.unstable_bytes() > self.config.max_pending_bytes {
            return Err(Error::Busy);
        }
        Ok(self.append_own(batch))
    }

    /// Whether a leader takes proposals now.
    pub(super) fn check_proposals(&self) -> Result<(), Error> {
        let lead = self.leading()?;
        if lead.transfer.is_some() {
            return Err(Error::TransferInProgress);
        }
        if lead.restoring.is_some() {
            return Err(Error::RestoreInProgress);
        }
        Ok(())
    }

    pub(super) fn leading(&self) -> Result<&Leading, Error> {
        let lead = self.lead.as_deref();
        lead.ok_or_else(|| Error::NotLeader(self.leader.clone()))
    }

    pub(super) fn check_own_term_committed(&self) -> Result<(), Error> {
        if self.commit < self.leading()?.term_start {
            return Err(Error::NotReady);
        }
        Ok(())
    }

    pub(super) fn append_own(&mut self, batch: Vec<(EntryKind, Arc<[u8]>)>) -> Proposed {
        let (first, term) = (self.log.last_index() + 1, self.term);
        let entries = batch.into_iter().zip(first..);
        self.log.append(entries.map(|((kind, data), index)| Entry {
            index,
            term,
            kind,
            data,
            extensions: Vec::new(),
        }));
        let last = self.log.last_index();
        Proposed { first, last, term }
    }

    /// Gives up leadership, or the will to lead.
    pub fn step_down(&mut self, now: Duration, why: StepDown) {
        if why == StepDown::Disk {
            self.disk_failed = true;
        }
        if self.role != Role::Follower {
            self.become_follower(now, self.term);
        }
    }

    /// The disk works again.
    pub fn resume(&mut self, now: Duration) {
        if self.disk_failed {
            self.disk_failed = false;
            self.apply_stalled = false;
            self.start_waiting(now);
        }
    }

    pub(super) fn is_leader(&self) -> bool {
        self.lead.is_some()
    }

    /// The configuration in force.
    pub fn configuration(&self) -> &Configuration {
        self.members.latest()
    }

    pub(super) fn take_seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    pub(super) fn send(&mut self, to: &ServerId, message: Message) {
        let to = to.clone();
        self.outbox.push(Outgoing { to, message });
    }

    pub(super) fn log_failed(&mut self, error: LogError) {
        self.fault = Some(Fault::LogUnreadable(error.0));
    }

    /// `base` to twice `base`.
    pub(super) fn randomized(&mut self, base: Duration) -> Duration {
        let nanos = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX);
        base + Duration::from_nanos(self.rng.u64(0..=nanos))
    }
}

fn read_members(log: &Log, base: &SnapshotMeta, stale: bool) -> Result<Membership, LogError> {
    let mut members = Membership::new(base.configuration_index, base.configuration.clone());
    if stale {
        return Ok(members);
    }
    for entry in log.reader().configurations()? {
        if entry.index > base.index {
            let configuration = Configuration::decode(&entry.data)
                .map_err(|e| LogError(format!("entry {} of the Raft log: {e}", entry.index)))?;
            members.append(entry.index, configuration);
        }
    }
    Ok(members)
}
