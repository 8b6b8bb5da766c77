//! The replicated state as readers see it: a pool of read-only connections and one consistent view.
//!
//! Holds true: every [`Read`] is one snapshot of the database, whatever is written meanwhile; a
//! [`WatchSet`] filled by it can wait for the next change without missing one.
//! Leaves to others: changing anything (`fsm`).
//! Source: `docs/design/house.md` section 3; SQLite's documentation, "Isolation in SQLite".

mod acl;
mod acl_object;
mod acl_token;
mod autopilot;
mod check;
mod coordinate;
mod health;
mod kvs;
mod node;
pub(super) mod schema;
mod service;
mod session;
pub(super) mod tx;
mod txn;
mod view;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::error::{Named, StoreError};
use super::hot::HotKeys;
use super::lock_delay::LockDelay;
use super::snapshot::Snapshot;
use super::watch::{WatchSet, Watches};
use super::{Options, db};
use crate::atomic::AtomicU64;
use crate::structs::DirEntry;
use tx::{Cmd, index_of};

pub(super) use acl::apply as acl_apply;
pub use acl_object::Object as AclObject;
pub use kvs::Listed;
pub(super) use kvs::{COLUMNS as KVS_COLUMNS, entry as kvs_entry};
pub(super) use node::{changes_node, lower};
pub(super) use txn::apply as txn_apply;
pub use view::View;

/// A node by name in any case.
pub(super) fn node_by_name(conn: &Connection, name: &str) -> Cmd<Option<crate::structs::Node>> {
    node::get(conn, &lower(name))
}

/// The way into the replicated state for readers. Clones share everything.
#[derive(Clone, Debug)]
pub struct State(Arc<Shared>);

/// What readers, the writer and waiting queries share.
pub(super) struct Shared {
    name: Named,
    vfs: Option<String>,
    cache_kib: u32,
    pool: Mutex<Pool>,
    free: Condvar,
    applied: AtomicU64,
    watches: Arc<Watches>,
    hot: HotKeys,
    lock_delay: LockDelay,
    /// Counts how often the whole state was replaced or given up.
    epoch: AtomicU64,
    views: view::Views,
}

struct Pool {
    idle: Vec<Connection>,
    /// Readers that may still be opened.
    left: usize,
    /// Who waits for one: waking costs a system call, so it is done only for somebody.
    waiting: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn new(path: &Path, options: &Options, applied: u64) -> State {
        State(Arc::new(Shared {
            name: Named(path.to_owned()),
            vfs: options.vfs.clone(),
            cache_kib: options.reader_cache_kib,
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                left: options.readers.max(1),
                waiting: 0,
            }),
            free: Condvar::new(),
            applied: AtomicU64::new(applied),
            watches: Arc::new(Watches::new()),
            hot: HotKeys::default(),
            lock_delay: LockDelay::default(),
            epoch: AtomicU64::new(0),
            views: view::Views::default(),
        }))
    }

    /// A consistent view as of now. Waits while all readers are in use: hold it for one query, never
    /// across an `await`.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(&self) -> Result<Read, StoreError> {
        let shared = self.0.clone();
        let conn = shared.take()?;
        // Taken before the view begins: a change in between only wakes a query too early.
        let applied = shared.applied.load(Ordering::Acquire);
        let read = Read {
            conn: Some(conn),
            applied,
            shared,
        };
        read.execute("BEGIN")?;
        Ok(read)
    }

    /// The entry of a key as of now, if it was read lately: no view is needed then.
    pub fn hot_key(&self, key: &str) -> Option<Arc<DirEntry>> {
        self.0.hot.get(key)
    }

    /// A consistent view to write a snapshot from, on a connection of its own.
    ///
    /// # Errors
    /// The disk's.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let conn = db::open_reader(&self.0.name.0, self.0.cache_kib, self.0.vfs.as_deref())?;
        Snapshot::begin(conn, self.0.name.clone())
    }

    /// The last raft index that was applied and committed.
    pub fn applied_index(&self) -> u64 {
        self.0.applied.load(Ordering::Acquire)
    }

    /// A number that has moved when a change of nodes, services or checks is acknowledged: what was read
    /// after asking for it holds as long as it stays.
    pub fn catalog_version(&self) -> u64 {
        self.0.watches.catalog_version()
    }

    /// A number that has moved when a change of tokens, policies or roles is acknowledged.
    pub fn acl_version(&self) -> u64 {
        self.0.watches.acl_version()
    }

    /// How long a key must still wait before it may be locked; zero when it may be locked now. On the
    /// clock that [`Fsm::apply`](super::Fsm::apply) is given.
    pub fn lock_delay(&self, now: Duration, key: &str) -> Duration {
        self.0.lock_delay.remaining(now, key)
    }

    /// Wakes every waiting query, for example when the server shuts down.
    pub fn abandon_all(&self) {
        self.0.epoch.fetch_add(1, Ordering::Release);
        self.0.watches.abandon(self.applied_index());
    }

    /// Changes when the whole state is replaced: a query that waited across it answers as it is.
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// How many queries wait for a change.
    pub fn waiting(&self) -> usize {
        self.0.watches.len()
    }

    pub(super) fn hot(&self) -> &HotKeys {
        &self.0.hot
    }

    pub(super) fn watches(&self) -> &Arc<Watches> {
        &self.0.watches
    }

    pub(super) fn lock_delays(&self) -> &LockDelay {
        &self.0.lock_delay
    }

    pub(super) fn set_applied(&self, index: u64) {
        self.0.applied.store(index, Ordering::Release);
    }
}

