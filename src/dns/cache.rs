//! What lookups have found, for as long as the catalog stays as it is.
//!
//! Holds true: nothing is given out that was read from another version of the catalog than the one in force;
//! each table has a maximum and starts anew beyond it. It belongs to one set of settings and goes with it.
//! Leaves to others: what the catalog's version is (the delegate), looking up (`handler`).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::Instance;
use super::name::Name;
use crate::structs::Node;

/// Service instances kept, at some hundred bytes each.
const MAX_INSTANCES: usize = 4096;
/// Nodes and addresses kept, each.
const MAX_ENTRIES: usize = 1024;
/// Above this number of nodes their addresses are not kept as a whole.
const MAX_NODES: usize = 16384;

/// What names the instances of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    pub datacenter: String,
    pub name: String,
    /// Empty for any.
    pub tag: String,
    pub connect: bool,
    pub ingress: bool,
}

/// A node by datacenter and name.
pub type NodeKey = (String, String);

/// The names of all nodes by their addresses.
pub type NodeNames = HashMap<IpAddr, Option<Name>>;

/// Results of lookups by what was looked up.
#[derive(Default)]
pub struct Cache {
    pub services: Table<ServiceKey, Arc<[Instance]>>,
    pub nodes: Table<NodeKey, Option<Arc<Node>>>,
    /// Names of services by address.
    pub addresses: Table<IpAddr, Option<Name>>,
    /// One entry.
    pub node_names: Table<(), Arc<NodeNames>>,
}

/// How much of a table's room a result takes.
pub trait Weight {
    /// Largest weight of a table of such results.
    const MAX: usize;
    /// The weight of this one.
    fn weight(&self) -> usize;
}

impl Weight for Arc<[Instance]> {
    const MAX: usize = MAX_INSTANCES;
    fn weight(&self) -> usize {
        self.len().max(1)
    }
}

impl Weight for Option<Arc<Node>> {
    const MAX: usize = MAX_ENTRIES;
    fn weight(&self) -> usize {
        1
    }
}

impl Weight for Option<Name> {
    const MAX: usize = MAX_ENTRIES;
    fn weight(&self) -> usize {
        1
    }
}

impl Weight for Arc<NodeNames> {
    const MAX: usize = MAX_NODES;
    fn weight(&self) -> usize {
        self.len()
    }
}

/// Results of one kind, all of one version of the catalog.
pub struct Table<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    version: u64,
    weight: usize,
    map: HashMap<K, V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            version: 0,
            weight: 0,
            map: HashMap::new(),
        }))
    }
}

impl<K: Eq + Hash, V: Clone + Weight> Table<K, V> {
    /// What was found in this version; never anything without one.
    pub fn get(&self, version: Option<u64>, key: &K) -> Option<V> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if Some(entries.version) != version {
            return None;
        }
        entries.map.get(key).cloned()
    }

    /// Keeps what was found after `version` was asked for.
    pub fn put(&self, version: Option<u64>, key: K, value: V) {
        let (Some(version), weight) = (version, value.weight()) else {
            return;
        };
        if weight > V::MAX {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if version < entries.version {
            return;
        }
        if version > entries.version || entries.weight + weight > V::MAX {
            entries.map.clear();
            (entries.version, entries.weight) = (version, 0);
        }
        entries.weight += weight;
        if let Some(old) = entries.map.insert(key, value) {
            entries.weight -= old.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u16) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    #[test]
    fn a_table_gives_what_is_of_the_version_in_force() {
        let table: Table<IpAddr, Option<Name>> = Table::default();
        let name = Name::parse("web.service.consul");
        table.put(None, ip(1), name.clone());
        assert_eq!(table.get(None, &ip(1)), None);
        table.put(Some(7), ip(1), name.clone());
        table.put(Some(7), ip(2), None);
        assert_eq!(table.get(Some(7), &ip(1)), Some(name.clone()));
        assert_eq!(table.get(Some(7), &ip(2)), Some(None));
        assert_eq!(table.get(Some(8), &ip(1)), None);
        assert_eq!(table.get(None, &ip(1)), None);
        table.put(Some(8), ip(3), name.clone());
        // Found late, in a catalog that is gone.
        table.put(Some(7), ip(1), name);
        assert_eq!(table.get(Some(8), &ip(1)), None);
        assert!(table.get(Some(8), &ip(3)).is_some());
    }

    #[test]
    fn a_table_stays_within_its_room() {
        let table: Table<IpAddr, Option<Name>> = Table::default();
        for n in 0..5000 {
            table.put(Some(1), ip(n), None);
            table.put(Some(1), ip(n), None);
            let entries = table.0.lock().unwrap();
            assert!(entries.map.len() <= MAX_ENTRIES);
            assert_eq!(entries.weight, entries.map.len());
        }
        assert_eq!(table.get(Some(1), &ip(4999)), Some(None));
    }
}
