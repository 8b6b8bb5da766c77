//! Saving and restoring the servers' state through one of them.
//!
//! Source: `docs/reference/rpc.md` section 13; the texts are those of a running Consul 1.8.7.

use std::fs::File;

use super::Client;
use crate::net::pool::CallError;
use crate::net::snapshot::{self, unnamed_file};
use crate::structs::{self, Error, Result, SnapshotRequest, SnapshotResponse};

impl Client {
    pub(super) async fn save_snapshot(
        &self,
        request: SnapshotRequest,
    ) -> Result<(SnapshotResponse, File)> {
        let unusable = |e: std::io::Error| {
            let dir = self.options.temp_dir.display();
            Error::new(format!("failed to keep the snapshot in {dir}: {e}"))
        };
        let mut tries = self.servers.len();
        loop {
            let server = self.front()?;
            let file = unnamed_file(&self.options.temp_dir).map_err(unusable)?;
            let saved = snapshot::save(server, self.pool.source(), &request, file).await;
            let error = match saved {
                Ok(saved) => return Ok(saved),
                Err(error) => error,
            };
            tries = tries.saturating_sub(1);
            self.give_up(server, &error, tries)?;
        }
    }

    pub(super) async fn restore_snapshot(
        &self,
        request: SnapshotRequest,
        file: File,
    ) -> Result<SnapshotResponse> {
        let mut tries = self.servers.len();
        loop {
            let server = self.front()?;
            let again = file
                .try_clone()
                .map_err(|e| Error::new(format!("failed to read the snapshot: {e}")))?;
            let restored = snapshot::restore(server, self.pool.source(), &request, again).await;
            let error = match restored {
                Ok(restored) => return Ok(restored),
                Err(error) => error,
            };
            tries = tries.saturating_sub(1);
            self.give_up(server, &error, tries)?;
        }
    }

    fn front(&self) -> Result<std::net::SocketAddr> {
        let server = self.servers.front();
        let server = server.ok_or_else(|| Error::new(structs::NO_KNOWN_SERVERS))?;
        Ok(server.address)
    }

    /// Turns to the next server when this one could not be reached at all, else gives up.
    fn give_up(&self, server: std::net::SocketAddr, error: &CallError, tries: usize) -> Result<()> {
        if matches!(error, CallError::Remote(_)) {
            return Err(error.plain());
        }
        self.servers.failed(server);
        if matches!(error, CallError::Unreachable(_)) && tries > 0 {
            return Ok(());
        }
        Err(error.plain())
    }
}
