//! One member's part in a gossip pool: the sockets, files and time that the pure [`gossip::Pool`] asks for.
//!
//! `shared` feeds the pool and carries out what it says, `sockets` receives, accepts and dials, `files` keeps
//! snapshot and keyring. Holds true: a member that is alone sets no timer and writes nothing; connections,
//! the bytes they hold and the events that wait are bounded.
//! Leaves to others: who is joined, what tags and events mean (`serf`).
//! Source: `docs/reference/gossip.md` sections 4, 9 and 14.

mod files;
mod shared;
mod sockets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use smol::channel::Receiver;

use super::clock;
use super::runtime::{Handle, Shutdown, Task};
use crate::gossip::codec::tags::Tags;
use crate::gossip::{self, KeyOperation, KeyOutcome, Pool, snapshot};
use crate::structs::{Error, Position, Result};

pub use files::{read_keyring, write_keyring};
use shared::Shared;
use sockets::Sockets;

/// How a member takes part.
pub struct Settings {
    /// Where to listen, over UDP and TCP.
    pub bind: SocketAddr,
    /// The member; `previous`, `seed` and `nonce` are filled in here.
    pub pool: gossip::Config,
    /// Serf's snapshot file.
    pub snapshot: Option<PathBuf>,
    /// The keyring's file, rewritten whenever the keys change.
    pub keyring: Option<PathBuf>,
}

/// Owns the sockets and tasks of one member.
pub struct GossipDriver {
    shared: Arc<Shared>,
    events: Receiver<gossip::Event>,
    tasks: Vec<Task<()>>,
    writer: Task<()>,
}

impl GossipDriver {
    /// Binds, reads the snapshot and starts; ends with the shutdown.
    ///
    /// # Errors
    /// In Consul's words, when the address is taken for example.
    pub fn start(runtime: &Handle, shutdown: Shutdown, settings: Settings) -> Result<Self> {
        let Settings {
            bind,
            pool: mut config,
            snapshot,
            keyring,
        } = settings;
        let sockets = Sockets::bind(bind)?;
        if config.addr.port() == 0 {
            config.addr.set_port(sockets.port());
        }
        if let Some(path) = &snapshot {
            let text = files::read_snapshot(path)?;
            config.previous = snapshot::replay(&text, config.rejoin_after_leave);
        }
        let mut seed = [0; 8];
        let no_entropy = |e: getrandom::Error| Error::new(format!("no randomness: {e}"));
        getrandom::fill(&mut seed).map_err(no_entropy)?;
        getrandom::fill(&mut config.nonce).map_err(no_entropy)?;
        config.seed = u64::from_le_bytes(seed);
        let limits = sockets::Limits::new(config.tcp_timeout, &config.loggers);
        let epoch = clock::now();
        let pool = Pool::new(epoch.elapsed(), config).map_err(|e| Error::new(e.to_string()))?;
        let (files, writer) = files::Files::start(runtime, snapshot, keyring, &limits.loggers[1]);
        let (shared, events, wake) = Shared::new(
            runtime,
            epoch,
            pool,
            sockets.udp,
            files,
            limits.loggers.clone(),
        );
        // What the pool has to say at its start.
        shared.feed(|_, _| ());
        let tasks = vec![
            runtime.spawn(sockets::serve_udp(shared.clone(), wake, shutdown.clone())),
            runtime.spawn(sockets::serve_tcp(
                shared.clone(),
                runtime.clone(),
                sockets.tcp,
                limits,
                shutdown,
            )),
        ];
        Ok(Self {
            shared,
            events,
            tasks,
            writer,
        })
    }

    /// The member, for whoever has something to ask of it.
    pub fn handle(&self) -> GossipHandle {
        GossipHandle {
            shared: self.shared.clone(),
        }
    }

    /// What happens in the pool; for one reader, which must keep up: events beyond a bound are lost, members
    /// can always be looked at.
    pub fn events(&self) -> Receiver<gossip::Event> {
        self.events.clone()
    }

    /// Waits for the end after shutdown was triggered.
    pub async fn join(self) {
        for task in self.tasks {
            task.await;
        }
        self.shared.end();
        self.writer.await;
    }
}

/// Asks things of a member; cheap to clone.
#[derive(Clone)]
pub struct GossipHandle {
    shared: Arc<Shared>,
}

impl GossipHandle {
    /// All members known, by name.
    pub fn members(&self) -> Arc<Vec<gossip::Member>> {
        self.shared.members()
    }

    /// A number that grows whenever [`GossipHandle::members`] would say something else.
    pub fn revision(&self) -> u64 {
        self.shared.look(Pool::revision)
    }

    /// A member by its name.
    pub fn member(&self, name: &str) -> Option<gossip::Member> {
        self.shared.look(|pool| pool.member(name).cloned())
    }

    /// This member; nothing once it has been forgotten, which does not happen while it runs.
    pub fn local(&self) -> Option<gossip::Member> {
        self.shared.look(|pool| pool.member(pool.name()).cloned())
    }

    /// Joins through these addresses: how many were reached, and what went wrong with the others.
    pub async fn join(&self, addrs: Vec<SocketAddr>) -> (usize, Vec<(SocketAddr, String)>) {
        let answer = self.shared.join(&addrs);
        let ended = || {
            let why = "the gossip pool has ended".to_owned();
            (0, addrs.iter().map(|addr| (*addr, why.clone())).collect())
        };
        answer.recv().await.unwrap_or_else(|_| ended())
    }

    /// Leaves gracefully; returns when that has spread, or had the time to.
    pub async fn leave(&self) {
        // Closed when the pool has ended otherwise.
        let _ = self.shared.leave().recv().await;
    }

    /// Makes a failed member one that left; with `prune` it is also forgotten.
    ///
    /// # Errors
    /// When there is no such member.
    pub async fn force_leave(
        &self,
        name: &str,
        prune: bool,
    ) -> std::result::Result<(), gossip::Error> {
        self.shared
            .feed(|core, now| core.pool.force_leave(now, name, prune))
    }

    /// Sends an event to all members, this one included.
    ///
    /// # Errors
    /// When it is too large, in Serf's words.
    pub async fn user_event(
        &self,
        name: &str,
        payload: Vec<u8>,
        coalesce: bool,
    ) -> std::result::Result<(), gossip::Error> {
        self.shared
            .feed(|core, now| core.pool.user_event(now, name, &payload, coalesce))
    }

    /// Tells the pool other tags of this member.
    ///
    /// # Errors
    /// When they are too long.
    pub async fn set_tags(&self, tags: Tags) -> std::result::Result<(), gossip::Error> {
        self.shared.feed(|core, now| core.pool.set_tags(now, tags))
    }

    /// Changes or lists the keyrings of all members, and waits for their answers.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn keys(
        &self,
        operation: KeyOperation,
        relay_factor: u8,
    ) -> std::result::Result<KeyOutcome, gossip::Error> {
        let answer = self.shared.keys(operation, relay_factor)?;
        let ended = |_| gossip::Error::Request("the gossip pool has ended".to_owned());
        answer.recv().await.map_err(ended)
    }

    /// Whether messages are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.shared.look(|pool| !pool.keys().is_empty())
    }

    /// This member's network coordinate.
    pub fn coordinate(&self) -> Position {
        self.shared.look(|pool| pool.coordinate().clone())
    }

    /// Another member's network coordinate, when it has told us.
    pub fn coordinate_of(&self, name: &str) -> Option<Position> {
        self.shared.look(|pool| pool.coordinate_of(name).cloned())
    }

    /// The figures that `consul info` shows.
    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        self.shared.look(Pool::stats)
    }
}
