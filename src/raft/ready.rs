//! What the core asks of its driver: one `Ready` after another.
//!
//! The parts of a `Ready` do not wait for each other; everything that must wait for the disk is held
//! back by the core until [`Raft::persisted`](super::Raft::persisted) is called, so a driver cannot
//! send too early.
//! Source: Raft thesis 10.2.1 (writing to the leader's disk in parallel).

use std::time::Duration;

use super::Raft;
use super::message::{Message, Outgoing};
use super::types::{Entry, HardState, ServerId, SnapshotMeta};

/// What a server is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Leads its term.
    Leader,
}

/// Who leads, as far as this server knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This server's role.
    pub role: Role,
    /// This server's term.
    pub term: u64,
    /// The leader of that term, this server included.
    pub leader: Option<ServerId>,
}

/// One batch of work for the driver. Carry out the parts in any order and side by side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Role, term or leader changed. When `role` leaves `Leader`, whoever waits for a proposal must be
    /// told that leadership was lost (the proposal may still commit).
    pub leadership: Option<Leadership>,
    /// To be written in one transaction with one fsync, then reported with
    /// [`Raft::persisted`](super::Raft::persisted). Writes keep their order; several that queue up may
    /// share a transaction, reported once with the last number.
    pub write: Option<Write>,
    /// To be sent at once. Order matters only for speed.
    pub messages: Vec<Outgoing>,
    /// Committed entries of every kind, in order, to be applied and then reported with
    /// [`Raft::applied`](super::Raft::applied); until then no further ones are handed out. Bounded by
    /// [`Config::max_apply_bytes`](super::Config::max_apply_bytes).
    pub committed: Vec<Entry>,
    /// Reads that may be answered once the state machine has applied `index`.
    pub reads: Vec<ReadState>,
    /// Followers that need a snapshot: take one of the state machine, then call
    /// [`Raft::send_snapshot`](super::Raft::send_snapshot) or
    /// [`Raft::snapshot_failed`](super::Raft::snapshot_failed).
    pub snapshots_wanted: Vec<ServerId>,
    /// Replace the state machine by the snapshot that came with this request, durably, then call
    /// [`Raft::snapshot_installed`](super::Raft::snapshot_installed).
    pub install: Option<Install>,
    /// Something the operator should hear of.
    pub fault: Option<Fault>,
}

/// One write to the log and the hard state, to be carried out in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// To be handed to [`Raft::persisted`](super::Raft::persisted). Counts up by one.
    pub number: u64,
    /// First empty the log, and store this as the description of what precedes it.
    pub reset: Option<SnapshotMeta>,
    /// Then delete every entry from this index on.
    pub truncate_from: Option<u64>,
    /// Then append these.
    pub entries: Vec<Entry>,
    /// Then store the term and the vote.
    pub hard_state: Option<HardState>,
}

/// The answer to one [`Raft::read_index`](super::Raft::read_index).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// The caller's own mark.
    pub ctx: u64,
    /// Read once this index is applied; `None` when leadership was lost meanwhile.
    pub index: Option<u64>,
}

/// A snapshot to install, and the request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The leader that sent it.
    pub from: ServerId,
    /// The `seq` of its request.
    pub seq: u64,
    /// What it holds; to be stored durably with the state machine.
    pub meta: SnapshotMeta,
}

/// Trouble that the core survived by doing nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The log on disk could not be read. The driver decides whether to step down.
    LogUnreadable(String),
    /// A leader's entries contradict committed ones: two clusters were mixed, or a disk lost writes.
    CommittedConflict {
        /// The leader that sent them.
        from: ServerId,
        /// The first index in conflict.
        index: u64,
    },
}

/// What one write contains, until it is reported as persisted.
#[derive(Debug)]
pub(super) struct WriteMark {
    pub number: u64,
    /// The log was written up to here; lowered when entries are cut before the write is done.
    pub last_index: u64,
}

/// Something that waits for the disk.
#[derive(Debug)]
pub(super) struct Hold {
    /// The write that stores term and vote.
    write: u64,
    /// The log up to here.
    index: u64,
    what: Held,
}

#[derive(Debug)]
pub(super) enum Held {
    OwnVote,
    Message(Outgoing),
}

impl Raft {
    /// The next batch of work, `None` when there is none. To be asked after every call that could
    /// have caused some, until it says `None`.
    pub fn ready(&mut self, now: Duration) -> Option<Ready> {
        self.replicate(now);
        let ready = Ready {
            leadership: self.changed_leadership(),
            write: self.next_write(),
            messages: std::mem::take(&mut self.outbox),
            committed: self.next_committed(),
            reads: std::mem::take(&mut self.answered_reads),
            snapshots_wanted: std::mem::take(&mut self.snapshots_wanted),
            install: self.next_install(),
            fault: self.fault.take(),
        };
        (ready != Ready::default()).then_some(ready)
    }

