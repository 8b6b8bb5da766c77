//! Comparing the local state with the catalog and pushing what differs.
//!
//! Holds true: one comparison or push at a time; a push that is denied is marked in sync, so that it
//! is tried again by the next comparison only; an error ends the push and leaves the rest dirty.
//! Source: `docs/reference/http-2.md` section 6.3.

use std::sync::Arc;

use log::{debug, info, warn};

use crate::structs::rpc::{Delegate, call, method};
use crate::structs::{
    ACL_NOT_FOUND, DeregisterRequest, Error, HealthCheck, NodeService, NodeSpecificRequest,
    PERMISSION_DENIED, QueryOptions, RegisterRequest, Result,
};

use super::compare::{same_check, same_node, same_service};
use super::{CheckState, Inner, ServiceState, State};

/// The service every server registers for itself; it is the leader's affair.
pub const CONSUL_SERVICE_ID: &str = "consul";
/// The check that the leader keeps for every member.
pub const SERF_HEALTH: &str = "serfHealth";
/// Prefix of the tagged addresses that servers add to a service.
const MANAGED_ADDRESS: &str = "consul-";

/// What became of a push.
#[derive(PartialEq, Eq)]
enum Pushed {
    Done,
    Denied,
}

fn classify(result: Result<()>, gone: &str) -> Result<Pushed> {
    match result {
        Ok(()) => Ok(Pushed::Done),
        Err(e) if !gone.is_empty() && e.is(gone) => Ok(Pushed::Done),
        Err(e) if e.is(PERMISSION_DENIED) || e.is(ACL_NOT_FOUND) => Ok(Pushed::Denied),
        Err(e) => Err(e),
    }
}

/// A dirty check that travels with its service, and the version that was sent.
type Sent = (String, u64);

impl State {
    /// Compares with the catalog, then pushes every difference.
    ///
    /// # Errors
    /// What the servers answered; the state stays dirty.
    pub async fn sync_full(&self, delegate: &dyn Delegate) -> Result<()> {
        let _one = self.sync_lock.lock().await;
        self.compare(delegate).await?;
        self.push(delegate).await
    }

    /// Pushes everything that is marked dirty.
    ///
    /// # Errors
    /// What the servers answered; the state stays dirty.
    pub async fn sync_changes(&self, delegate: &dyn Delegate) -> Result<()> {
        let _one = self.sync_lock.lock().await;
        self.push(delegate).await
    }

