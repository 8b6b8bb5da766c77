//! What handlers share: the delegate that knows the servers, and the settings that change answers.
//!
//! Source: `docs/reference/http-1.md` section 1.12.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use hyper::header::{HeaderName, HeaderValue};

use super::conn::Patience;
use super::kept::Kept;
use super::ui::Ui;
use crate::acl::{self, Ask, Authorizer, Resource};
use crate::agent::Agent;
use crate::agent::event::Buffer;
use crate::structs::go::GoDuration;
use crate::structs::rpc::Delegate;

/// What handlers share.
pub struct Ctx {
    /// The way to the servers.
    pub delegate: Arc<dyn Delegate>,
    /// The user events that this agent has seen.
    pub events: Arc<Buffer>,
    /// Settings from the configuration.
    pub settings: Settings,
    /// Settings that a reload may change.
    live: RwLock<Live>,
    agent: OnceLock<Arc<Agent>>,
    max_conns_per_client: AtomicUsize,
    pub(super) kept: Kept,
}

/// Settings that a reload may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Token of requests that bring none (`acl.tokens.default`).
    pub default_token: String,
    /// `discovery_max_stale`; 0 is off.
    pub discovery_max_stale: GoDuration,
}

/// Settings from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This agent's node name.
    pub node_name: String,
    /// This agent's datacenter.
    pub datacenter: String,
    /// The datacenter that ACLs are written in.
    pub primary_datacenter: String,
    /// This agent runs a server.
    pub server: bool,
    /// Indent every answer (`-dev`).
    pub pretty: bool,
    /// Coordinates are on (`disable_coordinates = false`).
    pub coordinates: bool,
    /// `http_config.use_cache`.
    pub use_cache: bool,
    /// Answers may be kept while the catalog stays as it is: not where ACLs make them depend on who asks.
    pub keep_answers: bool,
    /// `translate_wan_addrs`.
    pub translate_wan_addrs: bool,
    /// `disable_http_unprintable_char_filter`.
    pub allow_unprintable: bool,
    /// `limits.kv_max_value_size`, in bytes.
    pub kv_max_value_size: usize,
    /// `limits.txn_max_req_len`, in bytes.
    pub txn_max_req_len: usize,
    /// `limits.http_max_conns_per_client` to begin with; 0 is no limit.
    pub max_conns_per_client: usize,
    /// How long a client may make the server wait.
    pub patience: Patience,
    /// `http_config.block_endpoints`.
    pub block_endpoints: Vec<String>,
    /// `http_config.allow_write_http_from`; empty allows everyone.
    pub allow_write_http_from: Vec<Network>,
    /// `http_config.response_headers`.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// The web page, when it is served.
    pub ui: Option<Ui>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            datacenter: "dc1".to_owned(),
            primary_datacenter: "dc1".to_owned(),
            server: true,
            pretty: false,
            coordinates: true,
            use_cache: true,
            keep_answers: true,
            translate_wan_addrs: false,
            allow_unprintable: false,
            kv_max_value_size: 512 << 10,
            txn_max_req_len: 512 << 10,
            max_conns_per_client: 200,
            patience: Patience::default(),
            block_endpoints: Vec::new(),
            allow_write_http_from: Vec::new(),
            response_headers: Vec::new(),
            ui: None,
        }
    }
}

impl Ctx {
    /// A context.
    pub fn new(
        delegate: Arc<dyn Delegate>,
        events: Arc<Buffer>,
        settings: Settings,
        live: Live,
    ) -> Ctx {
        Ctx {
            delegate,
            events,
            max_conns_per_client: AtomicUsize::new(settings.max_conns_per_client),
            settings,
            live: RwLock::new(live),
            agent: OnceLock::new(),
            kept: Kept::default(),
        }
    }

    /// Says which agent `/v1/agent/*` is about; the first call counts.
    pub fn set_agent(&self, agent: Arc<Agent>) {
        // A process runs one agent, so a second one would be the same.
        let _ = self.agent.set(agent);
    }

    /// The agent that `/v1/agent/*` is about.
    pub fn agent(&self) -> Option<&Arc<Agent>> {
        self.agent.get()
    }

    /// Takes over what a reload changed.
    pub fn reload(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Limits a client's connections from now on; 0 is no limit.
    pub fn limit_clients(&self, connections: usize) {
        self.max_conns_per_client.store(connections, Relaxed);
    }

    /// How many connections a client may have; 0 is no limit.
    pub(super) fn max_conns_per_client(&self) -> usize {
        self.max_conns_per_client.load(Relaxed)
    }

    /// The token of requests that bring none.
    pub(super) fn default_token(&self) -> String {
        match self.agent() {
            Some(agent) => agent.tokens.user(),
            None => self.live(|live| live.default_token.clone()),
        }
    }

    /// What a request's token may do on this agent.
    ///
    /// # Errors
    /// 403 `ACL not found`; why no server could be asked.
    pub(super) async fn authorizer(
        &self,
        req: &super::Request,
    ) -> Result<Arc<Authorizer>, super::HttpError> {
        let agent = super::agent::agent(self)?;
        Ok(agent.authorizer(&req.token(self)).await?)
    }

    /// Refuses a request whose token does not allow something.
    ///
    /// # Errors
    /// 403 `Permission denied`, `ACL not found`.
    pub(super) async fn require(
        &self,
        req: &super::Request,
        ask: Ask<'_>,
    ) -> Result<(), super::HttpError> {
        let authorizer = self.authorizer(req).await?;
        Ok(acl::require(&authorizer, ask)?)
    }

    /// Refuses a request that may not look at this agent.
    ///
    /// # Errors
    /// As [`Ctx::require`].
    pub(super) async fn agent_read(&self, req: &super::Request) -> Result<(), super::HttpError> {
        let ask = Ask::Read(Resource::Agent, &self.settings.node_name);
        self.require(req, ask).await
    }

    /// Refuses a request that may not manage this agent.
    ///
    /// # Errors
    /// As [`Ctx::require`].
    pub(super) async fn agent_write(&self, req: &super::Request) -> Result<(), super::HttpError> {
        let ask = Ask::Write(Resource::Agent, &self.settings.node_name);
        self.require(req, ask).await
    }

    /// Reads the settings that a reload may change.
    pub(super) fn live<T>(&self, read: impl FnOnce(&Live) -> T) -> T {
        read(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An address block such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    bits: u8,
}

impl Network {
    /// The block of an address and a number of leading bits.
    pub fn new(addr: IpAddr, bits: u8) -> Network {
        Network { addr, bits }
    }

    /// Whether an address lies in the block.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width.saturating_sub(u32::from(self.bits));
            shift >= width || (a >> shift) == (b >> shift)
        };
        match (self.addr, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid CIDR address: {text}");
        let (addr, bits) = text.split_once('/').ok_or_else(bad)?;
        let addr: IpAddr = addr.parse().map_err(|_| bad())?;
        let bits: u8 = bits.parse().map_err(|_| bad())?;
        let width = if addr.is_ipv4() { 32 } else { 128 };
        if bits > width {
            return Err(bad());
        }
        Ok(Network { addr, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let inside = |net: &str, ip: &str| {
            net.parse::<Network>()
                .unwrap()
                .contains(ip.parse().unwrap())
        };
        assert!(inside("127.0.0.0/8", "127.9.9.9"));
        assert!(!inside("127.0.0.0/8", "128.0.0.1"));
        assert!(inside("0.0.0.0/0", "1.2.3.4"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("10.0.0.1/32", "10.0.0.1"));
        assert!(inside("fd00::/8", "fd12::1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.1.1.1"));
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
