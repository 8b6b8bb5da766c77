//! What an agent of ours says about itself to the other members.
//!
//! Source: `docs/reference/gossip.md` section 15.2.

use super::{Area, CONSUL_VERSION};
use crate::config::Config;
use crate::gossip::codec::tags::Tags;

/// Consul's protocol version, and the oldest and newest that are understood.
const VERSION: &str = "2";
const VERSION_MIN: &str = "2";
const VERSION_MAX: &str = "3";
/// Version of Raft's protocol.
const RAFT_VERSION: &str = "3";

fn tag(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

/// What servers and clients both say.
fn common(config: &Config, node_id: &str) -> Tags {
    let acls = if config.acl.enabled { "1" } else { "0" };
    Tags::from([
        tag("acls", acls),
        tag("build", format!("{CONSUL_VERSION}:")),
        tag("dc", &config.datacenter),
        tag("id", node_id),
        tag("segment", &config.segment),
        tag("vsn", VERSION),
        tag("vsn_max", VERSION_MAX),
        tag("vsn_min", VERSION_MIN),
    ])
}

/// The tags of a server in either pool.
pub fn server_tags(config: &Config, node_id: &str, area: Area) -> Tags {
    let mut tags = common(config, node_id);
    tags.extend([
        tag("role", "consul"),
        tag("port", config.rpc_advertise_addr.port().to_string()),
        tag("raft_vsn", RAFT_VERSION),
        tag("ft_fs", "1"),
    ]);
    if config.bootstrap {
        tags.extend([tag("bootstrap", "1")]);
    }
    if config.bootstrap_expect > 0 {
        tags.extend([tag("expect", config.bootstrap_expect.to_string())]);
    }
    if config.non_voting_server {
        tags.extend([tag("nonvoter", "1")]);
    }
    if config.tls.verify_outgoing {
        tags.extend([tag("use_tls", "1")]);
    }
    if let (Area::Lan, Some(wan)) = (area, config.serf_advertise_addr_wan) {
        tags.extend([tag("wan_join_port", wan.port().to_string())]);
    }
    tags
}

/// The tags of a client agent.
pub fn client_tags(config: &Config, node_id: &str) -> Tags {
    let mut tags = common(config, node_id);
    tags.extend([tag("role", "node")]);
    tags
}
