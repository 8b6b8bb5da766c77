//! The loop around the pure Raft core: disk, state machine, timers and the callers' waiting.
//!
//! A task feeds the core. A log thread writes and syncs, an apply thread feeds the state machine; both
//! take whatever has queued up meanwhile as one batch, so that under load one fsync carries many
//! proposals. A lone server's log thread applies a lone write itself, which saves two changes of threads.
//! With nothing to do no thread wakes and nothing is written.
//! Leaves it to `store` how things are kept and to `server` what commands mean.
//! Source: Raft thesis 10.2.1 and 10.2.2 (parallel disk write, batching).

mod disk;
mod event_loop;
mod peers;
mod queue;
mod transport;

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use smol::channel::{Receiver, Sender};
use smol::io::{AsyncRead, AsyncWrite};

use super::runtime::{Handle, Shutdown, Task};
use crate::atomic::AtomicU64;
use crate::raft::{
    self, ConfChange, Configuration, Entry, EntryKind, Leadership, Message, Raft, Role, ServerId,
    SnapshotMeta, Write,
};
use disk::Applier;
use event_loop::{EventLoop, Monitor};
use peers::Outside;
use transport::Transport;
pub use transport::{Directory, Network, RAFT};

/// Commands waiting for the core, at most; beyond, callers wait. The room for them is taken at the start.
const MAILBOX: usize = 1024;
/// Why a disk operation failed, in words for the operator.
#[derive(Clone, Debug)]
pub struct DiskError {
    /// Names the file and the way out.
    pub text: String,
}

/// The log on disk, as its one writer sees it.
pub trait LogWriter: Send + 'static {
    /// Carries out the writes in order, in one transaction with one fsync.
    ///
    /// # Errors
    /// When the disk refuses; nothing was changed then.
    fn write(&mut self, writes: &[Write]) -> Result<(), DiskError>;
    /// The first entry to keep if the log is to be cut now; `None` when it is small enough.
    fn compaction_due(&self, applied: u64) -> Option<u64>;
    /// Drops some of the entries up to what `meta` describes, and remembers it; whether there are more.
    ///
    /// # Errors
    /// When the disk refuses; nothing was changed then.
    fn compact(&mut self, meta: &SnapshotMeta) -> Result<bool, DiskError>;
    /// Gives space back that is not used any more.
    ///
    /// # Errors
    /// When the disk refuses; no entry is touched.
    fn shrink(&mut self) -> Result<(), DiskError>;
}

/// The state machine, as its one writer sees it.
pub trait StateMachine: Send + 'static {
    /// What a command answers.
    type Reply: Send + 'static;
    /// Applies a batch in one transaction; one reply per entry, `None` for those that are not commands.
    ///
    /// # Errors
    /// When the disk refuses; nothing was changed then.
    fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Option<Self::Reply>>, DiskError>;
    /// Makes everything applied durable; the index that then is.
    ///
    /// # Errors
    /// When the disk refuses.
    fn make_durable(&mut self) -> Result<u64, DiskError>;
    /// Gives space back that is not used any more, if that is `least` bytes or more.
    ///
    /// # Errors
    /// When the disk refuses; the state is untouched.
    fn shrink(&mut self, least: u64) -> Result<(), DiskError>;
    /// Replaces the state by the prepared one.
    ///
    /// # Errors
    /// When the archive is bad or the disk refuses; nothing was changed then.
    fn restore(&mut self, file: File, meta: &SnapshotMeta) -> Result<(), DiskError>;
}

/// The state machine at one index, as followers and archives hold it.
#[derive(Debug)]
pub struct StateFile {
    /// The index up to which everything is in it.
    pub index: u64,
    /// Positioned at its start.
    pub file: File,
    /// Its length in bytes.
    pub size: u64,
}

/// Takes snapshots of the state machine while it goes on.
pub trait SnapshotSource: Send + Sync + 'static {
    /// Takes one; may take a while.
    ///
    /// # Errors
    /// When the disk refuses.
    fn take(&self) -> Result<StateFile, DiskError>;
}

/// Why a proposal or a read was not carried out.
#[derive(Clone, Debug)]
pub enum ProposeError {
    /// The core refused; nothing was changed.
    Refused(raft::Error),
    /// Leadership was lost while the proposal waited: it may or may not have happened.
    Lost,
    /// The disk is full or failing: not accepted.
    Disk(String),
    /// The agent is shutting down.
    Shutdown,
}

