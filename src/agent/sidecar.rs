//! The proxy service that a `SidecarService` block stands for.
//!
//! Source: `docs/reference/http-2.md` section 2.10.

use std::collections::BTreeSet;

use crate::structs::go::GoDuration;
use crate::structs::{
    CheckType, ConnectProxyConfig, Error, NodeService, Result, ServiceDefinition,
};

use super::definition::service_checks;
use super::local::State;

/// Address of the proxied service as its sidecar sees it.
const LOOPBACK: &str = "127.0.0.1";

/// A sidecar, ready to be registered after its parent.
pub struct Sidecar {
    /// The proxy service.
    pub service: NodeService,
    /// Its checks.
    pub checks: Vec<CheckType>,
    /// Its token, empty for the parent's.
    pub token: String,
}

/// The ID of the sidecar that belongs to a service.
pub fn sidecar_id(service_id: &str) -> String {
    format!("{service_id}-sidecar-proxy")
}

/// Expands the `SidecarService` block of `parent`, if it has one. `ports` is the range for automatic
/// ports, `None` when that is off.
///
/// # Errors
/// When the block's checks are wrong or no port is left.
pub fn expand(
    parent: &ServiceDefinition,
    local: &State,
    ports: Option<(u16, u16)>,
) -> Result<Option<Sidecar>> {
    let connect = parent.connect.as_ref();
    let Some(block) = connect.and_then(|c| c.sidecar_service.as_deref()) else {
        return Ok(None);
    };
    let parent_service = parent.node_service();
    let id = sidecar_id(&parent_service.id);
    let mut service = block.node_service();
    if block.name.is_empty() {
        service.service = sidecar_id(&parent_service.service);
    }
    if service.kind.is_empty() {
        "connect-proxy".clone_into(&mut service.kind);
    }
    if service.tags.as_ref().is_none_or(Vec::is_empty) {
        service.tags.clone_from(&parent_service.tags);
    }
    if service.meta.as_ref().is_none_or(|m| m.is_empty()) {
        service.meta.clone_from(&parent_service.meta);
    }
    if service.address.is_empty() {
        service.address.clone_from(&parent_service.address);
    }
    fill_proxy(&mut service.proxy, &parent_service);
    service.locally_registered_as_sidecar = true;
    if service.port == 0 {
        service.port = free_port(&id, local, ports)?;
    }
    let mut checks = service_checks(block).map_err(|e| Error::new(format!("Bad request: {e}")))?;
    if checks.is_empty() {
        let host = if service.address.is_empty() {
            LOOPBACK
        } else {
            &service.address
        };
        checks.push(CheckType {
            name: "Connect Sidecar Listening".to_owned(),
            tcp: format!("{host}:{}", service.port),
            interval: GoDuration::from_secs(10),
            ..CheckType::default()
        });
        checks.push(CheckType {
            name: format!("Connect Sidecar Aliasing {}", parent_service.id),
            alias_service: parent_service.id.clone(),
            ..CheckType::default()
        });
    }
    service.id = id;
    Ok(Some(Sidecar {
        service,
        checks,
        token: block.token.clone(),
    }))
}

fn fill_proxy(proxy: &mut ConnectProxyConfig, parent: &NodeService) {
    let fill = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    fill(&mut proxy.destination_service_name, &parent.service);
    fill(&mut proxy.destination_service_id, &parent.id);
    fill(&mut proxy.local_service_address, LOOPBACK);
    if proxy.local_service_port == 0 {
        proxy.local_service_port = parent.port;
    }
}

/// The port this sidecar has already, else the lowest that no local service uses.
fn free_port(id: &str, local: &State, ports: Option<(u16, u16)>) -> Result<i64> {
    if let Some(known) = local.service(id).filter(|s| s.port > 0) {
        return Ok(known.port);
    }
    let Some((min, max)) = ports else {
        return Err(Error::new(
            "no port provided for sidecar_service and auto-assignment disabled in config",
        ));
    };
    let used: BTreeSet<i64> = local.services().values().map(|s| s.port).collect();
    let free = (i64::from(min)..=i64::from(max)).find(|p| !used.contains(p));
    free.ok_or_else(|| {
        Error::new(format!(
            "no port provided for sidecar_service and none left in the configured range [{min}, {max}]"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::agent::local::Identity;
    use crate::structs::ServiceConnectDefinition;

    fn parent(name: &str) -> ServiceDefinition {
        ServiceDefinition {
            name: name.into(),
            port: 8,
            tags: Some(vec!["t".into()]),
            connect: Some(ServiceConnectDefinition {
                sidecar_service: Some(Box::default()),
                ..ServiceConnectDefinition::default()
            }),
            ..ServiceDefinition::default()
        }
    }

    #[test]
    fn a_bare_block_takes_everything_from_its_parent() {
        let local = State::new(Identity::default(), Arc::default(), Duration::ZERO);
        let ports = Some((21000, 21001));
        for (name, port) in [("a", Some(21000)), ("b", Some(21001)), ("c", None)] {
            let sidecar = expand(&parent(name), &local, ports);
            let Some(port) = port else {
                assert!(sidecar.is_err_and(|e| e.is("none left in the configured range")));
                continue;
            };
            let sidecar = sidecar.unwrap().unwrap();
            assert_eq!(sidecar.service.port, port);
            assert_eq!(sidecar.service.id, format!("{name}-sidecar-proxy"));
            assert_eq!(sidecar.service.tags, Some(vec!["t".to_owned()]));
            assert_eq!(sidecar.service.proxy.local_service_port, 8);
            assert_eq!(sidecar.checks.len(), 2);
            local.add_service(sidecar.service, "").unwrap();
        }
        let again = expand(&parent("b"), &local, ports).unwrap().unwrap();
        assert_eq!(
            again.service.port, 21001,
            "a re-registration keeps its port"
        );
    }
}
