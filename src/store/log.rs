//! The Raft log and the hard state in `raft.db`.
//!
//! Holds true: what [`LogStore::write`] returned for is on disk (one transaction and one sync per call,
//! however many writes it carries); entries are read back as they were written; cutting the log leaves
//! the description of what it begins after ([`SnapshotMeta`]) in the same transaction.
//! Pages of 1 KiB and a table keyed by the index were the layout with the fewest bytes written both for
//! single commits and for batches of 64 (`docs/design/store.md`).
//! Source: Raft paper, figure 2 (persistent state); thesis 5.1 (what is kept when a log is cut).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::{self, Db, Settings};
use super::error::StoreError;
use super::{Options, snapshot};
use crate::atomic::AtomicU64;
use crate::raft::{
    Configuration, Entry, EntryKind, HardState, LogError, LogReader, SnapshotMeta, Write,
};
use crate::wire::msgpack;

const SCHEMA: &str = "
CREATE TABLE log (
    idx  INTEGER PRIMARY KEY,
    term INTEGER NOT NULL,
    type INTEGER NOT NULL,
    data BLOB,
    ext  BLOB
) STRICT;
CREATE INDEX log_configuration ON log (idx) WHERE type = 5;
CREATE TABLE hard (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    term                INTEGER NOT NULL,
    voted_for           TEXT,
    snapshot_index      INTEGER NOT NULL,
    snapshot_term       INTEGER NOT NULL,
    configuration       BLOB NOT NULL,
    configuration_index INTEGER NOT NULL
) STRICT;
INSERT INTO hard VALUES (1, 0, NULL, 0, 0, x'', 0);
";

/// When the log is due for cutting, and how much of it stays for followers that lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Entries beyond `keep_entries` that make cutting due (Consul: 16384).
    pub max_entries: u64,
    /// Bytes of payload that make cutting due.
    pub max_bytes: u64,
    /// Entries that stay (Consul: 10240), as far as they fit into half of `max_bytes`.
    pub keep_entries: u64,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits {
            max_entries: 16_384,
            max_bytes: 16 << 20,
            keep_entries: 10_240,
        }
    }
}

/// Entries forgotten in one transaction.
const COMPACTION_STEP: u64 = 2048;

/// Bounds of the log, shared with its readers.
#[derive(Debug, Default)]
struct Bounds {
    first: AtomicU64,
    last: AtomicU64,
}

/// The writing side of the log; owned by one thread.
#[derive(Debug)]
pub struct LogStore {
    db: Db,
    bounds: Arc<Bounds>,
    hard: HardState,
    meta: SnapshotMeta,
    /// Bytes of payload in the log.
    bytes: u64,
    limits: LogLimits,
    vfs: Option<String>,
    path: PathBuf,
    /// Held for as long as the log is open.
    _lock: File,
}

impl LogStore {
    pub(super) fn open(path: &Path, options: &Options, lock: File) -> Result<LogStore, StoreError> {
        let settings = Settings {
            page_size: 1024,
            cache_kib: options.writer_cache_kib / 3,
            synchronous: if options.durable { "FULL" } else { "OFF" },
            application_id: 0x434c_5246,
            user_version: 1,
            schema: SCHEMA,
            checkpoint_pages: 4096,
            vfs: options.vfs.clone(),
        };
        let db = Db::open(path.to_owned(), &settings)?;
        let mut log = LogStore {
            db,
            bounds: Arc::default(),
            hard: HardState::default(),
            meta: SnapshotMeta::default(),
            bytes: 0,
            limits: options.log_limits,
            vfs: options.vfs.clone(),
            path: path.to_owned(),
            _lock: lock,
        };
        log.load()?;
        Ok(log)
    }