impl Shared {
    fn take(&self) -> Result<Connection, StoreError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(conn) = pool.idle.pop() {
                return Ok(conn);
            }
            if pool.left > 0 {
                pool.left -= 1;
                drop(pool);
                let conn = db::open_reader(&self.name.0, self.cache_kib, self.vfs.as_deref());
                if conn.is_err() {
                    let mut pool = self.lock_pool();
                    pool.left += 1;
                    self.wake_one(pool);
                }
                return conn;
            }
            pool.waiting += 1;
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
            pool.waiting -= 1;
        }
    }

    fn lock_pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, conn: Connection, healthy: bool) {
        let mut pool = self.lock_pool();
        if healthy {
            pool.idle.push(conn);
        } else {
            pool.left += 1;
        }
        self.wake_one(pool);
    }

    fn wake_one(&self, pool: MutexGuard<'_, Pool>) {
        let somebody = pool.waiting > 0;
        drop(pool);
        if somebody {
            self.free.notify_one();
        }
    }
}

/// One consistent view of the state. Methods return the index for the answer (0 when nothing was ever
/// written there) and note in the [`WatchSet`] what the answer depends on.
pub struct Read {
    conn: Option<Connection>,
    applied: u64,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Read")
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl Read {
    /// A raft index that this view includes; it may include later ones.
    pub fn applied_index(&self) -> u64 {
        self.applied
    }

    /// An entry of Consul's index table (`kvs`, `nodes`, `service.web`), 0 when there is none.
    ///
    /// # Errors
    /// The disk's.
    pub fn index(&self, key: &str) -> Result<u64, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| {
            index_of(conn, &key.to_lowercase())
        })
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        match &self.conn {
            Some(conn) => conn
                .prepare_cached(sql)
                .and_then(|mut s| s.execute([]))
                .map(|_| ())
                .map_err(self.shared.name.err()),
            None => Ok(()),
        }
    }

    pub(super) fn run<T>(
        &self,
        ws: &mut WatchSet,
        query: impl FnOnce(&Connection, &mut WatchSet) -> Cmd<T>,
    ) -> Result<T, StoreError> {
        ws.read_at(self.applied);
        match &self.conn {
            Some(conn) => query(conn, ws).map_err(|e| e.into_store(&self.shared.name)),
            None => Err(StoreError::Io("the view has ended".to_owned())),
        }
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        let ended = self.execute("COMMIT").is_ok();
        if let Some(conn) = self.conn.take() {
            self.shared.give_back(conn, ended);
        }
    }
}
