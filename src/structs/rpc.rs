//! The table of RPC methods, and the [`Delegate`] through which the rest of the agent calls them.
//!
//! One line per method gives its name on the wire, who may answer it, its argument and its result. From
//! the table come the [`Request`] and [`Reply`] enums, which a server meets in process without encoding
//! anything and `wire` encodes for port 8300, and one marker type per method for typed calls:
//! `call::<method::KvsGet>(delegate, request)`.
//! Source: `docs/reference/rpc.md` section 11.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::pin::Pin;

use super::*;

/// A boxed future, as object-safe async methods return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which servers may answer a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The leader, or any server if the caller takes stale answers.
    Read,
    /// The leader.
    Write,
    /// The server that is asked.
    Local,
}

/// A method of the RPC table.
pub trait Method {
    /// Name on the wire, such as `KVS.Apply`.
    const NAME: &'static str;
    /// The argument.
    type Args;
    /// The result.
    type Reply;
    /// Wraps the argument.
    fn request(args: Self::Args) -> Request;
    /// Unwraps the result; `None` when the answer belongs to another method.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:literal $class:ident $variant:ident($args:ty) -> $reply:ty;)*) => {
        /// A call of any method.
        #[derive(Clone, Debug)]
        pub enum Request {
            $($(#[$doc])* $variant($args),)*
        }

        /// The result of any method.
        #[derive(Clone, Debug)]
        pub enum Reply {
            $($(#[$doc])* $variant($reply),)*
        }

        impl Request {
            /// The method's name on the wire.
            pub fn name(&self) -> &'static str {
                match self { $(Request::$variant(_) => $name,)* }
            }

            /// Which servers may answer it.
            pub fn class(&self) -> Class {
                match self { $(Request::$variant(_) => Class::$class,)* }
            }

            /// What the argument says about where it is to be answered.
            pub fn routed(&self) -> &dyn Routed {
                match self { $(Request::$variant(args) => args,)* }
            }

            /// As [`Request::routed`], to change.
            pub fn routed_mut(&mut self) -> &mut dyn Routed {
                match self { $(Request::$variant(args) => args,)* }
            }

            /// How it is to be read, to change, for the methods that read.
            pub fn options_mut(&mut self) -> Option<&mut QueryOptions> {
                match self { $(Request::$variant(args) => args.options_mut(),)* }
            }
        }

        /// One marker type per method.
        pub mod method {
            use super::*;
            $(
                $(#[$doc])*
                pub struct $variant;
                impl Method for $variant {
                    const NAME: &'static str = $name;
                    type Args = $args;
                    type Reply = $reply;
                    fn request(args: $args) -> Request { Request::$variant(args) }
                    fn reply(reply: Reply) -> Option<$reply> {
                        match reply { Reply::$variant(r) => Some(r), _ => None }
                    }
                }
            )*
        }
    };
}

/// Hands the table to a macro: one line per method with its name on the wire, its class, its variant in
/// [`Request`] and [`Reply`], its argument and its result.
macro_rules! rpc_methods {
    ($with:ident) => {
        $with! {
            /// Creates, changes or deletes a token of before 1.4.
            "ACL.Apply" Write AclApply(ACLRequest) -> String;
            /// Deletes an auth method with all that hangs on it.
            "ACL.AuthMethodDelete" Write AclAuthMethodDelete(ACLAuthMethodDeleteRequest) -> bool;
            /// All auth methods.
            "ACL.AuthMethodList" Read AclAuthMethodList(ACLAuthMethodListRequest) -> ACLAuthMethodListResponse;
            /// Reads an auth method.
            "ACL.AuthMethodRead" Read AclAuthMethodRead(ACLAuthMethodGetRequest) -> ACLAuthMethodResponse;
            /// Creates or changes an auth method.
            "ACL.AuthMethodSet" Write AclAuthMethodSet(Box<ACLAuthMethodSetRequest>) -> ACLAuthMethod;
            /// What a token may do.
            "ACL.Authorize" Read AclAuthorize(RemoteACLAuthorizationRequest) -> Vec<ACLAuthorizationResponse>;
            /// Deletes a binding rule.
            "ACL.BindingRuleDelete" Write AclBindingRuleDelete(ACLBindingRuleDeleteRequest) -> bool;
            /// All binding rules.
            "ACL.BindingRuleList" Read AclBindingRuleList(ACLBindingRuleListRequest) -> ACLBindingRuleListResponse;
            /// Reads a binding rule.
            "ACL.BindingRuleRead" Read AclBindingRuleRead(ACLBindingRuleGetRequest) -> ACLBindingRuleResponse;
            /// Creates or changes a binding rule.
            "ACL.BindingRuleSet" Write AclBindingRuleSet(Box<ACLBindingRuleSetRequest>) -> ACLBindingRule;
            /// Makes the first token.
            "ACL.BootstrapTokens" Write AclBootstrapTokens(DCSpecificRequest) -> ACLToken;
            /// Reads a token of before 1.4.
            "ACL.Get" Read AclGet(ACLSpecificRequest) -> IndexedACLs;
            /// What a token of before 1.4 may do.
            "ACL.GetPolicy" Read AclGetPolicy(ACLPolicyResolveLegacyRequest) -> ACLPolicyResolveLegacyResponse;
            /// All tokens of before 1.4.
            "ACL.List" Read AclList(DCSpecificRequest) -> IndexedACLs;
            /// Makes a token for whom an auth method vouches.
            "ACL.Login" Write AclLogin(ACLLoginRequest) -> ACLToken;
            /// Deletes a token that a login made.
            "ACL.Logout" Write AclLogout(ACLLogoutRequest) -> bool;
            /// Reads policies.
            "ACL.PolicyBatchRead" Read AclPolicyBatchRead(ACLPolicyBatchGetRequest) -> ACLPolicyBatchResponse;
            /// Deletes a policy; its name.
            "ACL.PolicyDelete" Write AclPolicyDelete(ACLPolicyDeleteRequest) -> String;
            /// All policies.
            "ACL.PolicyList" Read AclPolicyList(ACLPolicyListRequest) -> ACLPolicyListResponse;
            /// Reads a policy.
            "ACL.PolicyRead" Read AclPolicyRead(ACLPolicyGetRequest) -> ACLPolicyResponse;
            /// Reads those policies that the token has.
            "ACL.PolicyResolve" Read AclPolicyResolve(ACLPolicyBatchGetRequest) -> ACLPolicyBatchResponse;
            /// Creates or changes a policy.
            "ACL.PolicySet" Write AclPolicySet(Box<ACLPolicySetRequest>) -> ACLPolicy;
            /// How the copying from the primary datacenter fares.
            "ACL.ReplicationStatus" Read AclReplicationStatus(DCSpecificRequest) -> ACLReplicationStatus;
            /// Reads roles.
            "ACL.RoleBatchRead" Read AclRoleBatchRead(ACLRoleBatchGetRequest) -> ACLRoleBatchResponse;
            /// Deletes a role; its name.
            "ACL.RoleDelete" Write AclRoleDelete(ACLRoleDeleteRequest) -> String;
            /// All roles.
            "ACL.RoleList" Read AclRoleList(ACLRoleListRequest) -> ACLRoleListResponse;
            /// Reads a role.
            "ACL.RoleRead" Read AclRoleRead(ACLRoleGetRequest) -> ACLRoleResponse;
            /// Reads those roles that the token has.
            "ACL.RoleResolve" Read AclRoleResolve(ACLRoleBatchGetRequest) -> ACLRoleBatchResponse;
            /// Creates or changes a role.
            "ACL.RoleSet" Write AclRoleSet(Box<ACLRoleSetRequest>) -> ACLRole;
            /// Reads tokens.
            "ACL.TokenBatchRead" Read AclTokenBatchRead(ACLTokenBatchGetRequest) -> ACLTokenBatchResponse;
            /// Copies a token.
            "ACL.TokenClone" Write AclTokenClone(Box<ACLTokenSetRequest>) -> ACLToken;
            /// Deletes a token; its accessor.
            "ACL.TokenDelete" Write AclTokenDelete(ACLTokenDeleteRequest) -> String;
            /// All tokens.
            "ACL.TokenList" Read AclTokenList(ACLTokenListRequest) -> ACLTokenListResponse;
            /// Reads a token by its accessor or its secret.
            "ACL.TokenRead" Read AclTokenRead(ACLTokenGetRequest) -> ACLTokenResponse;
            /// Creates or changes a token.
            "ACL.TokenSet" Write AclTokenSet(Box<ACLTokenSetRequest>) -> ACLToken;
            /// Removes from the catalog.
            "Catalog.Deregister" Write CatalogDeregister(DeregisterRequest) -> ();
            /// Known datacenters, own first.
            "Catalog.ListDatacenters" Local CatalogListDatacenters(DatacentersRequest) -> Vec<String>;
            /// All nodes.
            "Catalog.ListNodes" Read CatalogListNodes(DCSpecificRequest) -> IndexedNodes;
            /// All service names with their tags.
            "Catalog.ListServices" Read CatalogListServices(DCSpecificRequest) -> IndexedServices;
            /// The services of a node as a list.
            "Catalog.NodeServiceList" Read CatalogNodeServiceList(NodeSpecificRequest) -> IndexedNodeServiceList;
            /// The services of a node by ID.
            "Catalog.NodeServices" Read CatalogNodeServices(NodeSpecificRequest) -> IndexedNodeServices;
            /// Writes to the catalog.
            "Catalog.Register" Write CatalogRegister(Box<RegisterRequest>) -> ();
            /// All service names.
            "Catalog.ServiceList" Read CatalogServiceList(DCSpecificRequest) -> IndexedServiceList;
            /// The instances of a service.
            "Catalog.ServiceNodes" Read CatalogServiceNodes(ServiceSpecificRequest) -> IndexedServiceNodes;
            /// Coordinates per datacenter.
            "Coordinate.ListDatacenters" Local CoordinateListDatacenters(DatacentersRequest) -> Vec<DatacenterMap>;
            /// Coordinates of all nodes.
            "Coordinate.ListNodes" Read CoordinateListNodes(DCSpecificRequest) -> IndexedCoordinates;
            /// Coordinates of one node.
            "Coordinate.Node" Read CoordinateNode(NodeSpecificRequest) -> IndexedCoordinates;
            /// Reports a coordinate; batched by the leader.
            "Coordinate.Update" Write CoordinateUpdate(CoordinateUpdateRequest) -> ();
            /// Checks in one state.
            "Health.ChecksInState" Read HealthChecksInState(ChecksInStateRequest) -> IndexedHealthChecks;
            /// Checks on one node.
            "Health.NodeChecks" Read HealthNodeChecks(NodeSpecificRequest) -> IndexedHealthChecks;
            /// Checks of one service.
            "Health.ServiceChecks" Read HealthServiceChecks(ServiceSpecificRequest) -> IndexedHealthChecks;
            /// Instances of a service with their checks.
            "Health.ServiceNodes" Read HealthServiceNodes(ServiceSpecificRequest) -> IndexedCheckServiceNodes;
            /// Broadcasts a user event.
            "Internal.EventFire" Local InternalEventFire(EventFireRequest) -> EventFireResponse;
            /// Looks at or changes the gossip keys of all pools.
            "Internal.KeyringOperation" Local InternalKeyringOperation(KeyringRequest) -> KeyringResponses;
            /// Every node with everything on it.
            "Internal.NodeDump" Read InternalNodeDump(DCSpecificRequest) -> IndexedNodeDump;
            /// One node with everything on it.
            "Internal.NodeInfo" Read InternalNodeInfo(NodeSpecificRequest) -> IndexedNodeDump;
            /// Every service instance with its checks.
            "Internal.ServiceDump" Read InternalServiceDump(ServiceDumpRequest) -> IndexedCheckServiceNodes;
            /// Writes a key. The reply tells success for cas, delete-cas, lock and unlock only.
            "KVS.Apply" Write KvsApply(KVSRequest) -> bool;
            /// Reads a key.
            "KVS.Get" Read KvsGet(KeyRequest) -> IndexedDirEntries;
            /// Reads everything under a prefix.
            "KVS.List" Read KvsList(KeyRequest) -> IndexedDirEntries;
            /// Lists keys under a prefix.
            "KVS.ListKeys" Read KvsListKeys(KeyListRequest) -> IndexedKeyList;
            /// Autopilot's settings.
            "Operator.AutopilotGetConfiguration" Read AutopilotGetConfiguration(DCSpecificRequest) -> AutopilotConfig;
            /// Changes autopilot's settings; false when a compare-and-set lost.
            "Operator.AutopilotSetConfiguration" Write AutopilotSetConfiguration(AutopilotSetConfigRequest) -> bool;
            /// The Raft configuration.
            "Operator.RaftGetConfiguration" Read RaftGetConfiguration(DCSpecificRequest) -> RaftConfigurationResponse;
            /// Removes a Raft peer by address.
            "Operator.RaftRemovePeerByAddress" Write RaftRemovePeerByAddress(RaftRemovePeerRequest) -> ();
            /// Removes a Raft peer by ID.
            "Operator.RaftRemovePeerByID" Write RaftRemovePeerById(RaftRemovePeerRequest) -> ();
            /// Hands leadership over; of later Consul versions.
            "Operator.TransferLeader" Write RaftTransferLeader(TransferLeaderRequest) -> TransferLeaderResponse;
            /// Health of the servers.
            "Operator.ServerHealth" Read OperatorServerHealth(DCSpecificRequest) -> OperatorHealthReply;
            /// Creates (reply: the ID) or destroys (reply: empty) a session.
            "Session.Apply" Write SessionApply(SessionRequest) -> String;
            /// Reads a session.
            "Session.Get" Read SessionGet(SessionSpecificRequest) -> IndexedSessions;
            /// All sessions.
            "Session.List" Read SessionList(SessionSpecificRequest) -> IndexedSessions;
            /// The sessions of a node.
            "Session.NodeSessions" Read SessionNodeSessions(NodeSpecificRequest) -> IndexedSessions;
            /// Restarts a session's TTL.
            "Session.Renew" Write SessionRenew(SessionSpecificRequest) -> IndexedSessions;
            /// Address of the Raft leader, or empty.
            "Status.Leader" Local StatusLeader(DCSpecificRequest) -> String;
            /// Addresses of the Raft peers.
            "Status.Peers" Local StatusPeers(DCSpecificRequest) -> Vec<String>;
            /// Tells that the server is there.
            "Status.Ping" Local StatusPing(()) -> ();
            /// Raft figures of the server asked.
            "Status.RaftStats" Local StatusRaftStats(()) -> ServerStats;
            /// A writing transaction.
            "Txn.Apply" Write TxnApply(TxnRequest) -> TxnResponse;
            /// A reading transaction.
            "Txn.Read" Read TxnRead(TxnReadRequest) -> TxnReadResponse;
        }
    };
}
pub(crate) use rpc_methods;

rpc_methods!(methods);

/// Group name to key to value, as `consul info` prints it.
pub type Stats = BTreeMap<String, BTreeMap<String, String>>;

/// The answer to a listing, of which a large rest is read as it is sent.
pub struct Listing<T> {
    /// As of any read.
    pub meta: QueryMeta,
    /// The first page, or all of it.
    pub first: Vec<T>,
    /// Further pages until the end; a page may be empty.
    pub rest: Option<Box<dyn Iterator<Item = Result<Vec<T>>> + Send>>,
    /// How many there are on all pages, where that was asked for.
    pub total: Option<usize>,
}

impl<T> Listing<T> {
    /// One that has no further pages.
    pub fn whole(meta: QueryMeta, first: Vec<T>) -> Listing<T> {
        Listing {
            meta,
            total: Some(first.len()),
            first,
            rest: None,
        }
    }
}

/// What an agent asks of the servers and of its gossip pool, whatever its role.
///
/// A server answers in process; a client agent forwards.
pub trait Delegate: Send + Sync {
    /// Calls a method of the table.
    ///
    /// # Errors
    /// Consul's text; see the constants beside [`Error`].
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply>>;

    /// `KVS.List`, in pages where that is more than should be in memory at once.
    ///
    /// # Errors
    /// As [`Delegate::call`].
    fn kvs_list(&self, request: KeyRequest) -> BoxFuture<'_, Result<Listing<DirEntry>>> {
        let answer = self.call(Request::KvsList(request));
        Box::pin(async move {
            let found = reply_of::<method::KvsList>(answer.await?)?;
            let first = found.entries.unwrap_or_default();
            Ok(Listing::whole(found.meta, first))
        })
    }

    /// `KVS.ListKeys`, in pages where that is more than should be in memory at once.
    ///
    /// # Errors
    /// As [`Delegate::call`].
    fn kvs_list_keys(&self, request: KeyListRequest) -> BoxFuture<'_, Result<Listing<String>>> {
        let answer = self.call(Request::KvsListKeys(request));
        Box::pin(async move {
            let found = reply_of::<method::KvsListKeys>(answer.await?)?;
            let first = found.keys.unwrap_or_default();
            Ok(Listing::whole(found.meta, first))
        })
    }

