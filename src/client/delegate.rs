//! A client agent as the [`Delegate`] of its own agent: calls go to a server, the rest to the LAN pool.
//!
//! Source: `docs/reference/http-2.md` sections 5.1, 5.2 and 5.9.

use std::collections::BTreeMap;
use std::fs::File;

use super::Client;
use crate::serf;
use crate::structs::rpc::{BoxFuture, Delegate, Reply, Request, Stats};
use crate::structs::{Error, Member, Position, Result, SnapshotRequest, SnapshotResponse};

impl Delegate for Client {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(self.forward(request))
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
        (!wan).then(|| self.lan.members().iter().map(Member::from).collect())
    }

    fn coordinate(&self) -> Option<Position> {
        (!self.options.disable_coordinates).then(|| self.lan.coordinate())
    }

    fn join(&self, addresses: Vec<String>, wan: bool) -> BoxFuture<'_, Result<usize>> {
        Box::pin(async move {
            if wan {
                return Err(Error::new("Must be a server to join WAN cluster"));
            }
            self.joiner().join(&addresses).await
        })
    }

    fn force_leave(&self, node: String, prune: bool) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { serf::force_leave(&self.lan, &node, prune).await })
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            log::info!(target: "agent.client", "client starting leave");
            self.lan.leave().await;
            Ok(())
        })
    }

    fn stats(&self) -> BoxFuture<'_, Stats> {
        Box::pin(async move {
            Stats::from([
                ("consul".to_owned(), self.consul_stats()),
                ("serf_lan".to_owned(), serf::stats(&self.lan)),
            ])
        })
    }
}

impl Client {
    /// The group `consul`.
    fn consul_stats(&self) -> BTreeMap<String, String> {
        let acl = if self.options.acl {
            "enabled"
        } else {
            "disabled"
        };
        [
            ("acl", acl.to_owned()),
            ("known_servers", self.servers.len().to_string()),
            ("server", "false".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}
