//! Outgoing TCP connections and UDP sockets, with the words Go has for what goes wrong.
//!
//! Holds true: nothing here bounds its waiting; whoever calls does.
//! Source: Go's `net` package documentation; the literal outputs of `docs/reference/http-2.md` section 4.2.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::reactor::{Async, Timer};
use smol::future::FutureExt;

use crate::structs::{Error, Result};

/// The names of TCP ports that Go knows without asking the system.
const PORTS: [(&str, u16); 14] = [
    ("ftp", 21),
    ("ftps", 990),
    ("gopher", 70),
    ("http", 80),
    ("https", 443),
    ("imap2", 143),
    ("imap3", 220),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
    ("smtp", 25),
    ("ssh", 22),
    ("telnet", 23),
    ("domain", 53),
];

/// What `ECONNRESET` means.
pub(super) const RESET: &str = "connection reset by peer";

/// Splits `host:port` and `[v6]:port`.
///
/// # Errors
/// Go's words: `address 127.0.0.1: missing port in address`.
pub fn split_host_port(address: &str) -> Result<(&str, &str)> {
    let fault = |why: &str| Error::new(format!("address {address}: {why}"));
    let Some(colon) = address.rfind(':') else {
        return Err(fault("missing port in address"));
    };
    let (host, port) = (&address[..colon], &address[colon + 1..]);
    if let Some(inner) = address.strip_prefix('[') {
        let Some(end) = inner.find(']') else {
            return Err(fault("missing ']' in address"));
        };
        if end + 2 == address.len() {
            return Err(fault("missing port in address"));
        }
        if end + 2 != colon {
            return Err(fault("too many colons in address"));
        }
        return Ok((&inner[..end], port));
    }
    if host.contains(':') {
        return Err(fault("too many colons in address"));
    }
    Ok((host, port))
}

/// `host:port` of an address that may leave the port out: a host, an IP address, or an IPv6 address in brackets.
pub fn with_port(address: &str, port: u16) -> String {
    let inner = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    if let Ok(ip) = inner.unwrap_or(address).parse::<IpAddr>() {
        return SocketAddr::new(ip, port).to_string();
    }
    match address.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{port}"),
    }
}

/// The socket addresses of `host:port`; an empty host is this machine.
///
/// # Errors
/// Go's words, without the operation in front.
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    let (host, port) = split_host_port(address)?;
    let named = PORTS.iter().find(|p| p.0.eq_ignore_ascii_case(port));
    let number: u16 = match (port.parse(), named) {
        (Ok(n), _) => n,
        (_, Some((_, n))) => *n,
        _ if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(Error::new(format!("address {port}: invalid port")));
        }
        _ => return Err(Error::new(format!("address tcp/{port}: unknown port"))),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, number)]);
    }
    let name = host.to_owned();
    let found = smol::unblock(move || {
        let addresses = (name.as_str(), number).to_socket_addrs();
        addresses.map(Iterator::collect::<Vec<_>>)
    })
    .await;
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        _ => {
            // What is no name is not asked for.
            let server = name_server().filter(|_| is_domain_name(host));
            let server = server.map_or(String::new(), |s| format!(" on {s}"));
            Err(Error::new(format!("lookup {host}{server}: no such host")))
        }
    }
}

/// Whether Go's resolver would ask a name server for it.
fn is_domain_name(host: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let label =
        |l: &str| (1..=63).contains(&l.len()) && !l.starts_with('-') && l.bytes().all(letter);
    let name = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 254 && name.split('.').all(label)
}

/// The system's first name server with its port, for the error text.
fn name_server() -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let server = text.lines().find_map(|l| l.strip_prefix("nameserver"))?;
    Some(SocketAddr::new(server.trim().parse().ok()?, 53))
}

/// Connects to an address within a limit, from the source address given; small messages are not held back.
///
/// # Errors
/// Go's words: `dial tcp 127.0.0.1:1: connect: connection refused`, `dial tcp 10.0.0.1:1: i/o timeout`.
pub async fn within(
    limit: Duration,
    to: SocketAddr,
    from: Option<IpAddr>,
) -> Result<Async<TcpStream>> {
    let dial = async {
        let from = from.filter(|ip| ip.is_ipv4() == to.is_ipv4());
        let stream = Async::<TcpStream>::connect(to, from)
            .await
            .map_err(|e| Error::new(format!("dial tcp {to}: connect: {}", errno_text(&e))))?;
        // A connection works without it, only slower.
        let _ = stream.get_ref().set_nodelay(true);
        Ok(stream)
    };
    let timeout = async {
        Timer::after(limit).await;
        Err(Error::new(format!("dial tcp {to}: i/o timeout")))
    };
    dial.or(timeout).await
}

