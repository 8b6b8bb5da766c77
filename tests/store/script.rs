//! A scripted life of a store, and what must be there whenever it ends.
//!
//! The script appends in batches, applies behind, replaces a tail of the log as a new leader does, votes,
//! syncs the state, cuts the log, shrinks both files and restores a snapshot once. [`Run`] keeps what was
//! acknowledged and, while a step is under way, what it would make of that: after a power cut the log must be
//! the one or the other, and the state that of a twin which never lost anything.

use std::time::Duration;

use consul_lite::raft::{Entry, HardState, LogReader as _, SnapshotMeta, Write};
use consul_lite::store::{self, Fsm, LogStore, Options, State, StoreError};

use crate::commands::{entry, kvs, node, session, uuid};
use crate::disk::VFS;
use crate::support::Dir;

/// One step of a life.
#[derive(Clone, Debug)]
pub enum Step {
    /// Appends so many entries in one write, perhaps with a new term and vote.
    Append { entries: usize, vote: bool },
    /// Replaces what is not applied by one entry of a new term.
    Replace,
    /// Applies this many more entries, as far as there are.
    Apply(usize),
    /// Syncs the state and cuts the log up to there, keeping so many entries.
    Cut { keep: u64 },
    /// Gives space back.
    Shrink,
    /// Replaces the state by a snapshot far ahead.
    Restore,
}

/// A short life with every kind of step, drawn from a seed.
pub fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut out = vec![Step::Append {
        entries: 3,
        vote: true,
    }];
    for n in 0..steps {
        out.push(match random.u8(0..12) {
            _ if n == steps / 2 => Step::Restore,
            0..=4 => Step::Append {
                entries: random.usize(1..6),
                vote: random.u8(0..4) == 0,
            },
            5..=7 => Step::Apply(random.usize(1..8)),
            8 => Step::Replace,
            9 | 10 => Step::Cut {
                keep: random.u64(0..6),
            },
            _ => Step::Shrink,
        });
    }
    out
}

/// The log as it must be found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogModel {
    entries: Vec<Entry>,
    hard: HardState,
    base: SnapshotMeta,
}

impl LogModel {
    fn last_index(&self) -> u64 {
        self.entries.last().map_or(self.base.index, |e| e.index)
    }

    fn apply(&mut self, w: &Write) {
        if let Some(base) = &w.reset {
            (self.base, self.entries) = (base.clone(), Vec::new());
        }
        if let Some(from) = w.truncate_from {
            self.entries.retain(|e| e.index < from);
        }
        self.entries.extend(w.entries.iter().cloned());
        if let Some(hard) = &w.hard_state {
            self.hard = hard.clone();
        }
    }
}

/// The three parts of an open store.
pub struct Open {
    pub log: LogStore,
    pub fsm: Fsm,
    pub state: State,
}

/// Opens on the failing disk.
pub fn open(dir: &std::path::Path) -> Result<Open, StoreError> {
    let options = Options {
        vfs: Some(VFS.to_owned()),
        ..Options::default()
    };
    let (log, fsm, state) = store::open(dir, options)?;
    Ok(Open { log, fsm, state })
}

/// The whole state as Consul writes it into a snapshot.
pub fn state_bytes(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    state.snapshot().unwrap().write_state(&mut out).unwrap();
    out
}

/// A life in progress.
pub struct Run {
    pub log: LogModel,
    /// What the step under way makes of the log.
    next: Option<LogModel>,
    /// The last index that was given to the state machine.
    committed: u64,
    /// What was applied, with restores in between, for the twin.
    history: Vec<Applied>,
    restoring: Option<SnapshotMeta>,
    random: fastrand::Rng,
    value_bytes: usize,
}

enum Applied {
    Entries(Vec<Entry>),
    Restore(SnapshotMeta),
}

impl Run {
    /// A new life; the seed draws the commands.
    pub fn new(seed: u64, value_bytes: usize) -> Run {
        Run {
            log: LogModel::default(),
            next: None,
            committed: 0,
            history: Vec::new(),
            restoring: None,
            random: fastrand::Rng::with_seed(seed),
            value_bytes,
        }
    }

