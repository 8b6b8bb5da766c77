//! The configuration an agent runs with: every setting decided, parsed and checked.
//!
//! Names are those of the configuration keys. Two values are equal if and only if they configure the same agent. What may
//! change in a running agent is told in [`Config::reloaded`]; the rest of a changed file waits for a restart.
//! Source: `docs/reference/config.md` sections 3 to 10 and 16.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::structs::go::Any;
use crate::structs::{CheckDefinition, ServiceDefinition};
use crate::telemetry;

/// Text to text, sorted.
pub type StringMap = BTreeMap<String, String>;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddr {
    /// An address and port.
    Ip(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Ip(addr) => write!(f, "{addr}"),
            ListenAddr::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An address as configured, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => write!(f, "{ip}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Ports as configured: `None` is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    pub dns: Option<u16>,
    pub http: Option<u16>,
    pub https: Option<u16>,
    pub grpc: Option<u16>,
    pub grpc_tls: Option<u16>,
    pub serf_lan: u16,
    pub serf_wan: Option<u16>,
    pub server: u16,
    /// Range for sidecars; both 0 when off.
    pub sidecar_min: u16,
    pub sidecar_max: u16,
    /// Range for exposed checks; both 0 when off.
    pub expose_min: u16,
    pub expose_max: u16,
}

/// Owner and mode of unix sockets; empty is the process's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSockets {
    /// Name or number.
    pub user: String,
    /// Name or number.
    pub group: String,
    /// Octal, `0770`.
    pub mode: String,
}

/// Start of authority of the DNS zones, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub min_ttl: u32,
}

/// `dns_config` and `recursors`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    pub allow_stale: bool,
    /// 0 is no limit.
    pub a_record_limit: i64,
    pub disable_compression: bool,
    pub enable_truncate: bool,
    pub max_stale: Duration,
    pub node_ttl: Duration,
    pub only_passing: bool,
    pub recursor_timeout: Duration,
    /// `sequential` or `random`.
    pub recursor_strategy: String,
    /// TTL by service name; a key may end in `*`.
    pub service_ttl: BTreeMap<String, Duration>,
    pub udp_answer_limit: i64,
    pub node_meta_txt: bool,
    pub soa: Soa,
    pub use_cache: bool,
    pub cache_max_age: Duration,
    /// As configured (a port may be missing), without repetition.
    pub recursors: Vec<String>,
}

/// `http_config`.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    pub block_endpoints: Vec<String>,
    /// Networks that may write; empty is everybody. Address and prefix length.
    pub allow_write_http_from: Vec<(IpAddr, u8)>,
    pub response_headers: StringMap,
    pub use_cache: bool,
    /// 0 is the server's own limit.
    pub max_header_bytes: i64,
}

/// `limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// 0 is no limit.
    pub http_max_conns_per_client: i64,
    pub https_handshake_timeout: Duration,
    pub rpc_handshake_timeout: Duration,
    pub rpc_client_timeout: Duration,
    /// Requests per second; 0 or less is no limit.
    pub rpc_rate: f64,
    pub rpc_max_burst: i64,
    pub rpc_max_conns_per_client: i64,
    /// Bytes.
    pub kv_max_value_size: u64,
    /// Bytes.
    pub txn_max_req_len: u64,
}

/// `telemetry`.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    pub metrics_prefix: String,
    pub filter_default: bool,
    /// Prefixes let through, from rules with `+`.
    pub allowed_prefixes: Vec<String>,
    /// Prefixes held back, from rules with `-`.
    pub blocked_prefixes: Vec<String>,
    pub disable_hostname: bool,
    pub dogstatsd_addr: String,
    pub dogstatsd_tags: Vec<String>,
    pub statsd_addr: String,
    pub statsite_addr: String,
    /// 0 turns the Prometheus form off.
    pub prometheus_retention_time: Duration,
    /// The `circonus_` settings by their names without that prefix.
    pub circonus: StringMap,
}

/// `gossip_lan` or `gossip_wan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gossip {
    pub gossip_nodes: i64,
    pub gossip_interval: Duration,
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    pub suspicion_mult: i64,
    pub retransmit_mult: i64,
}

/// Raft's settings, with the multiplier applied to the times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raft {
    pub protocol: i64,
    pub multiplier: i64,
    pub election_timeout: Duration,
    pub heartbeat_timeout: Duration,
    pub leader_lease_timeout: Duration,
    /// 0 is Raft's default (30s).
    pub snapshot_interval: Duration,
    /// 0 is Raft's default (16384).
    pub snapshot_threshold: i64,
    /// 0 is Raft's default (10240).
    pub trailing_logs: i64,
}

/// `autopilot`: how a new cluster's autopilot begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autopilot {
    pub cleanup_dead_servers: bool,
    pub last_contact_threshold: Duration,
    pub max_trailing_logs: u64,
    pub min_quorum: u64,
    pub server_stabilization_time: Duration,
    pub redundancy_zone_tag: String,
    pub disable_upgrade_migration: bool,
    pub upgrade_version_tag: String,
}

