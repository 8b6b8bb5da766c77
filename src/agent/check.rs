//! Registering, deregistering and telling checks.
//!
//! Holds true: a definition that is refused changes nothing; a check that is registered again keeps its
//! status and output; what came over HTTP is on disk before it is answered.
//! Source: `docs/reference/http-2.md` sections 3, 4.4, 4.5 and 5.12 to 5.14.

use std::sync::Arc;

use log::warn;

use super::checks::{self, MIN_INTERVAL, Runner, truncate_ttl};
use super::local::CRITICAL;
use super::persist::{PersistedCheck, PersistedState};
use super::{Agent, Running, Source};
use crate::drive::wall;
use crate::structs::go::GoDuration;
use crate::structs::{CheckDefinition, CheckType, Error, HealthCheck, NodeService, Result};

/// A check to be registered.
pub struct NewCheck {
    /// What users see of it.
    pub health: HealthCheck,
    /// How it runs; `None` for one that only the agent itself sets.
    pub definition: Option<CheckType>,
    /// Token for the catalog, empty for the agent's own.
    pub token: String,
    /// Who defined it.
    pub source: Source,
    /// Whether it is to survive a restart.
    pub persist: bool,
}

/// What users see of a check of its own.
pub fn health_of_definition(definition: &CheckDefinition) -> HealthCheck {
    HealthCheck {
        check_id: definition.effective_id().to_owned(),
        name: definition.name.clone(),
        status: initial(&definition.status),
        notes: definition.notes.clone(),
        service_id: definition.service_id.clone(),
        ..HealthCheck::default()
    }
}

/// What users see of a check of a service.
pub(super) fn health_of_type(id: String, check: &CheckType, service: &NodeService) -> HealthCheck {
    HealthCheck {
        check_id: id,
        name: if check.name.is_empty() {
            format!("Service '{}' check", service.service)
        } else {
            check.name.clone()
        },
        status: initial(&check.status),
        notes: check.notes.clone(),
        service_id: service.id.clone(),
        service_name: service.service.clone(),
        service_tags: service.tags.clone(),
        kind: check.kind().as_str().to_owned(),
        ..HealthCheck::default()
    }
}

fn initial(status: &str) -> String {
    if status.is_empty() { CRITICAL } else { status }.to_owned()
}

impl Agent {
    /// Registers a check.
    ///
    /// # Errors
    /// Consul's text when its service does not exist, when it is not valid, or when scripts are off.
    pub async fn add_check(&self, new: NewCheck) -> Result<()> {
        let _one = self.gate.lock().await;
        self.add_check_gated(new).await
    }

    pub(super) async fn add_check_gated(&self, mut new: NewCheck) -> Result<()> {
        let service_id = new.health.service_id.clone();
        if !service_id.is_empty() {
            let Some(service) = self.local.service(&service_id) else {
                return Err(Error::new(format!(
                    "ServiceID \"{service_id}\" does not exist"
                )));
            };
            new.health.service_name.clone_from(&service.service);
            new.health.service_tags.clone_from(&service.tags);
        }
        if let Some(definition) = &new.definition {
            self.check_runnable(definition, new.source)?;
        }
        let id = new.health.check_id.clone();
        if let Some(known) = self.local.check(&id) {
            new.health.status = known.status;
            new.health.output = known.output;
        }
        self.put_check(&id, new).await
    }

    /// Whether a definition is valid and may run here.
    pub(super) fn check_runnable(&self, check: &CheckType, source: Source) -> Result<()> {
        check
            .validate()
            .map_err(|e| Error::new(format!("Check is not valid: {e}")))?;
        let scripts = check.has_script() || !check.docker_container_id.is_empty();
        let config = self.config();
        match source {
            Source::Local if scripts && !config.enable_local_script_checks => {
                return Err(Error::new(
                    "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
                ));
            }
            Source::Remote if scripts && !config.enable_remote_script_checks => {
                return Err(Error::new(
                    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
                ));
            }
            _ => {}
        }
        checks::refused(check)
    }

