//! Maintenance mode of a service or of the whole node: a critical check that says why.
//!
//! Holds true: the mode survives a restart; turning it on again does not change the reason.
//! Source: `docs/reference/http-2.md` sections 5.8 and 5.19.

use log::info;

use super::check::NewCheck;
use super::local::CRITICAL;
use super::{Agent, Source};
use crate::structs::{Error, HealthCheck, Result};

/// The check of the node's maintenance mode.
const NODE_CHECK: &str = "_node_maintenance";
/// The `Type` of these checks.
pub(super) const KIND: &str = "maintenance";

/// The check of a service's maintenance mode.
fn service_check(id: &str) -> String {
    format!("_service_maintenance:{id}")
}

fn notes(reason: &str, what: &str) -> String {
    if reason.is_empty() {
        format!(
            "Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
        )
    } else {
        reason.to_owned()
    }
}

impl Agent {
    /// Turns a service's maintenance mode on.
    ///
    /// # Errors
    /// When there is no such service.
    pub async fn enable_service_maintenance(
        &self,
        id: &str,
        reason: &str,
        token: &str,
    ) -> Result<()> {
        let service = self
            .local
            .service(id)
            .ok_or_else(|| Error::new(format!("No service registered with ID \"{id}\"")))?;
        let check_id = service_check(id);
        if self.local.check(&check_id).is_some() {
            return Ok(());
        }
        let health = HealthCheck {
            check_id,
            name: "Service Maintenance Mode".to_owned(),
            notes: notes(reason, "service"),
            service_id: service.id.clone(),
            ..maintenance()
        };
        self.add_check(internal(health, token)).await?;
        info!(target: "agent", service = id; "Service entered maintenance mode");
        Ok(())
    }

    /// Turns a service's maintenance mode off.
    ///
    /// # Errors
    /// When there is no such service.
    pub async fn disable_service_maintenance(&self, id: &str) -> Result<()> {
        if self.local.service(id).is_none() {
            let text = format!("No service registered with ID \"{id}\"");
            return Err(Error::new(text));
        }
        let check_id = service_check(id);
        if self.local.check(&check_id).is_none() {
            return Ok(());
        }
        self.remove_check(&check_id).await?;
        info!(target: "agent", service = id; "Service left maintenance mode");
        Ok(())
    }

    /// Turns the node's maintenance mode on.
    ///
    /// # Errors
    /// When the mode cannot be written to disk.
    pub async fn enable_node_maintenance(&self, reason: &str, token: &str) -> Result<()> {
        if self.local.check(NODE_CHECK).is_some() {
            return Ok(());
        }
        let health = HealthCheck {
            check_id: NODE_CHECK.to_owned(),
            name: "Node Maintenance Mode".to_owned(),
            notes: notes(reason, "node"),
            ..maintenance()
        };
        self.add_check(internal(health, token)).await?;
        info!(target: "agent", "Node entered maintenance mode");
        Ok(())
    }

    /// Turns the node's maintenance mode off.
    ///
    /// # Errors
    /// None in practice.
    pub async fn disable_node_maintenance(&self) -> Result<()> {
        if self.local.check(NODE_CHECK).is_none() {
            return Ok(());
        }
        self.remove_check(NODE_CHECK).await?;
        info!(target: "agent", "Node left maintenance mode");
        Ok(())
    }
}

fn maintenance() -> HealthCheck {
    HealthCheck {
        status: CRITICAL.to_owned(),
        kind: KIND.to_owned(),
        ..HealthCheck::default()
    }
}

fn internal(health: HealthCheck, token: &str) -> NewCheck {
    NewCheck {
        health,
        definition: None,
        token: token.to_owned(),
        source: Source::Local,
        persist: true,
    }
}
