//! The two threads that touch the disk on behalf of the core: one writes the log, one applies.
//!
//! Holds true: writes reach the disk in order and are reported only after the sync; committed entries are
//! applied in order and never given up. A disk that refuses is tried again every second, and said so.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smol::channel::Sender;

use super::queue::{Next, Receiver};
use super::{
    Answer, Applied, ApplyJob, Command, DiskError, LogJob, LogWriter, ProposeError, Shared,
    StateMachine, lock,
};
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

/// The next job, or `None` when the core has hung up. Tidies up first if that is due and it stays quiet; `untidy` is how
/// many unused bytes make it worth the while.
fn next_job<T>(
    queue: &Receiver<T>,
    untidy: &mut Option<u64>,
    tidy: impl FnOnce(u64) -> Result<(), DiskError>,
) -> Option<T> {
    if let Some(least) = *untidy {
        match queue.next_within(QUIET) {
            Next::Item(job) => return Some(job),
            Next::Closed => return None,
            Next::Quiet => {}
        }
        *untidy = None;
        if let Err(fault) = tidy(least) {
            log::warn!(target: "agent.server.raft", "space not given back: {}", fault.text);
        }
    }
    queue.next()
}

/// Writes and syncs whatever has queued up, as one batch, until the core hangs up.
pub(super) fn log_loop<R, L: LogWriter>(
    mut log_store: L,
    queue: &Receiver<LogJob>,
    mailbox: &Sender<Command<R>>,
    shared: &Shared,
) {
    let mut pending: VecDeque<LogJob> = VecDeque::new();
    // A cut goes in steps, so that no write waits for the whole of it.
    let mut cutting: Option<(SnapshotMeta, Timed)> = None;
    let mut untidy = None;
    loop {
        if pending.is_empty() && cutting.is_none() {
            match next_job(queue, &mut untidy, |_| log_store.shrink()) {
                Some(job) => pending.push_back(job),
                None => return,
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
            tell(mailbox, Command::Persisted { number });
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
                (cutting, untidy) = (None, Some(0));
                tell(mailbox, Command::Compacted);
            }
        }
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

/// Adds what else has queued up to a batch; the first job that is of another kind.
fn add_queued<R>(
    batch: &mut Vec<(Entry, Option<Answer<R>>)>,
    queue: &Receiver<ApplyJob<R>>,
) -> Option<ApplyJob<R>> {
    while batch.len() < MAX_BATCH {
        match queue.try_next()? {
            ApplyJob::Apply(more) => batch.extend(more),
            other => return Some(other),
        }
    }
    None
}

/// Applies committed entries and answers whoever proposed them, until the core hangs up.
pub(super) fn apply_loop<R: Send + 'static, S: StateMachine<Reply = R>>(
    mut state: S,
    queue: &Receiver<ApplyJob<R>>,
    mailbox: &Sender<Command<R>>,
    shared: &Shared,
) {
    let mut untidy = None;
    let mut put_off = None;
    while let Some(job) = put_off
        .take()
        .or_else(|| next_job(queue, &mut untidy, |least| state.shrink(least)))
    {
        match job {
            ApplyJob::Apply(mut batch) => {
                put_off = add_queued(&mut batch, queue);
                untidy = untidy.or(Some(WASTE));
                let (entries, answers): (Vec<Entry>, Vec<Option<Answer<R>>>) =
                    batch.into_iter().unzip();
                let Some(last) = entries.last().map(|e| e.index) else {
                    continue;
                };
                let timed = Timed::start(&metrics::RAFT_FSM_APPLY);
                let Some(replies) = persist(mailbox, shared, || state.apply(&entries)) else {
                    // Not applied, but in the log: the next start applies them.
                    return;
                };
                drop(timed);
                metrics::RAFT_APPLIED_INDEX.set(last as f64);
                shared.applied.store(last, Ordering::SeqCst);
                let wanted = shared.applied_wanted.swap(false, Ordering::SeqCst);
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
                    tell(mailbox, Command::Applied);
                }
            }
            ApplyJob::MakeDurable { keep_from } => {
                untidy = Some(0);
                let index = match state.make_durable() {
                    Ok(index) => index,
                    Err(fault) => {
                        log::warn!(target: "agent.server.raft", "state not synced: {}", fault.text);
                        0
                    }
                };
                tell(mailbox, Command::Durable { index, keep_from });
            }
            ApplyJob::Install { file, meta } => {
                let timed = Timed::start(&metrics::RAFT_FSM_RESTORE);
                let result = state.restore(file, &meta);
                drop(timed);
                if let Err(fault) = &result {
                    log::error!(target: "agent.server.raft", "failed to restore snapshot: {}", fault.text);
                } else {
                    shared.applied.store(meta.index, Ordering::Release);
                }
                let ok = result.is_ok();
                tell(mailbox, Command::Installed { ok });
            }
            ApplyJob::Restore { file, meta, answer } => {
                let timed = Timed::start(&metrics::RAFT_FSM_RESTORE);
                let result = state.restore(file, &meta);
                drop(timed);
                let ok = result.is_ok();
                if ok {
                    shared.applied.store(meta.index, Ordering::Release);
                }
                tell(mailbox, Command::Restored { ok });
                // The caller may have gone away.
                let _ = answer.send(result.map_err(|fault| ProposeError::Disk(fault.text)));
            }
        }
    }
}
