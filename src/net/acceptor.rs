//! The listener of port 8300: accepts connections and reads the byte that says what each of them is for.
//!
//! Holds true: connections per peer address are bounded, and a peer that says nothing is let go.
//! Leaves to others: what follows the byte. Source: `docs/reference/rpc.md` section 1.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use smol::io::AsyncReadExt;
use socket2::{Domain, Socket, TcpKeepalive, Type};

use super::reactor::Async;

/// Connections waiting to be accepted, at most.
const BACKLOG: i32 = 1024;
/// How long a connection may be silent before the system asks whether its peer is still there.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(15);

/// Accepts connections.
pub struct Acceptor {
    listener: Async<TcpListener>,
    /// Connections of one peer address at most; 0 for any number.
    per_peer: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection, counted for its peer until dropped.
pub struct Accepted {
    /// The connection.
    pub stream: Async<TcpStream>,
    /// Its other end.
    pub peer: SocketAddr,
    _count: Count,
}

/// One connection of a peer.
struct Count {
    peer: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Count {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(n) = open.get_mut(&self.peer) {
            *n -= 1;
            if *n == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

impl Acceptor {
    /// Binds an address.
    ///
    /// # Errors
    /// Those of the system, in Go's words.
    pub fn bind(address: SocketAddr, per_peer: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            listener: Async::new(TcpListener::from(socket))?,
            per_peer,
            open: Arc::default(),
        })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.get_ref().local_addr()
    }

    /// Waits for a connection. One beyond its peer's number is closed: `None`.
    ///
    /// # Errors
    /// Those of the system; waiting on may help.
    pub async fn accept(&self) -> io::Result<Option<Accepted>> {
        let (stream, peer) = self.listener.accept().await?;
        let ip = peer.ip().to_canonical();
        {
            let mut open = lock(&self.open);
            let n = open.entry(ip).or_default();
            if self.per_peer > 0 && *n >= self.per_peer {
                return Ok(None);
            }
            *n += 1;
        }
        let count = Count {
            peer: ip,
            open: self.open.clone(),
        };
        // A connection works without these, only slower, or is noticed to be dead later.
        let _ = stream.get_ref().set_nodelay(true);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        let _ = socket2::SockRef::from(stream.get_ref()).set_tcp_keepalive(&keepalive);
        Ok(Some(Accepted {
            stream,
            peer,
            _count: count,
        }))
    }
}

impl Accepted {
    /// Reads the byte that says what the connection is for; `None` if it was closed without one.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn kind(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match self.stream.read(&mut byte).await? {
            0 => Ok(None),
            _ => Ok(Some(byte[0])),
        }
    }
}

/// A poisoned lock means that a thread panicked; what it guards here is always whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
