//! UDP sockets that serve: datagrams in, answers back from the address that was asked.
//!
//! Holds true: a socket bound to every address answers from the one the datagram came to, else clients
//! on machines with several addresses would take the answer for somebody else's.
//! Source: ip(7) `IP_PKTINFO`, ipv6(7) `IPV6_PKTINFO`, cmsg(3).

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::reactor::Async;

/// Bytes of datagrams that the kernel holds for us, as far as it allows: a burst of some thousands.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Room for the control message with the local address, and some.
const CONTROL: usize = 128;

/// Who sent a datagram, and to which of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The client.
    pub peer: SocketAddr,
    /// Our address, known on sockets that are bound to every address.
    local: Option<IpAddr>,
}

/// A bound UDP socket.
pub struct UdpListener {
    socket: Async<UdpSocket>,
    /// Whether the local address of each datagram matters.
    any: bool,
}

impl UdpListener {
    /// Binds.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        let any = addr.ip().is_unspecified();
        if addr.is_ipv6() {
            // As Go: the unspecified IPv6 address also serves IPv4.
            let _ = socket.set_only_v6(!any);
        }
        // The system may grant less.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        if any {
            let (level, option) = match addr {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            };
            let on: libc::c_int = 1;
            // SAFETY: the pointer and the length are those of `on`, which outlives the call.
            let result = unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    level,
                    option,
                    (&raw const on).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        socket.bind(&addr.into())?;
        Ok(Self {
            socket: Async::new(socket.into())?,
            any,
        })
    }

    /// The bound address, with the port the system chose.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.get_ref().local_addr().ok()
    }

    /// Waits for a datagram; one longer than the buffer is cut.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`; they concern one datagram only.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<(usize, Sender)> {
        loop {
            match self.try_recv(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.socket.readable().await,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    /// A datagram that has come already; one longer than the buffer is cut.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, and those of `recvmsg(2)`.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<(usize, Sender)> {
        if self.any {
            return self.recv_with_local(buf);
        }
        let (length, peer) = self.socket.get_ref().recv_from(buf)?;
        Ok((length, Sender { peer, local: None }))
    }

    /// Sends an answer to a datagram's sender. When the system's buffer is full it is dropped, as UDP may.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`.
    pub fn send(&self, bytes: &[u8], to: &Sender) -> io::Result<()> {
        let sent = match to.local {
            Some(local) if self.any => self.send_from(bytes, to.peer, local),
            _ => self.socket.get_ref().send_to(bytes, to.peer).map(|_| ()),
        };
        match sent {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    /// Sends a datagram that answers none. When the system's buffer is full it is dropped, as UDP may.
    ///
    /// # Errors
    /// Those of `sendto(2)`.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = self.socket.get_ref();
        let to = match (socket.local_addr()?, to) {
            // A socket for both families knows IPv4 as mapped addresses.
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => to,
        };
        match socket.send_to(bytes, to) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(|_| ()),
        }
    }

    fn recv_with_local(&self, buf: &mut [u8]) -> io::Result<(usize, Sender)> {
        let mut iov = libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: buf.len(),
        };
        let mut control = MaybeUninit::<[u64; CONTROL / 8]>::uninit();
        let mut name = SockAddrStorage::zeroed();
        // SAFETY: all zero is a valid msghdr (C's own idiom); it has fields that differ between C libraries.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = name.size_of();
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        // SAFETY: every pointer of the message is to a live local of the stated length.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the kernel has filled in an address of the length it states.
        let peer = unsafe { SockAddr::new(name, message.msg_namelen) };
        let peer = peer
            .as_socket()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        // SAFETY: the kernel has filled in the control buffer up to the length that the message states.
        let local = unsafe { local_address(&message) };
        Ok((length, Sender { peer, local }))
    }

    fn send_from(&self, bytes: &[u8], peer: SocketAddr, local: IpAddr) -> io::Result<()> {
        let peer = SockAddr::from(peer);
        let mut iov = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut control = [0u64; CONTROL / 8];
        // SAFETY: all zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = peer.as_ptr().cast_mut().cast();
        message.msg_namelen = peer.len();
        message.msg_iov = &raw mut iov;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        // SAFETY: the control buffer is zeroed, aligned for a header, and larger than either message.
        unsafe { put_local_address(&mut message, local) };
        // SAFETY: every pointer of the message is to live memory of the stated length.
        let sent = unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// The address a datagram was sent to.
///
/// # Safety
/// The message's control buffer must be what `recvmsg` has left.
unsafe fn local_address(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay inside of the control buffer; the data of these two
    // types is at least as long as the structure that is read.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(h) = header.as_ref() {
            match (h.cmsg_level, h.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = libc::CMSG_DATA(header).cast::<libc::in_pktinfo>();
                    let raw = info.read_unaligned().ipi_spec_dst.s_addr;
                    return Some(IpAddr::V4(Ipv4Addr::from(raw.to_ne_bytes())));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>();
                    let raw = info.read_unaligned().ipi6_addr.s6_addr;
                    return Some(IpAddr::V6(Ipv6Addr::from(raw)));
                }
                _ => header = libc::CMSG_NXTHDR(message, header),
            }
        }
    }
    None
}

