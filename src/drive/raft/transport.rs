//! Raft's messages to and from the other servers: the loop's requests on connections of their own, answers
//! matched by order, what comes in answered in order.
//!
//! Each peer has two lanes, so that a heartbeat never waits behind a large batch: a lane is a task with one
//! connection, writing requests as they come and reading answers meanwhile. A snapshot gets a connection to
//! itself. Holds true: every request given out comes back, with an answer or as failed.
//! Source: `docs/reference/raft.md` sections 1 and 10.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use smol::Unblock;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Command;
use crate::drive::clock::{self, Instant};
use crate::drive::runtime::{Handle, Task};
use crate::drive::tasks::TaskSet;
use crate::net::message::MessageReader;
use crate::net::{Async, dial};
use crate::raft::rpc::{self, RpcError};
use crate::raft::{Message, ServerId};
use crate::store::snapshot::archive;
use crate::telemetry::{self, Sample, metrics};

/// First byte of a connection for Raft.
pub const RAFT: u8 = 1;
/// How long one request may take, and dialling.
const RPC_TIMEOUT: Duration = Duration::from_secs(10);
/// A snapshot may take so much longer for each of these bytes.
const SNAPSHOT_STEP: u64 = 256 * 1024;
/// Requests waiting in a lane, at most; beyond, they fail at once.
const LANE: usize = 256;
/// Requests of one peer that wait for the core, at most; beyond, its connection is not read.
const MAX_ANSWERING: usize = 128;
/// Bytes of one message at most.
const MAX_MESSAGE: usize = 64 << 20;
/// Messages that are there to be sent leave together, until they are so many bytes.
const GATHERED: usize = 64 * 1024;
/// Bytes read at first: most messages whole.
const FIRST_READ: usize = 4096;
/// Bytes of a snapshot that are moved at once.
const CHUNK: usize = 64 * 1024;

/// Where servers are reached according to the members of the pool, who know it better than Raft's
/// configuration does.
pub trait Directory: Send + Sync {
    /// Where a server is.
    fn address(&self, id: &str) -> Option<SocketAddr>;
    /// Who has an address, for peers that tell only that.
    fn id(&self, address: SocketAddr) -> Option<String>;
}

/// How this server is known, and how it finds others.
#[derive(Clone)]
pub struct Network {
    /// Runs the connections.
    pub runtime: Handle,
    /// This server as it calls itself.
    pub own: rpc::Sender,
    /// Source address of connections.
    pub bind: Option<std::net::IpAddr>,
    /// Where the others are.
    pub directory: Arc<dyn Directory>,
    /// Where snapshots lie for a while.
    pub temp_dir: std::path::PathBuf,
}

/// Which of a peer's connections a request takes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    /// Entries.
    Entries,
    /// Heartbeats and elections.
    Pulse,
}

struct Job {
    address: String,
    message: Message,
}

/// The loop's side: sends requests, each of which comes back as a command.
pub(super) struct Transport<R> {
    network: Network,
    mailbox: Sender<Command<R>>,
    lanes: HashMap<(ServerId, Lane), (Sender<Job>, Task<()>)>,
    snapshots: TaskSet,
}

