//! What a secondary datacenter has to do to have the primary's policies, roles and tokens: the decisions, without the doing.
//!
//! Holds true: an object of the primary that is missing here or differs is fetched, one that is here alone is deleted,
//! and nothing else is written; what is built in is never deleted; a name that two objects exchange stops nothing.
//! Leaves to others: asking the primary and writing (`server::acl::replication`).
//! Source: `docs/reference/http-1.md` section 11.1; the log of a running Consul 1.8.7.

use std::collections::HashMap;
use std::time::Duration;

use super::{ANONYMOUS_ACCESSOR, GLOBAL_MANAGEMENT_ID};
use crate::structs::go::Bytes;

/// The longest pause after failures, as Consul's.
const LONGEST_PAUSE: Duration = Duration::from_secs(64);

/// What tells an object apart from its copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// What identifies it.
    pub id: String,
    /// What no other of its kind may be called; empty where names are free.
    pub name: String,
    /// The index of its last change, in the datacenter that lists it.
    pub modify_index: u64,
    /// Of everything that users set.
    pub hash: Bytes,
    /// Its hash does not tell whether it changed: a token of before 1.4.
    pub hashless: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is here alone.
    pub deletions: Vec<String>,
    /// What is to be given another name for the moment, since its own is now that of another.
    pub aside: Vec<String>,
    /// What is to be fetched and written.
    pub updates: Vec<String>,
}

impl Plan {
    /// Nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.deletions.is_empty() && self.aside.is_empty() && self.updates.is_empty()
    }
}

/// IDs are the same in either case.
fn key(text: &str) -> String {
    text.to_ascii_lowercase()
}

fn is_built_in(id: &str) -> bool {
    id == GLOBAL_MANAGEMENT_ID || id == ANONYMOUS_ACCESSOR
}

/// Compares what is here with what the primary has. What the primary changed up to `since` is here already; with
/// 0 everything is compared.
pub fn plan(local: Vec<Mark>, remote: Vec<Mark>, since: u64) -> Plan {
    let mut plan = Plan::default();
    let holders: HashMap<String, String> = local
        .iter()
        .filter(|mark| !mark.name.is_empty())
        .map(|mark| (key(&mark.name), key(&mark.id)))
        .collect();
    let mut here: HashMap<String, Mark> = local.into_iter().map(|m| (key(&m.id), m)).collect();
    let mut wanted = Vec::new();
    for mark in remote {
        let known = here.remove(&key(&mark.id));
        let is_same = known.as_ref().is_some_and(|known| {
            mark.modify_index <= since || (!mark.hashless && known.hash == mark.hash)
        });
        if !is_same {
            wanted.push(mark);
        }
    }
    // What is left is here alone; so names of these become free before anything is written.
    for mark in &wanted {
        let holder = holders.get(&key(&mark.name));
        if let Some(holder) = holder.filter(|id| **id != key(&mark.id))
            && !here.contains_key(holder)
        {
            plan.aside.push(holder.clone());
        }
    }
    plan.deletions = here
        .into_values()
        .map(|mark| mark.id)
        .filter(|id| !is_built_in(id))
        .collect();
    crate::sorted::sort(&mut plan.deletions);
    crate::sorted::sort(&mut plan.aside);
    plan.updates = wanted.into_iter().map(|mark| mark.id).collect();
    for id in &plan.aside {
        // Whoever loses its name is given its present one, whenever that was changed.
        if !plan.updates.iter().any(|known| key(known) == *id) {
            plan.updates.push(id.clone());
        }
    }
    plan
}

/// Puts things into batches of at most `limit` by their sizes; what is larger by itself goes alone.
pub fn batches<T>(things: Vec<T>, limit: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut all: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for thing in things {
        let size = size(&thing);
        match all.last_mut() {
            Some(batch) if size <= room => {
                room -= size;
                batch.push(thing);
            }
            _ => {
                room = limit.saturating_sub(size);
                all.push(vec![thing]);
            }
        }
    }
    all
}

/// How far one kind of objects is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything that the primary changed up to this index is here.
    index: u64,
    /// The state that this is true of.
    epoch: u64,
    failures: u32,
}

impl Progress {
    /// The index to wait beyond; 0 if nothing is known.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// From which index on to compare, when the primary is at `remote` and the own state is `epoch`: from the
    /// beginning when the primary's index went back, as after it was restored, or when the own state was replaced.
    pub fn since(&self, remote: u64, epoch: u64) -> u64 {
        match remote < self.index || epoch != self.epoch {
            true => 0,
            false => self.index,
        }
    }

    /// All is here up to an index of the primary's, in a state.
    pub fn succeeded(&mut self, remote: u64, epoch: u64) {
        *self = Self {
            // 0 would not wait.
            index: remote.max(1),
            epoch,
            failures: 0,
        };
    }

