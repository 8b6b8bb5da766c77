//! The flags of `agent`, each with the configuration key it stands for.
//!
//! Flags of lists come before all files, the others after them, so that a flag wins over a file and lists add up in the
//! order in which Consul adds them.
//! Source: `docs/reference/config.md` section 2.

use super::flags::{Flag, FlagSet, Group, Kind, Parsed, parse_bool};
use super::tree::Tree;
use crate::sorted::IntoMap;

/// Flags that are no keys of a file.
const OWN: &[(&str, Kind, &str)] = &[
    (
        "config-dir",
        Kind::List,
        "Directory whose files ending in .json or .hcl are read as configuration, in the order of their names. May be given more than once.",
    ),
    (
        "config-file",
        Kind::List,
        "Configuration file to read, in JSON or HCL as its ending says. May be given more than once.",
    ),
    (
        "config-format",
        Kind::String,
        "Format of all configuration files whatever their ending: 'hcl' or 'json'.",
    ),
    (
        "dev",
        Kind::BoolValue,
        "Runs a server in memory, for development: nothing is written to disk.",
    ),
    (
        "hcl",
        Kind::List,
        "Piece of configuration in HCL, read after all files. May be given more than once.",
    ),
];

/// Flag, kind, key, help.
const KEYS: &[(&str, Kind, &str, &str)] = &[
    (
        "advertise",
        Kind::Value,
        "advertise_addr",
        "Address under which other agents reach this one.",
    ),
    (
        "advertise-wan",
        Kind::Value,
        "advertise_addr_wan",
        "Address under which servers of other datacenters reach this one, if not the one of -advertise.",
    ),
    (
        "allow-write-http-from",
        Kind::List,
        "http_config.allow_write_http_from",
        "Network in CIDR form from which the HTTP API may be written to; without any, everybody may. May be given more than once.",
    ),
    (
        "alt-domain",
        Kind::Value,
        "alt_domain",
        "Second domain the DNS interface answers for.",
    ),
    (
        "auto-reload-config",
        Kind::BoolValue,
        "auto_reload_config",
        "Reloads the configuration when its files change.",
    ),
    (
        "bind",
        Kind::Value,
        "bind_addr",
        "Address on which to listen for other agents.",
    ),
    (
        "bootstrap",
        Kind::BoolValue,
        "bootstrap",
        "Lets this server elect itself leader.",
    ),
    (
        "bootstrap-expect",
        Kind::IntValue,
        "bootstrap_expect",
        "Number of servers to wait for before the first leader is elected.",
    ),
    (
        "check_output_max_size",
        Kind::IntValue,
        "check_output_max_size",
        "Most bytes of a check's output that are kept.",
    ),
    (
        "client",
        Kind::Value,
        "client_addr",
        "Addresses on which clients are served: HTTP, HTTPS, DNS and gRPC.",
    ),
    (
        "data-dir",
        Kind::Value,
        "data_dir",
        "Directory for the agent's state.",
    ),
    (
        "default-query-time",
        Kind::Value,
        "default_query_time",
        "How long a blocking query waits if it does not say so itself with 'wait'.",
    ),
    (
        "disable-host-node-id",
        Kind::BoolValue,
        "disable_host_node_id",
        "Makes the node ID at random rather than from the identity of the host.",
    ),
    (
        "disable-keyring-file",
        Kind::BoolValue,
        "disable_keyring_file",
        "Keeps gossip keys in memory only.",
    ),
    (
        "dns-port",
        Kind::IntValue,
        "ports.dns",
        "Port of the DNS interface.",
    ),
    (
        "domain",
        Kind::Value,
        "domain",
        "Domain the DNS interface answers for.",
    ),
    (
        "enable-local-script-checks",
        Kind::BoolValue,
        "enable_local_script_checks",
        "Allows script checks that are defined in configuration files.",
    ),
    (
        "enable-script-checks",
        Kind::BoolValue,
        "enable_script_checks",
        "Allows script checks, also those registered over HTTP.",
    ),
    (
        "encrypt",
        Kind::Value,
        "encrypt",
        "Key that encrypts gossip, in base64.",
    ),
    (
        "grpc-port",
        Kind::IntValue,
        "ports.grpc",
        "Port of the gRPC interface.",
    ),
    (
        "grpc-tls-port",
        Kind::IntValue,
        "ports.grpc_tls",
        "Port of the gRPC interface with TLS.",
    ),
    (
        "http-port",
        Kind::IntValue,
        "ports.http",
        "Port of the HTTP interface.",
    ),
    (
        "https-port",
        Kind::IntValue,
        "ports.https",
        "Port of the HTTPS interface.",
    ),
    (
        "join",
        Kind::List,
        "start_join",
        "Address of an agent to join at start, with one attempt. May be given more than once.",
    ),
    (
        "join-wan",
        Kind::List,
        "start_join_wan",
        "Address of a server of another datacenter to join at start, with one attempt. May be given more than once.",
    ),
    (
        "log-file",
        Kind::Value,
        "log_file",
        "File, or directory with a slash at its end, into which the log is written too.",
    ),
    (
        "log-json",
        Kind::BoolValue,
        "log_json",
        "Writes the log as JSON.",
    ),
    (
        "log-level",
        Kind::Value,
        "log_level",
        "Least severe level that is logged: trace, debug, info, warn or err.",
    ),
    (
        "log-rotate-bytes",
        Kind::IntValue,
        "log_rotate_bytes",
        "Size at which a new log file is begun, in bytes.",
    ),
    (
        "log-rotate-duration",
        Kind::Value,
        "log_rotate_duration",
        "Age at which a new log file is begun.",
    ),
    (
        "log-rotate-max-files",
        Kind::IntValue,
        "log_rotate_max_files",
        "Number of old log files to keep.",
    ),
    (
        "max-query-time",
        Kind::Value,
        "max_query_time",
        "Longest time that a blocking query may wait, before jitter is added.",
    ),
    (
        "node",
        Kind::Value,
        "node_name",
        "Name of this node, unique in its datacenter; the host's name unless given.",
    ),
    (
        "node-id",
        Kind::Value,
        "node_id",
        "ID of this node, a UUID; unless given, one is made and kept in the data directory.",
    ),
    (
        "node-meta",
        Kind::Map,
        "node_meta",
        "Metadata of this node, one `key:value` pair. May be given more than once.",
    ),
    (
        "non-voting-server",
        Kind::BoolValue,
        "non_voting_server",
        "(Enterprise-only) Server that replicates but does not vote.",
    ),
    (
        "pid-file",
        Kind::Value,
        "pid_file",
        "File into which the process ID is written.",
    ),
    (
        "primary-gateway",
        Kind::List,
        "primary_gateways",
        "Address of a mesh gateway of the primary datacenter, for federation through gateways. May be given more than once.",
    ),
    (
        "protocol",
        Kind::IntValue,
        "protocol",
        "Version of the gossip protocol; the latest unless given.",
    ),
    (
        "raft-protocol",
        Kind::IntValue,
        "raft_protocol",
        "Version of the Raft protocol; the latest unless given.",
    ),
    (
        "read-replica",
        Kind::BoolValue,
        "read_replica",
        "(Enterprise-only) Server that replicates but does not vote.",
    ),
    (
        "recursor",
        Kind::List,
        "recursors",
        "Address of a DNS server for names outside of Consul's domains. May be given more than once.",
    ),
    (
        "rejoin",
        Kind::BoolValue,
        "rejoin_after_leave",
        "Joins the agents known before, even after having left.",
    ),
    (
        "retry-interval",
        Kind::Value,
        "retry_interval",
        "Time between attempts to join.",
    ),
    (
        "retry-interval-wan",
        Kind::Value,
        "retry_interval_wan",
        "Time between attempts to join other datacenters.",
    ),
    (
        "retry-join",
        Kind::List,
        "retry_join",
        "Address of an agent to join at start, with as many attempts as it takes. May be given more than once.",
    ),
    (
        "retry-join-wan",
        Kind::List,
        "retry_join_wan",
        "Address of a server of another datacenter to join at start, with as many attempts as it takes. May be given more than once.",
    ),
    (
        "retry-max",
        Kind::IntValue,
        "retry_max",
        "Most attempts to join; 0, the default, is no limit.",
    ),
    (
        "retry-max-wan",
        Kind::IntValue,
        "retry_max_wan",
        "Most attempts to join other datacenters; 0, the default, is no limit.",
    ),
    (
        "segment",
        Kind::Value,
        "segment",
        "(Enterprise-only) Network segment to join.",
    ),
    (
        "serf-lan-allowed-cidrs",
        Kind::List,
        "serf_lan_allowed_cidrs",
        "Network in CIDR form from which agents may join. May be given more than once.",
    ),
    (
        "serf-lan-bind",
        Kind::Value,
        "serf_lan",
        "Address on which to listen for gossip of this datacenter.",
    ),
    (
        "serf-lan-port",
        Kind::IntValue,
        "ports.serf_lan",
        "Port for gossip of this datacenter.",
    ),
    (
        "serf-wan-allowed-cidrs",
        Kind::List,
        "serf_wan_allowed_cidrs",
        "Network in CIDR form from which servers of other datacenters may join. May be given more than once.",
    ),
    (
        "serf-wan-bind",
        Kind::Value,
        "serf_wan",
        "Address on which to listen for gossip between datacenters.",
    ),
    (
        "serf-wan-port",
        Kind::IntValue,
        "ports.serf_wan",
        "Port for gossip between datacenters.",
    ),
    (
        "server",
        Kind::BoolValue,
        "server",
        "Runs a server rather than a client.",
    ),
    (
        "server-port",
        Kind::IntValue,
        "ports.server",
        "Port on which servers serve other agents.",
    ),
    (
        "syslog",
        Kind::BoolValue,
        "enable_syslog",
        "Writes the log to syslog too.",
    ),
    ("ui", Kind::BoolValue, "ui", "Serves the web interface."),
    (
        "ui-content-path",
        Kind::Value,
        "ui_content_path",
        "Path under which the web interface is served; /ui/ unless given.",
    ),
    (
        "ui-dir",
        Kind::Value,
        "ui_dir",
        "Directory with pages to serve instead of the web interface that is built in.",
    ),
];

