//! The listening side: UDP loops and TCP connections of one agent's DNS interface.
//!
//! Holds true: a query that is answered without waiting costs no task; one that waits does not hold up
//! the others; queries in flight, connections, and questions per connection have a maximum.
//! Source: `docs/reference/dns.md` section 1; RFC 1035 section 4.2, RFC 7766.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smol::future::{or, poll_once, yield_now};
use smol::lock::Semaphore;

use super::handler::{Client, Dns};
use super::request::{Received, read};
use crate::drive;
use crate::net::udp::{Sender, UdpListener};
use crate::net::{Listener, ListenerConfig, Peer, Stream};

/// UDP queries of one listener that wait for a lookup or a recursor; more are dropped.
const MAX_IN_FLIGHT: usize = 2048;
/// Open TCP connections of one listener; more are closed at once.
const MAX_CONNECTIONS: usize = 512;
/// Questions that one TCP connection may ask.
const MAX_QUESTIONS: usize = 128;
/// A TCP message up to this many bytes is read as it comes: a question with all that EDNS adds.
const SMALL_MESSAGE: usize = 4096;
/// Larger messages read at a time; with more, their connections are closed.
const MAX_LARGE: usize = 16;
/// Silence after which a TCP connection is closed.
const TCP_IDLE: Duration = Duration::from_secs(8);
/// Longest wait for the rest of a message whose length has come.
const TCP_READ: Duration = Duration::from_secs(2);
/// Longest wait for a client to take its answer over TCP.
const TCP_WRITE: Duration = Duration::from_secs(8);
/// Largest datagram that is read.
const MAX_DATAGRAM: usize = 65535;
/// Datagrams that a loop answers before it lets other tasks run.
const BURST: usize = 64;
/// Receive loops of one UDP socket: one thread serves while another waits for its turn.
const UDP_LOOPS: usize = 2;
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running listeners.
pub struct Server {
    addresses: Vec<SocketAddr>,
    /// Held so that they end with the server.
    tasks: Vec<drive::Task<()>>,
    /// Ends what waits in tasks of its own.
    ending: drive::Shutdown,
}

impl Server {
    /// Binds every address for UDP and TCP and serves.
    ///
    /// # Errors
    /// What Go says when an address is taken, for example
    /// `listen udp 127.0.0.1:8600: bind: address already in use`; nothing is served then.
    pub fn start(
        handle: &drive::Handle,
        dns: &Arc<Dns>,
        addresses: &[SocketAddr],
    ) -> io::Result<Self> {
        let fault = |network: &str, address: SocketAddr, error: io::Error| {
            let text = crate::net::dial::errno_text(&error);
            io::Error::new(
                error.kind(),
                format!("listen {network} {address}: bind: {text}"),
            )
        };
        let mut bound = Vec::new();
        for &wanted in addresses {
            let udp = UdpListener::bind(wanted).map_err(|e| fault("udp", wanted, e))?;
            // Port 0 is for tests: both networks then share the port that was chosen.
            let address = udp.local_addr().unwrap_or(wanted);
            let tcp = Listener::bind(ListenerConfig::Tcp(address));
            let tcp = tcp.map_err(|e| fault("tcp", address, e))?;
            bound.push((address, udp, tcp));
        }
        let mut server = Self {
            addresses: Vec::new(),
            tasks: Vec::new(),
            ending: drive::Shutdown::default(),
        };
        for (address, udp, tcp) in bound {
            let udp = Arc::new(Datagrams {
                dns: dns.clone(),
                socket: udp,
                handle: handle.clone(),
                ending: server.ending.clone(),
                in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            });
            for _ in 0..UDP_LOOPS {
                server.tasks.push(handle.spawn(udp.clone().serve()));
            }
            let tcp = accept(dns.clone(), tcp, handle.clone(), server.ending.clone());
            server.tasks.push(handle.spawn(tcp));
            for network in ["udp", "tcp"] {
                log::info!(target: "agent", "Started DNS server: address={address} network={network}");
            }
            server.addresses.push(address);
        }
        Ok(server)
    }

    /// The addresses served, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops serving; the sockets are closed when it returns.
    pub async fn stop(self) {
        for address in &self.addresses {
            for network in ["tcp", "udp"] {
                log::info!(
                    target: "agent",
                    "Stopping server: protocol=DNS address={address} network={network}"
                );
            }
        }
        self.ending.trigger();
        for task in self.tasks {
            task.cancel().await;
        }
    }
}

