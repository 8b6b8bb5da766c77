//! The two threads that touch the disk on behalf of the core: one writes the log, one applies.
//!
//! Holds true: writes reach the disk in order and are reported only after the sync; committed entries are
//! applied in order and never given up. A disk that refuses is tried again every second, and said so.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use smol::channel::Sender;

use super::event_loop::Monitor;
use super::queue::{Receiver, Waited};
use super::{
    Answer, Applied, ApplyJob, Command, DiskError, LogJob, LogWriter, ProposeError, Shared,
    StateMachine, lock,
};
use crate::drive::clock;
use crate::heap;
use crate::raft::{Entry, SnapshotMeta, Write};
use crate::telemetry::{Timed, metrics};

/// Space is given back when nothing was written for so long: before, what comes next uses it.
const QUIET: Duration = Duration::from_secs(5);
/// Unused bytes in the state that are worth giving back when the log was not cut, as after a tree was deleted.
const WASTE: u64 = 1 << 20;
/// How often a failing disk is tried again.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// Runs `attempt` until the disk takes it, telling the core when trouble begins and ends. `None` when the
/// agent ends meanwhile.
fn persist<T, R>(
    mailbox: &Sender<Command<R>>,
    shared: &Shared,
    mut attempt: impl FnMut() -> Result<T, DiskError>,
) -> Option<T> {
    let mut told = false;
    loop {
        match attempt() {
            Ok(done) => {
                if told {
                    log::info!(target: "agent.server.raft", "the disk takes writes again");
                    *lock(&shared.disk) = None;
                    tell(mailbox, Command::DiskRecovered);
                }
                return Some(done);
            }
            Err(fault) => {
                if !told {
                    log::error!(target: "agent.server.raft", "{}", fault.text);
                    *lock(&shared.disk) = Some(fault.text.clone());
                    tell(mailbox, Command::DiskFault { text: fault.text });
                    told = true;
                }
                if mailbox.is_closed() {
                    return None;
                }
                std::thread::sleep(DISK_RETRY);
            }
        }
    }
}

/// The core may have ended; then nobody needs to know.
fn tell<R>(mailbox: &Sender<Command<R>>, command: Command<R>) {
    let _ = mailbox.send_blocking(command);
}

/// Writes and syncs whatever has queued up, as one batch, until the core hangs up.
pub(super) fn log_loop<R: Send + 'static, L: LogWriter, S: StateMachine<Reply = R>>(
    mut log_store: L,
    queue: &Receiver<LogJob>,
    mailbox: &Sender<Command<R>>,
    shared: &Shared,
    monitor: &Weak<Monitor<R>>,
    applier: &Applier<R, S>,
) {
    heap::keep_blocks();
    let mut pending: VecDeque<LogJob> = VecDeque::new();
    // A cut goes in steps, so that no write waits for the whole of it.
    let mut cutting: Option<(SnapshotMeta, Timed)> = None;
    let mut untidy = false;
    loop {
        if pending.is_empty() && cutting.is_none() {
            match queue.wait(untidy.then_some(QUIET)) {
                Waited::Came => {}
                Waited::Closed => return,
                Waited::Quiet => {
                    untidy = false;
                    note_tidied(log_store.shrink());
                }
            }
        }
        queue.drain_into(&mut pending);
        let mut writes: Vec<Write> = Vec::new();
        let mut other = None;
        while let Some(job) = pending.pop_front() {
            match job {
                LogJob::Write(write) => writes.push(write),
                job => {
                    other = Some(job);
                    break;
                }
            }
        }
        if let Some(number) = writes.last().map(|w| w.number) {
            let timed = Timed::start(&metrics::RAFT_DISPATCH_LOG);
            if persist(mailbox, shared, || log_store.write(&writes)).is_none() {
                return;
            }
            drop(timed);
            note_written(&writes);
            // Without the core there is nobody to tell.
            if let Some(monitor) = monitor.upgrade() {
                monitor.persisted(number);
                if other.is_none() && shared.alone.load(Ordering::Acquire) && queue.is_empty() {
                    applier.lend_a_hand();
                }
                monitor.ring_for_apply();
            }
        }
        match other {
            Some(LogJob::CheckSize { applied }) => {
                let keep_from = log_store.compaction_due(applied);
                tell(mailbox, Command::CompactionDue { keep_from });
            }
            Some(LogJob::Compact { meta }) => {
                cutting = Some((meta, Timed::start(&metrics::RAFT_COMPACT_LOGS)));
            }
            Some(LogJob::Write(_)) | None => {}
        }
        if let Some((meta, _)) = &cutting {
            let more = log_store.compact(meta).unwrap_or_else(|fault| {
                log::warn!(target: "agent.server.raft", "log not cut: {}", fault.text);
                false
            });
            if !more {
                (cutting, untidy) = (None, true);
                tell(mailbox, Command::Compacted);
            }
        }
    }
}