/// The flags of the command `agent`.
pub fn agent_flags() -> FlagSet {
    let datacenter = Flag {
        name: "datacenter",
        kind: Kind::Value,
        default: "",
        help: "Datacenter of this agent.",
        group: Group::Api,
    };
    let mut set = FlagSet::new().flag(datacenter);
    for (name, kind, help) in OWN {
        set = set.command(name, *kind, help);
    }
    for (name, kind, _, help) in KEYS {
        set = set.command(name, *kind, help);
    }
    set
}

/// What flags of lists configure.
pub(super) fn list_flags(parsed: &Parsed) -> Tree {
    let mut tree = Tree::default();
    for (name, _, key, _) in KEYS.iter().filter(|(_, kind, _, _)| *kind == Kind::List) {
        let values: Vec<Tree> = parsed.list(name).into_iter().map(Tree::Str).collect();
        if !values.is_empty() {
            tree.set(key, Tree::List(values));
        }
    }
    tree
}

/// What all other flags configure.
pub(super) fn other_flags(parsed: &Parsed) -> Tree {
    let mut tree = Tree::default();
    if let Some(value) = parsed.get("datacenter") {
        tree.set("datacenter", Tree::Str(value.to_owned()));
    }
    for (name, kind, key, _) in KEYS {
        let Some(value) = parsed.get(name) else {
            continue;
        };
        let value = match kind {
            Kind::List | Kind::Pairs => continue,
            Kind::Bool | Kind::BoolValue => Tree::Bool(parse_bool(value).unwrap_or(false)),
            Kind::Int | Kind::IntValue | Kind::Uint | Kind::UintValue => {
                Tree::Int(parsed.int(name))
            }
            Kind::Map => {
                let pairs = parsed.map(name).into_iter();
                Tree::Map(pairs.map(|(key, value)| (key, Tree::Str(value))).into_map())
            }
            Kind::String | Kind::Value | Kind::Duration | Kind::DurationValue => {
                Tree::Str(value.to_owned())
            }
        };
        tree.set(key, value);
    }
    tree
}

