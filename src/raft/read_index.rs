//! Reads that never touch the log.
//!
//! It holds true: a read is answered only with an index that covers every write acknowledged before the
//! read began. For a consistent read the leader proves, by requests sent after the read began and
//! answered by a quorum, that no other leader has taken over; for a lease read the promise of loyalty
//! behind earlier answers proves it. Leaves waiting for the state machine to the driver.
//! Source: Raft thesis 6.4 (read index) and 6.4.1 (leases).

use std::collections::VecDeque;
use std::time::Duration;

use super::ready::ReadState;
use super::{Error, Raft};

/// Reads waiting for a round of requests to be answered.
#[derive(Default)]
pub(super) struct Reads {
    waiting: VecDeque<Waiting>,
    /// The first number of the round under way. One at a time: who comes later shares the next.
    round: Option<u64>,
}

struct Waiting {
    ctx: u64,
    index: u64,
    /// Answers to requests from this number on count.
    from_seq: u64,
}

impl Reads {
    pub fn into_waiting(self) -> impl Iterator<Item = u64> {
        self.waiting.into_iter().map(|w| w.ctx)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn pop_confirmed(&mut self, reached: u64) -> Option<Waiting> {
        if self.waiting.front()?.from_seq > reached {
            return None;
        }
        self.waiting.pop_front()
    }
}

impl Raft {
    /// A read by lease: it may be answered at once by the state machine as soon as that has applied
    /// the returned index. `None` without a valid lease; use [`Raft::read_index`] then.
    pub fn lease_read(&self, now: Duration) -> Option<u64> {
        let lead = self.lead.as_deref()?;
        let valid = lead.restoring.is_none() && self.lease_until()? > now;
        valid.then_some(self.commit)
    }

    /// A consistent read: [`Ready::reads`](super::Ready::reads) brings `ctx` back with the index to
    /// wait for, after one round of heartbeats shared by all who ask meanwhile.
    pub fn read_index(&mut self, now: Duration, ctx: u64) -> Result<(), Error> {
        let lead = self.leading()?;
        if lead.restoring.is_some() {
            return Err(Error::RestoreInProgress);
        }
        self.check_own_term_committed()?;
        let (index, from_seq) = (self.commit, self.next_seq + 1);
        let Some(lead) = &mut self.lead else {
            return Err(Error::NotLeader(None));
        };
        if lead.reads.len() >= self.config.max_pending_reads {
            return Err(Error::Busy);
        }
        lead.reads.waiting.push_back(Waiting {
            ctx,
            index,
            from_seq,
        });
        self.confirm_reads(now);
        Ok(())
    }

    /// Answers the reads that a quorum has confirmed, and starts a round for the others.
    pub(super) fn confirm_reads(&mut self, now: Duration) {
        let latest = self.members.latest();
        let Some(lead) = &mut self.lead else {
            return;
        };
        if lead.reads.waiting.is_empty() {
            return;
        }
        let acked = |voter: &str| lead.peers.get(voter).map_or(u64::MAX, |p| p.acked_seq);
        let Some(reached) = latest.quorum_value(acked) else {
            return;
        };
        while let Some(read) = lead.reads.pop_confirmed(reached) {
            let index = Some(read.index);
            self.answered_reads.push(ReadState {
                ctx: read.ctx,
                index,
            });
        }
        lead.reads.round.take_if(|first| *first <= reached);
        if !lead.reads.waiting.is_empty() && lead.reads.round.is_none() {
            lead.reads.round = Some(self.next_seq + 1);
            self.send_heartbeats(now);
        }
    }
}
