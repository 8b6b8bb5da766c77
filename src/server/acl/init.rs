//! What a leader does for the ACL system: the objects that must be there, tokens of before 1.4 and those that ended.
//!
//! Source: `docs/reference/http-1.md` sections 11.1 to 11.3; what a running Consul 1.8.7 does.

use std::time::Duration;

use super::{policy_hash, token_hash, wall_now};
use crate::acl;
use crate::drive;
use crate::server::Server;
use crate::store::WatchSet;
use crate::structs::go::{check_uuid, new_uuid};
use crate::structs::{
    ACLLink, ACLPolicy, ACLPolicyBatchSetRequest, ACLToken, ACLTokenBatchDeleteRequest,
    ACLTokenBatchSetRequest, ACLTokenBootstrapRequest, Error, Result, command,
};

/// Seconds until tokens that could not be tended are looked at again.
const TEND_RETRY: i64 = 5;
/// The longest time in seconds without a look at the clock, which somebody may set.
const TEND_LONGEST: i64 = 600;

/// A token that may do everything.
pub(in crate::server) fn management_token(secret: String, description: &str) -> ACLToken {
    let mut token = ACLToken {
        accessor_id: new_uuid(),
        secret_id: secret,
        description: description.to_owned(),
        policies: Some(vec![ACLLink {
            id: acl::GLOBAL_MANAGEMENT_ID.to_owned(),
            name: String::new(),
        }]),
        kind: "management".to_owned(),
        create_time: wall_now(),
        ..ACLToken::default()
    };
    token.hash = token_hash(&token);
    token
}

impl Server {
    /// Makes what every cluster with ACLs has.
    pub(in crate::server) async fn initialize_acls(&self) -> Result<()> {
        if !self.options.acl.enabled {
            return Ok(());
        }
        log::info!(target: "agent.server", "initializing acls");
        if self.is_secondary() {
            // All there is comes from the primary datacenter.
            return Ok(());
        }
        self.ensure_management_policy().await?;
        self.ensure_master_token().await?;
        self.ensure_anonymous_token().await
    }

    async fn ensure_management_policy(&self) -> Result<()> {
        let known = self
            .state
            .read()?
            .acl_object::<ACLPolicy>(&mut WatchSet::new(), acl::GLOBAL_MANAGEMENT_ID)?
            .1;
        if known.is_some_and(|policy| policy.rules == acl::GLOBAL_MANAGEMENT_RULES) {
            return Ok(());
        }
        let mut policy = ACLPolicy {
            id: acl::GLOBAL_MANAGEMENT_ID.to_owned(),
            name: acl::GLOBAL_MANAGEMENT.to_owned(),
            description: acl::GLOBAL_MANAGEMENT_DESCRIPTION.to_owned(),
            rules: acl::GLOBAL_MANAGEMENT_RULES.to_owned(),
            ..ACLPolicy::default()
        };
        policy.hash = policy_hash(&policy);
        let request = ACLPolicyBatchSetRequest {
            policies: Some(vec![policy]),
        };
        self.propose(command::ACL_POLICY_SET, &request).await?;
        log::info!(target: "agent.server", "Created ACL 'global-management' policy");
        Ok(())
    }

    async fn ensure_master_token(&self) -> Result<()> {
        let secret = &self.options.acl.master_token;
        if secret.is_empty() {
            return Ok(());
        }
        let (known, bootstrapped) = {
            let state = self.state.read()?;
            let (_, known) = state.acl_token_by_secret(&mut WatchSet::new(), secret)?;
            (known.is_some(), state.acl_bootstrap_index()? > 0)
        };
        if known {
            return Ok(());
        }
        if !is_uuid(secret) {
            log::warn!(target: "agent.server", "Configuring a non-UUID master token is deprecated");
        }
        let token = management_token(secret.clone(), "Master Token");
        if bootstrapped {
            let request = ACLTokenBatchSetRequest {
                tokens: Some(vec![token]),
                ..ACLTokenBatchSetRequest::default()
            };
            self.propose(command::ACL_TOKEN_SET, &request).await?;
            log::info!(target: "agent.server", "Created ACL master token from configuration");
            return Ok(());
        }
        let request = ACLTokenBootstrapRequest {
            token,
            reset_index: 0,
        };
        self.propose(command::ACL_BOOTSTRAP, &request).await?;
        log::info!(target: "agent.server", "Bootstrapped ACL master token from configuration");
        Ok(())
    }

