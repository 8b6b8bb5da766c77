//! What a server does: the RPC endpoints, reading with the asked consistency, and the leader's duties.
//!
//! One file per RPC name in `endpoint/`. Every write becomes an FSM command and goes through Raft; every
//! read is one transaction on the local state, after the consistency it asked for is given. Knows no HTTP.
//! Source: `docs/reference/rpc.md`.

pub mod acl;
mod autopilot;
mod bootstrap;
mod delegate;
mod endpoint;
mod figures;
mod forward;
mod lan;
mod leader;
mod membership;
mod query;
mod reconcile;
mod recovery;
pub mod rpc;
pub mod rtt;
pub mod serf;
mod session_timers;
mod snapshot;
mod start;
pub mod storage;
mod tombstone_gc;
mod wan;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::codec::Serialize;
use smol::channel::Sender;

use crate::drive::raft::{ProposeError, RaftHandle};
use crate::drive::{self, Limiter, Rate};
use crate::raft;
use crate::serf::Notice;
use crate::store::{ApplyReply, State};
use crate::structs::{self, Coordinate, Error, Position, Result};
use crate::wire::msgpack;
use autopilot::Autopilot;
use forward::Era;
pub use forward::Peers;
pub use start::{Running, Tuning};

use lan::Lan;
use session_timers::SessionTimers;
use tombstone_gc::TombstoneGc;

pub use crate::serf::CONSUL_VERSION;

/// Room for a command as most are, in bytes: it grows for larger ones.
const COMMAND_ROOM: usize = 512;

/// What a server needs to know about itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// Node name.
    pub node_name: String,
    /// Node id, a UUID.
    pub node_id: String,
    /// Datacenter.
    pub datacenter: String,
    /// Address that others reach this server at.
    pub advertise: IpAddr,
    /// Port of the RPC listener; with the address it is the server's Raft address.
    pub server_port: u16,
    /// Port of the LAN gossip: addresses to join have it by default.
    pub serf_lan_port: u16,
    /// Port of the WAN gossip, if there is one.
    pub serf_wan_port: Option<u16>,
    /// How long calls under way are waited for after leaving.
    pub leave_drain_time: Duration,
    /// Whether a new data directory begins a cluster of this server alone.
    pub alone: bool,
    /// Whether the server was started to be the first, or the only one.
    pub bootstrap: bool,
    /// How many servers were to be waited for; 0 when not given.
    pub bootstrap_expect: u32,
    /// How long a call waits for a leader.
    pub rpc_hold_timeout: Duration,
    /// Wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// Longest wait of a blocking query.
    pub max_query_time: Duration,
    /// Autopilot's settings at the first start of a cluster.
    pub autopilot: structs::AutopilotConfig,
    /// Smallest session TTL.
    pub session_ttl_min: Duration,
    /// Whether coordinates are off.
    pub disable_coordinates: bool,
    /// Access control.
    pub acl: acl::Options,
    /// Where the agent keeps its files.
    pub data_dir: PathBuf,
    /// Where snapshots that are being saved or restored lie for a while.
    pub temp_dir: PathBuf,
    /// The start of the time that lock-delays are counted in.
    pub clock: Instant,
}

/// A server: shared by everything that calls its endpoints.
pub struct Server {
    options: Options,
    raft: RaftHandle<ApplyReply>,
    state: State,
    peers: Arc<Peers>,
    /// Its gossip.
    pub pools: serf::Pools,
    lan: Lan,
    autopilot: Autopilot,
    /// Set once the leader's barrier is applied: from then on its reads are up to date.
    ready: AtomicBool,
    /// Set once any leader was known: stale reads are refused before.
    had_leader: AtomicBool,
    /// Ends with each change of the leader.
    leader_era: Era,
    turn: wan::Turn,
    authorizers: acl::Authorizers,
    remote: acl::Remote,
    replication: acl::Replication,
    session_timers: SessionTimers,
    tombstones: TombstoneGc,
    /// Coordinates of nodes by lower-case name: soft state, kept out of the log.
    coordinates: Mutex<SoftCoordinates>,
    notices: Sender<Notice>,
    /// Large answers that are read while they are sent.
    reading: endpoint::listing::Reading,
    /// How many calls the agent itself may make (`limits.rpc_rate`), asked only while there is a limit.
    limiter: Limiter,
    limited: AtomicBool,
}

/// Coordinates and the Raft index at which they last changed.
#[derive(Default)]
struct SoftCoordinates {
    nodes: HashMap<String, Coordinate>,
    index: u64,
}

