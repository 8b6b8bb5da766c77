//! A consistent view of the state on a connection of its own, for an answer that is read while it is sent.
//!
//! Holds true: a view shows one moment for as long as it lives. What it keeps alive is the write-ahead log from
//! that moment on, so that the writer may end the views of slow readers ([`State::end_views`]).
//! Leaves to others: how many views there may be.
//! Source: SQLite's documentation, "Write-Ahead Logging", "Avoiding Excessively Large WAL Files".

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::Connection;

use super::kvs::{self, Listed};
use super::tx::Cmd;
use super::{State, WatchSet};
use crate::store::db;
use crate::store::error::{Named, StoreError};
use crate::structs::DirEntry;

/// Page cache of a view's connection: it reads everything once.
const CACHE_KIB: u32 = 64;

type Shared = Mutex<Option<Connection>>;

/// The views that live, and when they began.
#[derive(Default)]
pub(super) struct Views(Mutex<Vec<(Duration, Weak<Shared>)>>);

/// A view.
pub struct View {
    conn: Arc<Shared>,
    name: Named,
}

impl State {
    /// A view as of now; `now` is the clock that [`Fsm::apply`](crate::store::Fsm::apply) is given.
    ///
    /// # Errors
    /// The disk's.
    pub fn view(&self, now: Duration) -> Result<View, StoreError> {
        let name = self.0.name.clone();
        let conn = db::open_reader(&name.0, CACHE_KIB, self.0.vfs.as_deref())?;
        // The view begins with the first read, which every reader of a view does at once.
        conn.execute_batch("BEGIN").map_err(name.err())?;
        let conn = Arc::new(Mutex::new(Some(conn)));
        let mut views = self.0.views.lock();
        views.retain(|(_, view)| view.strong_count() > 0);
        views.push((now, Arc::downgrade(&conn)));
        drop(views);
        Ok(View { conn, name })
    }

    /// Ends the views that began before `limit`.
    pub(in crate::store) fn end_views(&self, limit: Duration) {
        self.0.views.lock().retain(|(began, view)| {
            let Some(conn) = view.upgrade().filter(|_| *began < limit) else {
                return view.strong_count() > 0;
            };
            // One that reads at this moment is ended the next time.
            match conn.try_lock() {
                Ok(mut conn) => {
                    *conn = None;
                    false
                }
                Err(_) => true,
            }
        });
    }
}

impl Views {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Duration, Weak<Shared>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn run<T>(&self, query: impl FnOnce(&Connection) -> Cmd<T>) -> Result<T, StoreError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        match &*conn {
            Some(conn) => query(conn).map_err(|e| e.into_store(&self.name)),
            None => Err(StoreError::Io(
                "the answer was taken too slowly, its view of the state had to end".to_owned(),
            )),
        }
    }

    /// As [`Read::kvs_list`](super::Read::kvs_list), of the first `bytes` about.
    ///
    /// # Errors
    /// The disk's, and that the view had to end.
    pub fn kvs_list(
        &self,
        prefix: &str,
        bytes: usize,
    ) -> Result<(u64, Listed<DirEntry>), StoreError> {
        self.run(|conn| kvs::list_first(conn, &mut WatchSet::new(), prefix, bytes))
    }

    /// The entries under a prefix behind the key `after`, about `bytes` of them.
    ///
    /// # Errors
    /// As [`View::kvs_list`].
    pub fn kvs_list_on(
        &self,
        prefix: &str,
        after: &str,
        bytes: usize,
    ) -> Result<Listed<DirEntry>, StoreError> {
        self.run(|conn| kvs::list_page(conn, prefix, Some(after), bytes))
    }

    /// As [`Read::kvs_list_keys`](super::Read::kvs_list_keys), of the first `bytes` about.
    ///
    /// # Errors
    /// As [`View::kvs_list`].
    pub fn kvs_list_keys(
        &self,
        prefix: &str,
        separator: &str,
        bytes: usize,
    ) -> Result<(u64, Listed<String>), StoreError> {
        self.run(|conn| kvs::keys_first(conn, &mut WatchSet::new(), (prefix, separator), bytes))
    }

    /// The cut keys under a prefix behind the key `after`, about `bytes` of them.
    ///
    /// # Errors
    /// As [`View::kvs_list`].
    pub fn kvs_list_keys_on(
        &self,
        prefix: &str,
        separator: &str,
        after: &str,
        bytes: usize,
    ) -> Result<Listed<String>, StoreError> {
        self.run(|conn| Ok(kvs::keys_page(conn, (prefix, separator), Some(after), bytes)?.1))
    }
}
