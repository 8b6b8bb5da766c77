//! How an agent's pools behave, from its configuration.
//!
//! Source: `docs/reference/gossip.md` section 8, `docs/reference/config.md` sections 3, 15 and 17.

use std::path::PathBuf;
use std::time::Duration;

use super::{Area, client_tags, keyring, server_tags};
use crate::config::{self, Config};
use crate::drive::gossip::Settings;
use crate::gossip::{self, MergeFilter};
use crate::structs::{Error, Result};

/// What a server takes part in.
pub struct ServerPools {
    /// The agents of its datacenter.
    pub lan: Settings,
    /// The servers of all datacenters; nothing when the port is turned off.
    pub wan: Option<Settings>,
}

/// The pools of a server.
///
/// # Errors
/// When its keys cannot be used.
pub fn server(config: &Config, node_id: &str) -> Result<ServerPools> {
    let mut lan = lan(config, node_id)?;
    lan.pool.tags = server_tags(config, node_id, Area::Lan);
    // Two servers of one name must not take each other out.
    lan.pool.conflict_resolution = false;
    let Some((bind, advertise)) = config
        .serf_bind_addr_wan
        .zip(config.serf_advertise_addr_wan)
    else {
        return Ok(ServerPools { lan, wan: None });
    };
    let name = format!("{}.{}", config.node_name, config.datacenter);
    let tags = server_tags(config, node_id, Area::Wan);
    let mut pool = gossip::Config::wan(&name, advertise, tags);
    tune(&mut pool, config, &config.gossip_wan);
    pool.loggers = loggers("server", "wan");
    forget_after(&mut pool, config.reconnect_timeout_wan);
    pool.conflict_resolution = false;
    pool.filter = MergeFilter::Wan;
    pool.allowed = config.serf_allowed_cidrs_wan.clone();
    pool.keyring = keyring::set_up(config, Area::Wan)?;
    let wan = Settings {
        bind,
        pool,
        snapshot: file(config, "remote.snapshot"),
        keyring: keyring::file(config, Area::Wan),
    };
    Ok(ServerPools {
        lan,
        wan: Some(wan),
    })
}

/// The pool of a client agent.
///
/// # Errors
/// When its keys cannot be used.
pub fn client(config: &Config, node_id: &str) -> Result<Settings> {
    let mut lan = lan(config, node_id)?;
    lan.pool.tags = client_tags(config, node_id);
    lan.pool.loggers = loggers("client", "lan");
    Ok(lan)
}

fn lan(config: &Config, node_id: &str) -> Result<Settings> {
    let advertise = config.serf_advertise_addr_lan;
    let mut pool = gossip::Config::lan(&config.node_name, advertise, Default::default());
    tune(&mut pool, config, &config.gossip_lan);
    pool.loggers = loggers("server", "lan");
    forget_after(&mut pool, config.reconnect_timeout_lan);
    pool.filter = MergeFilter::Lan {
        id: node_id.to_owned(),
        name: config.node_name.clone(),
        datacenter: config.datacenter.clone(),
        segment: config.segment.clone(),
    };
    pool.allowed = config.serf_allowed_cidrs_lan.clone();
    pool.keyring = keyring::set_up(config, Area::Lan)?;
    Ok(Settings {
        bind: config.serf_bind_addr_lan,
        pool,
        snapshot: file(config, "local.snapshot"),
        keyring: keyring::file(config, Area::Lan),
    })
}

/// When failed members are forgotten; zero is Consul's default.
fn forget_after(pool: &mut gossip::Config, configured: Duration) {
    if !configured.is_zero() {
        pool.reconnect_timeout = configured;
    }
}

fn loggers(role: &str, area: &str) -> [String; 2] {
    ["memberlist", "serf"].map(|layer| format!("agent.{role}.{layer}.{area}"))
}

fn tune(pool: &mut gossip::Config, config: &Config, gossip: &config::Gossip) {
    let count = |n: i64| u32::try_from(n).unwrap_or(0).max(1);
    pool.gossip_nodes = usize::try_from(gossip.gossip_nodes).unwrap_or(0);
    pool.gossip_interval = gossip.gossip_interval;
    pool.probe_interval = gossip.probe_interval;
    pool.probe_timeout = gossip.probe_timeout;
    pool.suspicion_mult = count(gossip.suspicion_mult);
    pool.retransmit_mult = count(gossip.retransmit_mult);
    pool.rejoin_after_leave = config.rejoin_after_leave;
    pool.verify_incoming = config.encrypt_verify_incoming;
    pool.verify_outgoing = config.encrypt_verify_outgoing;
}

/// A file of the directory `serf`; none in dev mode, which writes nothing.
fn file(config: &Config, name: &str) -> Option<PathBuf> {
    let dir = directory(config)?;
    Some(dir.join(name))
}

/// Where snapshots and keyrings lie.
pub(super) fn directory(config: &Config) -> Option<PathBuf> {
    let writes = !config.dev_mode && !config.data_dir.is_empty();
    writes.then(|| PathBuf::from(&config.data_dir).join("serf"))
}

/// The error of a pool that does not start.
pub fn start_error(area: Area, why: &Error) -> Error {
    Error::new(format!("Failed to start {} Serf: {why}", area.word()))
}
