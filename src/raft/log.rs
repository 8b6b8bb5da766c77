//! The log as the core sees it: a tail in memory over a reader of the disk.
//!
//! It holds true: entries above `base` are without gaps up to `last`; everything not yet persisted is in
//! the tail; `stable` never exceeds what is on disk under the same terms. Three marks rise in this order:
//! `stable` (synced), `offered` (handed to the driver for writing), `last`.
//! Leaves out what entries mean and when they are committed.
//! Source: Raft paper 5.3; thesis 10.2.1 for writing beside replicating.

use std::collections::VecDeque;

use super::types::{Entry, LogError, LogReader, SnapshotMeta};

pub(super) struct Log {
    reader: Box<dyn LogReader>,
    max_tail_bytes: usize,
    /// Index and term just before the first entry.
    base: (u64, u64),
    /// Index and term of the last entry, or `base`.
    last: (u64, u64),
    /// The newest entries, ending at `last`.
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    unstable_bytes: usize,
    offered: u64,
    stable: u64,
    truncate_from: Option<u64>,
}

impl Log {
    /// Joins what precedes the log with what the disk holds. The flag says that the disk's entries do
    /// not continue `base` (a crash between installing a snapshot and clearing the log): they are
    /// ignored and have to be cleared.
    pub fn open(
        reader: Box<dyn LogReader>,
        base: &SnapshotMeta,
        max_tail_bytes: usize,
    ) -> Result<(Log, bool), LogError> {
        let (first, last) = (reader.first_index(), reader.last_index());
        let start = (base.index, base.term);
        let mut log = Log {
            reader,
            max_tail_bytes,
            base: start,
            last: start,
            tail: VecDeque::new(),
            tail_bytes: 0,
            unstable_bytes: 0,
            offered: base.index,
            stable: base.index,
            truncate_from: None,
        };
        if last == 0 {
            return Ok((log, false));
        }
        if first > base.index + 1 {
            return Err(LogError(format!(
                "the Raft log begins at index {first}, but the state before it ends at {}; \
                 restore both from the same backup",
                base.index
            )));
        }
        let continues = last >= base.index
            && (base.index < first || log.reader.term(base.index)? == Some(base.term));
        if !continues {
            return Ok((log, true));
        }
        if last > base.index {
            let term = log.reader.term(last)?;
            let term = term.ok_or_else(|| missing(last))?;
            log.last = (last, term);
            log.offered = last;
            log.stable = last;
        }
        Ok((log, false))
    }

    pub fn reader(&self) -> &dyn LogReader {
        self.reader.as_ref()
    }

    pub fn base_index(&self) -> u64 {
        self.base.0
    }

    pub fn last_index(&self) -> u64 {
        self.last.0
    }

    pub fn last_term(&self) -> u64 {
        self.last.1
    }

    pub fn stable(&self) -> u64 {
        self.stable
    }

    pub fn unstable_bytes(&self) -> usize {
        self.unstable_bytes
    }

    fn tail_first(&self) -> u64 {
        self.last.0 + 1 - self.tail.len() as u64
    }