    fn command(&mut self) -> Vec<u8> {
        let r = &mut self.random;
        let key = format!("k/{}", r.u8(0..12));
        let value: Vec<u8> = (0..self.value_bytes).map(|_| r.u8(..)).collect();
        match r.u8(0..10) {
            0..=5 => kvs("set", &key, &value),
            6 => kvs("delete", &key, b""),
            7 => node(&format!("n{}", r.u8(0..3)), &format!("10.0.0.{}", r.u8(..))),
            8 => session("create", &uuid(r.u64(0..6)), "n1"),
            _ => session("destroy", &uuid(r.u64(0..6)), "n1"),
        }
        .bytes()
    }

    fn append(&mut self, entries: usize, term: u64) -> Vec<Entry> {
        let last = self.log.last_index();
        (1..=entries as u64)
            .map(|n| entry(last + n, term, self.command()))
            .collect()
    }

    /// The write of a step that changes the log, `None` for other steps.
    fn write(&mut self, step: &Step) -> Option<Write> {
        let mut w = Write::default();
        let term = self.log.hard.term;
        match step {
            Step::Append { entries, vote } => {
                let term = term + u64::from(*vote);
                w.entries = self.append(*entries, term.max(1));
                w.hard_state = vote.then(|| HardState {
                    term,
                    voted_for: Some("a".into()),
                });
            }
            Step::Replace => {
                let from = self.committed.max(self.log.base.index) + 1;
                w.truncate_from = Some(from);
                w.entries = vec![entry(from, term + 1, self.command())];
                w.hard_state = Some(HardState {
                    term: term + 1,
                    voted_for: None,
                });
            }
            _ => return None,
        }
        Some(w)
    }

