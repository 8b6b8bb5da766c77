//! Nodes: registration, renaming by ID, removal, and the reads of nodes alone.
//!
//! Holds true: names are compared without case; a node ID belongs to one name; an identical write moves
//! no index; a changed node moves the indexes of all services on it, because they are shown with it.
//! Source: `docs/reference/http-2.md` sections 7 and 9.3.

use rusqlite::{Connection, params};

use super::Read;
use super::tx::{Cmd, Fail, Tx, index_of, max_index, object, objects, pack, texts};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::go::{List, Map, quote};
use crate::structs::{Node, NodeServiceList, RegisterRequest};

/// Shorter texts are no beginning of a node ID.
const MIN_ID_PREFIX: usize = 2;

/// How names are compared: without case.
pub fn lower(name: &str) -> String {
    if name
        .bytes()
        .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
    {
        return name.to_owned();
    }
    name.to_lowercase()
}

/// A node by its lower-cased name.
pub fn get(conn: &Connection, name: &str) -> Cmd<Option<Node>> {
    object(conn, "SELECT data FROM nodes WHERE name = ?1", [name])
}

/// A node by its ID.
pub fn by_id(conn: &Connection, id: &str) -> Cmd<Option<Node>> {
    object(
        conn,
        "SELECT data FROM nodes WHERE id = ?1 AND id <> ''",
        [id.to_lowercase()],
    )
}

/// A node by name; else by its ID or the beginning of it, if that is one node's alone.
pub fn by_name_or_id(conn: &Connection, name: &str) -> Cmd<Option<Node>> {
    if let Some(n) = get(conn, &lower(name))? {
        return Ok(Some(n));
    }
    let Some(prefix) = id_prefix(name) else {
        return Ok(None);
    };
    // Behind every digit of an ID comes 'g'.
    let sql = "SELECT data FROM nodes WHERE id <> '' AND id >= ?1 AND id < ?1 || 'g' LIMIT 2";
    let mut found: Vec<Node> = objects(conn, sql, [prefix])?;
    Ok(found.pop().filter(|_| found.is_empty()))
}

/// The beginning of a node ID as IDs are stored. Consul leaves out the last character of an odd number,
/// then the dashes, and compares whole bytes.
fn id_prefix(text: &str) -> Option<String> {
    let even = text.as_bytes().get(..text.len() & !1)?;
    let dashes = even.iter().filter(|b| **b == b'-').count();
    let fits = (MIN_ID_PREFIX..=36).contains(&text.len()) && dashes <= 4;
    if !fits || !(even.len() - dashes).is_multiple_of(2) {
        return None;
    }
    let mut prefix = String::with_capacity(36);
    let whole = even.iter().copied().filter(|b| *b != b'-');
    for (at, digit) in whole.enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            prefix.push('-');
        }
        prefix.push(match digit {
            b'0'..=b'9' | b'a'..=b'f' => char::from(digit),
            b'A'..=b'F' => char::from(digit.to_ascii_lowercase()),
            _ => return None,
        });
    }
    Some(prefix)
}

fn same(a: &Node, b: &Node) -> bool {
    a.id == b.id
        && a.node == b.node
        && a.address == b.address
        && a.datacenter == b.datacenter
        && a.tagged_addresses == b.tagged_addresses
        && a.meta == b.meta
}

/// Whether a registration says anything new about its node.
pub fn changes_node(r: &RegisterRequest, old: &Node) -> bool {
    let same = r.id == old.id
        && r.node == old.node
        && r.address == old.address
        && r.datacenter == old.datacenter
        && r.tagged_addresses == old.tagged_addresses
        && r.node_meta == old.meta;
    !r.skip_node_update && !same
}

