//! Puts the rooms together and runs them until the end.
//!
//! Order of the start: store and server, the agent's own definitions, then HTTP and DNS, so that whoever is
//! answered is answered rightly. The end goes the other way round.
//! Source: `docs/reference/config.md` sections 12, 15, 16 and 18.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;

use super::notify::{self, Notify};
use super::options;
use super::role::{self, Role};
use super::signals::{Asked, SignalStream};
use crate::agent::event::Buffer;
use crate::agent::{Agent, Hooks, logging, watch};
use crate::config::flags::Parsed;
use crate::config::{self, Config, Host};
use crate::dns::{self, Dns};
use crate::drive::{self, Handle, Runtime, Shutdown, Task, TaskSet};
use crate::http;
use crate::net::{Handshakes, Listener};
use crate::serf::Area;
use crate::structs::Error;
use crate::structs::rpc::Delegate;
use crate::telemetry;

/// A graceful leave that takes longer is cut short.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);
/// What an answer under way is given to reach its client before the listeners close.
const DRAIN: Duration = Duration::from_millis(200);

/// Why the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It left, or was told to by a signal that means leaving.
    Left,
    /// It was stopped without leaving.
    Stopped,
}

/// What the main task hears beside signals.
enum Request {
    /// The agent has left; the process shall end.
    Left,
    /// Nobody could be joined for too long; the process shall end.
    JoinFailed(Error),
    /// Read the configuration again.
    Reload(Sender<Result<(), Error>>),
}

/// Runs the agent; its exit code.
pub fn run(config: &Arc<Config>, node_id: &str, flags: &Parsed) -> u8 {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(why) => return failed(&why.to_string()),
    };
    let handle = runtime.handle();
    runtime.run(async {
        match Process::start(config, node_id, flags, &handle).await {
            Ok(process) => match process.live().await {
                End::Left => 0,
                End::Stopped => 1,
            },
            Err(why) => failed(&why),
        }
    })
}

fn failed(why: &str) -> u8 {
    log::error!(target: "agent", error = why; "Error starting agent");
    1
}

/// The file that holds the process's number.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &str) -> Result<Option<Self>, String> {
        if path.is_empty() {
            return Ok(None);
        }
        fs::write(path, std::process::id().to_string()).map_err(|e| {
            let why = crate::net::dial::errno_text(&e);
            format!("Could not open pid file: open {path}: {why}")
        })?;
        Ok(Some(Self(path.into())))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

/// A running agent with everything that belongs to it, in the order in which it ends.
struct Process {
    config: Arc<RwLock<Arc<Config>>>,
    flags: Parsed,
    agent: Arc<Agent>,
    ctx: Arc<http::Ctx>,
    dns: Arc<Dns>,
    dns_server: dns::Server,
    http_tasks: Vec<Task<()>>,
    http_addresses: Vec<(&'static str, String)>,
    https: Option<Arc<Handshakes>>,
    deliveries: Task<()>,
    statsd: Vec<Task<()>>,
    shutdown: Shutdown,
    role: Role,
    request: Sender<Request>,
    requests: Receiver<Request>,
    joining: TaskSet,
    notify: Notify,
    signals: SignalStream,
    _pid_file: Option<PidFile>,
}

impl Process {
    async fn start(
        config: &Arc<Config>,
        node_id: &str,
        flags: &Parsed,
        handle: &Handle,
    ) -> Result<Self, String> {
        let text = |e: std::io::Error| e.to_string();
        telemetry::init(config.telemetry.settings(&host_name())).map_err(|e| e.to_string())?;
        let sinks = 0..telemetry::settings().statsd.len();
        let statsd = sinks.map(|n| handle.spawn(drive::statsd::run(n))).collect();
        let signals = SignalStream::new().map_err(text)?;
        let shutdown = Shutdown::default();
        let (role, notices) = Role::start(config, node_id, handle, &shutdown)?;
        let delegate = role.delegate();
        let buffer = Arc::new(Buffer::default());
        let agent = Agent::new(
            config.clone(),
            node_id,
            delegate.clone(),
            role.resolver(config, handle),
            handle.clone(),
            buffer.clone(),
        );
        let deliveries = handle.spawn(role::deliver(notices, agent.clone()));
        let (request, requests) = smol::channel::bounded(16);
        agent.set_hooks(hooks(&delegate, &request));
        agent
            .load_config_definitions()
            .await
            .map_err(|e| e.to_string())?;
        agent.start();
        let ctx = http::Ctx::new(
            delegate.clone(),
            buffer,
            options::http(config)?,
            options::http_live(config),
        );
        let ctx = Arc::new(ctx);
        ctx.set_agent(agent.clone());
        let pid_file = PidFile::write(&config.pid_file)?;
        let dns_settings = dns::Settings::from_config(config).await;
        let dns = Dns::new(delegate.clone(), dns_settings.map_err(|e| e.to_string())?);
        dns.set_cache(agent.cache.clone());
        dns.set_tokens(agent.tokens.clone());
        // No address when the port is -1.
        let dns_server = dns::Server::start(handle, &dns, &config.dns_addrs).map_err(text)?;
        let mut process = Self {
            config: Arc::new(RwLock::new(config.clone())),
            flags: flags.clone(),
            agent,
            ctx,
            dns,
            dns_server,
            http_tasks: Vec::new(),
            http_addresses: Vec::new(),
            https: None,
            deliveries,
            statsd,
            shutdown,
            role,
            request,
            requests,
            joining: TaskSet::new(handle.clone()),
            notify: Notify::from_env(),
            signals,
            _pid_file: pid_file,
        };
        process.start_http(config, handle)?;
        let watches = watch::prepare(config).map_err(|e| e.to_string())?;
        process
            .agent
            .start_watches(watches)
            .map_err(|e| e.to_string())?;
        Ok(process)
    }

