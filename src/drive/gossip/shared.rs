//! The pool behind a lock: whoever has something for it feeds it and carries out what it says.
//!
//! Holds true: what the pool says is carried out in its order; the lock is never held across a wait.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol::channel::{Receiver, Sender};

use super::files::Files;
use super::sockets;
use crate::drive::clock::Instant;
use crate::drive::runtime::Handle;
use crate::drive::tasks::TaskSet;
use crate::gossip::{self, Change, Event, KeyOperation, KeyOutcome, Member, Output, Pool};
use crate::net::udp::UdpListener;
use crate::telemetry::{self, metrics};

/// Events that wait for their reader, at most.
const MAX_EVENTS: usize = 4096;

/// How often the lengths of the queues are told, as Serf does.
const QUEUE_CHECK: Duration = Duration::from_secs(30);

/// Bytes of an event's name that has a counter, at most.
const MAX_COUNTED_NAME: usize = 128;

/// How many were reached, and what went wrong with the others.
type Joined = (usize, Vec<(SocketAddr, String)>);

/// The pool, and who waits for it.
pub(super) struct Core {
    pub pool: Pool,
    joins: HashMap<u64, Sender<Joined>>,
    keys: HashMap<u32, Sender<KeyOutcome>>,
    leaves: Vec<Sender<()>>,
    /// Until when the loop sleeps.
    sleeps_until: Option<Duration>,
    /// Outgoing connections; none any more after the end.
    dials: Option<TaskSet>,
    lost_events: u64,
    /// When the lengths of the queues were last told.
    queues_counted_at: Duration,
}

pub(super) struct Shared {
    core: Mutex<Core>,
    epoch: Instant,
    pub udp: UdpListener,
    files: Files,
    events: Sender<Event>,
    wake: Sender<()>,
    pub loggers: [String; 2],
    /// The members as of a revision.
    picture: Mutex<(u64, Arc<Vec<Member>>)>,
}

impl Shared {
    /// The pool, its events, and what wakes its loop.
    pub fn new(
        runtime: &Handle,
        epoch: Instant,
        pool: Pool,
        udp: UdpListener,
        files: Files,
        loggers: [String; 2],
    ) -> (Arc<Self>, Receiver<Event>, Receiver<()>) {
        // A bounded channel would take the room of all of them at once.
        let (events, received) = smol::channel::unbounded();
        let (wake, woken) = smol::channel::bounded(1);
        let core = Core {
            pool,
            joins: HashMap::new(),
            keys: HashMap::new(),
            leaves: Vec::new(),
            sleeps_until: None,
            dials: Some(TaskSet::new(runtime.clone())),
            lost_events: 0,
            queues_counted_at: Duration::ZERO,
        };
        let shared = Arc::new(Self {
            core: Mutex::new(core),
            epoch,
            udp,
            files,
            events,
            wake,
            loggers,
            picture: Mutex::default(),
        });
        (shared, received, woken)
    }

    /// Gives the pool something and carries out what it then says.
    pub fn feed<T>(self: &Arc<Self>, act: impl FnOnce(&mut Core, Duration) -> T) -> T {
        let mut core = lock(&self.core);
        let result = act(&mut core, self.epoch.elapsed());
        while let Some(output) = core.pool.poll() {
            self.carry_out(&mut core, output);
        }
        let next = core.pool.next_deadline();
        let sooner = next.is_some_and(|at| core.sleeps_until.is_none_or(|until| at < until));
        if sooner {
            core.sleeps_until = next;
            // Full when the loop has been told already.
            let _ = self.wake.try_send(());
        }
        result
    }

    fn carry_out(self: &Arc<Self>, core: &mut Core, output: Output) {
        match output {
            Output::Packet { to, bytes } => {
                metrics::MEMBERLIST_PACKETS_SENT.add(bytes.len() as f64);
                if let Err(e) = self.udp.send_to(&bytes, to) {
                    let why = crate::net::dial::errno_text(&e);
                    log::error!(target: &self.loggers[0], "memberlist: Failed to send UDP message to {to}: {why}");
                }
            }
            Output::Dial {
                stream,
                to,
                bytes,
                deadline,
            } => {
                let shared = self.clone();
                let deadline = self.epoch + deadline;
                if let Some(dials) = &core.dials {
                    dials.spawn(async move {
                        let answer = sockets::dial(to, bytes, deadline).await;
                        shared.feed(|core, now| match answer {
                            Ok(bytes) => core.pool.stream_answered(now, stream, &bytes),
                            Err(why) => core.pool.stream_failed(now, stream, &why),
                        });
                    });
                }
            }
            Output::Event(event) => self.deliver(core, event),
            Output::Snapshot(write) => self.files.snapshot(write),
            Output::Keyring(keys) => self.files.keyring(keys),
        }
    }

