//! Starting a server: opens the store, makes the Raft core of it and starts the loop.
//!
//! A new data directory begins a cluster of this server alone if it was started for that; else it waits for
//! others. A server whose address changed takes the new one by itself.
//! Source: `docs/reference/raft.md` section 6.

use std::path::Path;
use std::sync::Arc;

use smol::channel::Sender;

use super::recovery;
use super::rpc::{self, RpcListener};
use super::serf::PoolDrivers;
use super::storage::{Log, Machine, Snapshots};
use super::{Options, Peers, Server};
use crate::drive::raft::{Disk, Network, RaftDriver};
use crate::drive::{self, Handle, Shutdown, Task};
use crate::net::pool::{self, Pool};
use crate::raft::{self, Configuration, Raft, Suffrage, Write};
use crate::serf::Notice;
use crate::serf::settings::ServerPools;
use crate::store::{self, ApplyReply, LogStore};
use crate::structs::{Error, Result};

/// How the Raft core, the store and the RPC listener behave.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The core's timings and bounds.
    pub raft: raft::Config,
    /// The store's caches and whether it syncs.
    pub store: store::Options,
    /// Where other agents reach this server; nowhere if not given.
    pub rpc: Option<rpc::Settings>,
}

/// A server with everything that runs on its behalf.
pub struct Running {
    /// The server.
    pub server: Arc<Server>,
    raft: RaftDriver<ApplyReply>,
    pools: PoolDrivers,
    leadership: Task<()>,
    /// Ended with this.
    tasks: Vec<Task<()>>,
}

impl Running {
    /// Opens the store in `dir` and starts serving it. `notices` receives what the agent is to hear of.
    ///
    /// # Errors
    /// When the store cannot be used, in words that name the file and the way out.
    pub fn start(
        runtime: &Handle,
        shutdown: &Shutdown,
        dir: &Path,
        options: Options,
        tuning: Tuning,
        pools: ServerPools,
        notices: Sender<Notice>,
    ) -> Result<Self> {
        // First what says at once that another agent runs here.
        let acceptor = tuning.rpc.as_ref().map(rpc::Settings::listen).transpose()?;
        let (mut log, mut fsm, state) = store::open(dir, tuning.store)?;
        recovery::recover(dir, &mut log, &mut fsm)?;
        if options.alone
            && log.last_index() == 0
            && log.snapshot_meta().index == 0
            && fsm.applied_index() == 0
        {
            bootstrap(&mut log, &options)?;
        }
        let reader = Box::new(log.reader()?);
        let clock = options.clock;
        let core = Raft::new(
            drive::now() - clock,
            tuning.raft,
            log.hard_state().clone(),
            log.snapshot_meta().clone(),
            fsm.applied_index(),
            reader,
        )
        .map_err(|e| Error::new(format!("{}: {e}", dir.join(store::RAFT_DB).display())))?;
        belongs_here(&core.configuration().servers, &options.node_id, dir)?;
        let disk = Disk {
            log: Log(log),
            state: Machine { fsm, clock },
            snapshots: Arc::new(Snapshots {
                state: state.clone(),
                dir: options.temp_dir.clone(),
            }),
        };
        let pool = outgoing(runtime, tuning.rpc.as_ref());
        let mut tasks = vec![runtime.spawn(pool::sweeper(Arc::downgrade(&pool)))];
        let peers = Arc::new(Peers::new(pool));
        let raft = RaftDriver::start(
            runtime,
            shutdown.clone(),
            clock,
            core,
            disk,
            tuning
                .rpc
                .as_ref()
                .map(|rpc| network(runtime, rpc, &options, &peers)),
        )
        .map_err(|e| Error::new(format!("Failed to start Raft: {e}")))?;
        let pools = PoolDrivers::start(runtime, shutdown, pools)?;
        let server = Server::new(options, raft.handle(), state, peers, pools.pools(), notices);
        tasks.extend(pools.follow(&server, runtime));
        if let Some(acceptor) = acceptor {
            let listener = RpcListener::new(server.clone(), acceptor, runtime.clone());
            tasks.push(listener.start(shutdown.clone()));
        }
        let leadership = server.start(runtime, shutdown.clone());
        tasks.push(runtime.spawn(server.clone().bootstrap()));
        if server.is_secondary() {
            tasks.push(runtime.spawn(server.clone().refresh_secrets()));
        }
        Ok(Self {
            server,
            raft,
            pools,
            leadership,
            tasks,
        })
    }

    /// Waits for everything to end after shutdown was triggered.
    pub async fn join(self) {
        self.leadership.await;
        self.pools.join().await;
        for task in self.tasks {
            task.cancel().await;
        }
        self.raft.join().await;
    }
}

/// Refuses the state of a lone server that had another ID.
fn belongs_here(servers: &[raft::Server], node_id: &str, dir: &Path) -> Result<()> {
    match servers {
        [only] if only.id != *node_id => Err(Error::new(format!(
            "{} belongs to a cluster without this node's ID {node_id}; restore the node-id file beside it, \
             or move the directory away to begin anew",
            dir.display(),
        ))),
        _ => Ok(()),
    }
}

/// The connections to other servers.
fn outgoing(runtime: &Handle, rpc: Option<&rpc::Settings>) -> Arc<Pool> {
    let runtime = runtime.clone();
    let spawn: pool::Spawner = Arc::new(move |future| runtime.spawn(future));
    Arc::new(Pool::new(spawn, rpc.map(|rpc| rpc.bind.ip())))
}

/// How the Raft loop reaches the other servers.
fn network(
    runtime: &Handle,
    rpc: &rpc::Settings,
    options: &Options,
    peers: &Arc<Peers>,
) -> Network {
    Network {
        runtime: runtime.clone(),
        own: raft::rpc::Sender {
            id: options.node_id.clone(),
            address: std::net::SocketAddr::new(options.advertise, options.server_port).to_string(),
        },
        bind: Some(rpc.bind.ip()).filter(|ip| !ip.is_unspecified()),
        directory: peers.clone(),
        temp_dir: options.temp_dir.clone(),
    }
}

/// Writes the first entry of a new cluster: this server alone.
fn bootstrap(log: &mut LogStore, options: &Options) -> Result<()> {
    let address = std::net::SocketAddr::new(options.advertise, options.server_port).to_string();
    let server = raft::Server {
        suffrage: Suffrage::Voter,
        id: options.node_id.clone(),
        address,
    };
    let configuration = Configuration {
        servers: vec![server],
    };
    let (hard_state, entry) =
        Raft::bootstrap(&configuration).map_err(|e| Error::new(e.to_string()))?;
    let write = Write {
        entries: vec![entry],
        hard_state: Some(hard_state),
        ..Write::default()
    };
    Ok(log.write(&[write])?)
}
