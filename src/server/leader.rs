//! The leader's duties: catching up, its own registration, session TTLs, tombstones.
//!
//! Everything here begins with leadership and ends with it; an idle leader wakes for a due session or
//! tombstone and once a minute to compare the members with the catalog, and writes only a difference.
//! Source: `docs/reference/raft.md` section 6, `docs/reference/http-2.md` section 9.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smol::future::FutureExt;

use super::Server;
use crate::drive::{self, Handle, Shutdown, Task};
use crate::raft::{ConfChange, Role};
use crate::store::WatchSet;
use crate::structs::{
    self, AutopilotSetConfigRequest, Result, Session, SessionRequest, TombstoneRequest, command,
};
use crate::telemetry::{Timed, metrics};

/// How often the members are compared with the catalog.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Pause before a duty that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Server {
    /// Starts to follow the leadership; ends with the shutdown.
    pub fn start(self: &Arc<Self>, runtime: &Handle, shutdown: Shutdown) -> Task<()> {
        let server = self.clone();
        runtime.spawn(async move { server.follow_leadership(shutdown).await })
    }

    async fn follow_leadership(self: Arc<Self>, shutdown: Shutdown) {
        let changes = self.raft.leadership_changes();
        let mut current = self.raft.leadership();
        loop {
            if current.leader.is_some() {
                self.had_leader.store(true, Ordering::Release);
            }
            self.leader_era.end();
            let next_change = async { changes.recv().await.ok() };
            let end = async {
                shutdown.triggered().await;
                None
            };
            let lead = async {
                if current.role == Role::Leader {
                    self.lead().await;
                }
                std::future::pending().await
            };
            let Some(next) = next_change.or(end).or(lead).await else {
                break;
            };
            if next.role != Role::Leader || next.term != current.term {
                self.stop_leading();
            }
            current = next;
        }
        self.stop_leading();
    }

    fn stop_leading(&self) {
        if self.ready.swap(false, Ordering::AcqRel) {
            log::info!(target: "agent.server", "cluster leadership lost");
        }
        self.session_timers.clear_all();
        self.tombstones.clear();
    }

    /// Leads until dropped.
    async fn lead(&self) {
        while let Err(error) = self.establish().await {
            log::error!(target: "agent.server", error:%; "failed to establish leadership");
            drive::sleep(RETRY).await;
        }
        let mut next_reconcile = drive::now() + RECONCILE_INTERVAL;
        loop {
            if drive::now() >= next_reconcile {
                if let Err(error) = self.reconcile().await {
                    log::error!(target: "agent.server", error:%; "failed to reconcile");
                }
                next_reconcile = drive::now() + RECONCILE_INTERVAL;
            }
            self.show_health();
            self.expire_sessions().await;
            self.reap_tombstones().await;
            let deadlines = [
                self.session_timers.next_deadline(),
                self.tombstones.next_deadline(),
            ];
            let due = deadlines
                .into_iter()
                .flatten()
                .fold(next_reconcile, Instant::min);
            drive::sleep_until(due)
                .or(self.session_timers.changed())
                .or(self.tombstones.changed())
                .await;
        }
    }

    /// What must be done before this leader may answer. Its own registration is part of that: the agent
    /// completes the node record, so it must find one that nobody writes over afterwards.
    async fn establish(&self) -> Result<()> {
        let timed = Timed::start(&metrics::LEADER_BARRIER);
        self.raft.barrier().await.map_err(super::propose_error)?;
        drop(timed);
        log::info!(target: "agent.server", "cluster leadership acquired");
        self.arm_timers()?;
        self.announce_address().await?;
        let has_autopilot = self
            .state
            .read()?
            .autopilot_config(&mut WatchSet::new())?
            .1
            .is_some();
        if !has_autopilot {
            let request = AutopilotSetConfigRequest {
                config: self.options.autopilot.clone(),
                ..AutopilotSetConfigRequest::default()
            };
            self.propose(command::AUTOPILOT, &request).await?;
        }
        self.reconcile().await?;
        self.place_at_origin();
        self.announce_leadership().await;
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Puts this server's present address into the Raft configuration if it is another one there.
    async fn announce_address(&self) -> Result<()> {
        let Some(status) = self.raft.status().await else {
            return Ok(());
        };
        let (own, address) = (&self.options.node_id, self.rpc_address());
        let known = status
            .configuration
            .servers
            .iter()
            .find(|server| server.id == *own);
        if known.is_none_or(|server| server.address == address) {
            return Ok(());
        }
        log::info!(target: "agent.server", address = address.as_str(); "address of this server changed");
        let change = ConfChange::AddVoter {
            id: own.as_str().into(),
            address,
        };
        self.raft
            .change_membership(change)
            .await
            .map_err(super::propose_error)
    }

    /// Starts the clocks of all sessions, and of the tombstones that are there already.
    pub(super) fn arm_timers(&self) -> Result<()> {
        let state = self.state.read()?;
        let now = drive::now();
        let (_, sessions) = state.session_list(&mut WatchSet::new())?;
        for session in &sessions {
            self.session_timers.reset(now, session);
        }
        match state.tombstone_index()? {
            0 => {}
            index => self.tombstones.hint(now, index),
        }
        Ok(())
    }

    /// Shows how autopilot sees the cluster.
    fn show_health(&self) {
        let healthy = self.raft.disk_fault().is_none();
        metrics::AUTOPILOT_HEALTHY.set(f64::from(u8::from(healthy)));
        metrics::AUTOPILOT_FAILURE_TOLERANCE.set(0.0);
    }

    async fn expire_sessions(&self) {
        for id in self.session_timers.expired(drive::now()) {
            let _timed = Timed::start(&metrics::SESSION_TTL_INVALIDATE);
            let session = Session {
                id: id.clone(),
                ..Session::default()
            };
            let request = SessionRequest {
                datacenter: self.options.datacenter.clone(),
                op: structs::session_op::DESTROY.to_owned(),
                session: session.clone(),
                ..SessionRequest::default()
            };
            match self.destroy_session(&request).await {
                Ok(()) => {
                    log::debug!(target: "agent.server", session = id.as_str(); "Session TTL expired");
                }
                Err(error) => {
                    log::error!(
                        target: "agent.server",
                        session = id.as_str(), error:%; "Session destroy failed"
                    );
                    // Until the session is gone or renewed it is tried again.
                    let again = Session {
                        ttl: format!("{}s", RETRY.as_secs()),
                        ..session
                    };
                    self.session_timers.reset(drive::now(), &again);
                }
            }
        }
    }

    async fn reap_tombstones(&self) {
        let Some(index) = self.tombstones.due(drive::now()) else {
            return;
        };
        let _timed = Timed::start(&metrics::LEADER_REAP_TOMBSTONES);
        let request = TombstoneRequest {
            datacenter: self.options.datacenter.clone(),
            op: "reap".to_owned(),
            reap_index: index,
            ..TombstoneRequest::default()
        };
        if let Err(error) = self.propose(command::TOMBSTONE, &request).await {
            log::error!(target: "agent.server", error:%; "failed to reap tombstones");
            self.tombstones.hint(drive::now(), index);
        }
    }
}
