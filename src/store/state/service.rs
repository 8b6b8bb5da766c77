//! Service instances: registration, removal, and the reads of services without health.
//!
//! Holds true: each service has its own index (`service.NAME`), moved by its instances, their checks and
//! their nodes; with the last instance it is dropped and `service_last_extinction` moves.
//! Source: `docs/reference/http-2.md` sections 7.5 to 7.9, `docs/reference/raft.md` section 8.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::node::{self, lower, meta_matches};
use super::tx::{
    Cmd, Fail, Tx, from_sql, index_entry, index_of, max_index, object, objects, pack, texts, unpack,
};
use super::{Read, check};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::go::Map;
use crate::structs::{Node, NodeService, ServiceNode, Weights, validate_meta};

const EXTINCTION: &str = "service_last_extinction";
const CONNECT_PROXY: &str = "connect-proxy";

/// An instance by lower-cased node name and service ID.
pub fn get(conn: &Connection, node: &str, id: &str) -> Cmd<Option<NodeService>> {
    object(
        conn,
        "SELECT data FROM services WHERE node = ?1 AND id = ?2",
        [node, &lower(id)],
    )
}

/// All instances on a node (lower-cased), by ID.
pub fn of_node(conn: &Connection, node: &str) -> Cmd<Vec<NodeService>> {
    objects(
        conn,
        "SELECT data FROM services WHERE node = ?1 ORDER BY id",
        [node],
    )
}

fn same(a: &NodeService, b: &NodeService) -> bool {
    a.id == b.id
        && a.service == b.service
        && a.kind == b.kind
        && a.tags == b.tags
        && a.address == b.address
        && a.tagged_addresses == b.tagged_addresses
        && a.port == b.port
        && a.weights == b.weights
        && a.meta == b.meta
        && a.enable_tag_override == b.enable_tag_override
        && a.proxy == b.proxy
        && a.connect == b.connect
}

/// The service (lower-cased) that an instance serves over Connect: a proxy's destination, or its own
/// name when it speaks Connect natively.
fn connect_name(s: &NodeService) -> String {
    if s.kind == CONNECT_PROXY {
        lower(&s.proxy.destination_service_name)
    } else if s.connect.native {
        lower(&s.service)
    } else {
        String::new()
    }
}

fn kind_index(kind: &str) -> String {
    let kind = if kind.is_empty() { "typical" } else { kind };
    format!("service_kind.{kind}")
}

impl Tx<'_> {
    /// Moves the indexes of a service and its kind.
    pub fn touch_service(&mut self, s: &NodeService) {
        self.bump(&format!("service.{}", s.service));
        self.bump(&kind_index(&s.kind));
        self.changed(Kind::Service, &lower(&s.service));
    }

    /// Moves the indexes of every service on a node (lower-cased).
    pub fn touch_services_of(&mut self, node: &str) -> Cmd<()> {
        for s in of_node(self.conn, node)? {
            self.touch_service(&s);
        }
        Ok(())
    }

    /// Writes an instance on a node.
    pub fn ensure_service(&mut self, node: &str, service: &NodeService) -> Cmd<()> {
        if let Err(why) = validate_meta(service.meta.as_ref().unwrap_or(&BTreeMap::new()), false) {
            return Fail::refuse(format!(
                "Invalid Service Meta for node {node} and serviceID {}: {why}",
                service.id
            ));
        }
        let node = lower(node);
        let mut service = service.clone();
        if service.weights.as_ref().is_none_or(|w| w.passing == 0) {
            service.weights = Some(Weights {
                passing: 1,
                warning: 1,
            });
        }
        if node::get(self.conn, &node)?.is_none() {
            return Fail::refuse("Missing node registration");
        }
        if service.id.is_empty() {
            return Fail::refuse("failed inserting service: object missing primary index");
        }
        let existing = get(self.conn, &node, &service.id)?;
        (service.create_index, service.modify_index) = (self.index, self.index);
        if let Some(old) = &existing {
            service.create_index = old.create_index;
            if same(&service, old) {
                return Ok(());
            }
        }
        self.service_put(&node, &service)?;
        self.bump("services");
        self.changed_table(Table::Services);
        self.changed(Kind::NodeServices, &node);
        self.touch_service(&service);
        // The index of a service that an instance leaves by a new name stays, as in Consul.
        if let Some(old) = existing {
            self.changed(Kind::Service, &lower(&old.service));
        }
        Ok(())
    }

    /// Stores an instance as it is. `node` is lower-cased.
    pub fn service_put(&mut self, node: &str, s: &NodeService) -> Cmd<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO services VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                node,
                lower(&s.id),
                lower(&s.service),
                s.kind,
                connect_name(s),
                pack(s)?
            ])?;
        Ok(())
    }

    /// Writes an instance if the modify index matches; 0 means only if there is none.
    pub fn ensure_service_cas(&mut self, node: &str, service: &NodeService) -> Cmd<bool> {
        let existing = get(self.conn, &lower(node), &service.id)?;
        let matches = match &existing {
            None => service.modify_index == 0,
            Some(e) => service.modify_index != 0 && service.modify_index == e.modify_index,
        };
        if matches {
            self.ensure_service(node, service)?;
        }
        Ok(matches)
    }

    /// Removes an instance with its checks. An unknown one changes nothing.
    pub fn delete_service(&mut self, node: &str, id: &str) -> Cmd<()> {
        let (node, id) = (lower(node), lower(id));
        let Some(service) = get(self.conn, &node, &id)? else {
            return Ok(());
        };
        let checks = texts(
            self.conn,
            "SELECT id FROM checks WHERE node = ?1 AND service_id = ?2 ORDER BY id",
            [&node, &id],
        )?;
        for check in checks {
            self.delete_check(&node, &check)?;
        }
        self.bump("checks");
        self.conn
            .prepare_cached("DELETE FROM services WHERE node = ?1 AND id = ?2")?
            .execute([&node, &id])?;
        self.bump("services");
        self.changed_table(Table::Services);
        self.changed(Kind::NodeServices, &node);
        self.bump(&kind_index(&service.kind));
        self.service_left(&service)
    }

    /// An instance stopped being one of its service.
    fn service_left(&mut self, s: &NodeService) -> Cmd<()> {
        let name = lower(&s.service);
        self.changed(Kind::Service, &name);
        let left = self
            .conn
            .prepare_cached("SELECT 1 FROM services WHERE name = ?1 LIMIT 1")?
            .exists([&name])?;
        let key = format!("service.{}", s.service);
        if left {
            self.bump(&key);
        } else {
            self.drop_index(&key);
            self.bump(EXTINCTION);
            self.changed_table(Table::Extinction);
        }
        Ok(())
    }
}

