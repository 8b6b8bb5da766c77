//! Listening sockets: TCP, TLS over TCP, and unix sockets with mode and owner.
//!
//! Holds true: a listener that was bound accepts until it is dropped; a unix socket's file is removed
//! before binding and after the end, unless another listener has taken its place meanwhile.
//! Leaves to others: how many connections a client may have.
//! Source: `docs/reference/config.md` (`addresses`, `unix_sockets`).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::reactor::Async;
use super::stream::{Peer, Stream};
use super::tls::{self, TlsAcceptor};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Silence after which TCP asks whether the peer is still there, as Consul's listeners do.
const KEEPALIVE: Duration = Duration::from_secs(180);

/// Where a unix socket lives and who may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSocket {
    /// The socket's file.
    pub path: PathBuf,
    /// Permission bits, `None` leaves what the umask gives.
    pub mode: Option<u32>,
    /// Owning user id.
    pub user: Option<u32>,
    /// Owning group id.
    pub group: Option<u32>,
}

/// How a TLS listener shakes hands: with what it was given last.
pub struct Handshakes(RwLock<Arc<tls::ServerConfig>>);

impl Handshakes {
    /// With this to begin with.
    pub fn new(config: Arc<tls::ServerConfig>) -> Arc<Handshakes> {
        Arc::new(Handshakes(RwLock::new(config)))
    }

    /// With this from now on; connections that are open stay as they are.
    pub fn renew(&self, config: Arc<tls::ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(config.clone())
    }
}

/// What to listen on.
#[derive(Clone)]
pub enum ListenerConfig {
    /// Plain TCP.
    Tcp(SocketAddr),
    /// TLS over TCP.
    Tls(SocketAddr, Arc<Handshakes>),
    /// A unix socket.
    Unix(UnixSocket),
}

enum Bound {
    Tcp(Async<TcpListener>, Option<Arc<Handshakes>>),
    Unix(Async<UnixListener>, SocketFile),
}

/// A bound listener.
pub struct Listener(Bound);

/// A connection before its TLS handshake, if it has one: cheap to get, so that one slow peer does not
/// hold up the accepting of others.
pub struct Incoming {
    stream: Stream,
    tls: Option<TlsAcceptor>,
}

impl Incoming {
    /// Shakes hands where that is due.
    ///
    /// # Errors
    /// When the peer does not speak TLS or presents no acceptable certificate.
    pub async fn handshake(self) -> io::Result<Stream> {
        match (self.stream, self.tls) {
            (Stream::Tcp(tcp), Some(acceptor)) => {
                Ok(Stream::Tls(Box::new(acceptor.accept(tcp).await?)))
            }
            (stream, _) => Ok(stream),
        }
    }
}

impl Listener {
    /// Binds.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the socket's file cannot be made.
    pub fn bind(config: ListenerConfig) -> io::Result<Listener> {
        Ok(Listener(match config {
            ListenerConfig::Tcp(addr) => Bound::Tcp(bind_tcp(addr)?, None),
            ListenerConfig::Tls(addr, tls) => Bound::Tcp(bind_tcp(addr)?, Some(tls)),
            ListenerConfig::Unix(socket) => {
                let (listener, file) = bind_unix(socket)?;
                Bound::Unix(listener, file)
            }
        }))
    }

    /// The bound TCP address (with the port the system chose), `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Bound::Tcp(listener, _) => listener.get_ref().local_addr().ok(),
            Bound::Unix(..) => None,
        }
    }

    /// The unix socket's path.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Bound::Tcp(..) => None,
            Bound::Unix(_, file) => Some(&file.path),
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Those of `accept(2)`; most of them concern one connection only, so callers go on after a pause.
    pub async fn accept(&self) -> io::Result<(Incoming, Peer)> {
        match &self.0 {
            Bound::Tcp(listener, tls) => {
                let (stream, addr) = listener.accept().await?;
                tune(stream.get_ref());
                let incoming = Incoming {
                    stream: Stream::Tcp(stream),
                    tls: tls.as_ref().map(|tls| tls.acceptor()),
                };
                Ok((incoming, Peer::Ip(addr)))
            }
            Bound::Unix(listener, _) => {
                let stream = listener.accept().await?;
                let incoming = Incoming {
                    stream: Stream::Unix(stream),
                    tls: None,
                };
                Ok((incoming, Peer::Unix))
            }
        }
    }
}