/// The answer of the state machine to one proposal.
#[derive(Debug)]
pub struct Applied<R> {
    /// The entry's index.
    pub index: u64,
    /// What the state machine said; `None` for entries that never reach it.
    pub reply: Option<R>,
}

type Answer<R> = oneshot::Sender<Result<Applied<R>, ProposeError>>;

/// What the core's task is told.
enum Command<R> {
    Propose {
        kind: EntryKind,
        data: Arc<[u8]>,
        answer: Answer<R>,
    },
    ReadIndex {
        answer: oneshot::Sender<Result<u64, ProposeError>>,
    },
    Restore {
        file: File,
        archive_index: u64,
        answer: oneshot::Sender<Result<(), ProposeError>>,
    },
    Status {
        answer: oneshot::Sender<raft::Status>,
    },
    /// Have a turn: more was applied, or something is due sooner.
    Turn,
    /// Whether the log is due for cutting, and the first entry to keep then.
    CompactionDue { keep_from: Option<u64> },
    /// The state machine holds everything up to this index durably; 0 when that failed.
    Durable { index: u64, keep_from: u64 },
    /// The log on disk was cut, or could not be.
    Compacted,
    /// Describe the state machine at an applied index.
    SnapshotMeta {
        index: u64,
        answer: oneshot::Sender<Option<SnapshotMeta>>,
    },
    /// Change the membership.
    Change {
        change: ConfChange,
        answer: oneshot::Sender<Result<u64, ProposeError>>,
    },
    /// A restore ended.
    Restored { ok: bool },
    /// Another server asks; the answer goes back on its connection.
    Asked {
        from: ServerId,
        message: Message,
        /// The snapshot that came with the request.
        data: Option<File>,
        answer: oneshot::Sender<Message>,
    },
    /// Begin a cluster with these servers.
    Found {
        configuration: Configuration,
        answer: oneshot::Sender<Result<(), ProposeError>>,
    },
    /// A server seems to be gone.
    Suspect { peer: ServerId },
    /// Another server answered.
    Heard { from: ServerId, message: Message },
    /// A request got no answer and will get none.
    Failed { to: ServerId, seq: u64 },
    /// A snapshot was taken for a follower, or could not be.
    SnapshotTaken {
        to: ServerId,
        snapshot: Option<StateFile>,
    },
    /// The state machine was replaced by the leader's snapshot, or could not be.
    Installed { ok: bool },
    /// Hand leadership over.
    Transfer {
        to: Option<ServerId>,
        answer: oneshot::Sender<Result<ServerId, ProposeError>>,
    },
    /// The disk refuses writes; the thread keeps trying.
    DiskFault { text: String },
    /// The disk takes writes again.
    DiskRecovered,
}

/// What the log thread is told.
enum LogJob {
    Write(Write),
    /// Say whether the log is due for cutting.
    CheckSize {
        applied: u64,
    },
    /// Cut the log: it begins after what this describes.
    Compact {
        meta: SnapshotMeta,
    },
}

/// What the apply thread is told.
enum ApplyJob<R> {
    Apply(Vec<(Entry, Option<Answer<R>>)>),
    MakeDurable {
        keep_from: u64,
    },
    Restore {
        file: File,
        meta: SnapshotMeta,
        answer: oneshot::Sender<Result<(), ProposeError>>,
    },
    /// Replace the state by the leader's.
    Install {
        file: File,
        meta: SnapshotMeta,
    },
}

/// What everybody may know about Raft without asking the core.
#[derive(Debug, Default)]
struct Shared {
    leadership: Mutex<Leadership>,
    configuration: Mutex<Arc<Configuration>>,
    applied: AtomicU64,
    /// The core's task sleeps until more is applied.
    applied_wanted: AtomicBool,
    /// Until when a leader need not ask before it answers reads, in nanoseconds of the core's time; 0 for no
    /// lease.
    lease_until: AtomicU64,
    /// When the leader was last heard, likewise; 0 for never.
    last_heard: AtomicU64,
    alone: AtomicBool,
    disk: Mutex<Option<String>>,
}

/// Talks to the core; cheap to clone.
pub struct RaftHandle<R> {
    /// The start of the core's time.
    clock: Instant,
    mailbox: Sender<Command<R>>,
    shared: Arc<Shared>,
    leadership_changes: Receiver<Leadership>,
    network: Option<Network>,
}

