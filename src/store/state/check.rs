//! Health checks: registration, removal, and the reads of checks alone.
//!
//! Holds true: a check's service name and tags are those of its service when it was last written; a
//! check that becomes critical or goes away ends the sessions bound to it.
//! Source: `docs/reference/http-2.md` sections 7.1, 7.2 and 8, `docs/reference/http-1.md` section 4.3.

use rusqlite::{Connection, params};

use super::node::{self, lower, meta_matches};
use super::tx::{Cmd, Fail, Tx, index_of, object, objects, pack};
use super::{Read, service};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::HealthCheck;
use crate::structs::go::{Map, quote};

/// The status that ends sessions.
pub const CRITICAL: &str = "critical";

/// A check by lower-cased node name and check ID.
pub fn get(conn: &Connection, node: &str, id: &str) -> Cmd<Option<HealthCheck>> {
    object(
        conn,
        "SELECT data FROM checks WHERE node = ?1 AND id = ?2",
        [node, &lower(id)],
    )
}

/// The checks of an instance on a node (both lower-cased), of the node itself for `""`.
pub fn of_service(conn: &Connection, node: &str, service_id: &str) -> Cmd<Vec<HealthCheck>> {
    objects(
        conn,
        "SELECT data FROM checks WHERE node = ?1 AND service_id = ?2 ORDER BY id",
        [node, service_id],
    )
}

/// All checks on a node (lower-cased).
pub fn of_node(conn: &Connection, node: &str) -> Cmd<Vec<HealthCheck>> {
    objects(
        conn,
        "SELECT data FROM checks WHERE node = ?1 ORDER BY id",
        [node],
    )
}

fn same(a: &HealthCheck, b: &HealthCheck) -> bool {
    a.node == b.node
        && a.check_id == b.check_id
        && a.name == b.name
        && a.status == b.status
        && a.notes == b.notes
        && a.output == b.output
        && a.service_id == b.service_id
        && a.service_name == b.service_name
        && a.service_tags == b.service_tags
        && a.definition == b.definition
}

impl Tx<'_> {
    fn check_changed(&mut self, node: &str, c: &HealthCheck) {
        self.bump("checks");
        self.changed_table(Table::Checks);
        self.changed(Kind::NodeChecks, node);
        self.changed(Kind::CheckState, &c.status);
        if !c.service_name.is_empty() {
            self.changed(Kind::ServiceChecks, &lower(&c.service_name));
        }
    }

    /// Writes a check; `check` becomes what is stored.
    pub fn ensure_check(&mut self, check: &mut HealthCheck) -> Cmd<()> {
        let node = lower(&check.node);
        let existing = get(self.conn, &node, &check.check_id)?;
        (check.create_index, check.modify_index) = (self.index, self.index);
        if let Some(old) = &existing {
            check.create_index = old.create_index;
        }
        if check.status.is_empty() {
            check.status = CRITICAL.to_owned();
        }
        if node::get(self.conn, &node)?.is_none() {
            return Fail::refuse("Missing node registration");
        }
        let service = self.check_service(&node, check)?;
        let modified = existing.as_ref().is_none_or(|old| !same(old, check));
        if modified {
            match &service {
                Some(s) => self.touch_service(s),
                None => self.touch_services_of(&node)?,
            }
        }
        if check.status == CRITICAL {
            self.invalidate_check(&node, &lower(&check.check_id))?;
        }
        if modified {
            self.check_put(check)?;
        }
        if let Some(old) = existing {
            self.check_changed(&node, &old);
            if !modified {
                check.modify_index = old.modify_index;
            }
        }
        // Consul moves the table's index also for a write that changes nothing.
        self.check_changed(&node, check);
        Ok(())
    }

    /// Fills in what a check takes from its service; the service, if it has one.
    fn check_service(
        &mut self,
        node: &str,
        check: &mut HealthCheck,
    ) -> Cmd<Option<crate::structs::NodeService>> {
        if check.service_id.is_empty() {
            return Ok(None);
        }
        let Some(s) = service::get(self.conn, node, &check.service_id)? else {
            return Fail::refuse("Missing service registration");
        };
        check.service_name.clone_from(&s.service);
        check.service_tags.clone_from(&s.tags);
        Ok(Some(s))
    }

    /// Stores a check as it is.
    pub fn check_put(&mut self, c: &HealthCheck) -> Cmd<()> {
        if c.check_id.is_empty() {
            return Fail::refuse("failed inserting check: object missing primary index");
        }
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO checks VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![
                lower(&c.node),
                lower(&c.check_id),
                lower(&c.service_id),
                lower(&c.service_name),
                c.status,
                pack(c)?
            ])?;
        Ok(())
    }

    /// Writes a check if the modify index matches; 0 means only if there is none.
    pub fn ensure_check_cas(&mut self, check: &mut HealthCheck) -> Cmd<bool> {
        let existing = get(self.conn, &lower(&check.node), &check.check_id)?;
        let matches = match &existing {
            None => check.modify_index == 0,
            Some(e) => check.modify_index != 0 && check.modify_index == e.modify_index,
        };
        if matches {
            self.ensure_check(check)?;
        }
        Ok(matches)
    }

    /// Writes the check of a registration, which must be on the registered node.
    pub fn ensure_check_on(&mut self, node: &str, check: &HealthCheck) -> Cmd<()> {
        let mut check = check.clone();
        if lower(&check.node) != lower(node) {
            return Fail::refuse(format!(
                "check node {} does not match node {}",
                quote(&check.node),
                quote(node)
            ));
        }
        self.ensure_check(&mut check).map_err(|e| match e {
            Fail::Refused(t) => Fail::Refused(format!(
                "failed inserting check: {t} on node {}",
                quote(node)
            )),
            other => other,
        })
    }

    /// Removes a check. An unknown one changes nothing.
    pub fn delete_check(&mut self, node: &str, id: &str) -> Cmd<()> {
        let (node, id) = (lower(node), lower(id));
        let Some(check) = get(self.conn, &node, &id)? else {
            return Ok(());
        };
        if check.service_id.is_empty() {
            self.touch_services_of(&node)?;
            self.bump("services");
        } else if let Some(s) = service::get(self.conn, &node, &check.service_id)? {
            self.touch_service(&s);
        }
        self.conn
            .prepare_cached("DELETE FROM checks WHERE node = ?1 AND id = ?2")?
            .execute([&node, &id])?;
        self.check_changed(&node, &check);
        self.invalidate_check(&node, &id)
    }
}

