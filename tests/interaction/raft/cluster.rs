//! The servers, their messages and disks, and the commands that move them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use consul_lite::raft::{
    ConfChange, Config, Configuration, Entry, EntryKind, Install, Message, Outgoing, Raft, Ready,
    Server as Member, ServerId, StepDown, Suffrage, Write,
};

use super::disk::SharedDisk;
use super::show;
use crate::Scenario;

/// Rounds after which `settle` gives up.
const MAX_ROUNDS: usize = 200;

#[derive(Default)]
struct Server {
    raft: Option<Raft>,
    disk: SharedDisk,
    writes: VecDeque<Write>,
    handed_out: Vec<Entry>,
    wanted: Vec<ServerId>,
    install: Option<Install>,
    runs: u64,
}

struct Packet {
    from: ServerId,
    to: ServerId,
    message: Message,
}

#[derive(Default)]
pub struct Cluster {
    now: Duration,
    servers: BTreeMap<ServerId, Server>,
    network: Vec<Packet>,
    cuts: BTreeSet<(ServerId, ServerId)>,
    no_pre_vote: bool,
    one_by_one: bool,
    next_read: u64,
    /// Only what matters is shown.
    quiet: bool,
    shown: Vec<String>,
}

type Done = Result<(), String>;

fn address(id: &str) -> String {
    format!("{id}:8300")
}

impl Scenario for Cluster {
    fn command(&mut self, words: &[&str]) -> Result<Vec<String>, String> {
        self.run(words)?;
        if self.shown.is_empty() {
            self.shown.push("(nothing)".to_owned());
        }
        Ok(std::mem::take(&mut self.shown))
    }
}

impl Cluster {
    fn run(&mut self, words: &[&str]) -> Done {
        match *words {
            ["servers", n, ref options @ ..] => {
                self.no_pre_vote = options.contains(&"nopv");
                self.one_by_one = options.contains(&"one");
                self.found(n)
            }
            ["spare", s] => {
                self.servers.insert(s.into(), Server::default());
                self.start(s)
            }
            ["wait", n] => {
                self.now += Duration::from_millis(number(n)?);
                Ok(())
            }
            ["deliver"] => self.deliver(|_| true, false),
            ["deliver", a, b] => self.deliver(|p| *p.from == *a && *p.to == *b, false),
            ["drop"] => self.deliver(|_| true, true),
            ["drop", a, b] => self.deliver(|p| *p.from == *a && *p.to == *b, true),
            ["cut", a, b] => {
                self.cuts.insert((a.into(), b.into()));
                self.cuts.insert((b.into(), a.into()));
                Ok(())
            }
            ["heal"] => {
                self.cuts.clear();
                Ok(())
            }
            ["settle"] => self.settle(),
            ["run", n] => self.run_for(Duration::from_millis(number(n)?)),
            ["status"] => {
                let ids: Vec<ServerId> = self.servers.keys().cloned().collect();
                ids.iter().try_for_each(|s| self.status(s))
            }
            ["status", s] => self.status(s),
            ["crash", s] => self.crash(s, false),
            ["crash", s, "keep"] => self.crash(s, true),
            ["start", s] => self.start(s),
            ["log", s] => {
                let entries: Vec<Entry> =
                    (self.server(s)?.disk).with(|d| d.entries.values().cloned().collect());
                self.show(s, &format!("has {}", show::entries(&entries)));
                Ok(())
            }
            [command, s, ref rest @ ..] => {
                self.act(command, s, rest)?;
                self.carry_out(s)
            }
            _ => Err(format!("no such command: {words:?}")),
        }
    }

    /// Commands to one server.
    fn act(&mut self, command: &str, s: &str, rest: &[&str]) -> Done {
        match (command, rest) {
            ("tick", []) => {
                let at = self
                    .raft(s)?
                    .next_deadline()
                    .ok_or("it waits for nothing")?;
                self.now = self.now.max(at);
                let now = self.now;
                self.raft(s)?.tick(now);
                Ok(())
            }
            ("deadline", []) => {
                let text = match self.raft(s)?.next_deadline() {
                    Some(at) => format!("wakes in {:?}", at.saturating_sub(self.now)),
                    None => "never wakes by itself".to_owned(),
                };
                self.show(s, &text);
                Ok(())
            }
            ("sync", []) => self.sync(s),
            ("apply", []) => self.apply(s),
            ("compact" | "snapshot" | "installed" | "restore" | "restored", _) => {
                self.snapshots(command, s, rest)
            }
            _ => {
                let (now, read) = (self.now, self.next_read + 1);
                let outcome = ask(self.raft(s)?, now, read, command, rest)?;
                self.next_read += u64::from(command == "read");
                if let Some(text) = outcome {
                    self.show(s, &text);
                }
                Ok(())
            }
        }
    }