/// Answers are small and go out at once; a peer that vanished is found out. A failure to set either is
/// no reason to refuse the connection.
fn tune(stream: &std::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

fn bind_tcp(addr: SocketAddr) -> io::Result<Async<TcpListener>> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // As Go: the unspecified IPv6 address also serves IPv4.
        let _ = socket.set_only_v6(!addr.ip().is_unspecified());
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Async::new(socket.into())
}

/// The file of a bound unix socket, removed with the listener.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn bind_unix(socket: UnixSocket) -> io::Result<(Async<UnixListener>, SocketFile)> {
    // What a run that was killed has left behind; anything but a socket is not ours to remove.
    if let Ok(meta) = std::fs::symlink_metadata(&socket.path) {
        use std::os::unix::fs::FileTypeExt;
        if !meta.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!(
                    "{} exists and is not a socket: remove it or choose another path",
                    socket.path.display()
                ),
            ));
        }
        std::fs::remove_file(&socket.path)?;
    }
    let listener = Async::new(UnixListener::bind(&socket.path)?)?;
    let file = SocketFile {
        inode: std::fs::symlink_metadata(&socket.path)?.ino(),
        path: socket.path,
    };
    if socket.user.is_some() || socket.group.is_some() {
        chown(&file.path, socket.user, socket.group)?;
    }
    if let Some(mode) = socket.mode {
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok((listener, file))
}

fn chown(path: &Path, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    std::os::unix::fs::chown(path, user, group).map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("cannot change the owner of {}: {e}", path.display()),
        )
    })
}

/// The id of a user: a number as it is, a name by the system's user table.
///
/// # Errors
/// When no such user exists.
pub fn user_id(name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    lookup(Path::new("/etc/passwd"), name).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("user: unknown user {name}"),
        )
    })
}

/// The id of a group: a number as it is, a name by the system's group table.
///
/// # Errors
/// When no such group exists.
pub fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    lookup(Path::new("/etc/group"), name).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("group: unknown group {name}"),
        )
    })
}

/// The third field of the line that starts with `name`, in a file of the shape of `/etc/passwd`: a
/// static binary cannot ask the C library's name service.
fn lookup(table: &Path, name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(table).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_by_name_and_number() {
        assert_eq!(user_id("root").unwrap(), 0);
        assert_eq!(group_id("12").unwrap(), 12);
        let text = user_id("no-such-user").unwrap_err().to_string();
        assert_eq!(text, "user: unknown user no-such-user");
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_goes_with_its_listener() {
        let dir = std::env::temp_dir().join(format!("consul-lite-net-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("http.sock");
        let socket = UnixSocket {
            path: path.clone(),
            mode: Some(0o640),
            ..UnixSocket::default()
        };
        let listener = Listener::bind(ListenerConfig::Unix(socket.clone())).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        // A second one takes over, and the first one's end does not remove the second one's file.
        let second = Listener::bind(ListenerConfig::Unix(socket)).unwrap();
        drop(listener);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_not_removed() {
        let path = std::env::temp_dir().join(format!("consul-lite-file-{}", std::process::id()));
        std::fs::write(&path, "data").unwrap();
        let socket = UnixSocket {
            path: path.clone(),
            ..UnixSocket::default()
        };
        assert!(Listener::bind(ListenerConfig::Unix(socket)).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        std::fs::remove_file(&path).unwrap();
    }
}
