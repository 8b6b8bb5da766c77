//! UDP and TCP of a pool, on one port.
//!
//! Holds true: connections are bounded in number, for each peer, in time, and in the bytes that they hold
//! together; a connection carries one message each way.
//! Source: `docs/reference/gossip.md` section 4.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use smol::channel::Receiver;
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::shared::Shared;
use crate::drive::clock::{self, Instant};
use crate::drive::runtime::{Handle, Shutdown};
use crate::drive::tasks::TaskSet;
use crate::gossip::codec::framing::Framer;
use crate::net::acceptor::{Accepted, Acceptor};
use crate::net::dial;
use crate::net::udp::UdpListener;
use crate::structs::{Error, Result};
use crate::telemetry::metrics;

/// Longest datagram.
const MAX_DATAGRAM: usize = 65_536;
/// Datagrams taken at a time before timers get their turn.
const BATCH: usize = 64;
/// Incoming connections at a time, as memberlist's bound of exchanges.
const MAX_CONNECTIONS: usize = 128;
/// Incoming connections of one address at a time.
const MAX_PER_PEER: usize = 64;
/// Bytes of unfinished messages that all incoming connections hold together.
const MAX_HELD: usize = 32 << 20;
/// Bytes read at once.
const CHUNK: usize = 16 << 10;
/// Pause after a failure that may pass, such as want of file descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// Both sockets.
pub(super) struct Sockets {
    pub udp: UdpListener,
    pub tcp: Acceptor,
}

impl Sockets {
    /// Binds both; a port of 0 takes any that is free for both.
    pub fn bind(addr: SocketAddr) -> Result<Self> {
        let fault = |network: &str, e: io::Error| {
            let why = dial::errno_text(&e);
            let (ip, port) = (addr.ip(), addr.port());
            let (upper, lower) = (network.to_uppercase(), network);
            Error::new(format!(
                "Failed to create memberlist: Could not set up network transport: failed to obtain an address: \
                 Failed to start {upper} listener on \"{ip}\" port {port}: listen {lower} {addr}: bind: {why}"
            ))
        };
        let tcp = Acceptor::bind(addr, MAX_PER_PEER).map_err(|e| fault("tcp", e))?;
        let bound = tcp.local_addr().map_err(|e| fault("tcp", e))?;
        let udp = UdpListener::bind(bound).map_err(|e| fault("udp", e))?;
        Ok(Self { udp, tcp })
    }

    /// The port of both.
    pub fn port(&self) -> u16 {
        self.udp.local_addr().map_or(0, |addr| addr.port())
    }
}

/// What incoming connections may take.
pub(super) struct Limits {
    time: Duration,
    pub loggers: [String; 2],
}

impl Limits {
    pub fn new(time: Duration, loggers: &[String; 2]) -> Self {
        Self {
            time,
            loggers: loggers.clone(),
        }
    }
}

