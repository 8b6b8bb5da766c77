//! The HTTP server: takes connections from listeners and serves each on a task of its own.
//!
//! Holds true: a client's connections beyond `limits.http_max_conns_per_client` are closed at once and
//! without an answer; at shutdown all connections end.
//! Source: `docs/reference/http-1.md` sections 1.9 and 1.12.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::blocking::serve_connection;
use super::conn::SharedPhase;
use super::context::Ctx;
use super::routes::Router;
use super::service::Service;
use super::tables;
use crate::drive::{self, Handle, Shutdown, Task};
use crate::net::{Incoming, Listener, Peer};

/// Pause after a failed `accept`, for example when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The HTTP server.
pub struct Server {
    ctx: Arc<Ctx>,
    router: Arc<Router>,
    handle: Handle,
    shutdown: Shutdown,
    clients: Arc<Clients>,
}

impl Server {
    /// A server that spawns on `handle` and ends with `shutdown`.
    pub fn new(ctx: Arc<Ctx>, handle: Handle, shutdown: Shutdown) -> Server {
        Server {
            ctx,
            router: Arc::new(Router::new(tables())),
            handle,
            shutdown,
            clients: Arc::default(),
        }
    }

    /// Serves a listener until the shutdown; the task is its owner's to hold.
    pub fn serve(&self, listener: Listener) -> Task<()> {
        let accepting = Accepting {
            ctx: self.ctx.clone(),
            router: self.router.clone(),
            handle: self.handle.clone(),
            clients: self.clients.clone(),
            shutdown: self.shutdown.clone(),
        };
        let shutdown = self.shutdown.clone();
        self.handle.spawn(async move {
            let accept = accepting.run(listener);
            smol::future::or(accept, shutdown.triggered()).await;
        })
    }
}

struct Accepting {
    ctx: Arc<Ctx>,
    router: Arc<Router>,
    handle: Handle,
    clients: Arc<Clients>,
    shutdown: Shutdown,
}

impl Accepting {
    async fn run(self, listener: Listener) {
        loop {
            match listener.accept().await {
                Ok((incoming, peer)) => self.connection(incoming, peer),
                Err(e) => {
                    log::warn!("agent.http: failed to accept a connection: {e}");
                    drive::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn connection(&self, incoming: Incoming, peer: Peer) {
        let Some(seat) = Seat::take(&self.clients, peer, self.ctx.max_conns_per_client()) else {
            return;
        };
        let phase = SharedPhase::default();
        let service = Arc::new(Service::new(
            self.ctx.clone(),
            self.router.clone(),
            peer,
            phase.clone(),
        ));
        let shutdown = self.shutdown.clone();
        // Its owner is the client: the task ends when the connection does, or with the process.
        self.handle
            .spawn(async move {
                let _seat = seat;
                let serving = serve_connection(incoming, service, phase);
                smol::future::or(serving, shutdown.triggered()).await;
            })
            .detach();
    }
}

/// Who has how many connections.
#[derive(Default)]
struct Clients {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place in its client's share.
struct Seat {
    clients: Arc<Clients>,
    ip: Option<IpAddr>,
}

impl Seat {
    fn take(clients: &Arc<Clients>, peer: Peer, max: usize) -> Option<Seat> {
        let limited = |ip: &IpAddr| {
            let mut open = clients.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(*ip).or_default();
            let free = *count < max;
            if free {
                *count += 1;
            }
            free
        };
        let ip = peer.ip().filter(|_| max > 0);
        if let Some(ip) = &ip
            && !limited(ip)
        {
            return None;
        }
        Some(Seat {
            clients: clients.clone(),
            ip,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut open = self
            .clients
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&ip);
            }
        }
    }
}