/// What `-dev` configures, before anything the user says.
pub(super) fn dev_mode() -> Tree {
    let mut tree = Tree::default();
    let text = |text: &str| Tree::Str(text.to_owned());
    for (key, value) in [
        ("bind_addr", text("127.0.0.1")),
        ("disable_anonymous_signature", Tree::Bool(true)),
        ("disable_keyring_file", Tree::Bool(true)),
        ("enable_debug", Tree::Bool(true)),
        ("log_level", text("DEBUG")),
        ("server", Tree::Bool(true)),
        ("ui", Tree::Bool(true)),
        ("connect.enabled", Tree::Bool(true)),
        ("performance.raft_multiplier", Tree::Int(1)),
        ("ports.grpc", Tree::Int(8502)),
        ("gossip_lan.gossip_interval", text("100ms")),
        ("gossip_lan.probe_interval", text("100ms")),
        ("gossip_lan.probe_timeout", text("100ms")),
        ("gossip_lan.suspicion_mult", Tree::Int(3)),
        ("gossip_wan.gossip_interval", text("100ms")),
        ("gossip_wan.probe_interval", text("100ms")),
        ("gossip_wan.probe_timeout", text("100ms")),
        ("gossip_wan.suspicion_mult", Tree::Int(3)),
    ] {
        tree.set(key, value);
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{self, ROOT};

    #[test]
    fn flags_set_keys_of_their_kind() {
        use crate::config::schema::Kind as Key;
        for (name, kind, key, _) in KEYS {
            let found = schema::find(ROOT, key);
            let fits = match kind {
                Kind::BoolValue => matches!(found, Some(Key::Bool)),
                Kind::IntValue => matches!(found, Some(Key::Int)),
                Kind::List => matches!(found, Some(Key::Strings)),
                Kind::Map => matches!(found, Some(Key::StringMap)),
                _ => matches!(found, Some(Key::Str)),
            };
            assert!(fits, "-{name} sets {key}, which is {found:?}");
        }
    }

    #[test]
    fn lists_and_others_are_told_apart() {
        let parsed = agent_flags().parse([
            "-join=a",
            "-join=b",
            "-node-meta=a:b:c",
            "-node-meta",
            "d",
            "-http-port=1",
        ]);
        let parsed = parsed.expect("valid flags");
        let lists = list_flags(&parsed);
        assert_eq!(
            lists.at("start_join"),
            Some(&Tree::List(vec![
                Tree::Str("a".into()),
                Tree::Str("b".into())
            ]))
        );
        let others = other_flags(&parsed);
        assert_eq!(others.at("start_join"), None);
        assert_eq!(others.at("ports.http"), Some(&Tree::Int(1)));
        assert_eq!(
            others.at("node_meta").and_then(|map| map.at("a")),
            Some(&Tree::Str("b:c".into()))
        );
    }
}
