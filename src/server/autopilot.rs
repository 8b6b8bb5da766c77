//! Autopilot: how healthy the servers are, who gets a vote, and which dead servers are given up.
//!
//! Holds true: servers are given up only while the votes that are left keep a majority, whatever happens next, and
//! at least `min_quorum`; one at a time, each change committed before the next look.
//! A follower's health is what the leader sees of it: whether it answers within the threshold, and how far its log
//! is. Source: `docs/reference/raft.md` section 6, `docs/reference/http-1.md` section 10.2.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;

use super::Server;
use crate::drive::{self, Instant};
use crate::raft::{ConfChange, PeerStatus, Status, Suffrage};
use crate::serf::ServerMeta;
use crate::store::WatchSet;
use crate::structs::go::{GoDuration, GoTime};
use crate::structs::{AutopilotConfig, MemberStatus, OperatorHealthReply, Result, ServerHealth};
use crate::telemetry::metrics;

/// How often the servers are looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);
/// How often dead servers are looked for.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(10);
/// How often a server that is alone is looked at.
const LONE_INTERVAL: Duration = Duration::from_secs(60);

/// What is remembered of a server from one look to the next.
#[derive(Clone, Copy, Debug)]
struct Stability {
    healthy: bool,
    since: Instant,
    since_wall: SystemTime,
}

/// The latest look at the servers, by id.
#[derive(Default)]
pub(super) struct Autopilot {
    stability: Mutex<BTreeMap<String, Stability>>,
    wake: Wake,
}

/// Says that the servers are others than before; one message is as good as many.
struct Wake(Sender<()>, Receiver<()>);

impl Default for Wake {
    fn default() -> Self {
        let (sender, receiver) = smol::channel::bounded(1);
        Self(sender, receiver)
    }
}

impl Autopilot {
    /// The servers are others than before.
    pub fn wake(&self) {
        // Full means that it will look anyway.
        let _ = self.wake.0.try_send(());
    }

