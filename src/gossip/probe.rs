//! Finding out who is there: direct probes, probes through others, and over TCP.
//!
//! Source: SWIM (2002), section 3.1, with Lifeguard's local health and nacks; `docs/reference/gossip.md` section 5.1.

use std::net::SocketAddr;
use std::time::Duration;

use super::Pool;
use super::codec::message::{
    Accusation, Ack, IndirectPing, Message, Nack, Ping, Source, ip_bytes, parse_ip,
};
use super::codec::push_pull::NodeStatus;
use super::coordinate;
use super::output::Output;
use super::push_pull::Dialed;
use super::timer::Timer;
use crate::structs::go::Bytes;
use crate::telemetry::metrics;

/// Most probes for others at a time.
const MAX_RELAYED: usize = 1024;

/// The probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    pub seq: u32,
    pub name: String,
    addr: SocketAddr,
    sent: Duration,
    /// Others have been asked.
    indirect: bool,
    nacks_expected: i64,
    nacks: i64,
    /// It answered over TCP.
    tcp: bool,
}

/// A probe for somebody else.
#[derive(Debug)]
pub(super) struct Relayed {
    to: SocketAddr,
    /// That of the one who asked.
    seq: u32,
    nack: bool,
}

impl Pool {
    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    fn source(&self) -> Source {
        Source::new(self.config.addr, &self.config.name)
    }

    /// It is time to probe the next node.
    pub(super) fn next_probe(&mut self) {
        if self.nodes.len() < 2 {
            self.armed.probe = false;
            return;
        }
        let at = self.now + self.config.probe_interval;
        // A probe in poor health outlasts its interval; then this one is left out.
        if self.probe.is_none() {
            self.start_probe();
        }
        self.timers.set(at, Timer::Probe);
    }

    fn start_probe(&mut self) {
        let (now, keep_for) = (self.now, self.config.gossip_to_the_dead);
        let own = self.config.name.clone();
        let mut rounds = 0;
        let target = loop {
            match self.nodes.next() {
                Some(node) if node.name == own || !node.is_there() => {}
                Some(node) => break node.clone(),
                None if rounds > 0 => return,
                None => {
                    rounds += 1;
                    self.nodes.new_round(&mut self.rng, |node| {
                        node.is_there() || node.name == own || now - node.since <= keep_for
                    });
                }
            }
        };
        let seq = self.next_seq();
        let timeout = now + self.config.probe_timeout;
        let end = now + self.awareness.scale(self.config.probe_interval);
        if self.awareness.score() > 0 {
            metrics::MEMBERLIST_DEGRADED.incr();
        }
        self.timers.set(timeout, Timer::ProbeTimeout(seq));
        self.timers.set(end, Timer::ProbeEnd(seq));
        self.probe = Some(Probe {
            seq,
            name: target.name.clone(),
            addr: target.addr,
            sent: now,
            indirect: false,
            nacks_expected: 0,
            nacks: 0,
            tcp: false,
        });
        let ping = Message::Ping(Ping {
            seq_no: seq,
            node: target.name.clone(),
            source: self.source(),
        });
        if target.status != NodeStatus::Suspect {
            self.send_with_news(target.addr, &ping);
            return;
        }
        // It may not know that it is suspected, and is to say so at once.
        let suspect = Message::Suspect(Accusation {
            incarnation: target.incarnation,
            node: target.name.clone(),
            from: own,
        });
        if let (Ok(ping), Ok(suspect)) = (ping.encode(), suspect.encode()) {
            self.send(target.addr, vec![ping, suspect], target.takes_crc());
        }
    }

    /// No direct answer in time: others are asked, and TCP is tried.
    pub(super) fn probe_indirectly(&mut self, seq: u32) {
        let Some(probe) = self.probe.as_mut().filter(|p| p.seq == seq) else {
            return;
        };
        probe.indirect = true;
        let (name, addr, sent) = (probe.name.clone(), probe.addr, probe.sent);
        let own = &self.config.name;
        let helpers = self
            .nodes
            .random(self.config.indirect_checks, &mut self.rng, |node| {
                node.status == NodeStatus::Alive && node.name != *own && node.name != name
            });
        let helpers: Vec<(SocketAddr, bool)> = helpers
            .iter()
            .map(|node| (node.addr, node.can_nack()))
            .collect();
        for (helper, nack) in helpers {
            let ask = Message::IndirectPing(IndirectPing {
                seq_no: seq,
                target: ip_bytes(addr.ip()),
                port: addr.port(),
                node: name.clone(),
                nack,
                source: self.source(),
            });
            if let Some(probe) = &mut self.probe {
                probe.nacks_expected += i64::from(nack);
            }
            self.send_with_news(helper, &ask);
        }
        let answers = self.nodes.get(&name).is_some_and(|node| node.answers_tcp());
        if answers && self.config.tcp_pings {
            let deadline = sent + self.awareness.scale(self.config.probe_interval);
            let ping = Message::Ping(Ping {
                seq_no: seq,
                node: name,
                source: self.source(),
            });
            self.dial(addr, &ping, deadline, Dialed::Ping(seq));
        }
    }