    async fn ensure_anonymous_token(&self) -> Result<()> {
        let known = self
            .state
            .read()?
            .acl_token_by_secret(&mut WatchSet::new(), acl::ANONYMOUS_SECRET)?
            .1;
        if known.is_some() {
            return Ok(());
        }
        let mut token = ACLToken {
            accessor_id: acl::ANONYMOUS_ACCESSOR.to_owned(),
            secret_id: acl::ANONYMOUS_SECRET.to_owned(),
            description: "Anonymous Token".to_owned(),
            create_time: wall_now(),
            ..ACLToken::default()
        };
        token.hash = token_hash(&token);
        let request = ACLTokenBatchSetRequest {
            tokens: Some(vec![token]),
            ..ACLTokenBatchSetRequest::default()
        };
        self.propose(command::ACL_TOKEN_SET, &request).await?;
        log::info!(target: "agent.server", "Created ACL anonymous token from configuration");
        Ok(())
    }

    /// Tends tokens whenever one ends or any is changed, until dropped. It sleeps as long as nothing does.
    pub(in crate::server) async fn run_token_care(&self) {
        if !self.options.acl.enabled || !self.has_local_tokens() {
            return std::future::pending().await;
        }
        loop {
            self.tend_tokens().await;
            let mut watch = WatchSet::new();
            let next = self.state.read().map_err(Error::from);
            let next = next
                .and_then(|state| Ok(state.acl_next_expiration(&mut watch, self.is_secondary())?));
            let due = match next {
                // One more second, since parts of seconds do not count here.
                Ok(Some(at)) => Some((at + 1).saturating_sub(wall_now().unix())),
                Ok(None) => None,
                Err(_) => Some(TEND_RETRY),
            };
            let ended = async {
                match due {
                    Some(seconds) => {
                        let seconds = seconds.clamp(TEND_RETRY, TEND_LONGEST);
                        drive::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
                    }
                    None => std::future::pending().await,
                }
            };
            smol::future::or(ended, async {
                watch.changed(&self.state).await;
            })
            .await;
        }
    }

    /// Deletes tokens that ended and gives tokens of before 1.4 what they lack; a failure is tried again. In a
    /// secondary datacenter what counts in all is the primary's affair.
    async fn tend_tokens(&self) {
        if let Err(error) = self.reap_tokens().await {
            log::error!(target: "agent.leader", error:%; "error reaping expired ACL tokens");
        }
        if self.is_secondary() {
            return;
        }
        if let Err(error) = self.upgrade_tokens().await {
            log::error!(target: "agent.leader", error:%; "failed to upgrade legacy ACL tokens");
        }
    }

    async fn reap_tokens(&self) -> Result<()> {
        loop {
            let due = self
                .state
                .read()?
                .acl_tokens_expired(wall_now(), self.is_secondary())?;
            if due.is_empty() {
                return Ok(());
            }
            log::info!(target: "agent.leader", amount = due.len(); "deleting expired ACL tokens");
            let request = ACLTokenBatchDeleteRequest {
                token_ids: Some(due.into_iter().map(|t| t.accessor_id).collect()),
            };
            self.propose(command::ACL_TOKEN_DELETE, &request).await?;
        }
    }

    pub(in crate::server) async fn upgrade_tokens(&self) -> Result<()> {
        loop {
            let mut old = self.state.read()?.acl_tokens_without_accessor()?;
            if old.is_empty() {
                return Ok(());
            }
            for token in &mut old {
                token.accessor_id = new_uuid();
                if token.kind == "management" && token.policies.is_none() {
                    token.policies = Some(vec![ACLLink {
                        id: acl::GLOBAL_MANAGEMENT_ID.to_owned(),
                        name: String::new(),
                    }]);
                }
                token.hash = token_hash(token);
            }
            let request = ACLTokenBatchSetRequest {
                tokens: Some(old),
                cas: true,
                ..ACLTokenBatchSetRequest::default()
            };
            self.propose(command::ACL_TOKEN_SET, &request).await?;
        }
    }
}

/// Whether a text looks like a UUID.
pub(in crate::server) fn is_uuid(text: &str) -> bool {
    check_uuid(text).is_ok()
}
