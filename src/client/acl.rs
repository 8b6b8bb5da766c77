//! Access control on a client agent: what a secret may do, as servers say, remembered for a while.
//!
//! Holds true: what is remembered is used no longer than the shortest of the three TTLs while servers can be asked;
//! when they cannot, the down policy decides; a token that servers do not know is refused at once and forgotten.
//! Source: `docs/reference/http-1.md` section 12.5, `docs/reference/rpc.md` section 10.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::acl::{self, ANONYMOUS_SECRET, Authorizer, DownPolicy, Resolver};
use crate::drive::{self, Handle};
use crate::sorted;
use crate::structs::go::List;
use crate::structs::rpc::{BoxFuture, Delegate, call, method};
use crate::structs::{
    ACL_NOT_FOUND, ACLLink, ACLPolicy, ACLPolicyBatchGetRequest, ACLRole, ACLRoleBatchGetRequest,
    ACLSpecificRequest, ACLToken, ACLTokenGetRequest, Error, QueryOptions, Result,
};

/// How access control is set up.
#[derive(Clone, Debug)]
pub struct AclOptions {
    /// Anything is guarded at all.
    pub enabled: bool,
    /// This agent's datacenter.
    pub datacenter: String,
    /// What holds where no rule does.
    pub default_policy: acl::Default,
    /// What holds when no server can be asked.
    pub down_policy: DownPolicy,
    /// How long an answer is remembered.
    pub ttl: Duration,
}

/// A server's words for: ask as agents of before 1.4 did.
const LEGACY_MODE: &str = "The ACL system is currently in legacy mode";

/// Secrets remembered at most.
const MAX_REMEMBERED: usize = 1024;

struct Remembered {
    until: Instant,
    authorizer: Arc<Authorizer>,
    /// It is being asked for again.
    refreshing: bool,
}

/// Asks servers what secrets may do.
pub struct RemoteResolver {
    options: AclOptions,
    delegate: Arc<dyn Delegate>,
    handle: Handle,
    known: Mutex<HashMap<String, Remembered>>,
    own: Weak<RemoteResolver>,
}