    /// The probed node answered over TCP.
    pub(super) fn tcp_answered(&mut self, seq: u32, answer: &Message) {
        let answered = matches!(answer, Message::Ack(ack) if ack.seq_no == seq);
        if let Some(probe) = self.probe.as_mut().filter(|p| p.seq == seq && answered) {
            probe.tcp = true;
        }
    }

    /// The time for answers is over.
    pub(super) fn probe_ended(&mut self, seq: u32) {
        let Some(probe) = self.probe.take_if(|p| p.seq == seq) else {
            return;
        };
        metrics::MEMBERLIST_PROBE.record(self.now - probe.sent);
        let name = &probe.name;
        if probe.tcp {
            log::warn!(target: &self.config.loggers[0],
                "memberlist: Was able to connect to {name} but other probes failed, network may be misconfigured");
            self.awareness.add(-1);
            return;
        }
        self.awareness.add(match probe.nacks_expected {
            0 => 1,
            expected => (expected - probe.nacks).max(0),
        });
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        log::info!(target: &self.config.loggers[0],
            "memberlist: Suspect {name} has failed, no acks received");
        let suspect = Accusation {
            incarnation: node.incarnation,
            node: name.clone(),
            from: self.config.name.clone(),
        };
        self.on_suspect(&suspect);
    }

    pub(super) fn on_ping(&mut self, from: SocketAddr, m: &Ping) {
        if !m.node.is_empty() && !self.is_self(&m.node) {
            log::warn!(target: &self.config.loggers[0],
                "memberlist: Got ping for unexpected node '{}' from={from}", m.node);
            return;
        }
        let ack = Message::Ack(Ack {
            seq_no: m.seq_no,
            payload: Some(Bytes(coordinate::encode(self.coordinates.own()))),
        });
        self.send_with_news(m.source.answer_to(from), &ack);
    }

    pub(super) fn on_indirect_ping(&mut self, from: SocketAddr, m: &IndirectPing) {
        let Ok(ip) = parse_ip(&m.target) else {
            return;
        };
        if self.relayed.len() >= MAX_RELAYED {
            return;
        }
        let port = if m.port == 0 {
            self.config.addr.port()
        } else {
            m.port
        };
        let seq = self.next_seq();
        let relayed = Relayed {
            to: m.source.answer_to(from),
            seq: m.seq_no,
            nack: m.nack,
        };
        self.relayed.insert(seq, relayed);
        let at = self.now + self.config.probe_timeout;
        self.timers.set(at, Timer::Relayed(seq));
        let ping = Message::Ping(Ping {
            seq_no: seq,
            node: m.node.clone(),
            source: self.source(),
        });
        self.send_with_news(SocketAddr::new(ip, port), &ping);
    }

    pub(super) fn relayed_unanswered(&mut self, seq: u32) {
        if let Some(relayed) = self.relayed.remove(&seq).filter(|r| r.nack) {
            let nack = Message::Nack(Nack {
                seq_no: relayed.seq,
            });
            self.send_with_news(relayed.to, &nack);
        }
    }

    pub(super) fn on_ack(&mut self, m: &Ack) {
        if let Some(relayed) = self.relayed.remove(&m.seq_no) {
            let ack = Message::Ack(Ack {
                seq_no: relayed.seq,
                payload: None,
            });
            self.send_with_news(relayed.to, &ack);
            return;
        }
        let Some(probe) = self.probe.take_if(|p| p.seq == m.seq_no) else {
            return;
        };
        metrics::MEMBERLIST_PROBE.record(self.now - probe.sent);
        self.awareness.add(-1);
        let payload = m.payload.as_ref().filter(|p| !p.is_empty());
        if let Some(payload) = payload.filter(|_| !probe.indirect) {
            let rtt = self.now - probe.sent;
            let update = coordinate::decode(payload).and_then(|other| {
                self.coordinates
                    .update(&probe.name, other, rtt, &mut self.rng)
            });
            match update {
                Ok(()) => metrics::SERF_ADJUSTMENT.add(self.coordinates.own().adjustment * 1000.0),
                Err(e) => log::debug!(target: &self.config.loggers[1],
                    "serf: Rejected coordinate from {}: {e}", probe.name),
            }
        }
    }

    pub(super) fn on_nack(&mut self, seq: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|p| p.seq == seq) {
            probe.nacks += 1;
        }
    }

    /// Opens a stream with a message.
    pub(super) fn dial(
        &mut self,
        to: SocketAddr,
        message: &Message,
        deadline: Duration,
        purpose: Dialed,
    ) {
        let Ok(bytes) = self.envelope.seal_stream(message) else {
            return;
        };
        self.next_stream += 1;
        let stream = self.next_stream;
        self.dialed.insert(stream, purpose);
        self.output(Output::Dial {
            stream,
            to,
            bytes,
            deadline,
        });
    }
}
