//! User events: fired once, delivered everywhere once.
//!
//! Holds true: an event is delivered at most once as long as it is within the buffer, and not at all when
//! it is older; what is remembered is bounded in number and size.
//! Source: `docs/reference/gossip.md` sections 11.3 and 11.4.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::codec::serf::{Join, Leave, PastEvent, PastEvents, SerfMessage, State, UserEvent};
use super::output::Event;
use super::{Error, Pool};
use crate::structs::MemberStatus;
use crate::structs::go::Bytes;

/// Most bytes of an event, whatever is configured.
const HARD_LIMIT: usize = 9 << 10;
/// Bytes of all events that are remembered, at most; beyond, the oldest are forgotten and count as too old.
const MAX_BYTES: usize = 2 << 20;
/// What an event costs beside its bytes.
const OVERHEAD: usize = 64;
/// Most events of one time.
const MAX_PER_TIME: usize = 64;

/// The recent events.
#[derive(Debug)]
pub(super) struct Events {
    size: u64,
    /// Events before this are not delivered.
    min: u64,
    newest: u64,
    /// Of all that is remembered.
    bytes: usize,
    slots: BTreeMap<u64, PastEvents>,
}

impl Events {
    /// Goes on behind what a former process has delivered.
    pub fn new(size: u64, delivered: u64) -> Self {
        Self {
            size: size.max(1),
            min: delivered.saturating_add(1),
            newest: delivered,
            bytes: 0,
            slots: BTreeMap::new(),
        }
    }

    /// The time of the newest event delivered.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Remembers an event; whether it is new. `clock` is the event clock.
    fn remember(&mut self, clock: u64, m: &UserEvent) -> bool {
        let old = clock > self.size && m.ltime < clock - self.size;
        if m.ltime < self.min || old {
            return false;
        }
        let slot = self.slots.entry(m.ltime % self.size).or_default();
        if slot.ltime != m.ltime {
            self.bytes -= size_of(slot);
            *slot = PastEvents {
                ltime: m.ltime,
                events: None,
            };
        }
        let event = PastEvent {
            name: m.name.clone(),
            payload: m.payload.clone(),
        };
        let events = slot.events.get_or_insert_default();
        if events.len() >= MAX_PER_TIME || events.contains(&event) {
            return false;
        }
        self.bytes += size(&event);
        events.push(event);
        self.newest = self.newest.max(m.ltime);
        self.shrink();
        true
    }

    /// Forgets the oldest while there is too much.
    fn shrink(&mut self) {
        while self.bytes > MAX_BYTES {
            let oldest = self.slots.iter().min_by_key(|(_, slot)| slot.ltime);
            let Some(slot) = oldest
                .map(|(at, _)| *at)
                .and_then(|at| self.slots.remove(&at))
            else {
                return;
            };
            self.bytes -= size_of(&slot);
            self.min = self.min.max(slot.ltime.saturating_add(1));
        }
    }
}

fn size(event: &PastEvent) -> usize {
    OVERHEAD + event.name.len() + event.payload.as_ref().map_or(0, |p| p.len())
}

fn size_of(slot: &PastEvents) -> usize {
    slot.events.iter().flatten().map(size).sum()
}