impl<R: Send + 'static> Transport<R> {
    pub(super) fn new(network: Network, mailbox: Sender<Command<R>>) -> Self {
        Self {
            snapshots: TaskSet::new(network.runtime.clone()),
            network,
            mailbox,
            lanes: HashMap::new(),
        }
    }

    /// Sends a request to a server; `address` is what Raft's configuration says about it. Tells whether it
    /// is on its way: if not, no answer will come.
    pub(super) fn send(&mut self, to: &ServerId, address: &str, message: Message) -> bool {
        let lane = match &message {
            Message::AppendEntries(m) if m.prev_index > 0 || !m.entries.is_empty() => Lane::Entries,
            _ => Lane::Pulse,
        };
        let (jobs, _) = self
            .lanes
            .entry((to.clone(), lane))
            .or_insert_with(|| start_lane(&self.network, &self.mailbox, to));
        let job = Job {
            address: address.to_owned(),
            message,
        };
        jobs.try_send(job).is_ok()
    }

    /// Sends a snapshot's request with its data.
    pub(super) fn send_snapshot(
        &self,
        to: ServerId,
        address: &str,
        message: Message,
        file: File,
        size: u64,
    ) {
        let (network, mailbox) = (self.network.clone(), self.mailbox.clone());
        let address = address.to_owned();
        self.snapshots.spawn(async move {
            let limit = RPC_TIMEOUT * u32::try_from(1 + size / SNAPSHOT_STEP).unwrap_or(u32::MAX);
            let install = install(&network, &to, &address, &message, file, size);
            let outcome = clock::timeout(limit, install)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            report(&mailbox, &to, message.seq(), outcome).await;
        });
    }

    /// Ends the lanes to servers that are not among these any more.
    pub(super) fn keep(&mut self, servers: &[crate::raft::Server]) {
        self.lanes
            .retain(|(id, _), _| servers.iter().any(|server| *server.id == **id));
    }
}

/// Hands the core what came of a request.
async fn report<R>(
    mailbox: &Sender<Command<R>>,
    peer: &ServerId,
    seq: u64,
    outcome: io::Result<Message>,
) {
    let command = match outcome {
        Ok(message) => Command::Heard {
            from: peer.clone(),
            message,
        },
        Err(error) => {
            log::debug!(target: "agent.server.raft", peer = &**peer, error:%; "request failed");
            Command::Failed {
                to: peer.clone(),
                seq,
            }
        }
    };
    // The loop may have ended.
    let _ = mailbox.send(command).await;
}

fn start_lane<R: Send + 'static>(
    network: &Network,
    mailbox: &Sender<Command<R>>,
    peer: &ServerId,
) -> (Sender<Job>, Task<()>) {
    let (jobs, queue) = smol::channel::bounded::<Job>(LANE);
    let (network, mailbox, peer) = (network.clone(), mailbox.clone(), peer.clone());
    let task = network.runtime.clone().spawn(async move {
        while let Ok(first) = queue.recv().await {
            let mut sent = VecDeque::from([(first.message, clock::now())]);
            let outcome =
                run_connection(&network, &mailbox, &peer, &first.address, &queue, &mut sent).await;
            let why = match &outcome {
                Ok(()) => "connection closed".to_owned(),
                Err(error) => error.to_string(),
            };
            for (request, _) in sent {
                // Also a peer older than pre-votes, which closes the connection when asked for one, has
                // granted nothing: a server that such peers would follow does not stand.
                let outcome = Err(io::Error::other(why.clone()));
                report(&mailbox, &peer, request.seq(), outcome).await;
            }
        }
    });
    (jobs, task)
}

