//! Snapshots of the state machine: `state.bin` as Consul writes and reads it, and the archive around it.
//!
//! Holds true: a snapshot is written from one consistent view, record by record, never the whole state
//! in memory; a snapshot that cannot be read leaves the state as it was; records of kinds that are not
//! served here are kept byte by byte and written back.
//! Source: `docs/reference/raft.md` sections 8 and 9, `docs/reference/http-1.md` section 9.

pub mod archive;
mod record;
mod restore;

use std::io::{self, Write};

use super::error::{Named, StoreError};
use super::state::tx::{Cmd, Fail, from_sql, get_u64, unpack};
use super::state::{KVS_COLUMNS, kvs_entry};
use crate::codec::Serialize;
use crate::raft::Configuration;
use crate::structs::{
    Coordinate, DirEntry, HealthCheck, Node, NodeService, RegisterRequest, Session,
};
use crate::wire::msgpack;
use rusqlite::Connection;

pub(super) use restore::restore_state;

/// Message types of records.
mod kind {
    pub const REGISTER: u8 = 0;
    pub const KVS: u8 = 2;
    pub const SESSION: u8 = 3;
    pub const TOMBSTONE: u8 = 5;
    pub const COORDINATES: u8 = 6;
    pub const AUTOPILOT: u8 = 9;
    pub const LEGACY_ACL: u8 = 4;
    pub const LEGACY_BOOTSTRAP: u8 = 11;
    pub const INDEX: u8 = 16;
    pub const TOKEN: u8 = 17;
    pub const POLICY: u8 = 19;
    pub const ROLE: u8 = 23;
    pub const BINDING_RULE: u8 = 25;
    pub const AUTH_METHOD: u8 = 27;
    pub const CHUNKING: u8 = 29;
    /// Kept as they are, in the places where Consul writes them.
    pub const PREPARED_QUERY: &[u8] = &[7];
    pub const CONNECT: &[u8] = &[12, 13, 14, 15, 22, 30];
}

/// A configuration for storing.
pub(super) fn configuration_to_blob(c: &Configuration) -> Vec<u8> {
    // A structure of plain texts and numbers always encodes.
    msgpack::to_vec(c).unwrap_or_default()
}

/// First value of `state.bin`.
#[derive(Default, crate::codec::Serialize, crate::codec::Deserialize)]
struct Header {
    #[serde(rename = "LastIndex")]
    last_index: u64,
}

/// An entry of the index table as a record.
#[derive(Default, crate::codec::Serialize, crate::codec::Deserialize)]
#[serde(default)]
struct IndexEntry {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Value")]
    value: u64,
}

/// A consistent view of the state, as of one raft index, to write a snapshot from.
pub struct Snapshot {
    conn: Connection,
    name: Named,
    index: u64,
    term: u64,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("index", &self.index)
            .field("term", &self.term)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn begin(conn: Connection, name: Named) -> Result<Snapshot, StoreError> {
        let (index, term) = conn
            .execute_batch("BEGIN")
            .and_then(|()| {
                conn.query_row("SELECT applied_index, applied_term FROM meta", [], |r| {
                    Ok((get_u64(r, 0)?, get_u64(r, 1)?))
                })
            })
            .map_err(name.err())?;
        Ok(Snapshot {
            conn,
            name,
            index,
            term,
        })
    }

    /// The last raft index in it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The term of that index.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Writes `state.bin`; how many bytes that were. Wrap a file into a buffer.
    ///
    /// # Errors
    /// The disk's, of either side.
    pub fn write_state(&self, to: &mut dyn Write) -> Result<u64, StoreError> {
        let mut out = Out {
            to,
            bytes: 0,
            failed: None,
        };
        match self.write_records(&mut out) {
            Ok(()) => Ok(out.bytes),
            Err(e) => match out.failed {
                Some(io) => Err(io_error(&io)),
                None => Err(e.into_store(&self.name)),
            },
        }
    }

    fn write_records(&self, out: &mut Out<'_>) -> Cmd<()> {
        let header = Header {
            last_index: self.index,
        };
        out.value(&header)?;
        self.write_nodes(out)?;
        self.each("SELECT data FROM coordinates ORDER BY node, segment", |r| {
            let one: Coordinate = unpack(r.get_ref(0)?.as_bytes().map_err(from_sql)?)?;
            out.record(kind::COORDINATES, &[one])
        })?;
        self.each("SELECT data FROM sessions ORDER BY id", |r| {
            let one: Session = unpack(r.get_ref(0)?.as_bytes().map_err(from_sql)?)?;
            out.record(kind::SESSION, &one)
        })?;
        self.each(
            "SELECT data FROM acl_tokens ORDER BY accessor, secret",
            |r| out.raw(kind::TOKEN, r.get_ref(0)?.as_bytes().map_err(from_sql)?),
        )?;
        for kind in [
            kind::POLICY,
            kind::ROLE,
            kind::BINDING_RULE,
            kind::AUTH_METHOD,
        ] {
            let sql = format!("SELECT data FROM acl_objects WHERE kind = {kind} ORDER BY id");
            self.each(&sql, |r| {
                out.raw(kind, r.get_ref(0)?.as_bytes().map_err(from_sql)?)
            })?;
        }
        self.each(
            &format!("SELECT {KVS_COLUMNS} FROM kvs ORDER BY key"),
            |r| out.record(kind::KVS, &kvs_entry(r)?),
        )?;
        self.each("SELECT key, value FROM tombstones ORDER BY key", |r| {
            let key = r.get_ref(0)?.as_bytes().map_err(from_sql)?;
            let one = DirEntry {
                key: String::from_utf8_lossy(key).into_owned(),
                modify_index: get_u64(r, 1)?,
                ..DirEntry::default()
            };
            out.record(kind::TOMBSTONE, &one)
        })?;
        self.write_opaque(kind::PREPARED_QUERY, out)?;
        self.each("SELECT data FROM autopilot", |r| {
            out.raw(kind::AUTOPILOT, r.get_ref(0)?.as_bytes().map_err(from_sql)?)
        })?;
        self.write_opaque(kind::CONNECT, out)?;
        self.each("SELECT name, value FROM idx ORDER BY key", |r| {
            let one = IndexEntry {
                key: r.get(0)?,
                value: get_u64(r, 1)?,
            };
            out.record(kind::INDEX, &one)
        })?;
        self.write_chunking(out)
    }

