//! What the agent prints before its log.
//!
//! Source: `docs/reference/config.md` section 12.

use crate::config::Config;
use crate::serf::keyring;
use crate::server::CONSUL_VERSION;

/// The banner. With JSON logs nothing of it is printed.
pub fn banner(config: &Config, node_id: &str) -> String {
    let port = |port: Option<u16>| port.map_or("-1".to_owned(), |p| p.to_string());
    let clients: Vec<String> = config
        .client_addrs
        .iter()
        .map(ToString::to_string)
        .collect();
    let segment = if config.server { "<all>" } else { "" };
    let lines = [
        (
            "Version",
            format!(
                "'{CONSUL_VERSION}' (consul-lite {})",
                env!("CARGO_PKG_VERSION")
            ),
        ),
        ("Node ID", format!("'{node_id}'")),
        ("Node name", format!("'{}'", config.node_name)),
        (
            "Datacenter",
            format!("'{}' (Segment: '{segment}')", config.datacenter),
        ),
        (
            "Server",
            format!("{} (Bootstrap: {})", config.server, config.bootstrap),
        ),
        // Whatever `ports.grpc` says (in `-dev` it is 8502): nothing listens there.
        (
            "Client Addr",
            format!(
                "[{}] (HTTP: {}, HTTPS: {}, gRPC: -1, DNS: {})",
                clients.join(" "),
                port(config.ports.http),
                port(config.ports.https),
                port(config.ports.dns),
            ),
        ),
        (
            "Cluster Addr",
            format!(
                "{} (LAN: {}, WAN: {})",
                config.advertise_addr_lan,
                config.ports.serf_lan,
                port(config.ports.serf_wan),
            ),
        ),
        (
            "Encrypt",
            format!(
                "Gossip: {}, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false",
                keyring::is_encrypted(config)
            ),
        ),
    ];
    let mut out = "==> Starting Consul agent...\n".to_owned();
    for (label, value) in lines {
        out.push_str(&format!("    {label:>14}: {value}\n"));
    }
    out.push_str("\n==> Log data will now stream in as it occurs:\n\n");
    out
}
