//! The local state: the services and checks this agent owns and its node record, each with the mark
//! whether the catalog agrees.
//!
//! Holds true: what is marked in sync was equal to the catalog's copy when last compared or pushed; a
//! removed entry stays as a tombstone until the catalog has forgotten it; an entry changed while it was
//! being pushed is not marked in sync by that push. Nothing here waits: pushing is done by `sync`, the
//! timing by `agent::ae`.
//! Source: `docs/reference/http-2.md` sections 6.1 to 6.4.

mod compare;
mod sync;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use event_listener::{Event, EventListener};

use crate::drive::{Instant, now};
use crate::sorted::IntoMap;
use crate::structs::{Error, HealthCheck, NodeService, Result};

use super::token::Tokens;

/// Most services and most checks of one agent.
pub const MAX_ENTRIES: usize = 65_536;

/// Check status.
pub const PASSING: &str = "passing";
/// Check status.
pub const WARNING: &str = "warning";
/// Check status.
pub const CRITICAL: &str = "critical";

/// What identifies this agent's node in the catalog; fixed while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Node ID, a UUID.
    pub id: String,
    /// Node name.
    pub node: String,
    /// Datacenter.
    pub datacenter: String,
    /// Advertised LAN address.
    pub address: String,
    /// Addresses by tag (`lan`, `wan`, ...).
    pub tagged_addresses: BTreeMap<String, String>,
}

/// A service that this agent owns.
#[derive(Clone, Debug)]
struct ServiceState {
    service: Arc<NodeService>,
    token: String,
    in_sync: bool,
    deleted: bool,
    /// Grows with each change, so that a push knows whether what it sent is still what is there.
    version: u64,
}

/// A check that this agent owns.
#[derive(Clone, Debug)]
struct CheckState {
    check: HealthCheck,
    token: String,
    in_sync: bool,
    deleted: bool,
    version: u64,
    /// Since when it is critical, as this process saw it.
    critical_since: Option<Instant>,
    /// When the newest output is to be pushed although the status is the same.
    deferred: Option<Instant>,
}

/// A check that is critical, and since when.
#[derive(Clone, Debug)]
pub struct CriticalCheck {
    /// The check.
    pub check: HealthCheck,
    /// The moment this process saw it turn critical.
    pub since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    services: BTreeMap<String, ServiceState>,
    checks: BTreeMap<String, CheckState>,
    metadata: BTreeMap<String, String>,
    node_info_in_sync: bool,
    version: u64,
}

impl Inner {
    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn live_service(&self, id: &str) -> Option<&ServiceState> {
        self.services.get(id).filter(|s| !s.deleted)
    }

    fn live_check(&self, id: &str) -> Option<&CheckState> {
        self.checks.get(id).filter(|c| !c.deleted)
    }

    /// Those that have not changed since they were sent, by ID and version, are in the catalog now.
    fn checks_were_sent(&mut self, sent: impl IntoIterator<Item = (String, u64)>) {
        for (id, version) in sent {
            if let Some(state) = self.checks.get_mut(&id) {
                state.in_sync |= state.version == version;
            }
        }
    }
}

/// What wakes the loop that syncs: see `agent::ae`.
#[derive(Debug, Default)]
pub struct Trigger {
    full: AtomicBool,
    changes: AtomicBool,
    event: Event,
}

impl Trigger {
    /// Asks for a comparison with the catalog soon (after a random delay that spreads a cluster's load).
    pub fn full(&self) {
        self.full.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }

    /// Asks for a push of everything that changed.
    pub fn changes(&self) {
        self.changes.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
    }

    /// Makes the loop compute its deadlines anew.
    fn deadlines(&self) {
        self.event.notify(usize::MAX);
    }

    pub(super) fn take_full(&self) -> bool {
        self.full.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_changes(&self) -> bool {
        self.changes.swap(false, Ordering::AcqRel)
    }

    pub(super) fn listen(&self) -> EventListener {
        self.event.listen()
    }
}

/// The services, checks and node record this agent owns.
pub struct State {
    identity: Identity,
    inner: Mutex<Inner>,
    /// Tokens for pushing what carries none of its own.
    tokens: Arc<Tokens>,
    /// How long an output that changed alone may wait; zero pushes at once.
    check_update_interval: Duration,
    discard_check_output: AtomicBool,
    changed: Event,
    /// Who waits for the checks of one service, or of the node alone under the empty ID.
    followed: Mutex<HashMap<String, Weak<Event>>>,
    trigger: Trigger,
    /// Held while the catalog is compared or pushed to, so that two pushes do not cross.
    sync_lock: smol::lock::Mutex<()>,
}

impl State {
    /// An empty state.
    pub fn new(identity: Identity, tokens: Arc<Tokens>, check_update_interval: Duration) -> Self {
        Self {
            identity,
            inner: Mutex::default(),
            tokens,
            check_update_interval,
            discard_check_output: AtomicBool::new(false),
            changed: Event::new(),
            followed: Mutex::default(),
            trigger: Trigger::default(),
            sync_lock: smol::lock::Mutex::new(()),
        }
    }

