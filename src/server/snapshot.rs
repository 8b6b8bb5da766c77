//! Saving and restoring the whole state as Consul's archive.
//!
//! Source: `docs/reference/http-1.md` section 9, `docs/reference/raft.md` sections 8 and 9.

use std::fs::File;
use std::time::Duration;

use super::{Server, propose_error};
use crate::acl::{Ask, Scalar};
use crate::drive;
use crate::net::snapshot::{self, unnamed_file};
use crate::store::snapshot::archive;
use crate::structs::go::GoTime;
use crate::structs::{Error, QueryOptions, Result, SnapshotRequest, SnapshotResponse};
use crate::telemetry::{Timed, metrics};

/// How often a view is taken anew when it turns out to be too old, or newer than the core has heard.
const SNAPSHOT_TRIES: usize = 50;
/// Pause between two tries.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(20);

impl Server {
    /// Takes a snapshot; the archive as a file positioned at its start.
    pub(super) async fn save_snapshot(
        &self,
        request: SnapshotRequest,
    ) -> Result<(SnapshotResponse, File)> {
        if self.is_elsewhere(&request.datacenter) {
            return self.save_snapshot_elsewhere(&request).await;
        }
        if !request.allow_stale {
            if let Some(leader) = self.other_leader() {
                let file = unnamed_file(&self.options.temp_dir)
                    .map_err(|e| Error::new(format!("Raft error when taking snapshot: {e}")))?;
                return snapshot::save(leader, self.peers.source(), &request, file)
                    .await
                    .map_err(|e| e.plain());
            }
            // Everything written before the call is in the snapshot.
            let options = QueryOptions {
                require_consistent: true,
                ..QueryOptions::default()
            };
            self.make_consistent(&options).await?;
        }
        self.prepare(&request.token).await;
        self.require(&request.token, Ask::WriteScalar(Scalar::Acl))?;
        let _timed = Timed::start(&metrics::RAFT_TAKE_SNAPSHOT);
        // A view begun now may be older than what the core has cut from its log, or hold entries that the core
        // has not yet heard to be applied: then once more.
        for _ in 0..SNAPSHOT_TRIES {
            let timed = Timed::start(&metrics::RAFT_FSM_SNAPSHOT);
            let view = self.state.snapshot()?;
            drop(timed);
            let index = view.index();
            let Some(meta) = self.raft.snapshot_meta(index).await else {
                drive::sleep(SNAPSHOT_PAUSE).await;
                continue;
            };
            let dir = self.options.temp_dir.clone();
            let now = GoTime::from_system(drive::wall());
            let unix_ms = now.unix().max(0) as u64 * 1000 + u64::from(now.nanos / 1_000_000);
            let saved = smol::unblock(move || {
                let _timed = Timed::start(&metrics::FSM_PERSIST);
                let _raft = Timed::start(&metrics::RAFT_SNAPSHOT_PERSIST);
                archive::save(&view, &meta, unix_ms, &dir)
            })
            .await;
            let file =
                saved.map_err(|e| Error::new(format!("Raft error when taking snapshot: {e}")))?;
            return Ok((
                SnapshotResponse {
                    error: String::new(),
                    meta: self.meta(index),
                },
                file,
            ));
        }
        Err(Error::new(
            "Raft error when taking snapshot: nothing new to snapshot",
        ))
    }

    /// Replaces the state by an archive's; the archive is verified before anything changes.
    pub(super) async fn restore_snapshot(
        &self,
        request: SnapshotRequest,
        file: File,
    ) -> Result<SnapshotResponse> {
        if self.is_elsewhere(&request.datacenter) {
            return self.restore_snapshot_elsewhere(&request, file).await;
        }
        if let Some(leader) = self.other_leader() {
            return snapshot::restore(leader, self.peers.source(), &request, file)
                .await
                .map_err(|e| e.plain());
        }
        self.prepare(&request.token).await;
        self.require(&request.token, Ask::WriteScalar(Scalar::Acl))?;
        self.wait_for_leader().await?;
        let dir = self.options.temp_dir.clone();
        let archive = smol::unblock(move || archive::open(file, &dir)).await?;
        self.raft
            .restore(archive.state, archive.meta.index)
            .await
            .map_err(propose_error)?;
        // What the leader keeps in memory belonged to the old state.
        self.session_timers.clear_all();
        self.arm_timers()?;
        let meta = self.meta(self.raft.applied_index());
        Ok(SnapshotResponse {
            error: String::new(),
            meta,
        })
    }
}
