//! A server's disk: log, hard state, state machine, each as of its last sync.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use consul_lite::raft::{Entry, EntryKind, HardState, LogError, LogReader, SnapshotMeta, Write};

/// The state machine: registers, each with the index of its last write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub applied: u64,
    pub registers: BTreeMap<u8, (u64, u64)>,
    /// Set when this state came as a snapshot: what the log must continue.
    pub installed: SnapshotMeta,
}

#[derive(Debug, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub base: SnapshotMeta,
    pub entries: BTreeMap<u64, Entry>,
    pub machine: Machine,
    /// Reads of the log fail.
    pub unreadable: bool,
}

impl Disk {
    pub fn write(&mut self, write: &Write) {
        if let Some(base) = &write.reset {
            self.entries.clear();
            self.base = base.clone();
        }
        if let Some(from) = write.truncate_from {
            self.entries.split_off(&from);
        }
        for entry in &write.entries {
            self.entries.insert(entry.index, entry.clone());
        }
        if let Some(hard_state) = &write.hard_state {
            self.hard_state = hard_state.clone();
        }
    }

    /// What precedes the log, as a starting server reads it.
    pub fn starting_base(&self) -> SnapshotMeta {
        let (log, machine) = (&self.base, &self.machine.installed);
        let newer = if machine.index > log.index {
            machine
        } else {
            log
        };
        newer.clone()
    }
}

#[derive(Clone, Default)]
pub struct SharedDisk(pub Arc<Mutex<Disk>>);

impl SharedDisk {
    pub fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.lock().expect("nobody panics with a disk"))
    }

    fn read<T>(&self, f: impl FnOnce(&Disk) -> T) -> Result<T, LogError> {
        self.with(|disk| match disk.unreadable {
            true => Err(LogError("bad sector".to_owned())),
            false => Ok(f(disk)),
        })
    }
}

impl LogReader for SharedDisk {
    fn first_index(&self) -> u64 {
        self.with(|d| d.entries.keys().next().copied().unwrap_or(0))
    }

    fn last_index(&self) -> u64 {
        self.with(|d| d.entries.keys().next_back().copied().unwrap_or(0))
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        self.read(|d| d.entries.get(&index).map(|e| e.term))
    }

    fn entries(&self, lo: u64, hi: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.read(|d| {
            let (mut out, mut bytes) = (Vec::new(), 0);
            for (_, entry) in d.entries.range(lo..=hi) {
                out.push(entry.clone());
                bytes += entry.size();
                if bytes > max_bytes {
                    break;
                }
            }
            out
        })
    }

    fn configurations(&self) -> Result<Vec<Entry>, LogError> {
        self.read(|d| {
            let entries = d.entries.values();
            let entries = entries.filter(|e| e.kind == EntryKind::Configuration);
            entries.cloned().collect()
        })
    }
}
