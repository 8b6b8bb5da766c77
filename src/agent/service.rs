//! Registering and deregistering services with their checks.
//!
//! Holds true: a definition that is refused changes nothing; checks that a registration does not name
//! stay, unless it replaces them; a service goes with its checks and the sidecar that came with it.
//! Source: `docs/reference/http-2.md` sections 3.2, 5.17 and 5.18.

use log::{debug, warn};

use super::check::{NewCheck, health_of_type};
use super::definition::{expand_tagged_addresses, is_dns_safe};
use super::persist::PersistedService;
use super::sidecar::{self, sidecar_id};
use super::{Agent, Source};
use crate::structs::{
    CheckType, Error, HealthCheck, NodeService, Result, ServiceDefinition, Weights, validate_meta,
};

/// How the text about wrong checks of a service begins.
pub(super) const INVALID_CHECKS: &str = "Failed to validate checks";

/// A service to be registered.
pub struct NewService {
    /// The service.
    pub service: NodeService,
    /// Its checks, valid, in the order in which they are numbered.
    pub checks: Vec<CheckType>,
    /// Token for the catalog, empty for the agent's own.
    pub token: String,
    /// Who defined it.
    pub source: Source,
    /// Whether it is to survive a restart.
    pub persist: bool,
    /// Remove every check of the service that is not among `checks`.
    pub replace_existing_checks: bool,
}

/// The IDs of a service's checks: its own, else `service:ID`, numbered when there are several.
pub fn check_ids(service_id: &str, checks: &[CheckType]) -> Vec<String> {
    let numbered = checks.len() > 1;
    let id = |(n, check): (usize, &CheckType)| {
        if !check.check_id.is_empty() {
            check.check_id.clone()
        } else if numbered {
            format!("service:{service_id}:{}", n + 1)
        } else {
            format!("service:{service_id}")
        }
    };
    checks.iter().enumerate().map(id).collect()
}

impl Agent {
    /// Registers what a definition stands for: the service and, if it asks for one, its sidecar.
    ///
    /// # Errors
    /// Consul's text; nothing has changed then, save that a service may be there whose sidecar failed.
    pub async fn add_service_definition(
        &self,
        definition: &ServiceDefinition,
        token: &str,
        source: Source,
        replace_existing_checks: bool,
    ) -> Result<()> {
        let _one = self.gate.lock().await;
        self.add_service_definition_gated(definition, token, source, replace_existing_checks)
            .await
    }

    pub(super) async fn add_service_definition_gated(
        &self,
        definition: &ServiceDefinition,
        token: &str,
        source: Source,
        replace_existing_checks: bool,
    ) -> Result<()> {
        let ports = &self.config().ports;
        let range = (ports.sidecar_min > 0 && ports.sidecar_max >= ports.sidecar_min)
            .then_some((ports.sidecar_min, ports.sidecar_max));
        let sidecar = sidecar::expand(definition, &self.local, range)?;
        let persist = source == Source::Remote;
        let checks = definition.check_types().map_err(|e| {
            Error::new(format!(
                "{INVALID_CHECKS} for service \"{}\": {e}",
                definition.name
            ))
        })?;
        self.add_service_gated(NewService {
            service: definition.node_service(),
            checks,
            token: token.to_owned(),
            source,
            persist,
            replace_existing_checks,
        })
        .await?;
        let Some(sidecar) = sidecar else {
            return Ok(());
        };
        self.add_service_gated(NewService {
            service: sidecar.service,
            checks: sidecar.checks,
            token: if sidecar.token.is_empty() {
                token.to_owned()
            } else {
                sidecar.token
            },
            source,
            persist,
            replace_existing_checks,
        })
        .await
    }

