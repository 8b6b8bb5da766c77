//! Exchanging everything with one member: when joining, and now and then.
//!
//! Holds true: members that cannot speak with each other, or may not be in one pool, are not merged.
//! Source: `docs/reference/gossip.md` sections 3.1, 4.1, 6 and 7.

use std::net::SocketAddr;
use std::time::Duration;

use super::codec::message::{Accusation, Alive, Message, Versions};
use super::codec::push_pull::{NodeState, NodeStatus, PushPull};
use super::codec::serf::SerfMessage;
use super::codec::tags::{self, Tags};
use super::merge_filter::Candidate;
use super::output::Event;
use super::timer::Timer;
use super::{Error, Pool};

/// Pools up to this size exchange at the plain interval.
const PLAIN_SIZE: usize = 32;

/// What a stream that we have opened is for.
#[derive(Clone, Debug)]
pub(super) enum Dialed {
    /// The probe with this number.
    Ping(u32),
    /// The periodic exchange.
    Periodic,
    /// A join with this address.
    Join { join: u64, to: SocketAddr },
    /// A failed member.
    Reconnect,
    /// A member of a former process.
    Rejoin,
}

/// A join under way.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// Addresses without an answer yet.
    left: usize,
    reached: usize,
    errors: Vec<(SocketAddr, String)>,
}

impl Pool {
    /// Joins the members at these addresses; [`Event::Joined`] says how it went. Events from before are
    /// not delivered.
    pub fn join(&mut self, now: Duration, addrs: &[SocketAddr]) -> u64 {
        self.input(now);
        self.next_stream += 1;
        let join = self.next_stream;
        let left = addrs.len();
        if left == 0 {
            let (reached, errors) = (0, Vec::new());
            self.event(Event::Joined {
                join,
                reached,
                errors,
            });
            return join;
        }
        let joining = Joining {
            left,
            ..Joining::default()
        };
        self.joining.insert(join, joining);
        for &to in addrs {
            self.exchange(to, true, Dialed::Join { join, to });
        }
        join
    }

    /// Sends our state; the answer is theirs.
    pub(super) fn exchange(&mut self, to: SocketAddr, join: bool, purpose: Dialed) {
        let state = self.own_state(join);
        let deadline = self.now + self.config.tcp_timeout;
        self.dial(to, &state, deadline, purpose);
    }

    /// Everything we know.
    pub(super) fn own_state(&self, join: bool) -> Message {
        let user_state = SerfMessage::PushPull(Box::new(self.serf_state())).encode();
        Message::PushPull(Box::new(PushPull {
            join,
            nodes: self.nodes.iter().map(|node| node.state()).collect(),
            user_state: user_state.unwrap_or_default(),
        }))
    }

    /// The plain interval, or a longer one in a large pool.
    pub(super) fn push_pull_interval(&self) -> Duration {
        self.config.push_pull_interval * stretch(self.nodes.len())
    }

    pub(super) fn periodic_push_pull(&mut self) {
        if self.nodes.len() < 2 {
            self.armed.push_pull = false;
            return;
        }
        let at = self.now + self.push_pull_interval();
        self.timers.set(at, Timer::PushPull);
        let own = &self.config.name;
        let fits =
            |node: &super::members::Node| node.status == NodeStatus::Alive && node.name != *own;
        let chosen = self.nodes.random(1, &mut self.rng, fits);
        if let Some(to) = chosen.first().map(|node| node.addr) {
            log::debug!(target: &self.config.loggers[0],
                "memberlist: Initiating push/pull sync with: {to}");
            self.exchange(to, false, Dialed::Periodic);
        }
    }

    /// A stream that was to be opened could not be, or got no answer.
    pub fn stream_failed(&mut self, now: Duration, stream: u64, why: &str) {
        self.input(now);
        if let Some(purpose) = self.dialed.remove(&stream) {
            self.stream_done(purpose, Err(why.to_owned()));
        }
    }

    /// A stream that was opened got this answer.
    pub fn stream_answered(&mut self, now: Duration, stream: u64, bytes: &[u8]) {
        self.input(now);
        let Some(purpose) = self.dialed.remove(&stream) else {
            return;
        };
        let result = match self.envelope.open_stream(bytes) {
            Ok(Message::Error(text)) => Err(Error::Remote(text)),
            Ok(message) => match (&purpose, message) {
                (Dialed::Ping(seq), message) => return self.tcp_answered(*seq, &message),
                (_, Message::PushPull(theirs)) => {
                    let ignore_old = matches!(purpose, Dialed::Join { .. });
                    self.merge(*theirs, ignore_old)
                }
                _ => Err(Error::Malformed("the answer is no push/pull")),
            },
            Err(e) => Err(e),
        };
        self.stream_done(purpose, result.map_err(|e| e.to_string()));
    }

