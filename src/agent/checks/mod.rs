//! Running checks: one file per kind, one task per check.
//!
//! Holds true: a check first runs after a random part of its interval, then an interval after the end of
//! the run before; at most [`MAX_RUNNING`] checks probe at once, the others wait; between runs a check
//! costs a timer and nothing else; dropping a [`Runner`] ends its check and whatever it started.
//! Source: `docs/reference/http-2.md` section 4.

mod alias;
mod grpc;
mod h2ping;
mod http;
pub(in crate::agent) mod script;
mod status;
mod tcp;
mod ttl;
mod udp;

use std::sync::Arc;
use std::time::Duration;

use log::trace;
use smol::lock::Semaphore;

use super::local::State;
use crate::drive::{Handle, Task, sleep};
use crate::structs::rpc::Delegate;
use crate::structs::{CheckType, Error, Result};

use status::StatusHandler;
pub use status::Thresholds;
pub use ttl::{Ttl, truncate as truncate_ttl};

/// The most checks that probe at the same time.
pub const MAX_RUNNING: usize = 128;
/// The shortest interval.
pub const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long a probe may take unless the check says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a script may take unless the check says otherwise.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of one run of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `passing`, `warning` or `critical`.
    pub status: &'static str,
    /// What the user reads.
    pub output: String,
    /// Why it counts at once, whatever the thresholds, if it does.
    pub at_once: Option<AtOnce>,
}

/// A probe that could not judge what it was to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// The script could not be started.
    NotInvoked,
    /// The script took longer than this.
    TimedOut(Duration),
}

impl Outcome {
    fn passing(output: impl Into<String>) -> Self {
        Self {
            status: super::local::PASSING,
            output: output.into(),
            at_once: None,
        }
    }

    fn warning(output: impl Into<String>) -> Self {
        Self {
            status: super::local::WARNING,
            output: output.into(),
            at_once: None,
        }
    }

    fn critical(output: impl Into<String>) -> Self {
        Self {
            status: super::local::CRITICAL,
            output: output.into(),
            at_once: None,
        }
    }
}

/// How the agent's own TLS settings bear on checks that use TLS.
#[derive(Clone, Debug, Default)]
pub struct CheckTls {
    /// Authorities and certificate of the agent, when `enable_agent_tls_for_checks` is set.
    pub agent: Option<crate::net::tls_client::ClientTls>,
    /// Name the agent's certificate is checked against, empty for the host of the check.
    pub server_name: String,
}

impl CheckTls {
    fn options(
        &self,
        check: &CheckType,
        alpn: Vec<&'static str>,
    ) -> crate::net::tls_client::ClientTls {
        let mut options = self.agent.clone().unwrap_or_default();
        options.skip_verify = check.tls_skip_verify;
        options.alpn = alpn;
        options
    }

    fn server_name(&self, check: &CheckType) -> String {
        if check.tls_server_name.is_empty() {
            self.server_name.clone()
        } else {
            check.tls_server_name.clone()
        }
    }
}

/// What running checks needs of its agent.
#[derive(Clone)]
pub struct Surroundings {
    /// Where results go.
    pub state: Arc<State>,
    /// For aliases of what other agents own.
    pub delegate: Arc<dyn Delegate>,
    /// Where tasks run.
    pub handle: Handle,
    /// Longest output, in bytes, whatever a check says.
    pub output_max_size: usize,
    /// TLS settings.
    pub tls: CheckTls,
    /// How many checks may probe at once.
    pub permits: Arc<Semaphore>,
}

impl Surroundings {
    /// The output limit of a check: its own when that is smaller than the agent's.
    pub fn output_limit(&self, check: &CheckType) -> usize {
        match usize::try_from(check.output_max_size) {
            Ok(own) if own > 0 => own.min(self.output_max_size),
            _ => self.output_max_size,
        }
    }
}

/// A check that is running; dropping it ends it.
pub enum Runner {
    /// Waits to be told.
    Ttl(Arc<Ttl>, Task<()>),
    /// Probes by itself.
    Monitor(Task<()>),
    /// Follows other checks.
    Alias(Task<()>),
}

