//! User events: firing them through a server, and the buffer of those that reached this agent.
//!
//! Holds true: the buffer keeps the newest [`MAX_EVENTS`] events whose filters this agent meets.
//! Leaves to others: how an event travels (`server`, `gossip`).
//! Source: `docs/reference/http-1.md` section 5.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use event_listener::{Event, EventListener};
use regex_lite::Regex;

use crate::structs::go::quote;
use crate::structs::{Error, Result, UserEvent};

use super::local::State;

/// How many events an agent remembers.
pub const MAX_EVENTS: usize = 256;
/// Name of the event that starts remote execution, which this agent never does.
const REMOTE_EXEC: &str = "_rexec";
/// Longest regular expression of a filter, in bytes; the whole event is limited to less by gossip.
const MAX_PATTERN: usize = 4096;

/// The events that reached this agent.
#[derive(Default)]
pub struct Buffer {
    events: Mutex<VecDeque<Arc<UserEvent>>>,
    pushed: Event,
}

impl Buffer {
    /// Remembers an event, forgetting the oldest when there are too many.
    pub fn push(&self, event: UserEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= MAX_EVENTS {
            events.pop_front();
        }
        events.push_back(Arc::new(event));
        drop(events);
        self.pushed.notify(usize::MAX);
    }

    /// The events with this name (all when empty), oldest first.
    pub fn list(&self, name: &str) -> Vec<Arc<UserEvent>> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = events.iter().filter(|e| name.is_empty() || e.name == name);
        wanted.cloned().collect()
    }

    /// Resolves with the next event. Listen first, look afterwards.
    pub fn listen(&self) -> EventListener {
        self.pushed.listen()
    }
}

/// The index of a list of events: a digest of the newest one's ID, 1 when there is none. It does not grow.
pub fn list_index(events: &[Arc<UserEvent>]) -> u64 {
    events.last().map_or(1, |e| id_index(&e.id))
}

/// XOR of the two halves of a UUID.
pub fn id_index(id: &str) -> u64 {
    let hex: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |from: usize| {
        let part = hex.get(from..from + 16)?;
        u64::from_str_radix(part, 16).ok()
    };
    match (half(0), half(16)) {
        (Some(a), Some(b)) => a ^ b,
        _ => 1,
    }
}

/// Checks what a user asks to fire.
///
/// # Errors
/// Consul's text for each defect.
pub fn validate(event: &UserEvent) -> Result<()> {
    if event.name.is_empty() {
        return Err(Error::new("User event missing name"));
    }
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(Error::new(
            "Cannot provide tag filter without service filter",
        ));
    }
    for (what, pattern) in [
        ("node", &event.node_filter),
        ("service", &event.service_filter),
        ("tag", &event.tag_filter),
    ] {
        regex(pattern).map_err(|text| Error::new(format!("Invalid {what} filter: {text}")))?;
    }
    Ok(())
}

fn regex(pattern: &str) -> std::result::Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err("error parsing regexp: expression too large".to_owned());
    }
    Regex::new(pattern).map_err(|e| go_regex_error(pattern, &e.to_string()))
}

/// Go's words for the commonest mistakes in a regular expression.
pub(crate) fn go_regex_error(pattern: &str, text: &str) -> String {
    let rest = |c: char| pattern.rfind(c).map_or(pattern, |at| &pattern[at..]);
    if text.contains("character class") || text.contains("']'") {
        format!("error parsing regexp: missing closing ]: `{}`", rest('['))
    } else if text.contains("unclosed group") || text.contains("open group") {
        format!("error parsing regexp: missing closing ): `{pattern}`")
    } else if text.contains("unopened group") || text.contains("closing parenthesis") {
        format!("error parsing regexp: unexpected ): `{pattern}`")
    } else if text.contains("repetition") {
        let operator = pattern.chars().find(|c| "*+?{".contains(*c)).unwrap_or('*');
        format!("error parsing regexp: missing argument to repetition operator: `{operator}`")
    } else {
        format!("error parsing regexp: {text}: {}", quote(pattern))
    }
}

/// Whether an event that reached this agent is meant for it.
pub fn is_for(event: &UserEvent, state: &State) -> bool {
    if event.name == REMOTE_EXEC || event.version > crate::structs::USER_EVENT_VERSION {
        return false;
    }
    let matcher = |pattern: &str| regex(pattern).ok();
    if !event.node_filter.is_empty() {
        let Some(node) = matcher(&event.node_filter) else {
            return false;
        };
        if !node.is_match(&state.identity().node) {
            return false;
        }
    }
    if event.service_filter.is_empty() {
        return true;
    }
    let Some(service) = matcher(&event.service_filter) else {
        return false;
    };
    let Some(tag) = matcher(&event.tag_filter) else {
        return false;
    };
    state.services().values().any(|s| {
        let tags = s.tags.as_deref().unwrap_or(&[]);
        service.is_match(&s.service)
            && (event.tag_filter.is_empty() || tags.iter().any(|t| tag.is_match(t)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize) -> UserEvent {
        UserEvent {
            id: format!("00000000-0000-0000-0000-{n:012x}"),
            name: if n.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            ..UserEvent::default()
        }
    }

    #[test]
    fn the_buffer_forgets_the_oldest() {
        let buffer = Buffer::default();
        assert_eq!(list_index(&buffer.list("")), 1);
        for n in 0..MAX_EVENTS + 3 {
            buffer.push(event(n));
        }
        let all = buffer.list("");
        assert_eq!(all.len(), MAX_EVENTS);
        assert_eq!(*all[0], event(3));
        assert_eq!(buffer.list("odd").len(), MAX_EVENTS / 2);
        assert_eq!(list_index(&all), (MAX_EVENTS + 2) as u64);
    }

    #[test]
    fn the_index_is_a_digest_of_the_id() {
        assert_eq!(
            id_index("29ec334e-6365-63a0-d38b-c6b42e6201ef"),
            0x29ec334e636563a0 ^ 0xd38bc6b42e6201ef
        );
        assert_eq!(id_index("short"), 1);
    }

    #[test]
    fn filters_are_checked_in_consuls_words() {
        let bad = UserEvent {
            name: "e".into(),
            node_filter: "[".into(),
            ..UserEvent::default()
        };
        let text = validate(&bad).map_err(|e| e.to_string());
        assert_eq!(
            text,
            Err("Invalid node filter: error parsing regexp: missing closing ]: `[`".to_owned())
        );
        let tag_only = UserEvent {
            name: "e".into(),
            tag_filter: "x".into(),
            ..UserEvent::default()
        };
        assert!(validate(&tag_only).is_err_and(|e| e.is("tag filter without service")));
    }
}
