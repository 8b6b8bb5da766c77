//! Answers about a service's instances, kept as text for as long as the catalog stays as it is.
//!
//! Holds true: nothing is given out that was read from another version of the catalog than the one in force;
//! what is kept has a maximum of bytes and starts anew beyond it. Nothing is kept where ACLs make an answer
//! depend on who asks.
//! Leaves to others: what the catalog's version is, and whether it is known at all (the delegate).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::context::Ctx;
use crate::structs::ServiceSpecificRequest;
use crate::structs::go::Map;

/// Bytes kept, of answers and of what names them.
const MAX_BYTES: usize = 1 << 20;
/// What an entry takes beside its texts, about.
const OVERHEAD: usize = 256;

/// What an answer depends on, apart from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    name: String,
    tags: Option<Vec<String>>,
    node_meta: Map<String>,
    filter: String,
    connect: bool,
    ingress: bool,
    passing: bool,
}

impl Key {
    /// The key of a plain read; `None` for what blocks, sorts by distance, or has to ask somebody else.
    pub fn of(ctx: &Ctx, args: &ServiceSpecificRequest, passing: bool) -> Option<Key> {
        let options = &args.options;
        let plain = ctx.settings.keep_answers
            && options.min_query_index == 0
            && !options.use_cache
            && !options.require_consistent
            && args.source.node.is_empty()
            && args.datacenter == ctx.settings.datacenter;
        plain.then(|| Key {
            name: args.service_name.clone(),
            tags: args.service_tags.clone(),
            node_meta: args.node_meta_filters.clone(),
            filter: options.filter.clone(),
            connect: args.connect,
            ingress: args.ingress,
            passing,
        })
    }

    fn bytes(&self) -> usize {
        let tags = self.tags.iter().flatten().map(String::len).sum::<usize>();
        let meta = self.node_meta.iter().flatten();
        let meta = meta
            .map(|(k, v)| k.len() + v.len() + OVERHEAD)
            .sum::<usize>();
        self.name.len() + tags + meta + self.filter.len() + OVERHEAD
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its index.
    pub index: u64,
    /// How many instances were found, for the metrics.
    pub found: usize,
    /// Its JSON.
    pub text: Vec<u8>,
}

/// Answers of one version of the catalog.
#[derive(Default)]
pub(super) struct Kept(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    version: u64,
    bytes: usize,
    map: HashMap<Key, Arc<Answer>>,
}

impl Kept {
    /// The answer of this version.
    pub fn get(&self, version: u64, key: &Key) -> Option<Arc<Answer>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.version != version {
            return None;
        }
        entries.map.get(key).cloned()
    }

    /// Keeps what was read after `version` was asked for.
    pub fn put(&self, version: u64, key: Key, answer: Answer) {
        let bytes = key.bytes() + answer.text.len();
        if bytes > MAX_BYTES / 4 {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.version > version {
            return;
        }
        if entries.version < version || entries.bytes + bytes > MAX_BYTES {
            *entries = Entries {
                version,
                ..Entries::default()
            };
        }
        if entries.map.insert(key, Arc::new(answer)).is_none() {
            entries.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            name: name.to_owned(),
            tags: None,
            node_meta: None,
            filter: String::new(),
            connect: false,
            ingress: false,
            passing: false,
        }
    }

    fn answer(size: usize) -> Answer {
        Answer {
            index: 7,
            found: 1,
            text: vec![b' '; size],
        }
    }

    #[test]
    fn an_answer_lives_as_long_as_its_version() {
        let kept = Kept::default();
        kept.put(2, key("web"), answer(10));
        assert_eq!(kept.get(2, &key("web")).map(|a| a.index), Some(7));
        assert!(kept.get(2, &key("other")).is_none());
        assert!(kept.get(3, &key("web")).is_none());
        // Read before the change of somebody who was quicker.
        kept.put(3, key("a"), answer(10));
        kept.put(2, key("b"), answer(10));
        assert!(kept.get(3, &key("a")).is_some() && kept.get(3, &key("b")).is_none());
        assert!(kept.get(2, &key("web")).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = Kept::default();
        kept.put(1, key("large"), answer(MAX_BYTES / 4));
        assert!(kept.get(1, &key("large")).is_none());
        for n in 0..100 {
            kept.put(1, key(&n.to_string()), answer(MAX_BYTES / 10));
            let entries = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
            let held: usize = entries.map.values().map(|a| a.text.len()).sum();
            assert!(held <= entries.bytes && entries.bytes <= MAX_BYTES);
        }
        assert!(kept.get(1, &key("99")).is_some());
    }
}