struct Datagrams {
    dns: Arc<Dns>,
    socket: UdpListener,
    handle: drive::Handle,
    ending: drive::Shutdown,
    /// Queries that wait in tasks of their own.
    in_flight: Arc<Semaphore>,
}

impl Datagrams {
    async fn serve(self: Arc<Self>) {
        let mut buf = vec![0; MAX_DATAGRAM];
        let mut burst = 0;
        loop {
            match self.socket.recv(&mut buf).await {
                Ok((length, sender)) => {
                    let packet = buf.get(..length).unwrap_or_default();
                    self.received(packet, sender).await;
                }
                Err(error) => {
                    log::debug!(target: "agent.dns", "UDP receive failed: error={error}");
                    // Errors of earlier answers (ICMP) are reported here; none lasts.
                    drive::sleep(ACCEPT_PAUSE).await;
                }
            }
            burst += 1;
            if burst == BURST {
                burst = 0;
                yield_now().await;
            }
        }
    }

    async fn received(self: &Arc<Self>, packet: &[u8], sender: Sender) {
        let request = match read(packet) {
            Received::Request(request) => request,
            Received::Answer(bytes) => return self.send(&bytes, &sender),
            Received::Silence => return,
        };
        let settings = self.dns.settings();
        let packet = if Dns::needs_packet(&settings, &request) {
            packet.to_vec()
        } else {
            Vec::new()
        };
        let client = Client {
            address: sender.peer,
            udp: true,
        };
        let this = self.clone();
        let mut answering = Box::pin(async move {
            let bytes = this.dns.answer(&settings, &request, &packet, client).await;
            this.send(&bytes, &sender);
        });
        // Most answers are there at once; the others go on beside this loop.
        if poll_once(&mut answering).await.is_some() {
            return;
        }
        let Some(slot) = self.in_flight.try_acquire_arc() else {
            return;
        };
        let this = self.clone();
        let task = async move {
            or(answering, this.ending.triggered()).await;
            drop(slot);
        };
        self.handle.spawn(task).detach();
    }

    fn send(&self, bytes: &[u8], to: &Sender) {
        if let Err(error) = self.socket.send(bytes, to) {
            log::warn!(target: "agent.dns", "failed to respond: error={error}");
        }
    }
}

async fn accept(dns: Arc<Dns>, listener: Listener, handle: drive::Handle, ending: drive::Shutdown) {
    let open = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let large = Arc::new(Semaphore::new(MAX_LARGE));
    loop {
        let (incoming, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                log::warn!(target: "agent.dns", "TCP accept failed: error={error}");
                drive::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Peer::Ip(address) = peer else {
            continue;
        };
        let Some(slot) = open.try_acquire_arc() else {
            continue;
        };
        let (dns, large, ending) = (dns.clone(), large.clone(), ending.clone());
        let serve = async move {
            let serve = async {
                let mut stream = incoming.handshake().await?;
                connection(&dns, &mut stream, address, &large).await
            };
            let ended = async {
                ending.triggered().await;
                Ok(())
            };
            if let Err(error) = or(serve, ended).await {
                log::debug!(target: "agent.dns", "TCP connection ended: client={address} error={error}");
            }
            drop(slot);
        };
        handle.spawn(serve).detach();
    }
}

/// Answers the questions of one connection in their order.
async fn connection(
    dns: &Dns,
    stream: &mut Stream,
    address: SocketAddr,
    large: &Semaphore,
) -> io::Result<()> {
    let client = Client {
        address,
        udp: false,
    };
    let silent = |_| io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..MAX_QUESTIONS {
        let mut length = [0; 2];
        let first = stream.read_exact(&mut length);
        if !drive::timeout(TCP_IDLE, first).await.map_err(silent)?? {
            return Ok(());
        }
        let length = usize::from(u16::from_be_bytes(length));
        let _room = match large.try_acquire() {
            None if length > SMALL_MESSAGE => return Ok(()),
            room => room.filter(|_| length > SMALL_MESSAGE),
        };
        let mut packet = vec![0; length];
        let rest = stream.read_exact(&mut packet);
        if !drive::timeout(TCP_READ, rest).await.map_err(silent)?? {
            return Ok(());
        }
        let bytes = match read(&packet) {
            Received::Request(request) => {
                let settings = dns.settings();
                dns.answer(&settings, &request, &packet, client).await
            }
            Received::Answer(bytes) => bytes,
            Received::Silence => continue,
        };
        let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut message = Vec::with_capacity(bytes.len() + 2);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(&bytes);
        let write = stream.write_all(&message);
        drive::timeout(TCP_WRITE, write).await.map_err(silent)??;
    }
    Ok(())
}
