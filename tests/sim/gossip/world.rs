//! Pools on virtual time: datagrams that are lost and delayed, streams, partitions, slow and crashed members.

use std::collections::{BTreeMap, BTreeSet};
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
    pub events: Vec<(Duration, Event)>,
    /// Its snapshot's file.
    pub file: String,
    /// Rewrites of its keyring's file.
    pub keyrings: Vec<Vec<Vec<u8>>>,
}

pub struct World {
    pub now: Duration,
    pub rng: Rng,
    pub nodes: Vec<Node>,
    queue: BTreeMap<(Duration, u64), Item>,
    sent: u64,
    /// Part of the datagrams that is lost.
    pub loss: f64,
    /// Longest way of a datagram.
    pub latency: Duration,
    /// Members of different groups do not reach each other.
    pub groups: Vec<u32>,
    config: Box<Configure>,
    pub packets: u64,
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
            loss: 0.0,
            latency: ms(3),
            groups: Vec::new(),
            config: Box::new(config),
            packets: 0,
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
                events: Vec::new(),
                file: String::new(),
                keyrings: Vec::new(),
            });
            world.groups.push(0);
            world.start(i);
        }
        world
    }

    /// Starts a member's process, with what its snapshot says.
    pub fn start(&mut self, i: usize) {
        let seed = self.rng.u64(..);
        let node = &mut self.nodes[i];
        let mut config = (self.config)(&node.name, node.addr, seed);
        config.previous = snapshot::replay(&node.file, config.rejoin_after_leave);
        self.rng.fill(&mut config.nonce);
        node.life += 1;
        node.pool = Some(Pool::new(self.now, config).expect("a sound configuration"));
        self.note(&format!("n{i} starts"));
        self.drain(i);
    }

    pub fn crash(&mut self, i: usize) {
        self.nodes[i].pool = None;
        self.note(&format!("n{i} crashes"));
    }

    pub fn note(&self, text: &str) {
        if self.trace {
            println!("{:>9.3} {text}", self.now.as_secs_f64());
        }
    }

    /// Does something with a member's pool.
    pub fn with<T>(&mut self, i: usize, act: impl FnOnce(&mut Pool, Duration) -> T) -> T {
        let now = self.now;
        let pool = self.nodes[i].pool.as_mut().expect("a running member");
        let result = act(pool, now);
        self.drain(i);
        result
    }

    /// A member joins through another one.
    pub fn join(&mut self, i: usize, through: usize) {
        let to = self.nodes[through].addr;
        self.with(i, |pool, now| pool.join(now, &[to]));
    }

    fn index(&self, addr: SocketAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.addr == addr)
    }

    fn send(&mut self, after: Duration, item: Item) {
        self.sent += 1;
        self.queue.insert((self.now + after, self.sent), item);
    }

    fn delay(&mut self, to: usize) -> Duration {
        let part = self.rng.f64();
        self.latency.mul_f64(part) + self.nodes[to].slow
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        self.groups[a] == self.groups[b]
    }

    /// Carries out what a member asks for.
    fn drain(&mut self, i: usize) {
        loop {
            let node = &mut self.nodes[i];
            let (from, life) = (node.addr, node.life);
            let Some(output) = node.pool.as_mut().and_then(Pool::poll) else {
                return;
            };
            match output {
                Output::Packet { to, bytes } => {
                    assert!(bytes.len() <= 1500, "a packet of {} bytes", bytes.len());
                    self.packets += 1;
                    let Some(to) = self.index(to) else { continue };
                    if !self.reaches(i, to) || (i != to && self.rng.f64() < self.loss) {
                        continue;
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
                    self.nodes[i].events.push((now, event));
                }
                Output::Snapshot(Write::Append(lines)) => node.file.push_str(&lines),
                Output::Snapshot(Write::Replace(all)) => node.file = all,
                Output::Keyring(keys) => node.keyrings.push(keys),
            }
        }
    }

    fn dial(&mut self, from: (usize, u32), stream: u64, to: SocketAddr, bytes: Vec<u8>) {
        let target = self.index(to).filter(|to| self.reaches(from.0, *to));
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
        let now = self.now;
        match item {
            Item::Packet { from, to, bytes } => {
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
                let answer = self.nodes[to].pool.as_mut();
                let answer = answer.map(|pool| pool.handle_stream(now, addr, &bytes));
                self.drain(to);
                let delay = match answer {
                    Some(_) => self.delay(from.0),
                    None => REFUSED,
                };
                let (to, bytes) = (from, answer.filter(|a| !a.is_empty()));
                self.send(delay, Item::Answer { to, stream, bytes });
            }
            Item::Answer {
                to: (to, life),
                stream,
                bytes,
            } => {
                let node = &mut self.nodes[to];
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
        let deadlines = self.nodes.iter().enumerate().filter_map(|(i, node)| {
            let deadline = node.pool.as_ref()?.next_deadline()?;
            // A slow member notices its own timers later, too.
            Some((deadline + node.slow / 4, i))
        });
        let tick = deadlines.min();
        let delivery = self.queue.first_key_value().map(|(key, _)| key.0);
        let next = tick.map(|t| t.0).into_iter().chain(delivery).min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        match tick {
            Some((at, i)) if delivery.is_none_or(|d| at <= d) => {
                let now = self.now;
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

    /// Runs until something is so; how long that took.
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
        while !so(self) {
            if !self.step(start + limit) {
                return Err(format!("{what}: not within {limit:?}"));
            }
        }
        Ok(self.now - start)
    }

    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.pool.is_some())
    }

    /// Whether every running member of `group` sees exactly `alive` as alive.
    pub fn all_see(&self, alive: &BTreeSet<usize>) -> bool {
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
