//! Where a call is answered: here, by the leader, or in another datacenter, with Consul's rules for trying again.
//!
//! Holds true: a call that may have been carried out is tried again only if it changes nothing.
//! Source: `docs/reference/rpc.md` section 8.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;

use super::Server;
use crate::drive;
use crate::drive::raft::Directory;
use crate::net::pool::{CallError, Pool};
use crate::raft::ServerId;
use crate::structs::rpc::{Class, Reply, Request};
use crate::structs::{self, Error, Result};

/// A pause before trying again is random and at most this fraction of the time that calls are held.
const PAUSE_FRACTION: u32 = 16;

/// The other servers, as this one reaches them.
pub struct Peers {
    pool: Arc<Pool>,
    /// RPC addresses by node id, as the members of the pool say; newer than Raft's configuration.
    addresses: Mutex<HashMap<String, SocketAddr>>,
}

impl Peers {
    /// No servers known yet.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self {
            pool,
            addresses: Mutex::default(),
        }
    }

    /// Takes over where the servers are reached.
    pub fn replace(&self, addresses: HashMap<String, SocketAddr>) {
        let mut known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = addresses;
    }

    /// Source address of connections to them, if one is set.
    pub fn source(&self) -> Option<IpAddr> {
        self.pool.source()
    }

    /// Calls one of them.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        to: SocketAddr,
        request: &Request,
    ) -> std::result::Result<Reply, CallError> {
        self.pool.call(to, request).await
    }

    /// Ends the calls to one that is known to be gone.
    pub fn close(&self, to: SocketAddr) {
        self.pool.close(to);
    }
}

impl Directory for Peers {
    fn address(&self, id: &str) -> Option<SocketAddr> {
        let known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.get(id).copied()
    }

    fn id(&self, address: SocketAddr) -> Option<String> {
        let known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (id, _) = known.iter().find(|(_, known)| **known == address)?;
        Some(id.clone())
    }
}

/// The time between two changes of the leader.
pub(super) struct Era(Mutex<(Sender<()>, Receiver<()>)>);

impl Default for Era {
    fn default() -> Self {
        Self(Mutex::new(smol::channel::bounded(1)))
    }
}

impl Era {
    /// Begins the next one.
    pub fn end(&self) {
        let next = smol::channel::bounded(1);
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits holds the other end of what is dropped here.
        *current = next;
    }

    /// Completes when this one is over.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = current.1.clone();
        async move {
            // Nothing is ever sent.
            let _ = end.recv().await;
        }
    }
}

/// Who is to answer a call.
enum Place {
    /// This server.
    Here,
    /// The leader, which is reached there.
    Leader(ServerId, SocketAddr),
    /// Nobody at the moment.
    Nobody,
}

/// How long a write whose leader lost its place may still be answered by it.
const LATE_ANSWER: Duration = Duration::from_secs(1);

/// What came of one try: the result, or, if it is worth another try, what to say when there is no time for
/// one.
type Outcome = std::result::Result<Result<Reply>, Error>;

impl Server {
    fn place(&self, request: &Request) -> Place {
        let stale = request.class() == Class::Read
            && request.routed().options().is_some_and(|o| o.allow_stale)
            && self.had_leader.load(Ordering::Acquire);
        if stale || request.class() == Class::Local {
            return Place::Here;
        }
        let leadership = self.raft.leadership();
        match leadership.leader {
            Some(id) if *id == *self.options.node_id => Place::Here,
            Some(id) => match self.server_address(&id) {
                Some(address) => Place::Leader(id, address),
                None => Place::Nobody,
            },
            None if leadership.role == crate::raft::Role::Leader => Place::Here,
            // A lone server is about to lead, or says why it cannot.
            None if self.raft.is_alone() => Place::Here,
            None => Place::Nobody,
        }
    }

    /// Where the leader is reached, if it is another server.
    pub(super) fn other_leader(&self) -> Option<SocketAddr> {
        let leader = self.raft.leadership().leader?;
        match *leader == *self.options.node_id {
            true => None,
            false => self.server_address(&leader),
        }
    }

