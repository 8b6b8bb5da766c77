//! Virtual time, the network, and the order of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use consul_lite::raft::{Entry, Install, Message, Outgoing, rpc};
use fastrand::Rng;

use super::check::{Checker, Totals};
use super::client::Client;
use super::disk::Machine;
use super::plan::{Plan, ms};
use super::server::Server;

/// How long the cluster may take to work again once all faults are over.
const HEALING: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Packet {
    pub from: usize,
    pub to: usize,
    pub message: Message,
    /// The data beside an InstallSnapshot.
    pub machine: Option<Machine>,
}

/// Events of a server carry the run (between two crashes) they belong to.
#[derive(Clone, Debug)]
pub enum Event {
    Deliver(Box<Packet>),
    RpcFailed(usize, u64, usize, u64),
    Tick(usize, u64),
    Written(usize, u64, usize),
    Apply(usize, u64, Vec<Entry>),
    TakeSnapshot(usize, u64, usize),
    Install(usize, u64, Install),
    Client(usize),
    GiveUp(usize, u64),
    Fault,
    Crash(usize, u64),
    Restart(usize),
    Uncut(usize, usize),
    DiskHeals(usize),
}

pub struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    pub servers: Vec<Server>,
    pub clients: Vec<Client>,
    /// For each register the index that every later reader must see.
    pub floor: BTreeMap<u8, u64>,
    pub next_op: u64,
    pub cuts: BTreeSet<(usize, usize)>,
    pub healing: bool,
    pub done_since_healing: [bool; 3],
    pub checker: Checker,
    pub trace: bool,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        World::of(plan, rng, trace)
    }

    /// A world of this plan.
    pub fn of(plan: Plan, rng: Rng, trace: bool) -> World {
        let mut world = World {
            rng,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            servers: Vec::new(),
            clients: Vec::new(),
            floor: BTreeMap::new(),
            next_op: 0,
            cuts: BTreeSet::new(),
            healing: false,
            done_since_healing: [false; 3],
            checker: Checker::default(),
            trace,
            plan,
        };
        world.say(|w| format!("{:?}", w.plan));
        world.found_cluster();
        for client in 0..world.plan.clients {
            world.clients.push(Client::default());
            world.after(ms(1), Event::Client(client));
        }
        world.after(ms(300), Event::Fault);
        world
    }

    pub fn say(&self, what: impl FnOnce(&World) -> String) {
        if self.trace {
            println!("{:>10.6} {}", self.now.as_secs_f64(), what(self));
        }
    }

    pub fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub fn at(&mut self, time: Duration, event: Event) {
        self.next_event += 1;
        self.events.insert(self.next_event, event);
        self.queue.push(Reverse((time, self.next_event)));
    }

    /// Somewhere between nothing and twice `mean`.
    pub fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(self.rng.f64() * 2.0)
    }

    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.f64() < p
    }

    pub fn run(mut self) -> Result<Totals, String> {
        while self.now < self.plan.safety {
            self.step()?;
        }
        self.heal()?;
        let deadline = self.now + HEALING;
        while !self.is_well() {
            if self.now > deadline {
                return Err(format!("not live again: {}", self.picture()));
            }
            self.step()?;
        }
        Ok(self.checker.totals)
    }

    pub fn step(&mut self) -> Result<(), String> {
        let Some(Reverse((time, number))) = self.queue.pop() else {
            return Err("nothing will ever happen again".to_owned());
        };
        self.now = time;
        let event = self.events.remove(&number).expect("queued once");
        match event {
            Event::Deliver(packet) => self.deliver(*packet),
            Event::RpcFailed(s, run, to, seq) => self.rpc_failed(s, run, to, seq),
            Event::Tick(s, run) => self.tick(s, run),
            Event::Written(s, run, writes) => self.written(s, run, writes),
            Event::Apply(s, run, entries) => self.apply(s, run, &entries),
            Event::TakeSnapshot(s, run, to) => self.take_snapshot(s, run, to),
            Event::Install(s, run, install) => self.install(s, run, install),
            Event::Client(c) => self.client_acts(c),
            Event::GiveUp(c, op) => self.client_gives_up(c, op),
            Event::Fault => self.fault(),
            Event::Crash(s, run) => {
                if self.alive(s, run).is_some() && !self.healing {
                    self.crash_and_restart(s, self.plan.timeout / 4);
                }
                Ok(())
            }
            Event::Restart(s) => self.restart(s),
            Event::Uncut(from, to) => {
                self.cuts.remove(&(from, to));
                Ok(())
            }
            Event::DiskHeals(s) => self.disk_heals(s),
        }
    }

    /// Puts a message on the network.
    pub fn send(&mut self, from: usize, out: Outgoing, machine: Option<Machine>) {
        let Some(to) = self.servers.iter().position(|s| s.id == out.to) else {
            return;
        };
        self.checker.totals.messages += 1;
        let message = out.message;
        let votes = matches!(&message, Message::RequestVoteResponse(m) if m.granted);
        if votes && self.plan.storm && self.chance(0.1) {
            self.turning_point(from, ms(5));
        }
        let packet = Packet {
            from,
            to,
            message,
            machine,
        };
        if !self.healing {
            let cut = self.cuts.contains(&(from, to));
            if cut || self.chance(self.plan.loss) {
                self.lose(&packet);
                return;
            }
            if self.chance(self.plan.duplication) {
                let delay = self.delay();
                self.after(delay, Event::Deliver(Box::new(packet.clone())));
            }
        }
        let delay = self.delay();
        self.after(delay, Event::Deliver(Box::new(packet)));
    }

    /// In a storm, servers crash when it hurts most.
    pub fn turning_point(&mut self, s: usize, soon: Duration) {
        let run = self.servers[s].run;
        let delay = self.about(soon);
        self.after(delay, Event::Crash(s, run));
    }

    fn delay(&mut self) -> Duration {
        let straggles = !self.healing && self.chance(self.plan.stragglers);
        let mean = if straggles {
            ms(1_500)
        } else {
            self.plan.latency
        };
        self.about(mean)
    }

    /// A lost request may be noticed by its sender, or not.
    fn lose(&mut self, packet: &Packet) {
        let Some(seq) = request_seq(&packet.message) else {
            return;
        };
        if self.rng.bool() {
            let run = self.servers[packet.from].run;
            let delay = self.about(ms(200));
            let event = Event::RpcFailed(packet.from, run, packet.to, seq);
            self.after(delay, event);
        }
    }

    fn deliver(&mut self, packet: Packet) -> Result<(), String> {
        if self.servers[packet.to].raft.is_none() {
            self.lose(&packet);
            return Ok(());
        }
        self.say(|w| {
            let (from, to) = (&w.servers[packet.from].id, &w.servers[packet.to].id);
            format!("{from} -> {to}: {:?}", packet.message)
        });
        match &packet.message {
            // It closes the connection, which the sender takes for a yes.
            Message::RequestPreVote(request) if self.plan.is_old(packet.to) => {
                self.checker.totals.old_peers += 1;
                self.receive(Packet {
                    from: packet.to,
                    to: packet.from,
                    message: rpc::granted(request),
                    machine: None,
                })
            }
            _ => self.receive(packet),
        }
    }

    /// Whether everything works again: new operations of each kind succeeded, and every member has
    /// everything the leader has.
    fn is_well(&self) -> bool {
        let leader = self.servers.iter().find_map(|s| {
            let raft = s.raft.as_ref().filter(|r| r.is_leading())?;
            Some((raft.status(Duration::ZERO), raft.lease_until()))
        });
        let Some((leader, lease)) = leader else {
            return false;
        };
        // A leader that tried to hand over has no lease for the rest of its term.
        let [writes, index_reads, lease_reads] = self.done_since_healing;
        let lease_reads = lease_reads || lease.is_none() && self.plan.transfers;
        if !(writes && index_reads && lease_reads) {
            return false;
        }
        leader.configuration.servers.iter().all(|member| {
            let mut servers = self.servers.iter();
            servers.any(|s| *s.id == *member.id && s.machine.applied == leader.last_index)
        })
    }

    fn picture(&self) -> String {
        let each = self.servers.iter().map(|s| match &s.raft {
            Some(raft) => {
                let status = raft.status(s.local(self.now));
                let members = status.configuration.servers.iter();
                let members: Vec<_> = members.map(|m| (&*m.id, m.suffrage)).collect();
                format!(
                    "\n  {}: {:?} term {} of {:?}, log {}..{}..{}, commit {}, applied {}, {members:?}",
                    s.id,
                    status.role,
                    status.term,
                    status.leader,
                    status.snapshot_index,
                    status.persisted,
                    status.last_index,
                    status.commit,
                    status.applied,
                )
            }
            None => format!("\n  {}: down", s.id),
        });
        format!("{:?}{}", self.done_since_healing, each.collect::<String>())
    }
}

fn request_seq(message: &Message) -> Option<u64> {
    match message {
        Message::AppendEntries(m) => Some(m.seq),
        Message::RequestVote(m) => Some(m.seq),
        Message::InstallSnapshot(m) => Some(m.seq),
        Message::TimeoutNow(m) => Some(m.seq),
        Message::RequestPreVote(m) => Some(m.seq),
        Message::AppendEntriesResponse(_)
        | Message::RequestVoteResponse(_)
        | Message::InstallSnapshotResponse(_)
        | Message::TimeoutNowResponse(_)
        | Message::RequestPreVoteResponse(_) => None,
    }
}
