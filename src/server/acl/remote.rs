//! What a secret may do, as the primary datacenter says, in a secondary one that does not have the tokens.
//!
//! Holds true: what the primary said holds as long as the TTLs say, and that it does not know a secret as well; while it
//! cannot be asked the down policy decides, and nobody is allowed more for that than it says; a token that counts in the
//! primary alone is refused.
//! Leaves to others: compiling what was found (`acl`), policies and roles once they are copied here (`replication`).
//! Source: `docs/reference/http-1.md` section 12.5; a running Consul 1.8.7.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender};

use crate::acl::{self, DownPolicy};
use crate::atomic::AtomicU64;
use crate::drive;
use crate::server::Server;
use crate::structs::rpc::{BoxFuture, Method, method};
use crate::structs::{
    ACL_NOT_FOUND, ACLPolicy, ACLPolicyBatchGetRequest, ACLRole, ACLRoleBatchGetRequest, ACLToken,
    ACLTokenGetRequest, Error, QueryOptions, Result,
};

/// Secrets remembered at most.
const MAX_REMEMBERED: usize = 4096;
/// Secrets that wait at most to be asked for again behind their users' backs.
const MAX_REFRESHES: usize = 64;
/// How long the primary is not asked again about a secret after it could not be asked.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for the primary's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Secrets that are asked for side by side: the same one never is.
const LANES: usize = 16;

/// What is known of a secret.
#[derive(Clone)]
pub(in crate::server) enum Said {
    /// Its token.
    Token(Arc<Known>),
    /// It is nobody's, or that of a token which counts in the primary alone.
    Nobody,
    /// The primary could not be asked.
    Down(acl::Default),
}

/// A token as the primary has it.
#[derive(PartialEq)]
pub(in crate::server) struct Known {
    /// The token.
    pub token: ACLToken,
    /// What it links to, as long as that is not copied here.
    pub linked: Option<(Vec<ACLRole>, Vec<ACLPolicy>)>,
}

struct Remembered {
    until: Instant,
    said: Said,
    /// It is being asked for again.
    refreshing: bool,
}

/// What the primary said.
pub(in crate::server) struct Remote {
    known: Mutex<HashMap<String, Remembered>>,
    lanes: [smol::lock::Mutex<()>; LANES],
    version: AtomicU64,
    /// Tokens were copied here: the primary is asked no more.
    copied: AtomicBool,
    refresh: (Sender<String>, Receiver<String>),
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            lanes: std::array::from_fn(|_| smol::lock::Mutex::new(())),
            version: AtomicU64::new(0),
            copied: AtomicBool::new(false),
            refresh: smol::channel::bounded(MAX_REFRESHES),
        }
    }
}

impl Remote {
    /// Changes whenever something else is known of any secret.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a secret, and whether that still holds.
    fn get(&self, secret: &str) -> Option<(Said, bool)> {
        let known = self.lock();
        let found = known.get(secret)?;
        Some((found.said.clone(), found.until > drive::now()))
    }

