//! What each room needs of the configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue};

use crate::acl::DownPolicy;
use crate::config::{Config, Limits, ListenAddr};
use crate::drive::Rate;
use crate::net::dial::errno_text;
use crate::net::{Handshakes, ListenerConfig, UnixSocket};
use crate::structs::AutopilotConfig;
use crate::{client, http, net, raft, server, store, ui};

/// Smallest number of SQLite readers; more when there are more threads.
const MIN_READERS: usize = 2;
/// Largest number of SQLite readers.
const MAX_READERS: usize = 4;

/// Shortest TTL of a session when the configuration sets none, as Consul's.
const SESSION_TTL_MIN: Duration = Duration::from_secs(10);

/// What the server needs.
pub fn server(config: &Config, node_id: &str, temp_dir: &Path, clock: Instant) -> server::Options {
    let a = &config.autopilot;
    server::Options {
        node_name: config.node_name.clone(),
        node_id: node_id.to_owned(),
        datacenter: config.datacenter.clone(),
        advertise: config.rpc_advertise_addr.ip(),
        server_port: config.rpc_advertise_addr.port(),
        serf_lan_port: config.serf_advertise_addr_lan.port(),
        serf_wan_port: config.serf_advertise_addr_wan.map(|addr| addr.port()),
        leave_drain_time: config.leave_drain_time,
        alone: config.bootstrap || config.dev_mode,
        bootstrap: config.bootstrap,
        bootstrap_expect: u32::try_from(config.bootstrap_expect).unwrap_or(0),
        rpc_hold_timeout: config.rpc_hold_timeout,
        default_query_time: config.default_query_time,
        max_query_time: config.max_query_time,
        autopilot: AutopilotConfig {
            cleanup_dead_servers: a.cleanup_dead_servers,
            last_contact_threshold: a.last_contact_threshold.into(),
            max_trailing_logs: a.max_trailing_logs,
            min_quorum: a.min_quorum,
            server_stabilization_time: a.server_stabilization_time.into(),
            redundancy_zone_tag: a.redundancy_zone_tag.clone(),
            disable_upgrade_migration: a.disable_upgrade_migration,
            upgrade_version_tag: a.upgrade_version_tag.clone(),
            ..AutopilotConfig::default()
        },
        // Unset is zero in the configuration, as Consul shows it; the server then has a bound of its own.
        session_ttl_min: match config.session_ttl_min {
            Duration::ZERO => SESSION_TTL_MIN,
            set => set,
        },
        disable_coordinates: config.disable_coordinates,
        acl: acl(config),
        data_dir: config.data_dir.clone().into(),
        temp_dir: temp_dir.to_owned(),
        clock,
    }
}

/// What a client agent needs.
pub fn client(config: &Config) -> client::Options {
    let in_memory = config.dev_mode || config.data_dir.is_empty();
    client::Options {
        datacenter: config.datacenter.clone(),
        serf_lan_port: config.ports.serf_lan,
        acl: config.acl.enabled,
        rpc_hold_timeout: config.rpc_hold_timeout,
        rpc_client_timeout: config.limits.rpc_client_timeout,
        default_query_time: config.default_query_time,
        max_query_time: config.max_query_time,
        rate: rpc_rate(config),
        disable_coordinates: config.disable_coordinates,
        temp_dir: match in_memory {
            true => std::env::temp_dir(),
            false => config.data_dir.clone().into(),
        },
    }
}

/// How many calls a client agent may make.
pub fn rpc_rate(config: &Config) -> Rate {
    Rate {
        per_second: config.limits.rpc_rate,
        burst: config.limits.rpc_max_burst,
    }
}

/// What holds where no rule does.
fn default_policy(config: &Config) -> crate::acl::Default {
    match config.acl.default_policy.as_str() {
        "deny" => crate::acl::Default::Deny,
        _ => crate::acl::Default::Allow,
    }
}