    fn snapshots(&mut self, command: &str, s: &str, rest: &[&str]) -> Done {
        let now = self.now;
        let text = match (command, rest) {
            ("compact", [index]) => match self.raft(s)?.compact(number(index)?) {
                Some(meta) => {
                    let text = format!("forgets the log up to {}/{}", meta.index, meta.term);
                    self.server(s)?.disk.with(|d| {
                        d.entries = d.entries.split_off(&(meta.index + 1));
                        d.base = meta;
                    });
                    text
                }
                None => "has nothing to forget".to_owned(),
            },
            ("snapshot", [to]) => {
                let to = ServerId::from(*to);
                let applied = self.raft(s)?.status(now).applied;
                match self.raft(s)?.send_snapshot(now, &to, applied) {
                    Some(request) => {
                        let message = Message::InstallSnapshot(request);
                        self.post(s, Outgoing { to, message });
                        return Ok(());
                    }
                    None => "sends none".to_owned(),
                }
            }
            ("installed", rest) => {
                let ok = *rest != ["failed"];
                let install = self.server(s)?.install.take().ok_or("nothing to install")?;
                if ok {
                    self.server(s)?.disk.with(|d| {
                        d.machine.applied = install.meta.index;
                        d.machine.installed = install.meta.clone();
                    });
                }
                self.raft(s)?.snapshot_installed(now, ok);
                return Ok(());
            }
            ("restore", [index]) => match self.raft(s)?.begin_restore(number(index)?) {
                Ok(meta) => {
                    self.server(s)?.disk.with(|d| {
                        d.machine.applied = meta.index;
                        d.machine.installed = meta.clone();
                    });
                    format!("restores as of {}/{}", meta.index, meta.term)
                }
                Err(e) => format!("refuses: {e}"),
            },
            ("restored", []) => match self.raft(s)?.finish_restore(true) {
                Ok(()) => return Ok(()),
                Err(e) => format!("refuses: {e}"),
            },
            _ => return Err(format!("{command} {rest:?}?")),
        };
        self.show(s, &text);
        Ok(())
    }

    fn server(&mut self, s: &str) -> Result<&mut Server, String> {
        self.servers
            .get_mut(s)
            .ok_or_else(|| format!("no server {s}"))
    }

    fn raft(&mut self, s: &str) -> Result<&mut Raft, String> {
        let server = self.server(s)?;
        server.raft.as_mut().ok_or_else(|| format!("{s} is down"))
    }

    fn show(&mut self, s: &str, text: &str) {
        self.shown.push(format!("{s} {text}"));
    }

    fn detail(&mut self, s: &str, text: &str) {
        if !self.quiet {
            self.show(s, text);
        }
    }

    fn found(&mut self, n: &str) -> Done {
        let ids: Vec<String> = (1..=number(n)?).map(|n| format!("s{n}")).collect();
        let members = ids.iter().map(|id| Member {
            suffrage: Suffrage::Voter,
            id: id.clone(),
            address: address(id),
        });
        let configuration = Configuration {
            servers: members.collect(),
        };
        let first = Raft::bootstrap(&configuration).map_err(|e| e.to_string())?;
        for id in ids {
            let server = Server::default();
            server.disk.with(|d| {
                d.hard_state = first.0.clone();
                d.entries.insert(1, first.1.clone());
            });
            self.servers.insert(id.as_str().into(), server);
            self.start(&id)?;
        }
        Ok(())
    }

    fn start(&mut self, s: &str) -> Done {
        let now = self.now;
        let (pre_vote, one_by_one) = (!self.no_pre_vote, self.one_by_one);
        let server = self.server(s)?;
        server.runs += 1;
        let seed = s.bytes().fold(server.runs, |n, b| n * 31 + u64::from(b));
        let config = Config {
            pre_vote,
            max_append_entries: if one_by_one { 1 } else { 64 },
            ..Config::new(s.into(), 1, seed)
        };
        let reader = Box::new(server.disk.clone());
        let (hard, base, applied) = server.disk.with(|d| {
            let machine = d.machine.applied;
            (d.hard_state.clone(), d.starting_base(), machine)
        });
        let raft = Raft::new(now, config, hard, base, applied, reader);
        server.raft = Some(raft.map_err(|e| e.to_string())?);
        self.carry_out(s)
    }

