//! The two roles of an agent: a server keeps the catalog, a client agent asks servers.
//!
//! Whatever the role, the rest of the process knows it as a [`Delegate`] and hears of the pool the same way.
//! Source: `docs/reference/config.md` sections 12, 16 and 17.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use smol::channel::Receiver;

use super::options;
use crate::acl;
use crate::agent::Agent;
use crate::client;
use crate::config::Config;
use crate::drive::{self, Handle, Shutdown};
use crate::serf::join::Joiner;
use crate::serf::{self, Area, Notice};
use crate::server;
use crate::structs::UserEventPayload;
use crate::structs::rpc::Delegate;
use crate::wire::msgpack;

/// What an agent hears, waiting to be taken notice of.
const MAX_NOTICES: usize = 256;

/// A directory for `-dev`: gone with the process.
struct DevDir(PathBuf);

impl DevDir {
    /// Makes one in memory where the system has such a place.
    fn new() -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let name = format!(
            "consul-lite-dev-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let dir = parent.join(name);
        fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for DevDir {
    fn drop(&mut self) {
        // What stays behind is in memory and named after this process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server or client agent.
pub enum Role {
    Server(Box<RunningServer>),
    Client(client::Running),
}

/// A server with the directory that it has in `-dev`.
pub struct RunningServer {
    running: server::Running,
    _dev_dir: Option<DevDir>,
}

impl Role {
    /// Starts the role that the configuration asks for.
    ///
    /// # Errors
    /// In Consul's words.
    pub fn start(
        config: &Config,
        node_id: &str,
        handle: &Handle,
        shutdown: &Shutdown,
    ) -> Result<(Self, Receiver<Notice>), String> {
        let kind = if config.server { "server" } else { "client" };
        options::check_acl(config)
            .and_then(|()| options::check_protocols(config))
            .map_err(|e| format!("Failed to start Consul {kind}: {e}"))?;
        if config.server {
            start_server(config, node_id, handle, shutdown)
        } else {
            start_client(config, node_id, handle, shutdown)
        }
    }

    /// How the rest of the process knows it.
    pub fn delegate(&self) -> Arc<dyn Delegate> {
        match self {
            Role::Server(server) => server.running.server.clone(),
            Role::Client(running) => running.client.clone(),
        }
    }

    /// Who knows what tokens may do.
    pub fn resolver(&self, config: &Config, handle: &Handle) -> Arc<dyn acl::Resolver> {
        match self {
            Role::Server(server) => server.running.server.clone(),
            Role::Client(running) => client::RemoteResolver::new(
                options::client_acl(config),
                running.client.clone(),
                handle.clone(),
            ),
        }
    }

    /// What joins members into a pool; nothing where the role has none.
    pub fn joiner(&self, area: Area) -> Option<Joiner> {
        match self {
            Role::Server(server) => server.running.server.joiner(area),
            Role::Client(running) => (area == Area::Lan).then(|| running.client.joiner()),
        }
    }

    /// Applies what a reload may change.
    pub fn reload(&self, config: &Config) {
        match self {
            Role::Server(server) => server.running.server.set_rate(options::rpc_rate(config)),
            Role::Client(running) => running.client.set_rate(options::rpc_rate(config)),
        }
    }

    /// Does what must be done before the shutdown.
    pub async fn step_aside(&self) {
        if let Role::Server(server) = self {
            server.running.server.step_aside().await;
        }
    }

    /// Waits for the end after the shutdown.
    pub async fn join(self) {
        match self {
            Role::Server(server) => server.running.join().await,
            Role::Client(running) => running.join().await,
        }
    }
}

fn start_server(
    config: &Config,
    node_id: &str,
    handle: &Handle,
    shutdown: &Shutdown,
) -> Result<(Role, Receiver<Notice>), String> {
    let dev_dir = if config.dev_mode {
        Some(DevDir::new().map_err(|e| e.to_string())?)
    } else {
        None
    };
    let raft_dir = match &dev_dir {
        Some(dir) => dir.0.clone(),
        None => Path::new(&config.data_dir).join("raft"),
    };
    make_dir(&raft_dir)?;
    let (notices, heard) = smol::channel::bounded(MAX_NOTICES);
    let pools = serf::settings::server(config, node_id).map_err(|e| pool_failed("server", &e))?;
    let running = server::Running::start(
        handle,
        shutdown,
        &raft_dir,
        options::server(config, node_id, &raft_dir, drive::now()),
        options::tuning(config, node_id),
        pools,
        notices,
    )
    .map_err(|e| format!("Failed to start Consul server: {e}"))?;
    running.server.set_rate(options::rpc_rate(config));
    let server = Box::new(RunningServer {
        running,
        _dev_dir: dev_dir,
    });
    Ok((Role::Server(server), heard))
}

/// Keys are looked at before there is a server or client that could fail to start.
fn pool_failed(kind: &str, e: &crate::structs::Error) -> String {
    match e.text().starts_with(serf::keyring::FAILED) {
        true => e.text().to_owned(),
        false => format!("Failed to start Consul {kind}: {e}"),
    }
}

fn start_client(
    config: &Config,
    node_id: &str,
    handle: &Handle,
    shutdown: &Shutdown,
) -> Result<(Role, Receiver<Notice>), String> {
    let failed = |e: crate::structs::Error| format!("Failed to start Consul client: {e}");
    let writes = !config.dev_mode && !config.data_dir.is_empty();
    if writes {
        make_dir(&Path::new(&config.data_dir).join("serf"))?;
    }
    let lan = serf::settings::client(config, node_id).map_err(|e| pool_failed("client", &e))?;
    let (notices, heard) = smol::channel::bounded(MAX_NOTICES);
    let running = client::Running::start(handle, shutdown, options::client(config), lan, notices)
        .map_err(failed)?;
    Ok((Role::Client(running), heard))
}

fn make_dir(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
}

/// Tells the agent what its role has to say, until there is nobody left who could say something.
pub async fn deliver(notices: Receiver<Notice>, agent: Arc<Agent>) {
    while let Ok(notice) = notices.recv().await {
        match notice {
            Notice::UserEvent { ltime, payload } => user_event(&agent, ltime, &payload),
            Notice::ServerUp => agent.local.trigger().full(),
        }
    }
}

fn user_event(agent: &Agent, ltime: u64, payload: &[u8]) {
    match msgpack::from_slice::<UserEventPayload>(payload) {
        Ok(payload) => agent.user_event(payload.event(ltime)),
        Err(why) => {
            log::error!(target: "agent", error = why.to_string().as_str();
                "failed to decode user event");
        }
    }
}