    /// Reads everything kept in memory anew.
    fn load(&mut self) -> Result<(), StoreError> {
        let err = self.db.name.err();
        let (first, last, bytes) = self
            .db
            .conn
            .query_row(
                "SELECT coalesce(min(idx), 0), coalesce(max(idx), 0),
                        coalesce(sum(length(data) + coalesce(length(ext), 0)), 0) FROM log",
                [],
                |r| Ok((get_u64(r, 0)?, get_u64(r, 1)?, get_u64(r, 2)?)),
            )
            .map_err(&err)?;
        let (hard, meta) = self
            .db
            .conn
            .query_row(
                "SELECT term, voted_for, snapshot_index, snapshot_term, configuration,
                        configuration_index FROM hard",
                [],
                read_hard,
            )
            .map_err(&err)?;
        let meta = meta.map_err(|e| StoreError::corrupt(&self.path, &e))?;
        self.bounds.first.store(first, Ordering::Release);
        self.bounds.last.store(last, Ordering::Release);
        (self.hard, self.meta, self.bytes) = (hard, meta, bytes);
        Ok(())
    }

    /// Term and vote as last written.
    pub fn hard_state(&self) -> &HardState {
        &self.hard
    }

    /// What the log begins after; index 0 when it was never cut.
    pub fn snapshot_meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// First index held, 0 when the log is empty.
    pub fn first_index(&self) -> u64 {
        self.bounds.first.load(Ordering::Acquire)
    }

    /// Last index held, 0 when the log is empty.
    pub fn last_index(&self) -> u64 {
        self.bounds.last.load(Ordering::Acquire)
    }

    /// Whether the log still holds everything since the beginning, so that the state can be rebuilt.
    pub fn is_whole(&self) -> bool {
        self.meta.index == 0 && self.first_index() <= 1
    }

    /// Bytes of payload in the log.
    pub fn payload_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that `raft.db` and its write-ahead log take on disk.
    pub fn size_bytes(&self) -> u64 {
        self.db.size_bytes()
    }

