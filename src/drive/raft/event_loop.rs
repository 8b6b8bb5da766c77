//! The core with all that belongs to it: it is fed what happens, and each `Ready` is carried out.
//!
//! A task brings it what others want and the time; the log thread itself says what is on disk, which saves the way
//! through the task. Whoever has a turn holds the lock, and wakes others after it.
//! Proposals that queue up while the disk is busy go in as one batch. Who waits for a proposal is kept
//! in log order; an entry of another term at its index, or the loss of leadership, tells the waiter that
//! the outcome is unknown.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use smol::channel::{Receiver, Sender};
use smol::stream::Stream;

use super::peers::{AskedTable, Outside};
use super::queue;
use super::{Answer, ApplyJob, Command, LogJob, ProposeError, Shared, lock, nanos};
use crate::drive::clock;
use crate::drive::runtime::Shutdown;
use crate::net::Timer;
use crate::raft::{
    Configuration, EntryKind, Fault, Leadership, Raft, ReadState, Ready, Role, StepDown,
};
use crate::telemetry::{Timed, metrics};

/// How many entries are applied between two looks at the size of the log.
const COMPACTION_CHECK: u64 = 1024;
/// Commands taken from the mailbox before the core's work is carried out.
const MAX_BATCH: usize = 1024;

type ProposalBatch<R> = (Vec<(EntryKind, Arc<[u8]>)>, Vec<Answer<R>>);

/// A caller that waits for its entry to be applied.
struct Waiter<R> {
    index: u64,
    term: u64,
    since: Instant,
    answer: Answer<R>,
}

pub(super) struct EventLoop<R> {
    pub(super) core: Raft,
    clock: Instant,
    log_jobs: queue::Sender<LogJob>,
    pub(super) apply_jobs: queue::Sender<ApplyJob<R>>,
    shared: Arc<Shared>,
    leadership: Sender<Leadership>,
    /// In order of their index.
    waiting: VecDeque<Waiter<R>>,
    /// Reads whose leadership is being confirmed, by the mark given to the core.
    reads: VecDeque<(u64, oneshot::Sender<Result<u64, ProposeError>>)>,
    next_ctx: u64,
    pub(super) applied: u64,
    /// The applied index at the last look at the size of the log.
    size_checked_at: u64,
    /// A cut of the log is under way.
    compacting: bool,
    /// A restore is under way; it ends at this index.
    restoring: Option<u64>,
    /// A snapshot of the leader is being installed; it ends at this index.
    pub(super) installing: Option<u64>,
    /// What other servers asked and have no answer to.
    pub(super) asked: AskedTable,
    pub(super) outside: Outside<R>,
    /// The configuration that is published.
    configuration: Arc<Configuration>,
    /// When the task will wake by itself, in the core's time.
    alarm: Option<Duration>,
}

/// Gives turns with the core.
pub(super) struct Monitor<R> {
    event_loop: Mutex<EventLoop<R>>,
    log_bell: queue::Bell<LogJob>,
    apply_bell: queue::Bell<ApplyJob<R>>,
    clock: Instant,
    mailbox: Sender<Command<R>>,
}

