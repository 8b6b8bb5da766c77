//! Autopilot's settings.
//!
//! Source: `docs/reference/http-1.md` section 10.2.

use rusqlite::{Connection, params};

use super::Read;
use super::tx::{Cmd, Tx, object, pack};
use crate::store::error::StoreError;
use crate::store::watch::{Table, WatchSet};
use crate::structs::AutopilotConfig;

fn get(conn: &Connection) -> Cmd<Option<AutopilotConfig>> {
    object(conn, "SELECT data FROM autopilot", [])
}

impl Tx<'_> {
    /// Replaces the settings.
    pub fn autopilot_set(&mut self, config: &AutopilotConfig) -> Cmd<()> {
        let mut config = config.clone();
        config.modify_index = self.index;
        config.create_index = get(self.conn)?.map_or(self.index, |old| old.create_index);
        self.autopilot_put(&config)?;
        self.changed_table(Table::Autopilot);
        Ok(())
    }

    /// Stores the settings as they are.
    pub fn autopilot_put(&mut self, config: &AutopilotConfig) -> Cmd<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO autopilot VALUES (1, ?1)")?
            .execute(params![pack(config)?])?;
        Ok(())
    }

    /// Replaces the settings if the modify index matches.
    pub fn autopilot_cas(&mut self, config: &AutopilotConfig) -> Cmd<bool> {
        match get(self.conn)? {
            Some(old) if old.modify_index == config.modify_index => {
                self.autopilot_set(config).map(|()| true)
            }
            _ => Ok(false),
        }
    }
}

impl Read {
    /// Autopilot's settings with their own index, `None` before they were first written.
    ///
    /// # Errors
    /// The disk's.
    pub fn autopilot_config(
        &self,
        ws: &mut WatchSet,
    ) -> Result<(u64, Option<AutopilotConfig>), StoreError> {
        self.run(ws, |conn, ws| {
            ws.table(Table::Autopilot);
            let config = get(conn)?;
            Ok((config.as_ref().map_or(0, |c| c.modify_index), config))
        })
    }
}
