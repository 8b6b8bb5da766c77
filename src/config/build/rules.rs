//! The rules that make a configuration wrong or worth a warning, in Consul's order.
//!
//! [`before`] are those told before the errors gathered while reading, [`after`] those told after them.
//! Source: `docs/reference/config.md` section 11; order observed on Consul 1.8.7.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use super::Builder;
use crate::config::runtime::{Config, ListenAddr};
use crate::structs::go::{Any, quote};
use crate::structs::validate_meta;
use crate::wire::base64;

/// Labels that Consul's DNS names begin with, so no domain may.
const RESERVED_LABELS: &[&str] = &["service", "connect", "node", "query", "addr"];
/// Kinds of configuration entries.
const ENTRY_KINDS: &[&str] = &[
    "service-defaults",
    "proxy-defaults",
    "service-router",
    "service-splitter",
    "service-resolver",
    "ingress-gateway",
    "terminating-gateway",
    "service-intentions",
    "mesh",
    "exported-services",
    "sameness-group",
    "api-gateway",
    "http-route",
    "tcp-route",
    "inline-certificate",
    "file-system-certificate",
    "bound-api-gateway",
    "jwt-provider",
    "control-plane-request-limit",
];
/// Files an agent holds open besides the connections of clients.
const OWN_FILES: i64 = 20;

/// Warnings about keys without effect.
pub(super) fn first_warnings(builder: &mut Builder<'_>) {
    if builder.is_set("acl_enforce_version_8") {
        builder.warn("config key \"acl_enforce_version_8\" is deprecated and should be removed");
    }
    for key in [
        "acl.tokens.managed_service_provider",
        "acl.msp_disable_bootstrap",
        "autopilot.disable_upgrade_migration",
        "autopilot.redundancy_zone_tag",
        "autopilot.upgrade_version_tag",
        "dns_config.prefer_namespace",
        "audit",
        "non_voting_server",
        "read_replica",
        "partition",
        "license_path",
    ] {
        if builder.is_set(key) {
            builder.warn(format!(
                "{} is a Consul Enterprise configuration and will have no effect",
                quote(key)
            ));
        }
    }
}

/// Configuration entries to be made at start need a kind.
pub(super) fn config_entries(entries: &[BTreeMap<String, Any>]) -> Result<(), String> {
    for (at, entry) in entries.iter().enumerate() {
        let kind = entry
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("kind"));
        let fault = match kind {
            None => "Payload does not contain a kind/Kind key at the top level".to_owned(),
            Some((_, Any::String(kind))) if ENTRY_KINDS.contains(&kind.as_str()) => continue,
            Some((_, Any::String(kind))) => format!("invalid config entry kind: {kind}"),
            Some(_) => "Kind value in payload is not a string".to_owned(),
        };
        return Err(format!("config_entries.bootstrap[{at}]: {fault}"));
    }
    Ok(())
}

fn is_datacenter_name(name: &str) -> bool {
    name.bytes().all(|byte| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    })
}

