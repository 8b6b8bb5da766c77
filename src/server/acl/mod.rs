//! Access control on a server: what a secret may do, by this server's own state.
//!
//! Holds true: what was found for a secret holds as long as no token, policy or role changes and the token has not
//! ended; a request whose token is unknown is refused, never taken for the anonymous one.
//! Leaves to others: what a token must be allowed for what (the endpoints).
//! Source: `docs/reference/http-1.md` sections 12.4 and 12.5.

mod catalog;
mod filter;
mod hash;
mod init;
pub(super) mod jwt;
mod primary;
mod remote;
mod replication;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Server;
use crate::acl::{self, Ask, Authorizer, DownPolicy, Resolver, Scalar};
use crate::drive;
use crate::store::{Read, WatchSet};
use crate::structs::go::{GoTime, List};
use crate::structs::rpc::BoxFuture;
use crate::structs::{
    ACL_DISABLED, ACL_NOT_FOUND, ACLLink, ACLPolicy, ACLRole, ACLToken, Error, PERMISSION_DENIED,
    Result,
};

pub(super) use filter::{Visible, retain};
pub(super) use hash::{policy_hash, role_hash, token_hash};
pub(super) use init::{is_uuid, management_token};
pub(super) use remote::Remote;
use remote::Said;
pub(super) use replication::Replication;

/// How access control is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Anything is guarded at all.
    pub enabled: bool,
    /// What holds where no rule does.
    pub default_policy: acl::Default,
    /// Listing keys needs `list`.
    pub enable_key_list_policy: bool,
    /// The secret of a token that may do everything, made at the first leadership; empty for none.
    pub master_token: String,
    /// How long a client agent may remember what a token of before 1.4 may do.
    pub policy_ttl: std::time::Duration,
    /// The datacenter that policies, roles and tokens are written in; empty if it is this one.
    pub primary_datacenter: String,
    /// Tokens are copied from the primary datacenter, not only policies and roles.
    pub token_replication: bool,
    /// How long what the primary datacenter says of a secret is remembered.
    pub ttl: std::time::Duration,
    /// What holds when the primary datacenter cannot be asked.
    pub down_policy: DownPolicy,
}

/// Authorizers remembered at most.
const MAX_REMEMBERED: usize = 4096;

struct Remembered {
    /// Of the state, and of what the primary datacenter said.
    version: (u64, u64),
    ends: Option<GoTime>,
    authorizer: Arc<Authorizer>,
}

/// What was found out about secrets.
pub(super) struct Authorizers {
    /// May do everything: without ACLs, everybody.
    open: Arc<Authorizer>,
    known: Mutex<HashMap<String, Remembered>>,
}

impl Default for Authorizers {
    fn default() -> Self {
        Self {
            open: Arc::new(Authorizer::fixed(acl::Default::Manage)),
            known: Mutex::default(),
        }
    }
}

/// The present time, as expirations are counted in.
pub(super) fn wall_now() -> GoTime {
    GoTime::from_system(drive::wall())
}

impl Server {
    /// Refuses everything about ACLs while they are off.
    pub(super) fn acl_enabled(&self) -> Result<()> {
        if self.options.acl.enabled {
            return Ok(());
        }
        Err(Error::new(ACL_DISABLED))
    }

    /// What a secret may do.
    ///
    /// # Errors
    /// `ACL not found`; the disk's.
    pub(super) fn authorizer(&self, secret: &str) -> Result<Arc<Authorizer>> {
        Ok(self.authorizer_until(secret)?.1)
    }

    /// What everybody may do without ACLs: everything.
    pub(super) fn open_authorizer(&self) -> Arc<Authorizer> {
        self.authorizers.open.clone()
    }

    /// What a secret may do, and when its token ends.
    ///
    /// # Errors
    /// As [`Server::authorizer`].
    pub(super) fn authorizer_until(
        &self,
        secret: &str,
    ) -> Result<(Option<GoTime>, Arc<Authorizer>)> {
        if !self.options.acl.enabled {
            return Ok((None, self.open_authorizer()));
        }
        // Asked first: what is read afterwards is at least as new.
        let version = (self.state.acl_version(), self.remote.version());
        {
            let known = self.authorizers.lock();
            if let Some(found) = known.get(secret)
                && found.version == version
                && found.ends.is_none_or(|end| end > wall_now())
            {
                return Ok((found.ends, found.authorizer.clone()));
            }
        }
        let (ends, authorizer) = self.compile(secret)?;
        let authorizer = Arc::new(authorizer);
        let mut known = self.authorizers.lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        let remembered = Remembered {
            version,
            ends,
            authorizer: authorizer.clone(),
        };
        known.insert(secret.to_owned(), remembered);
        Ok((ends, authorizer))
    }

