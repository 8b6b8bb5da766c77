//! The state of one member of a pool, how it starts, and where each input goes.
//!
//! Holds true: time never goes back; timers exist only while there is something to wait for, so an agent
//! that is alone sleeps. Leaves each subject to its own file.
//! Source: `docs/reference/gossip.md`.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::awareness::Awareness;
use super::broadcast::{Queue, Waiting};
use super::codec::crypt::Nonces;
use super::codec::layers::COMPOUND_PART;
use super::codec::message::{Ack, Alive, Message, ip_bytes};
use super::codec::packet::Envelope;
use super::codec::serf::SerfMessage;
use super::codec::tags;
use super::config::digits;
use super::coordinate::Coordinates;
use super::event::Events;
use super::intent::Intents;
use super::lamport::Clock;
use super::leave::Phase;
use super::members::{Member, Nodes};
use super::output::{Event, Output};
use super::probe::{Probe, Relayed};
use super::push_pull::{Dialed, Joining};
use super::query::{Pending, Queries};
use super::snapshot::Snapshot;
use super::timer::{Timer, Timers};
use super::{Config, Error};
use crate::structs::go::Bytes;
use crate::structs::{MemberStatus, Position};
use crate::telemetry::metrics;

/// Bytes of one message of Serf's, at most: its largest events have 9 KiB.
const MAX_USER_MESSAGE: usize = 10 << 10;

/// News of the four kinds, in the order in which packets are filled.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub nodes: Queue,
    pub intents: Queue,
    pub queries: Queue,
    pub events: Queue,
}

impl Queues {
    pub fn is_empty(&self) -> bool {
        [&self.nodes, &self.intents, &self.queries, &self.events]
            .iter()
            .all(|q| q.is_empty())
    }
}

/// Which periodic timers are set.
#[derive(Debug, Default)]
pub(super) struct Armed {
    pub probe: bool,
    pub gossip: bool,
    pub push_pull: bool,
    pub reap: bool,
    pub reconnect: bool,
    pub objection: bool,
    pub snapshot: bool,
}

/// One member's part in a pool. See the [module](super) for how to drive it.
#[derive(Debug)]
pub struct Pool {
    pub(super) config: Config,
    pub(super) now: Duration,
    pub(super) rng: fastrand::Rng,
    pub(super) envelope: Envelope,
    pub(super) timers: Timers,
    pub(super) armed: Armed,
    pub(super) phase: Phase,
    out: VecDeque<Output>,

    pub(super) nodes: Nodes,
    pub(super) seq: u32,
    pub(super) generation: u64,
    pub(super) awareness: Awareness,
    pub(super) probe: Option<Probe>,
    pub(super) relayed: BTreeMap<u32, Relayed>,
    pub(super) queues: Queues,
    pub(super) next_stream: u64,
    pub(super) dialed: BTreeMap<u64, Dialed>,
    pub(super) joining: BTreeMap<u64, Joining>,
    /// Members of a former process, to be tried until one answers.
    pub(super) rejoin: Vec<SocketAddr>,

    pub(super) members: BTreeMap<String, Member>,
    /// Grows with every change of a member that others can see.
    pub(super) revision: u64,
    pub(super) clock: Clock,
    pub(super) event_clock: Clock,
    pub(super) query_clock: Clock,
    pub(super) intents: Intents,
    pub(super) events: Events,
    pub(super) queries: Queries,
    pub(super) pending: BTreeMap<u32, Pending>,
    pub(super) coordinates: Coordinates,
    pub(super) snapshot: Snapshot,
}

