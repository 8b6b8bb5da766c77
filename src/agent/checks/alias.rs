//! Alias checks: they are as well as the checks of another service or node.
//!
//! Holds true: without a node the aliased service is one of this agent, and every new status of its checks
//! counts at once, checks of the node itself within a minute; with a node the catalog is asked by blocking
//! queries. A check that belongs to the service it follows counts itself, as a running Consul shows.
//! Source: `docs/reference/http-2.md` section 4.3.

use std::sync::Arc;
use std::time::Duration;

use super::{Outcome, Surroundings, head};
use crate::agent::local::{PASSING, State, WARNING};
use smol::future::FutureExt;

use crate::drive::sleep;
use crate::structs::rpc::{Delegate, call, method};
use crate::structs::{CheckType, HealthCheck, NodeSpecificRequest, QueryOptions, Result};

/// Shortest and longest pause after the catalog could not be asked.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often a local service is looked at although nothing is said to have changed.
const LOOK: Duration = Duration::from_secs(60);
/// Longest text of an alias, in bytes. A check that follows its own service quotes itself, and with
/// `check_update_interval = "0s"` each quotation would be news to quote again.
const MAX_TEXT: usize = 64 * 1024;

pub(super) struct Alias {
    state: Arc<State>,
    delegate: Arc<dyn Delegate>,
    check_id: String,
    /// Empty for this agent's own node.
    node: String,
    /// ID of the aliased service, empty for the node alone.
    service_id: String,
    token: String,
}

impl Alias {
    pub(super) fn new(around: &Surroundings, check_id: &str, check: &CheckType) -> Self {
        Self {
            token: around.state.check_token(check_id),
            state: around.state.clone(),
            delegate: around.delegate.clone(),
            check_id: check_id.to_owned(),
            node: check.alias_node.clone(),
            service_id: check.alias_service.clone(),
        }
    }

    pub(super) async fn run(self) {
        if self.node.is_empty() || self.node == self.state.identity().node {
            self.follow_local().await;
        } else {
            self.follow_catalog().await;
        }
    }

    async fn follow_local(&self) {
        let followed = self.state.follow(&self.service_id);
        loop {
            // Listen before looking: what comes in between is not missed.
            let changed = followed.listen();
            let missing =
                !self.service_id.is_empty() && self.state.service(&self.service_id).is_none();
            if missing {
                self.report(&self.not_found());
            } else {
                let checks = self.state.checks_for_service(&self.service_id, true);
                self.report(&self.judge(&checks));
            }
            changed.or(sleep(LOOK)).await;
        }
    }

    async fn follow_catalog(&self) {
        let mut index = 0;
        let mut pause = RETRY.0;
        loop {
            match self.ask(index).await {
                Ok((outcome, new)) => {
                    self.report(&outcome);
                    // An index that went back means that the catalog was replaced.
                    index = if new < index { 0 } else { new };
                    pause = RETRY.0;
                    if index == 0 {
                        sleep(pause).await;
                    }
                }
                Err(e) => {
                    let text = format!("Failure checking aliased node or service: {e}");
                    self.report(&Outcome::critical(text));
                    sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                    pause = (pause * 2).min(RETRY.1);
                    index = 0;
                }
            }
        }
    }

    async fn ask(&self, index: u64) -> Result<(Outcome, u64)> {
        let identity = self.state.identity();
        let mut request = NodeSpecificRequest {
            datacenter: identity.datacenter.clone(),
            node: self.node.clone(),
            options: QueryOptions {
                token: self.token.clone(),
                min_query_index: index,
                allow_stale: true,
                ..QueryOptions::default()
            },
        };
        let reply = call::<method::HealthNodeChecks>(&*self.delegate, request.clone()).await?;
        let checks = reply.health_checks.unwrap_or_default();
        let known = checks.iter().any(|c| c.service_id == self.service_id);
        if !self.service_id.is_empty() && !known {
            request.options.min_query_index = 0;
            let reply = call::<method::CatalogNodeServices>(&*self.delegate, request).await?;
            let services = reply.node_services.and_then(|n| n.services);
            if !services.is_some_and(|s| s.contains_key(&self.service_id)) {
                return Ok((self.not_found(), reply.meta.index));
            }
        }
        Ok((self.judge(&checks), reply.meta.index))
    }

    fn not_found(&self) -> Outcome {
        Outcome::critical(format!(
            "Service {} could not be found on node {}",
            self.service_id, self.node
        ))
    }

    /// The worst of the node's own checks and those of the service.
    fn judge(&self, checks: &[HealthCheck]) -> Outcome {
        let mut worst: Option<&HealthCheck> = None;
        let mut any = false;
        for check in checks {
            let concerns = check.service_id.is_empty() || check.service_id == self.service_id;
            // A node's own check would for ever be as bad as it has been once.
            let own = check.service_id.is_empty()
                && check.check_id == self.check_id
                && (self.node.is_empty() || self.node == self.state.identity().node);
            if !concerns || own {
                continue;
            }
            any = true;
            if rank(&check.status) > worst.map_or(0, |w| rank(&w.status)) {
                worst = Some(check);
            }
        }
        match worst {
            None if !any => Outcome::passing("No checks found."),
            None => Outcome::passing("All checks passing."),
            Some(check) => {
                let text = failing(check);
                if rank(&check.status) == 1 {
                    Outcome::warning(text)
                } else {
                    Outcome::critical(text)
                }
            }
        }
    }

    fn report(&self, outcome: &Outcome) {
        self.state
            .update_check(&self.check_id, outcome.status, &outcome.output);
    }
}

/// Which check is to blame, and what it says.
fn failing(check: &HealthCheck) -> String {
    let text = format!("Aliased check {:?} failing: {}", check.name, check.output);
    head(&text, MAX_TEXT).to_owned()
}

/// How bad a status is; whatever is unknown is critical.
fn rank(status: &str) -> u8 {
    match status {
        PASSING => 0,
        WARNING => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_quotes_itself_comes_to_an_end() {
        let mut check = HealthCheck {
            name: "own".into(),
            ..HealthCheck::default()
        };
        for _ in 0..=MAX_TEXT / 20 {
            check.output = failing(&check);
        }
        assert!(check.output.len() <= MAX_TEXT);
        assert_eq!(failing(&check), check.output);
    }
}
