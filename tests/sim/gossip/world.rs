//! Pools on virtual time: datagrams that are lost, doubled and delayed, streams, cuts of one direction,
//! slow and crashed members, clocks that run differently.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use consul_lite::gossip::snapshot::{self, Write};
use consul_lite::gossip::{Change, Config, Event, Output, Pool};
use consul_lite::structs::MemberStatus;
use fastrand::Rng;

/// How long a stream takes that nobody accepts.
const REFUSED: Duration = Duration::from_millis(1);

pub fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The configuration of a member of this name, address and seed.
type Configure = dyn Fn(&str, SocketAddr, u64) -> Config;

/// What is on its way.
enum Item {
    Packet {
        from: SocketAddr,
        to: usize,
        bytes: Vec<u8>,
    },
    Request {
        from: (usize, u32),
        stream: u64,
        to: usize,
        bytes: Vec<u8>,
    },
    Answer {
        to: (usize, u32),
        stream: u64,
        bytes: Option<Vec<u8>>,
    },
}

/// One member and what it has told.
pub struct Node {
    pub name: String,
    pub addr: SocketAddr,
    pub pool: Option<Pool>,
    /// How many processes there were: answers to former ones are lost.
    life: u32,
    /// Everything reaches it so much later.
    pub slow: Duration,
    /// What its clock showed when the world began, and how fast it runs.
    clock: (Duration, f64),
    /// What it has told, by this world's time.
    pub events: Vec<(Duration, Event)>,
    /// Where in `events` its present process begins.
    pub born: usize,
    /// Its snapshot's file.
    pub file: String,
    /// How much of the file a loss of power leaves.
    synced: usize,
    /// When it next has something to do, by this world's time.
    deadline: Option<Duration>,
    /// The revision of its members when they were last looked at, and how many of them it saw as alive.
    seen: (u64, usize),
    /// Rewrites of its keyring's file.
    pub keyrings: Vec<Vec<Vec<u8>>>,
}

impl Node {
    /// What its clock shows.
    fn local(&self, now: Duration) -> Duration {
        self.clock.0 + now.mul_f64(self.clock.1)
    }

    /// When its clock shows this.
    fn when(&self, local: Duration) -> Duration {
        let since = local.saturating_sub(self.clock.0);
        since.div_f64(self.clock.1) + Duration::from_nanos(100)
    }
}

pub struct World {
    pub now: Duration,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    queue: BTreeMap<(Duration, u64), Item>,
    sent: u64,
    /// The deadlines of all members.
    deadlines: BTreeSet<(Duration, usize)>,
    places: HashMap<SocketAddr, usize>,
    /// Part of the datagrams that is lost.
    pub loss: f64,
    /// Part of the datagrams that comes twice.
    pub duplication: f64,
    /// Part of the datagrams that takes ten times as long.
    pub stragglers: f64,
    /// Clocks started now run up to so much faster or slower.
    pub drift: f64,
    /// Nothing reaches the second from the first.
    pub cuts: BTreeSet<(usize, usize)>,
    /// Longest way of a datagram.
    pub latency: Duration,
    /// Members of different groups do not reach each other.
    pub groups: Vec<u32>,
    config: Box<Configure>,
    pub packets: u64,
    pub bytes: u64,
    pub streams: u64,
    /// User events delivered: to whom, in which of its processes, which.
    delivered: BTreeSet<(usize, u32, u64, String)>,
    /// The first user event that was delivered twice.
    pub twice: Option<String>,
    /// Grows whenever a member sees or tells something new.
    observed: u64,
    trace: bool,
}