    fn each(&self, sql: &str, mut row: impl FnMut(&rusqlite::Row<'_>) -> Cmd<()>) -> Cmd<()> {
        let mut select = self.conn.prepare(sql)?;
        let mut rows = select.query([])?;
        while let Some(r) = rows.next()? {
            row(r)?;
        }
        Ok(())
    }

    /// Each node alone, then once more with each of its services, then with each of its checks.
    fn write_nodes(&self, out: &mut Out<'_>) -> Cmd<()> {
        let mut services = self
            .conn
            .prepare("SELECT data FROM services WHERE node = ?1 ORDER BY id")?;
        let mut checks = self
            .conn
            .prepare("SELECT data FROM checks WHERE node = ?1 ORDER BY id")?;
        self.each("SELECT name, data FROM nodes ORDER BY name", |r| {
            let name: String = r.get(0)?;
            let node: Node = unpack(r.get_ref(1)?.as_bytes().map_err(from_sql)?)?;
            let mut request = RegisterRequest {
                id: node.id,
                node: node.node,
                address: node.address,
                datacenter: node.datacenter,
                tagged_addresses: node.tagged_addresses,
                node_meta: node.meta,
                create_index: node.create_index,
                modify_index: node.modify_index,
                ..RegisterRequest::default()
            };
            out.record(kind::REGISTER, &request)?;
            let mut rows = services.query([&name])?;
            while let Some(r) = rows.next()? {
                let one: NodeService = unpack(r.get_ref(0)?.as_bytes().map_err(from_sql)?)?;
                request.service = Some(one);
                out.record(kind::REGISTER, &request)?;
            }
            request.service = None;
            let mut rows = checks.query([&name])?;
            while let Some(r) = rows.next()? {
                let one: HealthCheck = unpack(r.get_ref(0)?.as_bytes().map_err(from_sql)?)?;
                request.check = Some(one);
                out.record(kind::REGISTER, &request)?;
            }
            Ok(())
        })
    }

    fn write_opaque(&self, kinds: &[u8], out: &mut Out<'_>) -> Cmd<()> {
        let mut select = self
            .conn
            .prepare("SELECT data FROM opaque WHERE type = ?1 ORDER BY seq")?;
        for kind in kinds {
            let mut rows = select.query([kind])?;
            while let Some(r) = rows.next()? {
                out.raw(*kind, r.get_ref(0)?.as_bytes().map_err(from_sql)?)?;
            }
        }
        Ok(())
    }

    /// Always the last record, empty when nothing is pending.
    fn write_chunking(&self, out: &mut Out<'_>) -> Cmd<()> {
        #[derive(crate::codec::Serialize)]
        struct ChunkingState {
            #[serde(rename = "ChunkMap")]
            chunk_map: std::collections::BTreeMap<String, ()>,
        }
        let empty = ChunkingState {
            chunk_map: std::collections::BTreeMap::new(),
        };
        out.record(kind::CHUNKING, &empty)
    }
}

/// Where a snapshot goes. A failure of the receiving side is kept apart from the database's.
struct Out<'a> {
    to: &'a mut dyn Write,
    bytes: u64,
    failed: Option<io::Error>,
}

impl Out<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Cmd<()> {
        if let Err(e) = self.to.write_all(bytes) {
            let text = e.to_string();
            self.failed = Some(e);
            return Err(Fail::Refused(text));
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn value(&mut self, value: &dyn Serialize) -> Cmd<()> {
        let bytes = msgpack::to_vec(value).map_err(|e| Fail::Damaged(e.to_string()))?;
        self.bytes(&bytes)
    }

    fn record(&mut self, kind: u8, value: &dyn Serialize) -> Cmd<()> {
        self.bytes(&[kind])?;
        self.value(value)
    }

    fn raw(&mut self, kind: u8, bytes: &[u8]) -> Cmd<()> {
        self.bytes(&[kind])?;
        self.bytes(bytes)
    }
}

/// A file's error as the room's own.
fn io_error(e: &io::Error) -> StoreError {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::DiskFull(format!("snapshot: {e}"))
        }
        _ => StoreError::Io(format!("snapshot: {e}")),
    }
}