    fn crash(&mut self, s: &str, keep: bool) -> Done {
        let server = self.server(s)?;
        server.raft = None;
        server.handed_out.clear();
        server.install = None;
        let writes = std::mem::take(&mut server.writes);
        if keep {
            let all = writes.iter();
            server.disk.with(|d| all.for_each(|write| d.write(write)));
        }
        self.network.retain(|p| *p.from != *s);
        Ok(())
    }

    fn status(&mut self, s: &str) -> Done {
        let now = self.now;
        let Ok(raft) = self.raft(s) else {
            self.show(s, "down");
            return Ok(());
        };
        for (n, line) in show::status(&raft.status(now)).into_iter().enumerate() {
            match n {
                0 => self.show(s, &line),
                _ => self.shown.push(line),
            }
        }
        Ok(())
    }

    fn post(&mut self, from: &str, out: Outgoing) {
        let text = format!("-> {} {}", out.to, show::message(&out.message));
        self.detail(from, &text);
        self.network.push(Packet {
            from: from.into(),
            to: out.to,
            message: out.message,
        });
    }

    /// Takes what the core asks for; only messages leave at once.
    fn carry_out(&mut self, s: &str) -> Done {
        let now = self.now;
        while let Some(ready) = self.server(s)?.raft.as_mut().and_then(|r| r.ready(now)) {
            self.take(s, ready)?;
        }
        Ok(())
    }

    fn take(&mut self, s: &str, ready: Ready) -> Done {
        if let Some(leadership) = &ready.leadership {
            self.show(s, &show::leadership(leadership));
        }
        if let Some(write) = ready.write {
            self.detail(s, &show::write(&write));
            self.server(s)?.writes.push_back(write);
        }
        for out in ready.messages {
            self.post(s, out);
        }
        if !ready.committed.is_empty() {
            self.show(s, &format!("commits {}", show::entries(&ready.committed)));
            self.server(s)?.handed_out.extend(ready.committed);
        }
        for read in ready.reads {
            let text = match read.index {
                Some(index) => format!("may answer read {} at {index}", read.ctx),
                None => format!("cannot answer read {}", read.ctx),
            };
            self.show(s, &text);
        }
        for to in ready.snapshots_wanted {
            self.show(s, &format!("wants a snapshot for {to}"));
            self.server(s)?.wanted.push(to);
        }
        if let Some(install) = ready.install {
            let (index, term) = (install.meta.index, install.meta.term);
            self.show(s, &format!("installs a snapshot at {index}/{term}"));
            self.server(s)?.install = Some(install);
        }
        if let Some(fault) = ready.fault {
            self.show(s, &show::fault(&fault));
        }
        Ok(())
    }

    fn sync(&mut self, s: &str) -> Done {
        let now = self.now;
        let server = self.server(s)?;
        let writes = std::mem::take(&mut server.writes);
        let all = writes.iter();
        server.disk.with(|d| all.for_each(|write| d.write(write)));
        if let Some(last) = writes.back() {
            self.raft(s)?.persisted(now, last.number);
        }
        Ok(())
    }

    fn apply(&mut self, s: &str) -> Done {
        let server = self.server(s)?;
        let entries = std::mem::take(&mut server.handed_out);
        if let Some(last) = entries.last() {
            server.disk.with(|d| d.machine.applied = last.index);
            self.raft(s)?.applied(last.index);
        }
        Ok(())
    }

    fn deliver(&mut self, chosen: impl Fn(&Packet) -> bool, lose: bool) -> Done {
        let all = std::mem::take(&mut self.network);
        let (due, rest) = all.into_iter().partition(|p| chosen(p));
        self.network = rest;
        let due: Vec<Packet> = due;
        for packet in due {
            let now = self.now;
            match self.raft(&packet.to) {
                Ok(raft) if !lose => {
                    raft.step(now, &packet.from, packet.message);
                    self.carry_out(&packet.to)?;
                }
                _ => self.fail(packet)?,
            }
        }
        Ok(())
    }

