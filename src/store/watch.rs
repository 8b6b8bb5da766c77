//! The watch index behind blocking queries: who waits for which part of the state to change.
//!
//! A topic is the hash of what is watched (a key, a prefix, a table, a service, a node, a session). Two
//! topics that share a hash only cost a wake-up too many, after which the query runs again and goes on
//! waiting. Holds true: a change committed after the read of a [`WatchSet`] always wakes it, also when
//! it was committed before [`WatchSet::changed`] was called, because every change leaves its index in a
//! small table of recent changes. Costs per waiting query: one slot and eight bytes per topic.
//! Source: `docs/reference/http-1.md` sections 1.5, 2.6 and 4.3; `docs/reference/http-2.md` section 7.9.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::atomic::AtomicU64;

/// Prefixes longer than this are watched by their first bytes: a wake-up too many, never one too few.
const MAX_PREFIX: usize = 256;
/// Slots in the table of recent changes.
const RECENT: usize = 4096;

/// Something that can change, as a hash.
pub(super) type Topic = u64;

/// Tables whose change as a whole can be waited for. The names are those of Consul's index table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Kvs,
    Nodes,
    Services,
    Checks,
    Sessions,
    Coordinates,
    /// The last instance of some service went away.
    Extinction,
    Autopilot,
    AclTokens,
    AclPolicies,
    AclRoles,
    AclBindingRules,
    AclAuthMethods,
}

/// What a topic is about; part of its hash.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Table = 1,
    Key,
    Prefix,
    /// Everything `service.NAME` covers: its instances, their checks and nodes.
    Service,
    /// Checks by service name.
    ServiceChecks,
    /// The node's own row.
    Node,
    NodeServices,
    NodeChecks,
    NodeSessions,
    NodeCoordinates,
    CheckState,
    Session,
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

/// Spreads the bits of an FNV state, whose low bits alone are weak.
fn finish(hash: u64) -> Topic {
    let h = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ (h >> 29)
}

/// The topic of a named thing (FNV-1a over its kind and name).
pub(super) fn topic(kind: Kind, name: &[u8]) -> Topic {
    finish(
        name.iter()
            .fold(step(FNV_OFFSET, kind as u8), |h, b| step(h, *b)),
    )
}

/// The topic of a whole table.
pub(super) fn table(t: Table) -> Topic {
    topic(Kind::Table, &[t as u8])
}

/// Topics are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |h, b| step(h, *b));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// What a query read, and so what it has to wait for. Filled by the methods of
/// [`Read`](super::Read); one set serves all reads of one run of a query, and a fresh one the next run.
#[derive(Debug, Default)]
pub struct WatchSet {
    topics: Vec<Topic>,
    prefixes: Vec<(u16, Topic)>,
    since: Option<u64>,
}

impl WatchSet {
    /// An empty set: it never fires unless the whole state is replaced.
    pub fn new() -> WatchSet {
        WatchSet::default()
    }

    pub(super) fn read_at(&mut self, applied: u64) {
        self.since = Some(self.since.map_or(applied, |s| s.min(applied)));
    }

    pub(super) fn add(&mut self, topic: Topic) {
        if !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
    }

    pub(super) fn table(&mut self, t: Table) {
        self.add(table(t));
    }

    pub(super) fn named(&mut self, kind: Kind, name: &str) {
        self.add(topic(kind, name.as_bytes()));
    }

    pub(super) fn prefix(&mut self, prefix: &[u8]) {
        let cut = &prefix[..prefix.len().min(MAX_PREFIX)];
        let entry = (cut.len() as u16, topic(Kind::Prefix, cut));
        if !self.prefixes.contains(&entry) {
            self.prefixes.push(entry);
        }
    }

    /// Completes as soon as anything in the set changes after it was read (at once if it already
    /// has), or when the whole state is replaced. Dropping it gives the slot back. Put it beside a
    /// timer: it knows no deadline.
    pub fn changed(self, state: &super::State) -> Changed {
        state.watches().register(self)
    }
}

/// The future of [`WatchSet::changed`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Changed {
    watches: Arc<Watches>,
    slot: Option<u32>,
}

impl Future for Changed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(slot) = self.slot else {
            return Poll::Ready(());
        };
        let mut index = self.watches.lock();
        match index.slots.get_mut(slot as usize) {
            Some(Some(w)) if !w.fired => {
                match &mut w.waker {
                    Some(old) if old.will_wake(cx.waker()) => {}
                    other => *other = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.watches.lock().remove(slot);
        }
    }
}

struct Waiter {
    since: u64,
    fired: bool,
    waker: Option<Waker>,
    set: WatchSet,
}

