//! The server's side of port 8300: what comes in is sorted by its first byte and answered.
//!
//! Holds true: a connection that says nothing or something unknown is closed, and one peer cannot take all
//! connections. Every connection's work ends with the connection.
//! Source: `docs/reference/rpc.md` sections 1 and 4.

mod answers;
mod calls;
mod snapshot;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Server;
use crate::drive::raft::RAFT;
use crate::drive::{self, Handle, Shutdown, Task, TaskSet};
use crate::net::acceptor::{Accepted, Acceptor};
use crate::structs::{Error, Result};

/// What a connection is for: its first byte.
mod kind {
    /// Calls, one at a time.
    pub const RPC: u8 = 0;
    /// Calls on streams of their own.
    pub const RPC_MULTIPLEX: u8 = 4;
    /// Saving or restoring the state.
    pub const SNAPSHOT: u8 = 5;
}

/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Where and how port 8300 is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address to listen on.
    pub bind: SocketAddr,
    /// Connections from one address at most; 0 for any number.
    pub max_conns_per_client: usize,
    /// How long a connection may take to say what it is for.
    pub handshake_timeout: Duration,
}

impl Settings {
    /// Binds the address.
    ///
    /// # Errors
    /// In Consul's words, when the address is taken for example.
    pub fn listen(&self) -> Result<Listening> {
        let acceptor = Acceptor::bind(self.bind, self.max_conns_per_client).map_err(|e| {
            let why = crate::net::dial::errno_text(&e);
            Error::new(format!(
                "Failed to start RPC layer: listen tcp {}: bind: {why}",
                self.bind
            ))
        })?;
        Ok(Listening {
            acceptor,
            handshake: self.handshake_timeout,
        })
    }
}

/// A bound address.
pub struct Listening {
    acceptor: Acceptor,
    handshake: Duration,
}

/// Serves port 8300.
pub struct RpcListener {
    server: Arc<Server>,
    listening: Listening,
    runtime: Handle,
}

impl RpcListener {
    /// A listener that answers for `server`.
    pub fn new(server: Arc<Server>, listening: Listening, runtime: Handle) -> Self {
        Self {
            server,
            listening,
            runtime,
        }
    }

    /// Starts to accept; ends, with every connection, at the shutdown.
    pub fn start(self, shutdown: Shutdown) -> Task<()> {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            let accept = async {
                self.accept().await;
            };
            smol::future::or(accept, shutdown.triggered()).await;
        })
    }

    async fn accept(&self) {
        let connections = TaskSet::new(self.runtime.clone());
        loop {
            match self.listening.acceptor.accept().await {
                Ok(Some(accepted)) => {
                    crate::telemetry::metrics::RPC_ACCEPT_CONN.incr();
                    let (server, runtime) = (self.server.clone(), self.runtime.clone());
                    let handshake = self.listening.handshake;
                    connections.spawn(async move {
                        serve(&server, runtime, accepted, handshake).await;
                    });
                }
                Ok(None) => log::warn!(
                    target: "agent.server.rpc",
                    "connection refused: its address has limits.rpc_max_conns_per_client open already"
                ),
                Err(error) => {
                    log::error!(target: "agent.server.rpc", error:%; "failed to accept RPC conn");
                    drive::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

async fn serve(
    server: &Arc<Server>,
    runtime: Handle,
    mut connection: Accepted,
    handshake: Duration,
) {
    let peer = connection.peer;
    let kind = match drive::timeout(handshake, connection.kind()).await {
        Ok(Ok(Some(kind))) => kind,
        // Port scanners and health checks connect and leave.
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            log::error!(target: "agent.server.rpc", conn:% = peer, error:%; "failed to read byte");
            return;
        }
        Err(_) => {
            log::error!(target: "agent.server.rpc", conn:% = peer; "failed to read byte: i/o timeout");
            return;
        }
    };
    let outcome = match kind {
        kind::RPC => calls::serve(server, &mut connection.stream).await,
        kind::RPC_MULTIPLEX => calls::serve_multiplexed(server, runtime, connection.stream).await,
        RAFT => {
            crate::telemetry::metrics::RPC_RAFT_HANDOFF.incr();
            server.raft.serve(connection.stream).await
        }
        kind::SNAPSHOT => snapshot::serve(server, connection.stream).await,
        unknown => {
            log::error!(
                target: "agent.server.rpc", conn:% = peer;
                "unrecognized RPC byte: {unknown}"
            );
            return;
        }
    };
    if let Err(error) = outcome {
        log::error!(target: "agent.server.rpc", conn:% = peer, error:%; "RPC error");
    }
}