    /// Hands an event to who waits for it, or to the pool's owner.
    fn deliver(&self, core: &mut Core, event: Event) {
        count(&event);
        // Who asked may have gone away.
        match event {
            Event::Joined {
                join,
                reached,
                errors,
            } => {
                if let Some(waiting) = core.joins.remove(&join) {
                    let _ = waiting.try_send((reached, errors));
                }
            }
            Event::Keys { query, outcome } => {
                if let Some(waiting) = core.keys.remove(&query) {
                    let _ = waiting.try_send(outcome);
                }
            }
            event => {
                if event == Event::Left {
                    core.leaves.clear();
                }
                let full = self.events.len() >= MAX_EVENTS;
                if full || self.events.try_send(event).is_err() {
                    core.lost_events += 1;
                    if core.lost_events.is_power_of_two() {
                        log::warn!(target: &self.loggers[1], "serf: too many events are waiting, lost so far: {}",
                            core.lost_events);
                    }
                }
            }
        }
    }

    /// Begins to join.
    pub fn join(self: &Arc<Self>, addrs: &[SocketAddr]) -> Receiver<Joined> {
        let (waiting, answer) = smol::channel::bounded(1);
        self.feed(|core, now| {
            if core.dials.is_some() {
                let join = core.pool.join(now, addrs);
                core.joins.insert(join, waiting);
            }
        });
        answer
    }

    /// Begins to leave; what is returned closes when that is done.
    pub fn leave(self: &Arc<Self>) -> Receiver<()> {
        let (waiting, answer) = smol::channel::bounded(1);
        self.feed(|core, now| {
            if core.pool.has_ended() {
                return;
            }
            core.leaves.push(waiting);
            core.pool.leave(now);
        });
        answer
    }

    /// Begins an operation on all keyrings.
    pub fn keys(
        self: &Arc<Self>,
        operation: KeyOperation,
        relay_factor: u8,
    ) -> Result<Receiver<KeyOutcome>, gossip::Error> {
        let (waiting, answer) = smol::channel::bounded(1);
        self.feed(|core, now| {
            let query = core.pool.key_operation(now, operation, relay_factor)?;
            core.keys.insert(query, waiting);
            Ok(answer)
        })
    }

    /// Looks at the pool.
    pub fn look<T>(&self, look: impl FnOnce(&Pool) -> T) -> T {
        look(&lock(&self.core).pool)
    }

    /// The members.
    pub fn members(&self) -> Arc<Vec<Member>> {
        let core = lock(&self.core);
        let mut picture = lock(&self.picture);
        let revision = core.pool.revision();
        if picture.0 != revision {
            *picture = (revision, Arc::new(core.pool.members().cloned().collect()));
        }
        picture.1.clone()
    }

    /// Time has passed.
    pub fn tick(self: &Arc<Self>) {
        self.feed(|core, now| {
            core.pool.tick(now);
            if now >= core.queues_counted_at + QUEUE_CHECK {
                core.queues_counted_at = now;
                count_queues(&core.pool);
            }
        });
    }

    /// When to tick next; the loop sleeps until then.
    pub fn next_tick(&self) -> Option<Instant> {
        let mut core = lock(&self.core);
        core.sleeps_until = core.pool.next_deadline();
        core.sleeps_until.map(|at| self.epoch + at)
    }

    /// Nothing is dialled and nobody waits any more; the files are written to the end.
    pub fn end(&self) {
        let mut core = lock(&self.core);
        let dials = core.dials.take();
        core.joins.clear();
        core.keys.clear();
        core.leaves.clear();
        // Outside the lock: a task that ends may be feeding.
        drop(core);
        drop(dials);
        self.files.end();
        self.events.close();
    }
}

/// Counts what happens in a pool.
fn count(event: &Event) {
    match event {
        Event::Member(change, _) => match change {
            Change::Join => metrics::SERF_MEMBER_JOIN.incr(),
            Change::Update => metrics::SERF_MEMBER_UPDATE.incr(),
            Change::Failed => metrics::SERF_MEMBER_FAILED.incr(),
            Change::Leave => metrics::SERF_MEMBER_LEFT.incr(),
            Change::Reap => {}
        },
        Event::User { name, .. } => {
            metrics::SERF_EVENTS.incr();
            // What is longer has no series of its own.
            let named = name.len() <= MAX_COUNTED_NAME;
            if named && let Some(counter) = telemetry::counter(&["serf.events.", name], &[]) {
                counter.incr();
            }
        }
        _ => {}
    }
}

/// Tells how long the queues of Serf's messages are.
fn count_queues(pool: &Pool) {
    let stats = pool.stats();
    let length = |name: &str| stats.get(name).copied().unwrap_or(0) as f64;
    metrics::SERF_QUEUE_EVENT.add(length("event_queue"));
    metrics::SERF_QUEUE_INTENT.add(length("intent_queue"));
    metrics::SERF_QUEUE_QUERY.add(length("query_queue"));
}

/// A poisoned lock means that a thread panicked; what it guards here is always whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