/// The rules told before gathered errors.
pub(super) fn before(builder: &mut Builder<'_>, config: &Config) -> Result<(), String> {
    cache(config)?;
    if config.datacenter.is_empty() {
        return Err("datacenter cannot be empty".to_owned());
    }
    if !is_datacenter_name(&config.datacenter) {
        let name = quote(&config.datacenter);
        return Err(format!(
            "datacenter cannot be {name}. Please use only [a-z0-9-_]"
        ));
    }
    ui_path(&config.ui.content_path)?;
    data_dir(config)?;
    node_name(builder, config)?;
    segments(builder, config)?;
    if let Some(addrs) = builder.opt("addresses.dns")
        && addrs
            .split_whitespace()
            .any(|addr| addr.starts_with("unix://"))
    {
        return Err("DNS address cannot be a unix socket".to_owned());
    }
    let nowhere = |addr: &String| matches!(addr.as_str(), "0.0.0.0" | "::" | "[::]");
    if config.dns.recursors.iter().any(nowhere) {
        return Err("DNS recursor address cannot be 0.0.0.0, :: or [::]".to_owned());
    }
    alt_domain(config)?;
    bootstrap(builder, config)?;
    if config.check_output_max_size < 1 {
        return Err(
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag".to_owned(),
        );
    }
    for path in [
        "autopilot.max_trailing_logs",
        "dns_config.a_record_limit",
        "dns_config.udp_answer_limit",
    ] {
        let value = builder.int(path, 0);
        if value < 0 {
            return Err(format!(
                "{path} cannot be {value}. Must be greater than or equal to zero"
            ));
        }
    }
    if !is_datacenter_name(&config.primary_datacenter) {
        let name = quote(&config.primary_datacenter);
        return Err(format!(
            "acl_datacenter cannot be {name}. Please use only [a-z0-9-_]"
        ));
    }
    if config.ui.enabled && !config.ui.dir.is_empty() && !config.dev_mode {
        return Err("Both the ui and ui-dir flags were specified, please provide only one.\nIf trying to use your own web \
                    UI resources, use the ui-dir flag.\nThe web UI is included in the binary so use ui to enable it"
            .to_owned());
    }
    validate_meta(&config.node_meta, false)
        .map_err(|error| format!("node_meta invalid: {error}"))?;
    federation(config)?;
    if !config.encrypt.is_empty() {
        base64::decode(config.encrypt.as_bytes())
            .map_err(|error| format!("encrypt has invalid key: {error}"))?;
    }
    primary_gateways(config)?;
    collisions(config)
}

fn cache(config: &Config) -> Result<(), String> {
    if config.cache_entry_fetch_max_burst <= 0 {
        return Err(format!(
            "cache.entry_fetch_max_burst must be strictly positive, was: {}",
            config.cache_entry_fetch_max_burst
        ));
    }
    if config.cache_entry_fetch_rate <= 0.0 {
        return Err(format!(
            "cache.entry_fetch_rate must be strictly positive, was: {}",
            config.cache_entry_fetch_rate
        ));
    }
    Ok(())
}

fn ui_path(path: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/');
    if !path.chars().all(allowed) {
        return Err(format!(
            "ui-content-path can only contain alphanumeric, -, _, or /. received: {path}"
        ));
    }
    // A path like the API's `/v1/` would hide it.
    let version = path
        .as_bytes()
        .windows(2)
        .any(|pair| pair[0] == b'v' && pair[1].is_ascii_digit());
    if version {
        return Err(format!(
            "ui-content-path cannot have 'v[0-9]'. received: {path}"
        ));
    }
    Ok(())
}

fn data_dir(config: &Config) -> Result<(), String> {
    if config.dev_mode {
        return Ok(());
    }
    if config.data_dir.is_empty() {
        return Err("data_dir cannot be empty".to_owned());
    }
    match fs::metadata(&config.data_dir) {
        Ok(data) if !data.is_dir() => Err(format!(
            "data_dir {} is not a directory",
            quote(&config.data_dir)
        )),
        // A missing one is made at start; other troubles show there too.
        _ => Ok(()),
    }
}

fn node_name(builder: &mut Builder<'_>, config: &Config) -> Result<(), String> {
    let name = &config.node_name;
    if name.is_empty() {
        return Err("node_name cannot be empty".to_owned());
    }
    let quoted = quote(name);
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        builder.warn(format!(
            "Node name {quoted} will not be discoverable via DNS due to invalid characters. Valid characters include all \
             alpha-numerics and dashes."
        ));
    } else if name.len() > 63 {
        builder.warn(format!(
            "Node name {quoted} will not be discoverable via DNS due to it being too long. Valid lengths are between 1 \
             and 63 bytes."
        ));
    }
    Ok(())
}

fn segments(builder: &Builder<'_>, config: &Config) -> Result<(), String> {
    let segments = builder
        .tree
        .at("segments")
        .and_then(super::Tree::as_list)
        .unwrap_or_default();
    if config.segment.is_empty() && segments.is_empty() {
        return Ok(());
    }
    Err("Network segments are not supported in this version of Consul".to_owned())
}

fn alt_domain(config: &Config) -> Result<(), String> {
    let Some((label, _)) = config.dns_alt_domain.split_once('.') else {
        return Ok(());
    };
    if RESERVED_LABELS.contains(&label) || label == config.datacenter {
        return Err(format!(
            "alt_domain cannot start with {{service,connect,node,query,addr,{}}}",
            config.datacenter
        ));
    }
    Ok(())
}