impl<R: Send + 'static> Monitor<R> {
    pub(super) fn new(event_loop: EventLoop<R>) -> Self {
        Self {
            log_bell: event_loop.log_jobs.bell(),
            apply_bell: event_loop.apply_jobs.bell(),
            clock: event_loop.clock,
            mailbox: event_loop.outside.mailbox.clone(),
            event_loop: Mutex::new(event_loop),
        }
    }

    /// Runs until shutdown. The mailbox is then closed, and with it the threads end.
    pub(super) async fn run(self: Arc<Self>, commands: Receiver<Command<R>>, shutdown: Shutdown) {
        let mut commands = std::pin::pin!(commands);
        let mut end = std::pin::pin!(shutdown.triggered());
        let mut alarm = Alarm::default();
        alarm.set(self.turn(EventLoop::begin));
        loop {
            let first = poll_fn(|cx| {
                if let Poll::Ready(command) = commands.as_mut().poll_next(cx) {
                    return Poll::Ready(command);
                }
                if alarm.poll(cx).is_ready() || end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                Poll::Pending
            });
            let first = first.await;
            if shutdown.is_triggered() {
                break;
            }
            alarm.set(self.turn(|event_loop| match first {
                Some(command) => event_loop.take(command, &commands),
                None => event_loop.core.tick(event_loop.time()),
            }));
        }
        commands.close();
        lock(&self.event_loop).fail_waiting(&ProposeError::Shutdown);
    }

    /// A turn of the task; when the next one is due.
    fn turn(&self, what: impl FnOnce(&mut EventLoop<R>)) -> Option<Instant> {
        let mut event_loop = lock(&self.event_loop);
        event_loop.turn(what);
        let deadline = event_loop.core.next_deadline();
        event_loop.alarm = deadline;
        drop(event_loop);
        self.log_bell.ring();
        self.apply_bell.ring();
        deadline.map(|at| self.clock + at)
    }

    /// A turn of the log thread: writes up to this number are synced. What there is to write then it finds in its queue
    /// itself; what there is to apply waits for [`Self::ring_for_apply`].
    pub(super) fn persisted(&self, number: u64) {
        let mut event_loop = lock(&self.event_loop);
        event_loop.turn(|it| it.core.persisted(it.time(), number));
        let deadline = event_loop.core.next_deadline();
        let never = Duration::MAX;
        let sooner = deadline.unwrap_or(never) < event_loop.alarm.unwrap_or(never);
        drop(event_loop);
        if sooner {
            // The task may have ended.
            let _ = self.mailbox.send_blocking(Command::Turn);
        }
    }

    /// Wakes the apply thread if there is something for it.
    pub(super) fn ring_for_apply(&self) {
        self.apply_bell.ring();
    }
}