    /// Refuses what a secret may not do.
    ///
    /// # Errors
    /// `Permission denied`, `ACL not found`; the disk's.
    pub(super) fn require(&self, secret: &str, ask: Ask<'_>) -> Result<Arc<Authorizer>> {
        let authorizer = self.authorizer(secret)?;
        acl::require(&authorizer, ask)?;
        Ok(authorizer)
    }

    /// For the endpoints of the ACL system: ACLs are on, and the secret may read them.
    pub(super) fn acl_read(&self, secret: &str) -> Result<Arc<Authorizer>> {
        self.acl_enabled()?;
        self.require(secret, Ask::ReadScalar(Scalar::Acl))
    }

    /// For the endpoints of the ACL system: ACLs are on, and the secret may change them.
    pub(super) fn acl_write(&self, secret: &str) -> Result<Arc<Authorizer>> {
        self.acl_enabled()?;
        self.require(secret, Ask::WriteScalar(Scalar::Acl))
    }

    /// Lets a request read what ACLs are made of.
    ///
    /// # Errors
    /// ACLs are off, it is for another datacenter, its token may not.
    pub(super) fn acl_reader(&self, datacenter: &str, secret: &str) -> Result<Arc<Authorizer>> {
        self.acl_enabled()?;
        self.check_datacenter(datacenter)?;
        self.acl_read(secret)
    }

    /// Lets a request change what ACLs are made of, once the leader is ready.
    ///
    /// # Errors
    /// As [`Server::acl_reader`]; this server does not lead.
    pub(super) async fn acl_writer(&self, datacenter: &str, secret: &str) -> Result<()> {
        self.acl_enabled()?;
        self.check_datacenter(datacenter)?;
        self.wait_for_leader().await?;
        self.acl_write(secret)?;
        Ok(())
    }

    /// The token with a secret, if it is there and has not ended.
    pub(super) fn valid_token(&self, secret: &str) -> Result<Option<ACLToken>> {
        let secret = if secret.is_empty() {
            acl::ANONYMOUS_SECRET
        } else {
            secret
        };
        let token = if self.asks_primary()? {
            match self.said_of(secret) {
                Said::Token(known) => Some(known.token.clone()),
                Said::Nobody | Said::Down(_) => None,
            }
        } else {
            let state = self.state.read()?;
            state.acl_token_by_secret(&mut WatchSet::new(), secret)?.1
        };
        Ok(token.filter(|token| !token.is_expired(wall_now())))
    }

    fn compile(&self, secret: &str) -> Result<(Option<GoTime>, Authorizer)> {
        let default = self.options.acl.default_policy;
        let said = match self.asks_primary()? {
            true => self.said_of(secret),
            false => Said::Nobody,
        };
        if let Said::Down(decision) = said {
            return Ok((None, Authorizer::fixed(decision)));
        }
        let Some(token) = self.valid_token(secret)? else {
            if secret.is_empty() || secret == acl::ANONYMOUS_SECRET {
                return Ok((None, Authorizer::fixed(default)));
            }
            return Err(Error::new(ACL_NOT_FOUND));
        };
        let here = &self.options.datacenter;
        let linked = match &said {
            Said::Token(known) => known.linked.as_ref(),
            _ => None,
        };
        if let Some((roles, policies)) = linked {
            let authorizer = acl::compile(&token, roles, policies, here, default)?;
            return Ok((token.expiration_time, authorizer));
        }
        let state = self.state.read()?;
        let roles = self.roles_of(&state, &token)?;
        let links = token.policies.iter().flatten();
        let links = links.chain(roles.iter().flat_map(|r| r.policies.iter().flatten()));
        let mut policies = Vec::new();
        for link in links {
            let (_, found) = state.acl_object::<ACLPolicy>(&mut WatchSet::new(), &link.id)?;
            policies.extend(found);
        }
        let authorizer = acl::compile(&token, &roles, &policies, here, default)?;
        Ok((token.expiration_time, authorizer))
    }

    /// The roles of a token that are there.
    pub(super) fn roles_of(&self, state: &Read, token: &ACLToken) -> Result<Vec<ACLRole>> {
        let mut roles = Vec::new();
        for link in token.roles.iter().flatten() {
            let (_, found) = state.acl_object::<ACLRole>(&mut WatchSet::new(), &link.id)?;
            roles.extend(found);
        }
        Ok(roles)
    }
}

impl Authorizers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Remembered>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver for Server {
    fn enabled(&self) -> bool {
        self.options.acl.enabled
    }

    fn resolve<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<Arc<Authorizer>>> {
        Box::pin(async move {
            self.prepare(secret).await;
            self.authorizer(secret)
        })
    }
}

/// The IDs of links.
fn ids(links: &List<ACLLink>) -> Vec<String> {
    links.iter().flatten().map(|link| link.id.clone()).collect()
}

/// The refusal that everybody knows.
fn denied<T>() -> Result<T> {
    Err(Error::new(PERMISSION_DENIED))
}