impl<R> Clone for RaftHandle<R> {
    fn clone(&self) -> Self {
        Self {
            clock: self.clock,
            mailbox: self.mailbox.clone(),
            shared: self.shared.clone(),
            leadership_changes: self.leadership_changes.clone(),
            network: self.network.clone(),
        }
    }
}

impl<R: Send + 'static> RaftHandle<R> {
    /// Proposes a command and waits until it is applied here.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, data: Arc<[u8]>) -> Result<Applied<R>, ProposeError> {
        self.propose_kind(EntryKind::Command, data).await
    }

    /// Waits until everything committed before is applied here.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn barrier(&self) -> Result<u64, ProposeError> {
        let applied = self.propose_kind(EntryKind::Barrier, Arc::new([])).await?;
        Ok(applied.index)
    }

    async fn propose_kind(
        &self,
        kind: EntryKind,
        data: Arc<[u8]>,
    ) -> Result<Applied<R>, ProposeError> {
        if let Some(why) = self.disk_fault() {
            return Err(ProposeError::Disk(why));
        }
        let (answer, result) = oneshot::channel();
        self.send(Command::Propose { kind, data, answer }).await?;
        result.await.unwrap_or(Err(ProposeError::Shutdown))
    }

    /// Confirms leadership with a quorum; the index to have applied before reading.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn read_index(&self) -> Result<u64, ProposeError> {
        let (answer, result) = oneshot::channel();
        self.send(Command::ReadIndex { answer }).await?;
        result.await.unwrap_or(Err(ProposeError::Shutdown))
    }

    /// Whether this server may answer reads at this moment without asking the others: it leads, and nobody
    /// else can.
    pub fn has_lease(&self) -> bool {
        let until = self.shared.lease_until.load(Ordering::Acquire);
        nanos(self.clock.elapsed()) < until
    }

    /// How long ago the leader was heard: nothing on the leader itself, `None` for never.
    pub fn last_contact(&self) -> Option<Duration> {
        if self.is_leader() {
            return Some(Duration::ZERO);
        }
        match self.shared.last_heard.load(Ordering::Acquire) {
            0 => None,
            at => Some(
                self.clock
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(at)),
            ),
        }
    }

    /// Begins a cluster with these servers, this one among them; refused by a server that has a log.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn found(&self, configuration: Configuration) -> Result<(), ProposeError> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Found {
            configuration,
            answer,
        })
        .await?;
        result.await.unwrap_or(Err(ProposeError::Shutdown))
    }

    /// Says that a server seems to be gone, so that a follower of it need not wait long to replace it.
    pub async fn suspect(&self, peer: ServerId) {
        // The loop may have ended.
        let _ = self.send(Command::Suspect { peer }).await;
    }

    /// Replaces the state machine by the verified state in `file`, on every server.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn restore(&self, file: File, archive_index: u64) -> Result<(), ProposeError> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Restore {
            file,
            archive_index,
            answer,
        })
        .await?;
        result.await.unwrap_or(Err(ProposeError::Shutdown))
    }

    /// Describes the state machine as it is after applying `index`; `None` if that is not known any more.
    pub async fn snapshot_meta(&self, index: u64) -> Option<SnapshotMeta> {
        let (answer, result) = oneshot::channel();
        self.send(Command::SnapshotMeta { index, answer })
            .await
            .ok()?;
        result.await.ok().flatten()
    }

    /// Changes the membership; the change is done once the index returned is applied.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn change_membership(&self, change: ConfChange) -> Result<u64, ProposeError> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Change { change, answer }).await?;
        result.await.unwrap_or(Err(ProposeError::Shutdown))
    }

    /// Hands leadership to a voter, or to the one that has most of the log; to whom.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn transfer_leadership(
        &self,
        to: Option<ServerId>,
    ) -> Result<ServerId, ProposeError> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Transfer { to, answer }).await?;
        result.await.unwrap_or(Err(ProposeError::Shutdown))
    }

    /// Takes in what another server asks on a connection, until it ends.
    ///
    /// # Errors
    /// Those of the connection, and when what comes is no Raft message.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        match &self.network {
            Some(network) => transport::serve(network, &self.mailbox, stream).await,
            None => Ok(()),
        }
    }

    /// The core's own view of itself; `None` during shutdown.
    pub async fn status(&self) -> Option<raft::Status> {
        let (answer, result) = oneshot::channel();
        self.send(Command::Status { answer }).await.ok()?;
        result.await.ok()
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        lock(&self.shared.leadership).clone()
    }

    /// The members of the Raft group, as the log says.
    pub fn configuration(&self) -> Arc<Configuration> {
        lock(&self.shared.configuration).clone()
    }

    /// The address that the log gives for a server.
    pub fn address(&self, id: &str) -> Option<String> {
        let configuration = self.configuration();
        let server = configuration.servers.iter().find(|s| *s.id == *id)?;
        Some(server.address.clone())
    }

    /// Whether no other server is in the Raft group.
    pub fn is_alone(&self) -> bool {
        self.shared.alone.load(Ordering::Acquire)
    }

    /// Whether this server leads.
    pub fn is_leader(&self) -> bool {
        lock(&self.shared.leadership).role == Role::Leader
    }

    /// The last index applied to the state machine.
    pub fn applied_index(&self) -> u64 {
        self.shared.applied.load(Ordering::Acquire)
    }

    /// Why the disk takes no writes at the moment.
    pub fn disk_fault(&self) -> Option<String> {
        lock(&self.shared.disk).clone()
    }

    /// Each change of leadership in turn; for one listener.
    pub fn leadership_changes(&self) -> Receiver<Leadership> {
        self.leadership_changes.clone()
    }

    async fn send(&self, command: Command<R>) -> Result<(), ProposeError> {
        self.mailbox
            .send(command)
            .await
            .map_err(|_| ProposeError::Shutdown)
    }
}