/// Refuses policies that are none.
///
/// # Errors
/// In Consul's words.
pub fn check_acl(config: &Config) -> Result<(), String> {
    let acl = &config.acl;
    if !acl.enabled {
        return Ok(());
    }
    if !matches!(acl.default_policy.as_str(), "allow" | "deny") {
        return Err(format!(
            "Unsupported default ACL policy: {}",
            acl.default_policy
        ));
    }
    match acl.down_policy.as_str() {
        "allow" | "deny" | "extend-cache" | "async-cache" => Ok(()),
        other => Err(format!("Unsupported down ACL policy: {other}")),
    }
}

/// Versions of Consul's protocol that may be asked for.
const PROTOCOLS: std::ops::RangeInclusive<i64> = 2..=3;

/// Refuses protocol versions that do not exist. What is not above 0 stands for the usual one, as in Consul.
///
/// # Errors
/// In Consul's words.
pub fn check_protocols(config: &Config) -> Result<(), String> {
    let (version, raft) = (config.rpc_protocol, config.raft.protocol);
    if version > 0 && !PROTOCOLS.contains(&version) {
        let how = if version < 2 { "low" } else { "high" };
        return Err(format!(
            "Protocol version '{version}' too {how}. Must be in range: [2, 3]"
        ));
    }
    if config.server && !(0..=3).contains(&raft) {
        return Err(format!(
            "Failed to start Raft: Protocol version {raft} must be >= 1 and <= 3"
        ));
    }
    Ok(())
}

/// Refuses TLS versions that do not exist, and files that cannot be read.
///
/// # Errors
/// In Consul's words, where it has some.
pub fn check_tls(config: &Config) -> Result<(), String> {
    let tls = &config.tls;
    if !TLS_VERSIONS.contains(&tls.min_version.as_str()) {
        return Err(format!(
            "TLSMinVersion: value {} not supported, please specify one of [{}]",
            tls.min_version,
            TLS_VERSIONS.join(", ")
        ));
    }
    let verifies = tls.verify_incoming || tls.verify_incoming_rpc || tls.verify_incoming_https;
    if verifies && tls.ca_file.is_empty() && tls.ca_path.is_empty() {
        return Err("VerifyIncoming set but no CA certificates were provided".to_owned());
    }
    let readable = |what: &str, path: &str| match std::fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{what}: open {path}: {}", errno_text(&e))),
    };
    let pair = [tls.cert_file.as_str(), tls.key_file.as_str()];
    if pair.iter().all(|file| !file.is_empty()) {
        for file in pair {
            readable("Failed to load cert/key pair", file)?;
        }
    } else if !config.https_addrs.is_empty() {
        return Err("'ports.https' needs 'cert_file' and 'key_file'".to_owned());
    }
    match tls.ca_file.as_str() {
        "" => Ok(()),
        file => readable(&format!("Error loading from {file}"), file),
    }
}

/// Refuses an address of a metrics server that says no port, where Consul does.
///
/// # Errors
/// In Consul's words.
pub fn check_telemetry(config: &Config) -> Result<(), String> {
    match config.telemetry.dogstatsd_addr.as_str() {
        "" => Ok(()),
        address => net::dial::split_host_port(address)
            .map(drop)
            .map_err(|e| format!("failed to initialize telemetry: {e}")),
    }
}

/// What `tls_min_version` may be. Below TLS 1.2 nothing is spoken all the same.
const TLS_VERSIONS: [&str; 4] = ["tls10", "tls11", "tls12", "tls13"];

/// How access control is set up on a client agent.
pub fn client_acl(config: &Config) -> client::AclOptions {
    let acl = &config.acl;
    client::AclOptions {
        enabled: acl.enabled,
        datacenter: config.datacenter.clone(),
        default_policy: default_policy(config),
        down_policy: down_policy(config),
        ttl: acl_ttl(config),
    }
}

/// What holds of a secret when nobody can be asked of it.
fn down_policy(config: &Config) -> DownPolicy {
    match config.acl.down_policy.as_str() {
        "allow" => DownPolicy::Allow,
        "deny" => DownPolicy::Deny,
        "async-cache" => DownPolicy::AsyncCache,
        _ => DownPolicy::ExtendCache,
    }
}