/// `acl` and its older spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub enabled: bool,
    pub default_policy: String,
    pub down_policy: String,
    pub policy_ttl: Duration,
    pub role_ttl: Duration,
    pub token_ttl: Duration,
    pub disabled_ttl: Duration,
    pub enable_key_list_policy: bool,
    pub token_replication: bool,
    pub token_persistence: bool,
    pub tokens: Tokens,
}

/// `acl.tokens`; empty is not set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Made into a management token by a new cluster's leader.
    pub master: String,
    pub agent_master: String,
    pub default: String,
    pub agent: String,
    pub replication: String,
    pub config_file_service_registration: String,
    pub dns: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

/// TLS settings, of all listeners alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub ca_file: String,
    pub ca_path: String,
    pub cert_file: String,
    pub key_file: String,
    pub min_version: String,
    /// Names of Go's, as configured.
    pub cipher_suites: Vec<String>,
    pub prefer_server_cipher_suites: bool,
    pub verify_incoming: bool,
    pub verify_incoming_rpc: bool,
    pub verify_incoming_https: bool,
    pub verify_outgoing: bool,
    pub verify_server_hostname: bool,
    pub server_name: String,
}

/// `auto_encrypt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoEncrypt {
    pub tls: bool,
    pub allow_tls: bool,
    pub dns_san: Vec<String>,
    pub ip_san: Vec<IpAddr>,
}

/// `auto_config`, as far as it is understood here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoConfig {
    pub enabled: bool,
    pub intro_token_file: String,
    pub server_addresses: Vec<String>,
    pub dns_sans: Vec<String>,
    pub ip_sans: Vec<String>,
    pub authorization_enabled: bool,
}

/// `connect`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    pub enabled: bool,
    pub ca_provider: String,
    pub ca_config: BTreeMap<String, Any>,
    pub mesh_gateway_wan_federation: bool,
}

/// The web interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    pub enabled: bool,
    /// Directory of own pages; empty is the embedded ones.
    pub dir: String,
    /// Path under which it is served, with slashes at both ends.
    pub content_path: String,
}

/// Where and what to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// As configured: checked with [`Log::is_level`] at start only, as Consul does.
    pub level: String,
    pub json: bool,
    pub file: String,
    /// 0 is no limit.
    pub rotate_bytes: i64,
    /// 0 is the default of 24 hours.
    pub rotate_duration: Duration,
    pub rotate_max_files: i64,
    pub syslog: bool,
    pub syslog_facility: String,
}

impl Telemetry {
    /// What the metrics need of it; `host` is the machine's name.
    pub fn settings(&self, host: &str) -> telemetry::Settings {
        use telemetry::Statsd;
        let dog = |address| Statsd::DogStatsd(address, self.dogstatsd_tags.clone());
        let plain = |address: &String| Some(address.clone()).filter(|a| !a.is_empty());
        let statsd = [
            plain(&self.statsite_addr).map(Statsd::Statsite),
            plain(&self.statsd_addr).map(Statsd::Statsd),
            plain(&self.dogstatsd_addr).map(dog),
        ];
        telemetry::Settings {
            metrics_prefix: self.metrics_prefix.clone(),
            host: (!self.disable_hostname).then(|| host.to_owned()),
            filter_default: self.filter_default,
            allowed_prefixes: self.allowed_prefixes.clone(),
            blocked_prefixes: self.blocked_prefixes.clone(),
            prometheus_retention_time: self.prometheus_retention_time,
            statsd: statsd.into_iter().flatten().collect(),
            circonus: self.circonus.keys().cloned().collect(),
        }
    }
}

impl Log {
    /// Is it the name of a log level, in any case?
    pub fn is_level(level: &str) -> bool {
        let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR"];
        names.iter().any(|name| name.eq_ignore_ascii_case(level))
    }
}

/// Who to join, and how long to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Tried once; failure ends the agent.
    pub start_join: Vec<String>,
    /// Tried until it works.
    pub retry_join: Vec<String>,
    pub retry_interval: Duration,
    /// 0 is no limit.
    pub retry_max: i64,
}

