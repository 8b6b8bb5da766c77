//! What every agent does, server or client: the services and checks it owns, keeping the catalog equal
//! to them, running the checks, maintenance, watches, events, reload.
//!
//! Leaves to others: how the catalog is stored and replicated (behind the `Delegate`), HTTP and DNS.
//! Source: `docs/reference/http-2.md` sections 3 to 6.

mod acl;
pub mod ae;
pub mod cache;
pub mod check;
pub mod checks;
mod coordinate;
pub mod definition;
pub mod event;
pub mod host;
pub mod load;
pub mod local;
pub mod logging;
mod maintenance;
mod persist;
mod reap;
pub mod service;
pub mod sidecar;
pub mod token;
pub mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use log::{error, warn};
use smol::lock::Semaphore;

use crate::acl::Resolver;
use crate::config::Config;
use crate::drive::{Handle, Rate, Shutdown, Task};
use crate::net::tls_client::ClientTls;
use crate::structs::rpc::{BoxFuture, Delegate};
use crate::structs::{CheckKind, CheckType, Error, Result};

use cache::Cache;
use checks::{CheckTls, MAX_RUNNING, Runner, Surroundings};
use local::{Identity, State};
use persist::{Persist, PersistedTokens};
use token::{Tokens, Which};

/// Metadata key of the network segment, which every agent publishes.
const SEGMENT_META: &str = "consul-network-segment";

/// Who defined a service or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A configuration file, or the agent itself.
    Local,
    /// A client, over HTTP.
    Remote,
}

impl Source {
    /// The word in persisted files.
    pub fn word(self) -> &'static str {
        match self {
            Source::Local => "local",
            Source::Remote => "remote",
        }
    }
}

/// What the process around the agent does for it.
pub struct Hooks {
    /// Reads the configuration again and applies it to the whole process.
    pub reload: Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>,
    /// Asks the process to end, after a graceful leave.
    pub leave: Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

/// A registered check beside its state: how it runs and how it was defined.
struct Running {
    definition: Option<Arc<CheckType>>,
    runner: Option<Runner>,
}

/// An agent.
pub struct Agent {
    config: RwLock<Arc<Config>>,
    /// The configuration of the start; the same one until the first reload.
    started_with: Arc<Config>,
    /// The way to the servers and the gossip pool.
    pub delegate: Arc<dyn Delegate>,
    resolver: Arc<dyn Resolver>,
    /// Services and checks this agent owns.
    pub local: Arc<State>,
    /// The agent's own tokens.
    pub tokens: Arc<Tokens>,
    /// User events that reached this agent.
    pub events: Arc<event::Buffer>,
    /// Answers of servers that are kept for those who ask for cached ones.
    pub cache: Arc<Cache>,
    around: Surroundings,
    persist: Option<Persist>,
    running: Mutex<BTreeMap<String, Running>>,
    /// One registration, deregistration or reload at a time.
    gate: smol::lock::Mutex<()>,
    tasks: Mutex<Vec<Task<()>>>,
    watches: Mutex<Vec<watch::Watching>>,
    shutdown: Shutdown,
    hooks: OnceLock<Hooks>,
}

/// Node metadata as it is published: the configured pairs and the segment.
pub fn node_metadata(config: &Config) -> BTreeMap<String, String> {
    let mut metadata = config.node_meta.clone();
    metadata.insert(SEGMENT_META.to_owned(), config.segment.clone());
    metadata
}

impl Agent {
    /// An agent that owns nothing yet. `node_id` is the node's final ID.
    pub fn new(
        config: Arc<Config>,
        node_id: &str,
        delegate: Arc<dyn Delegate>,
        resolver: Arc<dyn Resolver>,
        handle: Handle,
        events: Arc<event::Buffer>,
    ) -> Arc<Self> {
        let identity = Identity {
            id: node_id.to_owned(),
            node: config.node_name.clone(),
            datacenter: config.datacenter.clone(),
            address: config.advertise_addr_lan.to_string(),
            tagged_addresses: config.tagged_addresses.clone(),
        };
        let tokens = Arc::new(Tokens::default());
        let persistent = !config.dev_mode && !config.data_dir.is_empty();
        let persist = persistent.then(|| Persist::new(PathBuf::from(&config.data_dir)));
        set_tokens(&tokens, &config, persist.as_ref());
        delegate.set_replication_token(&tokens.get(Which::Replication));
        let interval = config.check_update_interval;
        let local = Arc::new(State::new(identity, tokens.clone(), interval));
        local.load_metadata(node_metadata(&config));
        local.set_discard_check_output(config.discard_check_output);
        let cache = Cache::new(delegate.clone(), handle.clone(), fetch_rate(&config));
        let around = Surroundings {
            state: local.clone(),
            delegate: delegate.clone(),
            handle,
            output_max_size: usize::try_from(config.check_output_max_size).unwrap_or(0),
            tls: check_tls(&config),
            permits: Arc::new(Semaphore::new(MAX_RUNNING)),
        };
        Arc::new(Self {
            delegate,
            resolver,
            local,
            tokens,
            events,
            cache,
            around,
            persist,
            running: Mutex::default(),
            gate: smol::lock::Mutex::new(()),
            tasks: Mutex::default(),
            watches: Mutex::default(),
            shutdown: Shutdown::default(),
            hooks: OnceLock::new(),
            started_with: config.clone(),
            config: RwLock::new(config),
        })
    }