    /// Carries out writes of the Raft core in their order: one transaction and one sync. On an error
    /// nothing of it is done, and the same call may be tried again.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let name = self.db.name.clone();
        let done = self.db.transaction(|conn| {
            for w in writes {
                carry_out(conn, w).map_err(name.err())?;
            }
            Ok(())
        });
        done?;
        if writes
            .iter()
            .any(|w| w.truncate_from.is_some() || w.reset.is_some())
        {
            return self.load();
        }
        for w in writes {
            if let Some(hard) = &w.hard_state {
                self.hard = hard.clone();
            }
            self.note_appended(&w.entries);
        }
        Ok(())
    }

    fn note_appended(&mut self, entries: &[Entry]) {
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            if self.first_index() == 0 {
                self.bounds.first.store(first.index, Ordering::Release);
            }
            self.bounds.last.store(last.index, Ordering::Release);
        }
        self.bytes += entries.iter().map(payload).sum::<u64>();
    }

    /// The first index to keep when the log is cut now, given what the state holds durably; `None`
    /// when no cut is due.
    pub fn compaction_due(&self, applied: u64) -> Option<u64> {
        let first = self.first_index();
        let entries = (self.last_index() + 1).saturating_sub(first);
        let over = entries > self.limits.max_entries + self.limits.keep_entries
            || self.bytes > self.limits.max_bytes;
        if !over || first == 0 || applied < first {
            return None;
        }
        // Entries are taken to be of even size: the bound is on the sum, not on each.
        let average = (self.bytes / entries.max(1)).max(1);
        let keep = self
            .limits
            .keep_entries
            .min(self.limits.max_bytes / 2 / average)
            .max(1);
        let from = (applied + 1).min((self.last_index() + 1).saturating_sub(keep));
        (from > first).then_some(from)
    }

    /// Forgets every entry before `keep_from`, and remembers `meta`, which describes an index that the
    /// state holds durably and that is not before `keep_from - 1`.
    ///
    /// # Errors
    /// The disk's; nothing is cut then.
    pub fn compact(&mut self, meta: &SnapshotMeta, keep_from: u64) -> Result<(), StoreError> {
        while self.compact_step(meta, keep_from)? {}
        Ok(())
    }

    /// As [`compact`](Self::compact), but only so many entries that writes need not wait long for it; whether
    /// there are more to forget.
    ///
    /// # Errors
    /// The disk's; nothing is cut then.
    pub fn compact_step(
        &mut self,
        meta: &SnapshotMeta,
        keep_from: u64,
    ) -> Result<bool, StoreError> {
        let (first, keep_from) = (self.first_index(), keep_from.min(meta.index + 1));
        // The log may have been replaced since the first step.
        if first == 0 || first >= keep_from || meta.index < self.meta.index {
            return Ok(false);
        }
        let upto = keep_from.min(first + COMPACTION_STEP);
        let name = self.db.name.clone();
        let freed = self.db.transaction(|conn| {
            write_meta(conn, meta).map_err(name.err())?;
            conn.prepare_cached(
                "SELECT coalesce(sum(length(data) + coalesce(length(ext), 0)), 0) FROM log
                 WHERE idx < ?1",
            )
            .and_then(|mut s| s.query_row([upto as i64], |r| get_u64(r, 0)))
            .and_then(|freed| {
                conn.prepare_cached("DELETE FROM log WHERE idx < ?1")?
                    .execute([upto as i64])?;
                Ok(freed)
            })
            .map_err(name.err())
        })?;
        self.meta = meta.clone();
        self.bytes = self.bytes.saturating_sub(freed);
        let first = self.lowest()?;
        self.bounds.first.store(first, Ordering::Release);
        if first == 0 {
            self.bounds.last.store(0, Ordering::Release);
        }
        Ok(first > 0 && first < keep_from)
    }

    fn lowest(&self) -> Result<u64, StoreError> {
        self.db
            .conn
            .prepare_cached("SELECT coalesce(min(idx), 0) FROM log")
            .and_then(|mut s| s.query_row([], |r| get_u64(r, 0)))
            .map_err(self.db.name.err())
    }

    /// Empties the log: the state now comes from the snapshot that `meta` describes. To be called after
    /// [`Fsm::restore`](super::Fsm::restore); after a crash in between, [`open`](super::open) does it.
    ///
    /// # Errors
    /// The disk's; the log is as before.
    pub fn install(&mut self, meta: &SnapshotMeta) -> Result<(), StoreError> {
        let name = self.db.name.clone();
        self.db.transaction(|conn| {
            write_meta(conn, meta)
                .and_then(|()| conn.execute("DELETE FROM log", []))
                .map_err(name.err())
        })?;
        self.meta = meta.clone();
        self.bytes = 0;
        self.bounds.first.store(0, Ordering::Release);
        self.bounds.last.store(0, Ordering::Release);
        Ok(())
    }

    /// Gives space back after a burst: the write-ahead log is carried over and cut, free pages go back
    /// to the file system. Writes nothing when there is nothing to give back.
    ///
    /// # Errors
    /// The disk's; no entry is touched.
    pub fn shrink(&mut self) -> Result<(), StoreError> {
        self.db.shrink()
    }

    /// A second way into the log, for the Raft core: a connection of its own that only reads.
    ///
    /// # Errors
    /// The disk's.
    pub fn reader(&self) -> Result<RaftLog, StoreError> {
        Ok(RaftLog {
            conn: db::open_reader(&self.path, 64, self.vfs.as_deref())?,
            bounds: self.bounds.clone(),
        })
    }
}

fn payload(e: &Entry) -> u64 {
    (e.data.len() + e.extensions.len()) as u64
}

fn get_u64(r: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    r.get::<_, i64>(at).map(|n| n as u64)
}

fn carry_out(conn: &Connection, w: &Write) -> rusqlite::Result<()> {
    if let Some(meta) = &w.reset {
        write_meta(conn, meta)?;
        conn.execute("DELETE FROM log", [])?;
    }
    if let Some(from) = w.truncate_from {
        conn.prepare_cached("DELETE FROM log WHERE idx >= ?1")?
            .execute([from as i64])?;
    }
    if !w.entries.is_empty() {
        let mut insert = conn.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for e in &w.entries {
            let ext = (!e.extensions.is_empty()).then_some(e.extensions.as_slice());
            insert.execute(params![
                e.index as i64,
                e.term as i64,
                e.kind as u8,
                e.data.as_ref(),
                ext
            ])?;
        }
    }
    if let Some(hard) = &w.hard_state {
        conn.prepare_cached("UPDATE hard SET term = ?1, voted_for = ?2")?
            .execute(params![hard.term as i64, hard.voted_for.as_deref()])?;
    }
    Ok(())
}

