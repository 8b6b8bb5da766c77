//! Multicast UDP on the machine's links, as multicast DNS needs it.
//!
//! Holds true: what is sent goes out on the links that were asked for, with the hop limit that shows
//! receivers that nobody has forwarded it.
//! Source: ip(7), ipv6(7), RFC 6762 section 11.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::reactor::Async;

/// Hops that a message may have left: the largest number shows that it made none.
const HOPS: u32 = 255;
/// Addresses of the machine that are looked at, at most.
const MAX_LINKS: usize = 64;

/// One address of the machine on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The address.
    pub ip: IpAddr,
    /// The interface's number.
    pub index: u32,
}

/// The links to reach others that can reach `own`: the one with that address, else all but the loopback.
pub fn links(own: IpAddr) -> Vec<Link> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let link = |one: &if_addrs::Interface| Link {
        ip: one.ip(),
        index: one.index.unwrap_or(0),
    };
    let exact = all.iter().find(|one| one.ip() == own).map(|one| one.index);
    let fits = |one: &&if_addrs::Interface| match exact {
        Some(index) => one.index == index,
        None => one.is_loopback() == own.is_loopback(),
    };
    all.iter().filter(fits).map(link).take(MAX_LINKS).collect()
}

/// A socket of one address family.
pub struct Multicast {
    socket: Async<UdpSocket>,
    group: SocketAddr,
}

impl Multicast {
    /// Binds a port, which others may have bound too; 0 takes a free one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind(group: SocketAddr, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        let any: IpAddr = match group {
            SocketAddr::V4(_) => {
                socket.set_multicast_ttl_v4(HOPS)?;
                Ipv4Addr::UNSPECIFIED.into()
            }
            SocketAddr::V6(_) => {
                socket.set_only_v6(true)?;
                socket.set_multicast_hops_v6(HOPS)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        socket.bind(&SocketAddr::new(any, port).into())?;
        Ok(Self {
            socket: Async::new(socket.into())?,
            group,
        })
    }

    /// Receives what is sent to the group on a link. Links of the other family are passed over.
    ///
    /// # Errors
    /// Those of the system.
    pub fn join(&self, link: Link) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match (self.group.ip(), link.ip) {
            (IpAddr::V4(group), IpAddr::V4(ip)) => socket.join_multicast_v4(&group, &ip),
            (IpAddr::V6(group), IpAddr::V6(_)) => socket.join_multicast_v6(&group, link.index),
            _ => Ok(()),
        }
    }

    /// Sends to the group on a link. Links of the other family are passed over.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send(&self, link: Link, bytes: &[u8]) -> io::Result<()> {
        let socket = socket2::SockRef::from(self.socket.get_ref());
        match (self.group, link.ip) {
            (SocketAddr::V4(_), IpAddr::V4(ip)) => socket.set_multicast_if_v4(&ip)?,
            (SocketAddr::V6(_), IpAddr::V6(_)) => socket.set_multicast_if_v6(link.index)?,
            _ => return Ok(()),
        }
        self.send_to(self.group, bytes)
    }

    /// Sends to one address. When the system's buffer is full it is dropped, as UDP may.
    ///
    /// # Errors
    /// Those of the system.
    pub fn send_to(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        match self.socket.get_ref().send_to(bytes, to) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    /// Waits for a datagram.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buf).await
    }
}