    /// Where a server is reached: the members know best, else Raft's configuration says.
    pub(super) fn server_address(&self, id: &str) -> Option<SocketAddr> {
        self.peers
            .address(id)
            .or_else(|| self.raft.address(id)?.parse().ok())
            // A leader that tells only its address, before the pool has told whose that is.
            .or_else(|| id.parse().ok())
    }

    /// Whether a call is answered here without more ado: nearly always, on a leader.
    pub(super) fn is_answered_here(&self, request: &Request) -> bool {
        let near =
            self.is_ready_leader() && self.raft.is_alone() || request.class() == Class::Local;
        near && !self.is_elsewhere(request.routed().datacenter())
    }

    /// Whether a call is to be answered here as things are.
    pub(super) fn is_placed_here(&self, request: &Request) -> bool {
        self.is_answered_here(request)
            || !self.is_elsewhere(request.routed().datacenter())
                && matches!(self.place(request), Place::Here)
    }

    /// Has a call answered by whoever may, trying again while there is time and nothing can go wrong by it.
    ///
    /// # Errors
    /// `No cluster leader`, or what the one who answered says.
    pub(super) async fn route(&self, request: Request) -> Result<Reply> {
        if self.is_elsewhere(request.routed().datacenter()) {
            return self.call_elsewhere(request).await;
        }
        let hold = self.options.rpc_hold_timeout;
        let deadline = drive::now() + hold + self.blocking_time(&request);
        loop {
            let again = match self.attempt(&request).await {
                Ok(result) => return result,
                Err(error) => error,
            };
            let pause = (hold / PAUSE_FRACTION).mul_f64(fastrand::f64());
            if drive::now() + pause >= deadline {
                return Err(again);
            }
            drive::sleep(pause).await;
        }
    }

    /// Calls the leader, and gives up when there is another one: a machine that lost its power says nothing.
    async fn call_leader(
        &self,
        (leader, address): (&str, SocketAddr),
        request: &Request,
    ) -> std::result::Result<Reply, CallError> {
        let call = self.peers.call(address, request);
        let replaced = async {
            loop {
                let era = self.leader_era.over();
                if self.leads(leader) {
                    era.await;
                    continue;
                }
                if request.class() == Class::Read {
                    break;
                }
                // It may have been carried out; what the old leader knows about that is worth a moment.
                drive::sleep(LATE_ANSWER).await;
                if !self.leads(leader) {
                    break;
                }
            }
            Err(CallError::Broken(std::io::ErrorKind::UnexpectedEof.into()))
        };
        call.or(replaced).await
    }

    fn leads(&self, id: &str) -> bool {
        self.raft.leadership().leader.as_deref() == Some(id)
    }

    async fn attempt(&self, request: &Request) -> Outcome {
        let leader = match self.place(request) {
            Place::Here => {
                return match self.dispatch(request.clone()).await {
                    Err(e) if e.is(structs::NO_CLUSTER_LEADER) && !self.raft.is_alone() => Err(e),
                    result => Ok(result),
                };
            }
            Place::Nobody => return Err(Error::new(structs::NO_CLUSTER_LEADER)),
            Place::Leader(id, address) => (id, address),
        };
        match self.call_leader((&leader.0, leader.1), request).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(error) => {
                let again = match &error {
                    // It was not carried out.
                    CallError::Unreachable(_) => true,
                    CallError::Broken(_) => request.class() == Class::Read,
                    CallError::Remote(why) => why.is(structs::NO_CLUSTER_LEADER),
                };
                match again {
                    true => Err(error.relayed()),
                    false => Ok(Err(error.relayed())),
                }
            }
        }
    }

    /// How long a call may wait by its own wish.
    fn blocking_time(&self, request: &Request) -> Duration {
        match request.routed().options() {
            Some(options) if options.min_query_index > 0 => self.options.max_query_time,
            _ => Duration::ZERO,
        }
    }
}
