//! Who may do what, by the secret that comes with a request.

use std::sync::Arc;

use super::authorizer::{Ask, Authorizer};
use crate::structs::rpc::BoxFuture;
use crate::structs::{Error, PERMISSION_DENIED, Result};

/// What holds of a secret when nobody can be asked of it: no server, or not the primary datacenter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DownPolicy {
    /// Everything is allowed.
    Allow,
    /// Everything is refused.
    Deny,
    /// What is remembered still holds; what is not is refused.
    #[default]
    ExtendCache,
    /// As before, and what is remembered is used at once while it is asked for again.
    AsyncCache,
}

/// Finds what a secret may do: a server in its own state, a client agent by asking servers.
pub trait Resolver: Send + Sync {
    /// Whether anything is guarded at all.
    fn enabled(&self) -> bool;

    /// What the token with this secret may do; empty is the anonymous one. Without ACLs, everything.
    ///
    /// # Errors
    /// `ACL not found`, or why nobody could be asked.
    fn resolve<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<Arc<Authorizer>>>;
}

/// Refuses what an authorizer does not allow.
///
/// # Errors
/// `Permission denied`.
pub fn require(authorizer: &Authorizer, ask: Ask<'_>) -> Result<()> {
    if authorizer.allows(ask) {
        return Ok(());
    }
    Err(Error::new(PERMISSION_DENIED))
}
