//! What a secondary datacenter leaves to the primary: where a call about the ACL system is answered.
//!
//! Holds true: policies, roles, tokens that count in all datacenters and tokens of before 1.4 are written in the primary
//! datacenter alone; tokens of this datacenter alone, and what logs in, need the tokens of all to be copied here.
//! Leaves to others: the copying (`replication`), what a secret may do (`remote`).
//! Source: what a running Consul 1.8.7 does in a secondary datacenter.

use crate::server::Server;
use crate::store::WatchSet;
use crate::structs::go::check_uuid;
use crate::structs::rpc::Request;
use crate::structs::{ACL_DISABLED, ACLToken, Error, Result};

/// What auth methods and all that hangs on them are refused with where tokens are not copied.
const NEEDS_TOKENS: &str = "Token replication is required for auth methods to function";

impl Server {
    /// Whether another datacenter is the one that ACLs are written in.
    pub(in crate::server) fn is_secondary(&self) -> bool {
        let acl = &self.options.acl;
        acl.enabled && self.is_elsewhere(&acl.primary_datacenter)
    }

    /// Whether there may be tokens of this datacenter alone.
    pub(in crate::server) fn has_local_tokens(&self) -> bool {
        !self.is_secondary() || self.options.acl.token_replication
    }

    /// Names the primary datacenter in a call that is answered there whoever is asked.
    ///
    /// # Errors
    /// What is not done in a secondary datacenter, in Consul's words.
    pub(in crate::server) fn toward_primary(&self, mut request: Request) -> Result<Request> {
        if !self.is_secondary() {
            return Ok(request);
        }
        let tokens = self.has_local_tokens();
        if needs_tokens(&request) && !tokens {
            return Err(Error::new(NEEDS_TOKENS));
        }
        if self.is_elsewhere(request.routed().datacenter()) {
            return Ok(request);
        }
        let there = match &mut request {
            Request::AclBootstrapTokens(_) => return Err(Error::new(ACL_DISABLED)),
            Request::AclPolicySet(_)
            | Request::AclPolicyDelete(_)
            | Request::AclRoleSet(_)
            | Request::AclRoleDelete(_)
            | Request::AclApply(_) => true,
            Request::AclTokenSet(args) if args.acl_token.local => match tokens {
                true => false,
                false => return Err(Error::new("Local tokens are disabled")),
            },
            Request::AclTokenSet(_) => true,
            Request::AclTokenClone(args) => {
                !tokens || self.is_global(&args.acl_token.accessor_id, false)?
            }
            Request::AclTokenDelete(args) => !tokens || self.is_global(&args.token_id, true)?,
            Request::AclTokenRead(_) | Request::AclTokenBatchRead(_) => !tokens,
            Request::AclTokenList(args) => {
                if !tokens {
                    (args.include_local, args.include_global) = (false, true);
                }
                !tokens
            }
            _ => false,
        };
        if there {
            let primary = self.options.acl.primary_datacenter.clone();
            request.routed_mut().set_datacenter(primary);
        }
        Ok(request)
    }

    /// Whether a token counts in all datacenters; `unknown` if it is not known, or no token can be called so.
    fn is_global(&self, accessor: &str, unknown: bool) -> Result<bool> {
        if check_uuid(accessor).is_err() {
            // Here it is refused.
            return Ok(false);
        }
        let state = self.state.read()?;
        let (_, found) = state.acl_token_by_accessor(&mut WatchSet::new(), accessor)?;
        Ok(found.map_or(unknown, |token: ACLToken| !token.local))
    }
}

fn needs_tokens(request: &Request) -> bool {
    matches!(
        request,
        Request::AclAuthMethodDelete(_)
            | Request::AclAuthMethodList(_)
            | Request::AclAuthMethodRead(_)
            | Request::AclAuthMethodSet(_)
            | Request::AclBindingRuleDelete(_)
            | Request::AclBindingRuleList(_)
            | Request::AclBindingRuleRead(_)
            | Request::AclBindingRuleSet(_)
            | Request::AclLogin(_)
            | Request::AclLogout(_)
    )
}