/// The index for a read of one service, and what it depends on.
pub fn service_index(
    conn: &Connection,
    ws: &mut WatchSet,
    name: &str,
    exists: bool,
    checks: bool,
) -> Cmd<u64> {
    ws.named(Kind::Service, name);
    if !exists {
        ws.table(Table::Extinction);
        if let Some(index) = index_entry(conn, EXTINCTION)? {
            return Ok(index);
        }
    }
    if let Some(index) = index_entry(conn, &format!("service.{name}"))? {
        return Ok(index);
    }
    // Neither known: the tables as a whole stand in, as long as nothing was ever deregistered.
    ws.table(Table::Services);
    ws.table(Table::Nodes);
    if checks {
        ws.table(Table::Checks);
        return max_index(conn, &["nodes", "services", "checks"]);
    }
    max_index(conn, &["nodes", "services"])
}

/// Instances with the name of their node, of a service or of what serves it over Connect.
pub fn instances(conn: &Connection, name: &str, connect: bool) -> Cmd<Vec<(String, NodeService)>> {
    let sql = if connect {
        "SELECT node, data FROM services WHERE connect = ?1 AND connect <> '' ORDER BY node, id"
    } else {
        "SELECT node, data FROM services WHERE name = ?1 ORDER BY node, id"
    };
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query([name])?;
    let mut out = Vec::new();
    while let Some(r) = rows.next()? {
        out.push((
            r.get(0)?,
            unpack(r.get_ref(1)?.as_bytes().map_err(from_sql)?)?,
        ));
    }
    Ok(out)
}

/// The node (lower-cased) of an instance.
pub fn node_of(conn: &Connection, node: &str) -> Cmd<Node> {
    node::get(conn, node)?.ok_or_else(|| Fail::Damaged(format!("service without node {node}")))
}

/// The flattened form of an instance on its node. Consul copies tags and metadata, and its copies are never
/// null.
pub fn flatten(node: &Node, s: NodeService) -> ServiceNode {
    ServiceNode {
        id: node.id.clone(),
        node: node.node.clone(),
        address: node.address.clone(),
        datacenter: node.datacenter.clone(),
        tagged_addresses: node.tagged_addresses.clone(),
        node_meta: node.meta.clone(),
        service_kind: s.kind,
        service_id: s.id,
        service_name: s.service,
        service_tags: Some(s.tags.unwrap_or_default()),
        service_address: s.address,
        service_tagged_addresses: s.tagged_addresses,
        service_weights: s.weights.unwrap_or_default(),
        service_meta: Some(s.meta.unwrap_or_default()),
        service_port: s.port,
        service_enable_tag_override: s.enable_tag_override,
        service_proxy: s.proxy,
        service_connect: s.connect,
        create_index: s.create_index,
        modify_index: s.modify_index,
    }
}

