//! Whether what a user defines can be registered: the rules for services, in Consul's words.
//!
//! Leaves to others: the rules for a single check, for metadata and for weights (`structs`).
//! Source: `docs/reference/http-2.md` sections 2.6 to 2.10 and 3.1.

use std::net::IpAddr;

use crate::structs::{
    CheckType, KIND_CONNECT_PROXY, KIND_INGRESS_GATEWAY, KIND_MESH_GATEWAY,
    KIND_TERMINATING_GATEWAY, NodeService, ServiceAddress, ServiceDefinition, error_list,
    is_any_address, validate_meta, validate_weights,
};

use super::local::{CRITICAL, PASSING, WARNING};

/// The name of the servers' own service: whoever took it would break how servers are found.
pub const RESERVED_SERVICE: &str = "consul";

/// Whether services of this kind are proxies or gateways.
pub fn is_proxy(kind: &str) -> bool {
    matches!(
        kind,
        KIND_CONNECT_PROXY | KIND_MESH_GATEWAY | KIND_TERMINATING_GATEWAY | KIND_INGRESS_GATEWAY
    )
}

/// Whether a status is one that a user may give.
pub fn is_status(status: &str) -> bool {
    matches!(status, PASSING | WARNING | CRITICAL)
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
    if is_any_address(&service.address) {
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
    if let Some(weights) = sidecar.and_then(|s| s.weights.as_ref()) {
        validate_weights(weights).map_err(|e| format!("Invalid Weights: {e}"))?;
    }
    let mut errors = service.node_service().violations();
    if let Some(sidecar) = sidecar {
        errors.extend(sidecar_errors(sidecar));
    }
    error_list(&errors).map_or(Ok(()), |e| Err(e.text().to_owned()))
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
    use crate::structs::{ConnectProxyConfig, Upstream};

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
            kind: KIND_CONNECT_PROXY.into(),
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