impl<R: Send + 'static> EventLoop<R> {
    pub(super) fn new(
        core: Raft,
        clock: Instant,
        log_jobs: queue::Sender<LogJob>,
        apply_jobs: queue::Sender<ApplyJob<R>>,
        shared: Arc<Shared>,
        leadership: Sender<Leadership>,
        outside: Outside<R>,
    ) -> Self {
        Self {
            core,
            clock,
            log_jobs,
            apply_jobs,
            shared,
            leadership,
            waiting: VecDeque::new(),
            reads: VecDeque::new(),
            next_ctx: 0,
            applied: 0,
            size_checked_at: 0,
            compacting: false,
            restoring: None,
            installing: None,
            asked: AskedTable::default(),
            outside,
            configuration: Arc::default(),
            alarm: None,
        }
    }

    pub(super) fn time(&self) -> Duration {
        self.clock.elapsed()
    }

    fn begin(&mut self) {
        metrics::RAFT_STATE_FOLLOWER.incr();
        self.applied = self.core.status(self.time()).applied;
        self.size_checked_at = self.applied;
        self.shared.applied.store(self.applied, Ordering::SeqCst);
    }

    /// Lets the core take something in, and carries out what it asks for.
    fn turn(&mut self, what: impl FnOnce(&mut Self)) {
        self.take_applied();
        what(self);
        self.carry_out();
        while self.waits_for_applied() {
            self.take_applied();
            self.carry_out();
        }
    }

    /// Takes a command and whatever else is queued up; proposals become one batch.
    fn take(&mut self, first: Command<R>, commands: &Receiver<Command<R>>) {
        let mut proposals: ProposalBatch<R> = (Vec::new(), Vec::new());
        let mut next = Some(first);
        for _ in 0..MAX_BATCH {
            match next {
                Some(Command::Propose { kind, data, answer }) => {
                    proposals.0.push((kind, data));
                    proposals.1.push(answer);
                }
                Some(other) => self.handle(other),
                None => break,
            }
            next = commands.try_recv().ok();
        }
        if let Some(Command::Propose { kind, data, answer }) = next {
            proposals.0.push((kind, data));
            proposals.1.push(answer);
        } else if let Some(other) = next {
            self.handle(other);
        }
        if !proposals.0.is_empty() {
            self.propose(proposals);
        }
    }

    fn propose(&mut self, (entries, answers): ProposalBatch<R>) {
        count_proposals(&entries);
        let since = clock::now();
        match self.core.propose(self.time(), entries) {
            Ok(proposed) => {
                let indexes = proposed.first..=proposed.last;
                self.waiting
                    .extend(indexes.zip(answers).map(|(index, answer)| Waiter {
                        index,
                        term: proposed.term,
                        since,
                        answer,
                    }));
            }
            Err(refused) => {
                for answer in answers {
                    // The caller may have gone away.
                    let _ = answer.send(Err(ProposeError::Refused(refused.clone())));
                }
            }
        }
    }

    fn handle(&mut self, command: Command<R>) {
        let now = self.time();
        match command {
            Command::Propose { kind, data, answer } => {
                self.propose((vec![(kind, data)], vec![answer]));
            }
            Command::ReadIndex { answer } => {
                metrics::RAFT_VERIFY_LEADER.incr();
                self.next_ctx += 1;
                match self.core.read_index(now, self.next_ctx) {
                    Ok(()) => self.reads.push_back((self.next_ctx, answer)),
                    Err(refused) => drop(answer.send(Err(ProposeError::Refused(refused)))),
                }
            }
            Command::Status { answer } => drop(answer.send(self.core.status(now))),
            Command::Restore {
                file,
                archive_index,
                answer,
            } => {
                self.restore(file, archive_index, answer);
            }
            // What was applied, and what is due, is looked up on every turn.
            Command::Turn => {}
            Command::CompactionDue {
                keep_from: Some(keep_from),
            } if self.restoring.is_none() => {
                self.apply_jobs.put(ApplyJob::MakeDurable { keep_from });
            }
            Command::CompactionDue { .. } | Command::Compacted => self.compacting = false,
            Command::Durable { index, keep_from } => {
                match self.core.compact(index.min(keep_from.saturating_sub(1))) {
                    Some(meta) => self.log_jobs.put(LogJob::Compact { meta }),
                    None => self.compacting = false,
                }
            }
            Command::Restored { ok } => {
                if let Some(index) = self.restoring.take() {
                    if ok {
                        self.applied = index;
                    }
                    if let Err(refused) = self.core.finish_restore(ok) {
                        log::warn!(target: "agent.server.raft", "restore: {refused}");
                    }
                }
            }
            Command::SnapshotMeta { index, answer } => {
                drop(answer.send(self.core.snapshot_meta(index)));
            }
            Command::Change { change, answer } => {
                let result = self.core.propose_conf_change(now, &change);
                let result = result.map(|proposed| proposed.last);
                drop(answer.send(result.map_err(ProposeError::Refused)));
            }
            Command::Asked {
                from,
                message,
                data,
                answer,
            } => self.asked(&from, message, data, answer),
            Command::Found {
                configuration,
                answer,
            } => {
                let result = self.core.found(now, &configuration);
                drop(answer.send(result.map_err(ProposeError::Refused)));
            }
            Command::Suspect { peer } => self.core.suspect(now, &peer),
            Command::Heard { from, message } => self.core.step(now, &from, message),
            Command::Failed { to, seq } => self.core.rpc_failed(now, &to, seq),
            Command::SnapshotTaken { to, snapshot } => self.snapshot_taken(to, snapshot),
            Command::Installed { ok } => self.installed(ok),
            Command::Transfer { to, answer } => {
                let result = self.core.transfer_leadership(now, to);
                drop(answer.send(result.map_err(ProposeError::Refused)));
            }
            Command::DiskFault { text } => {
                self.fail_waiting(&ProposeError::Disk(text));
                // A lone server has nobody to hand over to, and reads can go on.
                if self.core.configuration().servers.len() > 1 {
                    self.core.step_down(now, StepDown::Disk);
                }
            }
            Command::DiskRecovered => self.core.resume(now),
        }
    }

    fn restore(
        &mut self,
        file: File,
        archive_index: u64,
        answer: oneshot::Sender<Result<(), ProposeError>>,
    ) {
        match self.core.begin_restore(archive_index) {
            Ok(meta) => {
                self.restoring = Some(meta.index);
                // What is not applied by now never will be.
                self.fail_waiting(&ProposeError::Lost);
                self.apply_jobs
                    .put(ApplyJob::Restore { file, meta, answer });
            }
            Err(refused) => drop(answer.send(Err(ProposeError::Refused(refused)))),
        }
    }

    /// Tells the core how far the apply thread has come.
    fn take_applied(&mut self) {
        let index = self.shared.applied.load(Ordering::SeqCst);
        if index != self.applied {
            self.applied = index;
            self.core.applied(index);
            self.check_log_size();
        }
    }

    /// Asks the apply thread to say so when it is done, if the core has more for it. True when it is done
    /// already.
    fn waits_for_applied(&self) -> bool {
        if !self.core.waits_for_applied() {
            return false;
        }
        self.shared.applied_wanted.store(true, Ordering::SeqCst);
        self.shared.applied.load(Ordering::SeqCst) != self.applied
    }

    fn check_log_size(&mut self) {
        if self.applied >= self.size_checked_at + COMPACTION_CHECK && !self.compacting {
            self.size_checked_at = self.applied;
            self.compacting = true;
            self.log_jobs.put(LogJob::CheckSize {
                applied: self.applied,
            });
        }
    }

    /// Carries out everything the core asks for.
    fn carry_out(&mut self) {
        self.note_configuration();
        while let Some(ready) = self.core.ready(self.time()) {
            let Ready {
                leadership,
                write,
                messages,
                committed,
                reads,
                snapshots_wanted,
                install,
                fault,
            } = ready;
            if let Some(leadership) = leadership {
                self.note_leadership(leadership);
            }
            if let Some(write) = write {
                self.log_jobs.put(LogJob::Write(write));
            }
            self.send(messages);
            self.take_snapshots(snapshots_wanted);
            if let Some(install) = install {
                self.install(install);
            }
            if !committed.is_empty() {
                let _timed = Timed::start(&metrics::RAFT_FSM_ENQUEUE);
                metrics::RAFT_COMMIT_NUM_LOGS.set(committed.len() as f64);
                let batch = committed.into_iter().map(|entry| {
                    let answer = answer_for(&mut self.waiting, entry.index, entry.term);
                    (entry, answer)
                });
                self.apply_jobs.put(ApplyJob::Apply(batch.collect()));
            }
            for ReadState { ctx, index } in reads {
                self.answer_read(ctx, index);
            }
            match fault {
                Some(Fault::LogUnreadable(why)) => {
                    log::error!(target: "agent.server.raft", "the Raft log cannot be read: {why}");
                }
                Some(Fault::CommittedConflict { from, index }) => log::error!(
                    target: "agent.server.raft",
                    "server {from} contradicts committed entry {index}: are two clusters mixed?"
                ),
                None => {}
            }
        }
        self.note_contact();
    }

    /// Publishes how long reads may be answered without asking, and when the leader was heard.
    fn note_contact(&self) {
        let until = self.core.lease_until().map_or(0, nanos);
        self.shared.lease_until.store(until, Ordering::Release);
        if let Some(at) = self.core.last_heard() {
            let at = nanos(at).max(1);
            self.shared.last_heard.store(at, Ordering::Release);
        }
    }

    /// Publishes the configuration in force if it is another one than before.
    fn note_configuration(&mut self) {
        if self.core.configuration() == &*self.configuration {
            return;
        }
        self.configuration = Arc::new(self.core.configuration().clone());
        let alone = self.configuration.servers.len() == 1;
        self.shared.alone.store(alone, Ordering::Release);
        *lock(&self.shared.configuration) = self.configuration.clone();
        if let Some(transport) = &mut self.outside.transport {
            transport.keep(&self.configuration.servers);
        }
    }

    fn note_leadership(&mut self, leadership: Leadership) {
        let mut shared = lock(&self.shared.leadership);
        let lost = shared.role == Role::Leader && leadership.role != Role::Leader;
        count_role(shared.role, leadership.role);
        *shared = leadership.clone();
        drop(shared);
        if lost {
            self.fail_waiting(&ProposeError::Lost);
        }
        // Nobody listens during shutdown.
        let _ = self.leadership.try_send(leadership);
    }

    fn answer_read(&mut self, ctx: u64, index: Option<u64>) {
        // The core answers in order, so it is nearly always the first.
        if let Some(at) = self.reads.iter().position(|(mark, _)| *mark == ctx)
            && let Some((_, answer)) = self.reads.remove(at)
        {
            // The caller may have gone away.
            let _ = answer.send(index.ok_or(ProposeError::Lost));
        }
    }

    fn fail_waiting(&mut self, why: &ProposeError) {
        for waiter in self.waiting.drain(..) {
            // The caller may have gone away.
            let _ = waiter.answer.send(Err(why.clone()));
        }
        for (_, answer) in self.reads.drain(..) {
            let _ = answer.send(Err(why.clone()));
        }
    }
}