fn note_tidied(tidied: Result<(), DiskError>) {
    if let Err(fault) = tidied {
        log::warn!(target: "agent.server.raft", "space not given back: {}", fault.text);
    }
}

/// Notes how much of the log was written.
fn note_written(writes: &[Write]) {
    let entries = || writes.iter().flat_map(|write| &write.entries);
    if let Some(last) = entries().last() {
        metrics::RAFT_LAST_INDEX.set(last.index as f64);
        metrics::RAFT_DISPATCH_NUM_LOGS.set(entries().count() as f64);
    }
}

/// Entries applied in one transaction, about: a commit costs as much as applying some of them.
const MAX_BATCH: usize = 256;

/// Entries that the log thread applies for a lone server, at most, in one go.
const LENT: usize = 4;

/// Applies committed entries and answers whoever proposed them.
pub(super) struct Applier<R, S> {
    machine: Mutex<Machine<S>>,
    queue: Receiver<ApplyJob<R>>,
    mailbox: Sender<Command<R>>,
    shared: Arc<Shared>,
}

struct Machine<S> {
    state: S,
    /// Space is given back when it gets quiet, if it is at least so many bytes.
    untidy: Option<u64>,
    /// When it was last at work.
    worked: Instant,
}

impl<S: StateMachine> Machine<S> {
    /// How much longer it must be quiet before space is given back; `None` when that is not due.
    fn patience(&self) -> Option<Duration> {
        self.untidy
            .map(|_| QUIET.saturating_sub(self.worked.elapsed()))
    }

    /// Gives space back if it was quiet for long enough.
    fn tidy(&mut self) {
        if self.patience().is_some_and(|left| left.is_zero())
            && let Some(least) = self.untidy.take()
        {
            note_tidied(self.state.shrink(least));
        }
    }
}

/// The agent ends while the disk refuses.
struct Ended;

