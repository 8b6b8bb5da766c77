//! Clients that write and read registers, and know what they must see.
//!
//! Writes to one register are ordered by their index. A read is linearizable if it shows nothing older
//! than what any operation that ended before the read began wrote or saw; a write, if its index is above
//! that. `World::floor` holds this bound for each register.

use std::sync::Arc;

use consul_lite::raft::{EntryKind, Raft};

use super::plan::ms;
use super::world::{Event, World};

const REGISTERS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    IndexRead,
    LeaseRead,
}

#[derive(Clone, Copy, Debug)]
struct Op {
    number: u64,
    kind: Kind,
    key: u8,
    /// The bound when the operation began.
    floor: u64,
    began_healed: bool,
}

#[derive(Default)]
pub struct Client {
    op: Option<Op>,
}

fn encode(key: u8, value: u64, padding: usize) -> Arc<[u8]> {
    let mut data = vec![key];
    data.extend_from_slice(&value.to_be_bytes());
    data.resize(data.len() + padding, 0);
    data.into()
}

pub fn decode(data: &[u8]) -> Option<(u8, u64)> {
    let (key, rest) = data.split_first()?;
    let value = rest.first_chunk::<8>()?;
    Some((*key, u64::from_be_bytes(*value)))
}

impl World {
    pub fn client_acts(&mut self, c: usize) -> Result<(), String> {
        if self.clients[c].op.is_some() {
            return Ok(());
        }
        // Once enough works again, silence lets the servers draw level.
        if self.done_since_healing == [true; 3] {
            return Ok(());
        }
        let s = self.likely_leader();
        self.next_op += 1;
        let key = self.rng.u8(..REGISTERS);
        let kinds = [Kind::Write, Kind::IndexRead, Kind::LeaseRead];
        let op = Op {
            number: self.next_op,
            kind: kinds[self.rng.usize(..3)],
            key,
            floor: self.floor.get(&key).copied().unwrap_or(0),
            began_healed: self.healing,
        };
        self.clients[c].op = Some(op);
        let taken = match op.kind {
            Kind::Write => self.write(s, c, &op),
            Kind::IndexRead => self.read_index(s, c, &op),
            Kind::LeaseRead => self.read_by_lease(s, c, &op)?,
        };
        if taken {
            self.after(ms(1_500), Event::GiveUp(c, op.number));
        } else {
            self.end(c, op.number, 60);
        }
        self.pump(s)
    }

    /// Mostly a server that thinks it leads; there may be several.
    fn likely_leader(&mut self) -> usize {
        let leads = |s: &super::server::Server| s.raft.as_ref().is_some_and(Raft::is_leading);
        let servers = self.servers.iter().enumerate();
        let leaders = servers.filter(|(_, s)| leads(s)).map(|(n, _)| n);
        let leaders: Vec<usize> = leaders.collect();
        if leaders.is_empty() || self.rng.u8(..10) == 0 {
            return self.rng.usize(..self.servers.len());
        }
        leaders[self.rng.usize(..leaders.len())]
    }

    fn write(&mut self, s: usize, c: usize, op: &Op) -> bool {
        let padding = [0, 0, 10, 300, 3_000][self.rng.usize(..5)];
        let mut batch = vec![(EntryKind::Command, encode(op.key, op.number, padding))];
        for _ in 0..[0, 0, 1, 5][self.rng.usize(..4)] {
            batch.push((EntryKind::Barrier, [].into()));
        }
        let run = self.servers[s].run;
        let Some((raft, now)) = self.alive(s, run) else {
            return false;
        };
        let Ok(proposed) = raft.propose(now, batch) else {
            return false;
        };
        let waiter = (proposed.term, c, op.number);
        self.servers[s].proposals.insert(proposed.first, waiter);
        true
    }

    fn read_index(&mut self, s: usize, c: usize, op: &Op) -> bool {
        let run = self.servers[s].run;
        let Some((raft, now)) = self.alive(s, run) else {
            return false;
        };
        let asked = raft.read_index(now, op.number).is_ok();
        if asked {
            self.servers[s].reads.insert(op.number, c);
        }
        asked
    }

    fn read_by_lease(&mut self, s: usize, c: usize, op: &Op) -> Result<bool, String> {
        let run = self.servers[s].run;
        let Some(index) = self
            .alive(s, run)
            .and_then(|(raft, now)| raft.lease_read(now))
        else {
            return Ok(false);
        };
        if self.servers[s].machine.applied >= index {
            self.client_read(c, op.number, s)?;
        } else {
            self.servers[s].waiting.push((index, c, op.number));
        }
        Ok(true)
    }

    fn current(&self, c: usize, number: u64) -> Option<Op> {
        self.clients[c].op.filter(|op| op.number == number)
    }

    /// Ends the operation; the next one begins after about this many milliseconds.
    fn end(&mut self, c: usize, number: u64, pause: u64) {
        if self.current(c, number).is_some() {
            self.clients[c].op = None;
            let pause = if self.healing { 300 } else { pause };
            let delay = self.about(ms(pause));
            self.after(delay, Event::Client(c));
        }
    }

    fn succeeded(&mut self, op: &Op, index: u64) {
        let floor = self.floor.entry(op.key).or_insert(0);
        *floor = (*floor).max(index);
        if op.began_healed {
            self.done_since_healing[op.kind as usize] = true;
        }
        let totals = &mut self.checker.totals;
        match op.kind {
            Kind::Write => totals.writes += 1,
            Kind::IndexRead => totals.index_reads += 1,
            Kind::LeaseRead => totals.lease_reads += 1,
        }
    }

    /// The write was applied at this index.
    pub fn client_wrote(&mut self, c: usize, number: u64, index: u64) -> Result<(), String> {
        let Some(op) = self.current(c, number) else {
            return Ok(());
        };
        if index <= op.floor {
            return Err(format!("{op:?} was written into the past, at {index}"));
        }
        self.succeeded(&op, index);
        self.end(c, number, 20);
        Ok(())
    }

    /// The read may look at the server's state machine now.
    pub fn client_read(&mut self, c: usize, number: u64, s: usize) -> Result<(), String> {
        let Some(op) = self.current(c, number) else {
            return Ok(());
        };
        let register = self.servers[s].machine.registers.get(&op.key);
        let index = register.map_or(0, |(_, index)| *index);
        if index < op.floor {
            return Err(format!(
                "stale read: {op:?} saw index {index} on {} at {:?}",
                self.servers[s].id, self.now
            ));
        }
        self.succeeded(&op, index);
        self.end(c, number, 20);
        Ok(())
    }

    /// The operation did not happen.
    pub fn client_failed(&mut self, c: usize, number: u64) {
        self.end(c, number, 60);
    }

    /// The operation may happen or not.
    pub fn client_unknown(&mut self, c: usize, number: u64) {
        self.checker.totals.unknown += 1;
        self.end(c, number, 60);
    }

    pub fn client_gives_up(&mut self, c: usize, number: u64) -> Result<(), String> {
        if self.current(c, number).is_some() {
            self.client_unknown(c, number);
        }
        Ok(())
    }
}