/// The whole configuration of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    // Who the agent is.
    pub node_name: String,
    /// As configured; empty lets the agent find or make one.
    pub node_id: String,
    pub node_meta: StringMap,
    pub datacenter: String,
    pub primary_datacenter: String,
    /// `-dev`: nothing is written to disk.
    pub dev_mode: bool,
    pub server: bool,
    pub bootstrap: bool,
    pub bootstrap_expect: i64,
    /// Empty only in dev mode.
    pub data_dir: String,
    pub disable_host_node_id: bool,
    pub non_voting_server: bool,
    pub rpc_protocol: i64,

    // Where it listens and how others reach it.
    pub bind_addr: IpAddr,
    pub advertise_addr_lan: IpAddr,
    pub advertise_addr_wan: IpAddr,
    pub tagged_addresses: StringMap,
    pub translate_wan_addrs: bool,
    pub client_addrs: Vec<IpAddr>,
    pub dns_addrs: Vec<SocketAddr>,
    pub http_addrs: Vec<ListenAddr>,
    pub https_addrs: Vec<ListenAddr>,
    pub grpc_addrs: Vec<ListenAddr>,
    pub rpc_bind_addr: SocketAddr,
    pub rpc_advertise_addr: SocketAddr,
    pub serf_bind_addr_lan: SocketAddr,
    pub serf_advertise_addr_lan: SocketAddr,
    /// `None` without federation.
    pub serf_bind_addr_wan: Option<SocketAddr>,
    pub serf_advertise_addr_wan: Option<SocketAddr>,
    pub serf_allowed_cidrs_lan: Vec<(IpAddr, u8)>,
    pub serf_allowed_cidrs_wan: Vec<(IpAddr, u8)>,
    pub ports: Ports,
    pub unix_sockets: UnixSockets,

    // What it serves.
    /// As configured: a dot at the end may be missing.
    pub dns_domain: String,
    /// As configured; empty is none.
    pub dns_alt_domain: String,
    pub dns: Dns,
    pub http: Http,
    pub ui: Ui,
    pub enable_debug: bool,
    pub default_query_time: Duration,
    pub max_query_time: Duration,
    pub discovery_max_stale: Duration,
    pub disable_http_unprintable_char_filter: bool,
    pub limits: Limits,
    /// Entries per second and burst of the agent's cache; `f64::MAX` is no limit.
    pub cache_entry_fetch_rate: f64,
    pub cache_entry_fetch_max_burst: i64,

    // What it registers and watches.
    pub services: Vec<ServiceDefinition>,
    pub checks: Vec<CheckDefinition>,
    pub watches: Vec<BTreeMap<String, Any>>,
    pub config_entries_bootstrap: Vec<BTreeMap<String, Any>>,
    pub check_output_max_size: i64,
    pub check_update_interval: Duration,
    pub check_reap_interval: Duration,
    pub check_deregister_interval_min: Duration,
    pub discard_check_output: bool,
    pub enable_local_script_checks: bool,
    /// Scripts that come in over HTTP are allowed too.
    pub enable_remote_script_checks: bool,
    pub enable_agent_tls_for_checks: bool,
    pub enable_central_service_config: bool,
    pub ae_interval: Duration,
    pub session_ttl_min: Duration,

    // How it lives with others.
    pub join_lan: Join,
    pub join_wan: Join,
    pub rejoin_after_leave: bool,
    pub leave_on_terminate: bool,
    pub skip_leave_on_interrupt: bool,
    pub leave_drain_time: Duration,
    pub rpc_hold_timeout: Duration,
    pub reconnect_timeout_lan: Duration,
    pub reconnect_timeout_wan: Duration,
    pub primary_gateways: Vec<String>,
    pub primary_gateways_interval: Duration,
    pub segment: String,
    pub gossip_lan: Gossip,
    pub gossip_wan: Gossip,
    pub raft: Raft,
    pub autopilot: Autopilot,
    pub disable_coordinates: bool,
    /// Updates per second the whole datacenter aims at.
    pub sync_coordinate_rate_target: f64,
    pub sync_coordinate_interval_min: Duration,
    pub disable_remote_exec: bool,
    pub disable_update_check: bool,
    pub disable_anonymous_signature: bool,

    // Secrets and who may do what.
    /// Gossip key, base64; empty is none.
    pub encrypt: String,
    pub encrypt_verify_incoming: bool,
    pub encrypt_verify_outgoing: bool,
    pub disable_keyring_file: bool,
    pub acl: Acl,
    pub tls: Tls,
    pub auto_encrypt: AutoEncrypt,
    pub auto_config: AutoConfig,
    pub connect: Connect,

    // How it is looked after.
    pub log: Log,
    pub telemetry: Telemetry,
    pub pid_file: String,
}

impl Config {
    /// What a running agent becomes when its files now say `new`: only what Consul applies on reload is taken over.
    /// The log level is left to the caller, who refuses wrong ones.
    #[must_use]
    pub fn reloaded(&self, new: &Config) -> Config {
        let mut config = self.clone();
        let Config {
            services,
            checks,
            watches,
            node_meta,
            dns,
            ..
        } = new.clone();
        config.services = services;
        config.checks = checks;
        config.watches = watches;
        config.node_meta = node_meta;
        config.dns = dns;
        config.config_entries_bootstrap = new.config_entries_bootstrap.clone();
        config.discard_check_output = new.discard_check_output;
        config.cache_entry_fetch_rate = new.cache_entry_fetch_rate;
        config.cache_entry_fetch_max_burst = new.cache_entry_fetch_max_burst;
        config.limits.rpc_rate = new.limits.rpc_rate;
        config.limits.rpc_max_burst = new.limits.rpc_max_burst;
        config.limits.http_max_conns_per_client = new.limits.http_max_conns_per_client;
        config.telemetry.filter_default = new.telemetry.filter_default;
        config.telemetry.allowed_prefixes = new.telemetry.allowed_prefixes.clone();
        config.telemetry.blocked_prefixes = new.telemetry.blocked_prefixes.clone();
        config.acl.tokens = new.acl.tokens.clone();
        config.tls = new.tls.clone();
        config
    }
}
