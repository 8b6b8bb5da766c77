//! What makes a service acceptable, alike at the agent's and the catalog's endpoint.
//!
//! Source: `docs/reference/http-2.md` section 2.9.

use std::collections::BTreeSet;

use super::go::quote;
use super::{Error, NodeService, Result};

/// Kind of a proxy that represents a service in the mesh.
pub const KIND_CONNECT_PROXY: &str = "connect-proxy";
/// Kinds of the three gateways.
pub const KIND_MESH_GATEWAY: &str = "mesh-gateway";
/// See [`KIND_MESH_GATEWAY`].
pub const KIND_TERMINATING_GATEWAY: &str = "terminating-gateway";
/// See [`KIND_MESH_GATEWAY`].
pub const KIND_INGRESS_GATEWAY: &str = "ingress-gateway";

/// Several errors as Consul prints them, `None` without any.
pub fn error_list(errors: &[String]) -> Option<Error> {
    let (count, noun) = match errors.len() {
        0 => return None,
        1 => (1, "error"),
        n => (n, "errors"),
    };
    let lines: String = errors.iter().map(|e| format!("\t* {e}\n")).collect();
    Some(Error::new(format!("{count} {noun} occurred:\n{lines}\n")))
}

/// Whether an address means every interface, which nobody can connect to.
pub fn is_any_address(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::" | "[::]")
}

impl NodeService {
    /// Whether this is one of the three kinds of gateway.
    pub fn is_gateway(&self) -> bool {
        matches!(
            self.kind.as_str(),
            KIND_MESH_GATEWAY | KIND_TERMINATING_GATEWAY | KIND_INGRESS_GATEWAY
        )
    }

    /// Checks the rules of proxies and gateways.
    ///
    /// # Errors
    /// All violations as one error list.
    pub fn validate(&self) -> Result<()> {
        error_list(&self.violations()).map_or(Ok(()), Err)
    }

    /// All violations of the rules of proxies and gateways.
    pub fn violations(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.kind == KIND_CONNECT_PROXY {
            self.validate_proxy(&mut errors);
        }
        if self.is_gateway() {
            self.validate_gateway(&mut errors);
        }
        errors
    }

    fn validate_proxy(&self, errors: &mut Vec<String>) {
        if self.proxy.destination_service_name.is_empty() {
            errors.push(
                "Proxy.DestinationServiceName must be non-empty for Connect proxy services"
                    .to_owned(),
            );
        }
        if self.port == 0 {
            errors.push("Port must be set for a Connect proxy".to_owned());
        }
        if self.connect.native {
            errors.push("A Proxy cannot also be Connect Native, only typical services".to_owned());
        }
        let mut bound = BTreeSet::new();
        for upstream in self.proxy.upstreams.iter().flatten() {
            if upstream.destination_name.is_empty() {
                errors.push("upstream destination name cannot be empty".to_owned());
                continue;
            }
            if upstream.local_bind_port == 0 {
                errors.push("upstream local bind port cannot be zero".to_owned());
                continue;
            }
            let address = match upstream.local_bind_address.as_str() {
                "" => "127.0.0.1",
                given => given,
            };
            let place = format!("{address}:{}", upstream.local_bind_port);
            if !bound.insert(place.clone()) {
                errors.push(format!(
                    "upstreams cannot contain duplicates by local bind address and port; {} is \
                     specified twice",
                    quote(&place)
                ));
            }
        }
        for path in self.proxy.expose.paths.iter().flatten() {
            if !(1..=65535).contains(&path.listener_port) {
                let port = path.listener_port;
                errors.push(format!("expose.paths: invalid listener port: {port}"));
            }
            if !matches!(path.protocol.as_str(), "" | "http" | "http2") {
                errors.push(format!(
                    "protocol '{}' not supported for path: {}, must be in: [http2 http]",
                    path.protocol, path.path
                ));
            }
        }
    }

    fn validate_gateway(&self, errors: &mut Vec<String>) {
        let kind = &self.kind;
        if self.port == 0 && kind != KIND_INGRESS_GATEWAY {
            errors.push(format!("Port must be non-zero for a {kind}"));
        }
        let proxy = &self.proxy;
        for (set, field) in [
            (
                !proxy.destination_service_name.is_empty(),
                "DestinationServiceName",
            ),
            (
                !proxy.destination_service_id.is_empty(),
                "DestinationServiceID",
            ),
            (
                !proxy.local_service_address.is_empty(),
                "LocalServiceAddress",
            ),
            (proxy.local_service_port != 0, "LocalServicePort"),
            (
                proxy.upstreams.iter().flatten().next().is_some(),
                "Upstreams",
            ),
        ] {
            if set {
                errors.push(format!(
                    "The Proxy.{field} configuration is invalid for a {kind}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structs::{ConnectProxyConfig, Upstream};

    #[test]
    fn all_violations_are_listed() {
        let upstream = Upstream {
            destination_name: "a".to_owned(),
            ..Upstream::default()
        };
        let service = NodeService {
            kind: KIND_CONNECT_PROXY.to_owned(),
            proxy: ConnectProxyConfig {
                upstreams: Some(vec![upstream]),
                ..ConnectProxyConfig::default()
            },
            ..NodeService::default()
        };
        let error = service.validate().unwrap_err();
        assert_eq!(
            error.text(),
            "3 errors occurred:\n\
             \t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\
             \t* Port must be set for a Connect proxy\n\
             \t* upstream local bind port cannot be zero\n\n"
        );
        assert_eq!(NodeService::default().validate(), Ok(()));
    }
}
