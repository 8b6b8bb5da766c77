//! One server: the core, its disk, and what the product's loops do around them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use consul_lite::raft::{
    Configuration, Entry, Fault, Install, Leadership, Message, Outgoing, Raft, ReadState, Ready,
    Role, Server as Member, ServerId, StepDown, Suffrage, Write,
};

use super::check::Checker;
use super::client::decode;
use super::disk::{Disk, Machine, SharedDisk};
use super::plan::ms;
use super::world::{Event, Packet, World};

pub struct Server {
    pub id: ServerId,
    pub raft: Option<Raft>,
    pub disk: SharedDisk,
    /// The state machine as it is in memory; the disk's lags behind.
    pub machine: Machine,
    /// Counts starts.
    pub run: u64,
    offset: Duration,
    rate: f64,
    pub writes: VecDeque<Write>,
    writing: bool,
    pub disk_full: bool,
    pub disk_slow: bool,
    /// Each write takes exactly so long.
    pub disk_takes: Option<Duration>,
    /// Terms of the log as far as it was handed out for writing.
    shadow: BTreeMap<u64, u64>,
    /// Proposals waiting to be applied: term, client, operation.
    pub proposals: BTreeMap<u64, (u64, usize, u64)>,
    /// Reads by their operation, with the client.
    pub reads: BTreeMap<u64, usize>,
    /// Reads that wait for an index to be applied.
    pub waiting: Vec<(u64, usize, u64)>,
    received: BTreeMap<(ServerId, u64), Machine>,
    next_tick: Option<Duration>,
}

impl Server {
    fn new(number: usize) -> Server {
        Server {
            id: format!("s{number}").into(),
            raft: None,
            disk: SharedDisk::default(),
            machine: Machine::default(),
            run: 0,
            offset: Duration::ZERO,
            rate: 1.0,
            writes: VecDeque::new(),
            writing: false,
            disk_full: false,
            disk_slow: false,
            disk_takes: None,
            shadow: BTreeMap::new(),
            proposals: BTreeMap::new(),
            reads: BTreeMap::new(),
            waiting: Vec::new(),
            received: BTreeMap::new(),
            next_tick: None,
        }
    }

    /// What this server's clock shows.
    pub fn local(&self, now: Duration) -> Duration {
        self.offset + now.mul_f64(self.rate)
    }

    fn when(&self, local: Duration) -> Duration {
        let since = local.saturating_sub(self.offset);
        since.div_f64(self.rate) + Duration::from_nanos(100)
    }

    fn note_write(&mut self, write: &Write) {
        if write.reset.is_some() {
            self.shadow.clear();
        }
        if let Some(from) = write.truncate_from {
            self.shadow.split_off(&from);
        }
        let terms = write.entries.iter().map(|e| (e.index, e.term));
        self.shadow.extend(terms);
    }

    fn forget_waiters(&mut self) -> Vec<(usize, u64)> {
        let proposals = std::mem::take(&mut self.proposals);
        let lost = proposals.into_values().map(|(_, client, op)| (client, op));
        lost.collect()
    }
}

impl World {
    pub fn found_cluster(&mut self) {
        let voters = self.plan.voters;
        let members = (0..voters).map(|n| Member {
            suffrage: Suffrage::Voter,
            id: format!("s{n}"),
            address: format!("10.0.0.{n}:8300"),
        });
        let configuration = Configuration {
            servers: members.collect(),
        };
        let (hard_state, entry) = Raft::bootstrap(&configuration).expect("valid");
        for number in 0..voters + self.plan.spares {
            let server = Server::new(number);
            if number < voters {
                server.disk.with(|disk| {
                    disk.hard_state = hard_state.clone();
                    disk.entries.insert(1, entry.clone());
                });
            }
            self.servers.push(server);
            self.after(ms(0), Event::Restart(number));
        }
    }

    pub fn restart(&mut self, s: usize) -> Result<(), String> {
        if self.servers[s].raft.is_some() {
            return Ok(());
        }
        let drift = self.plan.drift;
        let rate = 1.0 + (self.rng.f64() * 2.0 - 1.0) * drift;
        let offset = ms(self.rng.u64(0..10_000));
        let seed = self.rng.u64(..);
        let config = self.plan.config(s, self.servers[s].id.clone(), seed);
        let server = &mut self.servers[s];
        server.run += 1;
        (server.rate, server.offset) = (rate, offset);
        server.disk_full = false;
        server.next_tick = None;
        let (hard, base, machine) = server.disk.with(|d| {
            d.unreadable = false;
            (d.hard_state.clone(), d.starting_base(), d.machine.clone())
        });
        server.machine = machine;
        server.shadow = server.disk.with(|d| {
            let terms = d.entries.values().map(|e| (e.index, e.term));
            terms.collect()
        });
        let reader = Box::new(server.disk.clone());
        let now = server.local(self.now);
        let applied = server.machine.applied;
        let raft = Raft::new(now, config, hard, base, applied, reader);
        server.raft = Some(raft.map_err(|e| format!("{} cannot start: {e}", server.id))?);
        self.say(|w| format!("{} starts at {applied}", w.servers[s].id));
        self.pump(s)
    }

