//! Calls to servers: one connection per server, one stream per call in flight.
//!
//! Holds true: connections and idle streams are bounded and closed when unused; a call that fails before an
//! answer came says so, so that whoever calls can decide about trying again.
//! Leaves to others: which server to call, and trying again (`server`, `client`).
//! Source: `docs/reference/rpc.md` sections 3, 4 and 9.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smol::Task;
use smol::io::AsyncWriteExt;

use super::dial;
use super::message::MessageReader;
use super::mux::{self, MuxStream, Opener};
use super::room::{self, Room};
use crate::atomic::AtomicU64;
use crate::structs::rpc::{Class, Reply, Request};
use crate::structs::{Error, RPC_RATE_EXCEEDED};
use crate::wire::rpc;

/// First byte of a connection whose streams carry RPC.
pub const RPC_MULTIPLEX: u8 = 4;
/// Limit of a dial.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one answer at most.
pub const MAX_MESSAGE: usize = 64 << 20;
/// A connection unused for so long is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(127);
/// Time between the probes of an idle connection, as Go's.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Idle streams kept per connection: a new one costs more than the call. Each sweep lets go of half of those that
/// were not needed meanwhile.
const MAX_IDLE_STREAMS: usize = 256;

/// Runs a future beside the caller; dropping the task ends it.
pub type Spawner = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) -> Task<()> + Send + Sync>;

/// Why a call got no result.
#[derive(Debug)]
pub enum CallError {
    /// The server could not be reached; it has not heard of the call.
    Unreachable(String),
    /// The connection broke after the call was sent: it may or may not have been carried out.
    Broken(io::Error),
    /// The server answered with an error.
    Remote(Error),
}

impl CallError {
    /// The error of a snapshot as the user reads it: without the prefix of other calls.
    pub fn plain(&self) -> Error {
        Error::new(match self {
            CallError::Unreachable(why) => why.clone(),
            CallError::Broken(why) => format!("failed to decode response: {why}"),
            CallError::Remote(why) => why.text().to_owned(),
        })
    }

    /// The error as the one whose call was relayed reads it.
    pub fn relayed(&self) -> Error {
        Error::new(match self {
            CallError::Unreachable(why) => format!("rpc error getting client: {why}"),
            CallError::Broken(why) if why.kind() == io::ErrorKind::UnexpectedEof => {
                "rpc error making call: EOF".to_owned()
            }
            CallError::Broken(why) => format!("rpc error making call: {why}"),
            CallError::Remote(why) => format!("rpc error making call: {why}"),
        })
    }
}

/// One stream with its call counter's reader.
type RpcStream = MessageReader<MuxStream>;

/// Streams that carry no call, the last used on top.
#[derive(Default)]
struct Idle {
    streams: Vec<RpcStream>,
    /// The fewest there were since the last sweep: so many were not needed.
    spare: usize,
}

impl Idle {
    fn take(&mut self) -> Option<RpcStream> {
        let stream = self.streams.pop();
        self.spare = self.spare.min(self.streams.len());
        stream
    }

    /// Keeps a stream; gives it back when there are enough.
    fn put(&mut self, stream: RpcStream) -> Option<RpcStream> {
        if self.streams.len() >= MAX_IDLE_STREAMS {
            return Some(stream);
        }
        self.streams.push(stream);
        None
    }

    /// Half of what was not needed since this was last asked for.
    fn let_go(&mut self) -> Vec<RpcStream> {
        let gone = self.streams.drain(..self.spare.div_ceil(2)).collect();
        self.spare = self.streams.len();
        gone
    }
}

struct Conn {
    opener: Opener,
    idle: Mutex<Idle>,
    /// When it was last used, in seconds of the pool's time.
    used: AtomicU64,
    /// Without it nothing moves any more: calls under way end as those of a broken connection.
    driver: Mutex<Option<Task<()>>>,
}

/// At most one connection to each server.
#[derive(Default)]
struct Place {
    open: Mutex<Option<Arc<Conn>>>,
    /// Callers share one dial.
    dialling: smol::lock::Mutex<()>,
}

type Slot = Arc<Place>;

/// Connections to servers, shared by everything that calls.
pub struct Pool {
    spawn: Spawner,
    /// Source address of connections.
    bind: Option<IpAddr>,
    dial_timeout: Duration,
    slots: Mutex<HashMap<SocketAddr, Slot>>,
    seq: AtomicU64,
    began: Instant,
}

