//! What every argument of the RPC table says about where it is to be answered, and on whose behalf.
//!
//! Source: `docs/reference/rpc.md` sections 7 and 8.

use super::*;

/// An argument of an RPC method.
pub trait Routed {
    /// The datacenter whose servers are asked; empty is that of whoever receives it.
    fn datacenter(&self) -> &str {
        ""
    }

    /// Has the servers of another datacenter asked.
    fn set_datacenter(&mut self, _datacenter: String) {}

    /// How to read, for the methods that read.
    fn options(&self) -> Option<&QueryOptions> {
        None
    }

    /// As [`Routed::options`], to change.
    fn options_mut(&mut self) -> Option<&mut QueryOptions> {
        None
    }

    /// The secret of the token it is asked with; empty is the anonymous one.
    fn token(&self) -> &str {
        self.options().map_or("", |options| &options.token)
    }

    /// Asks with another token.
    fn set_token(&mut self, token: String) {
        if let Some(options) = self.options_mut() {
            options.token = token;
        }
    }
}

macro_rules! reading {
    ($($args:ty),* $(,)?) => {
        $(impl Routed for $args {
            fn datacenter(&self) -> &str {
                &self.datacenter
            }
            fn set_datacenter(&mut self, datacenter: String) {
                self.datacenter = datacenter;
            }
            fn options(&self) -> Option<&QueryOptions> {
                Some(&self.options)
            }
            fn options_mut(&mut self) -> Option<&mut QueryOptions> {
                Some(&mut self.options)
            }
        })*
    };
}

macro_rules! writing {
    ($($args:ty),* $(,)?) => {
        $(impl Routed for $args {
            fn datacenter(&self) -> &str {
                &self.datacenter
            }
            fn set_datacenter(&mut self, datacenter: String) {
                self.datacenter = datacenter;
            }
            fn token(&self) -> &str {
                &self.token
            }
            fn set_token(&mut self, token: String) {
                self.token = token;
            }
        })*
    };
}

reading!(
    ACLAuthMethodGetRequest,
    ACLAuthMethodListRequest,
    ACLBindingRuleGetRequest,
    ACLBindingRuleListRequest,
    ACLPolicyBatchGetRequest,
    ACLPolicyGetRequest,
    ACLPolicyListRequest,
    ACLPolicyResolveLegacyRequest,
    ACLRoleBatchGetRequest,
    ACLRoleGetRequest,
    ACLRoleListRequest,
    ACLSpecificRequest,
    ACLTokenBatchGetRequest,
    ACLTokenGetRequest,
    ACLTokenListRequest,
    RemoteACLAuthorizationRequest,
    ChecksInStateRequest,
    DCSpecificRequest,
    EventFireRequest,
    KeyListRequest,
    KeyRequest,
    KeyringRequest,
    NodeSpecificRequest,
    ServiceDumpRequest,
    ServiceSpecificRequest,
    SessionSpecificRequest,
    TxnReadRequest,
);

writing!(
    ACLAuthMethodDeleteRequest,
    ACLAuthMethodSetRequest,
    ACLBindingRuleDeleteRequest,
    ACLBindingRuleSetRequest,
    ACLLoginRequest,
    ACLLogoutRequest,
    ACLPolicyDeleteRequest,
    ACLPolicySetRequest,
    ACLRequest,
    ACLRoleDeleteRequest,
    ACLRoleSetRequest,
    ACLTokenDeleteRequest,
    ACLTokenSetRequest,
    AutopilotSetConfigRequest,
    CoordinateUpdateRequest,
    DeregisterRequest,
    KVSRequest,
    RaftRemovePeerRequest,
    RegisterRequest,
    SessionRequest,
    TransferLeaderRequest,
    TxnRequest,
);

impl Routed for DatacentersRequest {
    fn options(&self) -> Option<&QueryOptions> {
        Some(&self.options)
    }
    fn options_mut(&mut self) -> Option<&mut QueryOptions> {
        Some(&mut self.options)
    }
}

impl Routed for () {}

impl<T: Routed> Routed for Box<T> {
    fn datacenter(&self) -> &str {
        (**self).datacenter()
    }
    fn set_datacenter(&mut self, datacenter: String) {
        (**self).set_datacenter(datacenter);
    }
    fn options(&self) -> Option<&QueryOptions> {
        (**self).options()
    }
    fn options_mut(&mut self) -> Option<&mut QueryOptions> {
        (**self).options_mut()
    }
    fn token(&self) -> &str {
        (**self).token()
    }
    fn set_token(&mut self, token: String) {
        (**self).set_token(token);
    }
}