    /// Registers one service.
    ///
    /// # Errors
    /// Consul's text; nothing has changed then.
    pub(super) async fn add_service_gated(&self, mut new: NewService) -> Result<()> {
        let service = &mut new.service;
        if service.service.is_empty() {
            return Err(Error::new("Service name missing"));
        }
        if service.id.is_empty() {
            service.id.clone_from(&service.service);
        }
        if let Some(meta) = &service.meta {
            validate_meta(meta, false).map_err(Error::new)?;
        }
        service.validate()?;
        for check in &new.checks {
            self.check_runnable(check, new.source)?;
        }
        warn_of_names(service);
        service.weights.get_or_insert(Weights {
            passing: 1,
            warning: 1,
        });
        expand_tagged_addresses(service);
        for upstream in service.proxy.upstreams.iter_mut().flatten() {
            if upstream.destination_type.is_empty() {
                "service".clone_into(&mut upstream.destination_type);
            }
        }

        let id = service.id.clone();
        let before: Vec<HealthCheck> = self.local.checks_for_service(&id, false);
        let ids = check_ids(&id, &new.checks);
        // As they were before: of two definitions with one ID the last counts.
        let known: Vec<Option<HealthCheck>> = ids.iter().map(|id| self.local.check(id)).collect();
        self.local.add_service(service.clone(), &new.token)?;
        if let (Some(persist), true) = (self.persist.clone(), new.persist) {
            let file = PersistedService {
                token: new.token.clone(),
                service: Some(service.clone()),
                source: new.source.word().to_owned(),
            };
            let id = id.clone();
            smol::unblock(move || persist.save_service(&id, &file)).await?;
        }
        for ((check_id, definition), known) in ids.iter().zip(new.checks).zip(known) {
            let mut health = health_of_type(check_id.clone(), &definition, &new.service);
            if let Some(known) = known {
                health.status = known.status;
                health.output = known.output;
            }
            let check = NewCheck {
                health,
                definition: Some(definition),
                token: new.token.clone(),
                source: new.source,
                persist: new.persist,
            };
            self.put_check(check_id, check).await?;
        }
        if new.replace_existing_checks {
            for check in before {
                if !ids.contains(&check.check_id) {
                    self.remove_check_gated(&check.check_id)?;
                }
            }
        }
        Ok(())
    }

    /// Deregisters a service with its checks and its own sidecar; an unknown one is not an error.
    ///
    /// # Errors
    /// When the ID is empty.
    pub async fn remove_service(&self, id: &str) -> Result<()> {
        let _one = self.gate.lock().await;
        self.remove_service_gated(id)
    }

    pub(super) fn remove_service_gated(&self, id: &str) -> Result<()> {
        if id.is_empty() {
            return Err(Error::new("ServiceID missing"));
        }
        self.remove_one_service(id);
        let sidecar = sidecar_id(id);
        let came_along = |s: &NodeService| s.locally_registered_as_sidecar;
        if self.local.service(&sidecar).is_some_and(|s| came_along(&s)) {
            self.remove_one_service(&sidecar);
        }
        Ok(())
    }

    fn remove_one_service(&self, id: &str) {
        let checks = self.local.checks_for_service(id, false);
        if let Err(e) = self.local.remove_service(id) {
            warn!(target: "agent", service = id, error = e.text(); "Failed to deregister service");
            return;
        }
        if let Some(persist) = &self.persist {
            persist.purge_service(id);
        }
        for check in checks {
            // The ID of a check that exists is not empty, so this cannot fail.
            let _ = self.remove_check_gated(&check.check_id);
        }
        debug!(target: "agent", service = id; "removed service");
    }
}

fn warn_of_names(service: &NodeService) {
    let name = service.service.as_str();
    if !is_dns_safe(name) {
        warn!(target: "agent", service = name; "Service name will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.");
    } else if name.len() > 63 {
        warn!(target: "agent", service = name; "Service name will not be discoverable via DNS due to it being too long. Valid lengths are between 1 and 63 bytes.");
    }
    for tag in service.tags.iter().flatten() {
        if !is_dns_safe(tag) {
            debug!(target: "agent", tag = tag.as_str(); "Service tag will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.");
        } else if tag.len() > 63 {
            debug!(target: "agent", tag = tag.as_str(); "Service tag will not be discoverable via DNS due to it being too long. Valid lengths are between 1 and 63 bytes.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_checks_are_numbered_over_all() {
        let named = |id: &str| CheckType {
            check_id: id.to_owned(),
            ..CheckType::default()
        };
        assert_eq!(check_ids("web", &[named("")]), ["service:web"]);
        assert_eq!(
            check_ids("web", &[named(""), named("own"), named("")]),
            ["service:web:1", "own", "service:web:3"]
        );
    }
}
