//! The first configuration of a cluster whose servers wait for each other: `bootstrap_expect`.
//!
//! Holds true: nobody founds a cluster while a server that it sees has one, or cannot be asked. One of the servers
//! does it at once, the one with the smallest id of those that expect others; the rest hear of it as followers, and
//! do it themselves, with the same content, only if nothing came of it.
//! Source: `docs/reference/raft.md` section 6.

use std::sync::Arc;
use std::time::Duration;

use smol::future::FutureExt;

use super::Server;
use crate::drive;
use crate::raft::{self, Configuration, Suffrage};
use crate::serf::ServerMeta;
use crate::sorted;
use crate::structs::DCSpecificRequest;
use crate::structs::rpc::{Reply, Request};

/// How long one server may take to say whether it knows a cluster.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server leaves it to those before it in the order of ids.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause before servers that did not answer are asked again; it doubles up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_millis(100);
/// The longest such pause.
const MAX_RETRY: Duration = Duration::from_secs(5);

/// What one look at the servers led to.
enum Outcome {
    /// Too few servers, or some that say something else: to be looked at when that changes.
    Waiting,
    /// Somebody could not be asked: to be tried again.
    Again,
    /// It is another server's turn.
    NotYet(Duration),
    /// There is a cluster.
    Done,
}

impl Server {
    /// Waits for the servers that are expected, and founds the cluster with them. Ends once this server belongs
    /// to one.
    pub(super) async fn bootstrap(self: Arc<Self>) {
        if self.options.bootstrap_expect == 0 || self.options.alone {
            return;
        }
        let mut retry = RETRY;
        let mut complete_since = None;
        loop {
            let pause = match self.try_bootstrap(complete_since).await {
                Outcome::Done => return,
                Outcome::Waiting => {
                    complete_since = None;
                    MAX_RETRY
                }
                Outcome::Again => {
                    retry = (retry * 2).min(MAX_RETRY);
                    retry
                }
                Outcome::NotYet(pause) => {
                    complete_since.get_or_insert_with(drive::now);
                    pause
                }
            };
            drive::sleep(pause).or(self.lan.server_joined()).await;
        }
    }

    async fn try_bootstrap(&self, complete_since: Option<drive::Instant>) -> Outcome {
        if !self.raft.configuration().servers.is_empty() {
            return Outcome::Done;
        }
        let Some(servers) = self.expected_servers() else {
            return Outcome::Waiting;
        };
        let waited = complete_since.map_or(Duration::ZERO, |since| drive::now() - since);
        let before = servers
            .iter()
            .filter(|meta| meta.expect > 0 && meta.id < self.options.node_id)
            .count();
        let grace = GRACE * u32::try_from(before).unwrap_or(u32::MAX);
        if waited < grace {
            return Outcome::NotYet(grace - waited);
        }
        for meta in servers
            .iter()
            .filter(|meta| meta.id != self.options.node_id)
        {
            match self.knows_cluster(meta).await {
                Some(false) => {}
                Some(true) => {
                    log::info!(
                        target: "agent.server",
                        server = meta.name.as_str();
                        "Existing Raft peers reported by server, disabling bootstrap mode"
                    );
                    return Outcome::Done;
                }
                None => return Outcome::Again,
            }
        }
        self.found(&servers).await
    }

    /// The servers to begin with, this one among them, once there are as many as expected.
    fn expected_servers(&self) -> Option<Vec<ServerMeta>> {
        let expect = self.options.bootstrap_expect;
        let mut servers = Vec::new();
        for meta in self.lan.servers() {
            if meta.datacenter != self.options.datacenter || !meta.is_alive() || meta.id.is_empty()
            {
                continue;
            }
            if meta.expect != 0 && meta.expect != expect {
                log::error!(
                    target: "agent.server",
                    member = meta.name.as_str();
                    "Member has a conflicting expect value. All nodes should expect the same number."
                );
                return None;
            }
            if meta.bootstrap {
                log::error!(
                    target: "agent.server",
                    member = meta.name.as_str();
                    "Member has bootstrap mode. Expect disabled."
                );
                return None;
            }
            servers.push(meta);
        }
        sorted::sort_by(&mut servers, |a, b| a.id.cmp(&b.id));
        let own = servers.iter().any(|meta| meta.id == self.options.node_id);
        let enough = own && usize::try_from(expect).is_ok_and(|expect| servers.len() >= expect);
        enough.then_some(servers)
    }

    /// Whether a server belongs to a cluster; `None` if it does not say.
    async fn knows_cluster(&self, meta: &ServerMeta) -> Option<bool> {
        let request = Request::StatusPeers(DCSpecificRequest::default());
        let call = self.peers.call(meta.rpc, &request);
        match drive::timeout(ASK_TIMEOUT, call).await {
            Ok(Ok(Reply::StatusPeers(peers))) => Some(!peers.is_empty()),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                let error = error.relayed();
                log::error!(
                    target: "agent.server",
                    server = meta.name.as_str(), error:%;
                    "Failed to confirm peer status for server"
                );
                None
            }
            Err(_) => {
                log::error!(
                    target: "agent.server",
                    server = meta.name.as_str(), error = "i/o timeout";
                    "Failed to confirm peer status for server"
                );
                None
            }
        }
    }

    async fn found(&self, servers: &[ServerMeta]) -> Outcome {
        let addresses: Vec<String> = servers.iter().map(|meta| meta.rpc.to_string()).collect();
        log::info!(
            target: "agent.server",
            peers = addresses.join(",").as_str();
            "Found expected number of peers, attempting bootstrap"
        );
        let servers = servers.iter().map(|meta| raft::Server {
            suffrage: Suffrage::Voter,
            id: meta.id.clone(),
            address: meta.rpc.to_string(),
        });
        let configuration = Configuration {
            servers: servers.collect(),
        };
        match self.raft.found(configuration).await {
            Ok(()) => Outcome::Done,
            Err(error) => {
                let error = super::propose_error(error);
                log::error!(target: "agent.server", error:%; "Failed to bootstrap cluster");
                Outcome::Again
            }
        }
    }
}