    /// The configuration as `agent/self` shows it: that of the start, whatever reloads have changed since, but
    /// for the limits of RPC.
    pub fn config_shown(&self) -> Arc<Config> {
        let now = self.config();
        if Arc::ptr_eq(&now, &self.started_with) {
            return now;
        }
        let mut shown = Config::clone(&self.started_with);
        shown.limits.rpc_rate = now.limits.rpc_rate;
        shown.limits.rpc_max_burst = now.limits.rpc_max_burst;
        Arc::new(shown)
    }

    /// The configuration that is in force.
    pub fn config(&self) -> Arc<Config> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    /// Says what the process around the agent does for it; the first call counts.
    pub fn set_hooks(&self, hooks: Hooks) {
        // A second set of hooks would come from a second start, which nobody does.
        let _ = self.hooks.set(hooks);
    }

    /// Reads the configuration again and applies it, through the process around the agent.
    ///
    /// # Errors
    /// What is wrong with the new configuration; nothing has changed then.
    pub async fn request_reload(&self) -> Result<()> {
        match self.hooks.get() {
            Some(hooks) => (hooks.reload)().await,
            None => Err(Error::new("cannot reload before agent started")),
        }
    }

    /// Leaves the pools gracefully and ends the process.
    ///
    /// # Errors
    /// What went wrong while leaving.
    pub async fn request_leave(&self) -> Result<()> {
        match self.hooks.get() {
            Some(hooks) => (hooks.leave)().await,
            None => Err(Error::new("cannot leave before agent started")),
        }
    }

    /// Starts keeping the catalog equal to the local state. Call it once, after the definitions were loaded.
    pub fn start(self: &Arc<Self>) {
        let syncer = ae::StateSyncer::new(
            self.local.clone(),
            self.delegate.clone(),
            self.shutdown.clone(),
        );
        let reaper = Arc::downgrade(self);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(self.around.handle.spawn(syncer.run()));
        tasks.push(self.around.handle.spawn(reap::run(reaper)));
        if !self.config().disable_coordinates {
            let sender = coordinate::run(Arc::downgrade(self));
            tasks.push(self.around.handle.spawn(sender));
        }
    }

    /// Ends every check and loop. What is registered stays in the catalog.
    pub async fn stop(&self) {
        self.shutdown.trigger();
        self.running().clear();
        let watches =
            std::mem::take(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner));
        for watch in watches {
            watch.task.cancel().await;
        }
        let tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        for task in tasks {
            task.cancel().await;
        }
    }

    /// What ends this agent's loops.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Takes an event that gossip delivered; it is kept when it is meant for this agent.
    pub fn user_event(&self, event: crate::structs::UserEvent) {
        if event::is_for(&event, &self.local) {
            log::debug!(target: "agent", name = event.name.as_str(), id = event.id.as_str(); "new event");
            self.events.push(event);
        }
    }