impl Pool {
    /// A pool without connections.
    pub fn new(spawn: Spawner, bind: Option<IpAddr>) -> Self {
        Self {
            spawn,
            bind: bind.filter(|ip| !ip.is_unspecified()),
            dial_timeout: DIAL_TIMEOUT,
            slots: Mutex::default(),
            seq: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// Gives up dialling sooner, for callers who have other servers to turn to.
    pub fn with_dial_timeout(mut self, limit: Duration) -> Self {
        self.dial_timeout = limit;
        self
    }

    /// Source address of connections, if one is set.
    pub fn source(&self) -> Option<IpAddr> {
        self.bind
    }

    /// Calls the server at `to` and waits for its answer as long as the caller cares to. A large answer for which there
    /// is no room is asked for again when there is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, to: SocketAddr, request: &Request) -> Result<Reply, CallError> {
        room::let_go();
        let mut room = Room::default();
        let mut again: Option<Box<Request>> = None;
        loop {
            let asked = again.as_deref().unwrap_or(request);
            // Nothing of the outcome is to live while room is waited for: blocked queries would hold space for it.
            match self.ask(to, asked, &mut room).await {
                Err(CallError::Broken(why)) if why.kind() == io::ErrorKind::WouldBlock => {}
                Ok(reply) => {
                    room.keep();
                    return Ok(reply);
                }
                failed => return failed,
            }
            if !room.wait().await {
                return Err(CallError::Remote(Error::new(RPC_RATE_EXCEEDED)));
            }
            let mut next = Box::new(request.clone());
            if let Some(options) = next.options_mut() {
                // It has waited for its change already.
                options.min_query_index = 0;
            }
            again = Some(next);
        }
    }

    async fn ask(
        &self,
        to: SocketAddr,
        request: &Request,
        room: &mut Room,
    ) -> Result<Reply, CallError> {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = rpc::request(seq, request)
            .map_err(|e| CallError::Remote(Error::new(format!("rpc: {e}"))))?;
        let conn = self.connection(to).await?;
        let reused = lock(&conn.idle).take();
        let outcome = match reused {
            // The server may have closed an idle stream meanwhile; then it has not heard of the call.
            Some(mut stream) => match send(&mut stream, &bytes).await {
                Ok(()) => receive(stream, request, room).await,
                Err(_) => exchange(&conn, request, &bytes, room).await,
            },
            None => exchange(&conn, request, &bytes, room).await,
        };
        conn.used.store(self.now(), Ordering::Relaxed);
        match outcome {
            Ok((mut stream, reply)) => {
                stream.release();
                // What a stream may have under way grows with what it carries: a fresh one starts with little.
                let surplus = match room.is_large() {
                    true => Some(stream),
                    false => lock(&conn.idle).put(stream),
                };
                if let Some(stream) = surplus {
                    self.end(stream);
                }
                Ok(reply)
            }
            Err(error) => {
                if conn.opener.is_closed() {
                    self.forget(to, &conn);
                }
                Err(error)
            }
        }
    }

    /// Closes the connection to a server that is known to be gone; calls that wait for it fail at once.
    pub fn close(&self, to: SocketAddr) {
        let slot = lock(&self.slots).remove(&to);
        // A dial that is under way is given up by whoever waits for it.
        let conn = slot.and_then(|slot| lock(&slot.open).take());
        if let Some(conn) = conn {
            let driver = lock(&conn.driver).take();
            drop(driver);
        }
    }

    /// Closes the connections that nobody used for a while, and streams that were not needed.
    pub fn sweep(&self) {
        let now = self.now();
        let slots: Vec<Slot> = lock(&self.slots).values().cloned().collect();
        for slot in slots {
            let conn = {
                let mut open = lock(&slot.open);
                let stale = open.as_ref().is_some_and(|c| {
                    let unused = now.saturating_sub(c.used.load(Ordering::Relaxed));
                    // Whoever is in the middle of a call holds the connection too.
                    Arc::strong_count(c) == 1 && unused > IDLE_LIMIT.as_secs()
                });
                if stale {
                    *open = None;
                }
                open.clone()
            };
            let spare = conn.map(|conn| lock(&conn.idle).let_go());
            spare
                .into_iter()
                .flatten()
                .for_each(|stream| self.end(stream));
        }
        // Whoever dials, or is about to, holds the slot too.
        lock(&self.slots)
            .retain(|_, slot| Arc::strong_count(slot) > 1 || lock(&slot.open).is_some());
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// Ends a stream in order: one that is only dropped is reset, which servers complain of.
    fn end(&self, mut stream: RpcStream) {
        let close = async move {
            // The connection may have ended.
            let _ = stream.get_mut().close().await;
        };
        (self.spawn)(Box::pin(close)).detach();
    }

    fn forget(&self, to: SocketAddr, broken: &Arc<Conn>) {
        let slot = lock(&self.slots).get(&to).cloned();
        if let Some(slot) = slot {
            lock(&slot.open).take_if(|c| Arc::ptr_eq(c, broken));
        }
    }

    /// The connection of a slot, if it has one that works.
    fn open_in(&self, slot: &Place) -> Option<Arc<Conn>> {
        let open = lock(&slot.open);
        let conn = open.as_ref().filter(|c| !c.opener.is_closed())?;
        conn.used.store(self.now(), Ordering::Relaxed);
        Some(conn.clone())
    }

    async fn connection(&self, to: SocketAddr) -> Result<Arc<Conn>, CallError> {
        let slot = lock(&self.slots).entry(to).or_default().clone();
        if let Some(conn) = self.open_in(&slot) {
            return Ok(conn);
        }
        let _dialling = slot.dialling.lock().await;
        if let Some(conn) = self.open_in(&slot) {
            return Ok(conn);
        }
        let unreachable = |why: &dyn std::fmt::Display| {
            CallError::Unreachable(format!("failed to get conn: {why}"))
        };
        let mut socket = dial::within(self.dial_timeout, to, self.bind)
            .await
            .map_err(|e| unreachable(&e))?;
        keep_alive(socket.get_ref());
        socket
            .write_all(&[RPC_MULTIPLEX])
            .await
            .map_err(|e| unreachable(&e))?;
        let (opener, driver) = mux::client(socket);
        let fresh = Arc::new(Conn {
            opener,
            idle: Mutex::default(),
            used: AtomicU64::new(self.now()),
            driver: Mutex::new(Some((self.spawn)(Box::pin(driver)))),
        });
        *lock(&slot.open) = Some(fresh.clone());
        Ok(fresh)
    }
}

/// Has the system notice a peer that vanished while nothing is sent.
fn keep_alive(socket: &std::net::TcpStream) {
    let probes = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    // A connection works without it, and whoever waits has other limits.
    let _ = socket2::SockRef::from(socket).set_tcp_keepalive(&probes);
}

/// A call on a stream of its own.
async fn exchange(
    conn: &Conn,
    request: &Request,
    bytes: &[u8],
    room: &mut Room,
) -> Result<(RpcStream, Reply), CallError> {
    let stream = conn
        .opener
        .open()
        .await
        .map_err(|e| CallError::Unreachable(format!("failed to start stream: {e}")))?;
    let mut stream = MessageReader::new(stream);
    send(&mut stream, bytes).await.map_err(CallError::Broken)?;
    receive(stream, request, room).await
}

async fn send(stream: &mut RpcStream, bytes: &[u8]) -> io::Result<()> {
    let to = stream.get_mut();
    to.write_all(bytes).await?;
    to.flush().await
}

/// Waits for the answer. A stream that carried an error is not used again, as with Consul's callers.
async fn receive(
    mut stream: RpcStream,
    request: &Request,
    room: &mut Room,
) -> Result<(RpcStream, Reply), CallError> {
    let malformed =
        |e: crate::wire::Error| CallError::Broken(io::Error::new(io::ErrorKind::InvalidData, e));
    // What changes something cannot be asked again.
    let must = request.class() != Class::Read;
    let answer = stream
        .values_in(2, MAX_MESSAGE, &mut |bytes| room.reach(bytes) || must)
        .await
        .map_err(CallError::Broken)?
        .ok_or_else(|| CallError::Broken(io::ErrorKind::UnexpectedEof.into()))?;
    let mut rest = answer;
    let header = rpc::read_response_header(&mut rest).map_err(malformed)?;
    if !header.error.is_empty() {
        return Err(CallError::Remote(Error::new(header.error)));
    }
    let reply = rpc::read_reply(request.name(), &mut rest).map_err(malformed)?;
    Ok((stream, reply))
}

/// A poisoned lock means that a thread panicked; what it guards here is always whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sweeps until the pool is gone.
pub async fn sweeper(pool: std::sync::Weak<Pool>) {
    loop {
        super::reactor::Timer::after(IDLE_LIMIT / 4).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        pool.sweep();
    }
}
