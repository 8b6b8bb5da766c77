//! One answer in the cache: its value, who waits for it, and since when nothing is known to be right.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::Event;
use smol::future::FutureExt;

use super::Cached;
use super::kind::index;
use crate::drive::{Instant, Limiter, Rate};
use crate::structs::Error;
use crate::structs::go::GoDuration;
use crate::structs::rpc::{Reply, Request};

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Value {
    reply: Arc<Reply>,
    pub index: u64,
    pub at: Instant,
}

impl Value {
    /// As it is given out.
    pub fn given(&self, hit: bool, age: Duration) -> Cached {
        Cached {
            reply: Reply::clone(&self.reply),
            hit,
            age,
        }
    }
}

struct State {
    value: Option<Value>,
    /// What went wrong with the last fetch, if it did.
    failure: Option<Error>,
    /// Since when fetches fail.
    lost: Option<Instant>,
    used: Instant,
    /// What the table counts for it.
    weight: usize,
}

pub(super) struct Entry {
    /// What is asked; without an index.
    pub request: Request,
    pub limiter: Limiter,
    /// One fetch at a time, of those that are not refreshed.
    pub gate: smol::lock::Mutex<()>,
    /// Each fetch's end.
    pub changed: Event,
    state: Mutex<State>,
    refreshing: AtomicBool,
    waiting: AtomicUsize,
    evicted: AtomicBool,
    eviction: Event,
}

/// Somebody waits for an entry.
pub(super) struct Waiting<'a>(&'a Entry);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Entry {
    pub fn new(request: Request, rate: Rate, now: Instant) -> Self {
        Self {
            request,
            limiter: Limiter::new(rate, now),
            gate: smol::lock::Mutex::new(()),
            changed: Event::new(),
            state: Mutex::new(State {
                value: None,
                failure: None,
                lost: None,
                used: now,
                weight: 0,
            }),
            refreshing: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            eviction: Event::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn touch(&self, now: Instant) {
        self.lock().used = now;
    }

    pub fn used(&self) -> Instant {
        self.lock().used
    }

    pub fn unused_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.used())
    }

    pub fn value(&self) -> Option<Value> {
        self.lock().value.clone()
    }

    /// The value and what went wrong last, together.
    pub fn look(&self) -> (Option<Value>, Option<Error>) {
        let state = self.lock();
        (state.value.clone(), state.failure.clone())
    }

    /// For how long fetches have failed.
    pub fn lost_for(&self) -> Duration {
        self.lock()
            .lost
            .map_or(Duration::ZERO, |lost| lost.elapsed())
    }

    /// A fetch succeeded.
    pub fn set(&self, reply: Reply, now: Instant) -> Value {
        let value = Value {
            index: index(&reply),
            reply: Arc::new(reply),
            at: now,
        };
        {
            let mut state = self.lock();
            state.value = Some(value.clone());
            state.failure = None;
            state.lost = None;
        }
        self.changed.notify(usize::MAX);
        value
    }

    /// A fetch failed; whether there is an older answer to give out.
    pub fn fail(&self, error: Error, now: Instant) -> bool {
        let has_value = {
            let mut state = self.lock();
            state.failure = Some(error);
            state.lost.get_or_insert(now);
            state.value.is_some()
        };
        self.changed.notify(usize::MAX);
        has_value
    }

    /// Notes a new weight; the one before.
    pub fn weigh(&self, weight: usize) -> usize {
        std::mem::replace(&mut self.lock().weight, weight)
    }

    /// What to fetch next: what is newer than the value.
    pub fn next(&self, wait: Duration) -> Request {
        let mut request = self.request.clone();
        if let Some(options) = request.options_mut() {
            options.min_query_index = self.value().map_or(0, |v| v.index);
            options.max_query_time = GoDuration::from(wait);
        }
        request
    }

    /// Whether the caller is the one to start the background query.
    pub fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self)
    }

    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    pub fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// It is in the cache no more: its background query ends, and who waits is told.
    pub fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
        {
            let mut state = self.lock();
            state.failure.get_or_insert_with(super::gone);
        }
        self.eviction.notify(usize::MAX);
        self.changed.notify(usize::MAX);
    }

    /// Waits for a step of the background query; `None` when the entry was evicted meanwhile.
    pub async fn until_evicted<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        let eviction = self.eviction.listen();
        if self.is_evicted() {
            return None;
        }
        let step = async { Some(step.await) };
        let evicted = async {
            eviction.await;
            None
        };
        step.or(evicted).await
    }
}
