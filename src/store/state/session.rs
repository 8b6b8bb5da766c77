//! Sessions: what creates them, what ends them, and what becomes of the keys they hold.
//!
//! Source: `docs/reference/http-1.md` section 4, `docs/reference/raft.md` section 7.

use rusqlite::{Connection, params};

use super::node::lower;
use super::tx::{Cmd, Fail, Tx, index_of, object, objects, pack, texts};
use super::{Read, check, kvs, node};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::go::quote;
use crate::structs::{DirEntry, Session};

/// Refuses ids that are no UUID in length, as Consul's index does.
fn check_id(id: &str) -> Cmd<()> {
    if id.len() == 36 {
        return Ok(());
    }
    Fail::refuse("failed session lookup: index error: UUID must be 36 characters")
}

/// One session.
pub fn get(conn: &Connection, id: &str) -> Cmd<Option<Session>> {
    check_id(id)?;
    object(conn, "SELECT data FROM sessions WHERE id = ?1", [id])
}

/// The ids of all checks that a session depends on.
fn bound_checks(s: &Session) -> impl Iterator<Item = &str> {
    let node = s.node_checks.iter().flatten().map(String::as_str);
    let service = s.service_checks.iter().flatten().map(|c| c.id.as_str());
    let old = s.checks.iter().flatten().map(String::as_str);
    node.chain(service).chain(old)
}

impl Tx<'_> {
    /// Creates a session whose id is chosen already.
    pub fn session_create(&mut self, session: &Session) -> Cmd<()> {
        if session.id.is_empty() {
            return Fail::refuse("Missing session ID");
        }
        let mut session = session.clone();
        match session.behavior.as_str() {
            "" => session.behavior = "release".to_owned(),
            "release" | "delete" => {}
            other => return Fail::refuse(format!("Invalid session behavior: {other}")),
        }
        check_id(&session.id)?;
        session.create_index = self.index;
        session.modify_index = self.index;
        let node = lower(&session.node);
        if node::get(self.conn, &node)?.is_none() {
            return Fail::refuse("Missing node registration");
        }
        for id in bound_checks(&session) {
            match check::get(self.conn, &node, id)? {
                None => return Fail::refuse(format!("Missing check '{id}' registration")),
                Some(c) if c.status == check::CRITICAL => {
                    return Fail::refuse(format!("Check '{id}' is in {} state", c.status));
                }
                Some(_) => {}
            }
        }
        self.session_put(&session)?;
        self.session_changed(&session);
        Ok(())
    }

    /// Stores a session as it is, with its indexes.
    pub fn session_put(&mut self, session: &Session) -> Cmd<()> {
        let node = lower(&session.node);
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO sessions VALUES (?1, ?2, ?3)")?
            .execute(params![session.id, node, pack(session)?])?;
        let mut bind = self
            .conn
            .prepare_cached("INSERT OR IGNORE INTO session_checks VALUES (?1, ?2, ?3)")?;
        for id in bound_checks(session) {
            bind.execute(params![node, lower(id), session.id])?;
        }
        Ok(())
    }

    fn session_changed(&mut self, session: &Session) {
        self.bump("sessions");
        self.changed_table(Table::Sessions);
        self.changed(Kind::Session, &session.id);
        self.changed(Kind::NodeSessions, &lower(&session.node));
    }

    /// Ends a session: releases or deletes the keys it holds, and starts their lock delay. An unknown
    /// one changes nothing.
    pub fn session_destroy(&mut self, id: &str) -> Cmd<()> {
        let Some(session) = get(self.conn, id)? else {
            return Ok(());
        };
        self.conn
            .prepare_cached("DELETE FROM sessions WHERE id = ?1")?
            .execute([id])?;
        self.conn
            .prepare_cached("DELETE FROM session_checks WHERE session = ?1")?
            .execute([id])?;
        self.session_changed(&session);
        let delay = session.lock_delay.to_std();
        for mut entry in held_keys(self.conn, id)? {
            if !delay.is_zero() {
                let delayed = (entry.key.clone(), delay);
                self.pending.lock_delays.push(delayed);
            }
            if session.behavior == "delete" {
                self.kvs_delete(&entry.key)?;
            } else {
                entry.session = String::new();
                self.kvs_set(&mut entry, true)?;
            }
        }
        Ok(())
    }

    /// Ends every session that depends on a check. `node` and `check` are lower-cased.
    pub fn invalidate_check(&mut self, node: &str, check: &str) -> Cmd<()> {
        let ids = texts(
            self.conn,
            "SELECT session FROM session_checks WHERE node = ?1 AND id = ?2",
            [node, check],
        )?;
        self.destroy_all(&ids)
    }

    /// Ends every session of a node (lower-cased).
    pub fn invalidate_node(&mut self, node: &str) -> Cmd<()> {
        let ids = texts(
            self.conn,
            "SELECT id FROM sessions WHERE node = ?1 ORDER BY id",
            [node],
        )?;
        self.destroy_all(&ids)
    }

    fn destroy_all(&mut self, ids: &[String]) -> Cmd<()> {
        ids.iter().try_for_each(|id| self.session_destroy(id))
    }

    /// The `delete` verb of transactions.
    pub fn txn_session_delete(&mut self, id: &str) -> Cmd<()> {
        self.session_destroy(id)
            .map_err(|e| e.context(&format!("failed to delete session {}: ", quote(id))))
    }
}

fn held_keys(conn: &Connection, session: &str) -> Cmd<Vec<DirEntry>> {
    let mut select = conn.prepare_cached(
        "SELECT key, modify_index, create_index, flags, lock_index, session, value
         FROM kvs WHERE session = ?1 ORDER BY key",
    )?;
    let mut rows = select.query([session])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(kvs::entry(row)?);
    }
    Ok(out)
}

impl Read {
    /// One session, and the index of the table.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the id is not 36 characters long; the disk's.
    pub fn session_get(
        &self,
        ws: &mut WatchSet,
        id: &str,
    ) -> Result<(u64, Option<Session>), StoreError> {
        self.run(ws, |conn, ws| {
            let session = get(conn, id)?;
            match session {
                Some(_) => ws.named(Kind::Session, id),
                None => ws.table(Table::Sessions),
            }
            Ok((index_of(conn, "sessions")?, session))
        })
    }

    /// All sessions by id, and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn session_list(&self, ws: &mut WatchSet) -> Result<(u64, Vec<Session>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::Sessions);
            let all = objects(conn, "SELECT data FROM sessions ORDER BY id", [])?;
            Ok((index_of(conn, "sessions")?, all))
        })
    }

    /// The sessions of a node by id, and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_sessions(
        &self,
        ws: &mut WatchSet,
        node: &str,
    ) -> Result<(u64, Vec<Session>), StoreError> {
        self.run(ws, |conn, ws| {
            let node = lower(node);
            ws.named(Kind::NodeSessions, &node);
            let all = objects(
                conn,
                "SELECT data FROM sessions WHERE node = ?1 ORDER BY id",
                [&node],
            )?;
            Ok((index_of(conn, "sessions")?, all))
        })
    }
}
