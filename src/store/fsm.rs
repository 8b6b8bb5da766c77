//! The replicated state machine: applies the log's commands to `state.db`.
//!
//! Holds true: one transaction per batch, with the applied index in it, so that after a crash the log is
//! applied again from where the database ends; the same commands give the same state on every server
//! (no clock, no chance); a command that cannot be decoded, is unknown or not supported is refused by
//! every server alike and changes nothing. Blocked queries are woken after the commit.
//! Source: `docs/reference/raft.md` section 7.

use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

use super::db::{Db, Settings};
use super::error::StoreError;
use super::state::tx::{Cmd, Fail, Pending, Tx};
use super::state::{self, State, schema};
use super::{Options, snapshot};
use crate::codec::Deserialize;
use crate::raft::{Entry, EntryKind, SnapshotMeta};
use crate::structs::{
    self, AutopilotSetConfigRequest, Coordinate, DeregisterRequest, KVSRequest, Node,
    RegisterRequest, SessionRequest, TombstoneRequest, TxnRequest, TxnResponse, kv_op,
};
use crate::telemetry::{self, Sample, Timed, metrics};
use crate::wire::msgpack;
use rusqlite::{Connection, params};

/// Set in a command's type: whoever does not know the type ignores the command.
const IGNORE_UNKNOWN: u8 = 0x80;
/// How old a view may become while it makes the write-ahead log grow.
const VIEW_PATIENCE: Duration = Duration::from_secs(10);

/// What a command answers to whoever proposed it.
#[derive(Clone, Debug, PartialEq)]
pub enum ApplyReply {
    /// Done.
    Nil,
    /// Done, or for `false`: a condition did not hold and nothing was changed.
    Bool(bool),
    /// Done; the id of the session created.
    String(String),
    /// What a transaction yields: results, or errors and nothing changed.
    Txn(TxnResponse),
    /// Refused, nothing changed; the user reads this text.
    Error(structs::Error),
}

/// The writing side of the state; owned by one thread.
#[derive(Debug)]
pub struct Fsm {
    db: Db,
    state: State,
    pending: Pending,
    applied: u64,
    term: u64,
    durable: u64,
    synced: bool,
    restored: Option<SnapshotMeta>,
}

impl Fsm {
    pub(super) fn open(path: &Path, options: &Options) -> Result<(Fsm, State), StoreError> {
        let settings = Settings {
            page_size: 2048,
            cache_kib: options.writer_cache_kib * 2 / 3,
            synchronous: if options.durable { "NORMAL" } else { "OFF" },
            application_id: schema::APPLICATION_ID,
            user_version: schema::USER_VERSION,
            schema: schema::TABLES,
            checkpoint_pages: 2048,
            vfs: options.vfs.clone(),
        };
        let db = Db::open(path.to_owned(), &settings)?;
        let (applied, term, restored) = db
            .conn
            .query_row(
                "SELECT applied_index, applied_term, restored_index, restored_term, configuration,
                        configuration_index FROM meta",
                [],
                |r| {
                    let n = |at: usize| r.get::<_, i64>(at).map(|n| n as u64);
                    Ok((n(0)?, n(1)?, (n(2)?, n(3)?, r.get::<_, Vec<u8>>(4)?, n(5)?)))
                },
            )
            .map_err(|e| db.error(e))?;
        let (index, restored_term, blob, configuration_index) = restored;
        let restored = if index == 0 {
            None
        } else {
            Some(SnapshotMeta {
                index,
                term: restored_term,
                configuration: msgpack::from_slice(&blob)
                    .map_err(|e| StoreError::corrupt(path, &e.to_string()))?,
                configuration_index,
            })
        };
        let state = State::new(path, options, applied);
        let fsm = Fsm {
            db,
            state: state.clone(),
            pending: Pending::default(),
            applied,
            term,
            durable: 0,
            synced: options.durable,
            restored,
        };
        Ok((fsm, state))
    }

    /// The last index applied and committed.
    pub fn applied_index(&self) -> u64 {
        self.applied
    }

    /// The term of the last index applied.
    pub fn applied_term(&self) -> u64 {
        self.term
    }

    /// The last index that a power cut cannot take away: the log may be cut up to here. Without
    /// [`Options::durable`](super::Options::durable) nothing is safe anyway and this is what was last
    /// made durable by name.
    pub fn durable_index(&self) -> u64 {
        self.durable
    }

    /// The snapshot that last replaced the state, if any ever did.
    pub fn restored(&self) -> Option<&SnapshotMeta> {
        self.restored.as_ref()
    }

