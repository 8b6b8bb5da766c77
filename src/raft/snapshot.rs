//! Snapshots: sending one to a follower, installing one, compacting the log, a user's restore.
//!
//! It holds true: the log never begins before what the state machine's disk holds; while a snapshot is
//! being installed nothing is applied, appended or stood for. Leaves taking, storing and carrying the data
//! to the driver.
//! Source: Raft paper 7; hashicorp/raft's InstallSnapshot and its user restore.

use std::time::Duration;

use super::message::{InstallSnapshot, InstallSnapshotResponse, Message};
use super::progress::Mode;
use super::ready::Install;
use super::types::{LogError, ServerId, SnapshotMeta};
use super::{Error, Raft};

impl Raft {
    /// Describes the state machine as it is after applying `index`; `None` if that is not applied or
    /// lies before the log.
    pub fn snapshot_meta(&self, index: u64) -> Option<SnapshotMeta> {
        if index > self.applied {
            return None;
        }
        let term = self.log.term(index).ok().flatten()?;
        let (configuration_index, configuration) = self.members.at(index).clone();
        Some(SnapshotMeta {
            index,
            term,
            configuration,
            configuration_index,
        })
    }

    /// Forgets the log up to `index`, or less if less is applied. The driver deletes those entries and
    /// stores the returned description in one transaction; `None` if there is nothing to forget. The
    /// state machine must hold `index` durably. How much of the log to keep for followers is the
    /// driver's choice.
    pub fn compact(&mut self, index: u64) -> Option<SnapshotMeta> {
        let index = index.min(self.applied).min(self.log.stable());
        if index <= self.log.base_index() {
            return None;
        }
        let meta = self.snapshot_meta(index)?;
        self.log.compact(meta.index, meta.term);
        self.members.compact(meta.index);
        Some(meta)
    }

    /// The request to go with a snapshot of the state at `index`, for a follower that was named in
    /// [`Ready::snapshots_wanted`](super::Ready::snapshots_wanted). `None` if it no longer needs one, or
    /// `index` is no applied index of the log: then it is asked for again later. The answer comes back
    /// by [`Raft::step`] or [`Raft::rpc_failed`]; one of them must come.
    pub fn send_snapshot(
        &mut self,
        now: Duration,
        to: &ServerId,
        index: u64,
    ) -> Option<InstallSnapshot> {
        let meta = self.snapshot_meta(index);
        let term = self.term;
        let peer = self.lead.as_mut()?.peers.get_mut(to)?;
        if peer.mode != Mode::Snapshot || peer.snapshot.is_some() {
            return None;
        }
        let Some(meta) = meta else {
            peer.snapshot_failed(now);
            return None;
        };
        self.next_seq += 1;
        peer.snapshot = Some((self.next_seq, index));
        Some(InstallSnapshot {
            seq: self.next_seq,
            term,
            last_log_index: meta.index,
            last_log_term: meta.term,
            configuration: meta.configuration,
            configuration_index: meta.configuration_index,
        })
    }

    /// No snapshot could be taken for this follower; it is asked for again later.
    pub fn snapshot_failed(&mut self, now: Duration, to: &ServerId) {
        let lead = self.lead.as_mut();
        if let Some(peer) = lead.and_then(|lead| lead.peers.get_mut(to))
            && peer.mode == Mode::Snapshot
        {
            peer.snapshot_failed(now);
        }
    }

    pub(super) fn on_snapshot_response(
        &mut self,
        now: Duration,
        from: &ServerId,
        m: &InstallSnapshotResponse,
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
        if peer.snapshot_answered(now, m.seq, m.success) {
            self.advance_commit(now);
            self.advance_transfer();
        }
    }