    /// Puts a check that was found valid into the state, on disk and to work.
    pub(super) async fn put_check(&self, id: &str, new: NewCheck) -> Result<()> {
        if let Some(definition) = &new.definition {
            self.warn_of_limits(id, definition);
        }
        // The old one must not report any more when the new one is there.
        self.running().remove(id);
        self.local.add_check(new.health.clone(), &new.token)?;
        let runner = match &new.definition {
            Some(definition) => match checks::start(&self.around, id, definition) {
                Ok(runner) => Some(runner),
                Err(e) => {
                    self.local.remove_check(id)?;
                    return Err(e);
                }
            },
            None => None,
        };
        let running = Running {
            definition: new.definition.clone().map(Arc::new),
            runner,
        };
        self.running().insert(id.to_owned(), running);
        if let (Some(persist), true) = (self.persist.clone(), new.persist) {
            let file = PersistedCheck {
                check: self.local.check(id),
                chk_type: new.definition,
                token: new.token,
                source: new.source.word().to_owned(),
            };
            let id = id.to_owned();
            smol::unblock(move || persist.save_check(&id, &file)).await?;
        }
        Ok(())
    }

    fn warn_of_limits(&self, id: &str, definition: &CheckType) {
        let min = GoDuration::from(MIN_INTERVAL);
        if definition.interval.0 > 0 && definition.interval < min && !definition.is_alias() {
            let minimum_interval = min.to_string();
            warn!(target: "agent", check = id, minimum_interval = minimum_interval.as_str(); "check has interval below minimum");
        }
        let after = definition.deregister_critical_service_after;
        let min = GoDuration::from(self.config().check_deregister_interval_min);
        if after.0 > 0 && after < min {
            let minimum_interval = min.to_string();
            warn!(target: "agent", check = id, minimum_interval = minimum_interval.as_str(); "check has deregister interval below minimum");
        }
    }

    /// Deregisters a check; one that is unknown is not an error.
    ///
    /// # Errors
    /// When the ID is empty.
    pub async fn remove_check(&self, id: &str) -> Result<()> {
        let _one = self.gate.lock().await;
        self.remove_check_gated(id)
    }

    pub(super) fn remove_check_gated(&self, id: &str) -> Result<()> {
        if id.is_empty() {
            return Err(Error::new("CheckID missing"));
        }
        self.running().remove(id);
        if let Err(e) = self.local.remove_check(id) {
            warn!(target: "agent", check = id, error = e.text(); "Failed to deregister check");
        }
        if let Some(persist) = &self.persist {
            persist.purge_check(id);
        }
        Ok(())
    }

    /// Tells a TTL check its status; the output is cut to the limit and kept across restarts.
    ///
    /// # Errors
    /// When there is no such check or it is none that is told.
    pub async fn update_ttl_check(&self, id: &str, status: &str, output: &str) -> Result<()> {
        let found = {
            let running = self.running();
            running
                .get(id)
                .and_then(|r| match (&r.runner, &r.definition) {
                    (Some(Runner::Ttl(ttl, _)), Some(d)) => Some((ttl.clone(), d.clone())),
                    _ => None,
                })
        };
        let Some((ttl, definition)) = found else {
            return Err(Error::new(format!(
                "CheckID \"{id}\" does not have associated TTL"
            )));
        };
        let output = truncate_ttl(output, self.around.output_limit(&definition));
        ttl.set_status(status, &output);
        let Some(persist) = self.persist.clone() else {
            return Ok(());
        };
        let expires = wall() + ttl.ttl();
        let state = PersistedState {
            check_id: id.to_owned(),
            output,
            status: status.to_owned(),
            expires: unix_seconds(expires),
        };
        smol::unblock(move || persist.save_state(&state)).await
    }

    /// Takes up what a TTL check was told before the agent restarted, if its time is not over.
    pub(super) fn restore_ttl_state(&self, id: &str) {
        let Some(persist) = &self.persist else {
            return;
        };
        let ttl = match self.running().get(id).map(|r| &r.runner) {
            Some(Some(Runner::Ttl(ttl, _))) => ttl.clone(),
            _ => return,
        };
        let Some(state) = persist.state(id) else {
            return;
        };
        let left = state.expires - unix_seconds(wall());
        let Ok(left) = u64::try_from(left) else {
            persist.purge_state(id);
            return;
        };
        if left == 0 || state.check_id != id {
            persist.purge_state(id);
            return;
        }
        ttl.set_deadline(std::time::Duration::from_secs(left), &state.output);
        self.local.update_check(id, &state.status, &state.output);
    }
}

fn unix_seconds(at: std::time::SystemTime) -> i64 {
    crate::structs::go::GoTime::from_system(at).unix()
}