    fn start_http(&mut self, config: &Config, handle: &Handle) -> Result<(), String> {
        let http = http::Server::new(self.ctx.clone(), handle.clone(), self.shutdown.clone());
        self.https = options::https(config)?.map(Handshakes::new);
        for (protocol, listen) in options::listeners(config, self.https.as_ref())? {
            let wanted = options::describe(&listen);
            let listener = Listener::bind(listen).map_err(|e| {
                let why = crate::net::dial::errno_text(&e);
                format!("listen {wanted}: bind: {why}")
            })?;
            let (network, address) = wanted.split_once(' ').unwrap_or(("tcp", &wanted));
            log::info!(
                target: "agent",
                "Started {protocol} server: address={address} network={network}"
            );
            self.http_addresses.push((protocol, address.to_owned()));
            self.http_tasks.push(http.serve(listener));
        }
        Ok(())
    }

    /// Tells whoever started it how far it is; a log of JSON is nothing but JSON.
    fn say(&self, text: &str) {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        if !config.log.json {
            println!("{text}");
        }
    }

    /// Serves until the end.
    async fn live(mut self) -> End {
        if let Err(why) = self.join_at_start().await {
            log::error!(target: "agent", "{}", why.text());
            self.stop().await;
            return End::Stopped;
        }
        self.say("==> Consul agent running!");
        self.start_retry_join();
        self.notify.send(notify::READY);
        let end = loop {
            // At every turn, so that events that come often cannot keep the watchdog hungry.
            self.notify.alive();
            let alive = async {
                match self.notify.alive_interval() {
                    Some(interval) => drive::sleep(interval).await,
                    None => std::future::pending().await,
                }
                Heard::AliveDue
            };
            let signal = async { Heard::Signal(self.signals.next().await) };
            let request = async {
                match self.requests.recv().await {
                    Ok(request) => Heard::Request(request),
                    Err(_) => std::future::pending().await,
                }
            };
            match signal.or(request).or(alive).await {
                Heard::AliveDue => {}
                Heard::Request(Request::Left) => break End::Left,
                Heard::Request(Request::JoinFailed(why)) => {
                    log::error!(target: "agent", error = why.text(); "Retry join failed");
                    break End::Stopped;
                }
                Heard::Request(Request::Reload(answer)) => {
                    let result = self.reload().await;
                    // Whoever asked may have gone away.
                    let _ = answer.try_send(result);
                }
                Heard::Signal(Asked::Reload) => {
                    log::info!(target: "agent", signal = Asked::Reload.name(); "Caught");
                    if let Err(why) = self.reload().await {
                        log::error!(target: "agent", error = why.text(); "Reload config failed");
                    }
                }
                Heard::Signal(asked) => break self.end_by(asked).await,
            }
        };
        self.stop().await;
        end
    }

    fn config(&self) -> Arc<Config> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    /// Joins who is to be joined once, before anything else.
    async fn join_at_start(&self) -> Result<(), Error> {
        let config = self.config();
        for (join, wan) in [(&config.join_lan, false), (&config.join_wan, true)] {
            if join.start_join.is_empty() {
                continue;
            }
            self.say(if wan {
                "==> Joining cluster -wan..."
            } else {
                "==> Joining cluster..."
            });
            let joined = self
                .agent
                .delegate
                .join(join.start_join.clone(), wan)
                .await?;
            println!("    Join completed. Synced with {joined} initial agents");
        }
        Ok(())
    }

    /// Joins who is to be joined sooner or later, meanwhile.
    fn start_retry_join(&self) {
        let config = self.config();
        for (join, area) in [(&config.join_lan, Area::Lan), (&config.join_wan, Area::Wan)] {
            let Some(joiner) = self.role.joiner(area) else {
                continue;
            };
            if join.retry_join.is_empty() {
                continue;
            }
            let (join, failed) = (join.clone(), self.request.clone());
            let (found, entries) = (joiner.clone(), join.clone());
            self.joining
                .spawn(async move { found.announce(&entries).await });
            self.joining.spawn(async move {
                if let Err(why) = joiner.retry(&join).await {
                    // The main task may have ended.
                    let _ = failed.send(Request::JoinFailed(why)).await;
                }
            });
        }
    }