/// A way to probe.
enum Probe {
    Http(http::HttpProbe),
    Tcp(tcp::TcpProbe),
    Udp(udp::UdpProbe),
    Grpc(grpc::GrpcProbe),
    H2ping(h2ping::H2pingProbe),
    Script(script::ScriptProbe),
}

impl Probe {
    async fn run(&self) -> Outcome {
        match self {
            Probe::Http(p) => p.run().await,
            Probe::Tcp(p) => p.run().await,
            Probe::Udp(p) => p.run().await,
            Probe::Grpc(p) => p.run().await,
            Probe::H2ping(p) => p.run().await,
            Probe::Script(p) => p.run().await,
        }
    }
}

fn limit(check: &CheckType, default: Duration) -> Duration {
    if check.timeout.0 > 0 {
        check.timeout.to_std()
    } else {
        default
    }
}

/// Whether a definition is of a kind that this agent does not run.
///
/// # Errors
/// What to do instead.
pub fn refused(check: &CheckType) -> Result<()> {
    if !check.docker_container_id.is_empty() {
        return Err(Error::new(
            "Docker checks are not supported by this agent; use a script check, for example args = [\"docker\", \"exec\", \"CONTAINER\", \"COMMAND\"]",
        ));
    }
    if !check.os_service.is_empty() {
        return Err(Error::new(
            "OSService checks are not supported by this agent; use a script check, for example args = [\"systemctl\", \"is-active\", \"UNIT\"]",
        ));
    }
    Ok(())
}

/// Starts the check `check_id` as `check` says. Of several kinds in one definition the first of TTL,
/// HTTP, TCP, UDP, gRPC, script, H2PING, alias runs.
///
/// # Errors
/// When nothing in the definition can be run here.
pub fn start(around: &Surroundings, check_id: &str, check: &CheckType) -> Result<Runner> {
    if check.ttl.0 > 0 {
        let ttl = Arc::new(Ttl::new(around.state.clone(), check_id, check.ttl.to_std()));
        let task = around.handle.spawn(ttl.clone().run());
        return Ok(Runner::Ttl(ttl, task));
    }
    refused(check)?;
    let probe = if !check.http.is_empty() {
        Probe::Http(http::HttpProbe::new(around, check)?)
    } else if !check.tcp.is_empty() {
        Probe::Tcp(tcp::TcpProbe::new(around, check)?)
    } else if !check.udp.is_empty() {
        Probe::Udp(udp::UdpProbe::new(check))
    } else if !check.grpc.is_empty() {
        Probe::Grpc(grpc::GrpcProbe::new(around, check)?)
    } else if check.has_script() {
        Probe::Script(script::ScriptProbe::new(around, check))
    } else if !check.h2ping.is_empty() {
        Probe::H2ping(h2ping::H2pingProbe::new(around, check)?)
    } else if check.is_alias() {
        let alias = alias::Alias::new(around, check_id, check);
        return Ok(Runner::Alias(around.handle.spawn(alias.run())));
    } else {
        return Err(Error::new("Check type is not valid"));
    };
    let status = StatusHandler::new(around.state.clone(), check_id, Thresholds::of(check));
    let interval = check.interval.to_std().max(MIN_INTERVAL);
    let permits = around.permits.clone();
    let task = around
        .handle
        .spawn(monitor(probe, status, interval, permits));
    Ok(Runner::Monitor(task))
}

async fn monitor(
    probe: Probe,
    mut status: StatusHandler,
    interval: Duration,
    permits: Arc<Semaphore>,
) {
    sleep(interval.mul_f64(fastrand::f64())).await;
    loop {
        let permit = permits.acquire().await;
        let outcome = probe.run().await;
        drop(permit);
        trace!(target: "agent", check = status.check_id(), status = outcome.status; "Check ran");
        status.report(&outcome);
        sleep(interval).await;
    }
}

/// The first `limit` bytes of a text, cut between characters.
pub(crate) fn head(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
