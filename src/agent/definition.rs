//! Whether what a user defines can be registered: the rules for services, in Consul's words.
//!
//! Leaves to others: the rules for a single check, for metadata and for weights (`structs`).
//! Source: `docs/reference/http-2.md` sections 2.6 to 2.10 and 3.1.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::structs::{
    CheckType, ConnectProxyConfig, NodeService, ServiceAddress, ServiceDefinition, validate_meta,
    validate_weights,
};

use super::local::{CRITICAL, PASSING, WARNING};

/// The name of the servers' own service: whoever took it would break how servers are found.
pub const RESERVED_SERVICE: &str = "consul";

const CONNECT_PROXY: &str = "connect-proxy";
const GATEWAYS: [&str; 4] = [
    "mesh-gateway",
    "terminating-gateway",
    "ingress-gateway",
    "api-gateway",
];

/// Whether services of this kind are proxies or gateways.
pub fn is_proxy(kind: &str) -> bool {
    kind == CONNECT_PROXY || GATEWAYS.contains(&kind)
}

/// Whether a status is one that a user may give.
pub fn is_status(status: &str) -> bool {
    matches!(status, PASSING | WARNING | CRITICAL)
}

/// Several errors as one text, in the form of Go's error lists.
pub fn error_list(errors: &[String]) -> String {
    let count = match errors.len() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    let mut text = format!("{count} occurred:\n");
    for error in errors {
        text.push_str("\t* ");
        text.push_str(error);
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The checks of a service, each of them valid.
///
/// # Errors
/// Consul's text of the first defect.
pub fn service_checks(service: &ServiceDefinition) -> Result<Vec<CheckType>, String> {
    let checks = service
        .check_types()
        .map_err(|e| format!("Invalid check: {e}"))?;
    if checks
        .iter()
        .any(|c| !c.status.is_empty() && !is_status(&c.status))
    {
        return Err("Status for checks must 'passing', 'warning', 'critical'".to_owned());
    }
    Ok(checks)
}

/// Whether a service that came over HTTP can be registered.
///
/// # Errors
/// Consul's text of the first defect, or the list of all defects of its proxy part.
pub fn validate_service(service: &ServiceDefinition) -> Result<(), String> {
    if service.name.is_empty() {
        return Err("Missing service name".to_owned());
    }
    let id = if service.id.is_empty() {
        &service.name
    } else {
        &service.id
    };
    if service.name == RESERVED_SERVICE || id == RESERVED_SERVICE {
        return Err(format!(
            "Invalid service name: \"{RESERVED_SERVICE}\" is the servers' own service; choose another name and ID"
        ));
    }
    if ["0.0.0.0", "::", "[::]"].contains(&service.address.as_str()) {
        return Err("Invalid service address".to_owned());
    }
    if let Some(weights) = &service.weights {
        validate_weights(weights).map_err(|e| format!("Invalid Weights: {e}"))?;
    }
    if let Some(meta) = &service.meta {
        validate_meta(meta, false).map_err(|e| format!("Invalid Service Meta: {e}"))?;
    }
    service_checks(service)?;
    let sidecar = service
        .connect
        .as_ref()
        .and_then(|c| c.sidecar_service.as_deref());
    let mut errors = proxy_errors(&service.node_service());
    if let Some(sidecar) = sidecar {
        errors.extend(sidecar_errors(sidecar));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(error_list(&errors))
    }
}

fn sidecar_errors(sidecar: &ServiceDefinition) -> Vec<String> {
    let mut errors = Vec::new();
    if !sidecar.id.is_empty() {
        errors.push(
            "A SidecarService cannot specify an ID as this is managed by the agent".to_owned(),
        );
    }
    let nested = sidecar
        .connect
        .as_ref()
        .is_some_and(|c| c.sidecar_service.is_some());
    if nested {
        errors.push("A SidecarService cannot have a nested SidecarService".to_owned());
    }
    errors
}

/// All that is wrong with the proxy part of a service.
pub fn proxy_errors(service: &NodeService) -> Vec<String> {
    let mut errors = Vec::new();
    let proxy = &service.proxy;
    if service.kind == CONNECT_PROXY {
        if proxy.destination_service_name.is_empty() {
            errors.push(
                "Proxy.DestinationServiceName must be non-empty for Connect proxy services"
                    .to_owned(),
            );
        }
        if service.port == 0 {
            errors.push("Port must be set for a Connect proxy".to_owned());
        }
        if service.connect.native {
            errors.push("A Proxy cannot also be Connect Native, only typical services".to_owned());
        }
        upstream_errors(proxy, &mut errors);
        expose_errors(proxy, &mut errors);
    }
    if GATEWAYS.contains(&service.kind.as_str()) {
        gateway_errors(service, &mut errors);
    }
    errors
}

fn upstream_errors(proxy: &ConnectProxyConfig, errors: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for upstream in proxy.upstreams.iter().flatten() {
        if upstream.destination_name.is_empty() {
            errors.push("upstream destination name cannot be empty".to_owned());
            continue;
        }
        if upstream.local_bind_port == 0 {
            errors.push("upstream local bind port cannot be zero".to_owned());
            continue;
        }
        let address = if upstream.local_bind_address.is_empty() {
            "127.0.0.1"
        } else {
            &upstream.local_bind_address
        };
        let bind = format!("{address}:{}", upstream.local_bind_port);
        if !seen.insert(bind.clone()) {
            errors.push(format!(
                "upstreams cannot contain duplicates by local bind address and port; \"{bind}\" is specified twice"
            ));
        }
    }
}

fn expose_errors(proxy: &ConnectProxyConfig, errors: &mut Vec<String>) {
    for path in proxy.expose.paths.iter().flatten() {
        if !(1..=65535).contains(&path.listener_port) {
            errors.push(format!(
                "expose.paths: invalid listener port: {}",
                path.listener_port
            ));
        }
        if !["", "http", "http2"].contains(&path.protocol.as_str()) {
            errors.push(format!(
                "protocol '{}' not supported for path: {}, must be in: [http http2]",
                path.protocol, path.path
            ));
        }
    }
}

fn gateway_errors(service: &NodeService, errors: &mut Vec<String>) {
    let kind = &service.kind;
    let proxy = &service.proxy;
    if service.port == 0 && (kind == "mesh-gateway" || kind == "terminating-gateway") {
        errors.push(format!("Port must be non-zero for a {kind}"));
    }
    let set = [
        (
            "DestinationServiceName",
            !proxy.destination_service_name.is_empty(),
        ),
        (
            "DestinationServiceID",
            !proxy.destination_service_id.is_empty(),
        ),
        (
            "LocalServiceAddress",
            !proxy.local_service_address.is_empty(),
        ),
        ("LocalServicePort", proxy.local_service_port != 0),
        (
            "Upstreams",
            proxy.upstreams.as_ref().is_some_and(|u| !u.is_empty()),
        ),
    ];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        errors.push(format!(
            "The Proxy.{field} configuration is invalid for a {kind}"
        ));
    }
}

/// Adds the addresses that follow from a literal `Address`: `lan_ipv4` and `wan_ipv4`, or `_ipv6`.
pub fn expand_tagged_addresses(service: &mut NodeService) {
    let Ok(ip) = service.address.parse::<IpAddr>() else {
        return;
    };
    let tags = match ip.to_canonical() {
        IpAddr::V4(_) => ["lan_ipv4", "wan_ipv4"],
        IpAddr::V6(_) => ["lan_ipv6", "wan_ipv6"],
    };
    let address = ServiceAddress {
        address: service.address.clone(),
        port: service.port,
    };
    let map = service.tagged_addresses.get_or_insert_default();
    for tag in tags {
        map.entry(tag.to_owned()).or_insert_with(|| address.clone());
    }
}

/// Whether DNS can find something by this name or tag: letters, digits and dashes only.
pub fn is_dns_safe(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structs::Upstream;

    #[test]
    fn the_servers_own_name_is_refused() {
        for (name, id, ok) in [
            ("consul", "", false),
            ("x", "consul", false),
            ("x", "y", true),
        ] {
            let service = ServiceDefinition {
                name: name.to_owned(),
                id: id.to_owned(),
                ..ServiceDefinition::default()
            };
            assert_eq!(validate_service(&service).is_ok(), ok, "{name} {id}");
        }
    }

    #[test]
    fn defects_of_a_proxy_are_listed() {
        let upstream = |name: &str, port: i64| Upstream {
            destination_name: name.to_owned(),
            local_bind_port: port,
            ..Upstream::default()
        };
        let service = ServiceDefinition {
            name: "w".into(),
            kind: CONNECT_PROXY.into(),
            proxy: Some(ConnectProxyConfig {
                upstreams: Some(vec![upstream("", 0), upstream("x", 1), upstream("y", 1)]),
                ..ConnectProxyConfig::default()
            }),
            ..ServiceDefinition::default()
        };
        assert_eq!(
            validate_service(&service).unwrap_err(),
            "4 errors occurred:\n\
             \t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\
             \t* Port must be set for a Connect proxy\n\
             \t* upstream destination name cannot be empty\n\
             \t* upstreams cannot contain duplicates by local bind address and port; \"127.0.0.1:1\" is specified twice\n\n"
        );
    }

    #[test]
    fn a_literal_address_expands_and_a_name_does_not() {
        let mut service = NodeService {
            address: "10.0.0.9".into(),
            port: 80,
            tagged_addresses: Some([("wan_ipv4".to_owned(), ServiceAddress::default())].into()),
            ..NodeService::default()
        };
        expand_tagged_addresses(&mut service);
        let map = service.tagged_addresses.unwrap();
        assert_eq!(map["lan_ipv4"].port, 80);
        assert_eq!(map["wan_ipv4"], ServiceAddress::default());
        let mut named = NodeService {
            address: "host".into(),
            ..NodeService::default()
        };
        expand_tagged_addresses(&mut named);
        assert_eq!(named.tagged_addresses, None);
    }
}
