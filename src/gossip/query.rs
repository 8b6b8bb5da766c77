//! Queries: asking all members, or some, and answering.
//!
//! Holds true: a query is answered at most once; answers count once for each member, and only until
//! the query's deadline; what is remembered is bounded.
//! Leaves to others: queries about keys (`key_query`) and names (`conflict`).
//! Source: `docs/reference/gossip.md` section 12.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use regex_lite::RegexBuilder;

use super::codec::message::{ip_bytes, parse_ip};
use super::codec::serf::{
    FLAG_ACK, FLAG_NO_BROADCAST, Filter, Query, QueryResponse, Relay, SerfMessage,
};
use super::config::digits;
use super::conflict::Claim;
use super::output::{Asked, Event, KeyOutcome};
use super::pool::user_part;
use super::timer::Timer;
use super::{Error, Pool};
use crate::structs::MemberStatus;
use crate::structs::go::{Bytes, GoDuration};

/// Queries with this in front of their name are Serf's own.
const INTERNAL: &str = "_serf_";
/// Most queries of one time.
const MAX_PER_TIME: usize = 512;
/// Most queries that the application may still answer.
const MAX_ASKED: usize = 1024;
/// Most queries of our own at a time.
const MAX_PENDING: usize = 1024;
/// Most memory of a compiled tag filter.
const MAX_REGEX: usize = 256 << 10;
/// The longest time for answering a query, whatever it asks for.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

/// How to ask.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Who is to answer: who fits all of them.
    pub filters: Vec<Filter>,
    /// Acknowledgements are wanted.
    pub ack: bool,
    /// How many members each answer also goes through.
    pub relay_factor: u8,
    /// How long to wait; by default as the pool's size needs it.
    pub timeout: Option<Duration>,
}

/// What our query is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Application,
    Keys(KeyOutcome),
    Conflict(Claim),
}

/// A query of our own.
#[derive(Debug)]
pub(super) struct Pending {
    ltime: u64,
    deadline: Duration,
    acked: BTreeSet<String>,
    answered: BTreeSet<String>,
    pub purpose: Purpose,
}

/// A query that the application may answer.
#[derive(Debug)]
struct Open {
    to: SocketAddr,
    source: String,
    relay_factor: u8,
    deadline: Duration,
}

/// The queries seen, and those not answered yet.
#[derive(Debug)]
pub(super) struct Queries {
    size: u64,
    min: u64,
    newest: u64,
    slots: BTreeMap<u64, (u64, BTreeSet<u32>)>,
    open: BTreeMap<(u64, u32), Open>,
}

