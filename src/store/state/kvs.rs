//! The key/value store: writes, reads, and the exact rules of its indexes.
//!
//! Holds true: a write that changes nothing moves no index; deleting leaves a tombstone (one for a whole
//! tree), so that readers of a prefix see the deletion's index.
//! Source: `docs/reference/http-1.md` sections 2.3 to 2.6.

use rusqlite::{Connection, Row, params};

use super::tx::{Cmd, Fail, Tx, get_u64, max_index};
use super::{Read, session};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::DirEntry;
use crate::structs::go::{Bytes, quote};

/// The columns of `kvs` in the order that [`entry`] reads.
pub const COLUMNS: &str = "key, modify_index, create_index, flags, lock_index, session, value";

/// Bytes of a key as text. Keys come from text; bytes that are none can only be damage.
fn key_text(bytes: &[u8]) -> Cmd<String> {
    match std::str::from_utf8(bytes) {
        Ok(t) => Ok(t.to_owned()),
        Err(_) => Err(Fail::Damaged("a key is not text".to_owned())),
    }
}

/// A row of `kvs`.
pub fn entry(r: &Row<'_>) -> Cmd<DirEntry> {
    Ok(DirEntry {
        key: key_text(r.get_ref(0)?.as_bytes().map_err(super::tx::from_sql)?)?,
        modify_index: get_u64(r, 1)?,
        create_index: get_u64(r, 2)?,
        flags: get_u64(r, 3)?,
        lock_index: get_u64(r, 4)?,
        session: r.get::<_, Option<String>>(5)?.unwrap_or_default(),
        value: Bytes(r.get(6)?),
    })
}

/// One entry.
pub fn get(conn: &Connection, key: &str) -> Cmd<Option<DirEntry>> {
    let mut select = conn.prepare_cached(
        "SELECT key, modify_index, create_index, flags, lock_index, session, value
         FROM kvs WHERE key = ?1",
    )?;
    let mut rows = select.query([key.as_bytes()])?;
    rows.next()?.map(entry).transpose()
}

