//! Opening a database file the way this store needs it, and what both databases have in common.
//!
//! Holds true: a file that is not ours, is of another version or is damaged is refused with an error
//! that names it, before anything is written to it. Checkpoints happen only when the write-ahead log
//! has grown by [`Settings::checkpoint_pages`], never on a timer, so an idle store writes nothing.
//! Source: SQLite's documentation: "Write-Ahead Logging", "PRAGMA Statements".

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, ffi};

use super::error::{Named, StoreError};

/// One process has these files, so that the locks among its connections need no system calls, and the index of the
/// write-ahead log lies in its memory instead of a file.
const VFS: &str = "unix-excl";
/// Files up to this many bytes are checked whole at every start.
const QUICK_CHECK_BYTES: u64 = 16 << 20;

/// How a database is laid out and written.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Bytes per page, for a new file.
    pub page_size: u32,
    /// Page cache of this connection in KiB.
    pub cache_kib: u32,
    /// `OFF`, `NORMAL` or `FULL`.
    pub synchronous: &'static str,
    /// Tells the file apart from other SQLite files.
    pub application_id: i32,
    /// Layout of the tables.
    pub user_version: i32,
    /// Creates the tables in a new file.
    pub schema: &'static str,
    /// Pages in the write-ahead log that make a commit carry them into the database.
    pub checkpoint_pages: u32,
    /// The SQLite VFS to use, for tests of failing disks.
    pub vfs: Option<String>,
}

/// One writing connection and the file it belongs to.
#[derive(Debug)]
pub(super) struct Db {
    pub conn: Connection,
    pub name: Named,
    wal_pages: Arc<AtomicU32>,
    checkpointed: u32,
    checkpoint_pages: u32,
    /// A sync failed: what it was to make durable may be lost, and the next one would not say so.
    doubtful: bool,
}

/// How long to wait for readers before the write-ahead log is left as long as it is.
const READERS_WAIT: Duration = Duration::from_millis(100);
/// How long anything else waits for its lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How many times its usual length the write-ahead log may have for readers' sake.
const HELD_UP: u32 = 4;
/// Free pages given back in one transaction.
const VACUUM_STEP: u32 = 1024;

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE
}

fn open(path: &Path, flags: OpenFlags, vfs: Option<&str>) -> Result<Connection, StoreError> {
    Connection::open_with_flags_and_vfs(path, flags, vfs.unwrap_or(VFS))
        .map_err(|e| StoreError::sqlite(path, e))
}

/// Lookaside memory is a fixed cost per connection: a few small slots do for cached statements.
fn small_lookaside(conn: &Connection) {
    // SAFETY: called right after opening, before any statement; SQLite allocates the buffer itself.
    unsafe {
        ffi::sqlite3_db_config(
            conn.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            std::ptr::null_mut::<std::ffi::c_void>(),
            256 as std::ffi::c_int,
            32 as std::ffi::c_int,
        );
    }
}

/// A read-only connection beside the writer.
pub(super) fn open_reader(
    path: &Path,
    cache_kib: u32,
    vfs: Option<&str>,
) -> Result<Connection, StoreError> {
    let conn = open(path, flags() | OpenFlags::SQLITE_OPEN_READ_ONLY, vfs)?;
    small_lookaside(&conn);
    let err = |e| StoreError::sqlite(path, e);
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))
        .map_err(err)?;
    conn.pragma_update(None, "query_only", true).map_err(err)?;
    conn.busy_timeout(LOCK_WAIT).map_err(err)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Makes the file its owner's alone, and what belongs to it: there are secrets inside. SQLite gives new files beside
/// it the same mode.
fn private(path: &Path) -> Result<(), StoreError> {
    let io = |e: std::io::Error| StoreError::Io(format!("{}: {e}", path.display()));
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let Ok(known) = std::fs::metadata(&file) else {
            continue;
        };
        if known.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).map_err(io)?;
        }
    }
    Ok(())
}

impl Db {
    /// Opens or creates the file; a new one gets its tables.
    pub fn open(path: PathBuf, settings: &Settings) -> Result<Db, StoreError> {
        private(&path)?;
        let name = Named(path);
        let rw = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = open(&name.0, flags() | rw, settings.vfs.as_deref())?;
        small_lookaside(&conn);
        let mut db = Db {
            conn,
            name,
            wal_pages: Arc::default(),
            checkpointed: 0,
            checkpoint_pages: settings.checkpoint_pages,
            doubtful: false,
        };
        db.prepare(settings)?;
        Ok(db)
    }