impl Queries {
    /// Goes on behind what a former process has seen.
    pub fn new(size: u64, seen: u64) -> Self {
        Self {
            size: size.max(1),
            min: seen.saturating_add(1),
            newest: seen,
            slots: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// The time of the newest query seen.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Remembers a query; whether it is new.
    fn remember(&mut self, clock: u64, ltime: u64, id: u32) -> bool {
        let old = clock > self.size && ltime < clock - self.size;
        if ltime < self.min || old {
            return false;
        }
        let slot = self.slots.entry(ltime % self.size).or_default();
        if slot.0 != ltime {
            *slot = (ltime, BTreeSet::new());
        }
        if slot.1.len() >= MAX_PER_TIME || !slot.1.insert(id) {
            return false;
        }
        self.newest = self.newest.max(ltime);
        true
    }

    /// An answer would come too late.
    pub fn forget(&mut self, ltime: u64, id: u32) {
        self.open.remove(&(ltime, id));
    }
}

impl Pool {
    /// Asks; [`Event::QueryAnswer`] and [`Event::QueryDone`] come with the number returned.
    ///
    /// # Errors
    /// When it is too large, in Serf's words, or too many are under way.
    pub fn query(
        &mut self,
        now: Duration,
        name: &str,
        payload: &[u8],
        options: &QueryOptions,
    ) -> Result<u32, Error> {
        self.input(now);
        if name.starts_with(INTERNAL) {
            return Err(Error::Request(format!(
                "Queries cannot contain the '{INTERNAL}' prefix"
            )));
        }
        self.ask(name, payload, options, Purpose::Application)
    }

    pub(super) fn ask(
        &mut self,
        name: &str,
        payload: &[u8],
        options: &QueryOptions,
        purpose: Purpose,
    ) -> Result<u32, Error> {
        let config = &self.config;
        if self.pending.len() >= MAX_PENDING {
            return Err(Error::Request("too many queries are under way".to_owned()));
        }
        let usual = config.gossip_interval * config.query_timeout_mult;
        let timeout = options.timeout.unwrap_or(usual * digits(self.alive()));
        let filters: Result<Vec<Bytes>, Error> = options
            .filters
            .iter()
            .map(|f| f.encode().map(Bytes))
            .collect();
        let query = Query {
            ltime: self.query_clock.time(),
            id: self.rng.u32(..1 << 31),
            addr: ip_bytes(config.addr.ip()),
            port: config.addr.port(),
            source_node: config.name.clone(),
            filters: Some(filters?).filter(|f| !f.is_empty()),
            flags: if options.ack { FLAG_ACK } else { 0 },
            relay_factor: options.relay_factor,
            timeout: GoDuration(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX)),
            name: name.to_owned(),
            payload: Some(Bytes(payload.to_vec())),
        };
        let id = query.id;
        let bytes = SerfMessage::Query(Box::new(query.clone())).encode()?;
        if bytes.len() > config.query_size_limit {
            return Err(Error::Request(
                "query exceeds limit of {} bytes"
                    .replace("{}", &config.query_size_limit.to_string()),
            ));
        }
        let deadline = self.now + timeout;
        let pending = Pending {
            ltime: query.ltime,
            deadline,
            acked: BTreeSet::new(),
            answered: BTreeSet::new(),
            purpose,
        };
        self.pending.insert(id, pending);
        self.timers.set(deadline, Timer::QueryEnd(id));
        self.on_query(&query);
        self.queue(|queues| &mut queues.queries, bytes, None);
        self.note_clocks();
        Ok(id)
    }

    /// A query came; whether to pass it on.
    pub(super) fn on_query(&mut self, m: &Query) -> bool {
        self.query_clock.witness(m.ltime);
        let clock = self.query_clock.time();
        if !self.queries.remember(clock, m.ltime, m.id) {
            return false;
        }
        let pass_on = m.flags & FLAG_NO_BROADCAST == 0;
        let Ok(ip) = parse_ip(&m.addr) else {
            return pass_on;
        };
        if !self.is_asked(m) {
            return pass_on;
        }
        let open = Open {
            to: SocketAddr::new(ip, m.port),
            source: m.source_node.clone(),
            relay_factor: m.relay_factor,
            deadline: self.now + m.timeout.to_std().min(MAX_TIMEOUT),
        };
        if m.flags & FLAG_ACK != 0 {
            // An acknowledgement too large to be sent does not exist.
            let _ = self.answer((m.ltime, m.id), &open, FLAG_ACK, None);
        }
        let payload = m.payload.as_deref().unwrap_or_default();
        if let Some(internal) = m.name.strip_prefix(INTERNAL) {
            if let Some(answer) = self.internal_answer(internal, payload, (m.ltime, m.id))
                && let Err(e) = self.answer((m.ltime, m.id), &open, 0, Some(answer))
            {
                log::error!(target: &self.config.loggers[1],
                    "serf: Failed to respond to {}: {e}", m.name);
            }
            return pass_on;
        }
        if self.queries.open.len() < MAX_ASKED {
            let deadline = open.deadline;
            self.timers.set(deadline, Timer::AnswerEnd(m.ltime, m.id));
            self.queries.open.insert((m.ltime, m.id), open);
            self.event(Event::Query(Asked {
                ltime: m.ltime,
                id: m.id,
                source: m.source_node.clone(),
                name: m.name.clone(),
                payload: payload.to_vec(),
                deadline,
            }));
        }
        pass_on
    }

    /// Whether all filters fit us.
    fn is_asked(&self, m: &Query) -> bool {
        let mut filters = m.filters.iter().flatten();
        filters.all(|filter| match Filter::decode(filter) {
            Ok(Filter::Nodes(names)) => names.contains(&self.config.name),
            Ok(Filter::Tag { tag, expr }) => {
                let value = self.config.tags.get(&tag).map_or("", String::as_str);
                let regex = RegexBuilder::new(&expr).size_limit(MAX_REGEX).build();
                regex.is_ok_and(|regex| regex.is_match(value))
            }
            Err(_) => false,
        })
    }

    fn internal_answer(
        &mut self,
        name: &str,
        payload: &[u8],
        query: (u64, u32),
    ) -> Option<Vec<u8>> {
        let answer = match name {
            "conflict" => SerfMessage::Conflict(self.known_as(payload)?),
            "install-key" | "use-key" | "remove-key" | "list-keys" => {
                self.key_answer(name, payload, query)
            }
            // A ping is answered by its acknowledgement alone.
            _ => return None,
        };
        answer.encode().ok()
    }

    /// The bytes of an answer of ours.
    pub(super) fn encode_answer(
        &self,
        (ltime, id): (u64, u32),
        flags: u32,
        payload: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Error> {
        let limit = self.config.query_response_size_limit;
        let message = SerfMessage::QueryResponse(QueryResponse {
            ltime,
            id,
            from: self.config.name.clone(),
            flags,
            payload: payload.map(Bytes),
        });
        let bytes = message.encode()?;
        if bytes.len() > limit {
            return Err(Error::Request(format!(
                "response exceeds limit of {limit} bytes"
            )));
        }
        Ok(bytes)
    }

    fn answer(
        &mut self,
        query: (u64, u32),
        open: &Open,
        flags: u32,
        payload: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let bytes = self.encode_answer(query, flags, payload)?;
        self.send(open.to, vec![user_part(&bytes)], false);
        let relays = usize::from(open.relay_factor);
        if relays == 0 || self.members.len() < relays + 1 {
            return Ok(());
        }
        let own = &self.config.name;
        let members = &self.members;
        let through = self.nodes.random(relays, &mut self.rng, |node| {
            let alive = members
                .get(&node.name)
                .is_some_and(|m| m.status == MemberStatus::Alive);
            alive && node.name != *own && node.takes_crc()
        });
        let through: Vec<SocketAddr> = through.iter().map(|node| node.addr).collect();
        let relay = SerfMessage::Relay(Relay {
            to: open.to,
            name: open.source.clone(),
            message: bytes,
        });
        let relay = user_part(&relay.encode()?);
        for addr in through {
            self.send(addr, vec![relay.clone()], false);
        }
        Ok(())
    }

    /// Answers a query of [`Event::Query`].
    ///
    /// # Errors
    /// When it is over, was answered, or the answer is too large.
    pub fn respond(
        &mut self,
        now: Duration,
        ltime: u64,
        id: u32,
        payload: &[u8],
    ) -> Result<(), Error> {
        self.input(now);
        let refused = |text: &str| Error::Request(text.to_owned());
        let open = self.queries.open.remove(&(ltime, id));
        let open = open.ok_or_else(|| refused("response already sent"))?;
        if self.now > open.deadline {
            return Err(refused("response is past the deadline"));
        }
        self.answer((ltime, id), &open, 0, Some(payload.to_vec()))
    }

    /// An answer to a query of ours.
    pub(super) fn on_query_response(&mut self, m: QueryResponse) {
        let now = self.now;
        let Some(pending) = self.pending.get_mut(&m.id) else {
            return;
        };
        // Only as many as there can be members; names are somebody else's to choose.
        let most = self.members.len().max(1);
        if pending.ltime != m.ltime || now > pending.deadline {
            return;
        }
        let (query, from) = (m.id, m.from);
        if m.flags & FLAG_ACK != 0 {
            if pending.acked.len() < most && pending.acked.insert(from.clone()) {
                self.event(Event::QueryAck { query, from });
            }
            return;
        }
        if pending.answered.len() >= most || !pending.answered.insert(from.clone()) {
            return;
        }
        let payload = m.payload.unwrap_or_default().0;
        match &mut pending.purpose {
            Purpose::Application => self.event(Event::QueryAnswer {
                query,
                from,
                payload,
            }),
            Purpose::Keys(outcome) => {
                outcome.add(&from, &payload);
                if outcome.responses >= outcome.nodes {
                    self.query_ended(query);
                }
            }
            Purpose::Conflict(claim) => claim.add(&payload),
        }
    }

    /// A query of ours waits no longer.
    pub(super) fn query_ended(&mut self, query: u32) {
        let Some(pending) = self.pending.remove(&query) else {
            return;
        };
        match pending.purpose {
            Purpose::Application => self.event(Event::QueryDone { query }),
            Purpose::Keys(outcome) => self.event(Event::Keys { query, outcome }),
            Purpose::Conflict(claim) => self.conflict_resolved(&claim),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_new_once() {
        let mut queries = Queries::new(8, 3);
        assert!(!queries.remember(5, 3, 1));
        assert!(queries.remember(5, 4, 1));
        assert!(!queries.remember(5, 4, 1));
        assert!(queries.remember(5, 4, 2));
        assert!(!queries.remember(20, 4, 3));
        assert_eq!(queries.newest(), 4);
        let news = (0..2000).filter(|id| queries.remember(20, 19, *id));
        assert_eq!(news.count(), MAX_PER_TIME);
    }
}