/// The first byte string after all that begin with `prefix`, `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Calls `each` with the rows of `table` whose key begins with `prefix`, in order.
fn scan(
    conn: &Connection,
    columns_from: &str,
    prefix: &[u8],
    mut each: impl FnMut(&Row<'_>) -> Cmd<()>,
) -> Cmd<()> {
    scan_after(conn, columns_from, (prefix, None), |row| {
        each(row).map(|()| true)
    })
}

/// As [`scan`], of keys behind `after` if that is given, for as long as `each` says true.
fn scan_after(
    conn: &Connection,
    columns_from: &str,
    (prefix, after): (&[u8], Option<&[u8]>),
    mut each: impl FnMut(&Row<'_>) -> Cmd<bool>,
) -> Cmd<()> {
    let end = after_prefix(prefix);
    let begins = if after.is_some() { ">" } else { ">=" };
    let ends = if end.is_some() { "AND key < ?2" } else { "" };
    let sql = format!("SELECT {columns_from} WHERE key {begins} ?1 {ends} ORDER BY key");
    let mut select = conn.prepare_cached(&sql)?;
    let from = after.unwrap_or(prefix);
    let mut rows = match end {
        Some(end) => select.query(params![from, end])?,
        None => select.query(params![from])?,
    };
    while let Some(row) = rows.next()? {
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

/// Part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// What was found, in order.
    pub found: Vec<T>,
    /// The key to go on behind, when there may be more.
    pub after: Option<String>,
}

/// What an entry takes beside its texts, about.
const ENTRY_OVERHEAD: usize = size_of::<DirEntry>();

/// Entries under a prefix in the order of their keys: those behind `after`, until they take `bytes`.
pub fn list_page(
    conn: &Connection,
    prefix: &str,
    after: Option<&str>,
    bytes: usize,
) -> Cmd<Listed<DirEntry>> {
    let mut found: Vec<DirEntry> = Vec::new();
    let (mut taken, mut full) = (0, false);
    let columns = format!("{COLUMNS} FROM kvs");
    let range = (prefix.as_bytes(), after.map(str::as_bytes));
    scan_after(conn, &columns, range, |r| {
        full = taken >= bytes;
        if full {
            return Ok(false);
        }
        let entry = entry(r)?;
        taken += entry.key.len() + entry.value.0.len() + ENTRY_OVERHEAD;
        found.push(entry);
        Ok(true)
    })?;
    let last = found.last().filter(|_| full);
    Ok(Listed {
        after: last.map(|e| e.key.clone()),
        found,
    })
}

/// All entries under a prefix, in the order of their keys.
pub fn list(conn: &Connection, prefix: &str) -> Cmd<Vec<DirEntry>> {
    Ok(list_page(conn, prefix, None, usize::MAX)?.found)
}

/// The first page of a listing with the index of the whole.
pub fn list_first(
    conn: &Connection,
    ws: &mut WatchSet,
    prefix: &str,
    bytes: usize,
) -> Cmd<(u64, Listed<DirEntry>)> {
    let page = list_page(conn, prefix, None, bytes)?;
    let live = match page.after {
        None => page.found.iter().map(|e| e.modify_index).max().unwrap_or(0),
        Some(_) => live_index(conn, prefix)?,
    };
    Ok((prefix_index(conn, ws, prefix, live)?, page))
}

/// Keys under a prefix, each cut behind the first separator, without repetitions: those behind `after`, until
/// they take `bytes`. With the highest index of those looked at.
pub fn keys_page(
    conn: &Connection,
    (prefix, separator): (&str, &str),
    after: Option<&str>,
    bytes: usize,
) -> Cmd<(u64, Listed<String>)> {
    let cut_key = |key: &str| -> String {
        match separator {
            "" => key.to_owned(),
            s => cut(key, prefix.len(), s).to_owned(),
        }
    };
    let mut found: Vec<String> = Vec::new();
    // What the page before ended with.
    let before = after.map(cut_key);
    let mut last: Option<String> = None;
    let (mut taken, mut full, mut live) = (0, false, 0);
    let range = (prefix.as_bytes(), after.map(str::as_bytes));
    scan_after(conn, "key, modify_index FROM kvs", range, |r| {
        full = taken >= bytes;
        if full {
            return Ok(false);
        }
        let key = key_text(r.get_ref(0)?.as_bytes().map_err(super::tx::from_sql)?)?;
        live = live.max(get_u64(r, 1)?);
        let short = cut_key(&key);
        if found.last().or(before.as_ref()) != Some(&short) {
            taken += short.len() + size_of::<String>();
            found.push(short);
        }
        last = Some(key);
        Ok(true)
    })?;
    let after = last.filter(|_| full);
    Ok((live, Listed { found, after }))
}

/// The first page of a listing of keys with the index of the whole.
pub fn keys_first(
    conn: &Connection,
    ws: &mut WatchSet,
    (prefix, separator): (&str, &str),
    bytes: usize,
) -> Cmd<(u64, Listed<String>)> {
    let (mut live, page) = keys_page(conn, (prefix, separator), None, bytes)?;
    if page.after.is_some() {
        live = live_index(conn, prefix)?;
    }
    Ok((prefix_index(conn, ws, prefix, live)?, page))
}

/// The highest index of an entry under a prefix.
fn live_index(conn: &Connection, prefix: &str) -> Cmd<u64> {
    let end = after_prefix(prefix.as_bytes());
    let ends = if end.is_some() { "AND key < ?2" } else { "" };
    let sql = format!("SELECT max(modify_index) FROM kvs WHERE key >= ?1 {ends}");
    let mut select = conn.prepare_cached(&sql)?;
    let max = |r: &Row<'_>| r.get::<_, Option<i64>>(0);
    let max = match end {
        Some(end) => select.query_row(params![prefix.as_bytes(), end], max)?,
        None => select.query_row(params![prefix.as_bytes()], max)?,
    };
    Ok(max.unwrap_or(0) as u64)
}

impl Tx<'_> {
    fn kvs_changed(&mut self, key: &str) {
        self.bump("kvs");
        self.pending.changes.key(self.index, key.as_bytes());
    }

    /// Writes an entry whose indexes nobody asks for: as [`Tx::kvs_set`], without reading what was there.
    pub fn kvs_write(&mut self, e: &DirEntry) -> Cmd<()> {
        let (key, value, index) = (e.key.as_bytes(), e.value.0.as_slice(), self.index as i64);
        let (flags, lock_index) = (e.flags as i64, e.lock_index as i64);
        let mut changed = self
            .conn
            .prepare_cached(
                "UPDATE kvs SET modify_index = ?2, flags = ?3, lock_index = ?4, value = ?5
                 WHERE key = ?1 AND (value <> ?5 OR flags <> ?3 OR lock_index <> ?4)",
            )?
            .execute(params![key, index, flags, lock_index, value])?;
        if changed == 0 {
            changed = self
                .conn
                .prepare_cached("INSERT OR IGNORE INTO kvs VALUES (?1, ?2, ?2, ?3, ?4, NULL, ?5)")?
                .execute(params![key, index, flags, lock_index, value])?;
        }
        if changed > 0 {
            self.kvs_changed(&e.key);
        }
        Ok(())
    }

    /// Writes an entry; `entry` becomes what is stored, or what was there when nothing changes. The
    /// session stays what it was unless `update_session`.
    pub fn kvs_set(&mut self, entry: &mut DirEntry, update_session: bool) -> Cmd<()> {
        let existing = get(self.conn, &entry.key)?;
        self.kvs_set_over(existing, entry, update_session)
    }

    fn kvs_set_over(
        &mut self,
        existing: Option<DirEntry>,
        entry: &mut DirEntry,
        update_session: bool,
    ) -> Cmd<()> {
        entry.create_index = self.index;
        entry.modify_index = self.index;
        if !update_session {
            entry.session = String::new();
        }
        if let Some(old) = existing {
            entry.create_index = old.create_index;
            if !update_session {
                entry.session.clone_from(&old.session);
            }
            let same = old.value == entry.value
                && old.flags == entry.flags
                && old.session == entry.session
                && old.lock_index == entry.lock_index;
            if same {
                entry.modify_index = old.modify_index;
                return Ok(());
            }
        }
        self.kvs_put(entry)?;
        self.kvs_changed(&entry.key);
        Ok(())
    }

    /// Stores an entry as it is, with its indexes.
    pub fn kvs_put(&mut self, e: &DirEntry) -> Cmd<()> {
        let session = (!e.session.is_empty()).then_some(e.session.as_str());
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO kvs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![
                e.key.as_bytes(),
                e.modify_index as i64,
                e.create_index as i64,
                e.flags as i64,
                e.lock_index as i64,
                session,
                e.value.0.as_slice()
            ])?;
        Ok(())
    }

    /// Writes if the modify index matches; 0 means only if there is none.
    pub fn kvs_cas(&mut self, entry: &mut DirEntry) -> Cmd<bool> {
        let existing = get(self.conn, &entry.key)?;
        let matches = match &existing {
            None => entry.modify_index == 0,
            Some(e) => entry.modify_index != 0 && entry.modify_index == e.modify_index,
        };
        if matches {
            self.kvs_set_over(existing, entry, false)?;
        }
        Ok(matches)
    }

    /// Removes a key and leaves a tombstone; a missing one changes nothing.
    pub fn kvs_delete(&mut self, key: &str) -> Cmd<()> {
        let deleted = self
            .conn
            .prepare_cached("DELETE FROM kvs WHERE key = ?1")?
            .execute([key.as_bytes()])?;
        if deleted > 0 {
            self.tombstone(key)?;
            self.kvs_changed(key);
        }
        Ok(())
    }

    fn tombstone(&mut self, key: &str) -> Cmd<()> {
        self.tombstone_put(key, self.index)?;
        self.bump("tombstones");
        Ok(())
    }

    /// Stores a tombstone as it is.
    pub fn tombstone_put(&mut self, key: &str, index: u64) -> Cmd<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO tombstones VALUES (?1, ?2)")?
            .execute(params![key.as_bytes(), index as i64])?;
        Ok(())
    }

    /// Removes if the modify index matches; a missing key counts as removed.
    pub fn kvs_delete_cas(&mut self, key: &str, index: u64) -> Cmd<bool> {
        match get(self.conn, key)? {
            None => Ok(true),
            Some(e) if e.modify_index != index => Ok(false),
            Some(_) => self.kvs_delete(key).map(|()| true),
        }
    }

    /// Removes everything under a prefix, with one tombstone for all.
    pub fn kvs_delete_tree(&mut self, prefix: &str) -> Cmd<()> {
        let (conn, index) = (self.conn, self.index);
        let changes = &mut self.pending.changes;
        let mut deleted = false;
        scan(conn, "key FROM kvs", prefix.as_bytes(), |r| {
            deleted = true;
            let key = r.get_ref(0)?.as_bytes().map_err(super::tx::from_sql)?;
            changes.key(index, key);
            Ok(())
        })?;
        if !deleted {
            return Ok(());
        }
        match after_prefix(prefix.as_bytes()) {
            Some(end) => conn
                .prepare_cached("DELETE FROM kvs WHERE key >= ?1 AND key < ?2")?
                .execute(params![prefix.as_bytes(), end])?,
            None => conn
                .prepare_cached("DELETE FROM kvs WHERE key >= ?1")?
                .execute([prefix.as_bytes()])?,
        };
        if !prefix.is_empty() {
            self.tombstone(prefix)?;
        }
        self.kvs_changed(prefix);
        Ok(())
    }

    /// Acquires the key's lock for `entry.session`; false when another session holds it.
    pub fn kvs_lock(&mut self, entry: &mut DirEntry) -> Cmd<bool> {
        if entry.session.is_empty() {
            return Fail::refuse("missing session");
        }
        if session::get(self.conn, &entry.session)?.is_none() {
            return Fail::refuse(format!("invalid session {}", quote(&entry.session)));
        }
        let existing = get(self.conn, &entry.key)?;
        entry.lock_index = match &existing {
            None => 1,
            Some(e) if e.session.is_empty() => e.lock_index + 1,
            Some(e) if e.session == entry.session => e.lock_index,
            Some(_) => return Ok(false),
        };
        self.kvs_set_over(existing, entry, true)?;
        Ok(true)
    }

    /// Releases the key's lock, writing value and flags; false when `entry.session` does not hold it.
    pub fn kvs_unlock(&mut self, entry: &mut DirEntry) -> Cmd<bool> {
        if entry.session.is_empty() {
            return Fail::refuse("missing session");
        }
        let existing = get(self.conn, &entry.key)?;
        match &existing {
            Some(e) if e.session == entry.session => {
                entry.lock_index = e.lock_index;
                entry.session = String::new();
                self.kvs_set_over(existing, entry, true)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Forgets tombstones up to an index.
    pub fn reap_tombstones(&mut self, upto: u64) -> Cmd<()> {
        self.conn
            .prepare_cached("DELETE FROM tombstones WHERE value <= ?1")?
            .execute([upto as i64])?;
        Ok(())
    }
}

/// The index of the store as a whole.
fn table_index(conn: &Connection) -> Cmd<u64> {
    max_index(conn, &["kvs", "tombstones"])
}

/// The highest index of a tombstone under a prefix.
fn tombstone_index(conn: &Connection, prefix: &[u8]) -> Cmd<u64> {
    let mut max = 0;
    scan(conn, "value FROM tombstones", prefix, |r| {
        max = max.max(get_u64(r, 0)?);
        Ok(())
    })?;
    Ok(max)
}

/// Cuts a key after the first separator behind the prefix.
fn cut<'k>(key: &'k str, prefix_len: usize, separator: &str) -> &'k str {
    let Some(rest) = key.get(prefix_len..) else {
        return key;
    };
    match rest.find(separator) {
        Some(at) => &key[..prefix_len + at + separator.len()],
        None => key,
    }
}

impl Read {
    /// One entry, and the index for it: its own, or that of the whole store when it does not exist.
    ///
    /// # Errors
    /// The disk's.
    pub fn kvs_get(
        &self,
        ws: &mut WatchSet,
        key: &str,
    ) -> Result<(u64, Option<DirEntry>), StoreError> {
        let found = self.run(ws, |conn, ws| match get(conn, key)? {
            Some(e) => {
                ws.named(Kind::Key, key);
                Ok((e.modify_index, Some(e)))
            }
            None => {
                ws.table(Table::Kvs);
                Ok((table_index(conn)?, None))
            }
        })?;
        if let Some(entry) = &found.1 {
            let watches = &self.shared.watches;
            let unchanged = || watches.key_unchanged(key, self.applied);
            self.shared.hot.put(entry, unchanged);
        }
        Ok(found)
    }

    /// All entries under a prefix in the order of their keys, and the index for them.
    ///
    /// # Errors
    /// The disk's.
    pub fn kvs_list(
        &self,
        ws: &mut WatchSet,
        prefix: &str,
    ) -> Result<(u64, Vec<DirEntry>), StoreError> {
        let (index, all) = self.kvs_list_upto(ws, prefix, usize::MAX)?;
        Ok((index, all.found))
    }

    /// As [`Read::kvs_list`], of the first `bytes` about; the index is that of all.
    ///
    /// # Errors
    /// The disk's.
    pub fn kvs_list_upto(
        &self,
        ws: &mut WatchSet,
        prefix: &str,
        bytes: usize,
    ) -> Result<(u64, Listed<DirEntry>), StoreError> {
        self.run(ws, |conn, ws| list_first(conn, ws, prefix, bytes))
    }

    /// The keys under a prefix, each cut after the first `separator` behind the prefix (an empty one
    /// cuts nothing), without repetitions; and the index for them.
    ///
    /// # Errors
    /// The disk's.
    pub fn kvs_list_keys(
        &self,
        ws: &mut WatchSet,
        prefix: &str,
        separator: &str,
    ) -> Result<(u64, Vec<String>), StoreError> {
        let (index, all) = self.kvs_list_keys_upto(ws, prefix, separator, usize::MAX)?;
        Ok((index, all.found))
    }

    /// As [`Read::kvs_list_keys`], of the first `bytes` about; the index is that of all.
    ///
    /// # Errors
    /// The disk's.
    pub fn kvs_list_keys_upto(
        &self,
        ws: &mut WatchSet,
        prefix: &str,
        separator: &str,
        bytes: usize,
    ) -> Result<(u64, Listed<String>), StoreError> {
        self.run(ws, |conn, ws| {
            keys_first(conn, ws, (prefix, separator), bytes)
        })
    }

    /// The highest index of any tombstone, 0 when there is none: what the leader times before it
    /// proposes to reap them.
    ///
    /// # Errors
    /// The disk's.
    pub fn tombstone_index(&self) -> Result<u64, StoreError> {
        self.run(&mut WatchSet::new(), |conn, _| tombstone_index(conn, b""))
    }
}

fn prefix_index(conn: &Connection, ws: &mut WatchSet, prefix: &str, live: u64) -> Cmd<u64> {
    if prefix.is_empty() {
        ws.table(Table::Kvs);
        return table_index(conn);
    }
    let index = live.max(tombstone_index(conn, prefix.as_bytes())?);
    if index == 0 {
        ws.table(Table::Kvs);
        return table_index(conn);
    }
    ws.prefix(prefix.as_bytes());
    Ok(index)
}
