//! What can go wrong in the store, told apart by what the server must do about it.
//!
//! A command that is refused by the state machine is no error of the store: it is a reply
//! ([`ApplyReply::Error`](super::ApplyReply)). These errors are about the disk, and about reads whose
//! question itself is wrong.
//! Source: SQLite's documentation, "Result and Error Codes".

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::structs;

/// Why the store could not do it. Whatever was begun is rolled back: the state is as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No space left on the device. The server steps down, keeps serving stale reads, and may try the
    /// same call again.
    DiskFull(String),
    /// The device failed to read or write, or the file may not be opened. Handled as `DiskFull`.
    Io(String),
    /// The file is damaged: which one, and the way out. Trying again is of no use.
    Corrupt(String),
    /// The files belong to another version or do not fit each other: why, and the way out.
    Unusable(String),
    /// The question itself is wrong; the user reads this text (Consul's words).
    Invalid(structs::Error),
}

impl StoreError {
    /// Whether the same call may succeed later without anybody touching the files.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::DiskFull(_) | StoreError::Io(_))
    }

    /// Wraps what SQLite said, naming the file it said it about.
    pub(super) fn sqlite(path: &Path, error: rusqlite::Error) -> StoreError {
        let name = path.display();
        let (code, extended) = match &error {
            rusqlite::Error::SqliteFailure(e, _) => (e.code, e.extended_code),
            _ => return StoreError::corrupt(path, &error.to_string()),
        };
        let _ = extended;
        match code {
            ErrorCode::DiskFull => StoreError::DiskFull(format!("{name}: {error}")),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                StoreError::corrupt(path, &error.to_string())
            }
            _ => StoreError::Io(format!("{name}: {error}")),
        }
    }

    /// A damaged file, and what to do about it.
    pub(super) fn corrupt(path: &Path, what: &str) -> StoreError {
        let way_out = match path.file_name().and_then(|n| n.to_str()) {
            Some(super::STATE_DB) => {
                "stop the server, remove this file with its -wal and -shm beside it, and start again: \
                 the state is rebuilt from the Raft log where that still begins at index 1, or comes \
                 from another server; else restore a snapshot"
            }
            _ => {
                "stop the server, move the raft directory away, start again and restore a snapshot, or \
                 let the server join the other servers anew"
            }
        };
        StoreError::Corrupt(format!("{} is damaged ({what}); {way_out}", path.display()))
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::DiskFull(t) => write!(f, "no space left for the state store: {t}"),
            StoreError::Io(t) => write!(f, "state store input/output failed: {t}"),
            StoreError::Corrupt(t) | StoreError::Unusable(t) => f.write_str(t),
            StoreError::Invalid(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for structs::Error {
    fn from(e: StoreError) -> structs::Error {
        match e {
            StoreError::Invalid(e) => e,
            other => structs::Error::from(other.to_string()),
        }
    }
}

/// A file and the errors about it: what every part of the store carries to name its file.
#[derive(Clone, Debug)]
pub(super) struct Named(pub PathBuf);

impl Named {
    /// For `map_err`.
    pub fn err(&self) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
        |e| StoreError::sqlite(&self.0, e)
    }
}
