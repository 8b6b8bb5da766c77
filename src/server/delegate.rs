//! A server as the [`Delegate`] of its own agent: calls are met in process, nothing is encoded.

use std::fs::File;
use std::sync::atomic::Ordering;

use super::Server;
use super::endpoint::asked;
use crate::drive::{self, Rate};
use crate::serf::{self, Area};
use crate::structs::rpc::{BoxFuture, Delegate, Listing, Reply, Request, Stats};
use crate::structs::{
    self, DirEntry, Error, KeyListRequest, KeyRequest, Member, Position, Result,
    ServiceSpecificRequest, SnapshotRequest, SnapshotResponse,
};
use crate::telemetry::metrics;

/// One boxed future per method, so that each call costs only what its own method needs.
macro_rules! dispatch {
    ($server:ident, $request:ident, { $($variant:ident => $method:ident),* $(,)? }, { $($special:tt)* }) => {
        match $request {
            $(Request::$variant(args) => {
                Box::pin(async move { $server.$method(args).await.map(Reply::$variant) })
            })*
            $($special)*
        }
    };
}

impl Server {
    /// Answers a call here.
    pub(super) fn dispatch(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        if !self.is_secondary() {
            return self.dispatch_prepared(request);
        }
        Box::pin(async move {
            self.prepare(request.routed().token()).await;
            self.dispatch_prepared(request).await
        })
    }

    fn dispatch_prepared(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        dispatch!(self, request, {
            AclApply => acl_apply,
            AclAuthMethodDelete => acl_auth_method_delete,
            AclAuthMethodList => acl_auth_method_list,
            AclAuthMethodRead => acl_auth_method_read,
            AclAuthorize => acl_authorize,
            AclBindingRuleDelete => acl_binding_rule_delete,
            AclBindingRuleList => acl_binding_rule_list,
            AclBindingRuleRead => acl_binding_rule_read,
            AclBootstrapTokens => acl_bootstrap_tokens,
            AclGet => acl_get,
            AclGetPolicy => acl_get_policy,
            AclList => acl_list,
            AclLogin => acl_login,
            AclLogout => acl_logout,
            AclPolicyBatchRead => acl_policy_batch_read,
            AclPolicyDelete => acl_policy_delete,
            AclPolicyList => acl_policy_list,
            AclPolicyRead => acl_policy_read,
            AclPolicyResolve => acl_policy_resolve,
            AclReplicationStatus => acl_replication_status,
            AclRoleBatchRead => acl_role_batch_read,
            AclRoleDelete => acl_role_delete,
            AclRoleList => acl_role_list,
            AclRoleRead => acl_role_read,
            AclRoleResolve => acl_role_resolve,
            AclTokenBatchRead => acl_token_batch_read,
            AclTokenDelete => acl_token_delete,
            AclTokenList => acl_token_list,
            AclTokenRead => acl_token_read,
            AutopilotGetConfiguration => autopilot_get_configuration,
            AutopilotSetConfiguration => autopilot_set_configuration,
            CatalogDeregister => catalog_deregister,
            CatalogListDatacenters => catalog_list_datacenters,
            CatalogListNodes => catalog_list_nodes,
            CatalogListServices => catalog_list_services,
            CatalogNodeServiceList => catalog_node_service_list,
            CatalogNodeServices => catalog_node_services,
            CatalogServiceList => catalog_service_list,
            CatalogServiceNodes => catalog_service_nodes,
            CoordinateListNodes => coordinate_list_nodes,
            CoordinateNode => coordinate_node,
            CoordinateUpdate => coordinate_update,
            HealthChecksInState => health_checks_in_state,
            HealthNodeChecks => health_node_checks,
            HealthServiceChecks => health_service_checks,
            HealthServiceNodes => health_service_nodes,
            InternalEventFire => internal_event_fire,
            InternalKeyringOperation => internal_keyring_operation,
            InternalNodeDump => internal_node_dump,
            InternalNodeInfo => internal_node_info,
            InternalServiceDump => internal_service_dump,
            KvsApply => kvs_apply,
            KvsGet => kvs_get,
            KvsList => kvs_list,
            KvsListKeys => kvs_list_keys,
            OperatorServerHealth => operator_server_health,
            RaftGetConfiguration => raft_get_configuration,
            RaftRemovePeerByAddress => raft_remove_peer,
            RaftRemovePeerById => raft_remove_peer,
            RaftTransferLeader => raft_transfer_leader,
            SessionApply => session_apply,
            SessionGet => session_get,
            SessionList => session_list,
            SessionNodeSessions => session_node_sessions,
            SessionRenew => session_renew,
            StatusLeader => status_leader,
            StatusPeers => status_peers,
            TxnApply => txn_apply,
            TxnRead => txn_read,
        }, {
            Request::AclAuthMethodSet(args) => Box::pin(async move {
                self.acl_auth_method_set(*args).await.map(Reply::AclAuthMethodSet)
            }),
            Request::AclBindingRuleSet(args) => Box::pin(async move {
                self.acl_binding_rule_set(*args).await.map(Reply::AclBindingRuleSet)
            }),
            Request::AclPolicySet(args) => Box::pin(async move {
                self.acl_policy_set(*args).await.map(Reply::AclPolicySet)
            }),
            Request::AclRoleSet(args) => Box::pin(async move {
                self.acl_role_set(*args).await.map(Reply::AclRoleSet)
            }),
            Request::AclTokenClone(args) => Box::pin(async move {
                self.acl_token_clone(*args).await.map(Reply::AclTokenClone)
            }),
            Request::AclTokenSet(args) => Box::pin(async move {
                self.acl_token_set(*args).await.map(Reply::AclTokenSet)
            }),
            Request::CatalogRegister(args) => Box::pin(async move {
                self.catalog_register(*args).await.map(Reply::CatalogRegister)
            }),
            Request::CoordinateListDatacenters(_) => Box::pin(async move {
                self.coordinate_list_datacenters().await.map(Reply::CoordinateListDatacenters)
            }),
            Request::StatusPing(()) => Box::pin(async { Ok(Reply::StatusPing(())) }),
            Request::StatusRaftStats(()) => Box::pin(async move {
                self.status_raft_stats().await.map(Reply::StatusRaftStats)
            }),
        })
    }
}