/// A time of the core as a number.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A poisoned lock means that a thread panicked; what it guards here is always whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the loop keeps on disk.
pub struct Disk<L, S> {
    /// The log.
    pub log: L,
    /// The state machine.
    pub state: S,
    /// Snapshots of the state machine.
    pub snapshots: Arc<dyn SnapshotSource>,
}

/// Owns the loop and its threads.
pub struct RaftDriver<R> {
    handle: RaftHandle<R>,
    task: Task<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl<R: Send + 'static> RaftDriver<R> {
    /// Starts the loop around a core that was just made. `clock` is the start of the core's time; without a
    /// network no other server is ever reached.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start<L, S>(
        runtime: &Handle,
        shutdown: Shutdown,
        clock: Instant,
        core: Raft,
        disk: Disk<L, S>,
        network: Option<Network>,
    ) -> std::io::Result<Self>
    where
        L: LogWriter,
        S: StateMachine<Reply = R>,
    {
        let Disk {
            log,
            state,
            snapshots,
        } = disk;
        let (mailbox, commands) = smol::channel::bounded(MAILBOX);
        let (leadership, leadership_changes) = smol::channel::unbounded();
        let shared = Arc::new(Shared::default());
        let (log_jobs, log_queue) = queue::queue();
        let (apply_jobs, apply_queue) = queue::queue();
        let outside = Outside {
            runtime: runtime.clone(),
            mailbox: mailbox.clone(),
            transport: network
                .clone()
                .map(|network| Transport::new(network, mailbox.clone())),
            snapshots,
        };
        let event_loop = EventLoop::new(
            core,
            clock,
            log_jobs,
            apply_jobs,
            shared.clone(),
            leadership,
            outside,
        );
        let monitor = Arc::new(Monitor::new(event_loop));
        let applier = Applier::new(state, apply_queue, mailbox.clone(), shared.clone());
        let applier = Arc::new(applier);
        let log_thread = {
            let (mailbox, shared) = (mailbox.clone(), shared.clone());
            let (monitor, applier) = (Arc::downgrade(&monitor), applier.clone());
            let run = move || {
                disk::log_loop(log, &log_queue, &mailbox, &shared, &monitor, &applier);
            };
            std::thread::Builder::new()
                .name("raft-log".to_owned())
                .spawn(run)?
        };
        let apply_thread = std::thread::Builder::new()
            .name("raft-apply".to_owned())
            .spawn(move || applier.run())?;
        let task = runtime.spawn(monitor.run(commands, shutdown));
        let handle = RaftHandle {
            clock,
            mailbox,
            shared,
            leadership_changes,
            network,
        };
        Ok(Self {
            handle,
            task,
            threads: vec![log_thread, apply_thread],
        })
    }

    /// A handle to the core.
    pub fn handle(&self) -> RaftHandle<R> {
        self.handle.clone()
    }

    /// Waits for the loop and its threads to end after shutdown was triggered; what was accepted is then
    /// written and applied.
    pub async fn join(self) {
        self.task.await;
        let threads = self.threads;
        smol::unblock(move || {
            for thread in threads {
                // A thread that panicked has already said so on stderr.
                let _ = thread.join();
            }
        })
        .await;
    }
}
