//! What a command works with while it is applied, and what reads and writes share.
//!
//! Holds true: index-table entries and changes for the watch index are collected here and become
//! visible with the commit of the batch only; a refused command leaves none of them behind.
//! Source: `docs/reference/raft.md` section 7.

use std::collections::HashMap;
use std::time::Duration;

use crate::codec::{Deserialize, Serialize};
use crate::store::error::{Named, StoreError};
use crate::store::watch::{Changes, Kind, Table};
use crate::structs;
use crate::wire::msgpack;
use rusqlite::{Connection, OptionalExtension, Row};

/// Why a command or a read ended early.
#[derive(Debug)]
pub enum Fail {
    /// Refused alike by every replica, in Consul's words.
    Refused(String),
    /// SQLite failed.
    Sql(rusqlite::Error),
    /// A stored object cannot be read.
    Damaged(String),
}

/// Result inside the store.
pub type Cmd<T> = Result<T, Fail>;

impl Fail {
    /// Refuses with a text.
    pub fn refuse<T>(text: impl Into<String>) -> Cmd<T> {
        Err(Fail::Refused(text.into()))
    }

    /// Puts a text before a refusal's own; other failures stay what they are.
    pub fn context(self, before: &str) -> Fail {
        match self {
            Fail::Refused(t) => Fail::Refused(format!("{before}{t}")),
            other => other,
        }
    }

    /// As the room's public error.
    pub fn into_store(self, name: &Named) -> StoreError {
        match self {
            Fail::Refused(t) => StoreError::Invalid(structs::Error::from(t)),
            Fail::Sql(e) => StoreError::sqlite(&name.0, e),
            Fail::Damaged(t) => StoreError::corrupt(&name.0, &t),
        }
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(e: rusqlite::Error) -> Fail {
        Fail::Sql(e)
    }
}

/// A name in the index table and its new value, `None` to remove it.
type NewIndex = (String, Option<u64>);

/// Collected while a batch is applied.
#[derive(Debug, Default)]
pub struct Pending {
    /// Entries of the index table by lower-cased key.
    indexes: HashMap<String, NewIndex>,
    undo: Vec<(String, Option<NewIndex>)>,
    pub changes: Changes,
    /// Keys that enter their lock delay.
    pub lock_delays: Vec<(String, Duration)>,
}

/// A point to come back to when a command is refused halfway.
pub struct Mark {
    changes: (usize, usize, usize),
    lock_delays: usize,
}

impl Pending {
    /// Begins a command.
    pub fn mark(&mut self) -> Mark {
        self.undo.clear();
        Mark {
            changes: self.changes.mark(),
            lock_delays: self.lock_delays.len(),
        }
    }

    /// Forgets what the command since `mark` left.
    pub fn undo(&mut self, mark: Mark) {
        for (key, before) in self.undo.drain(..).rev() {
            match before {
                Some(b) => self.indexes.insert(key, b),
                None => self.indexes.remove(&key),
            };
        }
        self.changes.undo(mark.changes);
        self.lock_delays.truncate(mark.lock_delays);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.indexes.clear();
        self.undo.clear();
        self.changes.clear();
        self.lock_delays.clear();
    }

    fn set(&mut self, name: &str, value: Option<u64>) {
        let key = name.to_lowercase();
        let before = self.indexes.insert(key.clone(), (name.to_owned(), value));
        self.undo.push((key, before));
    }

    /// Writes the collected index entries.
    pub fn flush_indexes(&mut self, conn: &Connection) -> Cmd<()> {
        for (key, (name, value)) in self.indexes.drain() {
            match value {
                Some(v) => conn
                    .prepare_cached("INSERT OR REPLACE INTO idx VALUES (?1, ?2, ?3)")?
                    .execute((key, name, v as i64))?,
                None => conn
                    .prepare_cached("DELETE FROM idx WHERE key = ?1")?
                    .execute([key])?,
            };
        }
        self.undo.clear();
        Ok(())
    }
}

/// One command being applied at one raft index.
pub struct Tx<'a> {
    pub conn: &'a Connection,
    /// The raft index of the command.
    pub index: u64,
    pub pending: &'a mut Pending,
}

impl Tx<'_> {
    /// Sets an entry of the index table to this command's index.
    pub fn bump(&mut self, key: &str) {
        self.pending.set(key, Some(self.index));
    }

    /// An entry of the index table, `stored` unless an earlier command of this batch wrote it.
    pub fn pending_index(&self, key: &str, stored: u64) -> u64 {
        let pending = self.pending.indexes.get(key);
        pending.map_or(stored, |(_, value)| value.unwrap_or(0))
    }

    /// Removes an entry of the index table.
    pub fn drop_index(&mut self, key: &str) {
        self.pending.set(key, None);
    }

    /// Notes a change for the watch index.
    pub fn changed(&mut self, kind: Kind, name: &str) {
        self.pending.changes.named(self.index, kind, name);
    }

    /// Notes a change of a table for the watch index.
    pub fn changed_table(&mut self, t: Table) {
        self.pending.changes.table(self.index, t);
    }
}

/// An entry of the index table as of the last commit; 0 when there is none.
pub fn index_of(conn: &Connection, key: &str) -> Cmd<u64> {
    Ok(index_entry(conn, key)?.unwrap_or(0))
}

/// An entry of the index table as of the last commit.
pub fn index_entry(conn: &Connection, key: &str) -> Cmd<Option<u64>> {
    Ok(conn
        .prepare_cached("SELECT value FROM idx WHERE key = ?1")?
        .query_row([key], |r| get_u64(r, 0))
        .optional()?)
}

/// The highest of several entries of the index table.
pub fn max_index(conn: &Connection, keys: &[&str]) -> Cmd<u64> {
    let mut max = 0;
    for key in keys {
        max = max.max(index_of(conn, key)?);
    }
    Ok(max)
}

/// An unsigned column.
pub fn get_u64(r: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    r.get::<_, i64>(at).map(|n| n as u64)
}

/// An object for storing.
pub fn pack(object: &dyn Serialize) -> Cmd<Vec<u8>> {
    msgpack::to_vec(object).map_err(|e| Fail::Damaged(e.to_string()))
}

/// A stored object.
pub fn unpack<T: Deserialize + Default>(data: &[u8]) -> Cmd<T> {
    msgpack::from_slice(data).map_err(|e| Fail::Damaged(e.to_string()))
}

/// All objects that a query yields in its first column.
pub fn objects<T: Deserialize + Default>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Cmd<Vec<T>> {
    each(conn, sql, params, |object| object)
}

/// What is made of each object that a query yields in its first column; no two objects are in memory at once.
pub fn each<T: Deserialize + Default, U>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    make: impl Fn(T) -> U,
) -> Cmd<Vec<U>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(make(unpack(row.get_ref(0)?.as_bytes().map_err(from_sql)?)?));
    }
    Ok(out)
}

/// The object that a query yields in its first column.
pub fn object<T: Deserialize + Default>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Cmd<Option<T>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    match rows.next()? {
        Some(row) => Ok(Some(unpack(row.get_ref(0)?.as_bytes().map_err(from_sql)?)?)),
        None => Ok(None),
    }
}

/// The texts that a query yields in its first column.
pub fn texts(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Cmd<Vec<String>> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params, |r| r.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A column of an unexpected type.
pub fn from_sql(e: rusqlite::types::FromSqlError) -> Fail {
    Fail::Damaged(e.to_string())
}