    /// Leaves or not, as signal and configuration say.
    async fn end_by(&mut self, asked: Asked) -> End {
        log::info!(target: "agent", signal = asked.name(); "Caught");
        let leaves = {
            let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
            match asked {
                Asked::Interrupt => !config.skip_leave_on_interrupt,
                _ => config.leave_on_terminate,
            }
        };
        if !leaves {
            log::info!(target: "agent", "Graceful shutdown disabled. Exiting");
            return End::Stopped;
        }
        log::info!(target: "agent", "Gracefully shutting down agent...");
        let leave = async {
            match self.agent.delegate.leave().await {
                Ok(()) => log::info!(target: "agent", "Graceful exit completed"),
                Err(why) => log::error!(target: "agent", error = why.text(); "Error on leave"),
            }
            End::Left
        };
        let second = async {
            let again = loop {
                match self.signals.next().await {
                    Asked::Reload => {}
                    other => break other,
                }
            };
            log::error!(target: "agent", signal = again.name(); "Caught second signal, Exiting");
            End::Stopped
        };
        let timeout = async {
            drive::sleep(LEAVE_TIMEOUT).await;
            log::error!(target: "agent", "Timeout on graceful leave. Exiting");
            End::Stopped
        };
        leave.or(second).or(timeout).await
    }

    /// Reads the configuration again and applies what may change.
    async fn reload(&self) -> Result<(), Error> {
        log::info!(target: "agent", "Reloading configuration...");
        self.notify.reloading();
        let result = self.apply_new_config().await;
        self.notify.send(notify::READY);
        result
    }

    async fn apply_new_config(&self) -> Result<(), Error> {
        let flags = self.flags.clone();
        let loaded = smol::unblock(move || config::load(&flags, &Host::system())).await?;
        for warning in &loaded.warnings {
            log::warn!(target: "agent", "{warning}");
        }
        let level = loaded.config.log.level.clone();
        let old = self
            .config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let new = Arc::new(old.reloaded(&loaded.config));
        let dns_settings = dns::Settings::from_config(&new)
            .await
            .map_err(|e| Error::new(format!("Failed reloading dns config : {e}")))?;
        let tls = |e: String| Error::new(format!("Failed reloading tls configuration: {e}"));
        options::check_tls(&new).map_err(tls)?;
        let https = options::https(&new).map_err(tls)?;
        let watches = watch::prepare(&new)
            .map_err(|e| Error::new(format!("Failed reloading watches: {e}")))?;
        self.agent.reload(new.clone()).await?;
        self.agent.start_watches(watches)?;
        match logging::parse_level(&level) {
            Some(level) => logging::set_level(level),
            None => {
                log::warn!(target: "agent", level = level.as_str(); "Invalid log level in new configuration");
            }
        }
        telemetry::init(new.telemetry.settings(&host_name()))?;
        self.role.reload(&new);
        if let (Some(handshakes), Some(https)) = (&self.https, https) {
            handshakes.renew(https);
        }
        self.ctx.reload(options::http_live(&new));
        self.ctx
            .limit_clients(options::http_connections(&new.limits));
        self.dns.reload(dns_settings);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    async fn stop(self) {
        self.notify.send(notify::STOPPING);
        drop(self.joining);
        log::info!(target: "agent", "Requesting shutdown");
        drive::sleep(DRAIN).await;
        self.agent.stop().await;
        self.dns_server.stop().await;
        for (protocol, address) in &self.http_addresses {
            log::info!(
                target: "agent",
                "Stopping server: protocol={protocol} address={address} network=tcp"
            );
        }
        log::info!(target: "agent", "Waiting for endpoints to shut down");
        self.role.step_aside().await;
        self.shutdown.trigger();
        for task in self.http_tasks {
            task.await;
        }
        log::info!(target: "agent", "Endpoints down");
        self.deliveries.cancel().await;
        for sink in self.statsd {
            sink.cancel().await;
        }
        self.role.join().await;
    }
}

/// The machine's name, as gauges show it.
fn host_name() -> String {
    Host::system().hostname
}

/// What woke the main task.
enum Heard {
    Signal(Asked),
    Request(Request),
    AliveDue,
}

/// What the agent asks of the process around it.
fn hooks(delegate: &Arc<dyn Delegate>, request: &Sender<Request>) -> Hooks {
    let reload = request.clone();
    let (delegate, left) = (delegate.clone(), request.clone());
    let gone = || Error::new("agent is shutting down");
    Hooks {
        reload: Box::new(move || {
            let reload = reload.clone();
            Box::pin(async move {
                let (answer, result) = smol::channel::bounded(1);
                reload
                    .send(Request::Reload(answer))
                    .await
                    .map_err(|_| gone())?;
                result.recv().await.unwrap_or_else(|_| Err(gone()))
            })
        }),
        leave: Box::new(move || {
            let (delegate, left) = (delegate.clone(), left.clone());
            Box::pin(async move {
                delegate.leave().await?;
                left.send(Request::Left).await.map_err(|_| gone())
            })
        }),
    }
}
