//! Which servers keep the state: the leader's changes of Raft's configuration.
//!
//! Holds true: one change at a time, each committed before the next; ids are the truth, and addresses follow what
//! the pool says; a server is never added under an address that another one has.
//! Source: `docs/reference/raft.md` section 6.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Server, propose_error};
use crate::drive;
use crate::drive::raft::ProposeError;
use crate::raft::{self, ConfChange, Configuration, ServerId};
use crate::serf::ServerMeta;
use crate::structs::rpc::{Reply, Request};
use crate::structs::{DCSpecificRequest, Error, RaftRemovePeerRequest, Result};

/// Pause between two looks at whether leadership has gone over.
const TRANSFER_POLL: Duration = Duration::from_millis(5);
/// Pause between two looks at whether a server that left is out of the configuration.
const REMOVAL_POLL: Duration = Duration::from_millis(100);
/// How long handing over leadership may delay the end of the process.
const ASIDE_PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take until it is.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);

impl Server {
    /// Changes the configuration and waits until that is committed.
    pub(super) async fn change_membership(&self, change: ConfChange) -> Result<()> {
        let index = self
            .raft
            .change_membership(change)
            .await
            .map_err(propose_error)?;
        self.autopilot.wake();
        self.wait_applied(index).await
    }

    /// Puts the addresses at which servers of the configuration are into it, this server's among them.
    pub(super) async fn readdress(&self) -> Result<()> {
        let configuration = self.raft.configuration();
        let mut moved = Vec::new();
        for server in &configuration.servers {
            let address = match server.id == self.options.node_id {
                true => Some(self.rpc_address()),
                false => self
                    .lan
                    .servers()
                    .iter()
                    .find(|meta| meta.id == server.id && meta.is_alive())
                    .map(|meta| meta.rpc.to_string()),
            };
            if let Some(address) = address.filter(|address| *address != server.address) {
                log::info!(
                    target: "agent.server",
                    id = server.id.as_str(), address = address.as_str();
                    "address of server changed"
                );
                moved.push((ServerId::from(server.id.as_str()), address));
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let is_mover = |id: &str| moved.iter().any(|(mover, _)| **mover == *id);
        let taken = |address: &str| moved.iter().any(|(_, new)| new == address);
        let displaced = configuration.servers.iter();
        let displaced = displaced.filter(|s| !is_mover(&s.id) && taken(&s.address));
        for server in displaced {
            self.remove_server(&server.id, "its address belongs to another server")
                .await?;
        }
        self.change_membership(ConfChange::Readdress { servers: moved })
            .await
    }

    /// Takes a server that is in the pool into the configuration, without a vote at first.
    pub(super) async fn join_server(&self, meta: &ServerMeta) -> Result<()> {
        if meta.id == self.options.node_id {
            return Ok(());
        }
        if meta.bootstrap {
            let other = self.lan.servers();
            let other = other
                .iter()
                .find(|other| other.bootstrap && other.is_alive() && other.name != meta.name);
            if let Some(other) = other {
                log::error!(
                    target: "agent.server",
                    node_to_add = meta.name.as_str(), other = other.name.as_str();
                    "Two nodes are in bootstrap mode. Only one node should be in bootstrap mode, not adding Raft peer."
                );
                return Ok(());
            }
        }
        self.readdress().await?;
        let configuration = self.raft.configuration();
        if configuration.get(&meta.id).is_some() {
            return Ok(());
        }
        let address = meta.rpc.to_string();
        if let Some(holder) = configuration.servers.iter().find(|s| s.address == address) {
            if holder.id == self.options.node_id {
                return Err(Error::new(format!(
                    "server {} claims the address {address} of this server",
                    meta.name
                )));
            }
            self.remove_server(&holder.id, "its address belongs to another server")
                .await?;
        }
        log::info!(
            target: "agent.server",
            id = meta.id.as_str(), address = address.as_str();
            "adding server"
        );
        self.change_membership(ConfChange::AddNonvoter {
            id: meta.id.as_str().into(),
            address,
        })
        .await
    }

    /// Takes a server out of the configuration, if it is in it.
    pub(super) async fn remove_server(&self, id: &str, why: &str) -> Result<()> {
        if self.raft.configuration().get(id).is_none() {
            return Ok(());
        }
        log::info!(target: "agent.server", id, why; "removing server by ID");
        self.change_membership(ConfChange::Remove { id: id.into() })
            .await
    }

    /// Leaves the cluster: leadership goes to another server, the pools are left, and the leader takes this server
    /// out of the configuration.
    pub(super) async fn leave_cluster(&self) {
        let others = voters(&self.raft.configuration()) > 1;
        if others && let Err(error) = self.make_leaving_safe().await {
            log::error!(target: "agent.server", error:%; "failed to remove dead servers before leaving");
        }
        if others
            && self.raft.is_leader()
            && let Err(error) = self.hand_over(None).await
        {
            log::error!(target: "agent.server", error:%; "failed to hand over leadership before leaving");
        }
        let servers = self.lan.servers();
        let others: Vec<SocketAddr> = servers
            .iter()
            .filter(|meta| others && meta.is_alive() && meta.id != self.options.node_id)
            .map(|meta| meta.rpc)
            .collect();
        self.leave_pools().await;
        if others.is_empty() || self.raft.is_leader() {
            return;
        }
        let removed = async {
            while !self.is_removed(&others).await {
                drive::sleep(REMOVAL_POLL).await;
            }
        };
        if drive::timeout(REMOVAL_PATIENCE, removed).await.is_err() {
            log::warn!(
                target: "agent.server",
                "failed to leave raft configuration gracefully, timeout"
            );
        }
    }

    /// Before the process ends without leaving: leadership goes to another server at once, instead of being missed.
    pub async fn step_aside(&self) {
        if !self.raft.is_leader() || voters(&self.raft.configuration()) < 2 {
            return;
        }
        match drive::timeout(ASIDE_PATIENCE, self.hand_over(None)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                log::warn!(target: "agent.server", error:%; "leadership stays here until it is missed")
            }
            Err(_) => log::warn!(
                target: "agent.server",
                error = "timeout"; "leadership stays here until it is missed"
            ),
        }
    }

    /// Gives up dead servers if those that are left would have no majority without this one.
    async fn make_leaving_safe(&self) -> Result<()> {
        let servers = self.lan.servers();
        let is_alive = |id: &str| servers.iter().any(|meta| meta.id == id && meta.is_alive());
        let configuration = self.raft.configuration();
        let others = configuration
            .voters()
            .filter(|id| *id != self.options.node_id);
        let (alive, dead): (Vec<&str>, Vec<&str>) = others.partition(|id| is_alive(id));
        if dead.is_empty() || alive.is_empty() || alive.len() > (alive.len() + dead.len()) / 2 {
            return Ok(());
        }
        for id in dead {
            log::info!(target: "agent.server", id; "removing dead server, the others would have no majority");
            self.route(Request::RaftRemovePeerById(RaftRemovePeerRequest {
                id: id.to_owned(),
                ..RaftRemovePeerRequest::default()
            }))
            .await?;
        }
        Ok(())
    }

    /// Whether one of these servers says that this one is not among them any more.
    async fn is_removed(&self, others: &[SocketAddr]) -> bool {
        let own = self.rpc_address();
        for address in others {
            // Nobody leads this server any more who could be asked, so each says what it knows itself.
            let request = Request::StatusPeers(DCSpecificRequest::default());
            let call = self.peers.call(*address, &request);
            if let Ok(Ok(Reply::StatusPeers(peers))) = drive::timeout(REMOVAL_PATIENCE, call).await
                && !peers.is_empty()
                && !peers.contains(&own)
            {
                return true;
            }
        }
        false
    }

    /// The other voter that is there and has most of the log; `None` where the core may choose.
    async fn best_successor(&self) -> Option<ServerId> {
        let status = self.raft.status().await?;
        let servers = self.lan.servers();
        let is_there = |id: &str| servers.iter().any(|meta| meta.id == id && meta.is_alive());
        let peers = status.peers.into_iter();
        let peers = peers.filter(|p| p.last_contact.is_some() && is_there(&p.id));
        let peers = peers.filter(|p| status.configuration.is_voter(&p.id));
        // Of those with the same log the one that was heard last.
        let best = peers.max_by_key(|peer| (peer.matched, std::cmp::Reverse(peer.last_contact)));
        best.map(|peer| peer.id)
    }

    /// Hands leadership over and waits until another server leads.
    ///
    /// # Errors
    /// When nobody took it in time; this server then still leads.
    pub(super) async fn hand_over(&self, to: Option<ServerId>) -> Result<()> {
        let to = match to {
            None => self.best_successor().await,
            to => to,
        };
        let to = self.raft.transfer_leadership(to).await.map_err(|error| {
            let why = match error {
                ProposeError::Refused(
                    raft::Error::NoOtherVoter | raft::Error::UnknownServer(_),
                ) => "cannot find peer".to_owned(),
                other => propose_error(other).text().to_owned(),
            };
            Error::new(format!("Failed to transfer leadership: {why}"))
        })?;
        log::info!(target: "agent.server", to = &*to; "leadership transfer started");
        let deadline = drive::now() + self.options.rpc_hold_timeout;
        while drive::now() < deadline {
            let leader = self.raft.leadership().leader;
            if leader.is_some_and(|leader| *leader != *self.options.node_id) {
                return Ok(());
            }
            drive::sleep(TRANSFER_POLL).await;
        }
        Err(Error::new(
            "Failed to transfer leadership: leadership transfer timeout",
        ))
    }
}

/// How many votes there are.
pub(super) fn voters(configuration: &Configuration) -> usize {
    configuration.voters().count()
}
