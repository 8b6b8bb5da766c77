//! The rules about one kind of resource, made for asking.
//!
//! Holds true: names are sorted, and every prefix knows the next shorter prefix of itself, so that the longest
//! prefix of a name is found by one binary search and a walk as long as prefixes are nested; nothing is allocated.
//! Source: `docs/reference/http-1.md` section 12.3.

use std::collections::BTreeMap;

use super::level::Level;

/// No shorter prefix.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Prefix {
    name: Box<str>,
    level: Level,
    /// Where the longest other prefix is that this one begins with.
    shorter: u32,
}

/// Exact and prefix rules by name.
#[derive(Clone, Debug, Default)]
pub struct Table {
    exact: Vec<(Box<str>, Level)>,
    prefixes: Vec<Prefix>,
}

impl Table {
    /// A table of rules whose names are merged already.
    pub fn new(exact: BTreeMap<&str, Level>, prefixes: BTreeMap<&str, Level>) -> Table {
        let exact = exact.into_iter().map(|(n, l)| (n.into(), l)).collect();
        let mut list: Vec<Prefix> = Vec::with_capacity(prefixes.len());
        for (name, level) in prefixes {
            let mut shorter = (list.len() as u32).wrapping_sub(1);
            while let Some(p) = list.get(shorter as usize) {
                if name.starts_with(&*p.name) {
                    break;
                }
                shorter = p.shorter;
            }
            let shorter = if list.is_empty() { NONE } else { shorter };
            list.push(Prefix {
                name: name.into(),
                level,
                shorter,
            });
        }
        Table {
            exact,
            prefixes: list,
        }
    }

    /// What the rules say about a name; `None` if nothing.
    pub fn level(&self, name: &str) -> Option<Level> {
        if let Ok(at) = self.exact.binary_search_by(|(n, _)| (**n).cmp(name)) {
            return self.exact.get(at).map(|(_, level)| *level);
        }
        self.longest_prefix(name)
    }

    /// What the longest prefix of a name says.
    pub fn longest_prefix(&self, name: &str) -> Option<Level> {
        let behind = self.prefixes.partition_point(|p| *p.name <= *name);
        let mut at = (behind as u32).wrapping_sub(1);
        while let Some(p) = self.prefixes.get(at as usize) {
            if name.starts_with(&*p.name) {
                return Some(p.level);
            }
            at = p.shorter;
        }
        None
    }

    /// What each rule below a prefix says, the one of that very name included.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = Level> + 'a {
        let from = self.exact.partition_point(|(n, _)| **n < *prefix);
        let exact = self.exact.iter().skip(from);
        let exact = exact.take_while(move |(n, _)| n.starts_with(prefix));
        let from = self.prefixes.partition_point(|p| *p.name < *prefix);
        let prefixes = self.prefixes.iter().skip(from);
        let prefixes = prefixes.take_while(move |p| p.name.starts_with(prefix));
        exact.map(|(_, l)| *l).chain(prefixes.map(|p| p.level))
    }

    /// What each rule says.
    pub fn all(&self) -> impl Iterator<Item = Level> + '_ {
        self.below("")
    }
}