    /// Keeps comparisons and pushes away while the returned guard lives, as a reload needs.
    pub async fn pause_sync(&self) -> smol::lock::MutexGuard<'_, ()> {
        self.sync_lock.lock().await
    }

    async fn compare(&self, delegate: &dyn Delegate) -> Result<()> {
        let request = NodeSpecificRequest {
            datacenter: self.identity.datacenter.clone(),
            node: self.identity.node.clone(),
            options: QueryOptions {
                token: self.tokens.agent(),
                allow_stale: true,
                ..QueryOptions::default()
            },
        };
        let services = call::<method::CatalogNodeServices>(delegate, request.clone()).await?;
        let checks = call::<method::HealthNodeChecks>(delegate, request).await?;
        let remote = services.node_services.unwrap_or_default();

        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.node_info_in_sync = remote
            .node
            .is_some_and(|n| same_node(&n, &self.identity, &inner.metadata));
        let changed = compare_services(inner, remote.services.unwrap_or_default());
        compare_checks(inner, checks.health_checks.unwrap_or_default());
        if changed {
            self.notify();
        }
        Ok(())
    }

    async fn push(&self, delegate: &dyn Delegate) -> Result<()> {
        if !self.lock().node_info_in_sync {
            self.push_node(delegate).await?;
        }
        let dirty: Vec<(String, bool)> = {
            let inner = self.lock();
            let dirty = inner.services.iter().filter(|(_, s)| !s.in_sync);
            dirty.map(|(id, s)| (id.clone(), s.deleted)).collect()
        };
        for (id, deleted) in dirty {
            if deleted {
                self.delete_service(delegate, &id).await?;
            } else {
                self.push_service(delegate, &id).await?;
            }
        }
        let dirty: Vec<(String, bool)> = {
            let inner = self.lock();
            let dirty = inner.checks.iter().filter(|(_, c)| !c.in_sync);
            dirty.map(|(id, c)| (id.clone(), c.deleted)).collect()
        };
        for (id, deleted) in dirty {
            if deleted {
                self.delete_check(delegate, &id).await?;
            } else {
                self.push_check(delegate, &id).await?;
            }
        }
        Ok(())
    }

    fn registration(&self, inner: &Inner, token: &str) -> RegisterRequest {
        RegisterRequest {
            datacenter: self.identity.datacenter.clone(),
            id: self.identity.id.clone(),
            node: self.identity.node.clone(),
            address: self.identity.address.clone(),
            tagged_addresses: Some(self.identity.tagged_addresses.clone()),
            node_meta: Some(inner.metadata.clone()),
            skip_node_update: inner.node_info_in_sync,
            token: if token.is_empty() {
                self.tokens.user()
            } else {
                token.to_owned()
            },
            ..RegisterRequest::default()
        }
    }

    async fn push_node(&self, delegate: &dyn Delegate) -> Result<()> {
        let (mut request, metadata) = {
            let inner = self.lock();
            (self.registration(&inner, ""), inner.metadata.clone())
        };
        request.token = self.tokens.agent();
        let result = call::<method::CatalogRegister>(delegate, Box::new(request)).await;
        let pushed = classify(result, "")?;
        let mut inner = self.lock();
        inner.node_info_in_sync = inner.metadata == metadata;
        match pushed {
            Pushed::Done => info!(target: "agent", "Synced node info"),
            Pushed::Denied => {
                warn!(target: "agent", node = self.identity.id.as_str(); "Node info update blocked by ACLs");
            }
        }
        Ok(())
    }

    async fn push_service(&self, delegate: &dyn Delegate, id: &str) -> Result<()> {
        let (request, version, sent) = {
            let inner = self.lock();
            let Some(state) = inner.live_service(id) else {
                return Ok(());
            };
            let mut request = self.registration(&inner, &state.token);
            let mut sent: Vec<Sent> = Vec::new();
            let mut checks: Vec<HealthCheck> = Vec::new();
            for (check_id, check) in &inner.checks {
                let travels = check.check.service_id == id
                    && !check.deleted
                    && !check.in_sync
                    && check.token == state.token;
                if travels {
                    sent.push((check_id.clone(), check.version));
                    checks.push(check.check.clone());
                }
            }
            request.service = Some(NodeService::clone(&state.service));
            if checks.len() == 1 {
                request.check = checks.pop();
            } else if !checks.is_empty() {
                request.checks = Some(checks);
            }
            (request, state.version, sent)
        };
        let pushed = self.register(delegate, request).await?;
        let mut inner = self.lock();
        if let Some(state) = inner.services.get_mut(id) {
            state.in_sync |= state.version == version;
        }
        inner.checks_were_sent(sent);
        drop(inner);
        match pushed {
            Pushed::Done => info!(target: "agent", service = id; "Synced service"),
            Pushed::Denied => {
                warn!(target: "agent", service = id; "Service registration blocked by ACLs");
            }
        }
        Ok(())
    }

    /// Sends a registration; the node is known when it went along.
    async fn register(&self, delegate: &dyn Delegate, request: RegisterRequest) -> Result<Pushed> {
        let node_was_sent = !request.skip_node_update;
        let result = call::<method::CatalogRegister>(delegate, Box::new(request)).await;
        let pushed = classify(result, "")?;
        if node_was_sent && pushed == Pushed::Done {
            self.lock().node_info_in_sync = true;
        }
        Ok(pushed)
    }

    async fn push_check(&self, delegate: &dyn Delegate, id: &str) -> Result<()> {
        let (request, version) = {
            let inner = self.lock();
            let Some(state) = inner.live_check(id) else {
                return Ok(());
            };
            let mut request = self.registration(&inner, &state.token);
            // The service goes along: a catalog that lost it would refuse the check.
            request.service = inner
                .live_service(&state.check.service_id)
                .map(|s| NodeService::clone(&s.service));
            request.check = Some(state.check.clone());
            (request, state.version)
        };
        let pushed = self.register(delegate, request).await?;
        self.lock().checks_were_sent([(id.to_owned(), version)]);
        match pushed {
            Pushed::Done => info!(target: "agent", check = id; "Synced check"),
            Pushed::Denied => {
                warn!(target: "agent", check = id; "Check registration blocked by ACLs");
            }
        }
        Ok(())
    }

    fn deregistration(&self) -> DeregisterRequest {
        DeregisterRequest {
            datacenter: self.identity.datacenter.clone(),
            node: self.identity.node.clone(),
            token: self.tokens.agent(),
            ..DeregisterRequest::default()
        }
    }

    async fn delete_service(&self, delegate: &dyn Delegate, id: &str) -> Result<()> {
        if id.is_empty() {
            return Err(Error::new("ServiceID missing"));
        }
        let request = DeregisterRequest {
            service_id: id.to_owned(),
            ..self.deregistration()
        };
        let result = call::<method::CatalogDeregister>(delegate, request).await;
        let pushed = classify(result, "Unknown service")?;
        let mut inner = self.lock();
        let inner = &mut *inner;
        if !inner.services.get(id).is_some_and(|s| s.deleted) {
            return Ok(());
        }
        if pushed == Pushed::Denied {
            if let Some(state) = inner.services.get_mut(id) {
                state.in_sync = true;
            }
            warn!(target: "agent", service = id; "Service deregistration blocked by ACLs");
            return Ok(());
        }
        inner.services.remove(id);
        // The catalog removes a service's checks with it.
        inner
            .checks
            .retain(|_, c| !(c.deleted && c.check.service_id == id));
        info!(target: "agent", service = id; "Deregistered service");
        Ok(())
    }

    async fn delete_check(&self, delegate: &dyn Delegate, id: &str) -> Result<()> {
        if id.is_empty() {
            return Err(Error::new("CheckID missing"));
        }
        let request = DeregisterRequest {
            check_id: id.to_owned(),
            ..self.deregistration()
        };
        let result = call::<method::CatalogDeregister>(delegate, request).await;
        let pushed = classify(result, "Unknown check")?;
        let mut inner = self.lock();
        let Some(state) = inner.checks.get_mut(id).filter(|c| c.deleted) else {
            return Ok(());
        };
        if pushed == Pushed::Denied {
            state.in_sync = true;
            warn!(target: "agent", check = id; "Check deregistration blocked by ACLs");
            return Ok(());
        }
        inner.checks.remove(id);
        info!(target: "agent", check = id; "Deregistered check");
        Ok(())
    }
}