impl Pool {
    /// Fires an event; it is delivered here too.
    ///
    /// # Errors
    /// When it is too large, in Serf's words.
    pub fn user_event(
        &mut self,
        now: Duration,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<(), Error> {
        self.input(now);
        let limit = self.config.user_event_size_limit;
        if name.len() + payload.len() > limit {
            return Err(Error::Request(format!(
                "user event exceeds configured limit of {limit} bytes before encoding"
            )));
        }
        let event = UserEvent {
            ltime: self.event_clock.time(),
            name: name.to_owned(),
            payload: Some(Bytes(payload.to_vec())),
            coalesce,
        };
        let bytes = SerfMessage::UserEvent(event.clone()).encode()?;
        if bytes.len() > limit.min(HARD_LIMIT) {
            return Err(Error::Request(format!(
                "user event exceeds configured limit of {limit} bytes after encoding"
            )));
        }
        self.event_clock.increment();
        self.on_user_event(event);
        self.queue(|queues| &mut queues.events, bytes, None);
        self.note_clocks();
        Ok(())
    }

    /// An event came; whether to pass it on.
    pub(super) fn on_user_event(&mut self, m: UserEvent) -> bool {
        self.event_clock.witness(m.ltime);
        let size = m.name.len() + m.payload.as_ref().map_or(0, |p| p.len());
        if size > HARD_LIMIT || !self.events.remember(self.event_clock.time(), &m) {
            return false;
        }
        self.event(Event::User {
            ltime: m.ltime,
            name: m.name,
            payload: m.payload.unwrap_or_default().0,
            coalesce: m.coalesce,
        });
        true
    }

    /// What a push/pull says about the part above memberlist.
    pub(super) fn serf_state(&self) -> State {
        let members = self.members.values();
        let left = members.clone().filter(|m| m.status == MemberStatus::Left);
        State {
            ltime: self.clock.time(),
            status_ltimes: Some(members.map(|m| (m.name.clone(), m.status_ltime)).collect()),
            left_members: Some(left.map(|m| m.name.clone()).collect()),
            event_ltime: self.event_clock.time(),
            events: Some(self.events.slots.values().cloned().map(Some).collect()),
            query_ltime: self.query_clock.time(),
        }
    }

    /// Takes over what another member knows. Nothing of it is passed on.
    pub(super) fn merge_serf(&mut self, state: State, ignore_old: bool) {
        self.clock.witness(state.ltime.saturating_sub(1));
        self.event_clock
            .witness(state.event_ltime.saturating_sub(1));
        self.query_clock
            .witness(state.query_ltime.saturating_sub(1));
        let own = self
            .members
            .get(&self.config.name)
            .map_or(0, |m| m.status_ltime);
        let left: BTreeSet<&str> = state
            .left_members
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        for (name, ltime) in state.statuses() {
            let status = self.members.get(name).map(|member| member.status);
            let known = matches!(status, Some(MemberStatus::Leaving | MemberStatus::Left));
            if !left.contains(name) {
                self.on_join_intent(&Join {
                    ltime,
                    node: name.to_owned(),
                });
            } else if !known {
                // The time of the leave itself is not said; it was after that of the status before. Said
                // again about who has left already, it would only make times grow with each exchange.
                self.on_leave_intent(&Leave {
                    ltime: ltime.saturating_add(1),
                    node: name.to_owned(),
                    prune: false,
                });
            }
        }
        let about_us = |(name, ltime): (&str, u64)| self.is_self(name) && ltime > own;
        if state.statuses().any(about_us) && self.is_running() {
            // Somebody may have heard of an old leave after our last join.
            self.announce();
        }
        if ignore_old {
            self.events.min = self.events.min.max(state.event_ltime);
        }
        for past in state.events.into_iter().flatten().flatten() {
            for event in past.events.into_iter().flatten() {
                self.on_user_event(UserEvent {
                    ltime: past.ltime,
                    name: event.name,
                    payload: event.payload,
                    coalesce: false,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ltime: u64, name: &str) -> UserEvent {
        UserEvent {
            ltime,
            name: name.to_owned(),
            ..UserEvent::default()
        }
    }

    #[test]
    fn events_are_new_once() {
        let mut events = Events::new(8, 0);
        assert!(events.remember(2, &event(1, "a")));
        assert!(!events.remember(2, &event(1, "a")));
        assert!(events.remember(2, &event(1, "b")));
        assert!(
            events.remember(10, &event(9, "a")),
            "the slot is used again"
        );
        assert!(!events.remember(11, &event(1, "a")), "too old");
        assert_eq!(events.newest(), 9);
    }

    #[test]
    fn what_a_former_process_delivered_is_not_delivered_again() {
        let mut events = Events::new(8, 5);
        assert!(!events.remember(6, &event(5, "a")));
        assert!(events.remember(7, &event(6, "a")));
    }

    #[test]
    fn one_time_has_a_bounded_number_of_events() {
        let mut events = Events::new(8, 0);
        let news = (0..200).filter(|n| events.remember(2, &event(1, &n.to_string())));
        assert_eq!(news.count(), MAX_PER_TIME);
    }
}