impl Pool {
    /// Starts as the only member, and tries to find those of a former process.
    ///
    /// # Errors
    /// When the tags are too long, or there is no name.
    pub fn new(now: Duration, config: Config) -> Result<Self, Error> {
        let meta = tags::encode(&config.tags)?;
        if config.name.is_empty() {
            return Err(Error::Request("a member needs a name".to_owned()));
        }
        let envelope = Envelope {
            label: config.label.clone(),
            keyring: config.keyring.clone(),
            verify_incoming: config.verify_incoming,
            verify_outgoing: config.verify_outgoing,
            compress: config.compress,
            nonces: Nonces::new(config.nonce),
        };
        let previous = &config.previous;
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let own = &config.name;
        let others = previous.alive.iter().filter(|(name, _)| *name != own);
        let mut rejoin: Vec<SocketAddr> = others.map(|(_, addr)| *addr).collect();
        rng.shuffle(&mut rejoin);
        let mut pool = Self {
            now,
            envelope,
            timers: Timers::default(),
            armed: Armed::default(),
            phase: Phase::Running,
            out: VecDeque::new(),
            nodes: Nodes::default(),
            seq: 0,
            generation: 0,
            awareness: Awareness::new(config.awareness_max),
            probe: None,
            relayed: BTreeMap::new(),
            queues: Queues::default(),
            next_stream: 0,
            dialed: BTreeMap::new(),
            joining: BTreeMap::new(),
            rejoin,
            members: BTreeMap::new(),
            revision: 0,
            clock: Clock::new(previous.clock),
            event_clock: Clock::new(previous.event_clock),
            query_clock: Clock::new(previous.query_clock),
            intents: Intents::default(),
            events: Events::new(config.buffer, previous.event_clock),
            queries: Queries::new(config.buffer, previous.query_clock),
            pending: BTreeMap::new(),
            coordinates: Coordinates::default(),
            snapshot: Snapshot::new(previous),
            rng,
            config,
        };
        pool.on_alive(&pool.own_alive(meta), true);
        pool.flush_snapshot();
        pool.rejoin_next();
        Ok(pool)
    }

    fn own_alive(&self, meta: Vec<u8>) -> Alive {
        Alive {
            incarnation: 1,
            node: self.config.name.clone(),
            addr: ip_bytes(self.config.addr.ip()),
            port: self.config.addr.port(),
            meta: Bytes(meta),
            vsn: Bytes(self.config.versions.to_vec()),
        }
    }