    /// The readers' side.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes that `state.db` and its write-ahead log take on disk.
    pub fn size_bytes(&self) -> u64 {
        self.db.size_bytes()
    }

    /// Applies committed entries in order: one transaction, one reply per entry (`Nil` for entries that
    /// are no commands or were applied before). `now` is any monotonic clock's reading, for lock delays
    /// only. On an error nothing of the batch is applied, and the same call may be tried again.
    ///
    /// # Errors
    /// The disk's.
    pub fn apply(
        &mut self,
        now: Duration,
        entries: &[Entry],
    ) -> Result<Vec<ApplyReply>, StoreError> {
        let Some(last) = entries.last() else {
            return Ok(Vec::new());
        };
        self.pending.clear();
        let (pending, applied) = (&mut self.pending, self.applied);
        let hot = self.state.hot();
        let name = self.db.name.clone();
        let done = self.db.transaction(|conn| {
            let mut replies = Vec::with_capacity(entries.len());
            for e in entries {
                let reply = match e.kind {
                    EntryKind::Command if e.index > applied => {
                        command(conn, e.index, pending, &e.data).map_err(|e| e.into_store(&name))?
                    }
                    EntryKind::Command
                    | EntryKind::Noop
                    | EntryKind::Barrier
                    | EntryKind::Configuration => ApplyReply::Nil,
                };
                replies.push(reply);
            }
            if last.index > applied {
                pending
                    .flush_indexes(conn)
                    .and_then(|()| set_applied(conn, last.index, last.term))
                    .map_err(|e| e.into_store(&name))?;
            }
            hot.close(pending.changes.written());
            Ok(replies)
        });
        let applied = self.finish_apply(now, applied, last, done);
        self.state.hot().open();
        applied
    }

    fn finish_apply(
        &mut self,
        now: Duration,
        applied: u64,
        last: &Entry,
        done: Result<Vec<ApplyReply>, StoreError>,
    ) -> Result<Vec<ApplyReply>, StoreError> {
        match done {
            Ok(replies) => {
                if last.index > applied {
                    (self.applied, self.term) = (last.index, last.term);
                }
                self.publish(now);
                Ok(replies)
            }
            Err(e) => {
                self.pending.clear();
                Err(e)
            }
        }
    }

    fn publish(&mut self, now: Duration) {
        self.state.set_applied(self.applied);
        for (key, delay) in &self.pending.lock_delays {
            self.state.lock_delays().start(now, key, *delay);
        }
        self.state.watches().publish(&self.pending.changes);
        self.pending.clear();
        if self.db.is_held_up() {
            self.state.end_views(now.saturating_sub(VIEW_PATIENCE));
        }
    }

    /// Makes everything applied so far safe from a power cut: one sync. The new
    /// [`durable_index`](Self::durable_index).
    ///
    /// # Errors
    /// The disk's; the durable index stays.
    pub fn make_durable(&mut self) -> Result<u64, StoreError> {
        if self.durable < self.applied {
            if self.synced {
                self.db.sync_wal()?;
            }
            self.durable = self.applied;
        }
        Ok(self.durable)
    }

    /// Gives space back after a burst: the write-ahead log is carried over and cut, free pages go back to
    /// the file system. Writes nothing when there is nothing to give back.
    ///
    /// # Errors
    /// The disk's; the state is untouched.
    pub fn shrink(&mut self) -> Result<(), StoreError> {
        self.db.shrink()
    }

    /// Bytes of the file that hold nothing, which [`Fsm::shrink`] would give back.
    ///
    /// # Errors
    /// The disk's.
    pub fn unused_bytes(&self) -> Result<u64, StoreError> {
        self.db.unused_bytes()
    }

    /// Replaces the whole state by a snapshot's `state.bin`, in one transaction that is durable when
    /// this returns; from then on the state is that of `meta.index`. Every blocked query returns. Readers
    /// see the old state until then. The log is to be emptied next ([`LogStore::install`](super::LogStore::install)).
    ///
    /// # Errors
    /// [`StoreError::Invalid`] with Consul's text when the snapshot cannot be read; the disk's. The state
    /// is then as before.
    pub fn restore(
        &mut self,
        state_bin: &mut dyn BufRead,
        meta: &SnapshotMeta,
    ) -> Result<(), StoreError> {
        let name = self.db.name.clone();
        let pending = &mut self.pending;
        pending.clear();
        let hot = self.state.hot();
        let replace = |conn: &Connection| {
            snapshot::restore_state(conn, pending, state_bin)
                .and_then(|()| set_restored(conn, meta))
                .map_err(|e| e.into_store(&name))?;
            hot.close(None::<std::iter::Empty<&[u8]>>);
            Ok(())
        };
        let done = if self.synced {
            self.db.synced_transaction(replace)
        } else {
            self.db.transaction(replace)
        };
        self.pending.clear();
        if done.is_ok() {
            (self.applied, self.term, self.durable) = (meta.index, meta.term, meta.index);
            self.restored = Some(meta.clone());
            self.state.set_applied(self.applied);
            self.state.lock_delays().clear();
            self.state.abandon_all();
        }
        self.state.hot().open();
        done
    }
}

