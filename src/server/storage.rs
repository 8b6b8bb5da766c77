//! The store as the Raft loop needs it: the log's writer and the state machine, each for its own thread.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Instant;

use crate::drive;
use crate::drive::raft::{DiskError, LogWriter, SnapshotSource, StateFile, StateMachine};
use crate::raft::{self, Entry, SnapshotMeta, Write};
use crate::store::snapshot::archive;
use crate::store::{ApplyReply, Fsm, LogStore, State, StoreError};
use crate::structs::Error;

fn disk_error(error: &StoreError) -> DiskError {
    DiskError {
        text: error.to_string(),
    }
}

/// The Raft log's writing side.
pub struct Log(pub LogStore);

impl LogWriter for Log {
    fn write(&mut self, writes: &[Write]) -> Result<(), DiskError> {
        self.0.write(writes).map_err(|e| disk_error(&e))
    }

    fn compaction_due(&self, applied: u64) -> Option<u64> {
        self.0.compaction_due(applied)
    }

    fn compact(&mut self, meta: &SnapshotMeta) -> Result<bool, DiskError> {
        self.0
            .compact_step(meta, meta.index + 1)
            .map_err(|e| disk_error(&e))
    }

    fn shrink(&mut self) -> Result<(), DiskError> {
        self.0.shrink().map_err(|e| disk_error(&e))
    }
}

/// The state machine's writing side.
pub struct Machine {
    /// The state.
    pub fsm: Fsm,
    /// The start of the time that lock-delays are counted in.
    pub clock: Instant,
}

impl StateMachine for Machine {
    type Reply = ApplyReply;

    fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Option<ApplyReply>>, DiskError> {
        let now = drive::now() - self.clock;
        let replies = self.fsm.apply(now, entries).map_err(|e| disk_error(&e))?;
        Ok(replies.into_iter().map(Some).collect())
    }

    fn make_durable(&mut self) -> Result<u64, DiskError> {
        self.fsm.make_durable().map_err(|e| disk_error(&e))
    }

    fn shrink(&mut self, least: u64) -> Result<(), DiskError> {
        match self.fsm.unused_bytes() {
            Ok(unused) if unused < least => Ok(()),
            Ok(_) => self.fsm.shrink().map_err(|e| disk_error(&e)),
            Err(e) => Err(disk_error(&e)),
        }
    }

    fn restore(&mut self, file: File, meta: &SnapshotMeta) -> Result<(), DiskError> {
        self.fsm
            .restore(&mut BufReader::new(file), meta)
            .map_err(|e| disk_error(&e))
    }
}

/// Snapshots of the state for followers.
pub struct Snapshots {
    /// The state's readers.
    pub state: State,
    /// Where they lie until they are sent.
    pub dir: PathBuf,
}

impl SnapshotSource for Snapshots {
    fn take(&self) -> Result<StateFile, DiskError> {
        let snapshot = self.state.snapshot().map_err(|e| disk_error(&e))?;
        let (file, size) = archive::save_state(&snapshot, &self.dir).map_err(|e| disk_error(&e))?;
        Ok(StateFile {
            index: snapshot.index(),
            file,
            size,
        })
    }
}

/// The log could not be read.
pub(super) fn reader_error(error: raft::LogError) -> Error {
    Error::new(error.to_string())
}