    pub fn crash(&mut self, s: usize) {
        let keeps = self.plan.keeps_unsynced;
        let kept = match keeps {
            true => self.rng.usize(0..=self.servers[s].writes.len()),
            false => 0,
        };
        let server = &mut self.servers[s];
        if server.raft.take().is_none() {
            return;
        }
        server.run += 1;
        let full = server.disk_full;
        let unsynced: Vec<Write> = server.writes.drain(..).collect();
        for write in unsynced.iter().take(kept).filter(|_| !full) {
            server.disk.with(|disk| disk.write(write));
        }
        server.writing = false;
        server.disk_slow = false;
        server.received.clear();
        server.waiting.clear();
        server.reads.clear();
        server.forget_waiters();
        self.checker.totals.crashes += 1;
        self.say(|w| format!("{} crashes, {kept} writes kept", w.servers[s].id));
    }

    /// The server, if this run of it still lasts.
    pub fn alive(&mut self, s: usize, run: u64) -> Option<(&mut Raft, Duration)> {
        let now = self.servers[s].local(self.now);
        let server = &mut self.servers[s];
        let raft = server.raft.as_mut().filter(|_| server.run == run)?;
        Some((raft, now))
    }

    /// Carries out what the core asks for.
    pub fn pump(&mut self, s: usize) -> Result<(), String> {
        loop {
            let run = self.servers[s].run;
            let Some((raft, now)) = self.alive(s, run) else {
                return Ok(());
            };
            let Some(ready) = raft.ready(now) else {
                break;
            };
            self.carry_out(s, run, ready)?;
        }
        self.schedule_tick(s);
        Ok(())
    }

    fn carry_out(&mut self, s: usize, run: u64, ready: Ready) -> Result<(), String> {
        if let Some(write) = ready.write {
            self.check_write(s, &write)?;
            self.servers[s].note_write(&write);
            self.servers[s].writes.push_back(write);
            self.start_writing(s);
        }
        if let Some(leadership) = ready.leadership {
            self.leadership_changed(s, &leadership)?;
        }
        for out in ready.messages {
            self.send(s, out, None);
        }
        if !ready.committed.is_empty() {
            let term = self.term(s);
            let mut before = self.servers[s].machine.applied;
            for entry in &ready.committed {
                self.checker.applied(before, term, entry)?;
                before = entry.index;
            }
            self.check_quorum_holds(s, &ready.committed)?;
            let delay = self.about(ms(3));
            self.after(delay, Event::Apply(s, run, ready.committed));
        }
        for ReadState { ctx, index } in ready.reads {
            if let Some(client) = self.servers[s].reads.remove(&ctx) {
                match index {
                    Some(index) => self.servers[s].waiting.push((index, client, ctx)),
                    None => self.client_failed(client, ctx),
                }
            }
        }
        self.answer_reads(s)?;
        for to in ready.snapshots_wanted {
            let to = self.servers.iter().position(|server| server.id == to);
            let delay = self.about(ms(30));
            self.after(delay, Event::TakeSnapshot(s, run, to.expect("a server")));
        }
        if let Some(install) = ready.install {
            let delay = self.about(ms(60));
            self.after(delay, Event::Install(s, run, install));
        }
        match ready.fault {
            Some(Fault::LogUnreadable(_)) => self.disk_fails(s),
            Some(fault) => return Err(format!("{}: {fault:?}", self.servers[s].id)),
            None => {}
        }
        Ok(())
    }

    fn term(&self, s: usize) -> u64 {
        let raft = self.servers[s].raft.as_ref();
        raft.map_or(0, |r| r.status(Duration::ZERO).term)
    }

    fn check_write(&mut self, s: usize, write: &Write) -> Result<(), String> {
        let server = &self.servers[s];
        let Some(first) = write.entries.first() else {
            return Ok(());
        };
        let base = match &write.reset {
            Some(base) => base.clone(),
            None => server.disk.with(|d| d.starting_base()),
        };
        let prev = first.index - 1;
        let before = match server.shadow.get(&prev) {
            Some(term) if write.reset.is_none() => *term,
            _ if prev == base.index => base.term,
            _ => return Err(format!("{} leaves a gap before {}", server.id, first.index)),
        };
        if write.truncate_from.is_some() {
            self.checker.totals.truncations += 1;
        }
        let mut before = before;
        for entry in &write.entries {
            self.checker.written(before, entry)?;
            before = entry.term;
        }
        Ok(())
    }