impl Server {
    /// Has a call answered, whoever asks.
    pub(super) fn carry(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        let request = match self.toward_primary(request) {
            Ok(request) => request,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        if self.is_answered_here(&request) {
            return self.dispatch(request);
        }
        Box::pin(self.route(request))
    }
}

impl Server {
    /// Changes how many calls its own agent may make (`limits.rpc_rate` and `limits.rpc_max_burst`).
    pub fn set_rate(&self, rate: Rate) {
        self.limiter.set(rate, drive::now());
        self.limited.store(!rate.is_unlimited(), Ordering::Relaxed);
    }

    /// Counts a call of its own agent, and refuses what is beyond the limit.
    fn admit(&self) -> Result<()> {
        metrics::CLIENT_RPC.incr();
        if self.limited.load(Ordering::Relaxed) && !self.limiter.allow(drive::now()) {
            metrics::CLIENT_RPC_EXCEEDED.incr();
            return Err(Error::new(structs::RPC_RATE_EXCEEDED));
        }
        Ok(())
    }
}

fn refused<T: Send + 'static>(error: Error) -> BoxFuture<'static, Result<T>> {
    Box::pin(std::future::ready(Err(error)))
}

impl Delegate for Server {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        match self.admit() {
            Ok(()) => self.carry(request),
            Err(e) => refused(e),
        }
    }

    fn kvs_list(&self, request: KeyRequest) -> BoxFuture<'_, Result<Listing<DirEntry>>> {
        match self.admit() {
            Ok(()) => Box::pin(self.list_entries(request)),
            Err(e) => refused(e),
        }
    }

    fn kvs_list_keys(&self, request: KeyListRequest) -> BoxFuture<'_, Result<Listing<String>>> {
        match self.admit() {
            Ok(()) => Box::pin(self.list_keys(request)),
            Err(e) => refused(e),
        }
    }

    fn catalog_version(&self) -> Option<u64> {
        // What a token sees may end with it. Others than the leader may lag behind, and cannot tell; without the lease there may be another leader.
        let free = !self.options.acl.enabled && !self.limited.load(Ordering::Relaxed);
        let leads = free && self.is_ready_leader() && self.raft.has_lease();
        leads.then(|| self.state.catalog_version())
    }

    fn count_kept(&self, request: &ServiceSpecificRequest, found: usize) {
        metrics::CLIENT_RPC.incr();
        metrics::RPC_QUERY.incr();
        asked::count("health", request, found);
    }

    fn snapshot_save(
        &self,
        request: SnapshotRequest,
    ) -> BoxFuture<'_, Result<(SnapshotResponse, File)>> {
        Box::pin(self.save_snapshot(request))
    }

    fn snapshot_restore(
        &self,
        request: SnapshotRequest,
        file: File,
    ) -> BoxFuture<'_, Result<SnapshotResponse>> {
        Box::pin(self.restore_snapshot(request, file))
    }

    fn members(&self, wan: bool) -> Option<Vec<Member>> {
        Some(self.pool_members(area(wan)))
    }

    fn coordinate(&self) -> Option<Position> {
        (!self.options.disable_coordinates).then(|| self.pools.lan.coordinate())
    }

    fn join(&self, addresses: Vec<String>, wan: bool) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move { self.join_pool(&addresses, area(wan)).await })
    }

    fn force_leave(&self, node: String, prune: bool) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.remove_failed(&node, prune).await })
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            log::info!(target: "agent.server", "server starting leave");
            self.leave_cluster().await;
            Ok(())
        })
    }

    fn set_replication_token(&self, token: &str) {
        self.replication.set_token(token);
    }

    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async move {
            let mut stats = Stats::from([
                ("consul".to_owned(), self.consul_stats()),
                ("raft".to_owned(), self.raft_stats().await),
                ("serf_lan".to_owned(), serf::stats(&self.pools.lan)),
            ]);
            if let Some(wan) = &self.pools.wan {
                stats.insert("serf_wan".to_owned(), serf::stats(wan));
            }
            stats
        })
    }
}

fn area(wan: bool) -> Area {
    if wan { Area::Wan } else { Area::Lan }
}
