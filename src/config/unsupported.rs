//! What a configuration asks for that this agent cannot do yet, where leaving it out would be wrong or unsafe.
//!
//! Such a configuration is valid: only the agent refuses to start with it. Settings that merely have nothing to act on here
//! (limits of RPC from other agents, autopilot's zones) are not among them.

use super::runtime::Config;

/// One sentence for each thing missing, each saying what to do; none if the agent may start.
pub fn unsupported(config: &Config) -> Vec<String> {
    let tls = &config.tls;
    let joins = |list: &[String]| !list.is_empty();
    let faults: &[(bool, &str)] = &[
        (
            joins(&config.primary_gateways),
            "mesh gateways are not supported yet: remove 'primary_gateways'",
        ),
        (
            config.connect.mesh_gateway_wan_federation,
            "mesh gateways are not supported yet: remove 'connect.enable_mesh_gateway_wan_federation'",
        ),
        (
            tls.verify_incoming || tls.verify_incoming_rpc || tls.verify_outgoing,
            "TLS between agents is not supported yet: remove 'verify_incoming', 'verify_incoming_rpc', 'verify_outgoing' \
             and 'verify_server_hostname' ('verify_incoming_https' is supported)",
        ),
        (
            config.auto_encrypt.tls || config.auto_encrypt.allow_tls,
            "automatic TLS is not supported yet: remove 'auto_encrypt'",
        ),
        (
            config.auto_config.enabled || config.auto_config.authorization_enabled,
            "automatic configuration is not supported yet: remove 'auto_config'",
        ),
        (
            !config.config_entries_bootstrap.is_empty(),
            "configuration entries are not supported yet: remove 'config_entries.bootstrap'",
        ),
        (
            config.ports.server == 0 || config.ports.serf_lan == 0,
            "'ports.server' and 'ports.serf_lan' cannot be turned off: remove them or give a port",
        ),
    ];
    faults
        .iter()
        .filter(|(fault, _)| *fault)
        .map(|(_, text)| (*text).to_owned())
        .collect()
}