/// Refuses a name that another living node has.
fn no_similar_name(conn: &Connection, node: &Node, clash_without_id: bool) -> Cmd<()> {
    let name = lower(&node.node);
    let Some(other) = get(conn, &name)? else {
        return Ok(());
    };
    if other.id == node.id || (other.id.is_empty() && clash_without_id) {
        return Ok(());
    }
    match super::check::get(conn, &name, "serfHealth")? {
        Some(c) if c.status != super::check::CRITICAL => Fail::refuse(format!(
            "Node name {} is reserved by node {} with name {} ({})",
            node.node, other.id, other.node, other.address
        )),
        _ => Ok(()),
    }
}

impl Tx<'_> {
    /// Writes a node; `node` becomes what is stored.
    pub fn ensure_node(&mut self, node: &mut Node) -> Cmd<()> {
        let mut existing = None;
        if !node.id.is_empty() {
            existing = by_id(self.conn, &node.id)?;
            match &existing {
                Some(old) if old.node != node.node => {
                    no_similar_name(self.conn, node, false).map_err(|e| {
                        let (id, address) = (quote(&node.id), &node.address);
                        e.context(&format!("Error while renaming Node ID: {id} ({address}): "))
                    })?;
                    let old_name = old.node.clone();
                    self.delete_node(&old_name)?;
                }
                Some(_) => {}
                None => no_similar_name(self.conn, node, true).map_err(|e| {
                    e.context(&format!(
                        "Error while renaming Node ID: {}: ",
                        quote(&node.id)
                    ))
                })?,
            }
        }
        let name = lower(&node.node);
        if existing.is_none() {
            existing = get(self.conn, &name)?;
        }
        (node.create_index, node.modify_index) = (self.index, self.index);
        if let Some(old) = existing {
            node.create_index = old.create_index;
            if same(node, &old) {
                node.modify_index = old.modify_index;
                return Ok(());
            }
        }
        self.node_put(node)?;
        self.bump("nodes");
        self.changed_table(Table::Nodes);
        self.changed(Kind::Node, &name);
        self.touch_services_of(&name)
    }

    /// Stores a node as it is.
    pub fn node_put(&mut self, node: &Node) -> Cmd<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO nodes VALUES (?1, ?2, ?3)")?
            .execute(params![
                lower(&node.node),
                node.id.to_lowercase(),
                pack(node)?
            ])?;
        Ok(())
    }

    /// Writes a node if the modify index matches; 0 means only if there is none.
    pub fn ensure_node_cas(&mut self, node: &mut Node) -> Cmd<bool> {
        let existing = txn_node(self.conn, node)?;
        let matches = match &existing {
            None => node.modify_index == 0,
            Some(e) => node.modify_index != 0 && node.modify_index == e.modify_index,
        };
        if matches {
            self.ensure_node(node)?;
        }
        Ok(matches)
    }

    /// Removes a node with its services, checks, coordinates and sessions. An unknown one changes
    /// nothing.
    pub fn delete_node(&mut self, name: &str) -> Cmd<()> {
        let name = lower(name);
        if get(self.conn, &name)?.is_none() {
            return Ok(());
        }
        let conn = self.conn;
        for id in texts(
            conn,
            "SELECT id FROM services WHERE node = ?1 ORDER BY id",
            [&name],
        )? {
            self.delete_service(&name, &id)?;
        }
        for id in texts(
            conn,
            "SELECT id FROM checks WHERE node = ?1 ORDER BY id",
            [&name],
        )? {
            self.delete_check(&name, &id)?;
        }
        let coordinates = conn
            .prepare_cached("DELETE FROM coordinates WHERE node = ?1")?
            .execute([&name])?;
        if coordinates > 0 {
            self.bump("coordinates");
            self.changed_table(Table::Coordinates);
            self.changed(Kind::NodeCoordinates, &name);
        }
        conn.prepare_cached("DELETE FROM nodes WHERE name = ?1")?
            .execute([&name])?;
        self.bump("nodes");
        self.changed_table(Table::Nodes);
        self.changed(Kind::Node, &name);
        self.invalidate_node(&name)
    }
}

/// The node that an operation of a transaction names: by ID if it gives one, else by name.
pub fn txn_node(conn: &Connection, node: &Node) -> Cmd<Option<Node>> {
    if node.id.is_empty() {
        get(conn, &lower(&node.node))
    } else {
        by_id(conn, &node.id)
    }
}

