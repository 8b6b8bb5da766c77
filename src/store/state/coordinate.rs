//! Network coordinates of nodes.
//!
//! Source: `docs/reference/http-1.md` section 6.

use rusqlite::params;

use super::Read;
use super::node::{self, lower};
use super::tx::{Cmd, Tx, index_of, objects, pack};
use crate::store::error::StoreError;
use crate::store::watch::{Kind, Table, WatchSet};
use crate::structs::Coordinate;

impl Tx<'_> {
    /// Writes a batch; coordinates of unknown nodes are dropped.
    pub fn coordinates_update(&mut self, batch: &[Coordinate]) -> Cmd<()> {
        for c in batch {
            let name = lower(&c.node);
            if c.coord.is_none() || node::get(self.conn, &name)?.is_none() {
                continue;
            }
            self.coordinate_put(c)?;
            self.changed(Kind::NodeCoordinates, &name);
        }
        self.bump("coordinates");
        self.changed_table(Table::Coordinates);
        Ok(())
    }

    /// Stores a coordinate as it is.
    pub fn coordinate_put(&mut self, c: &Coordinate) -> Cmd<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO coordinates VALUES (?1, ?2, ?3)")?
            .execute(params![lower(&c.node), c.segment, pack(c)?])?;
        Ok(())
    }
}

impl Read {
    /// All coordinates by node and segment; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn coordinates(&self, ws: &mut WatchSet) -> Result<(u64, Vec<Coordinate>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::Coordinates);
            let all = objects(
                conn,
                "SELECT data FROM coordinates ORDER BY node, segment",
                [],
            )?;
            Ok((index_of(conn, "coordinates")?, all))
        })
    }

    /// The coordinates of one node in all its segments; and the index of the table.
    ///
    /// # Errors
    /// The disk's.
    pub fn coordinate(
        &self,
        ws: &mut WatchSet,
        node: &str,
    ) -> Result<(u64, Vec<Coordinate>), StoreError> {
        self.run(ws, |conn, ws| {
            let name = lower(node);
            ws.named(Kind::NodeCoordinates, &name);
            let all = objects(
                conn,
                "SELECT data FROM coordinates WHERE node = ?1 ORDER BY segment",
                [&name],
            )?;
            Ok((index_of(conn, "coordinates")?, all))
        })
    }
}
