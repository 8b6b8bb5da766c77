//! What a client agent is: a member of the LAN pool that keeps no catalog and has every call answered by the
//! servers it finds there.
//!
//! `acl` asks what tokens may do, `servers` knows whom to ask, `forward` asks with Consul's rules for trying again, `lan` follows the pool,
//! `snapshot` saves and restores through a server. Knows no HTTP.
//! Source: `docs/reference/rpc.md` sections 8 to 10.

mod acl;
mod delegate;
mod forward;
mod lan;
mod servers;
mod snapshot;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::drive::gossip::GossipHandle;
use crate::drive::{self, Limiter, Rate};
use crate::net::pool::Pool;
use crate::serf::Area;
use crate::serf::join::Joiner;

pub use acl::{AclOptions, RemoteResolver};
pub use start::Running;

use servers::Servers;

/// What a client agent needs to know about itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// Datacenter.
    pub datacenter: String,
    /// Port of the LAN gossip where an address to join names none.
    pub serf_lan_port: u16,
    /// Whether ACLs are on.
    pub acl: bool,
    /// How long a call is tried again.
    pub rpc_hold_timeout: Duration,
    /// How long an answer is waited for, beyond the wait that a blocking query asks for.
    pub rpc_client_timeout: Duration,
    /// Wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// Longest wait of a blocking query.
    pub max_query_time: Duration,
    /// How many calls it may make.
    pub rate: Rate,
    /// Whether coordinates are off.
    pub disable_coordinates: bool,
    /// Where snapshots that are being saved lie for a while.
    pub temp_dir: PathBuf,
}

/// A client agent: shared by everything that asks something of the servers.
pub struct Client {
    options: Options,
    pool: Arc<Pool>,
    servers: Servers,
    limiter: Limiter,
    lan: GossipHandle,
}

impl Client {
    fn new(options: Options, pool: Arc<Pool>, lan: GossipHandle) -> Arc<Self> {
        Arc::new(Self {
            limiter: Limiter::new(options.rate, drive::now()),
            servers: Servers::default(),
            options,
            pool,
            lan,
        })
    }

    /// What joins members into its pool.
    pub fn joiner(&self) -> Joiner {
        Joiner {
            area: Area::Lan,
            pool: self.lan.clone(),
            port: self.options.serf_lan_port,
        }
    }

    /// Changes how many calls it may make (`limits.rpc_rate` and `limits.rpc_max_burst`).
    pub fn set_rate(&self, rate: Rate) {
        self.limiter.set(rate, drive::now());
    }
}