    /// The next thing to do or to know; to be asked after every input until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Pool::tick`] is to be called next; never when there is nothing to wait for.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.phase == Phase::Done {
            return None;
        }
        self.timers.next()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.input(now);
        while let Some(timer) = self.timers.due(self.now) {
            if self.phase != Phase::Done {
                self.due(timer);
            }
        }
    }

    pub(super) fn input(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Probe => self.next_probe(),
            Timer::ProbeTimeout(seq) => self.probe_indirectly(seq),
            Timer::ProbeEnd(seq) => self.probe_ended(seq),
            Timer::Relayed(seq) => self.relayed_unanswered(seq),
            Timer::Gossip => self.gossip(),
            Timer::PushPull => self.periodic_push_pull(),
            Timer::Suspicion(name, generation) => self.suspicion_ended(&name, generation),
            Timer::Reap => self.reap(),
            Timer::Reconnect => self.reconnect(),
            Timer::Objection => self.ask_for_objections(),
            Timer::QueryEnd(id) => self.query_ended(id),
            Timer::AnswerEnd(ltime, id) => self.queries.forget(ltime, id),
            Timer::Snapshot => {
                self.armed.snapshot = false;
                self.flush_snapshot();
            }
            Timer::Prune(name) => self.prune_ended(&name),
            Timer::Leave(step) => self.leave_step(step),
        }
    }

    /// A datagram came.
    pub fn handle_packet(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        self.input(now);
        if self.phase == Phase::Done {
            return;
        }
        let parts = match self.envelope.open_packet(bytes) {
            Ok(parts) => parts,
            Err(e) => {
                log::error!(target: &self.config.loggers[0], "memberlist: {e} from={from}");
                return;
            }
        };
        for part in parts {
            match part {
                Ok(message) => self.message(from, message),
                Err(e) => {
                    log::error!(target: &self.config.loggers[0], "memberlist: {e} from={from}");
                }
            }
        }
    }

    fn message(&mut self, from: SocketAddr, message: Message) {
        match message {
            Message::Ping(m) => self.on_ping(from, &m),
            Message::IndirectPing(m) => self.on_indirect_ping(from, &m),
            Message::Ack(m) => self.on_ack(&m),
            Message::Nack(m) => self.on_nack(m.seq_no),
            Message::Suspect(m) => self.on_suspect(&m),
            Message::Alive(m) => self.on_alive(&m, false),
            Message::Dead(m) => self.on_dead(&m),
            Message::User(bytes) => self.user_message(&bytes),
            // `Message::decode` reads neither from a datagram.
            Message::PushPull(_) | Message::Error(_) => {}
        }
    }

    /// A message came over a TCP connection that somebody else has opened: what to answer, nothing
    /// when empty. The connection is closed afterwards.
    pub fn handle_stream(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        self.input(now);
        if self.phase == Phase::Done {
            return Vec::new();
        }
        let answer = match self.envelope.open_stream(bytes) {
            Ok(Message::Ping(ping)) if !ping.node.is_empty() && ping.node != self.config.name => {
                None
            }
            Ok(Message::Ping(ping)) => Some(Message::Ack(Ack {
                seq_no: ping.seq_no,
                payload: None,
            })),
            Ok(Message::PushPull(theirs)) => {
                let ours = self.own_state(theirs.join);
                if let Err(e) = self.merge(*theirs, false) {
                    log::error!(target: &self.config.loggers[0],
                        "memberlist: Failed push/pull merge: {e} from={from}");
                }
                Some(ours)
            }
            Ok(Message::User(bytes)) => {
                self.user_message(&bytes);
                None
            }
            Ok(_) => None,
            Err(e) => {
                log::error!(target: &self.config.loggers[0],
                    "memberlist: failed to receive: {e} from={from}");
                Some(Message::Error(e.to_string()))
            }
        };
        let sealed = answer.and_then(|message| self.envelope.seal_stream(&message).ok());
        sealed.unwrap_or_default()
    }

    /// A message of Serf's came by gossip.
    fn user_message(&mut self, bytes: &[u8]) {
        metrics::SERF_MSGS_RECEIVED.add(bytes.len() as f64);
        if bytes.len() > MAX_USER_MESSAGE {
            log::warn!(target: &self.config.loggers[1],
                "serf: ignoring a message of {} bytes, more than {MAX_USER_MESSAGE}", bytes.len());
            return;
        }
        let message = match SerfMessage::decode(bytes) {
            Ok(message) => message,
            Err(e) => {
                log::warn!(target: &self.config.loggers[1], "serf: cannot use a message: {e}");
                return;
            }
        };
        match message {
            SerfMessage::Leave(m) => {
                if self.on_leave_intent(&m) {
                    self.queue(|queues| &mut queues.intents, bytes.to_vec(), None);
                }
            }
            SerfMessage::Join(m) => {
                if self.on_join_intent(&m) {
                    self.queue(|queues| &mut queues.intents, bytes.to_vec(), None);
                }
            }
            SerfMessage::UserEvent(m) => {
                if self.on_user_event(m) {
                    self.queue(|queues| &mut queues.events, bytes.to_vec(), None);
                }
            }
            SerfMessage::Query(m) => {
                if self.on_query(&m) {
                    self.queue(|queues| &mut queues.queries, bytes.to_vec(), None);
                }
            }
            SerfMessage::QueryResponse(m) => self.on_query_response(m),
            SerfMessage::Relay(m) => self.send(m.to, vec![user_part(&m.message)], false),
            SerfMessage::PushPull(_)
            | SerfMessage::Conflict(_)
            | SerfMessage::KeyRequest(_)
            | SerfMessage::KeyResponse(_) => {}
        }
        self.note_clocks();
    }

    pub(super) fn output(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Sends a packet of these messages.
    pub(super) fn send(&mut self, to: SocketAddr, parts: Vec<Vec<u8>>, crc: bool) {
        match self.envelope.seal_packet(&parts, crc) {
            Ok(bytes) => self.output(Output::Packet { to, bytes }),
            Err(e) => log::error!(target: &self.config.loggers[0], "memberlist: {e}"),
        }
    }

    /// Sends a message and, with it, as many news as fit.
    pub(super) fn send_with_news(&mut self, to: SocketAddr, message: &Message) {
        let Ok(message) = message.encode() else {
            return;
        };
        let room = self.envelope.room().saturating_sub(message.len());
        let mut parts = vec![message];
        parts.append(&mut self.news(room));
        self.send(to, parts, false);
    }

    /// Queues a message of Serf's; the queue stays within its limit.
    pub(super) fn queue(
        &mut self,
        which: fn(&mut Queues) -> &mut Queue,
        message: Vec<u8>,
        waiting: Option<Waiting>,
    ) {
        let most = self.config.min_queue_depth.max(2 * self.members.len());
        if message.len() + COMPOUND_PART + 1 > self.envelope.room() {
            // No packet would ever take it.
            waiting.into_iter().for_each(|waiting| self.spread(waiting));
            return;
        }
        let queue = which(&mut self.queues);
        queue.push(None, message, waiting);
        queue.prune(most);
        self.arm_gossip();
    }

    /// News for one packet.
    pub(super) fn news(&mut self, mut room: usize) -> Vec<Vec<u8>> {
        let mult = self.config.retransmit_mult;
        let limit = mult * digits(self.nodes.len());
        let queues = &mut self.queues;
        let mut news = queues.nodes.take(COMPOUND_PART, room, limit);
        room -= news.iter().map(|m| m.len() + COMPOUND_PART).sum::<usize>();
        let limit = mult * digits(self.members.len());
        for queue in [&mut queues.intents, &mut queues.queries, &mut queues.events] {
            let more = queue.take(COMPOUND_PART + 1, room, limit);
            room -= more
                .iter()
                .map(|m| m.len() + COMPOUND_PART + 1)
                .sum::<usize>();
            for message in &more {
                metrics::SERF_MSGS_SENT.add(message.len() as f64);
            }
            news.extend(more.iter().map(|m| user_part(m)));
        }
        let queues = [&mut queues.nodes, &mut queues.intents];
        let done: Vec<_> = queues.into_iter().flat_map(|q| q.done.drain(..)).collect();
        for waiting in done {
            self.spread(waiting);
        }
        news
    }

    /// Whether a message about us can only be about us.
    pub(super) fn is_self(&self, name: &str) -> bool {
        name == self.config.name
    }

    /// Whether any other member is alive.
    pub(super) fn has_company(&self) -> bool {
        let own = &self.config.name;
        self.nodes
            .iter()
            .any(|node| node.is_there() && node.name != *own)
    }

    /// Starts what only members with company do.
    pub(super) fn arm(&mut self) {
        if self.nodes.len() < 2 {
            return;
        }
        if !std::mem::replace(&mut self.armed.probe, true) {
            let at = self.now + self.part_of(self.config.probe_interval);
            self.timers.set(at, Timer::Probe);
        }
        if !std::mem::replace(&mut self.armed.push_pull, true) {
            let interval = self.push_pull_interval();
            let at = self.now + interval + self.part_of(interval);
            self.timers.set(at, Timer::PushPull);
        }
        self.arm_gossip();
    }

    /// A random part of a duration.
    pub(super) fn part_of(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.rng.f64())
    }

    /// Notes down the clocks, soon.
    pub(super) fn note_clocks(&mut self) {
        if !self.armed.snapshot && self.snapshot_is_behind() {
            self.armed.snapshot = true;
            let at = self.now + Duration::from_millis(500);
            self.timers.set(at, Timer::Snapshot);
        }
    }

    fn snapshot_is_behind(&self) -> bool {
        let known = self.snapshot.known();
        self.snapshot.is_dirty()
            || self.clock.time() - 1 > known.clock
            || self.events.newest() > known.event_clock
            || self.queries.newest() > known.query_clock
    }

    pub(super) fn flush_snapshot(&mut self) {
        let (event, query) = (self.events.newest(), self.queries.newest());
        self.snapshot.clocks(self.clock.time() - 1, event, query);
        if let Some(write) = self.snapshot.flush() {
            self.output(Output::Snapshot(write));
        }
    }

    /// All members, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A number that grows whenever [`Pool::members`] would say something else.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Our name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// A member.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// How many members are alive, ourselves included.
    pub fn alive(&self) -> usize {
        let alive = |m: &&Member| m.status == MemberStatus::Alive;
        self.members.values().filter(alive).count()
    }

    /// Our network coordinate.
    pub fn coordinate(&self) -> &Position {
        self.coordinates.own()
    }

    /// The network coordinate of another member, when it has told us.
    pub fn coordinate_of(&self, name: &str) -> Option<&Position> {
        self.coordinates.of(name)
    }

    /// How healthy we seem to be: 0 is best.
    pub fn health_score(&self) -> u32 {
        self.awareness.score()
    }

    /// What `consul info` shows.
    pub fn stats(&self) -> BTreeMap<&'static str, u64> {
        let count = |status| self.members.values().filter(|m| m.status == status).count() as u64;
        BTreeMap::from([
            ("members", self.members.len() as u64),
            ("failed", count(MemberStatus::Failed)),
            ("left", count(MemberStatus::Left)),
            ("health_score", self.awareness.score().into()),
            ("member_time", self.clock.time()),
            ("event_time", self.event_clock.time()),
            ("query_time", self.query_clock.time()),
            ("intent_queue", self.queues.intents.len() as u64),
            ("event_queue", self.queues.events.len() as u64),
            ("query_queue", self.queues.queries.len() as u64),
            ("coordinate_resets", self.coordinates.resets),
            ("encrypted", self.envelope.keyring.is_some().into()),
        ])
    }
}

/// A message of Serf's as part of a packet.
pub(super) fn user_part(message: &[u8]) -> Vec<u8> {
    [&[super::codec::kind::USER], message].concat()
}