    /// A number that moves before a change of nodes, services or checks is acknowledged, so that what was
    /// read after asking for it holds while it stays. `None` where that is not known without a call.
    fn catalog_version(&self) -> Option<u64> {
        None
    }

    /// Counts a read of a service's instances that was answered from what was kept for the catalog's version,
    /// as [`Delegate::call`] would have counted it.
    fn count_kept(&self, _request: &ServiceSpecificRequest, _found: usize) {}

    /// Saves a snapshot: the archive as an open file positioned at its start.
    ///
    /// # Errors
    /// Consul's text.
    fn snapshot_save(
        &self,
        request: SnapshotRequest,
    ) -> BoxFuture<'_, Result<(SnapshotResponse, File)>>;

    /// Restores the archive in `file` (positioned at its start), replacing the whole state.
    ///
    /// # Errors
    /// Consul's text for each defect of an archive; the state is then unchanged.
    fn snapshot_restore(
        &self,
        request: SnapshotRequest,
        file: File,
    ) -> BoxFuture<'_, Result<SnapshotResponse>>;

    /// The members of the LAN pool, or of the WAN pool (`None` on a client agent).
    fn members(&self, wan: bool) -> Option<Vec<Member>>;

    /// The coordinate of this agent, `None` when coordinates are off.
    fn coordinate(&self) -> Option<Position>;