async fn dial(
    network: &Network,
    peer: &str,
    address: &str,
) -> io::Result<Async<std::net::TcpStream>> {
    let to = network
        .directory
        .address(peer)
        .or_else(|| address.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no address of server {peer}: {address}")))?;
    let mut stream = dial::within(RPC_TIMEOUT, to, network.bind)
        .await
        .map_err(|e| io::Error::other(e.to_string()))?;
    stream.write_all(&[RAFT]).await?;
    Ok(stream)
}

/// Keeps one connection busy until it breaks or a request takes too long. What is left in `sent` got no
/// answer.
async fn run_connection<R>(
    network: &Network,
    mailbox: &Sender<Command<R>>,
    peer: &ServerId,
    address: &str,
    queue: &Receiver<Job>,
    sent: &mut VecDeque<(Message, Instant)>,
) -> io::Result<()> {
    enum Event {
        Job(Option<Job>),
        Answer(Vec<u8>),
    }
    let stream = dial(network, peer, address).await?;
    let mut figures = Figures::of(peer);
    let (reader, mut writer) = smol::io::split(stream);
    let mut answers = MessageReader::new(reader);
    if let Some((first, _)) = sent.front() {
        write(&mut writer, &encode(network, first)?).await?;
    }
    loop {
        let answer = async {
            let Some((_, since)) = sent.front() else {
                // Nothing is expected: a peer that closes is noticed, one that speaks is not understood.
                answers.ended().await?;
                return Ok(Event::Job(None));
            };
            let deadline = *since + RPC_TIMEOUT;
            let bytes = clock::timeout_at(deadline, answers.values(2, MAX_MESSAGE))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            Ok::<_, io::Error>(Event::Answer(bytes.to_vec()))
        };
        let job = async { Ok(Event::Job(queue.recv().await.ok())) };
        match answer.or(job).await? {
            Event::Job(None) => return Ok(()),
            Event::Job(Some(job)) => {
                let mut bytes = Vec::new();
                let mut next = Some(job);
                while let Some(job) = next {
                    let encoded = encode(network, &job.message);
                    sent.push_back((job.message, clock::now()));
                    bytes.append(&mut encoded?);
                    next = match bytes.len() < GATHERED {
                        true => queue.try_recv().ok(),
                        false => None,
                    };
                }
                write(&mut writer, &bytes).await?;
            }
            Event::Answer(bytes) => {
                let Some((request, since)) = sent.pop_front() else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                let answer = rpc::decode_response(&request, &bytes).map_err(io::Error::other);
                figures.answered(&request, since);
                report(mailbox, peer, request.seq(), answer).await;
            }
        }
    }
}

/// What is told of a peer's answers, under Consul's names.
struct Figures {
    rpc: Option<&'static Sample>,
    logs: Option<&'static Sample>,
    heartbeat: Option<&'static Sample>,
    last: Instant,
}

impl Figures {
    fn of(peer: &str) -> Self {
        let name = |what| ["raft.replication.", what, ".", peer];
        Self {
            rpc: telemetry::sample(&name("appendEntries.rpc"), &[]),
            logs: telemetry::adding_sample(&name("appendEntries.logs"), &[]),
            heartbeat: telemetry::sample(&name("heartbeat"), &[]),
            last: clock::now(),
        }
    }

    /// The answer to a request that was sent then has come.
    fn answered(&mut self, request: &Message, since: Instant) {
        let Message::AppendEntries(m) = request else {
            return;
        };
        let now = clock::now();
        metrics::RAFT_LAST_CONTACT.record(now - self.last);
        self.last = now;
        let took = now - since;
        if m.prev_index == 0 && m.entries.is_empty() {
            self.heartbeat.into_iter().for_each(|s| s.record(took));
            return;
        }
        self.rpc.into_iter().for_each(|s| s.record(took));
        let count = m.entries.len() as f64;
        self.logs.into_iter().for_each(|s| s.add(count));
    }
}

fn encode(network: &Network, message: &Message) -> io::Result<Vec<u8>> {
    rpc::encode_request(&network.own, message, 0).map_err(io::Error::other)
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    clock::timeout(RPC_TIMEOUT, to.write_all(bytes))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn install(
    network: &Network,
    peer: &str,
    address: &str,
    message: &Message,
    file: File,
    size: u64,
) -> io::Result<Message> {
    let mut stream = dial(network, peer, address).await?;
    let bytes = rpc::encode_request(&network.own, message, size).map_err(io::Error::other)?;
    stream.write_all(&bytes).await?;
    smol::io::copy(Unblock::with_capacity(CHUNK, file), &mut stream).await?;
    let mut answers = MessageReader::new(stream);
    let bytes = answers.values(2, MAX_MESSAGE).await?;
    let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    rpc::decode_response(message, bytes).map_err(io::Error::other)
}

/// Takes in what another server asks on a connection, until it ends.
///
/// # Errors
/// Those of the connection, and when what comes is no request.
pub(super) async fn serve<R: Send + 'static>(
    network: &Network,
    mailbox: &Sender<Command<R>>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    let (reader, writer) = smol::io::split(stream);
    let (answering, answers) = smol::channel::bounded(MAX_ANSWERING);
    let mut leader = None;
    let read = read_requests(network, mailbox, reader, answering, &mut leader);
    let write = write_answers(network, writer, answers);
    let outcome = smol::future::try_zip(read, write).await.map(|_| ());
    if let Some(peer) = leader {
        // A leader keeps its connections: it may have ended with this one.
        let _ = mailbox.send(Command::Suspect { peer }).await;
    }
    outcome
}

/// An answer that is on its way, or a refusal.
type Answering = Result<oneshot::Receiver<Message>, RpcError>;

async fn read_requests<R: Send + 'static>(
    network: &Network,
    mailbox: &Sender<Command<R>>,
    reader: impl AsyncRead + Unpin,
    answering: Sender<Answering>,
    leader: &mut Option<ServerId>,
) -> io::Result<()> {
    let mut requests = MessageReader::new(reader).reading(FIRST_READ);
    while let Some(kind) = requests.byte().await? {
        let Some(body) = requests.values(1, MAX_MESSAGE).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let incoming = match rpc::decode_request(kind, body) {
            Ok(incoming) => incoming,
            Err(unknown @ (RpcError::UnknownRequest(_) | RpcError::Version(_))) => {
                log::warn!(target: "agent.server.raft", error:% = unknown; "a request is refused");
                // The peer learns why, and the connection goes on.
                if answering.send(Err(unknown)).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        };
        let data = match incoming.message {
            Message::InstallSnapshot(_) => {
                Some(take_in(network, &mut requests, incoming.size).await?)
            }
            _ => None,
        };
        let (answer, result) = oneshot::channel();
        let from = identify(network, &incoming.from);
        if leader.is_none() && matches!(incoming.message, Message::AppendEntries(_)) {
            *leader = Some(from.clone());
        }
        let asked = Command::Asked {
            from,
            message: incoming.message,
            data,
            answer,
        };
        if mailbox.send(asked).await.is_err() || answering.send(Ok(result)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The id of a sender that may have told only its address.
fn identify(network: &Network, sender: &rpc::Sender) -> ServerId {
    if !sender.id.is_empty() {
        return sender.id.as_str().into();
    }
    let address = sender.address.parse().ok();
    let known = address.and_then(|address| network.directory.id(address));
    known.unwrap_or_else(|| sender.address.clone()).into()
}

/// Takes in a snapshot's data; the file, positioned at its start.
async fn take_in(
    network: &Network,
    from: &mut MessageReader<impl AsyncRead + Unpin>,
    size: u64,
) -> io::Result<File> {
    use std::io::{Seek, SeekFrom, Write};
    let dir = network.temp_dir.clone();
    let mut file = smol::unblock(move || archive::temporary(&dir)).await?;
    let mut chunk = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let n = from.raw(&mut chunk[..most]).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Into the page cache; an error, such as of a full disk, ends the connection.
        file.write_all(&chunk[..n])?;
        left -= n as u64;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

async fn write_answers(
    network: &Network,
    mut writer: impl AsyncWrite + Unpin,
    answers: Receiver<Answering>,
) -> io::Result<()> {
    let mut next = None;
    loop {
        let answering = match next.take() {
            Some(answering) => answering,
            None => match answers.recv().await {
                Ok(answering) => answering,
                Err(_) => return Ok(()),
            },
        };
        let mut bytes = match answering {
            Ok(result) => match result.await {
                Ok(message) => answer(network, &message)?,
                // The core will not answer: the peer learns it by the connection's end.
                Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            },
            Err(why) => rpc::encode_refusal(&why).map_err(io::Error::other)?,
        };
        // What the core answered meanwhile leaves with it.
        while next.is_none()
            && bytes.len() < GATHERED
            && let Ok(mut answering) = answers.try_recv()
        {
            let result = answering.as_mut().ok();
            let ready = result.and_then(|result| result.try_recv().ok().flatten());
            match ready {
                Some(message) => bytes.append(&mut answer(network, &message)?),
                None => next = Some(answering),
            }
        }
        writer.write_all(&bytes).await?;
    }
}

fn answer(network: &Network, message: &Message) -> io::Result<Vec<u8>> {
    rpc::encode_response(&network.own, message).map_err(io::Error::other)
}