    async fn woken(&self) {
        // The sender lives as long as the receiver: no error.
        let _ = self.wake.1.recv().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Stability>> {
        self.stability
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all: leadership ended.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Notes whether a server is healthy; since when it has been so.
    fn note(&self, id: &str, healthy: bool) -> Stability {
        let mut known = self.lock();
        match known.get(id) {
            Some(stability) if stability.healthy == healthy => *stability,
            _ => {
                let fresh = Stability {
                    healthy,
                    since: drive::now(),
                    since_wall: drive::wall(),
                };
                known.insert(id.to_owned(), fresh);
                fresh
            }
        }
    }

    fn keep(&self, servers: &[ServerHealth]) {
        self.lock()
            .retain(|id, _| servers.iter().any(|server| server.id == *id));
    }
}

impl Server {
    /// Looks after the servers for as long as this one leads.
    pub(super) async fn run_autopilot(&self) {
        let mut next_cleanup = drive::now() + CLEANUP_INTERVAL;
        loop {
            if let Err(error) = self.tend_servers(&mut next_cleanup).await {
                log::error!(target: "agent.server.autopilot", error:%; "failed to look after the servers");
            }
            let pause = match self.raft.is_alone() {
                true => LONE_INTERVAL,
                false => HEALTH_INTERVAL,
            };
            drive::sleep(pause).or(self.autopilot.woken()).await;
        }
    }

    async fn tend_servers(&self, next_cleanup: &mut Instant) -> Result<()> {
        let config = self.autopilot_config()?;
        let health = self.server_health(&config).await?;
        metrics::AUTOPILOT_HEALTHY.set(f64::from(u8::from(health.healthy)));
        metrics::AUTOPILOT_FAILURE_TOLERANCE.set(health.failure_tolerance as f64);
        let servers = health.servers.unwrap_or_default();
        self.promote(&config, &servers).await?;
        if drive::now() >= *next_cleanup {
            *next_cleanup = drive::now() + CLEANUP_INTERVAL;
            if config.cleanup_dead_servers {
                self.clean_up(&config).await?;
            }
        }
        Ok(())
    }

    /// The settings in force; those of the configuration before the leader has written any.
    pub(super) fn autopilot_config(&self) -> Result<AutopilotConfig> {
        let (_, config) = self.state.read()?.autopilot_config(&mut WatchSet::new())?;
        Ok(config.unwrap_or_else(|| self.options.autopilot.clone()))
    }

    /// Gives a vote to the servers without one that have been healthy for long enough.
    async fn promote(&self, config: &AutopilotConfig, servers: &[ServerHealth]) -> Result<()> {
        let stabilization = config.server_stabilization_time.to_std();
        let now = drive::now();
        for server in servers.iter().filter(|s| !s.voter && s.healthy) {
            let stable = self
                .autopilot
                .lock()
                .get(&server.id)
                .is_some_and(|known| now.duration_since(known.since) >= stabilization);
            // As in Consul's open edition, `non_voting_server` has no effect.
            if !stable {
                continue;
            }
            log::info!(
                target: "agent.server.autopilot",
                id = server.id.as_str(), address = server.address.as_str(), name = server.name.as_str();
                "Promoting server"
            );
            self.change_membership(ConfChange::AddVoter {
                id: server.id.as_str().into(),
                address: server.address.clone(),
            })
            .await?;
        }
        Ok(())
    }

    /// Gives up servers that are dead, and those that the pool does not know.
    async fn clean_up(&self, config: &AutopilotConfig) -> Result<()> {
        loop {
            let metas = self.lan.servers();
            let configuration = self.raft.configuration();
            let is_dead = |id: &str| {
                let mut known = metas.iter().filter(|meta| meta.id == id).peekable();
                known.peek().is_none() || known.all(|meta| meta.status == MemberStatus::Failed)
            };
            let dead: Vec<&crate::raft::Server> = configuration
                .servers
                .iter()
                .filter(|server| server.id != self.options.node_id && is_dead(&server.id))
                .collect();
            let voters = super::membership::voters(&configuration);
            let dead_voters = dead
                .iter()
                .filter(|server| server.suffrage == Suffrage::Voter)
                .count();
            let may_shrink = may_give_up(voters, dead_voters, config.min_quorum);
            let next = dead
                .into_iter()
                .find(|server| may_shrink || server.suffrage != Suffrage::Voter);
            let Some(server) = next else {
                if dead_voters > 0 {
                    log::debug!(
                        target: "agent.server.autopilot",
                        "Failed to remove dead servers: too many dead servers: {dead_voters}/{voters}"
                    );
                }
                return Ok(());
            };
            match metas.iter().find(|meta| meta.id == server.id) {
                Some(meta) => {
                    log::info!(
                        target: "agent.server.autopilot",
                        name = meta.name.as_str(); "Attempting removal of failed server node"
                    );
                    // It becomes one that left, and the members' reconciliation does the rest.
                    if let Err(error) = self.lan.pool().force_leave(&meta.name, false).await {
                        log::warn!(target: "agent.server.autopilot", error:%; "force-leave failed");
                    }
                }
                None => log::info!(
                    target: "agent.server.autopilot",
                    id = server.id.as_str(); "Attempting removal of stale server"
                ),
            }
            self.remove_server(&server.id, "dead").await?;
        }
    }

    /// How healthy the servers of Raft's configuration are, seen from the leader.
    pub(super) async fn server_health(
        &self,
        config: &AutopilotConfig,
    ) -> Result<OperatorHealthReply> {
        let threshold = config.last_contact_threshold.to_std();
        let status = self.ask_servers(threshold).await?;
        let metas = self.lan.servers();
        let mut servers = Vec::new();
        for server in &status.configuration.servers {
            // The same id under another name: who is there counts.
            let mut metas = metas.iter().filter(|meta| meta.id == server.id);
            let meta = metas.clone().find(|meta| meta.is_alive()).or(metas.next());
            let mut health = self.judge(&server.id, meta, &status, config);
            health.address = server.address.clone();
            health.voter = server.suffrage == Suffrage::Voter;
            let stability = self.autopilot.note(&server.id, health.healthy);
            health.stable_since = GoTime {
                nanos: 0,
                ..GoTime::from_system(stability.since_wall)
            };
            servers.push(health);
        }
        self.autopilot.keep(&servers);
        let voters = servers.iter().filter(|s| s.voter).count();
        let healthy_voters = servers.iter().filter(|s| s.voter && s.healthy).count();
        let quorum = voters / 2 + 1;
        Ok(OperatorHealthReply {
            healthy: servers.iter().all(|s| s.healthy),
            failure_tolerance: i64::try_from(healthy_voters.saturating_sub(quorum)).unwrap_or(0),
            servers: Some(servers),
        })
    }

    /// Has every other server answer a heartbeat, and says how things stand after that.
    async fn ask_servers(&self, threshold: Duration) -> Result<Status> {
        let ended = || crate::structs::Error::new("raft is already shutdown");
        let began = drive::now();
        if !self.raft.is_alone() {
            let round = async {
                // Without a majority there is no answer, only the time passes.
                let _ = self.raft.read_index().await;
            };
            // Whoever has not answered by then is not healthy.
            let _ = drive::timeout(threshold, round).await;
        }
        loop {
            let status = self.raft.status().await.ok_or_else(ended)?;
            let since = began.elapsed();
            let missing = status
                .peers
                .iter()
                .any(|peer| peer.last_contact.is_none_or(|ago| ago > since));
            if !missing || since >= threshold {
                return Ok(status);
            }
            drive::sleep((threshold / 20).max(Duration::from_millis(1))).await;
        }
    }

    fn judge(
        &self,
        id: &str,
        meta: Option<&ServerMeta>,
        status: &Status,
        config: &AutopilotConfig,
    ) -> ServerHealth {
        let mut health = ServerHealth {
            id: id.to_owned(),
            last_contact: GoDuration(-1),
            ..ServerHealth::default()
        };
        if let Some(meta) = meta {
            health.name = meta.name.clone();
            health.serf_status = meta.status as i64;
            health.version = meta.build.clone();
        }
        if id == self.options.node_id {
            health.name = self.options.node_name.clone();
            health.version = super::CONSUL_VERSION.to_owned();
            health.serf_status = MemberStatus::Alive as i64;
            health.leader = true;
            health.last_contact = GoDuration(0);
            health.last_term = status.last_term;
            health.last_index = status.last_index;
            health.healthy = self.raft.disk_fault().is_none();
            return health;
        }
        let Some(peer) = status.peers.iter().find(|peer| *peer.id == *id) else {
            return health;
        };
        if let Some(ago) = peer.last_contact {
            health.last_contact = ago.into();
        }
        health.last_term = peer.matched_term.unwrap_or(0);
        health.last_index = peer.matched;
        health.healthy = meta.is_some_and(ServerMeta::is_alive) && keeps_up(peer, status, config);
        health
    }
}

fn keeps_up(peer: &PeerStatus, status: &Status, config: &AutopilotConfig) -> bool {
    let answers = peer
        .last_contact
        .is_some_and(|ago| ago <= config.last_contact_threshold.to_std());
    answers
        && peer.matched_term == Some(status.last_term)
        && peer.matched.saturating_add(config.max_trailing_logs) >= status.last_index
}

/// Whether servers with a vote may be given up: fewer than half of the votes, and enough are left.
fn may_give_up(voters: usize, dead: usize, min_quorum: u64) -> bool {
    let left = voters.saturating_sub(dead);
    let enough = u64::try_from(left).is_ok_and(|left| left >= min_quorum);
    enough && dead < voters / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_given_up_only_by_a_clear_majority() {
        let may = |voters, dead| may_give_up(voters, dead, 0);
        assert!(!may(1, 0) && !may(2, 1) && !may(3, 1), "too few are left");
        assert!(may(4, 1) && may(5, 1) && may(7, 2));
        assert!(!may(4, 2) && !may(5, 2) && !may(7, 3));
        assert!(!may_give_up(5, 1, 5), "min_quorum");
        assert!(may_give_up(5, 1, 4));
    }
}