/// The index over all that serves a service over Connect. Each proxy has a service of its own.
pub fn connect_index(
    conn: &Connection,
    ws: &mut WatchSet,
    name: &str,
    found: &[(String, NodeService)],
    checks: bool,
) -> Cmd<u64> {
    // Who serves a service over Connect may be any service: a new one shows in the whole table only.
    ws.table(Table::Services);
    if found.is_empty() {
        return service_index(conn, ws, name, false, checks);
    }
    let names: BTreeSet<String> = found.iter().map(|(_, s)| lower(&s.service)).collect();
    let mut index = 0;
    for n in &names {
        index = index.max(service_index(conn, ws, n, true, checks)?);
    }
    Ok(index)
}

impl Read {
    /// Service names with the union of their instances' tags, on nodes with the given metadata if any is
    /// given; and the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn services(
        &self,
        ws: &mut WatchSet,
        meta: &Map<String>,
    ) -> Result<(u64, BTreeMap<String, Vec<String>>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::Services);
            let mut index = index_of(conn, "services")?;
            let filtered = meta.as_ref().is_some_and(|m| !m.is_empty());
            if filtered {
                ws.table(Table::Nodes);
                index = index.max(index_of(conn, "nodes")?);
            }
            let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut select =
                conn.prepare_cached("SELECT node, data FROM services ORDER BY node, id")?;
            let mut rows = select.query([])?;
            while let Some(r) = rows.next()? {
                if filtered {
                    let node = node::get(conn, &r.get::<_, String>(0)?)?;
                    if !node.is_some_and(|n| meta_matches(&n.meta, meta)) {
                        continue;
                    }
                }
                let s: NodeService = unpack(r.get_ref(1)?.as_bytes().map_err(from_sql)?)?;
                let known = tags.entry(s.service).or_default();
                for tag in s.tags.into_iter().flatten() {
                    if !known.contains(&tag) {
                        known.push(tag);
                    }
                }
            }
            Ok((index, tags))
        })
    }

    /// All service names; and the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn service_list(&self, ws: &mut WatchSet) -> Result<(u64, Vec<String>), StoreError> {
        let (index, services) = self.services(ws, &None)?;
        Ok((index, services.into_keys().collect()))
    }

    /// The instances of a service (or, with `connect`, of what serves it over Connect) in flattened
    /// form, by node name and service ID; and the service's index.
    ///
    /// # Errors
    /// The disk's.
    pub fn service_nodes(
        &self,
        ws: &mut WatchSet,
        service: &str,
        connect: bool,
    ) -> Result<(u64, Vec<ServiceNode>), StoreError> {
        self.run(ws, |conn, ws| {
            let name = lower(service);
            let found = instances(conn, &name, connect)?;
            if connect {
                // Who serves a service over Connect may be any service.
                ws.table(Table::Services);
                ws.table(Table::Nodes);
            }
            let index = service_index(conn, ws, &name, !found.is_empty(), false)?;
            let mut out = Vec::with_capacity(found.len());
            for (node, s) in found {
                out.push(flatten(&node_of(conn, &node)?, s));
            }
            Ok((index, out))
        })
    }

    /// The instances that have an address of their own, as given or tagged, in flattened form, by node
    /// name and service ID; and the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn service_address_nodes(
        &self,
        ws: &mut WatchSet,
        address: &str,
    ) -> Result<(u64, Vec<ServiceNode>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::Services);
            ws.table(Table::Nodes);
            // Only what has the text somewhere is worth decoding.
            let mut select = conn.prepare_cached(
                "SELECT node, data FROM services WHERE instr(data, CAST(?1 AS BLOB)) > 0 \
                 ORDER BY node, id",
            )?;
            let mut rows = select.query([address])?;
            let mut out = Vec::new();
            while let Some(r) = rows.next()? {
                let s: NodeService = unpack(r.get_ref(1)?.as_bytes().map_err(from_sql)?)?;
                let mut tagged = s.tagged_addresses.iter().flatten();
                if s.address == address || tagged.any(|(_, t)| t.address == address) {
                    out.push(flatten(
                        &node_of(conn, r.get_ref(0)?.as_str().map_err(from_sql)?)?,
                        s,
                    ));
                }
            }
            Ok((max_index(conn, &["nodes", "services"])?, out))
        })
    }

    /// One instance by node name and service ID; and the index.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_service(
        &self,
        ws: &mut WatchSet,
        node: &str,
        service_id: &str,
    ) -> Result<(u64, Option<NodeService>), StoreError> {
        self.run(ws, |conn, ws| {
            let node = lower(node);
            ws.named(Kind::NodeServices, &node);
            Ok((index_of(conn, "services")?, get(conn, &node, service_id)?))
        })
    }
}

/// The checks that concern an instance: those of its node and its own.
pub fn checks_of(
    conn: &Connection,
    node: &str,
    service_id: &str,
) -> Cmd<Vec<crate::structs::HealthCheck>> {
    let mut all = check::of_service(conn, node, "")?;
    all.extend(check::of_service(conn, node, &lower(service_id))?);
    Ok(all)
}
