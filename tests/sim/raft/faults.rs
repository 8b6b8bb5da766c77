//! What goes wrong, and what an operator does meanwhile.

use std::time::Duration;

use consul_lite::raft::{ConfChange, StepDown};

use super::plan::{Fault, ms};
use super::world::{Event, World};

impl World {
    /// Draws one fault and the time of the next.
    pub fn fault(&mut self) -> Result<(), String> {
        if self.healing {
            return Ok(());
        }
        let pause = self.about(ms(250));
        self.after(pause, Event::Fault);
        let s = self.rng.usize(..self.servers.len());
        let kinds = self.plan.faults();
        if kinds.is_empty() {
            return Ok(());
        }
        let kind = kinds[self.rng.usize(..kinds.len())];
        self.say(|w| format!("fault: {kind:?} at {}", w.servers[s].id));
        match kind {
            Fault::Crash => self.crash_and_restart(s, ms(1_500)),
            Fault::CrashMost if self.rng.u8(..4) == 0 => {
                for s in 0..self.servers.len() {
                    if self.rng.u8(..5) > 0 {
                        self.crash_and_restart(s, ms(1_500));
                    }
                }
            }
            Fault::CrashMost => {}
            Fault::Cut => self.cut(s),
            Fault::SlowDisk => {
                self.servers[s].disk_slow = true;
                let lasts = self.about(ms(1_000));
                self.after(lasts, Event::DiskHeals(s));
            }
            Fault::FullDisk => {
                self.servers[s].disk_full = true;
                self.disk_fails(s);
                self.pump(s)?;
            }
            Fault::BadReads => {
                self.servers[s].disk.with(|d| d.unreadable = true);
                let lasts = self.about(ms(500));
                self.after(lasts, Event::DiskHeals(s));
            }
            Fault::Compaction => self.compact(s),
            Fault::Membership => self.change_membership()?,
            Fault::Transfer => self.transfer(s)?,
        }
        Ok(())
    }

    pub fn crash_and_restart(&mut self, s: usize, down: Duration) {
        self.crash(s);
        let down = self.about(down);
        self.after(down, Event::Restart(s));
    }

    /// Cuts one direction between two servers, both, or everything of one server.
    fn cut(&mut self, s: usize) {
        let other = self.rng.usize(..self.servers.len());
        let lasts = self.about(ms(1_500));
        let mut cuts = Vec::new();
        match self.rng.u8(..4) {
            0 => cuts.push((s, other)),
            1 => cuts.extend([(s, other), (other, s)]),
            2 => cuts.extend((0..self.servers.len()).map(|to| (s, to))),
            _ => {
                let all = 0..self.servers.len();
                cuts.extend(all.flat_map(|o| [(s, o), (o, s)]));
            }
        }
        self.say(|_| format!("cut for {lasts:?}: {cuts:?}"));
        for (from, to) in cuts {
            self.cuts.insert((from, to));
            self.after(lasts, Event::Uncut(from, to));
        }
    }

    fn compact(&mut self, s: usize) {
        let run = self.servers[s].run;
        let trailing = [0, 0, 5, 50][self.rng.usize(..4)];
        let durable = self.servers[s].disk.with(|d| d.machine.applied);
        let meta = self.alive(s, run).and_then(|(raft, _)| {
            let upto = durable.saturating_sub(trailing);
            raft.compact(upto)
        });
        if let Some(meta) = meta {
            self.say(|w| format!("{} compacts to {}", w.servers[s].id, meta.index));
            self.servers[s].disk.with(|d| {
                d.entries = d.entries.split_off(&(meta.index + 1));
                d.base = meta;
            });
        }
    }

    fn change_membership(&mut self) -> Result<(), String> {
        let who = self.rng.usize(..self.servers.len());
        let id = self.servers[who].id.clone();
        let address = format!("10.0.0.{who}:8300");
        let change = match self.rng.u8(..6) {
            0 | 1 => ConfChange::AddNonvoter { id, address },
            2 | 3 => ConfChange::AddVoter { id, address },
            4 => ConfChange::Demote { id },
            _ => ConfChange::Remove { id },
        };
        for s in 0..self.servers.len() {
            let run = self.servers[s].run;
            if let Some((raft, now)) = self.alive(s, run)
                && raft.propose_conf_change(now, &change).is_ok()
            {
                self.checker.totals.conf_changes += 1;
                self.say(|w| format!("{} proposes {change:?}", w.servers[s].id));
            }
            self.pump(s)?;
        }
        Ok(())
    }

    fn transfer(&mut self, target: usize) -> Result<(), String> {
        let target = self.servers[target].id.clone();
        let to = self.rng.bool().then_some(target);
        for s in 0..self.servers.len() {
            let run = self.servers[s].run;
            let resigns = self.rng.u8(..5) == 0;
            let Some((raft, now)) = self.alive(s, run) else {
                continue;
            };
            if resigns {
                raft.step_down(now, StepDown::Asked);
            } else if raft.transfer_leadership(now, to.clone()).is_ok() {
                self.checker.totals.transfers += 1;
                self.say(|w| format!("{} hands over to {to:?}", w.servers[s].id));
            }
            self.pump(s)?;
        }
        Ok(())
    }

    /// Ends all faults.
    pub fn heal(&mut self) -> Result<(), String> {
        self.healing = true;
        self.cuts.clear();
        self.plan.latency = self.plan.latency.min(self.plan.timeout / 25);
        self.say(|_| "all faults end".to_owned());
        for s in 0..self.servers.len() {
            self.restart(s)?;
            self.disk_heals(s)?;
        }
        Ok(())
    }
}