/// Puts the source address into the control buffer.
///
/// # Safety
/// The control buffer must be zeroed, aligned as `cmsghdr`, and hold either structure.
unsafe fn put_local_address(message: &mut libc::msghdr, local: IpAddr) {
    // SAFETY: by the contract above, header and data lie inside of the control buffer.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        let Some(h) = header.as_mut() else {
            return;
        };
        let size = match local {
            IpAddr::V4(ip) => {
                let mut info: libc::in_pktinfo = zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(ip.octets());
                h.cmsg_level = libc::IPPROTO_IP;
                h.cmsg_type = libc::IP_PKTINFO;
                libc::CMSG_DATA(header)
                    .cast::<libc::in_pktinfo>()
                    .write_unaligned(info);
                size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(ip) => {
                let mut info: libc::in6_pktinfo = zeroed();
                info.ipi6_addr.s6_addr = ip.octets();
                h.cmsg_level = libc::IPPROTO_IPV6;
                h.cmsg_type = libc::IPV6_PKTINFO;
                libc::CMSG_DATA(header)
                    .cast::<libc::in6_pktinfo>()
                    .write_unaligned(info);
                size_of::<libc::in6_pktinfo>()
            }
        } as libc::c_uint;
        h.cmsg_len = libc::CMSG_LEN(size) as _;
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_from_the_address_that_was_asked() {
        for (bind, ask) in [
            ("0.0.0.0:0", "127.0.0.77"),
            ("127.0.0.1:0", "127.0.0.1"),
            ("[::]:0", "127.0.0.78"),
            ("[::]:0", "::1"),
        ] {
            let Ok(server) = UdpListener::bind(bind.parse().unwrap()) else {
                eprintln!("skipped {bind}: no IPv6 here");
                continue;
            };
            let port = server.local_addr().unwrap().port();
            let ask: IpAddr = ask.parse().unwrap();
            let any = if ask.is_ipv4() {
                "127.0.0.1:0"
            } else {
                "[::1]:0"
            };
            let Ok(client) = UdpSocket::bind(any) else {
                continue;
            };
            client.connect((ask, port)).unwrap();
            client
                .set_read_timeout(Some(std::time::Duration::from_secs(5)))
                .unwrap();
            client.send(b"ping").unwrap();
            let mut buf = [0; 16];
            let (length, from) = crate::net::block_on(server.recv(&mut buf)).unwrap();
            assert_eq!(&buf[..length], b"ping");
            server.send(b"pong", &from).unwrap();
            // A connected socket takes datagrams of its peer only.
            let length = client.recv(&mut buf).unwrap();
            assert_eq!(&buf[..length], b"pong", "{bind} asked at {ask}");
        }
    }
}