    fn put(&self, secret: &str, said: Said, lasts: Duration) {
        let mut known = self.lock();
        let same = known
            .get(secret)
            .is_some_and(|old| is_same(&old.said, &said));
        if known.len() >= MAX_REMEMBERED && !known.contains_key(secret) {
            // Whoever is needed at this moment was asked for last.
            let first = known.iter().min_by_key(|(_, one)| one.until);
            if let Some(first) = first.map(|(secret, _)| secret.clone()) {
                known.remove(&first);
            }
        }
        let remembered = Remembered {
            until: drive::now() + lasts,
            said,
            refreshing: false,
        };
        known.insert(secret.to_owned(), remembered);
        if !same {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The primary may be there again: those who were decided without it are asked for at once.
    pub fn forget_without_primary(&self) {
        let mut known = self.lock();
        let before = known.len();
        known.retain(|_, one| !matches!(one.said, Said::Down(_)));
        if known.len() < before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn lane(&self, secret: &str) -> &smol::lock::Mutex<()> {
        let sum = secret.bytes().fold(0usize, |sum, b| {
            sum.wrapping_mul(31).wrapping_add(usize::from(b))
        });
        &self.lanes[sum % LANES]
    }
}

fn is_same(a: &Said, b: &Said) -> bool {
    match (a, b) {
        (Said::Token(a), Said::Token(b)) => a == b,
        (Said::Nobody, Said::Nobody) => true,
        (Said::Down(a), Said::Down(b)) => a == b,
        _ => false,
    }
}

impl Server {
    /// Whether the primary datacenter says what secrets may do: tokens are not copied here, or not yet.
    pub(in crate::server) fn asks_primary(&self) -> Result<bool> {
        if !self.is_secondary() {
            return Ok(false);
        }
        if !self.options.acl.token_replication {
            return Ok(true);
        }
        if self.remote.copied.load(Ordering::Acquire) {
            return Ok(false);
        }
        let copied = self.state.read()?.acl_tokens_index()? > 0;
        self.remote.copied.store(copied, Ordering::Release);
        Ok(!copied)
    }

    /// What the primary said of a secret that was made ready.
    pub(in crate::server) fn said_of(&self, secret: &str) -> Said {
        match self.remote.get(named(secret)) {
            Some((said, _)) => said,
            None => Said::Nobody,
        }
    }

    /// Makes a secret ready: asks the primary what it may do, where the primary says that and it is not known.
    pub(in crate::server) async fn prepare(&self, secret: &str) {
        if self.asks_primary().unwrap_or(false) {
            // Boxed, so that the queries that never ask, most of all those that block, have no room for it.
            let asks: BoxFuture<'_, ()> = Box::pin(self.prepare_there(secret));
            asks.await;
        }
    }

    async fn prepare_there(&self, secret: &str) {
        let secret = named(secret);
        let is_async = self.options.acl.down_policy == DownPolicy::AsyncCache;
        match self.remote.get(secret) {
            Some((_, true)) => return,
            Some((Said::Token(_), false)) if is_async => return self.refresh_later(secret),
            _ => {}
        }
        let _one = self.remote.lane(secret).lock().await;
        if !matches!(self.remote.get(secret), Some((_, true))) {
            self.learn(secret).await;
        }
    }

    fn refresh_later(&self, secret: &str) {
        {
            let mut known = self.remote.lock();
            match known.get_mut(secret) {
                Some(found) if !found.refreshing => found.refreshing = true,
                _ => return,
            }
        }
        if self.remote.refresh.0.try_send(secret.to_owned()).is_err()
            && let Some(found) = self.remote.lock().get_mut(secret)
        {
            // There are many: whoever uses it next tries again.
            found.refreshing = false;
        }
    }

    /// Asks again for what was used after its time, until dropped.
    pub(in crate::server) async fn refresh_secrets(self: Arc<Self>) {
        while let Ok(secret) = self.remote.refresh.1.recv().await {
            self.learn(&secret).await;
        }
    }

    /// Asks the primary of a secret, and remembers what comes of it.
    async fn learn(&self, secret: &str) {
        let acl = &self.options.acl;
        let (said, lasts) = match self.ask_primary(secret).await {
            Ok(said) => (said, acl.ttl),
            Err(error) => {
                log::error!(
                    target: "agent.acl",
                    "Error resolving token: error=\"Error communicating with the ACL Datacenter: {error}\""
                );
                let old = self.remote.get(secret).map(|(said, _)| said);
                let said = match (acl.down_policy, old) {
                    (DownPolicy::Allow, _) => Said::Down(acl::Default::Allow),
                    (
                        DownPolicy::ExtendCache | DownPolicy::AsyncCache,
                        Some(old @ Said::Token(_)),
                    ) => old,
                    _ => Said::Down(acl::Default::Deny),
                };
                (said, PAUSE)
            }
        };
        self.remote.put(secret, said, lasts);
    }

    async fn ask_primary(&self, secret: &str) -> Result<Said> {
        let args = ACLTokenGetRequest::of_secret(&self.options.acl.primary_datacenter, secret);
        let (datacenter, options) = (args.datacenter.clone(), args.options.clone());
        let found = match self.ask_there::<method::AclTokenRead>(args).await {
            Err(error) if error.is(ACL_NOT_FOUND) => return Ok(Said::Nobody),
            answer => answer?,
        };
        let Some(token) = found.found.filter(|token| !token.local) else {
            return Ok(Said::Nobody);
        };
        let linked = match self.has_policies()? {
            true => None,
            false => Some(self.ask_for_linked(&token, datacenter, options).await?),
        };
        Ok(Said::Token(Arc::new(Known { token, linked })))
    }

    /// Whether policies and roles were copied here.
    fn has_policies(&self) -> Result<bool> {
        Ok(self.state.read()?.acl_objects_index::<ACLPolicy>()? > 0)
    }

    async fn ask_for_linked(
        &self,
        token: &ACLToken,
        datacenter: String,
        options: QueryOptions,
    ) -> Result<(Vec<ACLRole>, Vec<ACLPolicy>)> {
        let mut roles = Vec::new();
        let ids = super::ids(&token.roles);
        if !ids.is_empty() {
            let args = ACLRoleBatchGetRequest {
                datacenter: datacenter.clone(),
                role_ids: Some(ids),
                options: options.clone(),
            };
            let found = self.ask_there::<method::AclRoleResolve>(args).await?;
            roles = found.roles.unwrap_or_default();
        }
        let mut ids = super::ids(&token.policies);
        ids.extend(roles.iter().flat_map(|role| super::ids(&role.policies)));
        let mut policies = Vec::new();
        if !ids.is_empty() {
            let args = ACLPolicyBatchGetRequest {
                datacenter,
                policy_ids: Some(ids),
                options,
            };
            let found = self.ask_there::<method::AclPolicyResolve>(args).await?;
            policies = found.policies.unwrap_or_default();
        }
        Ok((roles, policies))
    }

    async fn ask_there<M: Method>(&self, args: M::Args) -> Result<M::Reply> {
        let reply = self
            .call_elsewhere_within(M::request(args), ANSWER_TIMEOUT)
            .await?;
        M::reply(reply).ok_or_else(|| Error::new(format!("rpc: unexpected reply to {}", M::NAME)))
    }
}

/// No secret is that of the anonymous token.
fn named(secret: &str) -> &str {
    match secret {
        "" => acl::ANONYMOUS_SECRET,
        secret => secret,
    }
}