/// How long what others say of a secret is remembered.
fn acl_ttl(config: &Config) -> Duration {
    let acl = &config.acl;
    acl.token_ttl.min(acl.policy_ttl).min(match acl.role_ttl {
        Duration::ZERO => acl.policy_ttl,
        set => set,
    })
}

/// How access control is set up.
fn acl(config: &Config) -> server::acl::Options {
    let acl = &config.acl;
    server::acl::Options {
        enabled: acl.enabled,
        default_policy: default_policy(config),
        enable_key_list_policy: acl.enable_key_list_policy,
        master_token: acl.tokens.master.clone(),
        policy_ttl: acl.policy_ttl,
        primary_datacenter: config.primary_datacenter.clone(),
        token_replication: acl.token_replication,
        ttl: acl_ttl(config),
        down_policy: down_policy(config),
    }
}

/// How Raft and the store behave.
pub fn tuning(config: &Config, node_id: &str) -> server::Tuning {
    let multiplier = u32::try_from(config.raft.multiplier).unwrap_or(1).max(1);
    let mut core = raft::Config::new(node_id.into(), multiplier, fastrand::u64(..));
    core.heartbeat_timeout = config.raft.heartbeat_timeout;
    core.election_timeout = config.raft.election_timeout;
    core.lease_timeout = config.raft.leader_lease_timeout;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let store = store::Options {
        durable: !config.dev_mode,
        readers: cores.clamp(MIN_READERS, MAX_READERS),
        ..store::Options::default()
    };
    let limits = &config.limits;
    let rpc = server::rpc::Settings {
        bind: config.rpc_bind_addr,
        max_conns_per_client: usize::try_from(limits.rpc_max_conns_per_client).unwrap_or(0),
        handshake_timeout: limits.rpc_handshake_timeout,
    };
    server::Tuning {
        raft: core,
        store,
        rpc: Some(rpc),
    }
}

/// The web page, when there is one to serve.
fn ui_page(config: &Config) -> Option<http::Ui> {
    let own = !config.ui.dir.is_empty();
    if !own && config.ui.enabled && !ui::is_built_in() {
        log::warn!(target: "agent", "The web UI is not part of this build: ui_dir serves one of your own");
    }
    let served = own || (config.ui.enabled && ui::is_built_in());
    served.then(|| http::Ui {
        content_path: config.ui.content_path.clone(),
        dir: own.then(|| config.ui.dir.clone().into()),
    })
}

/// What the HTTP API needs.
///
/// # Errors
/// When a response header is none.
pub fn http(config: &Config) -> Result<http::Settings, String> {
    let mut response_headers = Vec::new();
    for (name, value) in &config.http.response_headers {
        let bad = |why: String| format!("http_config.response_headers: {name}: {why}");
        let name_ok = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
        let value_ok = HeaderValue::from_str(value).map_err(|e| bad(e.to_string()))?;
        response_headers.push((name_ok, value_ok));
    }
    let limits = &config.limits;
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(http::Settings {
        node_name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        primary_datacenter: config.primary_datacenter.clone(),
        server: config.server,
        pretty: config.dev_mode,
        coordinates: !config.disable_coordinates,
        use_cache: config.http.use_cache,
        keep_answers: !config.acl.enabled,
        translate_wan_addrs: config.translate_wan_addrs,
        allow_unprintable: config.disable_http_unprintable_char_filter,
        kv_max_value_size: bytes(limits.kv_max_value_size),
        txn_max_req_len: bytes(limits.txn_max_req_len),
        max_conns_per_client: http_connections(limits),
        block_endpoints: config.http.block_endpoints.clone(),
        allow_write_http_from: config
            .http
            .allow_write_http_from
            .iter()
            .map(|(addr, bits)| http::Network::new(*addr, *bits))
            .collect(),
        response_headers,
        ui: ui_page(config),
        ..http::Settings::default()
    })
}