    /// Something went wrong: how long to wait. Then everything is compared.
    pub fn failed(&mut self) -> Duration {
        self.index = 0;
        self.failures = (self.failures + 1).min(16);
        Duration::from_secs(1 << self.failures).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: &str, name: &str, modify_index: u64, hash: &str) -> Mark {
        Mark {
            id: id.to_owned(),
            name: name.to_owned(),
            modify_index,
            hash: Bytes(hash.as_bytes().to_vec()),
            hashless: false,
        }
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn what_is_missing_or_differs_is_fetched_and_what_is_left_over_deleted() {
        let local = vec![
            mark("a", "na", 3, "1"),
            mark("b", "nb", 3, "1"),
            mark("d", "nd", 3, "1"),
        ];
        let remote = vec![
            mark("A", "na", 9, "1"),
            mark("b", "nb", 9, "2"),
            mark("c", "nc", 5, "1"),
        ];
        let found = plan(local, remote, 7);
        assert_eq!(found.updates, texts(&["b", "c"]));
        assert_eq!(found.deletions, texts(&["d"]));
        assert_eq!(found.aside, texts(&[]));
    }

    #[test]
    fn what_did_not_change_since_is_not_looked_at_unless_everything_is() {
        let local = || vec![mark("a", "", 3, "1")];
        let remote = || vec![mark("a", "", 7, "2")];
        assert!(plan(local(), remote(), 7).is_empty());
        assert_eq!(plan(local(), remote(), 6).updates, texts(&["a"]));
        assert_eq!(plan(local(), remote(), 0).updates, texts(&["a"]));
    }

    #[test]
    fn a_token_of_before_1_4_is_fetched_whenever_it_changed() {
        let old = Mark {
            hashless: true,
            ..mark("a", "", 7, "1")
        };
        let local = || vec![mark("a", "", 3, "1")];
        assert_eq!(plan(local(), vec![old.clone()], 6).updates, texts(&["a"]));
        assert!(plan(local(), vec![old], 7).is_empty());
    }

    #[test]
    fn what_is_built_in_stays() {
        let local = vec![
            mark(GLOBAL_MANAGEMENT_ID, "global-management", 1, "1"),
            mark(ANONYMOUS_ACCESSOR, "", 1, "1"),
        ];
        assert!(plan(local, Vec::new(), 0).is_empty());
    }

    #[test]
    fn names_that_change_hands_are_made_free_first() {
        // Two objects exchange their names; a third one takes that of one that is gone.
        let local = vec![
            mark("a", "x", 1, "1"),
            mark("b", "y", 1, "1"),
            mark("d", "z", 1, "1"),
        ];
        let remote = vec![
            mark("a", "Y", 5, "2"),
            mark("b", "x", 6, "2"),
            mark("c", "z", 7, "1"),
        ];
        let found = plan(local, remote, 4);
        assert_eq!(found.aside, texts(&["a", "b"]));
        assert_eq!(found.updates, texts(&["a", "b", "c"]));
        assert_eq!(found.deletions, texts(&["d"]));
    }

    #[test]
    fn batches_hold_what_fits_and_all_there_is_in_order() {
        let sizes = vec![40, 40, 40, 500, 10, 90, 1];
        let found = batches(sizes.clone(), 100, |n| *n);
        assert_eq!(
            found,
            [vec![40, 40], vec![40], vec![500], vec![10, 90], vec![1]]
        );
        assert_eq!(found.concat(), sizes);
        assert!(batches(Vec::<usize>::new(), 100, |n| *n).is_empty());
    }

    #[test]
    fn after_failures_pauses_grow_and_everything_is_compared() {
        let mut progress = Progress::default();
        progress.succeeded(9, 2);
        assert_eq!((progress.index(), progress.since(12, 2)), (9, 9));
        let pauses: Vec<u64> = (0..8).map(|_| progress.failed().as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!((progress.index(), progress.since(12, 2)), (0, 0));
        progress.succeeded(0, 2);
        assert_eq!(progress.index(), 1, "waits for the next change");
        assert_eq!(progress.failed(), Duration::from_secs(2));
    }

    #[test]
    fn everything_is_compared_when_either_state_was_replaced() {
        let mut progress = Progress::default();
        assert_eq!(progress.since(5, 0), 0);
        progress.succeeded(9, 0);
        assert_eq!(progress.since(8, 0), 0, "the primary went back");
        assert_eq!(progress.since(10, 1), 0, "the own state is another");
        assert_eq!(progress.since(9, 0), 9);
    }

    /// Whatever either side has: doing what the plan says makes them the same, in one pass, by the rules of writing.
    #[test]
    fn doing_what_is_planned_makes_both_the_same() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2000 {
            let side = |random: &mut fastrand::Rng| {
                let mut names: Vec<u8> = (b'a'..=b'f').collect();
                random.shuffle(&mut names);
                let count = random.usize(..=5);
                let mut ids: Vec<u8> = (0..6).collect();
                random.shuffle(&mut ids);
                let pairs = ids.into_iter().zip(names).take(count);
                pairs
                    .map(|(id, name)| {
                        let name = char::from(name).to_string();
                        mark(&id.to_string(), &name, 1, &name)
                    })
                    .collect::<Vec<Mark>>()
            };
            let (local, remote) = (side(&mut random), side(&mut random));
            let planned = plan(local.clone(), remote.clone(), 0);
            let mut state: HashMap<String, Mark> =
                local.into_iter().map(|m| (m.id.clone(), m)).collect();
            let write = |state: &mut HashMap<String, Mark>, mark: Mark| {
                let taken = state
                    .values()
                    .any(|m| m.id != mark.id && m.name == mark.name);
                assert!(!taken, "{mark:?} among {state:?}");
                state.insert(mark.id.clone(), mark);
            };
            for id in &planned.deletions {
                assert!(state.remove(id).is_some());
            }
            for id in &planned.aside {
                let moved = Mark {
                    name: id.clone(),
                    hash: Bytes::default(),
                    ..state[id].clone()
                };
                write(&mut state, moved);
            }
            for id in &planned.updates {
                let mark = remote.iter().find(|m| m.id == *id).unwrap();
                write(&mut state, mark.clone());
            }
            let mut got: Vec<Mark> = state.into_values().collect();
            let mut want = remote;
            got.sort_by(|a, b| a.id.cmp(&b.id));
            want.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!(got, want);
        }
    }
}
