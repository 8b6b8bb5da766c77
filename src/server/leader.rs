//! The leader's duties: catching up, its own registration, session TTLs, tombstones, members, servers, and in a
//! secondary datacenter the copying of ACLs from the primary.
//!
//! Everything here begins with leadership and ends with it; an idle leader wakes for a due session or
//! tombstone and once a minute to compare the members with the catalog, and writes only a difference.
//! Source: `docs/reference/raft.md` section 6, `docs/reference/http-2.md` section 9.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smol::future::FutureExt;

use super::Server;
use crate::drive::{self, Handle, Shutdown, Task};
use crate::raft::Role;
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
        self.autopilot.clear();
        self.replication.clear();
    }

    /// Leads until dropped.
    async fn lead(&self) {
        while let Err(error) = self.establish().await {
            log::error!(target: "agent.server", error:%; "failed to establish leadership");
            drive::sleep(RETRY).await;
        }
        // None of them ends, and none waits for another.
        self.run_timers()
            .or(self.run_token_care())
            .or(self.run_acl_replication())
            .or(self.run_reconciliation())
            .or(self.run_autopilot())
            .await;
    }

    /// Lets sessions run out and tombstones go.
    async fn run_timers(&self) {
        loop {
            self.expire_sessions().await;
            self.reap_tombstones().await;
            let deadlines = [
                self.session_timers.next_deadline(),
                self.tombstones.next_deadline(),
            ];
            let due = async {
                match deadlines.into_iter().flatten().min() {
                    Some(due) => drive::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            due.or(self.session_timers.changed())
                .or(self.tombstones.changed())
                .await;
        }
    }

    /// Keeps the catalog in line with the members: at once when something happens to one, and all of them now and
    /// then.
    async fn run_reconciliation(&self) {
        let mut pause = RETRY;
        let mut next = drive::now();
        loop {
            if drive::now() >= next {
                let whole = self.reconcile().await.unwrap_or_else(|error| {
                    log::error!(target: "agent.server", error:%; "failed to reconcile");
                    false
                });
                pause = match whole {
                    true => RECONCILE_INTERVAL,
                    false => (pause * 2).min(RECONCILE_INTERVAL),
                };
                next = drive::now() + pause;
            }
            if !self.reconcile_changed().await {
                pause = RETRY;
                next = next.min(drive::now() + pause);
            }
            drive::sleep_until(next).or(self.lan.changed()).await;
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
        if let Err(error) = self.readdress().await {
            log::error!(target: "agent.server", error:%; "failed to update addresses of servers");
        }
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
        self.initialize_acls().await?;
        self.reconcile_own().await?;
        self.place_at_origin();
        self.ready.store(true, Ordering::Release);
        self.announce_leadership().await;
        Ok(())
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