/// How many connections a client of the HTTP API may have; 0 is no limit.
pub fn http_connections(limits: &Limits) -> usize {
    usize::try_from(limits.http_max_conns_per_client).unwrap_or(0)
}

/// What a reload may change of the HTTP API.
pub fn http_live(config: &Config) -> http::Live {
    http::Live {
        default_token: config.acl.tokens.default.clone(),
        discovery_max_stale: config.discovery_max_stale.into(),
    }
}

/// What HTTPS is served with; nothing where it is not.
///
/// # Errors
/// When TLS files cannot be used.
pub fn https(config: &Config) -> Result<Option<Arc<net::tls::ServerConfig>>, String> {
    if config.https_addrs.is_empty() {
        return Ok(None);
    }
    let tls = &config.tls;
    let files = net::tls::ServerFiles {
        cert_file: tls.cert_file.clone().into(),
        key_file: tls.key_file.clone().into(),
        ca_file: (!tls.ca_file.is_empty()).then(|| tls.ca_file.clone().into()),
        ca_path: (!tls.ca_path.is_empty()).then(|| tls.ca_path.clone().into()),
        verify_incoming: tls.verify_incoming || tls.verify_incoming_https,
        only_tls13: tls.min_version == "tls13",
    };
    let server = net::tls::server_config(&files).map_err(|e| e.to_string())?;
    Ok(Some(server))
}

/// What to listen on for the HTTP API: the protocol's name and the listener; over TLS with `handshakes`.
///
/// # Errors
/// When a unix socket's owner does not exist.
pub fn listeners(
    config: &Config,
    handshakes: Option<&Arc<Handshakes>>,
) -> Result<Vec<(&'static str, ListenerConfig)>, String> {
    let mut found = Vec::new();
    for address in &config.http_addrs {
        let listener = match address {
            ListenAddr::Ip(addr) => ListenerConfig::Tcp(*addr),
            ListenAddr::Unix(path) => unix_socket(config, path)?,
        };
        found.push(("HTTP", listener));
    }
    let Some(handshakes) = handshakes else {
        return Ok(found);
    };
    for address in &config.https_addrs {
        match address {
            ListenAddr::Ip(addr) => {
                found.push(("HTTPS", ListenerConfig::Tls(*addr, handshakes.clone())));
            }
            ListenAddr::Unix(path) => {
                return Err(format!(
                    "addresses.https: {} is a unix socket; TLS is served over TCP only",
                    path.display()
                ));
            }
        }
    }
    Ok(found)
}

/// Network and address of a listener, as Go names them.
pub fn describe(listen: &ListenerConfig) -> String {
    match listen {
        ListenerConfig::Tcp(addr) | ListenerConfig::Tls(addr, _) => format!("tcp {addr}"),
        ListenerConfig::Unix(socket) => format!("unix {}", socket.path.display()),
    }
}

/// How the text about a unix socket that cannot be what it should begins.
const FAILED_SOCKET: &str = "Failed setting up socket";

fn unix_socket(config: &Config, path: &Path) -> Result<ListenerConfig, String> {
    let set = &config.unix_sockets;
    let mode = match set.mode.as_str() {
        "" => None,
        text => Some(u32::from_str_radix(text, 8).map_err(|_| {
            format!("{FAILED_SOCKET}: invalid mode specified: {text} (an octal file mode such as 0770 is wanted)")
        })?),
    };
    let owner = |text: &str, find: fn(&str) -> std::io::Result<u32>| match text {
        "" => Ok(None),
        name => find(name).map(Some).map_err(|e| match e.to_string() {
            e if e.starts_with("user:") => {
                format!("{FAILED_SOCKET}: failed to look up user {name}: {e}")
            }
            _ => format!("{FAILED_SOCKET}: invalid group specified: {name}"),
        }),
    };
    Ok(ListenerConfig::Unix(UnixSocket {
        path: path.to_owned(),
        mode,
        user: owner(&set.user, net::user_id)?,
        group: owner(&set.group, net::group_id)?,
    }))
}