/// Takes datagrams and lets time pass, until the end.
pub(super) async fn serve_udp(shared: Arc<Shared>, wake: Receiver<()>, shutdown: Shutdown) {
    let mut buf = vec![0; MAX_DATAGRAM];
    while !shutdown.is_triggered() {
        let deadline = shared.next_tick();
        let tick = async {
            match deadline {
                Some(at) => clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
            Woken::Time
        };
        let told = async {
            match wake.recv().await {
                Ok(()) => Woken::Told,
                Err(_) => std::future::pending().await,
            }
        };
        let end = async {
            shutdown.triggered().await;
            Woken::Told
        };
        let datagram = async { Woken::Datagram(shared.udp.recv(&mut buf).await) };
        match tick.or(told).or(end).or(datagram).await {
            Woken::Time => shared.tick(),
            Woken::Told => {}
            Woken::Datagram(Ok((length, from))) => {
                take(&shared, from.peer, &buf[..length]);
                for _ in 1..BATCH {
                    let Ok((length, from)) = shared.udp.try_recv(&mut buf) else {
                        break;
                    };
                    take(&shared, from.peer, &buf[..length]);
                }
            }
            Woken::Datagram(Err(e)) => {
                log::error!(target: &shared.loggers[0], "memberlist: Error reading UDP packet: {e}");
                clock::sleep(RETRY).await;
            }
        }
    }
}

/// What woke the loop.
enum Woken {
    Time,
    Told,
    Datagram(io::Result<(usize, crate::net::udp::Sender)>),
}

fn take(shared: &Arc<Shared>, from: SocketAddr, bytes: &[u8]) {
    metrics::MEMBERLIST_PACKETS_RECEIVED.add(bytes.len() as f64);
    let from = canonical(from);
    shared.feed(|core, now| core.pool.handle_packet(now, from, bytes));
}

/// A socket for both families reports IPv4 as mapped addresses.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Bytes that a connection holds, given back when it ends.
struct Held {
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Held {
    /// Takes more; false when all together would hold too much.
    fn take(&mut self, bytes: usize) -> bool {
        self.own += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_HELD
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

/// Accepts connections until the end.
pub(super) async fn serve_tcp(
    shared: Arc<Shared>,
    runtime: Handle,
    acceptor: Acceptor,
    limits: Limits,
    shutdown: Shutdown,
) {
    let connections = TaskSet::new(runtime);
    let held = Arc::new(AtomicUsize::new(0));
    let logger = limits.loggers[0].clone();
    let accept = async {
        loop {
            match acceptor.accept().await {
                Ok(Some(accepted)) if connections.len() < MAX_CONNECTIONS => {
                    metrics::MEMBERLIST_STREAM_ACCEPT.incr();
                    let (shared, logger) = (shared.clone(), logger.clone());
                    let held = Held {
                        all: held.clone(),
                        own: 0,
                    };
                    connections.spawn(async move {
                        let from = canonical(accepted.peer);
                        let serve = serve_connection(&shared, accepted, from, held);
                        let served = clock::timeout(limits.time, serve).await;
                        if let Err(e) = served.unwrap_or_else(|_| Err("i/o timeout".to_owned())) {
                            log::error!(target: &logger, "memberlist: failed to receive: {e} from={from}");
                        }
                    });
                }
                Ok(_) => {
                    log::error!(target: &logger, "memberlist: Too many pending push/pull requests");
                }
                Err(e) => {
                    log::error!(target: &logger, "memberlist: Error accepting TCP connection: {e}");
                    clock::sleep(RETRY).await;
                }
            }
        }
    };
    accept.or(shutdown.triggered()).await;
}

/// Reads one message and answers it.
async fn serve_connection(
    shared: &Arc<Shared>,
    mut accepted: Accepted,
    from: SocketAddr,
    mut held: Held,
) -> std::result::Result<(), String> {
    log::debug!(target: &shared.loggers[0], "memberlist: Stream connection from={from}");
    let stream = &mut accepted.stream;
    let Some(message) = read_message(stream, |n| held.take(n)).await? else {
        // Port scanners and health checks connect and leave.
        return Ok(());
    };
    let answer = shared.feed(|core, now| core.pool.handle_stream(now, from, &message));
    drop(message);
    let sent = stream.write_all(&answer).await;
    sent.map_err(|e| dial::errno_text(&e))?;
    metrics::MEMBERLIST_STREAM_SENT.add(answer.len() as f64);
    // The peer may be gone already.
    let _ = stream.close().await;
    Ok(())
}

/// Sends one message and reads one.
pub(super) async fn dial(
    to: SocketAddr,
    bytes: Vec<u8>,
    deadline: Instant,
) -> std::result::Result<Vec<u8>, String> {
    let left = deadline.saturating_duration_since(clock::now());
    let mut stream = dial::within(left, to, None)
        .await
        .map_err(|e| e.to_string())?;
    metrics::MEMBERLIST_STREAM_CONNECT.incr();
    let exchange = async {
        let sent = stream.write_all(&bytes).await;
        sent.map_err(|e| dial::errno_text(&e))?;
        metrics::MEMBERLIST_STREAM_SENT.add(bytes.len() as f64);
        drop(bytes);
        let answer = read_message(&mut stream, |_| true).await?;
        answer.ok_or_else(|| "EOF".to_owned())
    };
    let exchanged = clock::timeout_at(deadline, exchange).await;
    exchanged.unwrap_or_else(|_| Err(format!("read tcp {to}: i/o timeout")))
}

/// Reads one message; nothing when the stream ends before its first byte. `may_hold` is asked for every byte.
async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    mut may_hold: impl FnMut(usize) -> bool,
) -> std::result::Result<Option<Vec<u8>>, String> {
    let mut framer = Framer::default();
    let mut chunk = vec![0; CHUNK];
    let mut first = true;
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) if first => return Ok(None),
            Ok(0) => return Err("unexpected EOF".to_owned()),
            Ok(n) => {
                first = false;
                if !may_hold(n) {
                    return Err("too many bytes of unfinished messages".to_owned());
                }
                if let Some(message) = framer.push(&chunk[..n]).map_err(|e| e.to_string())? {
                    return Ok(Some(message));
                }
            }
            Err(e) => return Err(dial::errno_text(&e)),
        }
    }
}