fn write_meta(conn: &Connection, meta: &SnapshotMeta) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE hard SET snapshot_index = ?1, snapshot_term = ?2, configuration = ?3,
                         configuration_index = ?4",
    )?
    .execute(params![
        meta.index as i64,
        meta.term as i64,
        snapshot::configuration_to_blob(&meta.configuration),
        meta.configuration_index as i64
    ])
    .map(|_| ())
}

fn read_hard(r: &Row<'_>) -> rusqlite::Result<(HardState, Result<SnapshotMeta, String>)> {
    let hard = HardState {
        term: get_u64(r, 0)?,
        voted_for: r.get::<_, Option<String>>(1)?.map(Into::into),
    };
    let blob: Vec<u8> = r.get(4)?;
    let configuration = if blob.is_empty() {
        Ok(Configuration::default())
    } else {
        msgpack::from_slice(&blob).map_err(|e| format!("configuration: {e}"))
    };
    let (index, term, configuration_index) = (get_u64(r, 2)?, get_u64(r, 3)?, get_u64(r, 5)?);
    let meta = configuration.map(|configuration| SnapshotMeta {
        index,
        term,
        configuration,
        configuration_index,
    });
    Ok((hard, meta))
}

/// What the Raft core reads entries with that have left its memory; see [`LogReader`].
#[derive(Debug)]
pub struct RaftLog {
    conn: Connection,
    bounds: Arc<Bounds>,
}

fn log_error(e: impl std::fmt::Display) -> LogError {
    LogError(format!("{}: {e}", super::RAFT_DB))
}

fn read_entry(r: &Row<'_>) -> rusqlite::Result<Result<Entry, LogError>> {
    let (index, term) = (get_u64(r, 0)?, get_u64(r, 1)?);
    let number: u8 = r.get(2)?;
    let data = r.get_ref(3)?.as_bytes_or_null()?.unwrap_or_default();
    let ext = r.get_ref(4)?.as_bytes_or_null()?.unwrap_or_default();
    let Some(kind) = EntryKind::from_u8(number) else {
        return Ok(Err(log_error(format!(
            "entry {index} has the unknown type {number}"
        ))));
    };
    Ok(Ok(Entry {
        index,
        term,
        kind,
        data: Arc::from(data),
        extensions: ext.to_vec(),
    }))
}

impl LogReader for RaftLog {
    fn first_index(&self) -> u64 {
        self.bounds.first.load(Ordering::Acquire)
    }

    fn last_index(&self) -> u64 {
        self.bounds.last.load(Ordering::Acquire)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        self.conn
            .prepare_cached("SELECT term FROM log WHERE idx = ?1")
            .and_then(|mut s| s.query_row([index as i64], |r| get_u64(r, 0)).optional())
            .map_err(log_error)
    }

    fn entries(&self, lo: u64, hi: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT idx, term, type, data, ext FROM log WHERE idx BETWEEN ?1 AND ?2 ORDER BY idx",
            )
            .map_err(log_error)?;
        let mut rows = select.query([lo as i64, hi as i64]).map_err(log_error)?;
        let (mut out, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next().map_err(log_error)? {
            let entry = read_entry(row).map_err(log_error)??;
            bytes += entry.size();
            out.push(entry);
            if bytes > max_bytes {
                break;
            }
        }
        Ok(out)
    }

    fn configurations(&self) -> Result<Vec<Entry>, LogError> {
        let mut select = self
            .conn
            .prepare("SELECT idx, term, type, data, ext FROM log WHERE type = 5 ORDER BY idx")
            .map_err(log_error)?;
        let mut rows = select.query([]).map_err(log_error)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(log_error)? {
            out.push(read_entry(row).map_err(log_error)??);
        }
        Ok(out)
    }
}