    /// What a leader calls committed is on the disks of a quorum. Membership changes blur whose
    /// quorum; worlds with them are left to the other checks.
    fn check_quorum_holds(&self, s: usize, committed: &[Entry]) -> Result<(), String> {
        let raft = self.servers[s].raft.as_ref();
        let leads = raft.is_some_and(Raft::is_leading);
        let Some(last) = committed.last().filter(|_| leads && !self.plan.membership) else {
            return Ok(());
        };
        let voters = &self.servers[..self.plan.voters];
        let holders = voters
            .iter()
            .filter(|v| v.disk.with(|d| holds(d, last.index, last.term)));
        if holders.count() > self.plan.voters / 2 {
            return Ok(());
        }
        Err(format!(
            "{} calls entry {} of term {} committed without a quorum of disks",
            self.servers[s].id, last.index, last.term
        ))
    }

    fn leadership_changed(&mut self, s: usize, new: &Leadership) -> Result<(), String> {
        self.say(|w| format!("{}: {new:?}", w.servers[s].id));
        if new.role != Role::Leader {
            for (client, op) in self.servers[s].forget_waiters() {
                self.client_unknown(client, op);
            }
            return Ok(());
        }
        if self.plan.storm && self.chance(0.5) {
            self.turning_point(s, self.plan.timeout / 2);
        }
        let server = &self.servers[s];
        let base = server.disk.with(|d| d.starting_base().index);
        let applied = server.machine.applied;
        let holds = |index: u64, term: u64| {
            index <= base || index <= applied || server.shadow.get(&index) == Some(&term)
        };
        self.checker.leader(new.term, (s, server.run), holds)
    }

    fn schedule_tick(&mut self, s: usize) {
        let server = &self.servers[s];
        let deadline = server.raft.as_ref().and_then(Raft::next_deadline);
        let Some(deadline) = deadline else {
            return;
        };
        let at = server
            .when(deadline)
            .max(self.now + Duration::from_micros(10));
        if server
            .next_tick
            .is_none_or(|next| at < next || next < self.now)
        {
            let run = server.run;
            self.servers[s].next_tick = Some(at);
            self.at(at, Event::Tick(s, run));
        }
    }

    pub fn tick(&mut self, s: usize, run: u64) -> Result<(), String> {
        let Some((raft, now)) = self.alive(s, run) else {
            return Ok(());
        };
        if raft.next_deadline().is_some_and(|deadline| deadline <= now) {
            raft.tick(now);
        }
        self.servers[s].next_tick = None;
        self.pump(s)
    }

    pub fn receive(&mut self, packet: Packet) -> Result<(), String> {
        let from = self.servers[packet.from].id.clone();
        let server = &mut self.servers[packet.to];
        if let (Message::InstallSnapshot(m), Some(machine)) = (&packet.message, packet.machine) {
            server.received.insert((from.clone(), m.seq), machine);
        }
        let now = server.local(self.now);
        if let Some(raft) = &mut server.raft {
            raft.step(now, &from, packet.message);
        }
        self.pump(packet.to)
    }

    pub fn rpc_failed(&mut self, s: usize, run: u64, to: usize, seq: u64) -> Result<(), String> {
        let to = self.servers[to].id.clone();
        if let Some((raft, now)) = self.alive(s, run) {
            raft.rpc_failed(now, &to, seq);
        }
        self.pump(s)
    }

    fn start_writing(&mut self, s: usize) {
        let server = &self.servers[s];
        if server.writing || server.writes.is_empty() || server.disk_full {
            return;
        }
        let (run, queued, slow) = (server.run, server.writes.len(), server.disk_slow);
        let together = if self.rng.bool() { queued } else { 1 };
        let fsync = self.plan.fsync * if slow { 40 } else { 1 };
        let delay = match self.servers[s].disk_takes {
            Some(takes) => takes,
            None => self.about(fsync),
        };
        self.servers[s].writing = true;
        self.after(delay, Event::Written(s, run, together));
    }

    pub fn written(&mut self, s: usize, run: u64, writes: usize) -> Result<(), String> {
        if self.alive(s, run).is_none() {
            return Ok(());
        }
        self.servers[s].writing = false;
        if self.servers[s].disk_full {
            return Ok(());
        }
        let server = &mut self.servers[s];
        let done: Vec<Write> = server.writes.drain(..writes).collect();
        server
            .disk
            .with(|disk| done.iter().for_each(|write| disk.write(write)));
        if let Some(last) = done.last()
            && let Some((raft, now)) = self.alive(s, run)
        {
            raft.persisted(now, last.number);
        }
        self.start_writing(s);
        self.pump(s)
    }

