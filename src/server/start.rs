//! Starting a server: opens the store, makes the Raft core of it and starts the loop.
//!
//! A new data directory begins a cluster of this server alone. A lone server whose address changed takes the
//! new one by itself once it leads.
//! Source: `docs/reference/raft.md` section 6.

use std::path::Path;
use std::sync::Arc;

use smol::channel::Sender;

use super::storage::{Log, Machine};
use super::{FiredEvent, Options, Server};
use crate::drive::raft::RaftDriver;
use crate::drive::{self, Handle, Shutdown, Task};
use crate::raft::{self, Configuration, Raft, Suffrage, Write};
use crate::store::{self, ApplyReply, LogStore};
use crate::structs::{Error, Result};

/// How the Raft core and the store behave.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The core's timings and bounds.
    pub raft: raft::Config,
    /// The store's caches and whether it syncs.
    pub store: store::Options,
}

/// A server with everything that runs on its behalf.
pub struct Running {
    /// The server.
    pub server: Arc<Server>,
    raft: RaftDriver<ApplyReply>,
    leadership: Task<()>,
}

impl Running {
    /// Opens the store in `dir` and starts serving it. `events` receives the user events to deliver.
    ///
    /// # Errors
    /// When the store cannot be used, in words that name the file and the way out.
    pub fn start(
        runtime: &Handle,
        shutdown: &Shutdown,
        dir: &Path,
        options: Options,
        tuning: Tuning,
        events: Sender<FiredEvent>,
    ) -> Result<Self> {
        let (mut log, fsm, state) = store::open(dir, tuning.store)?;
        if log.last_index() == 0 && log.snapshot_meta().index == 0 && fsm.applied_index() == 0 {
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
        if !core.configuration().is_voter(&options.node_id) {
            return Err(Error::new(format!(
                "{} belongs to a cluster without this node's ID {}; restore the node-id file beside it, \
                 or move the directory away to begin anew",
                dir.display(),
                options.node_id
            )));
        }
        let raft = RaftDriver::start(
            runtime,
            shutdown.clone(),
            clock,
            core,
            Log(log),
            Machine { fsm, clock },
        )
        .map_err(|e| Error::new(format!("Failed to start Raft: {e}")))?;
        let server = Server::new(options, raft.handle(), state, events);
        let leadership = server.start(runtime, shutdown.clone());
        Ok(Self {
            server,
            raft,
            leadership,
        })
    }

    /// Waits for everything to end after shutdown was triggered.
    pub async fn join(self) {
        self.leadership.await;
        self.raft.join().await;
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