    fn stream_done(&mut self, purpose: Dialed, result: Result<(), String>) {
        if let Err(e) = &result {
            log::debug!(target: &self.config.loggers[0],
                "memberlist: a stream failed: {e} purpose={purpose:?}");
        }
        match purpose {
            Dialed::Ping(_) | Dialed::Periodic => {}
            Dialed::Reconnect => {}
            Dialed::Rejoin => match result {
                Ok(()) => self.announce(),
                Err(_) => self.rejoin_next(),
            },
            Dialed::Join { join, to } => {
                let Some(joining) = self.joining.get_mut(&join) else {
                    return;
                };
                joining.left -= 1;
                match result {
                    Ok(()) => joining.reached += 1,
                    Err(e) => joining.errors.push((to, e)),
                }
                if joining.left > 0 {
                    return;
                }
                let Some(Joining {
                    reached, errors, ..
                }) = self.joining.remove(&join)
                else {
                    return;
                };
                if reached > 0 {
                    self.announce();
                }
                self.event(Event::Joined {
                    join,
                    reached,
                    errors,
                });
            }
        }
    }

    /// Tries the next member of a former process.
    pub(super) fn rejoin_next(&mut self) {
        if let Some(to) = self.rejoin.pop() {
            log::info!(target: &self.config.loggers[1],
                "serf: Attempting re-join to previously known node: {to}");
            self.exchange(to, true, Dialed::Rejoin);
        }
    }

    /// Takes over what another member knows.
    pub(super) fn merge(&mut self, theirs: PushPull, ignore_old: bool) -> Result<(), Error> {
        self.check_versions(&theirs.nodes)?;
        if theirs.join {
            self.check_members(&theirs.nodes)?;
        }
        for node in &theirs.nodes {
            self.merge_node(node);
        }
        if !theirs.user_state.is_empty() {
            match SerfMessage::decode(&theirs.user_state)? {
                SerfMessage::PushPull(state) => {
                    self.merge_serf(*state, theirs.join && ignore_old);
                }
                _ => return Err(Error::Malformed("the user state is none of Serf's")),
            }
        }
        self.arm_gossip();
        self.note_clocks();
        Ok(())
    }

    fn merge_node(&mut self, node: &NodeState) {
        let accusation = |from: &str| Accusation {
            incarnation: node.incarnation,
            node: node.name.clone(),
            from: from.to_owned(),
        };
        match NodeStatus::from_number(node.state) {
            Some(NodeStatus::Alive) => self.on_alive(
                &Alive {
                    incarnation: node.incarnation,
                    node: node.name.clone(),
                    addr: node.addr.clone(),
                    port: node.port,
                    meta: node.meta.clone(),
                    vsn: node.vsn.clone(),
                },
                false,
            ),
            Some(NodeStatus::Left) => self.on_dead(&accusation(&node.name)),
            // What others call dead is to get a chance to defend itself here.
            Some(NodeStatus::Suspect | NodeStatus::Dead) => {
                let own = self.config.name.clone();
                self.on_suspect(&accusation(&own));
            }
            None => {}
        }
    }

    /// All that are alive must understand what all speak.
    fn check_versions(&self, theirs: &[NodeState]) -> Result<(), Error> {
        let versions = |node: &NodeState| Versions::try_from(&node.vsn[..]).ok();
        let alive = theirs
            .iter()
            .filter(|node| node.state == NodeStatus::Alive as i64);
        let ours = self.nodes.iter().filter(|n| n.status == NodeStatus::Alive);
        let everybody = alive.filter_map(versions).chain(ours.map(|n| n.versions));
        let (mut least, mut most) = ([0; 2], [u8::MAX; 2]);
        for [min, max, _, serf_min, serf_max, _] in everybody {
            least = [least[0].max(min), least[1].max(serf_min)];
            most = [most[0].min(max), most[1].min(serf_max)];
        }
        let ours = self.nodes.iter().map(|n| (&n.name, n.versions));
        let theirs = theirs.iter().filter_map(|n| Some((&n.name, versions(n)?)));
        for (name, [_, _, spoken, _, _, serf_spoken]) in theirs.chain(ours) {
            for (layer, spoken) in [spoken, serf_spoken].into_iter().enumerate() {
                let (least, most) = (least[layer], most[layer]);
                if !(least..=most).contains(&spoken) {
                    let what = ["protocol", "delegate protocol"][layer];
                    return Err(Error::Merge(format!(
                        "Node '{name}' {what} version ({spoken}) is incompatible: [{least}, {most}]"
                    )));
                }
            }
        }
        Ok(())
    }

    /// All of them must be allowed in our pool.
    fn check_members(&self, theirs: &[NodeState]) -> Result<(), Error> {
        let tags: Vec<Tags> = theirs.iter().map(|n| tags::decode(&n.meta)).collect();
        let candidates: Vec<Candidate<'_>> = theirs
            .iter()
            .zip(&tags)
            .map(|(node, tags)| Candidate {
                name: &node.name,
                tags,
                left: node.state == NodeStatus::Left as i64,
            })
            .collect();
        self.config.filter.check(&candidates)
    }
}

/// How many times the plain interval a pool of `n` members takes: one more for each time that it is twice as large.
fn stretch(n: usize) -> u32 {
    n.div_ceil(PLAIN_SIZE)
        .checked_next_power_of_two()
        .map_or(usize::BITS, |size| size.ilog2() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pools_exchange_their_states_less_often() {
        for (n, times) in [
            (0, 1),
            (1, 1),
            (32, 1),
            (33, 2),
            (64, 2),
            (65, 3),
            (1000, 6),
        ] {
            assert_eq!(stretch(n), times, "{n}");
        }
    }
}
