//! Raft's promises, checked against what all servers together did.

use std::collections::BTreeMap;

use consul_lite::raft::{Entry, EntryKind};

/// What happened, summed up: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default)]
pub struct Totals {
    pub writes: u64,
    pub index_reads: u64,
    pub lease_reads: u64,
    pub unknown: u64,
    pub elections: u64,
    pub crashes: u64,
    pub snapshots: u64,
    pub conf_changes: u64,
    pub transfers: u64,
    pub messages: u64,
    pub truncations: u64,
    pub disk_failures: u64,
    pub old_peers: u64,
}

impl Totals {
    pub fn add(&mut self, more: &Totals) {
        let pairs = self.fields_mut().into_iter().zip(more.fields());
        pairs.for_each(|(sum, n)| *sum += n);
    }

    fn fields(&self) -> [u64; 13] {
        [
            self.writes,
            self.index_reads,
            self.lease_reads,
            self.unknown,
            self.elections,
            self.crashes,
            self.snapshots,
            self.conf_changes,
            self.transfers,
            self.messages,
            self.truncations,
            self.disk_failures,
            self.old_peers,
        ]
    }

    fn fields_mut(&mut self) -> [&mut u64; 13] {
        [
            &mut self.writes,
            &mut self.index_reads,
            &mut self.lease_reads,
            &mut self.unknown,
            &mut self.elections,
            &mut self.crashes,
            &mut self.snapshots,
            &mut self.conf_changes,
            &mut self.transfers,
            &mut self.messages,
            &mut self.truncations,
            &mut self.disk_failures,
            &mut self.old_peers,
        ]
    }

    /// Over many seeds everything must have happened.
    pub fn assert_not_idle(&self) {
        assert!(
            self.fields().iter().all(|n| *n > 0),
            "something never happened: {self:?}"
        );
    }
}

#[derive(Default)]
pub struct Checker {
    /// Who led each term, and in which of its runs.
    leaders: BTreeMap<u64, (usize, u64)>,
    /// Every entry ever written, by index and term, with the term before it.
    entries: BTreeMap<(u64, u64), (u64, Entry)>,
    /// Every entry ever handed out as committed, and the term in which that was first seen.
    committed: BTreeMap<u64, (Entry, u64)>,
    pub totals: Totals,
}

impl Checker {
    /// Election safety, and leader completeness: `log` gives the term at an index of the new leader's
    /// log, `Ok` for covered by its snapshot.
    pub fn leader(
        &mut self,
        term: u64,
        who: (usize, u64),
        holds: impl Fn(u64, u64) -> bool,
    ) -> Result<(), String> {
        let first = self.leaders.entry(term).or_insert(who);
        if *first != who {
            return Err(format!(
                "term {term} has two leaders: {first:?} and {who:?}"
            ));
        }
        self.totals.elections += 1;
        for (index, (entry, seen_in)) in &self.committed {
            if *seen_in < term && !holds(*index, entry.term) {
                return Err(format!(
                    "{who:?} leads term {term} without entry {index} of term {}, committed",
                    entry.term
                ));
            }
        }
        Ok(())
    }

    /// Log matching: the same index and term mean the same entry and the same history.
    pub fn written(&mut self, before: u64, entry: &Entry) -> Result<(), String> {
        let key = (entry.index, entry.term);
        let seen = self.entries.entry(key);
        let seen = seen.or_insert_with(|| (before, entry.clone()));
        if *seen == (before, entry.clone()) {
            return Ok(());
        }
        Err(format!(
            "logs do not match at {key:?}: {seen:?}, now after term {before}: {entry:?}"
        ))
    }

    /// State machine safety: every server applies the same entry at an index, one after the other.
    pub fn applied(&mut self, applied: u64, term: u64, entry: &Entry) -> Result<(), String> {
        if entry.index != applied + 1 {
            return Err(format!("entry {} applied after {applied}", entry.index));
        }
        let seen = self.committed.entry(entry.index);
        let (first, _) = seen.or_insert_with(|| (entry.clone(), term));
        if first == entry {
            return Ok(());
        }
        Err(format!("two entries committed: {first:?} and {entry:?}"))
    }

    pub fn is_command(entry: &Entry) -> bool {
        entry.kind == EntryKind::Command
    }
}
