//! Reads that put nodes, services and checks together: health of a service, dumps of everything.
//!
//! Source: `docs/reference/http-2.md` sections 8 and 14.

use rusqlite::Connection;

use super::node::{self, lower};
use super::service::{checks_of, connect_index, instances, service_index};
use super::tx::{Cmd, from_sql, max_index, unpack};
use super::{Read, check, service};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::{CheckServiceNode, Node, NodeInfo, NodeService};

/// Puts an instance, its node and its checks together. `node` is lower-cased.
fn with_checks(conn: &Connection, node: &str, s: NodeService) -> Cmd<CheckServiceNode> {
    let checks = checks_of(conn, node, &s.id)?;
    Ok(CheckServiceNode {
        node: Some(service::node_of(conn, node)?),
        service: Some(s),
        checks: node::nil_if_empty(checks),
    })
}

fn info(conn: &Connection, node: Node) -> Cmd<NodeInfo> {
    let name = lower(&node.node);
    Ok(NodeInfo {
        services: node::nil_if_empty(service::of_node(conn, &name)?),
        checks: node::nil_if_empty(check::of_node(conn, &name)?),
        id: node.id,
        node: node.node,
        address: node.address,
        tagged_addresses: node.tagged_addresses,
        meta: node.meta,
    })
}

const CATALOG: [&str; 3] = ["nodes", "services", "checks"];

fn watch_catalog(ws: &mut WatchSet) {
    ws.table(Table::Nodes);
    ws.table(Table::Services);
    ws.table(Table::Checks);
}

impl Read {
    /// The instances of a service (or, with `connect`, of what serves it over Connect) with their nodes
    /// and checks, by node name and service ID; and the service's index.
    ///
    /// # Errors
    /// The disk's.
    pub fn check_service_nodes(
        &self,
        ws: &mut WatchSet,
        service: &str,
        connect: bool,
    ) -> Result<(u64, Vec<CheckServiceNode>), StoreError> {
        self.run(ws, |conn, ws| {
            let name = lower(service);
            let found = instances(conn, &name, connect)?;
            let index = if connect {
                connect_index(conn, ws, &name, &found, true)?
            } else {
                service_index(conn, ws, &name, !found.is_empty(), true)?
            };
            let all = found
                .into_iter()
                .map(|(node, s)| with_checks(conn, &node, s));
            Ok((index, all.collect::<Cmd<_>>()?))
        })
    }

    /// The instances of ingress gateways that expose a service. Which those are is said by config
    /// entries, so there are none yet; the index is 0, as for a table never written.
    ///
    /// # Errors
    /// The disk's.
    pub fn check_ingress_service_nodes(
        &self,
        ws: &mut WatchSet,
        service: &str,
    ) -> Result<(u64, Vec<CheckServiceNode>), StoreError> {
        self.run(ws, |conn, ws| {
            service_index(conn, ws, &lower(service), false, true)?;
            Ok((0, Vec::new()))
        })
    }

    /// Every service instance (of one kind if given, `""` being the ordinary ones) with node and checks;
    /// nodes without any service appear once without one when no kind is given.
    ///
    /// # Errors
    /// The disk's.
    pub fn service_dump(
        &self,
        ws: &mut WatchSet,
        kind: Option<&str>,
    ) -> Result<(u64, Vec<CheckServiceNode>), StoreError> {
        self.run(ws, |conn, ws| {
            watch_catalog(ws);
            let mut out = Vec::new();
            let mut select = conn.prepare_cached(
                "SELECT node, data FROM services WHERE ?1 IS NULL OR kind = ?1 ORDER BY node, id",
            )?;
            let mut rows = select.query([kind])?;
            while let Some(r) = rows.next()? {
                let node: String = r.get(0)?;
                let s = unpack(r.get_ref(1)?.as_bytes().map_err(from_sql)?)?;
                out.push(with_checks(conn, &node, s)?);
            }
            Ok((max_index(conn, &CATALOG)?, out))
        })
    }

    /// One node (by name) with its services and checks, in a list of one or none; and the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_info(
        &self,
        ws: &mut WatchSet,
        name: &str,
    ) -> Result<(u64, Vec<NodeInfo>), StoreError> {
        self.run(ws, |conn, ws| {
            let index = max_index(conn, &CATALOG)?;
            let name = lower(name);
            let Some(node) = node::get(conn, &name)? else {
                ws.table(Table::Nodes);
                return Ok((index, Vec::new()));
            };
            ws.named(Kind::Node, &name);
            ws.named(Kind::NodeServices, &name);
            ws.named(Kind::NodeChecks, &name);
            Ok((index, vec![info(conn, node)?]))
        })
    }

    /// Every node with its services and checks, by name; and the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_dump(&self, ws: &mut WatchSet) -> Result<(u64, Vec<NodeInfo>), StoreError> {
        self.run(ws, |conn, ws| {
            watch_catalog(ws);
            let mut select = conn.prepare_cached("SELECT data FROM nodes ORDER BY name")?;
            let mut rows = select.query([])?;
            let mut out = Vec::new();
            while let Some(r) = rows.next()? {
                let node = unpack(r.get_ref(0)?.as_bytes().map_err(from_sql)?)?;
                out.push(info(conn, node)?);
            }
            Ok((max_index(conn, &CATALOG)?, out))
        })
    }
}
