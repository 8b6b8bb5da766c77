//! Deregistering services that have been critical for too long.
//!
//! Holds true: nothing wakes up while no check asks for it; the clock of a check starts with
//! the first critical result after its registration, and anew after each registration or reload.
//! Source: `docs/reference/http-2.md` section 4.6.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use log::info;

use super::Agent;
use crate::drive::{now, sleep};

/// Looks every `check_reap_interval` for what is to be removed, while anything can be.
pub(super) async fn run(agent: Weak<Agent>) {
    loop {
        let Some(strong) = agent.upgrade() else {
            return;
        };
        let changed = strong.local.listen();
        if !strong.any_deregisters() {
            drop(strong);
            changed.await;
            continue;
        }
        let interval = strong.config().check_reap_interval;
        drop(strong);
        sleep(interval).await;
        let Some(strong) = agent.upgrade() else {
            return;
        };
        strong.reap().await;
    }
}

impl Agent {
    fn any_deregisters(&self) -> bool {
        let asks = |r: &super::Running| {
            r.definition
                .as_ref()
                .is_some_and(|d| d.deregister_critical_service_after.0 > 0)
        };
        self.running().values().any(asks)
    }

    /// How long a check may be critical before its service goes, if ever.
    fn deregister_after(&self, check_id: &str) -> Option<std::time::Duration> {
        let running = self.running();
        let definition: Arc<_> = running.get(check_id)?.definition.clone()?;
        drop(running);
        let after = definition.deregister_critical_service_after;
        let min = self.config().check_deregister_interval_min;
        (after.0 > 0).then(|| after.to_std().max(min))
    }

    async fn reap(&self) {
        let mut gone = BTreeSet::new();
        for critical in self.local.critical_checks() {
            let check = &critical.check;
            if check.service_id.is_empty() || gone.contains(&check.service_id) {
                continue;
            }
            let Some(limit) = self.deregister_after(&check.check_id) else {
                continue;
            };
            let elapsed = now().duration_since(critical.since);
            if elapsed <= limit {
                continue;
            }
            let (service, check_id) = (check.service_id.as_str(), check.check_id.as_str());
            // The ID is not empty, so this cannot fail.
            let _ = self.remove_service(service).await;
            info!(target: "agent", service, check = check_id; "Check for service has been critical for too long; deregistered service");
            gone.insert(check.service_id.clone());
        }
        if !gone.is_empty() {
            self.sync_changes().await;
        }
    }
}
