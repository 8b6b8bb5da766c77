//! The agent's cache: answers of servers that are kept and, for most kinds, kept up to date by a blocking
//! query in the background.
//!
//! Holds true: at most [`MAX_ENTRIES`] answers with [`MAX_ROWS`] rows together, the least recently used go
//! first; a background query lives only while somebody asks for its answer; an answer is never given to a
//! request that differs in anything the servers look at, the token included.
//! Leaves to others: which requests ask for it and the headers that tell about it (`http`, `dns`).
//! Source: `docs/reference/http-1.md` section 1.6; Consul's documentation "Agent Caching".

mod entry;
mod kind;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::entry::{Entry, Value};
use self::kind::{Kind, kind, rows};
use crate::drive::{self, Handle, Instant, Rate, TaskSet};
use crate::structs::rpc::{Delegate, Reply, Request};
use crate::structs::{Error, QueryOptions, Result};
use crate::wire::rpc;

/// Answers kept at most.
const MAX_ENTRIES: usize = 1024;
/// Rows (instances, services) kept at most; each takes about a kilobyte.
const MAX_ROWS: usize = 8192;
/// An answer that nobody asked for during this time is forgotten and its background query ends.
const IDLE: Duration = Duration::from_secs(20 * 60);
/// How long a background query blocks.
const REFRESH_WAIT: Duration = Duration::from_secs(600);
/// Wait of a blocking request that names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);
/// Failures of a background query before it pauses, and the longest pause.
const HASTY_FAILURES: u32 = 3;
const MAX_PAUSE: Duration = Duration::from_secs(16);
/// A background query that comes back sooner than this without news is not asked again at once.
const QUICK: Duration = Duration::from_millis(200);
/// Pause after such a one.
const QUICK_PAUSE: Duration = Duration::from_secs(1);

/// Names an answer: a digest of the request.
type Key = [u8; 32];

/// An answer out of the cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The answer.
    pub reply: Reply,
    /// It was there already.
    pub hit: bool,
    /// How long ago it was right for certain.
    pub age: Duration,
}

/// The cache of one agent.
pub struct Cache(Arc<Inner>);

struct Inner {
    delegate: Arc<dyn Delegate>,
    table: Mutex<Table>,
    /// Background queries.
    tasks: TaskSet,
}

struct Table {
    entries: HashMap<Key, Arc<Entry>>,
    rows: usize,
    /// How often each answer may be fetched.
    rate: Rate,
}

impl Cache {
    /// An empty cache that asks through `delegate`.
    pub fn new(delegate: Arc<dyn Delegate>, runtime: Handle, rate: Rate) -> Arc<Self> {
        Arc::new(Self(Arc::new(Inner {
            delegate,
            table: Mutex::new(Table {
                entries: HashMap::new(),
                rows: 0,
                rate,
            }),
            tasks: TaskSet::new(runtime),
        })))
    }