/// Rules of `bootstrap` and `bootstrap_expect`, and their warnings.
fn bootstrap(builder: &mut Builder<'_>, config: &Config) -> Result<(), String> {
    let expect = config.bootstrap_expect;
    if expect < 0 {
        return Err(format!(
            "bootstrap_expect cannot be {expect}. Must be greater than or equal to zero"
        ));
    }
    if expect > 0 && !config.server {
        return Err("'bootstrap_expect > 0' requires 'server = true'".to_owned());
    }
    if expect > 0 && config.dev_mode {
        return Err("'bootstrap_expect > 0' not allowed in dev mode".to_owned());
    }
    if expect > 0 && config.bootstrap {
        return Err(
            "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive".to_owned(),
        );
    }
    if config.bootstrap && !config.server {
        return Err("'bootstrap = true' requires 'server = true'".to_owned());
    }
    if expect == 2 {
        builder.warn(
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. See \
             https://www.consul.io/docs/internals/consensus.html#deployment-table",
        );
    } else if expect > 2 && expect % 2 == 0 {
        builder.warn(
            "bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault \
             tolerance. See https://www.consul.io/docs/internals/consensus.html#deployment-table",
        );
    }
    if expect > 0 {
        builder.warn(format!("bootstrap_expect > 0: expecting {expect} servers"));
    }
    if config.bootstrap {
        builder.warn("bootstrap = true: do not enable unless necessary");
    }
    Ok(())
}

fn federation(config: &Config) -> Result<(), String> {
    if !config.connect.mesh_gateway_wan_federation {
        return Ok(());
    }
    if !config.connect.enabled {
        return Err(
            "'connect.enable_mesh_gateway_wan_federation=true' requires 'connect.enabled=true'"
                .to_owned(),
        );
    }
    if !config.server {
        return Err(
            "'connect.enable_mesh_gateway_wan_federation = true' requires 'server = true'"
                .to_owned(),
        );
    }
    if config.node_name.contains('/') {
        return Err("'connect.enable_mesh_gateway_wan_federation = true' requires that 'node_name' not contain '/' \
                    characters"
            .to_owned());
    }
    Ok(())
}

fn primary_gateways(config: &Config) -> Result<(), String> {
    if config.primary_gateways.is_empty() {
        return Ok(());
    }
    if !config.server {
        return Err("'primary_gateways' requires 'server = true'".to_owned());
    }
    if config.primary_datacenter == config.datacenter {
        return Err(
            "'primary_gateways' should only be configured in a secondary datacenter".to_owned(),
        );
    }
    Ok(())
}

/// The rules told after gathered errors.
pub(super) fn after(builder: &mut Builder<'_>, config: &Config) -> Result<(), String> {
    ca_provider(config)?;
    if config.auto_encrypt.tls && config.server {
        return Err("auto_encrypt.tls can only be used on a client.".to_owned());
    }
    if config.auto_encrypt.allow_tls && !config.server {
        return Err("auto_encrypt.allow_tls can only be used on a server.".to_owned());
    }
    if let Some(text) = builder
        .strings("auto_encrypt.ip_san")
        .iter()
        .find(|text| text.parse::<std::net::IpAddr>().is_err())
    {
        return Err(format!(
            "Cannot parse ip {} from AutoEncrypt.IPSAN",
            quote(text)
        ));
    }
    if config.auto_encrypt.allow_tls
        && !config.tls.verify_incoming
        && !config.tls.verify_incoming_rpc
    {
        builder.warn(
            "if auto_encrypt.allow_tls is turned on, either verify_incoming or verify_incoming_rpc should be enabled. It is \
             necessary to turn it off during a migration to TLS, but it should definitely be turned on afterwards.",
        );
    }
    if config.ports.grpc.is_some() && !config.dev_mode {
        builder.warn(
            "ports.grpc is set, but this agent has no gRPC API (xDS): nothing listens on that port",
        );
    }
    open_files(builder, config)?;
    auto_config(builder, config)?;
    if config.enable_remote_script_checks
        && !config.acl.enabled
        && config.http.allow_write_http_from.is_empty()
    {
        builder.warn(
            "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, use \
             enable-local-script-checks instead, see \
             https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/",
        );
    }
    Ok(())
}

