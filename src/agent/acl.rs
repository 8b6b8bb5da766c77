//! What a token may do on this agent: the endpoints about the agent itself, its services and its checks.
//!
//! Holds true: the agent's own emergency token works without servers and grants no more than this agent; a service or
//! check that is there already is guarded by its present name as well.
//! Source: `docs/reference/http-2.md` section 5; texts from a running Consul 1.8.7.

use std::sync::Arc;

use super::Agent;
use super::definition::is_proxy;
use super::token::Which;
use crate::acl::{Authorizer, Default, Level, Resource, Rule, Rules};
use crate::structs::go::quote;
use crate::structs::{Error, HealthCheck, PERMISSION_DENIED, Result, ServiceDefinition};

/// Whether two secrets are the same, in time that depends on their lengths alone.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

fn missing<T>(what: &str, name: &str) -> Result<T> {
    Err(Error::from(format!(
        "{PERMISSION_DENIED}: Missing {what}:write on {name}"
    )))
}

impl Agent {
    /// What a secret may do.
    ///
    /// # Errors
    /// `ACL not found`, or why no server could be asked.
    pub async fn authorizer(&self, secret: &str) -> Result<Arc<Authorizer>> {
        if self.resolver.enabled() && !secret.is_empty() {
            let master = self.tokens.get(Which::AgentMaster);
            if same(&master, secret) {
                return Ok(Arc::new(self.master_authorizer()));
            }
        }
        self.resolver.resolve(secret).await
    }

    /// What the emergency token may do: manage this agent, and see nodes.
    fn master_authorizer(&self) -> Authorizer {
        let rule = |resource, prefix, name: &str, level| Rule {
            resource,
            prefix,
            name: name.to_owned(),
            level,
            intentions: None,
        };
        let node = &self.local.identity().node;
        let rules = Rules {
            rules: vec![
                rule(Resource::Agent, false, node, Level::Write),
                rule(Resource::Node, true, "", Level::Read),
            ],
            scalars: Vec::new(),
        };
        Authorizer::new([&rules], Default::Deny)
    }

    fn guarded(&self) -> bool {
        self.resolver.enabled()
    }

    /// Refuses to register a service that the token may not write.
    ///
    /// # Errors
    /// `Permission denied: Missing service:write on web`, `ACL not found`.
    pub async fn may_register_service(
        &self,
        secret: &str,
        service: &ServiceDefinition,
    ) -> Result<()> {
        if !self.guarded() {
            return Ok(());
        }
        let acl = self.authorizer(secret).await?;
        if !acl.writes(Resource::Service, &service.name) {
            return missing("service", &service.name);
        }
        let id = if service.id.is_empty() {
            &service.name
        } else {
            &service.id
        };
        if let Some(known) = self.local.service(id)
            && !acl.writes(Resource::Service, &known.service)
        {
            return missing("service", &service.name);
        }
        if is_proxy(&service.kind)
            && let Some(proxy) = &service.proxy
            && !proxy.destination_service_name.is_empty()
            && !acl.writes(Resource::Service, &proxy.destination_service_name)
        {
            return missing("service", &proxy.destination_service_name);
        }
        Ok(())
    }

    /// Refuses to change a service that the token may not write, or that is not there.
    ///
    /// # Errors
    /// As [`Agent::may_register_service`]; `Unknown service {"web" {}}`.
    pub async fn may_change_service(&self, secret: &str, id: &str) -> Result<()> {
        if !self.guarded() {
            return Ok(());
        }
        let acl = self.authorizer(secret).await?;
        match self.local.service(id) {
            None => Err(Error::from(format!(
                "Unknown service {{{} {{}}}}",
                quote(id)
            ))),
            Some(known) if acl.writes(Resource::Service, &known.service) => Ok(()),
            Some(known) => missing("service", &known.service),
        }
    }

    fn may_write_check(&self, acl: &Authorizer, check: &HealthCheck) -> Result<()> {
        if !check.service_name.is_empty() {
            if !acl.writes(Resource::Service, &check.service_name) {
                return missing("service", &check.service_name);
            }
            return Ok(());
        }
        let node = &self.local.identity().node;
        if !acl.writes(Resource::Node, node) {
            return missing("node", node);
        }
        Ok(())
    }

    /// Refuses to register a check that the token may not write.
    ///
    /// # Errors
    /// `Permission denied: Missing node:write on n1`, or of the service; `ACL not found`.
    pub async fn may_register_check(&self, secret: &str, check: &HealthCheck) -> Result<()> {
        if !self.guarded() {
            return Ok(());
        }
        let acl = self.authorizer(secret).await?;
        let mut check = check.clone();
        if let Some(service) = self.local.service(&check.service_id) {
            check.service_name.clone_from(&service.service);
        }
        self.may_write_check(&acl, &check)?;
        match self.local.check(&check.check_id) {
            Some(known) => self.may_write_check(&acl, &known),
            None => Ok(()),
        }
    }

    /// Refuses to change a check that the token may not write, or that is not there.
    ///
    /// # Errors
    /// As [`Agent::may_register_check`]; `Unknown check "x"`.
    pub async fn may_change_check(&self, secret: &str, id: &str) -> Result<()> {
        if !self.guarded() {
            return Ok(());
        }
        let acl = self.authorizer(secret).await?;
        match self.local.check(id) {
            Some(known) => self.may_write_check(&acl, &known),
            None => Err(Error::from(format!("Unknown check {}", quote(id)))),
        }
    }
}