    /// Joins the pool through the given addresses; the number of members reached.
    ///
    /// # Errors
    /// Consul's error list, one line per address that failed.
    fn join(&self, addresses: Vec<String>, wan: bool) -> BoxFuture<'_, Result<usize>>;

    /// Moves a failed member to `left`; `prune` also forgets it.
    ///
    /// # Errors
    /// Consul's text, for example when no such node is known.
    fn force_leave(&self, node: String, prune: bool) -> BoxFuture<'_, Result<()>>;

    /// Leaves the pools gracefully, before the process ends.
    fn leave(&self) -> BoxFuture<'_, Result<()>>;

    /// Takes the secret that access control is copied from the primary datacenter with; only servers need it.
    fn set_replication_token(&self, _token: &str) {}

    /// The figures of `consul info` that the delegate knows: `consul`, `raft`, `serf_lan`, `serf_wan`.
    fn stats(&self) -> BoxFuture<'_, Stats>;
}

/// Calls a method of the table with its own types.
///
/// # Errors
/// The call's own error, or a text when the delegate answered with another method's reply.
pub async fn call<M: Method>(delegate: &dyn Delegate, args: M::Args) -> Result<M::Reply> {
    reply_of::<M>(delegate.call(M::request(args)).await?)
}

fn reply_of<M: Method>(reply: Reply) -> Result<M::Reply> {
    M::reply(reply).ok_or_else(|| Error::new(format!("rpc: unexpected reply to {}", M::NAME)))
}
