//! Following the LAN pool: which servers there are, and what the agent is to hear of.
//!
//! Holds true: the list of servers is made of the members as they are, so that an event that got lost costs
//! nothing but time; a server that is gone has its calls ended at once.
//! Source: `docs/reference/rpc.md` section 9, `docs/reference/gossip.md` sections 15.2 and 15.4.

use std::sync::Arc;
use std::time::Duration;

use smol::channel::{Receiver, Sender};

use super::Client;
use crate::drive;
use crate::gossip::{Change, Event};
use crate::serf::event::{Meaning, meaning};
use crate::serf::{Notice, ServerMeta};
use crate::structs::rpc::Request;

/// How long a server may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// Takes over who the servers are; whether there is one that was not there before.
    pub(super) fn look_for_servers(&self) -> bool {
        let mut found = Vec::new();
        let mut new = false;
        for member in self.lan.members().iter() {
            let Some(server) = ServerMeta::of(member).filter(|s| self.is_ours(s)) else {
                continue;
            };
            if !self.servers.knows(&server.name) {
                log::info!(
                    target: "agent.client",
                    "adding server: server=\"{} (Addr: tcp/{}) (DC: {})\"",
                    server.name, server.rpc, server.datacenter
                );
                new = true;
            }
            if let Some(old) = self.servers.put(&server.name, server.rpc) {
                self.pool.close(old);
            }
            found.push(server.name);
        }
        for gone in self.servers.keep(&found) {
            log::info!(
                target: "agent.client",
                "removing server: server=\"{} (Addr: tcp/{}) (DC: {})\"",
                gone.name, gone.address, self.options.datacenter
            );
            self.pool.close(gone.address);
        }
        new
    }

    fn is_ours(&self, server: &ServerMeta) -> bool {
        if server.datacenter != self.options.datacenter {
            log::warn!(
                target: "agent.client",
                "server {} for datacenter {} has joined wrong cluster",
                server.name, server.datacenter
            );
            return false;
        }
        server.is_alive()
    }

    /// Puts another server in front, if it answers.
    async fn rebalance(&self) {
        self.look_for_servers();
        let ping = |to| async move {
            let ping = self.pool.call(to, &Request::StatusPing(()));
            matches!(drive::timeout(PING_TIMEOUT, ping).await, Ok(Ok(_)))
        };
        self.servers.rebalance(ping).await;
    }
}

/// Follows the pool until it ends; what the agent is to hear of goes to `notices`.
pub(super) async fn follow(client: Arc<Client>, events: Receiver<Event>, notices: Sender<Notice>) {
    while let Ok(event) = events.recv().await {
        let notice = match event {
            Event::Member(change, member) => {
                let may_matter = change == Change::Update || ServerMeta::of(&member).is_some();
                if !(may_matter && client.look_for_servers()) {
                    continue;
                }
                Notice::ServerUp
            }
            Event::User {
                ltime,
                name,
                payload,
                ..
            } => match meaning(&name) {
                Meaning::User(name) => {
                    log::debug!(target: "agent.client", "user event: name={name}");
                    Notice::UserEvent { ltime, payload }
                }
                Meaning::NewLeader => {
                    let leader = String::from_utf8_lossy(&payload);
                    log::info!(target: "agent.client", "New leader elected: payload={leader}");
                    Notice::ServerUp
                }
                Meaning::Other => {
                    log::warn!(target: "agent.client", "Unhandled local event: event={name}");
                    continue;
                }
            },
            _ => continue,
        };
        if notices.try_send(notice).is_err() {
            log::warn!(target: "agent.client", "an event is dropped: the agent does not keep up");
        }
    }
}

/// Moves from server to server from time to time.
pub(super) async fn rebalancer(client: Arc<Client>) {
    loop {
        let members = client.lan.members().len();
        drive::sleep(client.servers.rebalance_interval(members)).await;
        client.rebalance().await;
    }
}