    /// The term at `index`; `None` before `base` and behind the end.
    pub fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        if index == self.last.0 {
            return Ok(Some(self.last.1));
        }
        if index == self.base.0 {
            return Ok(Some(self.base.1));
        }
        if index < self.base.0 || index > self.last.0 {
            return Ok(None);
        }
        match index.checked_sub(self.tail_first()) {
            Some(at) => Ok(self.tail.get(at as usize).map(|e| e.term)),
            None => match self.reader.term(index)? {
                Some(term) => Ok(Some(term)),
                None => Err(missing(index)),
            },
        }
    }

    /// Entries `lo..=hi`, at most `max_entries`, and at most `max_bytes` unless the first is larger.
    pub fn slice(
        &self,
        lo: u64,
        hi: u64,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let hi = hi
            .min(self.last.0)
            .min(lo.saturating_add(max_entries as u64 - 1));
        if lo <= self.base.0 || lo > hi {
            return Ok(Vec::new());
        }
        let mut out = Vec::new();
        match lo.checked_sub(self.tail_first()) {
            Some(at) => {
                let wanted = self.tail.iter().skip(at as usize);
                out.extend(wanted.take((hi - lo + 1) as usize).cloned());
            }
            None => {
                let hi = hi.min(self.tail_first() - 1);
                out = self.reader.entries(lo, hi, max_bytes)?;
                let holds = |(i, e): (usize, &Entry)| e.index == lo + i as u64;
                if out.is_empty() || !out.iter().enumerate().all(holds) {
                    return Err(missing(lo));
                }
                out.truncate((hi - lo + 1) as usize);
            }
        }
        let mut bytes = 0;
        let fits = out.iter().take_while(|e| {
            bytes += e.size();
            bytes <= max_bytes
        });
        let fits = fits.count().max(1);
        out.truncate(fits);
        Ok(out)
    }

    /// Adds entries that follow the last one.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            debug_assert_eq!(entry.index, self.last.0 + 1);
            self.tail_bytes += entry.size();
            self.unstable_bytes += entry.size();
            self.last = (entry.index, entry.term);
            self.tail.push_back(entry);
        }
    }

    /// Drops every entry from `from` on.
    pub fn truncate(&mut self, from: u64) -> Result<(), LogError> {
        debug_assert!(from > self.base.0 && from <= self.last.0);
        let before = self.term(from - 1)?.ok_or_else(|| missing(from - 1))?;
        while self.tail.back().is_some_and(|e| e.index >= from) {
            let Some(entry) = self.tail.pop_back() else {
                break;
            };
            self.tail_bytes -= entry.size();
            if entry.index > self.stable {
                self.unstable_bytes -= entry.size();
            }
        }
        self.last = (from - 1, before);
        if from <= self.offered {
            let earlier = self.truncate_from.unwrap_or(from);
            self.truncate_from = Some(earlier.min(from));
        }
        self.offered = self.offered.min(from - 1);
        self.stable = self.stable.min(from - 1);
        Ok(())
    }

    /// Starts anew after a snapshot: no entries, the next one follows `meta`.
    pub fn reset(&mut self, meta: &SnapshotMeta) {
        self.base = (meta.index, meta.term);
        self.last = self.base;
        self.tail.clear();
        self.tail_bytes = 0;
        self.unstable_bytes = 0;
        self.offered = meta.index;
        self.stable = meta.index;
        self.truncate_from = None;
    }

    /// Forgets entries up to `index`, which must be persisted and has this term.
    pub fn compact(&mut self, index: u64, term: u64) {
        self.base = (index, term);
        while self.tail.front().is_some_and(|e| e.index <= index) {
            self.pop_front();
        }
    }

    /// What the next write must do to the log: where to cut, and what to append.
    pub fn take_unwritten(&mut self) -> (Option<u64>, Vec<Entry>) {
        let skip = (self.offered + 1).saturating_sub(self.tail_first()) as usize;
        let entries = self.tail.iter().skip(skip).cloned().collect();
        self.offered = self.last.0;
        (self.truncate_from.take(), entries)
    }

    pub fn has_unwritten(&self) -> bool {
        self.truncate_from.is_some() || self.offered < self.last.0
    }

    /// Everything up to `index` is on disk. The caller lowers `index` for entries cut since.
    pub fn persisted(&mut self, index: u64) {
        if index <= self.stable {
            return;
        }
        let skip = (self.stable + 1).saturating_sub(self.tail_first()) as usize;
        let newly = self.tail.iter().skip(skip);
        let bytes: usize = newly
            .take((index - self.stable) as usize)
            .map(Entry::size)
            .sum();
        self.unstable_bytes -= bytes;
        self.stable = index;
        self.evict();
    }

    fn evict(&mut self) {
        let stable = self.stable;
        while self.tail_bytes > self.max_tail_bytes
            && self.tail.front().is_some_and(|e| e.index <= stable)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.tail.pop_front() {
            self.tail_bytes -= entry.size();
        }
    }
}

fn missing(index: u64) -> LogError {
    LogError(format!(
        "the Raft log has no entry {index} where one must be"
    ))
}
