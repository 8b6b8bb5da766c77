//! The LAN pool as a server sees it: who is there, who is a server and where, who is to be looked at again.
//!
//! Holds true: what is kept here is only names; what a member is like is asked of the pool when it is needed.
//! Leaves to others: what the catalog (`reconcile`) and Raft's configuration (`membership`) make of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use smol::channel::{Receiver, Sender};

use super::Server;
use crate::drive::gossip::GossipHandle;
use crate::gossip::{Change, Member};
use crate::serf::ServerMeta;
use crate::structs::MemberStatus;

/// The pool, and what of it has changed.
pub(super) struct Lan {
    pool: GossipHandle,
    /// Names of members that the leader has not looked at since something happened to them.
    changed: Mutex<BTreeSet<String>>,
    /// Says that there are some; one message is as good as many.
    wake: (Sender<()>, Receiver<()>),
    /// The same for who waits for the first servers to come together.
    joined: (Sender<()>, Receiver<()>),
}

impl Lan {
    /// Nothing has happened yet.
    pub fn new(pool: GossipHandle) -> Self {
        Self {
            pool,
            changed: Mutex::default(),
            wake: smol::channel::bounded(1),
            joined: smol::channel::bounded(1),
        }
    }

    /// The pool.
    pub fn pool(&self) -> &GossipHandle {
        &self.pool
    }

    /// All members.
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.pool.members()
    }

    /// All servers, whatever their status.
    pub fn servers(&self) -> Vec<ServerMeta> {
        self.members().iter().filter_map(ServerMeta::of).collect()
    }

    fn note(&self, name: &str) {
        self.lock().insert(name.to_owned());
        // Full means that the leader will look anyway.
        let _ = self.wake.0.try_send(());
    }

    /// Who is to be looked at.
    pub fn take_changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.lock())
    }

    /// Completes when there may be somebody to look at.
    pub async fn changed(&self) {
        // The sender lives as long as the receiver: no error.
        let _ = self.wake.1.recv().await;
    }

    /// Completes when there may be more servers than before.
    pub async fn server_joined(&self) {
        let _ = self.joined.1.recv().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Something has happened to a member of the LAN pool.
    pub(super) async fn lan_event(&self, change: Change, member: &Member) {
        if let Some(meta) = ServerMeta::of(member) {
            self.learn_servers();
            match change {
                // Full means that whoever waits will look anyway.
                Change::Join | Change::Update => drop(self.lan.joined.0.try_send(())),
                Change::Failed | Change::Leave | Change::Reap => {
                    self.raft.suspect(meta.id.as_str().into()).await;
                }
            }
        }
        // Others look at all members when they begin to lead.
        if self.raft.is_leader() {
            self.lan.note(&member.name);
        }
    }

    /// Takes over where the servers of the pool are. One that failed may come back to where it was.
    pub(super) fn learn_servers(&self) {
        let servers = self.lan.servers();
        let there =
            |meta: &&ServerMeta| matches!(meta.status, MemberStatus::Alive | MemberStatus::Leaving);
        let gone = servers.iter().filter(|meta| !there(meta));
        let known = gone.chain(servers.iter().filter(there));
        // The same id under another name: who is there counts.
        let addresses: HashMap<String, _> = known
            .filter(|meta| !meta.id.is_empty())
            .map(|meta| (meta.id.clone(), meta.rpc))
            .collect();
        self.peers.replace(addresses);
    }
}
