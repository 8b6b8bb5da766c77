//! Sorting, and maps out of lists, compiled once.
//!
//! Holds true: orders are stable, as the standard library's. The library's own sort is 3 KB of code for every type
//! that is sorted and for every iterator that is collected into a map; what goes through here is short and on no hot
//! path.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Collects pairs into a map; of equal keys the last one counts.
pub trait IntoMap<K, V> {
    /// The map.
    fn into_map(self) -> BTreeMap<K, V>;
}

impl<K: Ord, V, I: IntoIterator<Item = (K, V)>> IntoMap<K, V> for I {
    fn into_map(self) -> BTreeMap<K, V> {
        let mut map = BTreeMap::new();
        for (key, value) in self {
            map.insert(key, value);
        }
        map
    }
}

/// Sorts by the items' own order.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// Sorts by a key.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |a, b| key(a).cmp(&key(b)));
}

/// Sorts by a comparison.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut order = order(items.len(), &|a, b| compare(&items[a], &items[b]));
    // Each place takes its item out of the place that has it, cycle by cycle.
    for start in 0..items.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut order[at], at);
            if from == start {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

/// The numbers of the items in their order.
fn order(len: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_the_standard_library_does() {
        let mut seed = 7u64;
        for len in 0..60 {
            let mut items: Vec<(u64, usize)> = (0..len)
                .map(|at| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 61, at)
                })
                .collect();
            let mut stable = items.clone();
            stable.sort_by_key(|item| item.0);
            sort_by_key(&mut items, |item| item.0);
            assert_eq!(items, stable);
            let mut whole = items.clone();
            whole.reverse();
            sort(&mut whole);
            stable.sort();
            assert_eq!(whole, stable);
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let map = [("a", 1), ("b", 2), ("a", 3)].into_map();
        assert_eq!(map, BTreeMap::from([("a", 3), ("b", 2)]));
    }
}