/// No two interfaces may have the same address.
fn collisions(config: &Config) -> Result<(), String> {
    let ip = |addr: &SocketAddr| ListenAddr::Ip(*addr);
    let dns = config.dns_addrs.iter().map(|addr| ("DNS", ip(addr)));
    let http = config.http_addrs.iter().map(|addr| ("HTTP", addr.clone()));
    let https = config
        .https_addrs
        .iter()
        .map(|addr| ("HTTPS", addr.clone()));
    let rpc = (config.ports.server > 0).then(|| ("RPC Advertise", ip(&config.rpc_advertise_addr)));
    let lan = (config.ports.serf_lan > 0)
        .then(|| ("Serf Advertise LAN", ip(&config.serf_advertise_addr_lan)));
    let wan = config
        .serf_advertise_addr_wan
        .iter()
        .map(|addr| ("Serf Advertise WAN", ip(addr)));
    let mut seen: BTreeMap<ListenAddr, &str> = BTreeMap::new();
    for (owner, addr) in dns
        .chain(http)
        .chain(https)
        .chain(rpc)
        .chain(lan)
        .chain(wan)
    {
        if let Some(earlier) = seen.get(&addr) {
            return Err(format!(
                "{owner} address {addr} already configured for {earlier}"
            ));
        }
        seen.insert(addr, owner);
    }
    Ok(())
}

fn ca_provider(config: &Config) -> Result<(), String> {
    let set = |key: &str| {
        let camel = key.split('_').map(|word| {
            let mut chars = word.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(chars).collect::<String>()
        });
        let camel: String = camel.collect();
        let found = config.connect.ca_config.iter().find(|(name, _)| {
            name.as_str() == key || name.replace('_', "").eq_ignore_ascii_case(&camel)
        });
        matches!(found, Some((_, Any::String(value))) if !value.is_empty())
    };
    match config.connect.ca_provider.as_str() {
        "" | "consul" | "aws-pca" => Ok(()),
        "vault" if !set("token") => Err("must provide a Vault token".to_owned()),
        "vault" if !set("root_pki_path") => {
            Err("must provide a valid path to a root PKI backend".to_owned())
        }
        "vault" if !set("intermediate_pki_path") => {
            Err("must provide a valid path for the intermediate PKI backend".to_owned())
        }
        "vault" => Ok(()),
        provider => Err(format!("{provider} is not a valid CA provider")),
    }
}

fn open_files(builder: &Builder<'_>, config: &Config) -> Result<(), String> {
    let limit = builder.host.max_open_files;
    let clients = config.limits.http_max_conns_per_client;
    let needed = clients.saturating_add(OWN_FILES);
    if limit > 0 && clients > 0 && u64::try_from(needed).is_ok_and(|needed| needed > limit) {
        return Err(format!(
            "system allows a max of {limit} file descriptors, but limits.http_max_conns_per_client: {clients} needs at \
             least {needed}"
        ));
    }
    Ok(())
}

fn auto_config(builder: &Builder<'_>, config: &Config) -> Result<(), String> {
    if !config.auto_config.enabled {
        return Ok(());
    }
    if config.server {
        return Err("auto_config.enabled cannot be set to true for server agents.".to_owned());
    }
    if !config.tls.verify_outgoing {
        return Err(
            "auto_config.enabled cannot be set without configuring TLS for server communications"
                .to_owned(),
        );
    }
    let token = builder
        .opt("auto_config.intro_token")
        .is_some_and(|token| !token.is_empty());
    let from_environment =
        std::env::var_os("CONSUL_INTRO_TOKEN").is_some_and(|token| !token.is_empty());
    if !token && config.auto_config.intro_token_file.is_empty() && !from_environment {
        return Err("One of auto_config.intro_token, auto_config.intro_token_file or the CONSUL_INTRO_TOKEN environment \
                    variable must be set to enable auto_config"
            .to_owned());
    }
    if config.auto_config.server_addresses.is_empty() {
        return Err("auto_config.enabled is set without providing a list of addresses".to_owned());
    }
    Ok(())
}