impl World {
    /// Members that do not know each other yet.
    pub fn new(
        seed: u64,
        n: usize,
        trace: bool,
        config: impl Fn(&str, SocketAddr, u64) -> Config + 'static,
    ) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            rng: Rng::with_seed(seed),
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            sent: 0,
            deadlines: BTreeSet::new(),
            places: HashMap::new(),
            loss: 0.0,
            duplication: 0.0,
            stragglers: 0.0,
            drift: 0.0,
            cuts: BTreeSet::new(),
            latency: ms(3),
            groups: Vec::new(),
            config: Box::new(config),
            packets: 0,
            bytes: 0,
            streams: 0,
            delivered: BTreeSet::new(),
            twice: None,
            observed: 0,
            trace,
        };
        for i in 0..n {
            let [high, low] = (i as u16).to_be_bytes();
            world.nodes.push(Node {
                name: format!("n{i}"),
                addr: SocketAddr::from(([10, 0, high, low], 8301)),
                pool: None,
                life: 0,
                slow: Duration::ZERO,
                clock: (Duration::ZERO, 1.0),
                events: Vec::new(),
                born: 0,
                file: String::new(),
                synced: 0,
                deadline: None,
                seen: (0, 0),
                keyrings: Vec::new(),
            });
            world.groups.push(0);
            world.places.insert(world.nodes[i].addr, i);
            world.start(i);
        }
        world
    }

    /// Starts a member's process, with what its snapshot says.
    pub fn start(&mut self, i: usize) {
        let seed = self.rng.u64(..);
        if self.drift > 0.0 {
            let rate = 1.0 + (self.rng.f64() * 2.0 - 1.0) * self.drift;
            self.nodes[i].clock = (ms(self.rng.u64(..100_000)), rate);
        }
        let node = &mut self.nodes[i];
        let mut config = (self.config)(&node.name, node.addr, seed);
        config.previous = snapshot::replay(&node.file, config.rejoin_after_leave);
        self.rng.fill(&mut config.nonce);
        node.life += 1;
        node.born = node.events.len();
        let now = node.local(self.now);
        node.pool = Some(Pool::new(now, config).expect("a sound configuration"));
        node.seen = (0, 0);
        self.observed += 1;
        self.note(&format!("n{i} starts"));
        self.drain(i);
    }

    /// The process ends; what it has written stays.
    pub fn crash(&mut self, i: usize) {
        self.nodes[i].pool = None;
        self.observed += 1;
        self.schedule(i);
        self.note(&format!("n{i} crashes"));
    }

    /// Power is lost: of the snapshot's file only some part is left of what was not synced.
    pub fn lose_power(&mut self, i: usize) {
        self.crash(i);
        let node = &mut self.nodes[i];
        let kept = self.rng.usize(node.synced..=node.file.len());
        node.file.truncate(kept);
    }

    /// All that a member has written is lost.
    pub fn forget(&mut self, i: usize) {
        self.nodes[i].file.clear();
        self.nodes[i].synced = 0;
    }

    /// Keeps in mind when a member next has something to do, and what it has come to see.
    fn schedule(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let revision = node.pool.as_ref().map_or(0, Pool::revision);
        if node.seen.0 != revision {
            node.seen = (revision, node.pool.as_ref().map_or(0, Pool::alive));
            self.observed += 1;
        }
        let next = node.pool.as_ref().and_then(Pool::next_deadline);
        // A slow member notices its own timers later, too.
        let next = next.map(|local| node.when(local) + node.slow / 4);
        if let Some(old) = std::mem::replace(&mut node.deadline, next) {
            self.deadlines.remove(&(old, i));
        }
        self.deadlines.extend(next.map(|next| (next, i)));
    }

    /// Makes a member slow, or quick again.
    pub fn slow_down(&mut self, i: usize, by: Duration) {
        self.nodes[i].slow = by;
        self.schedule(i);
    }

    pub fn note(&self, text: &str) {
        if self.trace {
            println!("{:>9.3} {text}", self.now.as_secs_f64());
        }
    }

    /// Does something with a member's pool.
    pub fn with<T>(&mut self, i: usize, act: impl FnOnce(&mut Pool, Duration) -> T) -> T {
        let now = self.nodes[i].local(self.now);
        let pool = self.nodes[i].pool.as_mut().expect("a running member");
        let result = act(pool, now);
        self.drain(i);
        result
    }

    /// A member joins through another one.
    pub fn join(&mut self, i: usize, through: usize) {
        self.join_any(i, &[through]);
    }

    /// A member joins through all of these that answer.
    pub fn join_any(&mut self, i: usize, through: &[usize]) {
        let to: Vec<SocketAddr> = through.iter().map(|t| self.nodes[*t].addr).collect();
        self.with(i, |pool, now| pool.join(now, &to));
    }

    fn index(&self, addr: SocketAddr) -> Option<usize> {
        self.places.get(&addr).copied()
    }

    fn send(&mut self, after: Duration, item: Item) {
        self.sent += 1;
        self.queue.insert((self.now + after, self.sent), item);
    }

    fn delay(&mut self, to: usize) -> Duration {
        let part = self.rng.f64();
        let straggles = self.stragglers > 0.0 && self.rng.f64() < self.stragglers;
        let longest = self.latency * if straggles { 10 } else { 1 };
        longest.mul_f64(part) + self.nodes[to].slow
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        self.groups[a] == self.groups[b] && !self.cuts.contains(&(a, b))
    }

    /// Carries out what a member asks for.
    fn drain(&mut self, i: usize) {
        loop {
            let node = &mut self.nodes[i];
            let (from, life) = (node.addr, node.life);
            let Some(output) = node.pool.as_mut().and_then(Pool::poll) else {
                return self.schedule(i);
            };
            match output {
                Output::Packet { to, bytes } => {
                    assert!(bytes.len() <= 1500, "a packet of {} bytes", bytes.len());
                    self.packets += 1;
                    self.bytes += bytes.len() as u64;
                    let Some(to) = self.index(to) else { continue };
                    if !self.reaches(i, to) || (i != to && self.rng.f64() < self.loss) {
                        continue;
                    }
                    if self.duplication > 0.0 && self.rng.f64() < self.duplication {
                        let bytes = bytes.clone();
                        let delay = self.delay(to);
                        self.send(delay, Item::Packet { from, to, bytes });
                    }
                    let delay = self.delay(to);
                    self.send(delay, Item::Packet { from, to, bytes });
                }
                Output::Dial {
                    stream, to, bytes, ..
                } => self.dial((i, life), stream, to, bytes),
                Output::Event(event) => {
                    self.note(&format!("n{i} says {event:?}"));
                    let now = self.now;
                    if let Event::User { ltime, name, .. } = &event
                        && !self.delivered.insert((i, life, *ltime, name.clone()))
                    {
                        self.twice = Some(format!("n{i} is told twice of {name} at {ltime}"));
                    }
                    self.nodes[i].events.push((now, event));
                    self.observed += 1;
                }
                Output::Snapshot(Write::Append(lines)) => {
                    // The system syncs what was written at some time.
                    node.synced = self.rng.usize(node.synced..=node.file.len());
                    node.file.push_str(&lines);
                }
                Output::Snapshot(Write::Replace(all)) => {
                    node.synced = all.len();
                    node.file = all;
                }
                Output::Keyring(keys) => node.keyrings.push(keys),
            }
        }
    }

    fn dial(&mut self, from: (usize, u32), stream: u64, to: SocketAddr, bytes: Vec<u8>) {
        self.streams += 1;
        self.bytes += bytes.len() as u64;
        // A connection needs both directions.
        let target = self.index(to);
        let target = target.filter(|to| self.reaches(from.0, *to) && self.reaches(*to, from.0));
        let Some(to) = target else {
            // As a partition: it takes until the deadline, which is not shorter than this.
            let (to, bytes) = (from, None);
            return self.send(ms(500), Item::Answer { to, stream, bytes });
        };
        let delay = self.delay(to) * 2;
        self.send(
            delay,
            Item::Request {
                from,
                stream,
                to,
                bytes,
            },
        );
    }

    fn deliver(&mut self, item: Item) {
        match item {
            Item::Packet { from, to, bytes } => {
                let now = self.nodes[to].local(self.now);
                if let Some(pool) = &mut self.nodes[to].pool {
                    pool.handle_packet(now, from, &bytes);
                    self.drain(to);
                }
            }
            Item::Request {
                from,
                stream,
                to,
                bytes,
            } => {
                let addr = self.nodes[from.0].addr;
                let now = self.nodes[to].local(self.now);
                let answer = self.nodes[to].pool.as_mut();
                let answer = answer.map(|pool| pool.handle_stream(now, addr, &bytes));
                self.drain(to);
                let delay = match answer {
                    Some(_) => self.delay(from.0),
                    None => REFUSED,
                };
                self.bytes += answer.as_ref().map_or(0, Vec::len) as u64;
                let (to, bytes) = (from, answer.filter(|a| !a.is_empty()));
                self.send(delay, Item::Answer { to, stream, bytes });
            }
            Item::Answer {
                to: (to, life),
                stream,
                bytes,
            } => {
                let node = &mut self.nodes[to];
                let now = node.local(self.now);
                let Some(pool) = node.pool.as_mut().filter(|_| node.life == life) else {
                    return;
                };
                match bytes {
                    Some(bytes) => pool.stream_answered(now, stream, &bytes),
                    None => pool.stream_failed(now, stream, "refused"),
                }
                self.drain(to);
            }
        }
    }

    /// The next thing that happens, no later than `end`; false when that comes first.
    fn step(&mut self, end: Duration) -> bool {
        let tick = self.deadlines.first().copied();
        let delivery = self.queue.first_key_value().map(|(key, _)| key.0);
        let next = tick.map(|t| t.0).into_iter().chain(delivery).min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        match tick {
            Some((at, i)) if delivery.is_none_or(|d| at <= d) => {
                let now = self.nodes[i].local(self.now);
                if let Some(pool) = &mut self.nodes[i].pool {
                    pool.tick(now);
                    assert!(
                        pool.next_deadline().is_none_or(|d| d > now),
                        "a timer is left"
                    );
                }
                self.drain(i);
            }
            _ => {
                if let Some((_, item)) = self.queue.pop_first() {
                    self.deliver(item);
                }
            }
        }
        true
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Runs until something is so that members see or have told; how long that took.
    ///
    /// # Errors
    /// When it took longer than allowed.
    pub fn until(
        &mut self,
        what: &str,
        limit: Duration,
        so: impl Fn(&World) -> bool,
    ) -> Result<Duration, String> {
        let start = self.now;
        // Looking at a large pool takes long: only when there is something new.
        while !so(self) {
            let seen = self.observed;
            while self.observed == seen {
                if !self.step(start + limit) {
                    return Err(format!("{what}: not within {limit:?}"));
                }
            }
        }
        Ok(self.now - start)
    }

    /// Who sees whom as not alive.
    pub fn picture(&self) -> String {
        let mut out = String::new();
        for node in self.running() {
            let pool = node.pool.as_ref();
            let seen = pool.into_iter().flat_map(Pool::members);
            let wrong = seen.filter(|m| m.status != MemberStatus::Alive);
            let wrong: Vec<String> = wrong
                .map(|m| format!("{} {:?}", m.name, m.status))
                .collect();
            let known = pool.map_or(0, |pool| pool.members().count());
            if !wrong.is_empty() || known != self.nodes.len() {
                out += &format!("\n  {} knows {known}: {}", node.name, wrong.join(", "));
            }
        }
        out
    }

    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.pool.is_some())
    }

    /// Whether every running member of `group` sees exactly `alive` as alive.
    pub fn all_see(&self, alive: &BTreeSet<usize>) -> bool {
        // Most often the numbers differ already.
        if alive.iter().any(|i| self.nodes[*i].seen.1 != alive.len()) {
            return false;
        }
        let names: BTreeSet<&str> = alive.iter().map(|i| &self.nodes[*i].name[..]).collect();
        alive.iter().all(|i| {
            let pool = self.nodes[*i].pool.as_ref();
            pool.is_some_and(|pool| {
                let seen = pool.members().filter(|m| m.status == MemberStatus::Alive);
                seen.map(|m| &m.name[..]).collect::<BTreeSet<_>>() == names
            })
        })
    }

    /// How every running member but itself sees a member.
    pub fn seen_as(&self, i: usize, status: MemberStatus) -> bool {
        let name = &self.nodes[i].name;
        let others = self.running().filter(|node| node.name != *name);
        others
            .filter_map(|node| node.pool.as_ref())
            .all(|pool| pool.member(name).is_some_and(|m| m.status == status))
    }

    /// How often members said this about others.
    pub fn changes(&self, wanted: Change) -> usize {
        let events = self.nodes.iter().flat_map(|node| &node.events);
        events
            .filter(|(_, e)| matches!(e, Event::Member(change, _) if *change == wanted))
            .count()
    }
}
