//! Reads `state.bin` into an emptied database.
//!
//! Holds true: objects keep the indexes they come with; any order and any subset of records is taken;
//! where the index table is missing from an old snapshot, the objects' own indexes stand in for it.
//! Source: `docs/reference/raft.md` section 8.

use std::collections::HashMap;
use std::io::{self, BufRead};

use rusqlite::{Connection, params};

use super::{Header, IndexEntry, kind, record};
use crate::store::state::AclObject;
use crate::store::state::lower;
use crate::store::state::schema::REPLICATED;
use crate::store::state::tx::{Cmd, Fail, Pending, Tx};
use crate::structs::{
    ACL, ACLAuthMethod, ACLBindingRule, ACLPolicy, ACLRole, ACLToken, AutopilotConfig, Coordinate,
    DirEntry, Node, RegisterRequest, Session,
};
use crate::wire::msgpack;

/// Replaces all replicated tables by the records of `from`, within the caller's transaction.
pub fn restore_state(conn: &Connection, pending: &mut Pending, from: &mut dyn BufRead) -> Cmd<()> {
    for table in REPLICATED {
        conn.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let mut bytes = Vec::new();
    record::value(from, &mut bytes).map_err(|e| unreadable(&e))?;
    let _: Header = decode(&bytes)?;
    let mut restore = Restore {
        tx: Tx {
            conn,
            index: 0,
            pending,
        },
        highest: HashMap::new(),
    };
    while let Some(kind) = record::byte(from).map_err(|e| unreadable(&e))? {
        record::value(from, &mut bytes).map_err(|e| unreadable(&e))?;
        restore.record(kind, &bytes)?;
    }
    restore.fill_indexes()
}

fn unreadable(e: &io::Error) -> Fail {
    let text = match e.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => e.to_string(),
    };
    Fail::Refused(format!("failed to restore snapshot: {text}"))
}

fn decode<T: crate::codec::Deserialize + Default>(bytes: &[u8]) -> Cmd<T> {
    msgpack::from_slice(bytes)
        .map_err(|e| Fail::Refused(format!("failed to restore snapshot: {e}")))
}

/// Whether the first token was made, in snapshots of before 1.4.
#[derive(Default, crate::codec::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct LegacyBootstrap {
    allow_bootstrap: bool,
    modify_index: u64,
}

struct Restore<'a> {
    tx: Tx<'a>,
    /// Highest index seen in the objects of each entry of the index table.
    highest: HashMap<String, u64>,
}

impl Restore<'_> {
    fn seen(&mut self, key: &str, index: u64) {
        match self.highest.get_mut(key) {
            Some(old) => *old = index.max(*old),
            None => {
                self.highest.insert(key.to_owned(), index);
            }
        }
    }

    fn record(&mut self, kind: u8, bytes: &[u8]) -> Cmd<()> {
        match kind {
            kind::REGISTER => self.register(&decode(bytes)?),
            kind::KVS => {
                let e: DirEntry = decode(bytes)?;
                self.seen("kvs", e.modify_index);
                self.tx.kvs_put(&e)
            }
            kind::SESSION => {
                let s: Session = decode(bytes)?;
                self.seen("sessions", s.modify_index);
                self.tx.session_put(&s)
            }
            kind::TOMBSTONE => {
                let e: DirEntry = decode(bytes)?;
                self.seen("tombstones", e.modify_index);
                self.tx.tombstone_put(&e.key, e.modify_index)
            }
            kind::COORDINATES => {
                let batch: Vec<Coordinate> = decode(bytes)?;
                batch.iter().try_for_each(|c| self.tx.coordinate_put(c))
            }
            kind::AUTOPILOT => {
                let config: AutopilotConfig = decode(bytes)?;
                self.tx.autopilot_put(&config)
            }
            kind::TOKEN => {
                let token: ACLToken = decode(bytes)?;
                self.token(&token)
            }
            kind::LEGACY_ACL => {
                let acl: ACL = decode(bytes)?;
                self.token(&acl.into())
            }
            kind::LEGACY_BOOTSTRAP => {
                let done: LegacyBootstrap = decode(bytes)?;
                if !done.allow_bootstrap {
                    self.seen("acl-token-bootstrap", done.modify_index);
                }
                Ok(())
            }
            kind::POLICY => self.acl_object::<ACLPolicy>(bytes),
            kind::ROLE => self.acl_object::<ACLRole>(bytes),
            kind::BINDING_RULE => self.acl_object::<ACLBindingRule>(bytes),
            kind::AUTH_METHOD => self.acl_object::<ACLAuthMethod>(bytes),
            kind::INDEX => {
                let e: IndexEntry = decode(bytes)?;
                self.index(&e.key, e.value)
            }
            // Pieces of a command that the snapshot's server had not seen whole: they come again.
            kind::CHUNKING => Ok(()),
            other => self.opaque(other, bytes),
        }
    }

    fn token(&mut self, token: &ACLToken) -> Cmd<()> {
        self.seen("acl-tokens", token.modify_index);
        self.tx.acl_token_put(token)
    }

    fn acl_object<T: AclObject>(&mut self, bytes: &[u8]) -> Cmd<()> {
        let mut object: T = decode(bytes)?;
        self.seen(T::INDEX, *object.indexes().1);
        self.tx.acl_object_put(&object)
    }

    fn register(&mut self, r: &RegisterRequest) -> Cmd<()> {
        let node = Node {
            id: r.id.clone(),
            node: r.node.clone(),
            address: r.address.clone(),
            datacenter: r.datacenter.clone(),
            tagged_addresses: r.tagged_addresses.clone(),
            meta: r.node_meta.clone(),
            create_index: r.create_index,
            modify_index: r.modify_index,
        };
        // A node is repeated with each of its services and checks.
        if r.service.is_none() && r.check.is_none() {
            self.seen("nodes", node.modify_index);
            self.tx.node_put(&node)?;
        }
        if let Some(s) = &r.service {
            self.seen("services", s.modify_index);
            self.seen(&format!("service.{}", s.service), s.modify_index);
            self.tx.service_put(&lower(&r.node), s)?;
        }
        for c in r.check.iter().chain(r.checks.iter().flatten()) {
            self.seen("checks", c.modify_index);
            self.tx.check_put(c)?;
        }
        Ok(())
    }

    fn index(&mut self, key: &str, value: u64) -> Cmd<()> {
        self.tx
            .conn
            .prepare_cached("INSERT OR REPLACE INTO idx VALUES (?1, ?2, ?3)")?
            .execute(params![lower(key), key, value as i64])?;
        Ok(())
    }

    fn opaque(&mut self, kind: u8, bytes: &[u8]) -> Cmd<()> {
        let kept = [kind::PREPARED_QUERY, kind::CONNECT];
        if !kept.iter().any(|kinds| kinds.contains(&kind)) {
            return Fail::refuse(format!(
                "failed to restore snapshot: Unrecognized msg type {kind}"
            ));
        }
        self.tx
            .conn
            .prepare_cached("INSERT INTO opaque (type, data) VALUES (?1, ?2)")?
            .execute(params![kind, bytes])?;
        Ok(())
    }

    fn fill_indexes(self) -> Cmd<()> {
        let mut fill = self
            .tx
            .conn
            .prepare_cached("INSERT OR IGNORE INTO idx VALUES (?1, ?2, ?3)")?;
        for (key, value) in &self.highest {
            fill.execute(params![lower(key), key, *value as i64])?;
        }
        Ok(())
    }
}