/// The core's next deadline. It changes less often than the core is asked.
#[derive(Default)]
struct Alarm {
    at: Option<Instant>,
    timer: Option<Timer>,
}

impl Alarm {
    fn set(&mut self, at: Option<Instant>) {
        if self.at != at || self.timer.is_none() {
            self.at = at;
            self.timer = at.map(Timer::at);
        }
    }

    /// Ready once when the time has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(Pin::new(timer).poll(cx));
        self.timer = None;
        Poll::Ready(())
    }
}

/// Counts what is asked of the core.
fn count_proposals(entries: &[(EntryKind, Arc<[u8]>)]) {
    for (kind, _) in entries {
        match kind {
            EntryKind::Command => metrics::RAFT_APPLY.incr(),
            EntryKind::Barrier => metrics::RAFT_BARRIER.incr(),
            EntryKind::Noop | EntryKind::Configuration => {}
        }
    }
}

/// Counts the roles this server comes to.
fn count_role(before: Role, now: Role) {
    if before == now {
        return;
    }
    if before == Role::Follower && now != Role::Leader {
        metrics::RAFT_HEARTBEAT_TIMEOUT.incr();
    }
    match now {
        Role::Follower => metrics::RAFT_STATE_FOLLOWER.incr(),
        Role::PreCandidate => {}
        Role::Candidate => metrics::RAFT_STATE_CANDIDATE.incr(),
        Role::Leader => metrics::RAFT_STATE_LEADER.incr(),
    }
}

/// Who waits for the entry at `index`, if it is still the one of `term`; waiters for entries that were
/// lost on the way are told so.
fn answer_for<R>(waiting: &mut VecDeque<Waiter<R>>, index: u64, term: u64) -> Option<Answer<R>> {
    while waiting.front().is_some_and(|w| w.index <= index) {
        let waiter = waiting.pop_front()?;
        if waiter.index == index && waiter.term == term {
            metrics::RAFT_COMMIT_TIME.record(waiter.since.elapsed());
            return Some(waiter.answer);
        }
        // The caller may have gone away.
        let _ = waiter.answer.send(Err(ProposeError::Lost));
    }
    None
}