    /// The write with this number, and all before it, are on disk: an fsync said so.
    pub fn persisted(&mut self, now: Duration, number: u64) {
        self.persisted_write = self.persisted_write.max(number);
        while let Some(write) = self.writes.front()
            && write.number <= number
        {
            self.log.persisted(write.last_index);
            self.writes.pop_front();
        }
        self.apply_stalled = false;
        self.release_held(now);
        self.advance_commit(now);
    }

    /// The state machine has applied everything up to `index`.
    pub fn applied(&mut self, index: u64) {
        self.applied = self.applied.max(index.min(self.handed_out));
    }

    /// Whether there is more to hand out once what was handed out is applied.
    pub fn waits_for_applied(&self) -> bool {
        let more = self.commit.min(self.log.stable()) > self.handed_out || self.install_wanted;
        self.handed_out > self.applied && more
    }

    fn changed_leadership(&mut self) -> Option<Leadership> {
        let now = Leadership {
            role: self.role,
            term: self.term,
            leader: self.leader.clone(),
        };
        if now == self.reported {
            return None;
        }
        self.reported = now.clone();
        Some(now)
    }

    fn next_write(&mut self) -> Option<Write> {
        if !self.hard_dirty && self.reset.is_none() && !self.log.has_unwritten() {
            return None;
        }
        let (truncate_from, entries) = self.log.take_unwritten();
        self.last_write += 1;
        let hard_state = std::mem::take(&mut self.hard_dirty).then(|| HardState {
            term: self.term,
            voted_for: self.voted_for.clone(),
        });
        if hard_state.is_some() {
            self.last_hard_write = self.last_write;
        }
        self.writes.push_back(WriteMark {
            number: self.last_write,
            last_index: self.log.last_index(),
        });
        Some(Write {
            number: self.last_write,
            reset: self.reset.take(),
            truncate_from,
            entries,
            hard_state,
        })
    }

    /// One batch at a time: while the state machine works on it the next one grows.
    fn next_committed(&mut self) -> Vec<Entry> {
        let upto = self.commit.min(self.log.stable());
        let restoring = self.lead.as_ref().is_some_and(|l| l.restoring.is_some());
        let busy = self.handed_out > self.applied || self.installing.is_some() || restoring;
        if busy || self.apply_stalled || upto <= self.handed_out {
            return Vec::new();
        }
        let bytes = self.config.max_apply_bytes;
        match self.log.slice(self.handed_out + 1, upto, usize::MAX, bytes) {
            Ok(entries) => {
                self.handed_out += entries.len() as u64;
                entries
            }
            Err(error) => {
                self.apply_stalled = true;
                self.log_failed(error);
                Vec::new()
            }
        }
    }

    /// Only when the state machine is not at work on entries.
    fn next_install(&mut self) -> Option<Install> {
        if self.handed_out > self.applied || !self.install_wanted {
            return None;
        }
        self.install_wanted = false;
        self.installing.clone()
    }

    /// Sends the message once the present term and vote, and the log up to `index`, are on disk.
    pub(super) fn hold_message(&mut self, index: u64, to: &ServerId, message: Message) {
        let to = to.clone();
        self.hold(index, Held::Message(Outgoing { to, message }));
    }

    pub(super) fn hold(&mut self, index: u64, what: Held) {
        let write = if self.hard_dirty {
            self.last_write + 1
        } else {
            self.last_hard_write
        };
        let done = self.is_done(write, index);
        match what {
            Held::Message(out) if done => self.outbox.push(out),
            what => self.held.push(Hold { write, index, what }),
        }
    }

    fn is_done(&self, write: u64, index: u64) -> bool {
        write <= self.persisted_write && index <= self.log.stable()
    }

    fn release_held(&mut self, now: Duration) {
        let (write, index) = (self.persisted_write, self.log.stable());
        let done = |hold: &mut Hold| hold.write <= write && hold.index <= index;
        let released: Vec<Hold> = self.held.extract_if(.., done).collect();
        for hold in released {
            match hold.what {
                Held::OwnVote => self.own_vote_persisted(now),
                Held::Message(out) => self.outbox.push(out),
            }
        }
    }

    /// A new term begins: what was held for the old one becomes a refusal or nothing.
    pub(super) fn supersede_held(&mut self) {
        let write = self.last_write + 1;
        for mut hold in std::mem::take(&mut self.held) {
            if let Held::Message(out) = &mut hold.what
                && out.message.refuse(self.term)
            {
                (hold.write, hold.index) = (write, 0);
                self.held.push(hold);
            }
        }
    }
}