fn set_applied(conn: &Connection, index: u64, term: u64) -> Cmd<()> {
    conn.prepare_cached("UPDATE meta SET applied_index = ?1, applied_term = ?2")?
        .execute([index as i64, term as i64])?;
    Ok(())
}

fn set_restored(conn: &Connection, meta: &SnapshotMeta) -> Cmd<()> {
    set_applied(conn, meta.index, meta.term)?;
    conn.prepare_cached(
        "UPDATE meta SET restored_index = ?1, restored_term = ?2, configuration = ?3,
                         configuration_index = ?4",
    )?
    .execute(params![
        meta.index as i64,
        meta.term as i64,
        snapshot::configuration_to_blob(&meta.configuration),
        meta.configuration_index as i64
    ])?;
    Ok(())
}

/// Names of the commands that exist in Consul but are not served here.
fn known_elsewhere(number: u8) -> Option<&'static str> {
    Some(match number {
        7 => "PreparedQuery",
        10 => "Area",
        12 => "Intention",
        13 => "ConnectCA",
        14 => "ConnectCAProviderState",
        15 => "ConnectCAConfig",
        16 => "Index",
        21 => "ConnectCALeaf",
        22 => "ConfigEntry",
        29 => "ChunkingState",
        30 => "FederationState",
        _ => return None,
    })
}

/// Applies one command; a refusal becomes a reply.
fn command(conn: &Connection, index: u64, pending: &mut Pending, data: &[u8]) -> Cmd<ApplyReply> {
    let Some((kind, body)) = data.split_first() else {
        return Ok(refused("the log entry holds no command"));
    };
    let kind_of = kind & !IGNORE_UNKNOWN;
    let _timed = applied_as(kind_of).map(Timed::start);
    let mut tx = Tx {
        conn,
        index,
        pending,
    };
    let done = match kind_of {
        0 => decode(body).and_then(|r| whole(&mut tx, |tx| register(tx, &r))),
        1 => decode(body).and_then(|r| deregister(&mut tx, &r)),
        2 => decode(body).and_then(|r| kvs(&mut tx, r)),
        3 => decode(body).and_then(|r| session(&mut tx, &r)),
        5 => decode(body).and_then(|r: TombstoneRequest| match r.op.as_str() {
            "reap" => tx.reap_tombstones(r.reap_index).map(|()| ApplyReply::Nil),
            op => Fail::refuse(format!("Invalid Tombstone operation '{op}'")),
        }),
        6 => decode(body)
            .and_then(|b: Vec<Coordinate>| tx.coordinates_update(&b).map(|()| ApplyReply::Nil)),
        8 => decode(body).and_then(|r| txn(&mut tx, &r)),
        9 => decode(body).and_then(|r: AutopilotSetConfigRequest| {
            if r.cas {
                tx.autopilot_cas(&r.config).map(ApplyReply::Bool)
            } else {
                tx.autopilot_set(&r.config).map(|()| ApplyReply::Nil)
            }
        }),
        4 | 11 | 17..=20 | 23..=28 => whole(&mut tx, |tx| state::acl_apply(tx, kind_of, body)),
        number => match known_elsewhere(number) {
            Some(name) => Fail::refuse(format!(
                "this server does not support the {name} command; nothing was changed"
            )),
            None if kind & IGNORE_UNKNOWN != 0 => Ok(ApplyReply::Nil),
            None => Fail::refuse(format!(
                "this server does not know the command of type {number}; nothing was changed"
            )),
        },
    };
    match done {
        Err(Fail::Refused(text)) => Ok(refused(text)),
        other => other,
    }
}

/// The metric of a command's kind; those with an operation are measured where it is known.
fn applied_as(kind: u8) -> Option<&'static Sample> {
    Some(match kind {
        0 => &metrics::FSM_REGISTER,
        1 => &metrics::FSM_DEREGISTER,
        6 => &metrics::FSM_COORDINATES,
        8 => &metrics::FSM_TXN,
        9 => &metrics::FSM_AUTOPILOT,
        _ => return None,
    })
}

fn refused(text: impl Into<String>) -> ApplyReply {
    ApplyReply::Error(structs::Error::from(text.into()))
}