    /// The driver notices that its disk fails.
    pub fn disk_fails(&mut self, s: usize) {
        let run = self.servers[s].run;
        if let Some((raft, now)) = self.alive(s, run) {
            raft.step_down(now, StepDown::Disk);
            self.checker.totals.disk_failures += 1;
            self.say(|w| format!("{}: the disk fails", w.servers[s].id));
            let delay = self.about(ms(1_000));
            self.after(delay, Event::DiskHeals(s));
        }
    }

    pub fn disk_heals(&mut self, s: usize) -> Result<(), String> {
        let run = self.servers[s].run;
        let server = &mut self.servers[s];
        server.disk_full = false;
        server.disk_slow = false;
        server.disk.with(|d| d.unreadable = false);
        if let Some((raft, now)) = self.alive(s, run) {
            raft.resume(now);
        }
        self.start_writing(s);
        self.pump(s)
    }

    pub fn apply(&mut self, s: usize, run: u64, entries: &[Entry]) -> Result<(), String> {
        if self.alive(s, run).is_none() {
            return Ok(());
        }
        for entry in entries {
            let machine = &mut self.servers[s].machine;
            machine.applied = entry.index;
            if Checker::is_command(entry)
                && let Some((key, value)) = decode(&entry.data)
            {
                machine.registers.insert(key, (value, entry.index));
            }
            if let Some((term, client, op)) = self.servers[s].proposals.remove(&entry.index) {
                match term == entry.term {
                    true => self.client_wrote(client, op, entry.index)?,
                    false => self.client_failed(client, op),
                }
            }
        }
        if self.rng.u8(..4) == 0 {
            let machine = self.servers[s].machine.clone();
            self.servers[s].disk.with(|d| d.machine = machine);
        }
        let applied = self.servers[s].machine.applied;
        if let Some((raft, _)) = self.alive(s, run) {
            raft.applied(applied);
        }
        self.answer_reads(s)?;
        self.pump(s)
    }

    fn answer_reads(&mut self, s: usize) -> Result<(), String> {
        let applied = self.servers[s].machine.applied;
        let mut waiting = std::mem::take(&mut self.servers[s].waiting);
        let due = waiting.extract_if(.., |(index, _, _)| *index <= applied);
        let due: Vec<_> = due.collect();
        self.servers[s].waiting = waiting;
        for (_, client, op) in due {
            self.client_read(client, op, s)?;
        }
        Ok(())
    }

    pub fn take_snapshot(&mut self, s: usize, run: u64, to: usize) -> Result<(), String> {
        let target = self.servers[to].id.clone();
        let fails = !self.healing && self.chance(0.1);
        let machine = self.servers[s].machine.clone();
        let Some((raft, now)) = self.alive(s, run) else {
            return Ok(());
        };
        if fails {
            raft.snapshot_failed(now, &target);
        } else if let Some(request) = raft.send_snapshot(now, &target, machine.applied) {
            // Whoever sends a snapshot gives up some time; an answer before makes this void.
            let gives_up = Event::RpcFailed(s, run, to, request.seq);
            self.after(ms(5_000), gives_up);
            let message = Message::InstallSnapshot(request);
            let out = Outgoing {
                to: target,
                message,
            };
            self.send(s, out, Some(machine));
        }
        self.pump(s)
    }

    pub fn install(&mut self, s: usize, run: u64, install: Install) -> Result<(), String> {
        let fails = !self.healing && self.chance(0.1);
        let Some(now) = self.alive(s, run).map(|(_, now)| now) else {
            return Ok(());
        };
        let server = &mut self.servers[s];
        let received = server.received.remove(&(install.from, install.seq));
        let machine = received.filter(|_| !fails && !server.disk_full);
        let ok = machine.is_some();
        if let Some(mut machine) = machine {
            if machine.applied != install.meta.index {
                return Err(format!("{} got another snapshot", server.id));
            }
            machine.installed = install.meta;
            server.disk.with(|disk| disk.machine = machine.clone());
            server.machine = machine;
            self.checker.totals.snapshots += 1;
        }
        if let Some((raft, _)) = self.alive(s, run) {
            raft.snapshot_installed(now, ok);
        }
        self.answer_reads(s)?;
        self.pump(s)
    }
}

/// Whether the log holds this entry, or a snapshot covers it.
fn holds(disk: &Disk, index: u64, term: u64) -> bool {
    let covered = disk.starting_base().index >= index;
    covered || disk.entries.get(&index).is_some_and(|e| e.term == term)
}