impl RemoteResolver {
    /// A resolver that remembers nothing yet.
    pub fn new(options: AclOptions, delegate: Arc<dyn Delegate>, handle: Handle) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            options,
            delegate,
            handle,
            known: Mutex::default(),
            own: own.clone(),
        })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a secret, and whether it still holds.
    fn remembered(&self, secret: &str) -> Option<(Arc<Authorizer>, bool)> {
        let known = self.known();
        let found = known.get(secret)?;
        Some((found.authorizer.clone(), found.until > drive::now()))
    }

    async fn find(&self, secret: &str) -> Result<Arc<Authorizer>> {
        if !self.options.enabled {
            return Ok(Arc::new(Authorizer::fixed(acl::Default::Manage)));
        }
        let secret = match secret {
            "" => ANONYMOUS_SECRET,
            secret => secret,
        };
        let old = match self.remembered(secret) {
            Some((authorizer, true)) => return Ok(authorizer),
            Some((authorizer, false)) => Some(authorizer),
            None => None,
        };
        if self.options.down_policy == DownPolicy::AsyncCache
            && let Some(old) = old
        {
            self.refresh_later(secret);
            return Ok(old);
        }
        match self.ask(secret).await {
            Ok(authorizer) => Ok(authorizer),
            Err(error) if error.is(ACL_NOT_FOUND) => Err(Error::new(ACL_NOT_FOUND)),
            Err(error) => {
                log::error!(target: "agent.acl", error:%; "Error resolving token");
                Ok(match (self.options.down_policy, old) {
                    (DownPolicy::Allow, _) => Arc::new(Authorizer::fixed(acl::Default::Allow)),
                    (DownPolicy::ExtendCache, Some(old)) => old,
                    _ => Arc::new(Authorizer::fixed(acl::Default::Deny)),
                })
            }
        }
    }

    fn refresh_later(&self, secret: &str) {
        {
            let mut known = self.known();
            match known.get_mut(secret) {
                Some(found) if !found.refreshing => found.refreshing = true,
                _ => return,
            }
        }
        let Some(own) = self.own.upgrade() else {
            return;
        };
        let secret = secret.to_owned();
        let refresh = async move {
            if let Err(error) = own.ask(&secret).await {
                log::error!(target: "agent.acl", error:%; "Error resolving token");
                if let Some(found) = own.known().get_mut(&secret) {
                    found.refreshing = false;
                }
            }
        };
        self.handle.spawn(refresh).detach();
    }

    /// Asks servers, and remembers what they say.
    async fn ask(&self, secret: &str) -> Result<Arc<Authorizer>> {
        let asked = self.fetch(secret).await;
        let mut known = self.known();
        match &asked {
            Ok(authorizer) => {
                if known.len() >= MAX_REMEMBERED {
                    known.clear();
                }
                let remembered = Remembered {
                    until: drive::now() + self.options.ttl,
                    authorizer: authorizer.clone(),
                    refreshing: false,
                };
                known.insert(secret.to_owned(), remembered);
            }
            Err(error) if error.is(ACL_NOT_FOUND) => drop(known.remove(secret)),
            Err(_) => {}
        }
        asked
    }

    async fn fetch(&self, secret: &str) -> Result<Arc<Authorizer>> {
        let args = ACLTokenGetRequest::of_secret(&self.options.datacenter, secret);
        let (datacenter, options) = (args.datacenter.clone(), args.options.clone());
        let found = match call::<method::AclTokenRead>(&*self.delegate, args).await {
            Err(error) if error.is(LEGACY_MODE) => return self.fetch_legacy(secret).await,
            answer => answer?,
        };
        let Some(token) = found.found else {
            if secret == ANONYMOUS_SECRET {
                return Ok(Arc::new(Authorizer::fixed(self.options.default_policy)));
            }
            return Err(Error::new(ACL_NOT_FOUND));
        };
        // A follower that lags may not know all that the token names; then the leader says.
        let mut linked = self.linked(&token, &options).await?;
        if !linked.whole {
            let leader = QueryOptions {
                allow_stale: false,
                ..options
            };
            linked = self.linked(&token, &leader).await?;
        }
        let default = self.options.default_policy;
        acl::compile(
            &token,
            &linked.roles,
            &linked.policies,
            &datacenter,
            default,
        )
        .map(Arc::new)
    }

    /// What servers say that still count with agents of before 1.4: real ones do for a moment after their first
    /// start. Then no token names policies; its type and rules say all.
    async fn fetch_legacy(&self, secret: &str) -> Result<Arc<Authorizer>> {
        let args = ACLSpecificRequest {
            datacenter: self.options.datacenter.clone(),
            acl: secret.to_owned(),
            options: QueryOptions {
                token: secret.to_owned(),
                ..QueryOptions::default()
            },
        };
        let found = call::<method::AclGet>(&*self.delegate, args).await?;
        let Some(old) = found.acls.into_iter().flatten().next() else {
            if secret == ANONYMOUS_SECRET {
                return Ok(Arc::new(Authorizer::fixed(self.options.default_policy)));
            }
            return Err(Error::new(ACL_NOT_FOUND));
        };
        let token = ACLToken {
            kind: old.kind,
            rules: old.rules,
            ..ACLToken::default()
        };
        let default = self.options.default_policy;
        acl::compile(&token, &[], &[], &self.options.datacenter, default).map(Arc::new)
    }

    /// The roles and policies that a token names.
    async fn linked(&self, token: &ACLToken, options: &QueryOptions) -> Result<Linked> {
        let mut linked = Linked {
            whole: true,
            ..Linked::default()
        };
        let role_ids = ids(&token.roles);
        if !role_ids.is_empty() {
            let wanted = role_ids.len();
            let args = ACLRoleBatchGetRequest {
                datacenter: self.options.datacenter.clone(),
                role_ids: Some(role_ids),
                options: options.clone(),
            };
            let found = call::<method::AclRoleResolve>(&*self.delegate, args).await?;
            linked.roles = found.roles.unwrap_or_default();
            linked.whole &= linked.roles.len() >= wanted;
        }
        let mut policy_ids = ids(&token.policies);
        policy_ids.extend(linked.roles.iter().flat_map(|role| ids(&role.policies)));
        sorted::sort(&mut policy_ids);
        policy_ids.dedup();
        if !policy_ids.is_empty() {
            let wanted = policy_ids.len();
            let args = ACLPolicyBatchGetRequest {
                datacenter: self.options.datacenter.clone(),
                policy_ids: Some(policy_ids),
                options: options.clone(),
            };
            let found = call::<method::AclPolicyResolve>(&*self.delegate, args).await?;
            linked.policies = found.policies.unwrap_or_default();
            linked.whole &= linked.policies.len() >= wanted;
        }
        Ok(linked)
    }
}

/// What servers know of the roles and policies that a token names.
#[derive(Default)]
struct Linked {
    roles: Vec<ACLRole>,
    policies: Vec<ACLPolicy>,
    /// All of them.
    whole: bool,
}

fn ids(links: &List<ACLLink>) -> Vec<String> {
    links.iter().flatten().map(|link| link.id.clone()).collect()
}

impl Resolver for RemoteResolver {
    fn enabled(&self) -> bool {
        self.options.enabled
    }

    fn resolve<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<Arc<Authorizer>>> {
        Box::pin(self.find(secret))
    }
}