    /// Pushes what changed to the catalog before a client is answered; a failure is only logged, the
    /// periodic comparison makes up for it.
    pub async fn sync_changes(&self) {
        if let Err(e) = self.local.sync_changes(&*self.delegate).await {
            error!(target: "agent.anti_entropy", error = e.text(); "failed to sync changes");
        }
    }

    /// How many checks wait to be told, and how many run scripts: `check_ttls`, `check_monitors`.
    pub fn runner_counts(&self) -> (usize, usize) {
        let running = self.running();
        let ttls = running
            .values()
            .filter(|r| matches!(r.runner, Some(Runner::Ttl(..))));
        let is_script = |r: &&Running| {
            let kind = r.definition.as_ref().map(|d| d.kind());
            r.runner.is_some() && kind == Some(CheckKind::Script)
        };
        (ttls.count(), running.values().filter(is_script).count())
    }

    /// Changes one of the agent's tokens while it runs; true when it differs from before.
    pub fn set_token(&self, which: Which, token: &str) -> bool {
        let changed = self.tokens.set(which, token, true);
        if which == Which::Replication {
            self.delegate.set_replication_token(token);
        }
        changed
    }

    /// Keeps the tokens that were set for the next start, if that is wanted.
    pub async fn persist_tokens(&self) {
        let Some(persist) = self.persist.clone() else {
            return;
        };
        if !self.config().acl.token_persistence {
            return;
        }
        let kept = PersistedTokens {
            replication: self.tokens.set_while_running(Which::Replication),
            agent_master: self.tokens.set_while_running(Which::AgentMaster),
            default: self.tokens.set_while_running(Which::Default),
            agent: self.tokens.set_while_running(Which::Agent),
        };
        let saved = smol::unblock(move || persist.save_tokens(&kept)).await;
        if let Err(e) = saved {
            warn!(target: "agent", error = e.text(); "failed to persist tokens");
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often the cache may fetch an answer.
fn fetch_rate(config: &Config) -> Rate {
    Rate {
        per_second: config.cache_entry_fetch_rate,
        burst: config.cache_entry_fetch_max_burst,
    }
}

/// Takes the tokens of the configuration, or those set while the agent ran, if they are kept.
fn set_tokens(tokens: &Tokens, config: &Config, persist: Option<&Persist>) -> bool {
    let from = &config.acl.tokens;
    let kept = match persist.filter(|_| config.acl.token_persistence) {
        None => PersistedTokens::default(),
        Some(persist) => persist.tokens().unwrap_or_else(|e| {
            warn!(target: "agent", error = e.text(); "unable to load persisted tokens");
            PersistedTokens::default()
        }),
    };
    let mut changed = false;
    for (which, name, configured, kept) in [
        (Which::Default, "default", &from.default, &kept.default),
        (Which::Agent, "agent", &from.agent, &kept.agent),
        (
            Which::AgentMaster,
            "agent_master",
            &from.agent_master,
            &kept.agent_master,
        ),
        (
            Which::Replication,
            "replication",
            &from.replication,
            &kept.replication,
        ),
    ] {
        if !kept.is_empty() && !configured.is_empty() {
            warn!(
                target: "agent",
                "\"{name}\" token present in both the configuration and persisted token store, \
                 using the persisted token"
            );
        }
        let token = if kept.is_empty() { configured } else { kept };
        let differs = tokens.set(which, token, !kept.is_empty());
        changed |= differs && matches!(which, Which::Default | Which::Agent);
    }
    changed
}

fn check_tls(config: &Config) -> CheckTls {
    if !config.enable_agent_tls_for_checks {
        return CheckTls::default();
    }
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    CheckTls {
        agent: Some(ClientTls {
            ca_file: path(&config.tls.ca_file),
            ca_path: path(&config.tls.ca_path),
            cert_file: path(&config.tls.cert_file),
            key_file: path(&config.tls.key_file),
            ..ClientTls::default()
        }),
        server_name: config.tls.server_name.clone(),
    }
}