    /// Who this agent's node is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What asks the sync loop to run.
    pub fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: each change is one assignment.
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Resolves with the next change of any service or check. Listen first, look afterwards.
    pub fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    fn notify(&self) {
        self.changed.notify(usize::MAX);
    }

    /// What is notified when a service comes or goes, or its checks come, go or change their status; the
    /// empty ID stands for the checks of no service. Outputs that change alone do not count.
    pub fn follow(&self, service_id: &str) -> Arc<Event> {
        let mut followed = self.followed.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(event) = followed.get(service_id).and_then(Weak::upgrade) {
            return event;
        }
        followed.retain(|_, event| event.strong_count() > 0);
        let event = Arc::new(Event::new());
        followed.insert(service_id.to_owned(), Arc::downgrade(&event));
        event
    }

    fn notify_followers(&self, service_id: &str) {
        let followed = self.followed.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(event) = followed.get(service_id).and_then(Weak::upgrade) {
            event.notify(usize::MAX);
        }
    }

    /// Whether outputs are thrown away from now on; what is stored is emptied at once.
    pub fn set_discard_check_output(&self, discard: bool) {
        self.discard_check_output.store(discard, Ordering::Release);
        if !discard {
            return;
        }
        let mut inner = self.lock();
        let version = inner.next_version();
        for state in inner.checks.values_mut() {
            if !state.check.output.is_empty() {
                state.check.output.clear();
                state.in_sync = false;
                state.version = version;
            }
        }
        drop(inner);
        self.trigger.changes();
    }

    /// Replaces the node's metadata; true when it differs from before.
    pub fn load_metadata(&self, metadata: BTreeMap<String, String>) -> bool {
        let mut inner = self.lock();
        if inner.metadata == metadata {
            return false;
        }
        inner.metadata = metadata;
        inner.node_info_in_sync = false;
        drop(inner);
        self.trigger.changes();
        true
    }

    /// The node's metadata.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.lock().metadata.clone()
    }

    /// Adds or replaces a service. The catalog learns of it at the next push.
    ///
    /// # Errors
    /// When the service has no ID, or there are [`MAX_ENTRIES`] services already.
    pub fn add_service(&self, service: NodeService, token: &str) -> Result<()> {
        if service.id.is_empty() {
            return Err(Error::new("ServiceID missing"));
        }
        let mut inner = self.lock();
        if inner.services.len() >= MAX_ENTRIES && !inner.services.contains_key(&service.id) {
            return Err(full("services"));
        }
        let version = inner.next_version();
        let id = service.id.clone();
        inner.services.insert(
            id.clone(),
            ServiceState {
                service: Arc::new(service),
                token: token.to_owned(),
                in_sync: false,
                deleted: false,
                version,
            },
        );
        drop(inner);
        self.notify();
        self.notify_followers(&id);
        Ok(())
    }