/// Whether a node has all the metadata asked for.
pub fn meta_matches(meta: &Map<String>, filters: &Map<String>) -> bool {
    filters
        .iter()
        .flatten()
        .all(|(k, v)| meta.as_ref().and_then(|m| m.get(k)) == Some(v))
}

impl Read {
    /// All nodes by name, those with the given metadata if any is given; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn nodes(
        &self,
        ws: &mut WatchSet,
        meta: &Map<String>,
    ) -> Result<(u64, Vec<Node>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::Nodes);
            let mut all: Vec<Node> = objects(conn, "SELECT data FROM nodes ORDER BY name", [])?;
            all.retain(|n| meta_matches(&n.meta, meta));
            Ok((index_of(conn, "nodes")?, all))
        })
    }

    /// A node by name, without case; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn node(&self, ws: &mut WatchSet, name: &str) -> Result<(u64, Option<Node>), StoreError> {
        self.run(ws, |conn, ws| {
            let node = get(conn, &lower(name))?;
            watch_node(ws, node.as_ref());
            Ok((index_of(conn, "nodes")?, node))
        })
    }

    /// A node by its ID; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_by_id(
        &self,
        ws: &mut WatchSet,
        id: &str,
    ) -> Result<(u64, Option<Node>), StoreError> {
        self.run(ws, |conn, ws| {
            let node = by_id(conn, id)?;
            watch_node(ws, node.as_ref());
            Ok((index_of(conn, "nodes")?, node))
        })
    }

    /// A node (by name or ID) and its services, ordered by ID; `None` with index 0 for an unknown node.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_services(
        &self,
        ws: &mut WatchSet,
        asked: &str,
    ) -> Result<(u64, Option<NodeServiceList>), StoreError> {
        self.run(ws, |conn, ws| {
            let Some(node) = by_name_or_id(conn, asked)? else {
                ws.table(Table::Nodes);
                return Ok((0, None));
            };
            let name = lower(&node.node);
            if name != lower(asked) {
                // Another node may come whose ID begins alike.
                ws.table(Table::Nodes);
            }
            ws.named(Kind::Node, &name);
            ws.named(Kind::NodeServices, &name);
            let services = super::service::of_node(conn, &name)?;
            let index = max_index(conn, &["nodes", "services"])?;
            let list = NodeServiceList {
                node: Some(node),
                services: Some(services),
            };
            Ok((index, Some(list)))
        })
    }
}

fn watch_node(ws: &mut WatchSet, node: Option<&Node>) {
    match node {
        Some(n) => ws.named(Kind::Node, &lower(&n.node)),
        None => ws.table(Table::Nodes),
    }
}

/// An empty list is Go's nil.
pub fn nil_if_empty<T>(list: Vec<T>) -> List<T> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_ids_are_whole_bytes_whatever_the_dashes() {
        for (text, wanted) in [
            ("8f20", Some("8f20")),
            ("8F2", Some("8f")),
            ("8f20b1c45a1d", Some("8f20b1c4-5a1d")),
            ("8f20b1c4-", Some("8f20b1c4")),
            ("8f20b1c4-5", None),
            ("8f20b1c4-5a", None),
            ("8f20b1c4-5a1d", None),
            ("8f20b1c4-5a1d-", Some("8f20b1c4-5a1d")),
            ("8-", None),
            ("--", Some("")),
            ("8", None),
            ("8g", None),
            ("-----8f", None),
            (
                "8f20b1c4-5a1d-4c07-9f6e-0123456789ab",
                Some("8f20b1c4-5a1d-4c07-9f6e-0123456789ab"),
            ),
            ("8f20b1c4-5a1d-4c07-9f6e-0123456789ab0", None),
            ("8f\u{e9}", None),
        ] {
            assert_eq!(id_prefix(text).as_deref(), wanted, "{text}");
        }
    }
}
