//! What an agent registers when it starts and when its configuration is read again.
//!
//! Holds true: where a service is both in the configuration and on disk, the configuration wins and the
//! file goes; what cannot be restored is reported, and removed from disk; a reload that fails leaves
//! what it found wrong out and says so.
//! Source: `docs/reference/http-2.md` section 6.6, `docs/reference/config.md` sections 6, 7 and 16.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use log::{debug, warn};

use super::check::{NewCheck, health_of_definition};
use super::definition::RESERVED_SERVICE;
use super::token::Which;
use super::{Agent, Source, fetch_rate, maintenance, node_metadata, set_tokens};
use crate::config::Config;
use crate::structs::go::quote;
use crate::structs::{CheckDefinition, Error, HealthCheck, Result, ServiceDefinition};

impl Agent {
    /// Registers what the configuration defines, then what was persisted.
    ///
    /// # Errors
    /// Consul's text for the first definition of the configuration that cannot be registered.
    pub async fn load_config_definitions(&self) -> Result<()> {
        let _one = self.gate.lock().await;
        let config = self.config();
        self.load_services(&config).await?;
        self.load_checks(&config, &BTreeMap::new()).await
    }

    /// Takes over what a reload may change: definitions, metadata, tokens, the discarding of outputs.
    /// `new` is what is in force from now on.
    ///
    /// # Errors
    /// Consul's text for the first definition that cannot be registered.
    pub async fn reload(&self, new: Arc<Config>) -> Result<()> {
        let _one = self.gate.lock().await;
        let _quiet = self.local.pause_sync().await;
        let known = self.local.checks();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        let tokens = set_tokens(&self.tokens, &new, self.persist.as_ref());
        self.delegate
            .set_replication_token(&self.tokens.get(Which::Replication));
        self.cache.set_rate(fetch_rate(&new));
        self.local.load_metadata(node_metadata(&new));
        self.local
            .set_discard_check_output(new.discard_check_output);
        self.unload();
        let loaded = async {
            let failed = |what: &str, e: Error| Error::new(format!("Failed reloading {what}: {e}"));
            self.load_services(&new)
                .await
                .map_err(|e| failed("services", e))?;
            self.load_checks(&new, &known)
                .await
                .map_err(|e| failed("checks", e))
        }
        .await;
        if tokens {
            self.local.trigger().full();
        }
        self.local.trigger().changes();
        loaded
    }

    /// Takes everything out of the state, but not off the disk.
    fn unload(&self) {
        let ids: Vec<String> = self.local.checks().into_keys().collect();
        self.running().clear();
        for id in ids {
            // It was there a moment ago, and nobody else removes anything meanwhile.
            let _ = self.local.remove_check(&id);
        }
        let ids: Vec<String> = self.local.services().into_keys().collect();
        for id in ids {
            let _ = self.local.remove_service(&id);
        }
    }

    async fn load_services(&self, config: &Config) -> Result<()> {
        for definition in &config.services {
            self.load_service(definition).await.map_err(|e| {
                if e.is(super::service::INVALID_CHECKS) {
                    return e;
                }
                let id = match definition.id.as_str() {
                    "" => quote(&definition.name),
                    id => quote(id),
                };
                Error::new(format!("Failed to register service {id}: {e}"))
            })?;
        }
        let Some(persist) = self.persist.clone() else {
            return Ok(());
        };
        for file in persist.services() {
            let Some(service) = file.service else {
                continue;
            };
            let id = service.id.clone();
            if self.local.service(&id).is_some() {
                debug!(target: "agent", service = id.as_str(); "service exists, not restoring from file");
                persist.purge_service(&id);
                continue;
            }
            debug!(target: "agent", service = id.as_str(); "restored service definition from file");
            let restored = self.local.add_service(service, &file.token);
            if let Err(e) = restored {
                warn!(target: "agent", service = id.as_str(), error = e.text(); "Failed to restore service");
            }
        }
        Ok(())
    }

    async fn load_service(&self, definition: &ServiceDefinition) -> Result<()> {
        let id = if definition.id.is_empty() {
            &definition.name
        } else {
            &definition.id
        };
        if id == RESERVED_SERVICE || definition.name == RESERVED_SERVICE {
            return Err(Error::new(format!(
                "\"{RESERVED_SERVICE}\" is the servers' own service; choose another name and ID"
            )));
        }
        self.add_service_definition_gated(definition, &definition.token, Source::Local, false)
            .await
    }

    async fn load_checks(
        &self,
        config: &Config,
        known: &BTreeMap<String, HealthCheck>,
    ) -> Result<()> {
        for definition in &config.checks {
            self.load_check(definition).await.map_err(|e| {
                let name = &definition.name;
                Error::new(format!("Failed to register check '{name}': {e}"))
            })?;
        }
        self.restore_checks().await;
        let ids: Vec<String> = self.local.checks().into_keys().collect();
        for id in ids {
            if let Some(before) = known.get(&id) {
                self.local.update_check(&id, &before.status, &before.output);
            }
            self.restore_ttl_state(&id);
        }
        Ok(())
    }

    async fn load_check(&self, definition: &CheckDefinition) -> Result<()> {
        self.add_check_gated(NewCheck {
            // Consul 1.8 shows no type for checks of configuration files.
            health: health_of_definition(definition),
            definition: Some(definition.check_type()),
            token: definition.token.clone(),
            source: Source::Local,
            persist: false,
        })
        .await
    }

    async fn restore_checks(&self) {
        let Some(persist) = self.persist.clone() else {
            return;
        };
        for file in persist.checks() {
            let Some(mut health) = file.check else {
                continue;
            };
            let id = health.check_id.clone();
            if self.local.check(&id).is_some() {
                debug!(target: "agent", check = id.as_str(); "check exists, not restoring from file");
                persist.purge_check(&id);
                continue;
            }
            if health.kind != maintenance::KIND {
                // What it was before the restart may not be so any more.
                super::local::CRITICAL.clone_into(&mut health.status);
                health.output.clear();
            }
            let source = if file.source == Source::Local.word() {
                Source::Local
            } else {
                Source::Remote
            };
            let restored = self
                .add_check_gated(NewCheck {
                    health,
                    definition: file.chk_type,
                    token: file.token,
                    source,
                    persist: false,
                })
                .await;
            match restored {
                Ok(()) => {
                    debug!(target: "agent", check = id.as_str(); "restored health check from file");
                }
                Err(e) => {
                    warn!(target: "agent", check = id.as_str(), error = e.text(); "Failed to restore check");
                    persist.purge_check(&id);
                }
            }
        }
    }
}