    /// Carries out a step, calling each of the store's functions through `attempt`, which may repeat it;
    /// the first error that `attempt` gives up with.
    pub fn step(
        &mut self,
        open: &mut Open,
        step: &Step,
        mut attempt: impl FnMut(
            &mut Open,
            &mut dyn FnMut(&mut Open) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if let Some(w) = self.write(step) {
            let mut next = self.log.clone();
            next.apply(&w);
            self.next = Some(next.clone());
            attempt(open, &mut |o| o.log.write(std::slice::from_ref(&w)))?;
            (self.log, self.next) = (next, None);
            return Ok(());
        }
        match step {
            Step::Apply(count) => {
                let unapplied = self.log.entries.iter().filter(|e| e.index > self.committed);
                let batch: Vec<Entry> = unapplied.take(*count).cloned().collect();
                self.committed = batch.last().map_or(self.committed, |e| e.index);
                self.history.push(Applied::Entries(batch.clone()));
                attempt(open, &mut |o| {
                    o.fsm.apply(Duration::ZERO, &batch).map(|_| ())
                })
            }
            Step::Cut { keep } => self.cut(open, *keep, attempt),
            Step::Shrink => {
                attempt(open, &mut |o| o.fsm.shrink())?;
                attempt(open, &mut |o| o.log.shrink())
            }
            Step::Restore => {
                let meta = SnapshotMeta {
                    index: self.log.last_index() + 100,
                    term: self.log.hard.term,
                    ..SnapshotMeta::default()
                };
                self.restoring = Some(meta.clone());
                attempt(open, &mut |o| {
                    o.fsm.restore(&mut snapshot().as_slice(), &meta)
                })?;
                let mut next = self.log.clone();
                (next.base, next.entries) = (meta.clone(), Vec::new());
                self.next = Some(next.clone());
                attempt(open, &mut |o| o.log.install(&meta))?;
                (self.log, self.next) = (next, None);
                self.restored(&meta);
                Ok(())
            }
            Step::Append { .. } | Step::Replace => unreachable!("they write"),
        }
    }

    fn restored(&mut self, meta: &SnapshotMeta) {
        self.restoring = None;
        self.committed = meta.index;
        self.history.push(Applied::Restore(meta.clone()));
    }

    fn cut(
        &mut self,
        open: &mut Open,
        keep: u64,
        mut attempt: impl FnMut(
            &mut Open,
            &mut dyn FnMut(&mut Open) -> Result<(), StoreError>,
        ) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        attempt(open, &mut |o| o.fsm.make_durable().map(|_| ()))?;
        let durable = open.fsm.durable_index();
        let from = (durable + 1).saturating_sub(keep);
        if durable == 0 || self.log.entries.first().is_none_or(|e| e.index >= from) {
            return Ok(());
        }
        let meta = SnapshotMeta {
            index: durable,
            term: open.fsm.applied_term(),
            ..SnapshotMeta::default()
        };
        let mut next = self.log.clone();
        next.entries.retain(|e| e.index >= from);
        next.base = meta.clone();
        self.next = Some(next.clone());
        attempt(open, &mut |o| o.log.compact(&meta, from))?;
        (self.log, self.next) = (next, None);
        Ok(())
    }

    /// Checks a store that was opened after the life was cut off, and goes on from what is found: what was
    /// acknowledged is there, what was under way happened wholly or not at all, and the state after applying
    /// what was committed is the twin's.
    pub fn verify(&mut self, open: &mut Open) -> Result<(), String> {
        if let Some(meta) = self.restoring.take()
            && open.fsm.restored() == Some(&meta)
        {
            // The restore was durable: opening completed it in the log.
            (self.log.base, self.log.entries) = (meta.clone(), Vec::new());
            self.next = None;
            self.restored(&meta);
        }
        let found = found(open)?;
        match &self.next {
            Some(next) if found == *next => self.log = next.clone(),
            _ if found == self.log => {}
            next => {
                return Err(format!(
                    "log found: {}\nacknowledged: {}\nunder way: {:?}",
                    brief(&found),
                    brief(&self.log),
                    next.as_ref().map(brief)
                ));
            }
        }
        self.next = None;
        let applied = open.fsm.applied_index();
        if applied > self.committed {
            return Err(format!("applied {applied} of {}", self.committed));
        }
        let missing: Vec<Entry> = self
            .log
            .entries
            .iter()
            .filter(|e| e.index > applied && e.index <= self.committed)
            .cloned()
            .collect();
        open.fsm
            .apply(Duration::ZERO, &missing)
            .map_err(|e| e.to_string())?;
        if open.fsm.applied_index() != self.committed {
            let applied = open.fsm.applied_index();
            return Err(format!("state ends at {applied} of {}", self.committed));
        }
        if state_bytes(&open.state) != self.twin() {
            return Err("the state is not the twin's".to_owned());
        }
        Ok(())
    }

    /// The state of a store that lived the same life on a sound disk, as one entry per transaction.
    fn twin(&self) -> Vec<u8> {
        let dir = Dir::new();
        let options = Options {
            durable: false,
            ..Options::default()
        };
        let (_log, mut fsm, state) = store::open(dir.path(), options).unwrap();
        for part in &self.history {
            match part {
                Applied::Entries(entries) => {
                    for e in entries {
                        fsm.apply(Duration::ZERO, std::slice::from_ref(e)).unwrap();
                    }
                }
                Applied::Restore(meta) => {
                    fsm.restore(&mut snapshot().as_slice(), meta).unwrap();
                }
            }
        }
        state_bytes(&state)
    }
}

fn brief(log: &LogModel) -> String {
    let all: Vec<_> = log.entries.iter().map(|e| (e.index, e.term)).collect();
    format!("{all:?} {:?} after {}", log.hard, log.base.index)
}

/// The log as it lies there.
fn found(open: &Open) -> Result<LogModel, String> {
    let reader = open.log.reader().map_err(|e| e.to_string())?;
    let entries = match (reader.first_index(), reader.last_index()) {
        (0, _) => Vec::new(),
        (lo, hi) => reader
            .entries(lo, hi, usize::MAX)
            .map_err(|e| e.to_string())?,
    };
    Ok(LogModel {
        entries,
        hard: open.log.hard_state().clone(),
        base: open.log.snapshot_meta().clone(),
    })
}

/// A small snapshot's state.
fn snapshot() -> Vec<u8> {
    let dir = Dir::new();
    let options = Options {
        durable: false,
        ..Options::default()
    };
    let (_log, mut fsm, state) = store::open(dir.path(), options).unwrap();
    let entries = [
        node("n1", "10.9.9.9").entry(1, 1),
        kvs("set", "restored", b"yes").entry(2, 1),
        kvs("set", "k/3", b"from the snapshot").entry(3, 1),
        session("create", &uuid(99), "n1").entry(4, 1),
    ];
    fsm.apply(Duration::ZERO, &entries).unwrap();
    state_bytes(&state)
}
