//! The only room with sockets and TLS: listeners for TCP and unix sockets, and the byte streams they
//! accept.
//!
//! Holds true: nothing here knows what the bytes mean, and nothing here panics on what a peer sends.
//! Leaves to others: HTTP (`http`), DNS (`dns`), RPC (`server`), limits per client (whoever accepts).
//! Source: `docs/reference/config.md` (addresses, unix sockets, TLS), RFC 8446 by way of rustls.

pub mod acceptor;
pub mod dial;
mod gather;
pub mod h2;
mod heard;
pub mod hpack;
pub mod http_client;
pub mod http_stream;
mod listener;
pub mod message;
pub mod multicast;
pub mod mux;
pub mod pool;
mod reactor;
pub mod room;
pub mod snapshot;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
mod tls_absent;
#[cfg(feature = "tls")]
pub mod tls_client;
mod tls_options;
pub mod udp;
pub mod url;

pub use listener::{Handshakes, Incoming, Listener, ListenerConfig, UnixSocket, group_id, user_id};
pub use reactor::{Async, Timer, block_on, when_woken};
pub use stream::{Peer, Stream};
#[cfg(not(feature = "tls"))]
pub use tls_absent::{tls, tls_client};

/// An address that is taken as long as the socket lives, so that nobody else gets it, and where nobody listens.
#[cfg(test)]
pub(crate) fn deaf() -> (socket2::Socket, std::net::SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}
