//! What a member writes down to find back into its pool: who was alive, and the clocks.
//!
//! Holds true: replaying what was written gives what was known; nothing is written after a graceful leave.
//! Leaves to others: the file, and flushing it (`drive`).
//! Source: `docs/reference/gossip.md` section 14.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use super::codec::push_pull::MAX_MEMBERS;

/// The file is rewritten when it is longer than this...
const MIN_COMPACT: usize = 128 << 10;
/// ...and than twice this per member.
const BYTES_PER_MEMBER: usize = 128;

/// What a snapshot says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Who was alive, and where.
    pub alive: BTreeMap<String, SocketAddr>,
    /// Last time seen of the member clock.
    pub clock: u64,
    /// Last time seen of the event clock.
    pub event_clock: u64,
    /// Last time seen of the query clock.
    pub query_clock: u64,
}

/// Reads a snapshot. Lines that make no sense are left out, as is a last line without an end.
pub fn replay(text: &str, rejoin_after_leave: bool) -> Replayed {
    let mut found = Replayed::default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let (what, rest) = line.split_once(": ").unwrap_or((line, ""));
        let number = |old: u64| rest.parse().unwrap_or(old);
        match what {
            "alive" => {
                let place = rest.rsplit_once(' ');
                let place = place.and_then(|(name, addr)| Some((name, addr.parse().ok()?)));
                if let Some((name, addr)) = place.filter(|_| found.alive.len() < MAX_MEMBERS) {
                    found.alive.insert(name.to_owned(), addr);
                }
            }
            "not-alive" => drop(found.alive.remove(rest)),
            "clock" => found.clock = number(found.clock),
            "event-clock" => found.event_clock = number(found.event_clock),
            "query-clock" => found.query_clock = number(found.query_clock),
            "leave" if !rejoin_after_leave => found = Replayed::default(),
            _ => {}
        }
    }
    found
}

/// What is to be done with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Append this.
    Append(String),
    /// Put this in place of all of it.
    Replace(String),
}

/// Notes down what changes.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    known: Replayed,
    /// Lines not handed out yet.
    pending: String,
    /// Bytes of the file, the pending ones included.
    size: usize,
    left: bool,
}

impl Snapshot {
    /// Goes on where a former process ended; begins by rewriting the file.
    pub fn new(previous: &Replayed) -> Self {
        Self {
            known: previous.clone(),
            size: usize::MAX,
            ..Self::default()
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if self.left {
            return;
        }
        let before = self.pending.len();
        // Writing to a String cannot fail.
        let _ = writeln!(self.pending, "{line}");
        self.size = self.size.saturating_add(self.pending.len() - before);
    }

    /// What has been noted down.
    pub fn known(&self) -> &Replayed {
        &self.known
    }

    /// Whether something waits to be written.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    pub fn alive(&mut self, name: &str, addr: SocketAddr) {
        self.known.alive.insert(name.to_owned(), addr);
        self.line(format_args!("alive: {name} {addr}"));
    }

    pub fn not_alive(&mut self, name: &str) {
        self.known.alive.remove(name);
        self.line(format_args!("not-alive: {name}"));
    }

    /// The times last seen of the three clocks, noted down where they have grown.
    pub fn clocks(&mut self, clock: u64, event: u64, query: u64) {
        if clock > self.known.clock {
            self.known.clock = clock;
            self.line(format_args!("clock: {clock}"));
        }
        if event > self.known.event_clock {
            self.known.event_clock = event;
            self.line(format_args!("event-clock: {event}"));
        }
        if query > self.known.query_clock {
            self.known.query_clock = query;
            self.line(format_args!("query-clock: {query}"));
        }
    }

    /// A graceful leave; nothing is noted down afterwards.
    pub fn leave(&mut self) {
        self.line(format_args!("leave"));
        self.left = true;
    }

    /// What is to be written now.
    pub fn flush(&mut self) -> Option<Write> {
        let most = MIN_COMPACT.max(BYTES_PER_MEMBER * self.known.alive.len() * 2);
        if self.size > most && !self.left {
            let whole = self.whole();
            self.size = whole.len();
            self.pending.clear();
            return Some(Write::Replace(whole));
        }
        let lines = std::mem::take(&mut self.pending);
        (!lines.is_empty()).then_some(Write::Append(lines))
    }

    fn whole(&self) -> String {
        let mut text = String::new();
        for (name, addr) in &self.known.alive {
            let _ = writeln!(text, "alive: {name} {addr}");
        }
        let known = &self.known;
        let _ = writeln!(text, "clock: {}", known.clock);
        let _ = writeln!(text, "event-clock: {}", known.event_clock);
        let _ = writeln!(text, "query-clock: {}", known.query_clock);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 8301))
    }

    #[test]
    fn what_was_written_is_what_is_known() {
        let mut snapshot = Snapshot::new(&Replayed::default());
        let Some(Write::Replace(mut text)) = snapshot.flush() else {
            panic!("a new file")
        };
        snapshot.alive("a", addr(1));
        snapshot.alive("name with blanks", "[fe80::1]:8301".parse().unwrap());
        snapshot.clocks(3, 2, 0);
        snapshot.not_alive("a");
        snapshot.clocks(3, 1, 5);
        let Some(Write::Append(more)) = snapshot.flush() else {
            panic!("more lines")
        };
        assert_eq!(snapshot.flush(), None);
        text.push_str(&more);
        assert_eq!(replay(&text, false), snapshot.known);
        assert_eq!(snapshot.known.alive.len(), 1);
        assert_eq!(replay(&snapshot.whole(), false), snapshot.known);
        snapshot.leave();
        snapshot.alive("b", addr(2));
        let Some(Write::Append(more)) = snapshot.flush() else {
            panic!("the leave")
        };
        assert_eq!(more, "leave\n");
        text.push_str(&more);
        assert_eq!(replay(&text, false), Replayed::default());
        assert_eq!(replay(&text, true).clock, 3);
    }

    #[test]
    fn long_files_are_rewritten() {
        let mut snapshot = Snapshot::new(&Replayed::default());
        snapshot.flush();
        let mut replaced = 0;
        for n in 0..20_000 {
            snapshot.alive("a", addr(1));
            snapshot.clocks(n, 0, 0);
            replaced += u32::from(matches!(snapshot.flush(), Some(Write::Replace(_))));
        }
        assert!((2..10).contains(&replaced), "{replaced}");
    }

    #[test]
    fn damaged_lines_are_left_out() {
        let text =
            "alive: a 10.0.0.1:8301\nalive: b nowhere\nclock: x\n#c\n\nalive: c 10.0.0.3:8301";
        let found = replay(text, false);
        assert_eq!(found.alive.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(found.clock, 0);
    }
}
