//! The store: the only room that knows SQLite.
//!
//! Two databases in one directory. `raft.db` holds the Raft log and the hard state, synced at every
//! write. `state.db` holds the replicated state, the applied index in the same transaction as the
//! change; its last transactions may be lost with the power and are then applied again from the log, so
//! the log may be cut only up to [`Fsm::durable_index`].
//!
//! ```text
//! open(dir, Options) -> (LogStore, Fsm, State)
//! log.write(&[Write])                 one transaction, one sync         (the log's thread)
//! log.reader() -> RaftLog             what the Raft core reads old entries with
//! log.compact(&meta, keep_from)       after fsm.make_durable()
//! fsm.apply(now, &[Entry])            one transaction; wakes blocked queries   (the state's thread)
//! fsm.restore(&mut state_bin, &meta)  replaces everything; all blocked queries return
//! state.read()? -> Read               one consistent view; its methods mirror Consul's state store
//! watch_set.changed(&state).await     until something that was read changes
//! state.snapshot()? -> Snapshot       a consistent view to write an archive from
//! ```
//!
//! Leaves to others: what is proposed and when (`server`), threads and time (`drive`).
//! Source: `docs/design/house.md` sections 2 and 3, `docs/reference/raft.md` sections 7 to 9.

mod db;
mod error;
mod fsm;
mod hot;
mod lock_delay;
mod log;
pub mod snapshot;
mod state;
mod watch;

use std::fs::File;
use std::path::Path;

pub use error::StoreError;
pub use fsm::{ApplyReply, Fsm};
pub use lock_delay::LockDelay;
pub use log::{LogLimits, LogStore, RaftLog};
pub use state::{AclObject, Listed, Read, State, View};
pub use watch::{Changed, WatchSet};

/// Name of the database of log and hard state.
pub const RAFT_DB: &str = "raft.db";
/// Name of the database of the replicated state.
pub const STATE_DB: &str = "state.db";
/// Name of the file whose lock says that a process uses the directory.
const LOCK: &str = "store.lock";

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// False for a state that need not survive the machine (`-dev`): nothing is ever synced.
    pub durable: bool,
    /// Page cache of the two writers together, in KiB.
    pub writer_cache_kib: u32,
    /// Page cache of each reader, in KiB.
    pub reader_cache_kib: u32,
    /// Readers at the same time; one more waits. As many as threads that read.
    pub readers: usize,
    /// When the log is due for cutting.
    pub log_limits: LogLimits,
    /// The SQLite VFS to open files with, for tests of failing disks.
    pub vfs: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durable: true,
            writer_cache_kib: 768,
            reader_cache_kib: 256,
            readers: 4,
            log_limits: LogLimits::default(),
            vfs: None,
        }
    }
}

/// Opens (or creates) the store in `dir`, which must exist.
///
/// A lost or damaged `state.db` is begun anew when the log still holds everything from index 1: the
/// caller sees it in [`Fsm::applied_index`] and applies the log again. A restore that a crash
/// interrupted after `state.db` was replaced is completed in the log.
///
/// # Errors
/// [`StoreError::Unusable`] when another process uses the directory or the files do not fit each
/// other, [`StoreError::Corrupt`] for a damaged file, with the way out; else the disk's errors.
pub fn open(dir: &Path, options: Options) -> Result<(LogStore, Fsm, State), StoreError> {
    let lock = lock(dir)?;
    let mut log = LogStore::open(&dir.join(RAFT_DB), &options, lock)?;
    let (fsm, state) = open_state(dir, &options, &log)?;
    if let Some(restored) = fsm.restored()
        && restored.index > log.snapshot_meta().index
    {
        log.install(restored)?;
    }
    let (applied, base) = (fsm.applied_index(), log.snapshot_meta().index);
    let whole = log.first_index() <= applied + 1;
    if applied < base || (log.first_index() > 0 && !whole) {
        return Err(StoreError::Unusable(format!(
            "{} ends at index {applied}, but {} begins after index {}; restore both from one backup, or \
             move both away, start again and restore a snapshot",
            dir.join(STATE_DB).display(),
            dir.join(RAFT_DB).display(),
            base.max(log.first_index().saturating_sub(1)),
        )));
    }
    if applied > log.last_index().max(base) {
        return Err(StoreError::Unusable(format!(
            "{} is at index {applied}, but {} ends at index {}; restore both from one backup, or move \
             both away, start again and restore a snapshot",
            dir.join(STATE_DB).display(),
            dir.join(RAFT_DB).display(),
            log.last_index().max(base),
        )));
    }
    Ok((log, fsm, state))
}

fn open_state(dir: &Path, options: &Options, log: &LogStore) -> Result<(Fsm, State), StoreError> {
    let path = dir.join(STATE_DB);
    match Fsm::open(&path, options) {
        Err(StoreError::Corrupt(why)) if log.is_whole() => {
            ::log::warn!("store: {why}");
            let aside = dir.join(format!("{STATE_DB}.damaged"));
            ::log::warn!(
                "store: the log is whole: moving the file to {} and applying the log again",
                aside.display()
            );
            let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", path.display()));
            std::fs::rename(&path, &aside).map_err(io)?;
            for suffix in ["-wal", "-shm"] {
                match std::fs::remove_file(dir.join(format!("{STATE_DB}{suffix}"))) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
                    _ => {}
                }
            }
            Fsm::open(&path, options)
        }
        other => other,
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", path.display()));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "{} is in use by another process; stop that one or choose another data directory",
            dir.display()
        ))),
        Err(std::fs::TryLockError::Error(e)) => Err(io(e)),
    }
}