/// Keeps the checks whose node has all the metadata asked for.
fn filter_by_meta(
    conn: &Connection,
    checks: &mut Vec<HealthCheck>,
    meta: &Map<String>,
) -> Cmd<bool> {
    if meta.as_ref().is_none_or(|m| m.is_empty()) {
        return Ok(false);
    }
    let mut kept = Vec::new();
    for c in checks.drain(..) {
        let node = node::get(conn, &lower(&c.node))?;
        if node.is_some_and(|n| meta_matches(&n.meta, meta)) {
            kept.push(c);
        }
    }
    *checks = kept;
    Ok(true)
}

impl Read {
    /// The checks on a node; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn node_checks(
        &self,
        ws: &mut WatchSet,
        node: &str,
    ) -> Result<(u64, Vec<HealthCheck>), StoreError> {
        self.run(ws, |conn, ws| {
            let node = lower(node);
            ws.named(Kind::NodeChecks, &node);
            Ok((index_of(conn, "checks")?, of_node(conn, &node)?))
        })
    }

    /// The service-level checks of a service, on nodes with the given metadata if any is given; and the
    /// index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn service_checks(
        &self,
        ws: &mut WatchSet,
        service: &str,
        meta: &Map<String>,
    ) -> Result<(u64, Vec<HealthCheck>), StoreError> {
        self.run(ws, |conn, ws| {
            let name = lower(service);
            ws.named(Kind::ServiceChecks, &name);
            let mut all = objects(
                conn,
                "SELECT data FROM checks WHERE service = ?1 ORDER BY node, id",
                [&name],
            )?;
            let index = if filter_by_meta(conn, &mut all, meta)? {
                ws.table(Table::Nodes);
                service::service_index(conn, ws, &name, true, true)?
            } else {
                index_of(conn, "checks")?
            };
            Ok((index, all))
        })
    }

    /// All checks in a state (`any` for all), on nodes with the given metadata if any is given; and the
    /// index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn checks_in_state(
        &self,
        ws: &mut WatchSet,
        state: &str,
        meta: &Map<String>,
    ) -> Result<(u64, Vec<HealthCheck>), StoreError> {
        self.run(ws, |conn, ws| {
            let mut all = if state == "any" {
                ws.table(Table::Checks);
                objects(conn, "SELECT data FROM checks ORDER BY node, id", [])?
            } else {
                ws.named(Kind::CheckState, state);
                objects(
                    conn,
                    "SELECT data FROM checks WHERE status = ?1 ORDER BY node, id",
                    [state],
                )?
            };
            if filter_by_meta(conn, &mut all, meta)? {
                ws.table(Table::Nodes);
            }
            Ok((index_of(conn, "checks")?, all))
        })
    }
}