fn decode<T: Deserialize + Default>(body: &[u8]) -> Cmd<T> {
    msgpack::from_slice(body).map_err(|e| Fail::Refused(format!("failed to decode request: {e}")))
}

/// Runs a command of several steps so that a refusal halfway leaves nothing behind.
fn whole(tx: &mut Tx<'_>, work: impl FnOnce(&mut Tx<'_>) -> Cmd<ApplyReply>) -> Cmd<ApplyReply> {
    let run = |sql: &str| -> Cmd<()> {
        tx.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    run("SAVEPOINT command")?;
    let mark = tx.pending.mark();
    let done = work(tx);
    let run = |sql: &str| -> Cmd<()> {
        tx.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    let undo = match &done {
        Ok(ApplyReply::Txn(r)) => r.errors.is_some(),
        Ok(_) => false,
        Err(Fail::Refused(_)) => true,
        // The whole batch is undone.
        Err(Fail::Sql(_) | Fail::Damaged(_)) => return done,
    };
    if undo {
        run("ROLLBACK TO command")?;
        tx.pending.undo(mark);
    }
    run("RELEASE command")?;
    done
}

fn register(tx: &mut Tx<'_>, r: &RegisterRequest) -> Cmd<ApplyReply> {
    let existing = state::node_by_name(tx.conn, &r.node)?;
    if existing.as_ref().is_none_or(|n| state::changes_node(r, n)) {
        let mut node = Node {
            id: r.id.clone(),
            node: r.node.clone(),
            address: r.address.clone(),
            datacenter: r.datacenter.clone(),
            tagged_addresses: r.tagged_addresses.clone(),
            meta: r.node_meta.clone(),
            ..Node::default()
        };
        tx.ensure_node(&mut node)
            .map_err(|e| e.context("failed inserting node: "))?;
    }
    if let Some(service) = &r.service {
        tx.ensure_service(&r.node, service)
            .map_err(|e| e.context("failed inserting service: "))?;
    }
    for check in r.check.iter().chain(r.checks.iter().flatten()) {
        tx.ensure_check_on(&r.node, check)?;
    }
    Ok(ApplyReply::Nil)
}

fn deregister(tx: &mut Tx<'_>, r: &DeregisterRequest) -> Cmd<ApplyReply> {
    if !r.service_id.is_empty() {
        tx.delete_service(&r.node, &r.service_id)?;
    } else if !r.check_id.is_empty() {
        tx.delete_check(&r.node, &r.check_id)?;
    } else {
        tx.delete_node(&r.node)?;
    }
    Ok(ApplyReply::Nil)
}

fn kvs(tx: &mut Tx<'_>, mut r: KVSRequest) -> Cmd<ApplyReply> {
    let _timed = telemetry::labelled(&metrics::FSM_KVS, &r.op).map(Timed::start);
    let e = &mut r.dir_ent;
    Ok(match r.op.as_str() {
        kv_op::SET => {
            tx.kvs_write(e)?;
            ApplyReply::Nil
        }
        kv_op::DELETE => {
            tx.kvs_delete(&e.key)?;
            ApplyReply::Nil
        }
        kv_op::DELETE_CAS => ApplyReply::Bool(tx.kvs_delete_cas(&e.key, e.modify_index)?),
        kv_op::DELETE_TREE => {
            tx.kvs_delete_tree(&e.key)?;
            ApplyReply::Nil
        }
        kv_op::CAS => ApplyReply::Bool(tx.kvs_cas(e)?),
        kv_op::LOCK => ApplyReply::Bool(tx.kvs_lock(e)?),
        kv_op::UNLOCK => ApplyReply::Bool(tx.kvs_unlock(e)?),
        op => return Fail::refuse(format!("Invalid KVS operation '{op}'")),
    })
}

fn session(tx: &mut Tx<'_>, r: &SessionRequest) -> Cmd<ApplyReply> {
    let _timed = telemetry::labelled(&metrics::FSM_SESSION, &r.op).map(Timed::start);
    match r.op.as_str() {
        "create" => tx
            .session_create(&r.session)
            .map(|()| ApplyReply::String(r.session.id.clone())),
        "destroy" => tx.session_destroy(&r.session.id).map(|()| ApplyReply::Nil),
        op => Fail::refuse(format!("Invalid session operation '{op}'")),
    }
}

fn txn(tx: &mut Tx<'_>, r: &TxnRequest) -> Cmd<ApplyReply> {
    let ops = r.ops.as_deref().unwrap_or_default();
    whole(tx, |tx| {
        state::txn_apply(tx.conn, tx.index, tx.pending, ops).map(ApplyReply::Txn)
    })
}