/// Marks services by comparison; true when a local one took something from the catalog.
fn compare_services(
    inner: &mut Inner,
    remote: std::collections::BTreeMap<String, NodeService>,
) -> bool {
    let mut adopted = false;
    inner.services.retain(|id, s| {
        let known = remote.contains_key(id);
        if !known {
            s.in_sync = false;
        }
        known || !s.deleted
    });
    for (id, theirs) in remote {
        let Some(ours) = inner.services.get_mut(&id) else {
            if id == CONSUL_SERVICE_ID {
                continue;
            }
            debug!(target: "agent", service = id.as_str(); "Service in the catalog is not ours, deregistering");
            let version = inner.next_version();
            inner.services.insert(
                id,
                ServiceState {
                    service: Arc::new(theirs),
                    token: String::new(),
                    in_sync: false,
                    deleted: true,
                    version,
                },
            );
            continue;
        };
        if ours.deleted {
            ours.in_sync = false;
            continue;
        }
        adopted |= adopt(&mut ours.service, &theirs);
        ours.in_sync = same_service(&ours.service, &theirs);
    }
    adopted
}

/// Takes from the catalog's copy what the catalog may decide: tags under `EnableTagOverride`, and the
/// tagged addresses that servers manage.
fn adopt(ours: &mut Arc<NodeService>, theirs: &NodeService) -> bool {
    let mut changed = false;
    if ours.enable_tag_override {
        let (mine, new) = (
            ours.tags.as_deref().unwrap_or(&[]),
            theirs.tags.as_deref().unwrap_or(&[]),
        );
        if mine != new {
            Arc::make_mut(ours).tags = theirs.tags.clone();
            changed = true;
        }
    }
    for (tag, address) in theirs.tagged_addresses.iter().flatten() {
        let managed = tag.starts_with(MANAGED_ADDRESS);
        let known = |m: &NodeService| {
            m.tagged_addresses
                .as_ref()
                .is_some_and(|t| t.get(tag) == Some(address))
        };
        if managed && !known(ours) {
            let map = &mut Arc::make_mut(ours).tagged_addresses;
            map.get_or_insert_default()
                .insert(tag.clone(), address.clone());
            changed = true;
        }
    }
    changed
}

fn compare_checks(inner: &mut Inner, remote: Vec<HealthCheck>) {
    let known: std::collections::BTreeSet<&str> =
        remote.iter().map(|c| c.check_id.as_str()).collect();
    inner.checks.retain(|id, c| {
        let known = known.contains(id.as_str());
        if !known {
            c.in_sync = false;
        }
        known || !c.deleted
    });
    for theirs in remote {
        let id = theirs.check_id.clone();
        let Some(ours) = inner.checks.get_mut(&id) else {
            if id == SERF_HEALTH {
                continue;
            }
            debug!(target: "agent", check = id.as_str(); "Check in the catalog is not ours, deregistering");
            let version = inner.next_version();
            inner.checks.insert(
                id,
                CheckState {
                    check: theirs,
                    token: String::new(),
                    in_sync: false,
                    deleted: true,
                    version,
                    critical_since: None,
                    deferred: None,
                },
            );
            continue;
        };
        if ours.deleted {
            ours.in_sync = false;
            continue;
        }
        ours.in_sync = same_check(&ours.check, &theirs, ours.deferred.is_some());
    }
}