    /// Marks a service as removed; the catalog learns of it at the next push.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn remove_service(&self, id: &str) -> Result<()> {
        let mut inner = self.lock();
        let version = inner.next_version();
        match inner.services.get_mut(id).filter(|s| !s.deleted) {
            Some(state) => {
                state.in_sync = false;
                state.deleted = true;
                state.version = version;
            }
            None => return Err(Error::new(format!("Service \"{id}\" does not exist"))),
        }
        drop(inner);
        self.notify();
        self.notify_followers(id);
        Ok(())
    }

    /// One service.
    pub fn service(&self, id: &str) -> Option<Arc<NodeService>> {
        self.lock().live_service(id).map(|s| s.service.clone())
    }

    /// The token a service was registered with, empty for none.
    pub fn service_token(&self, id: &str) -> String {
        self.lock()
            .live_service(id)
            .map(|s| s.token.clone())
            .unwrap_or_default()
    }

    /// All services by ID.
    pub fn services(&self) -> BTreeMap<String, Arc<NodeService>> {
        let inner = self.lock();
        let live = inner.services.iter().filter(|(_, s)| !s.deleted);
        live.map(|(id, s)| (id.clone(), s.service.clone()))
            .into_map()
    }

    /// How many services and checks there are.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (
            inner.services.values().filter(|s| !s.deleted).count(),
            inner.checks.values().filter(|c| !c.deleted).count(),
        )
    }

    /// Adds or replaces a check, with the status and output it carries.
    ///
    /// # Errors
    /// When it has no ID, when its service does not exist, or when there are [`MAX_ENTRIES`] checks.
    pub fn add_check(&self, mut check: HealthCheck, token: &str) -> Result<()> {
        if check.check_id.is_empty() {
            return Err(Error::new("CheckID missing"));
        }
        if self.discard_check_output.load(Ordering::Acquire) {
            check.output.clear();
        }
        check.node = self.identity.node.clone();
        let mut inner = self.lock();
        if !check.service_id.is_empty() && inner.live_service(&check.service_id).is_none() {
            return Err(Error::new(format!(
                "Check \"{}\" refers to non-existent service \"{}\"",
                check.check_id, check.service_id
            )));
        }
        if inner.checks.len() >= MAX_ENTRIES && !inner.checks.contains_key(&check.check_id) {
            return Err(full("checks"));
        }
        let version = inner.next_version();
        let service_id = check.service_id.clone();
        inner.checks.insert(
            check.check_id.clone(),
            CheckState {
                check,
                token: token.to_owned(),
                in_sync: false,
                deleted: false,
                version,
                // A check that was just added has not been heard to be critical, whatever it begins with.
                critical_since: None,
                deferred: None,
            },
        );
        drop(inner);
        self.notify();
        self.notify_followers(&service_id);
        Ok(())
    }

    /// Marks a check as removed; the catalog learns of it at the next push.
    ///
    /// # Errors
    /// When there is no such check.
    pub fn remove_check(&self, id: &str) -> Result<()> {
        let mut inner = self.lock();
        let version = inner.next_version();
        let Some(state) = inner.checks.get_mut(id).filter(|c| !c.deleted) else {
            return Err(Error::new(format!("Check \"{id}\" does not exist")));
        };
        state.in_sync = false;
        state.deleted = true;
        state.deferred = None;
        state.version = version;
        let service_id = state.check.service_id.clone();
        drop(inner);
        self.notify();
        self.notify_followers(&service_id);
        Ok(())
    }

    /// Takes the result of a check. A new status is pushed at once, a new output alone is pushed
    /// later (`interval/2` plus a random part of `interval`), an unchanged result changes nothing.
    pub fn update_check(&self, id: &str, status: &str, output: &str) {
        let discard = self.discard_check_output.load(Ordering::Acquire);
        let output = if discard { "" } else { output };
        let mut inner = self.lock();
        let version = inner.next_version();
        let Some(state) = inner.checks.get_mut(id).filter(|c| !c.deleted) else {
            return;
        };
        // Also a result that says the same again starts the clock of a check that was added as critical.
        state.critical_since = match status {
            CRITICAL => state.critical_since.or_else(|| Some(now())),
            _ => None,
        };
        if state.check.status == status && state.check.output == output {
            return;
        }
        let same_status = state.check.status == status;
        state.check.output = output.to_owned();
        state.version = version;
        if same_status && !self.check_update_interval.is_zero() {
            let first = state.deferred.is_none();
            if first {
                let spread = self.check_update_interval.mul_f64(fastrand::f64());
                state.deferred = Some(now() + self.check_update_interval / 2 + spread);
            }
            drop(inner);
            if first {
                self.trigger.deadlines();
            }
            self.notify();
            return;
        }
        if !same_status {
            state.check.status = status.to_owned();
        }
        state.deferred = None;
        state.in_sync = false;
        let service_id = state.check.service_id.clone();
        drop(inner);
        self.notify();
        self.notify_followers(&service_id);
        self.trigger.changes();
    }

    /// One check.
    pub fn check(&self, id: &str) -> Option<HealthCheck> {
        self.lock().live_check(id).map(|c| c.check.clone())
    }

    /// The token a check was registered with, empty for none.
    pub fn check_token(&self, id: &str) -> String {
        self.lock()
            .live_check(id)
            .map(|c| c.token.clone())
            .unwrap_or_default()
    }

    /// All checks by ID.
    pub fn checks(&self) -> BTreeMap<String, HealthCheck> {
        let inner = self.lock();
        let live = inner.checks.iter().filter(|(_, c)| !c.deleted);
        live.map(|(id, c)| (id.clone(), c.check.clone())).into_map()
    }

    /// The checks of a service; with `node_level` also those that belong to no service.
    pub fn checks_for_service(&self, service_id: &str, node_level: bool) -> Vec<HealthCheck> {
        let inner = self.lock();
        let concerns = |c: &CheckState| {
            let of = &c.check.service_id;
            !c.deleted && (of == service_id || (node_level && of.is_empty()))
        };
        let found = inner.checks.values().filter(|c| concerns(c));
        found.map(|c| c.check.clone()).collect()
    }

    /// The checks that have been heard to be critical since they were added.
    pub fn critical_checks(&self) -> Vec<CriticalCheck> {
        let inner = self.lock();
        let live = inner.checks.values().filter(|c| !c.deleted);
        live.filter_map(|c| {
            c.critical_since.map(|since| CriticalCheck {
                check: c.check.clone(),
                since,
            })
        })
        .collect()
    }

    /// When the next throttled output is to be pushed.
    pub(super) fn next_deferral(&self) -> Option<Instant> {
        self.lock().checks.values().filter_map(|c| c.deferred).min()
    }

    /// Marks what was throttled long enough for pushing; true when there was any.
    pub(super) fn end_deferrals(&self) -> bool {
        let at = now();
        let mut any = false;
        for state in self.lock().checks.values_mut() {
            if state.deferred.is_some_and(|due| due <= at) {
                state.deferred = None;
                state.in_sync = false;
                any = true;
            }
        }
        any
    }
}

fn full(what: &str) -> Error {
    Error::new(format!(
        "this agent has {MAX_ENTRIES} {what} already; deregister some first"
    ))
}

#[cfg(test)]
mod tests;