impl<R: Send + 'static, S: StateMachine<Reply = R>> Applier<R, S> {
    pub(super) fn new(
        state: S,
        queue: Receiver<ApplyJob<R>>,
        mailbox: Sender<Command<R>>,
        shared: Arc<Shared>,
    ) -> Self {
        let machine = Machine {
            state,
            untidy: None,
            worked: clock::now(),
        };
        Self {
            machine: Mutex::new(machine),
            queue,
            mailbox,
            shared,
        }
    }

    /// Works off the queue until the core hangs up.
    pub(super) fn run(&self) {
        heap::keep_blocks();
        loop {
            let patience = lock(&self.machine).patience();
            match self.queue.wait(patience) {
                Waited::Came => {}
                Waited::Closed => return,
                Waited::Quiet => {
                    lock(&self.machine).tidy();
                    continue;
                }
            }
            let mut machine = lock(&self.machine);
            while let Some(job) = self.queue.take() {
                if self.carry_out(&mut machine, job).is_err() {
                    return;
                }
            }
        }
    }

    /// Applies a few entries for the apply thread, if it is not at work.
    fn lend_a_hand(&self) {
        let Ok(mut machine) = self.machine.try_lock() else {
            return;
        };
        let few = |job: &ApplyJob<R>| matches!(job, ApplyJob::Apply(batch) if batch.len() <= LENT);
        if let Some(job) = self.queue.take_if(few) {
            let was_tidy = machine.untidy.is_none();
            // The agent ends: the apply thread sees it, too.
            let _ = self.carry_out(&mut machine, job);
            if was_tidy {
                // It sleeps without a limit.
                self.queue.poke();
            }
        }
    }

    fn carry_out(&self, machine: &mut Machine<S>, job: ApplyJob<R>) -> Result<(), Ended> {
        let Machine {
            state,
            untidy,
            worked,
        } = machine;
        match job {
            ApplyJob::Apply(batch) => {
                *untidy = untidy.or(Some(WASTE));
                self.apply(state, batch)?;
            }
            ApplyJob::MakeDurable { keep_from } => {
                *untidy = Some(0);
                let index = match state.make_durable() {
                    Ok(index) => index,
                    Err(fault) => {
                        log::warn!(target: "agent.server.raft", "state not synced: {}", fault.text);
                        0
                    }
                };
                tell(&self.mailbox, Command::Durable { index, keep_from });
            }
            ApplyJob::Install { file, meta } => {
                let result = self.restore(state, file, &meta);
                if let Err(fault) = &result {
                    log::error!(target: "agent.server.raft", "failed to restore snapshot: {}", fault.text);
                }
                let ok = result.is_ok();
                tell(&self.mailbox, Command::Installed { ok });
            }
            ApplyJob::Restore { file, meta, answer } => {
                let result = self.restore(state, file, &meta);
                let ok = result.is_ok();
                tell(&self.mailbox, Command::Restored { ok });
                // The caller may have gone away.
                let _ = answer.send(result.map_err(|fault| ProposeError::Disk(fault.text)));
            }
        }
        *worked = clock::now();
        Ok(())
    }

    fn restore(&self, state: &mut S, file: File, meta: &SnapshotMeta) -> Result<(), DiskError> {
        let timed = Timed::start(&metrics::RAFT_FSM_RESTORE);
        let result = state.restore(file, meta);
        drop(timed);
        if result.is_ok() {
            self.shared.applied.store(meta.index, Ordering::SeqCst);
        }
        result
    }

    /// Applies a batch with what else of its kind has queued up.
    fn apply(
        &self,
        state: &mut S,
        mut batch: Vec<(Entry, Option<Answer<R>>)>,
    ) -> Result<(), Ended> {
        while batch.len() < MAX_BATCH
            && let Some(ApplyJob::Apply(more)) =
                self.queue.take_if(|job| matches!(job, ApplyJob::Apply(_)))
        {
            batch.extend(more);
        }
        let (entries, answers): (Vec<Entry>, Vec<Option<Answer<R>>>) = batch.into_iter().unzip();
        let Some(last) = entries.last().map(|e| e.index) else {
            return Ok(());
        };
        let timed = Timed::start(&metrics::RAFT_FSM_APPLY);
        let applied = persist(&self.mailbox, &self.shared, || state.apply(&entries));
        // What is not applied is in the log: the next start applies it.
        let replies = applied.ok_or(Ended)?;
        drop(timed);
        metrics::RAFT_APPLIED_INDEX.set(last as f64);
        self.shared.applied.store(last, Ordering::SeqCst);
        let wanted = self.shared.applied_wanted.swap(false, Ordering::SeqCst);
        for ((entry, answer), reply) in entries.iter().zip(answers).zip(replies) {
            if let Some(answer) = answer {
                // The caller may have gone away.
                let _ = answer.send(Ok(Applied {
                    index: entry.index,
                    reply,
                }));
            }
        }
        if wanted {
            tell(&self.mailbox, Command::Turn);
        }
        Ok(())
    }
}