    fn prepare(&mut self, settings: &Settings) -> Result<(), StoreError> {
        let err = self.name.err();
        self.conn.busy_timeout(LOCK_WAIT).map_err(&err)?;
        self.conn.set_prepared_statement_cache_capacity(128);
        let get = |pragma: &str| -> Result<i64, StoreError> {
            self.conn
                .pragma_query_value(None, pragma, |r| r.get(0))
                .map_err(&err)
        };
        let new = get("schema_version")? == 0 && get("page_count")? <= 1;
        if new {
            self.layout(settings)?;
        } else {
            self.check(settings)?;
        }
        let mode: String = self
            .conn
            .pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))
            .map_err(&err)?;
        if mode != "wal" {
            return Err(StoreError::Unusable(format!(
                "{}: SQLite cannot use write-ahead logging here (journal mode {mode}); choose a data \
                 directory on a local file system",
                self.name.0.display()
            )));
        }
        for (pragma, value) in [
            ("cache_size", format!("-{}", settings.cache_kib)),
            ("synchronous", settings.synchronous.to_owned()),
            ("temp_store", "MEMORY".to_owned()),
        ] {
            self.conn.pragma_update(None, pragma, value).map_err(&err)?;
        }
        let limit = i64::from(settings.checkpoint_pages) * i64::from(settings.page_size);
        self.conn
            .pragma_update_and_check(None, "journal_size_limit", limit, |r| r.get::<_, i64>(0))
            .map_err(&err)?;
        if new {
            self.conn
                .execute_batch(&format!(
                    "BEGIN; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
                    settings.schema, settings.application_id, settings.user_version
                ))
                .map_err(&err)?;
        }
        let pages = self.wal_pages.clone();
        // Takes the place of SQLite's own automatic checkpoint.
        self.conn
            .wal_hook(Some(move |_: &mut Wal, n: i32| {
                pages.store(n.max(0) as u32, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(&err)
    }

    /// What only a new file takes. SQLite would write it into the head of an old one all the same.
    fn layout(&self, settings: &Settings) -> Result<(), StoreError> {
        self.conn
            .pragma_update(None, "page_size", settings.page_size)
            .and_then(|()| self.conn.pragma_update(None, "auto_vacuum", "INCREMENTAL"))
            .map_err(self.name.err())
    }

    /// Refuses foreign, newer and damaged files.
    fn check(&self, settings: &Settings) -> Result<(), StoreError> {
        let err = self.name.err();
        let path = &self.name.0;
        let get = |pragma: &str| -> Result<i64, StoreError> {
            self.conn
                .pragma_query_value(None, pragma, |r| r.get(0))
                .map_err(&err)
        };
        if get("application_id")? != i64::from(settings.application_id) {
            return Err(StoreError::Unusable(format!(
                "{} is not a consul-lite database; move it away or choose another data directory",
                path.display()
            )));
        }
        let version = get("user_version")?;
        if version != i64::from(settings.user_version) {
            return Err(StoreError::Unusable(format!(
                "{} has layout {version}, this version reads layout {}; start the version that wrote \
                 it, save a snapshot there and restore it here",
                path.display(),
                settings.user_version
            )));
        }
        if get("page_count")?.saturating_mul(get("page_size")?) <= QUICK_CHECK_BYTES as i64 {
            let verdict: String = self
                .conn
                .query_row("PRAGMA quick_check(1)", [], |r| r.get(0))
                .map_err(&err)?;
            if verdict != "ok" {
                return Err(StoreError::corrupt(path, &verdict));
            }
        }
        Ok(())
    }

    /// Wraps an error of this file.
    pub fn error(&self, e: rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.name.0, e)
    }

    /// Runs `work` in one transaction; undone as a whole when it fails.
    pub fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.batch("BEGIN IMMEDIATE")?;
        let done = work(&self.conn).and_then(|v| self.batch("COMMIT").map(|()| v));
        if done.is_err() && !self.conn.is_autocommit() {
            // The first error is the one to tell; SQLite may have rolled back by itself.
            let _ = self.batch("ROLLBACK");
        }
        if done.is_ok() {
            self.after_commit();
        }
        done
    }

    /// Runs `work` in one transaction that is synced as part of its commit, whatever `synchronous` says: when
    /// the sync fails, it is undone.
    pub fn synced_transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.clear_doubt()?;
        self.synchronous("FULL")?;
        let done = self.transaction(work);
        self.synchronous("NORMAL")?;
        // It is not told apart whether the sync failed, which may have lost more than this transaction.
        self.doubtful |= done.is_err();
        done
    }

    /// Not from the cache: this pragma takes effect when it is prepared.
    fn synchronous(&self, how: &str) -> Result<(), StoreError> {
        self.conn
            .pragma_update(None, "synchronous", how)
            .map_err(self.name.err())
    }

    /// Runs one statement from the cache of prepared ones.
    pub fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut s| s.execute([]))
            .map(|_| ())
            .map_err(self.name.err())
    }

    /// Whether the write-ahead log is several times as long as it would be if no reader kept it from starting over.
    pub fn is_held_up(&self) -> bool {
        self.wal_pages.load(Ordering::Relaxed) > self.checkpoint_pages.saturating_mul(HELD_UP)
    }

    /// Carries the write-ahead log into the database when it has grown enough.
    pub fn after_commit(&mut self) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        if pages < self.checkpointed {
            self.checkpointed = 0;
        }
        // When readers keep the log from starting over, try again after another quarter, not at once.
        let due = self
            .checkpoint_pages
            .max(self.checkpointed + self.checkpoint_pages / 4);
        if pages >= due {
            // The commit itself is done: a failing checkpoint is tried again later.
            if let Err(e) = self
                .conn
                .wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)
            {
                log::warn!("store: checkpoint of {} failed: {e}", self.name.0.display());
                self.doubtful = true;
            }
            self.checkpointed = pages;
        }
    }

    /// Gives unused pages back to the file system, carries the whole write-ahead log into the database and
    /// cuts it to nothing. For quiet times after a burst; does nothing when nothing is due. Readers that
    /// last longer keep the write-ahead log as long as it is until the next time.
    pub fn shrink(&mut self) -> Result<(), StoreError> {
        // In steps, so that the write-ahead log keeps its bound.
        let mut left = self.pragma("freelist_count")?;
        while left > 0 {
            self.vacuum_step().map_err(|e| self.error(e))?;
            self.after_commit();
            let now = self.pragma("freelist_count")?;
            if now >= left {
                break;
            }
            left = now;
        }
        if self.wal_pages.load(Ordering::Relaxed) > 0 {
            self.empty_wal()?;
        }
        Ok(())
    }

    /// Bytes in free pages.
    pub fn unused_bytes(&self) -> Result<u64, StoreError> {
        let pages = self.pragma("freelist_count")?;
        Ok(pages.saturating_mul(self.pragma("page_size")?))
    }

    fn pragma(&self, name: &str) -> Result<u64, StoreError> {
        self.conn
            .pragma_query_value(None, name, |r| r.get::<_, i64>(0))
            .map(|n| n.max(0) as u64)
            .map_err(self.name.err())
    }

    fn vacuum_step(&self) -> rusqlite::Result<()> {
        let sql = format!("PRAGMA incremental_vacuum({VACUUM_STEP})");
        let mut s = self.conn.prepare_cached(&sql)?;
        let mut rows = s.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    /// Carries the whole write-ahead log into the database and cuts it to nothing; false when readers are
    /// in the way.
    fn empty_wal(&mut self) -> Result<bool, StoreError> {
        self.conn
            .busy_timeout(READERS_WAIT)
            .map_err(self.name.err())?;
        let done = self
            .conn
            .wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE);
        self.conn.busy_timeout(LOCK_WAIT).map_err(self.name.err())?;
        match done {
            Ok(_) => {
                self.wal_pages.store(0, Ordering::Relaxed);
                (self.checkpointed, self.doubtful) = (0, false);
                Ok(true)
            }
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            Err(e) => {
                self.doubtful = true;
                Err(self.error(e))
            }
        }
    }

    /// Makes good for a sync that failed: all that the write-ahead log was to keep is written once more,
    /// into the database, and synced there. Does nothing when no sync failed.
    pub fn clear_doubt(&mut self) -> Result<(), StoreError> {
        if self.doubtful && !self.empty_wal()? {
            return Err(StoreError::Io(format!(
                "{}: a sync failed, and readers keep the file from being written anew",
                self.name.0.display()
            )));
        }
        Ok(())
    }

    /// Bytes in the database and its write-ahead log.
    pub fn size_bytes(&self) -> u64 {
        let len = |suffix: &str| {
            let mut path = self.name.0.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |m| m.len())
        };
        len("") + len("-wal")
    }

    /// Syncs the write-ahead log: everything committed so far is then durable, whatever `synchronous`
    /// says and whoever is reading. After a sync that failed the next one may succeed without what was
    /// lost, so that the whole log is carried over instead.
    pub fn sync_wal(&mut self) -> Result<(), StoreError> {
        if self.doubtful {
            return self.clear_doubt();
        }
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the connection is open; for a database in WAL mode this file control yields the log's
        // open file, which lives as long as the connection. Its methods are checked for null.
        let rc = unsafe {
            let rc = ffi::sqlite3_file_control(
                self.conn.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_JOURNAL_POINTER,
                (&raw mut file).cast(),
            );
            if rc != ffi::SQLITE_OK || file.is_null() || (*file).pMethods.is_null() {
                rc
            } else {
                match (*(*file).pMethods).xSync {
                    Some(sync) => sync(file, ffi::SQLITE_SYNC_NORMAL),
                    None => ffi::SQLITE_OK,
                }
            }
        };
        if rc == ffi::SQLITE_OK {
            return Ok(());
        }
        self.doubtful = true;
        let error = ffi::Error::new(rc);
        Err(self.error(rusqlite::Error::SqliteFailure(error, None)))
    }
}