    /// The message does not arrive, and whoever sent a request notices.
    fn fail(&mut self, packet: Packet) -> Done {
        let now = self.now;
        let Some(seq) = request_seq(&packet.message) else {
            return Ok(());
        };
        if let Ok(raft) = self.raft(&packet.from) {
            raft.rpc_failed(now, &packet.to, seq);
            self.carry_out(&packet.from)?;
        }
        Ok(())
    }

    /// Settles, and lets time pass from deadline to deadline.
    fn run_for(&mut self, lasts: Duration) -> Done {
        let end = self.now + lasts;
        loop {
            self.settle()?;
            let up = self.servers.iter();
            let up = up.filter_map(|(id, s)| Some((s.raft.as_ref()?.next_deadline()?, id)));
            let Some((at, id)) = up.min().filter(|(at, _)| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            let id = id.clone();
            self.now = self.now.max(at);
            let now = self.now;
            self.raft(&id)?.tick(now);
            self.quiet = true;
            self.carry_out(&id)?;
        }
    }

    fn settle(&mut self) -> Done {
        self.quiet = true;
        let ids: Vec<ServerId> = self.servers.keys().cloned().collect();
        for _ in 0..MAX_ROUNDS {
            let mut busy = !self.network.is_empty();
            let cuts = self.cuts.clone();
            self.deliver(|p| cuts.contains(&(p.from.clone(), p.to.clone())), true)?;
            self.deliver(|_| true, false)?;
            for s in ids
                .iter()
                .filter(|s| self.servers[*s].raft.is_some())
                .cloned()
                .collect::<Vec<_>>()
            {
                let server = &self.servers[&s];
                busy |= !server.writes.is_empty() || !server.handed_out.is_empty();
                self.sync(&s)?;
                self.carry_out(&s)?;
                self.apply(&s)?;
                self.carry_out(&s)?;
            }
            if !busy {
                self.quiet = false;
                return Ok(());
            }
        }
        Err("it never settles".to_owned())
    }
}

fn request_seq(message: &Message) -> Option<u64> {
    match message {
        Message::AppendEntries(m) => Some(m.seq),
        Message::InstallSnapshot(m) => Some(m.seq),
        Message::TimeoutNow(m) => Some(m.seq),
        _ => None,
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

/// Asks a server for something; an answer that comes at once is text.
fn ask(
    raft: &mut Raft,
    now: Duration,
    read: u64,
    command: &str,
    rest: &[&str],
) -> Result<Option<String>, String> {
    let answer = match (command, rest) {
        ("propose", words) if !words.is_empty() => {
            let entries = words
                .iter()
                .map(|w| (EntryKind::Command, Arc::from(w.as_bytes())));
            raft.propose(now, entries.collect()).map(|_| None)
        }
        ("read", []) => raft.read_index(now, read).map(|()| None),
        ("lease", []) => Ok(Some(match raft.lease_read(now) {
            Some(index) => format!("may read by lease at {index}"),
            None => "has no lease".to_owned(),
        })),
        ("transfer", to) => {
            let to = to.first().map(|id| ServerId::from(*id));
            let asked = raft.transfer_leadership(now, to);
            asked.map(|to| Some(format!("hands over to {to}")))
        }
        ("conf", [how, id]) => {
            let (id, address) = (ServerId::from(*id), address(id));
            let change = match *how {
                "add-voter" => ConfChange::AddVoter { id, address },
                "add-nonvoter" => ConfChange::AddNonvoter { id, address },
                "demote" => ConfChange::Demote { id },
                "remove" => ConfChange::Remove { id },
                _ => return Err(format!("no such change: {how}")),
            };
            raft.propose_conf_change(now, &change).map(|_| None)
        }
        ("suspect", [peer]) => {
            raft.suspect(now, &ServerId::from(*peer));
            Ok(None)
        }
        ("found", ids) => {
            let servers = ids.iter().map(|id| Member {
                suffrage: Suffrage::Voter,
                id: (*id).to_owned(),
                address: address(id),
            });
            let servers = servers.collect();
            raft.found(now, &Configuration { servers }).map(|()| None)
        }
        ("step-down", []) => {
            raft.step_down(now, StepDown::Asked);
            Ok(None)
        }
        ("step-down", ["disk"]) => {
            raft.step_down(now, StepDown::Disk);
            Ok(None)
        }
        ("resume", []) => {
            raft.resume(now);
            Ok(None)
        }
        _ => return Err(format!("no such command: {command} {rest:?}")),
    };
    Ok(answer.unwrap_or_else(|e| Some(format!("refuses: {e}"))))
}
