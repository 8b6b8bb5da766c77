//! Keys read lately, held in memory, so that asking for the same key again asks no database.
//!
//! Holds true: what is given out is what the last acknowledged write left, and never older than what any reader
//! has seen: a batch's keys are forgotten before it commits, and nothing is taken in until it is published; what
//! is held has a maximum of bytes and starts anew beyond it.
//! Leaves to others: who may read (`server`), which keys a batch changes (`watch`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::structs::DirEntry;

/// Bytes held, of keys and values.
const MAX_BYTES: usize = 256 << 10;
/// Larger entries are not held: the copying would cost more than the reading.
const MAX_ENTRY: usize = 8 << 10;
/// What an entry takes beside its texts, about.
const OVERHEAD: usize = 256;

/// The keys read lately.
#[derive(Debug, Default)]
pub(super) struct HotKeys(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    map: HashMap<String, Arc<DirEntry>>,
    bytes: usize,
    /// A batch commits: what a reader brings now may be older than it.
    closed: bool,
}

impl Held {
    fn clear(&mut self) {
        self.map = HashMap::new();
        self.bytes = 0;
    }
}

fn weight(entry: &DirEntry) -> usize {
    2 * entry.key.len() + entry.value.0.len() + entry.session.len() + OVERHEAD
}

impl HotKeys {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a key, if it was read lately and not written since.
    pub fn get(&self, key: &str) -> Option<Arc<DirEntry>> {
        self.lock().map.get(key).cloned()
    }

    /// Takes in an entry that was read; `still_true` says whether it was not written since.
    pub fn put(&self, entry: &DirEntry, still_true: impl FnOnce() -> bool) {
        let weight = weight(entry);
        if weight > MAX_ENTRY {
            return;
        }
        let mut held = self.lock();
        if held.closed || !still_true() {
            return;
        }
        if held.bytes + weight > MAX_BYTES {
            held.clear();
        }
        if let Some(old) = held.map.insert(entry.key.clone(), Arc::new(entry.clone())) {
            held.bytes -= self::weight(&old);
        }
        held.bytes += weight;
    }

    /// A batch is about to commit that writes these keys, or more than can be named.
    pub fn close<'k>(&self, keys: Option<impl Iterator<Item = &'k [u8]>>) {
        let mut held = self.lock();
        held.closed = true;
        if held.map.is_empty() {
            return;
        }
        let Some(keys) = keys else {
            return held.clear();
        };
        for key in keys.filter_map(|key| std::str::from_utf8(key).ok()) {
            if let Some(old) = held.map.remove(key) {
                held.bytes -= weight(&old);
            }
        }
    }

    /// The batch is published, or was given up.
    pub fn open(&self) {
        self.lock().closed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structs::go::Bytes;

    const NONE: Option<std::iter::Empty<&[u8]>> = None;

    fn entry(key: &str, size: usize) -> DirEntry {
        DirEntry {
            key: key.to_owned(),
            value: Bytes(vec![7; size]),
            ..DirEntry::default()
        }
    }

    fn keys<'k>(list: &[&'k str]) -> Option<impl Iterator<Item = &'k [u8]>> {
        Some(
            list.iter()
                .map(|key| key.as_bytes())
                .collect::<Vec<_>>()
                .into_iter(),
        )
    }

    #[test]
    fn a_written_key_is_forgotten_before_its_commit() {
        let hot = HotKeys::default();
        hot.put(&entry("a", 1), || true);
        hot.put(&entry("b", 1), || true);
        hot.close(keys(&["a"]));
        assert!(hot.get("a").is_none() && hot.get("b").is_some());
        // A reader that began before the commit.
        hot.put(&entry("a", 1), || true);
        assert!(hot.get("a").is_none());
        hot.open();
        hot.put(&entry("a", 1), || false);
        assert!(hot.get("a").is_none());
        hot.put(&entry("a", 1), || true);
        assert!(hot.get("a").is_some());
        hot.close(NONE);
        hot.open();
        assert!(hot.get("a").is_none() && hot.get("b").is_none());
    }

    #[test]
    fn what_is_held_is_bounded() {
        let hot = HotKeys::default();
        hot.put(&entry("large", MAX_ENTRY), || true);
        assert!(hot.get("large").is_none());
        for n in 0..1000 {
            hot.put(&entry(&n.to_string(), 4096), || true);
            let held = hot.lock();
            let real: usize = held.map.values().map(|e| weight(e)).sum();
            assert_eq!(real, held.bytes);
            assert!(held.bytes <= MAX_BYTES);
        }
        hot.put(&entry("999", 10), || true);
        hot.close(keys(&["999"]));
        let held = hot.lock();
        assert_eq!(held.bytes, held.map.values().map(|e| weight(e)).sum());
    }
}