    /// Changes how often each answer may be fetched (`cache.entry_fetch_rate`).
    pub fn set_rate(&self, rate: Rate) {
        let mut table = self.0.lock();
        table.rate = rate;
        let now = drive::now();
        for entry in table.entries.values() {
            entry.limiter.set(rate, now);
        }
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Answers from the cache, asking the servers only if need be. A request with an index waits until the
    /// kept answer is newer.
    ///
    /// # Errors
    /// That of the servers, when there is no answer to give instead.
    pub async fn get(&self, mut request: Request) -> Result<Cached> {
        let Some(kind) = kind(&request) else {
            let reply = self.0.delegate.call(request).await?;
            return Ok(Cached {
                reply,
                hit: false,
                age: Duration::ZERO,
            });
        };
        let options = match request.options_mut() {
            Some(options) => strip(options),
            None => QueryOptions::default(),
        };
        let bytes = rpc::request(0, &request).map_err(|e| Error::new(format!("rpc: {e}")))?;
        let key: Key = Sha256::digest(&bytes).into();
        let entry = self.0.entry(key, request);
        match kind {
            Kind::Simple => self.0.simple(key, &entry, &options).await,
            Kind::Refreshed => self.0.refreshed(key, &entry, &options).await,
        }
    }
}

/// Takes out what is between the asker and this agent; what is left is what the servers are asked.
fn strip(options: &mut QueryOptions) -> QueryOptions {
    let kept = QueryOptions {
        token: options.token.clone(),
        filter: options.filter.clone(),
        // There is no point in asking the leader for what will be kept anyway.
        allow_stale: true,
        ..QueryOptions::default()
    };
    std::mem::replace(options, kept)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a key, in use from now on.
    fn entry(&self, key: Key, request: Request) -> Arc<Entry> {
        let now = drive::now();
        let mut table = self.lock();
        let rate = table.rate;
        let entry = table
            .entries
            .entry(key)
            .or_insert_with(|| Arc::new(Entry::new(request, rate, now)))
            .clone();
        entry.touch(now);
        table.shrink(&key);
        entry
    }

    async fn simple(&self, key: Key, entry: &Arc<Entry>, options: &QueryOptions) -> Result<Cached> {
        let _one = entry.gate.lock().await;
        if let Some(value) = entry.value() {
            let age = value.at.elapsed();
            let max_age = options.max_age.to_std();
            if !options.must_revalidate && (max_age.is_zero() || age <= max_age) {
                return Ok(value.given(true, age));
            }
        }
        match self.delegate.call(entry.request.clone()).await {
            Ok(reply) => {
                let value = self.keep(&key, entry, reply);
                Ok(value.given(false, Duration::ZERO))
            }
            // As a running Consul does, whether or not `stale-if-error` is given.
            Err(error) => match entry.value() {
                Some(value) => Ok(value.given(false, value.at.elapsed())),
                None => Err(error),
            },
        }
    }

    async fn refreshed(
        self: &Arc<Self>,
        key: Key,
        entry: &Arc<Entry>,
        options: &QueryOptions,
    ) -> Result<Cached> {
        let _waiting = entry.wait();
        // Whoever has it fetched cannot have a hit, however fast the answer comes.
        let mut first = !self.ensure_refresh(key, entry);
        let wait = match options.max_query_time.to_std() {
            Duration::ZERO => DEFAULT_WAIT,
            wait => wait.min(REFRESH_WAIT),
        };
        let deadline = drive::now() + wait;
        let wanted = options.min_query_index;
        loop {
            let changed = entry.changed.listen();
            let (value, failure) = entry.look();
            let fresh = value.as_ref().filter(|v| wanted == 0 || v.index > wanted);
            if let Some(value) = fresh {
                return Ok(value.given(first, entry.lost_for()));
            }
            if let Some(error) = failure.filter(|_| !first || value.is_none()) {
                return Err(error);
            }
            first = false;
            // Without an index the fetch alone is waited for, which ends by itself.
            if wanted == 0 {
                changed.await;
            } else if drive::timeout_at(deadline, changed).await.is_err() {
                return match entry.value() {
                    Some(value) => Ok(value.given(false, entry.lost_for())),
                    None => Err(entry.look().1.unwrap_or_else(gone)),
                };
            }
        }
    }

    /// Starts the background query of an entry that has none; whether it had none.
    fn ensure_refresh(self: &Arc<Self>, key: Key, entry: &Arc<Entry>) -> bool {
        let begins = entry.begin_refresh();
        if begins {
            let refresh = refresh(Arc::downgrade(self), key, entry.clone());
            self.tasks.spawn(refresh);
        }
        begins
    }

    /// Keeps an answer, forgetting older ones if there is no room.
    fn keep(&self, key: &Key, entry: &Entry, reply: Reply) -> Value {
        let weight = rows(&reply);
        let value = entry.set(reply, drive::now());
        let mut table = self.lock();
        if table
            .entries
            .get(key)
            .is_some_and(|e| std::ptr::eq(&**e, entry))
        {
            table.rows += weight;
            table.rows -= entry.weigh(weight);
            table.shrink(key);
        }
        value
    }

    /// Forgets an entry unless it is in use; whether it is gone.
    fn retire(&self, key: &Key, entry: &Arc<Entry>, now: Instant) -> bool {
        let mut table = self.lock();
        if entry.is_evicted() {
            return true;
        }
        let idle = !entry.is_waited_for() && entry.unused_for(now) > IDLE;
        if idle {
            table.remove(key);
        }
        idle
    }
}

impl Table {
    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.rows -= entry.weigh(0);
            entry.evict();
        }
    }

    /// Forgets the least recently used entries until the rest fits; `newest` goes last.
    fn shrink(&mut self, newest: &Key) {
        while self.entries.len() > MAX_ENTRIES || self.rows > MAX_ROWS {
            let others = self.entries.iter().filter(|(key, _)| *key != newest);
            let oldest = others.min_by_key(|(_, entry)| entry.used());
            let key = oldest.map_or(*newest, |(key, _)| *key);
            self.remove(&key);
        }
    }
}

fn gone() -> Error {
    Error::new("the cached result was dropped")
}

/// Keeps an entry up to date as long as it is used.
async fn refresh(cache: Weak<Inner>, key: Key, entry: Arc<Entry>) {
    let mut failures = 0;
    loop {
        let Some(delegate) = cache.upgrade().map(|inner| inner.delegate.clone()) else {
            return;
        };
        drive::sleep(entry.limiter.reserve(drive::now())).await;
        let began = drive::now();
        let before = entry.value().map_or(0, |v| v.index);
        let Some(result) = entry
            .until_evicted(delegate.call(entry.next(REFRESH_WAIT)))
            .await
        else {
            return;
        };
        let Some(inner) = cache.upgrade() else { return };
        let pause = match result {
            Ok(reply) => {
                failures = 0;
                let value = inner.keep(&key, &entry, reply);
                let quick = value.index == before && began.elapsed() < QUICK;
                if quick { QUICK_PAUSE } else { Duration::ZERO }
            }
            Err(error) => {
                if !entry.fail(error, drive::now()) {
                    inner.lock().remove(&key);
                    return;
                }
                failures += 1;
                pause_after(failures)
            }
        };
        if inner.retire(&key, &entry, drive::now()) {
            return;
        }
        drop((inner, delegate));
        if entry.until_evicted(drive::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Pauses grow: none at first, then a second, two, four and so on.
fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(HASTY_FAILURES) {
        None | Some(0) => Duration::from_millis(50) * failures,
        Some(beyond) => Duration::from_secs(1 << (beyond - 1).min(4)).min(MAX_PAUSE),
    }
}

#[cfg(test)]
mod tests;