/// Connects to `host:port`, trying each address of the host in turn.
///
/// # Errors
/// Go's words: `dial tcp 127.0.0.1:1: connect: connection refused`; of several addresses the first one's.
pub async fn tcp(address: &str) -> Result<Async<TcpStream>> {
    let addresses = resolve(address)
        .await
        .map_err(|e| Error::new(format!("dial tcp: {e}")))?;
    let mut first = None;
    for to in addresses {
        match Async::<TcpStream>::connect(to, None).await {
            Ok(stream) => return Ok(stream),
            Err(e) => {
                // Go does not say which address it took for an empty host.
                let shown = match address.starts_with(':') {
                    true => address.to_owned(),
                    false => to.to_string(),
                };
                let text = format!("dial tcp {shown}: connect: {}", errno_text(&e));
                first.get_or_insert(text);
            }
        }
    }
    Err(Error::new(first.unwrap_or_default()))
}

/// Connects to a unix socket.
///
/// # Errors
/// Go's words: `dial unix /tmp/s: connect: no such file or directory`.
pub async fn unix(path: &str) -> Result<Async<UnixStream>> {
    Async::<UnixStream>::connect(path)
        .await
        .map_err(|e| Error::new(format!("dial unix {path}: connect: {}", errno_text(&e))))
}

/// A UDP socket that talks to `host:port` only.
///
/// # Errors
/// Go's words.
pub async fn udp(address: &str) -> Result<Async<UdpSocket>> {
    let addresses = resolve(address)
        .await
        .map_err(|e| Error::new(format!("dial udp: {e}")))?;
    let fault = |e: io::Error| Error::new(format!("dial udp {address}: {}", errno_text(&e)));
    let Some(to) = addresses.first() else {
        return Err(Error::new(format!("dial udp {address}: no such host")));
    };
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).map_err(fault)?;
    socket.connect(to).map_err(fault)?;
    Async::new(socket).map_err(fault)
}

/// What Go prints for a system error.
pub fn errno_text(error: &io::Error) -> String {
    let known = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused",
        Some(libc::ECONNRESET) => RESET,
        Some(libc::EHOSTUNREACH) => "no route to host",
        Some(libc::ENETUNREACH) => "network is unreachable",
        Some(libc::ETIMEDOUT) => "connection timed out",
        Some(libc::EPIPE) => "broken pipe",
        Some(libc::ENOENT) => "no such file or directory",
        Some(libc::EACCES) => "permission denied",
        Some(libc::EPERM) => "operation not permitted",
        Some(libc::ENOEXEC) => "exec format error",
        Some(libc::EISDIR) => "is a directory",
        Some(libc::ENOTDIR) => "not a directory",
        Some(libc::EADDRINUSE) => "address already in use",
        Some(libc::EADDRNOTAVAIL) => "cannot assign requested address",
        Some(libc::EINVAL) => "invalid argument",
        Some(libc::ENOSPC) => "no space left on device",
        Some(libc::EMFILE) => "too many open files",
        Some(libc::E2BIG) => "argument list too long",
        Some(libc::ENOMEM) => "cannot allocate memory",
        Some(libc::EAGAIN) => "resource temporarily unavailable",
        Some(_) => {
            let text = error.to_string().to_lowercase();
            let end = text.find(" (os error").unwrap_or(text.len());
            return text[..end].to_owned();
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF",
        None => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_left_out() {
        for (address, whole) in [
            ("8.8.8.8", "8.8.8.8:53"),
            ("8.8.8.8:5353", "8.8.8.8:5353"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
            ("localhost", "localhost:53"),
            ("localhost:5353", "localhost:5353"),
        ] {
            assert_eq!(with_port(address, 53), whole);
        }
    }

    #[test]
    fn addresses_split_as_in_go() {
        assert_eq!(split_host_port("a:1"), Ok(("a", "1")));
        assert_eq!(split_host_port("[::1]:80"), Ok(("::1", "80")));
        assert_eq!(split_host_port(":80"), Ok(("", "80")));
        for (address, why) in [
            ("127.0.0.1", "missing port in address"),
            ("::1", "too many colons in address"),
            ("[::1", "missing ']' in address"),
            ("[::1]", "missing port in address"),
            ("[::1]x:1", "too many colons in address"),
        ] {
            let text = format!("address {address}: {why}");
            assert_eq!(split_host_port(address), Err(Error::new(text)));
        }
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for (name, wanted) in [
            ("a.b-c.d_e.", true),
            ("10.0.0.1", true),
            ("x y", false),
            ("a..b", false),
            ("-a", false),
            ("", false),
        ] {
            assert_eq!(is_domain_name(name), wanted, "{name}");
        }
        let long = "x".repeat(64);
        assert!(!is_domain_name(&long));
    }

    #[test]
    fn a_refused_connection_reads_as_in_go() {
        let (_taken, address) = crate::net::deaf();
        let address = address.to_string();
        let text = crate::net::block_on(tcp(&address)).unwrap_err().to_string();
        assert_eq!(
            text,
            format!("dial tcp {address}: connect: connection refused")
        );
        let text = crate::net::block_on(tcp("127.0.0.1"))
            .unwrap_err()
            .to_string();
        assert_eq!(text, "dial tcp: address 127.0.0.1: missing port in address");
    }
}