#[derive(Default)]
struct Index {
    slots: Vec<Option<Waiter>>,
    free: Vec<u32>,
    /// Who waits for a topic; prefixes are topics too.
    by_topic: HashMap<Topic, Vec<u32>, BuildHasherDefault<Identity>>,
    /// How many waiters watch prefixes of each length, so that a written key tries those only.
    lengths: BTreeMap<u16, u32>,
    /// Raft index of the last change that fell into each slot, prefixes of written keys included.
    recent: Vec<u64>,
    /// Raft index of the last change too broad for the slots.
    broad: u64,
}

impl Index {
    fn remove(&mut self, slot: u32) {
        let Some(w) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        let prefixes = w.set.prefixes.iter().map(|(_, t)| *t);
        for t in w.set.topics.iter().copied().chain(prefixes) {
            if let Some(list) = self.by_topic.get_mut(&t) {
                if let Some(at) = list.iter().position(|s| *s == slot) {
                    list.swap_remove(at);
                }
                if list.is_empty() {
                    self.by_topic.remove(&t);
                }
            }
        }
        for (length, _) in &w.set.prefixes {
            if let Some(n) = self.lengths.get_mut(length) {
                *n -= 1;
                if *n == 0 {
                    self.lengths.remove(length);
                }
            }
        }
        self.free.push(slot);
        if self.free.len() == self.slots.len() {
            // The last one out gives the memory of the rush hour back.
            self.by_topic.shrink_to_fit();
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    fn changed_since(&self, set: &WatchSet, since: u64) -> bool {
        let prefixes = set.prefixes.iter().map(|(_, t)| t);
        self.broad > since
            || set.topics.iter().chain(prefixes).any(|t| {
                self.recent
                    .get(*t as usize % RECENT)
                    .is_some_and(|i| *i > since)
            })
    }

    fn fire(&mut self, topic: Topic, index: u64, wake: &mut Vec<Waker>) {
        let Some(list) = self.by_topic.get(&topic) else {
            return;
        };
        for slot in list {
            if let Some(Some(w)) = self.slots.get_mut(*slot as usize)
                && !w.fired
                && index > w.since
            {
                w.fired = true;
                wake.extend(w.waker.take());
            }
        }
    }

    fn mark(&mut self, topic: Topic, index: u64) {
        if let Some(slot) = self.recent.get_mut(topic as usize % RECENT) {
            *slot = index;
        }
    }
}

/// All waiting queries. One mutex: it is held for lookups only, wakers are called outside.
pub(super) struct Watches {
    index: Mutex<Index>,
    /// Counts the batches that changed nodes, services or checks.
    catalog: AtomicU64,
    /// Counts the batches that changed tokens, policies or roles.
    acl: AtomicU64,
}

impl Watches {
    pub fn new() -> Watches {
        Watches {
            index: Mutex::new(Index {
                recent: vec![0; RECENT],
                ..Index::default()
            }),
            catalog: AtomicU64::new(1),
            acl: AtomicU64::new(1),
        }
    }

    /// Counts up with every change of nodes, services or checks, before the change is acknowledged.
    pub fn catalog_version(&self) -> u64 {
        self.catalog.load(Ordering::Acquire)
    }

    /// Counts up with every change of tokens, policies or roles, before the change is acknowledged.
    pub fn acl_version(&self) -> u64 {
        self.acl.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a key was certainly not written after `since`.
    pub fn key_unchanged(&self, key: &str, since: u64) -> bool {
        let index = self.lock();
        let slot = topic(Kind::Key, key.as_bytes()) as usize % RECENT;
        index.broad <= since && index.recent.get(slot).is_some_and(|at| *at <= since)
    }

    fn register(self: &Arc<Self>, set: WatchSet) -> Changed {
        let mut index = self.lock();
        let since = set.since.unwrap_or(u64::MAX);
        if index.changed_since(&set, since) {
            return Changed {
                watches: self.clone(),
                slot: None,
            };
        }
        let slot = index.free.pop().unwrap_or(index.slots.len() as u32);
        for (length, t) in &set.prefixes {
            *index.lengths.entry(*length).or_default() += 1;
            index.by_topic.entry(*t).or_default().push(slot);
        }
        for t in &set.topics {
            index.by_topic.entry(*t).or_default().push(slot);
        }
        let waiter = Some(Waiter {
            since,
            fired: false,
            waker: None,
            set,
        });
        match index.slots.get_mut(slot as usize) {
            Some(place) => *place = waiter,
            None => index.slots.push(waiter),
        }
        drop(index);
        Changed {
            watches: self.clone(),
            slot: Some(slot),
        }
    }

    /// Publishes what a committed batch changed.
    pub fn publish(&self, changes: &Changes) {
        let catalog = [Table::Nodes, Table::Services, Table::Checks].map(table);
        if changes.everything.is_some() || changes.topics.iter().any(|(_, t)| catalog.contains(t)) {
            self.catalog.fetch_add(1, Ordering::Release);
        }
        let acl = [Table::AclTokens, Table::AclPolicies, Table::AclRoles].map(table);
        if changes.everything.is_some() || changes.topics.iter().any(|(_, t)| acl.contains(t)) {
            self.acl.fetch_add(1, Ordering::Release);
        }
        let mut wake = Vec::new();
        let mut index = self.lock();
        if let Some(at) = changes.everything {
            index.broad = index.broad.max(at);
            fire_all(&mut index, Some(at), &mut wake);
        }
        for (at, topic) in &changes.topics {
            index.mark(*topic, *at);
            index.fire(*topic, *at, &mut wake);
        }
        let mut start = 0;
        for (at, end) in &changes.keys {
            let key = changes.key_bytes.get(start..*end).unwrap_or_default();
            start = *end;
            index.key_changed(key, *at, &mut wake);
        }
        drop(index);
        wake.into_iter().for_each(Waker::wake);
    }

    /// Wakes every query: the state was replaced as a whole.
    pub fn abandon(&self, index_now: u64) {
        self.catalog.fetch_add(1, Ordering::Release);
        self.acl.fetch_add(1, Ordering::Release);
        let mut wake = Vec::new();
        let mut index = self.lock();
        index.broad = index.broad.max(index_now);
        fire_all(&mut index, None, &mut wake);
        drop(index);
        wake.into_iter().for_each(Waker::wake);
    }

    /// How many queries wait.
    pub fn len(&self) -> usize {
        let index = self.lock();
        index.slots.len() - index.free.len()
    }
}

impl Index {
    fn key_changed(&mut self, key: &[u8], at: u64, wake: &mut Vec<Waker>) {
        let t = topic(Kind::Key, key);
        self.mark(t, at);
        self.fire(t, at, wake);
        let mut hash = step(FNV_OFFSET, Kind::Prefix as u8);
        self.mark(finish(hash), at);
        for (i, b) in key.iter().take(MAX_PREFIX).enumerate() {
            hash = step(hash, *b);
            self.mark(finish(hash), at);
            if self.lengths.contains_key(&(i as u16 + 1)) {
                self.fire(finish(hash), at, wake);
            }
        }
    }
}

fn fire_all(index: &mut Index, newer_than_read: Option<u64>, wake: &mut Vec<Waker>) {
    for w in index.slots.iter_mut().flatten() {
        if !w.fired && newer_than_read.is_none_or(|at| at > w.since) {
            w.fired = true;
            wake.extend(w.waker.take());
        }
    }
}

/// What one batch of commands changed, collected while it is applied and published once committed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    topics: Vec<(u64, Topic)>,
    keys: Vec<(u64, usize)>,
    key_bytes: Vec<u8>,
    everything: Option<u64>,
}

/// Past this many bytes of keys or this many topics in one batch, everybody is woken instead.
const MAX_CHANGES: usize = 65_536;

impl Changes {
    pub fn topic(&mut self, at: u64, topic: Topic) {
        if self.topics.last() == Some(&(at, topic)) {
            return;
        }
        if self.topics.len() >= MAX_CHANGES {
            self.everything = Some(at);
        } else {
            self.topics.push((at, topic));
        }
    }

    pub fn table(&mut self, at: u64, t: Table) {
        self.topic(at, table(t));
    }

    pub fn named(&mut self, at: u64, kind: Kind, name: &str) {
        self.topic(at, topic(kind, name.as_bytes()));
    }

    /// A key was written or deleted: concerns the key, each of its prefixes, and the whole store.
    pub fn key(&mut self, at: u64, key: &[u8]) {
        self.table(at, Table::Kvs);
        let cut = key.len().min(MAX_CHANGES);
        if self.key_bytes.len() + cut > 16 * MAX_CHANGES || cut < key.len() {
            self.everything = Some(at);
        } else {
            self.key_bytes.extend_from_slice(key);
            self.keys.push((at, self.key_bytes.len()));
        }
    }

    /// The keys written and deleted; `None` when they are too many to name.
    pub fn written(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let mut start = 0;
        let keys = self.keys.iter().map(move |(_, end)| {
            let key = self.key_bytes.get(start..*end).unwrap_or_default();
            start = *end;
            key
        });
        self.everything.is_none().then_some(keys)
    }

    /// A point to come back to when a command is undone.
    pub fn mark(&self) -> (usize, usize, usize) {
        (self.topics.len(), self.keys.len(), self.key_bytes.len())
    }

    /// Forgets what was added since `mark`. A note that everything changed stays: it only wakes.
    pub fn undo(&mut self, mark: (usize, usize, usize)) {
        self.topics.truncate(mark.0);
        self.keys.truncate(mark.1);
        self.key_bytes.truncate(mark.2);
    }

    pub fn clear(&mut self) {
        self.topics.clear();
        self.keys.clear();
        self.key_bytes.clear();
        self.everything = None;
    }
}