    pub(super) fn on_install_snapshot(
        &mut self,
        now: Duration,
        from: &ServerId,
        m: InstallSnapshot,
    ) {
        if !self.accept_leader(now, from, m.term) {
            self.answer_snapshot(from, m.seq, None);
            return;
        }
        let known = self.knows(m.last_log_index, m.last_log_term);
        let busy = self.disk_failed || self.installing.is_some();
        match known {
            Ok(true) => {
                self.commit = self.commit.max(m.last_log_index);
                self.answer_snapshot(from, m.seq, Some(m.last_log_index));
            }
            Ok(false) if !busy && m.configuration.validate().is_ok() => {
                self.install_wanted = true;
                self.installing = Some(Install {
                    from: from.clone(),
                    seq: m.seq,
                    meta: SnapshotMeta {
                        index: m.last_log_index,
                        term: m.last_log_term,
                        configuration: m.configuration,
                        configuration_index: m.configuration_index,
                    },
                });
            }
            Ok(false) => self.answer_snapshot(from, m.seq, None),
            Err(error) => {
                self.log_failed(error);
                self.answer_snapshot(from, m.seq, None);
            }
        }
    }

    /// Whether the log here holds everything up to a committed entry.
    fn knows(&self, index: u64, term: u64) -> Result<bool, LogError> {
        Ok(index <= self.commit || self.log.term(index)? == Some(term))
    }

    /// Answers yes once everything up to the index is on disk, or no.
    fn answer_snapshot(&mut self, to: &ServerId, seq: u64, upto: Option<u64>) {
        let response = InstallSnapshotResponse {
            seq,
            term: self.term,
            success: upto.is_some(),
        };
        let message = Message::InstallSnapshotResponse(response);
        self.hold_message(upto.unwrap_or(0), to, message);
    }

    /// The snapshot of [`Ready::install`](super::Ready::install) is in place, durably, or it is not and
    /// the state machine is as before.
    pub fn snapshot_installed(&mut self, _now: Duration, ok: bool) {
        let Some(Install { from, seq, meta }) = self.installing.take() else {
            return;
        };
        self.install_wanted = false;
        if !ok {
            self.answer_snapshot(&from, seq, None);
            return;
        }
        let index = meta.index;
        self.start_after(meta);
        self.answer_snapshot(&from, seq, Some(index));
    }

    /// The state machine now holds `meta`; the log begins there.
    fn start_after(&mut self, meta: SnapshotMeta) {
        let index = meta.index;
        self.members = super::membership::Membership::new(
            meta.configuration_index,
            meta.configuration.clone(),
        );
        self.log.reset(&meta);
        for write in &mut self.writes {
            write.last_index = index;
        }
        self.reset = Some(meta);
        self.commit = index;
        self.handed_out = index;
        self.applied = index;
    }

    /// Prepares replacing the state machine of the whole cluster by an archive whose own index is
    /// given. Until [`Raft::finish_restore`] nothing is proposed, applied or read. Proposals not applied
    /// by then are lost and must be told so.
    pub fn begin_restore(&mut self, archive_index: u64) -> Result<SnapshotMeta, Error> {
        self.check_proposals()?;
        self.check_own_term_committed()?;
        if self.members.latest_index() > self.commit {
            return Err(Error::ConfChangeInProgress);
        }
        let meta = SnapshotMeta {
            index: archive_index.max(self.log.last_index()).saturating_add(1),
            term: self.term,
            configuration: self.members.latest().clone(),
            configuration_index: self.members.latest_index(),
        };
        if let Some(lead) = &mut self.lead {
            lead.restoring = Some(meta.clone());
        }
        Ok(meta)
    }

    /// The state machine holds the archive as of the [`SnapshotMeta`] given out, durably and with it;
    /// or it does not and is as before. The gap left in the log makes every follower ask for a
    /// snapshot next. If leadership was lost meanwhile this changes nothing here: the driver starts a
    /// new core from its disk.
    pub fn finish_restore(&mut self, ok: bool) -> Result<(), Error> {
        let Some(lead) = &mut self.lead else {
            return Err(Error::NotLeader(self.leader.clone()));
        };
        if let Some(meta) = lead.restoring.take()
            && ok
        {
            for peer in lead.peers.values_mut() {
                peer.start_over(meta.index + 1);
            }
            self.start_after(meta);
        }
        Ok(())
    }
}