/// Coordinates kept at most: one per node of a very large datacenter.
const MAX_COORDINATES: usize = 65_536;

impl Server {
    /// A server around a running Raft loop. `notices` receives what the agent is to hear of.
    pub fn new(
        options: Options,
        raft: RaftHandle<ApplyReply>,
        state: State,
        peers: Arc<Peers>,
        pools: serf::Pools,
        notices: Sender<Notice>,
    ) -> Arc<Self> {
        crate::telemetry::metrics::RPC_QUERIES_BLOCKING.set(0.0);
        Arc::new(Self {
            options,
            raft,
            state,
            peers,
            lan: Lan::new(pools.lan.clone()),
            pools,
            autopilot: Autopilot::default(),
            ready: AtomicBool::new(false),
            had_leader: AtomicBool::new(false),
            leader_era: Era::default(),
            turn: wan::Turn::default(),
            authorizers: acl::Authorizers::default(),
            remote: acl::Remote::default(),
            replication: acl::Replication::default(),
            session_timers: SessionTimers::default(),
            tombstones: TombstoneGc::default(),
            coordinates: Mutex::default(),
            notices,
            reading: endpoint::listing::Reading::default(),
            limiter: Limiter::new(Rate::UNLIMITED, drive::now()),
            limited: AtomicBool::new(false),
        })
    }

    /// `ip:port` of this server's RPC listener.
    fn rpc_address(&self) -> String {
        std::net::SocketAddr::new(self.options.advertise, self.options.server_port).to_string()
    }

    /// Proposes an FSM command on behalf of a client, once there is a leader to take it, and waits for its
    /// result.
    fn apply(
        &self,
        kind: u8,
        body: &dyn Serialize,
    ) -> impl Future<Output = Result<(u64, ApplyReply)>> + Send {
        let data = command(kind, body);
        async move {
            let data = data?;
            self.wait_for_leader().await?;
            self.propose_bytes(data).await
        }
    }

    /// Proposes an FSM command and waits for its result; the leader's own duties do, which come before it
    /// serves anybody.
    fn propose(
        &self,
        kind: u8,
        body: &dyn Serialize,
    ) -> impl Future<Output = Result<(u64, ApplyReply)>> + Send {
        let data = command(kind, body);
        async move { self.propose_bytes(data?).await }
    }

    async fn propose_bytes(&self, data: Vec<u8>) -> Result<(u64, ApplyReply)> {
        let applied = self
            .raft
            .propose(data.into())
            .await
            .map_err(propose_error)?;
        match applied.reply {
            Some(ApplyReply::Error(error)) => Err(error),
            Some(reply) => Ok((applied.index, reply)),
            None => Err(Error::new(
                "raft: a command was answered by no state machine",
            )),
        }
    }

    /// Whether this server leads and has caught up with its own log.
    fn is_ready_leader(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Refuses what is for another datacenter, and should have been sent there; empty means this one.
    fn check_datacenter(&self, datacenter: &str) -> Result<()> {
        match self.is_elsewhere(datacenter) {
            false => Ok(()),
            true => Err(Error::new(structs::NO_PATH_TO_DATACENTER)),
        }
    }

    /// Positions of all nodes by lower-case name.
    fn positions(&self) -> HashMap<String, Position> {
        let soft = self.lock_coordinates();
        soft.nodes
            .iter()
            .filter_map(|(name, c)| c.coord.clone().map(|p| (name.clone(), p)))
            .collect()
    }

    fn lock_coordinates(&self) -> std::sync::MutexGuard<'_, SoftCoordinates> {
        self.coordinates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the user is told when Raft did not take a proposal.
fn propose_error(error: ProposeError) -> Error {
    match error {
        // Not accepted: whoever routed the call here asks again.
        ProposeError::Refused(raft::Error::NotLeader(_) | raft::Error::TransferInProgress) => {
            Error::new(structs::NO_CLUSTER_LEADER)
        }
        ProposeError::Refused(other) => Error::new(other.to_string()),
        ProposeError::Lost => Error::new("leadership lost while committing log"),
        ProposeError::Disk(why) => Error::new(why),
        ProposeError::Shutdown => Error::new("raft is already shutdown"),
    }
}

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;

/// An FSM command: its type's byte and its body.
fn command(kind: u8, body: &dyn Serialize) -> Result<Vec<u8>> {
    let mut data = Vec::with_capacity(COMMAND_ROOM);
    data.push(kind);
    msgpack::append(&mut data, body).map_err(|e| Error::new(e.to_string()))?;
    Ok(data)
}
