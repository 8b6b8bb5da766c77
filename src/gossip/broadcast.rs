//! News waiting to be passed on with the next packets.
//!
//! Holds true: each message goes out a limited number of times, those sent least first; news about a
//! member replaces older news about it; the number of messages is bounded by who fills the queue.
//! Source: SWIM (Das, Gupta, Motivala 2002), section 4.1; `docs/reference/gossip.md` section 6.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Sent how often, how long, how new: the order of the queue.
type Key = (u32, Reverse<usize>, Reverse<u64>);

/// Who waits until a message was sent often enough, or will not be any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A step of leaving the pool.
    Leave(u64),
}

#[derive(Debug)]
struct Item {
    /// The member it is about, when newer news replaces it.
    about: Option<String>,
    message: Vec<u8>,
    waiting: Option<Waiting>,
}

/// Messages in the order in which they go out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: BTreeMap<Key, Item>,
    about: BTreeMap<String, Key>,
    count: u64,
    /// Who need not wait any longer.
    pub done: Vec<Waiting>,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds a message; one about the same member goes.
    pub fn push(&mut self, about: Option<&str>, message: Vec<u8>, waiting: Option<Waiting>) {
        if let Some(old) = about.and_then(|name| self.about.remove(name)) {
            self.finish(old);
        }
        self.count += 1;
        let key = (0, Reverse(message.len()), Reverse(self.count));
        if let Some(name) = about {
            self.about.insert(name.to_owned(), key);
        }
        let about = about.map(str::to_owned);
        let item = Item {
            about,
            message,
            waiting,
        };
        self.items.insert(key, item);
    }

    /// Takes out an item for good.
    fn finish(&mut self, key: Key) {
        let Some(item) = self.items.remove(&key) else {
            return;
        };
        self.done.extend(item.waiting);
        if let Some(name) = item.about.filter(|n| self.about.get(n) == Some(&key)) {
            self.about.remove(&name);
        }
    }

    /// Messages for one packet of at most `room` bytes, each costing `overhead` bytes on top; each of
    /// them goes out at most `limit` times in all.
    pub fn take(&mut self, overhead: usize, mut room: usize, limit: u32) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        let mut again = Vec::new();
        let mut from = Bound::Unbounded;
        while let Some(free) = room.checked_sub(overhead).filter(|free| *free > 0) {
            let Some((&key, item)) = self.items.range((from, Bound::Unbounded)).next() else {
                break;
            };
            let length = item.message.len();
            if length > free {
                // Within these transmissions, on to what is short enough; else to the next ones.
                from = Bound::Included((key.0, Reverse(free), Reverse(u64::MAX)));
                continue;
            }
            from = Bound::Excluded(key);
            room -= length + overhead;
            taken.push(item.message.clone());
            again.push(key);
        }
        for key in again {
            if key.0 + 1 >= limit {
                self.finish(key);
                continue;
            }
            let Some(item) = self.items.remove(&key) else {
                continue;
            };
            let key = (key.0 + 1, key.1, key.2);
            if let Some(place) = item.about.as_ref().and_then(|n| self.about.get_mut(n)) {
                *place = key;
            }
            self.items.insert(key, item);
        }
        taken
    }

    /// Forgets what was sent most, the oldest first, until at most `most` are left.
    pub fn prune(&mut self, most: usize) {
        while self.items.len() > most {
            let Some((&key, _)) = self.items.last_key_value() else {
                return;
            };
            self.finish(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for message in messages {
            queue.push(None, message.as_bytes().to_vec(), None);
        }
        queue
    }

    fn texts(taken: Vec<Vec<u8>>) -> Vec<String> {
        let text = |m| String::from_utf8(m).unwrap();
        taken.into_iter().map(text).collect()
    }

    #[test]
    fn the_largest_that_fits_comes_first_then_the_newest() {
        let mut queue = queue(&["a", "b", "long-one", "longer-one"]);
        assert_eq!(texts(queue.take(2, 14, 3)), ["longer-one"]);
        assert_eq!(texts(queue.take(2, 14, 3)), ["long-one", "b"]);
        assert_eq!(
            texts(queue.take(2, 100, 3)),
            ["a", "longer-one", "long-one", "b"]
        );
    }

    #[test]
    fn messages_end_after_the_limit() {
        let mut queue = queue(&["a"]);
        queue.push(None, b"b".to_vec(), Some(Waiting::Leave(1)));
        for _ in 0..3 {
            assert_eq!(queue.take(2, 100, 3).len(), 2);
        }
        assert!(queue.is_empty());
        assert_eq!(queue.done, [Waiting::Leave(1)]);
        assert!(queue.take(2, 100, 3).is_empty());
    }

    #[test]
    fn news_about_a_member_replaces_older_news() {
        let mut queue = Queue::default();
        queue.push(Some("x"), b"alive".to_vec(), Some(Waiting::Leave(1)));
        queue.take(2, 100, 9);
        queue.push(Some("x"), b"dead".to_vec(), None);
        queue.push(Some("y"), b"other".to_vec(), None);
        assert_eq!(queue.done, [Waiting::Leave(1)]);
        assert_eq!(texts(queue.take(2, 100, 9)), ["other", "dead"]);
        assert_eq!(queue.len(), 2);
        queue.push(Some("x"), b"alive".to_vec(), None);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn what_was_sent_most_is_pruned_first() {
        let mut queue = queue(&["old"]);
        queue.take(2, 100, 9);
        queue.push(None, b"new".to_vec(), None);
        queue.prune(1);
        assert_eq!(texts(queue.take(2, 100, 9)), ["new"]);
    }
}
