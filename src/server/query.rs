//! How a read is answered: the consistency it asks for, and blocking until something changed.
//!
//! A blocked query holds nothing but the topics it watches: its result is dropped and read again when
//! something changed or the time is up.
//! Source: `docs/reference/rpc.md` sections 7 and 8, `docs/reference/http-1.md` sections 1.4 and 1.5.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Server, propose_error};
use crate::acl::Authorizer;
use crate::drive;
use crate::drive::raft::ProposeError;
use crate::store::{Read, WatchSet};
use crate::structs::go::GoTime;
use crate::structs::{self, Error, QueryMeta, QueryOptions, Result};
use crate::telemetry::{Timed, metrics};

/// The random part of a wait is at most this fraction of it, so that queries do not end in step.
const JITTER_FRACTION: u32 = 16;
/// First pause before asking again for a leader.
const LEADER_POLL: Duration = Duration::from_millis(10);

/// A random part of at most `1 / JITTER_FRACTION` of a duration.
fn jitter(of: Duration) -> Duration {
    of.mul_f64(fastrand::f64() / f64::from(JITTER_FRACTION))
}

/// The end of a token, if it comes before `deadline`.
fn until(ends: Option<GoTime>, deadline: Instant) -> Instant {
    let Some(end) = ends else { return deadline };
    let now = super::acl::wall_now();
    let left = Duration::from_secs((end.seconds - now.seconds).max(0).unsigned_abs() + 1);
    deadline.min(drive::now() + left)
}

/// One of the queries that wait at the moment.
struct Blocking;

static BLOCKING: AtomicUsize = AtomicUsize::new(0);

impl Blocking {
    fn begin() -> Self {
        let now = BLOCKING.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::RPC_QUERIES_BLOCKING.set(now as f64);
        Self
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let now = BLOCKING.fetch_sub(1, Ordering::Relaxed) - 1;
        metrics::RPC_QUERIES_BLOCKING.set(now as f64);
    }
}

impl Server {
    /// Waits until this server is a leader that may answer, for as long as calls are held.
    ///
    /// # Errors
    /// `No cluster leader`, or what the disk says when it is why there is none.
    pub(super) async fn wait_for_leader(&self) -> Result<()> {
        if self.is_ready_leader() {
            return Ok(());
        }
        let deadline = drive::now() + self.options.rpc_hold_timeout;
        let mut pause = LEADER_POLL;
        while drive::now() < deadline {
            drive::sleep(pause).await;
            if self.is_ready_leader() {
                return Ok(());
            }
            // Another one leads: whoever routed the call here asks there.
            if self.raft.leadership().leader.is_some() && !self.raft.is_leader() {
                return Err(Error::new(structs::NO_CLUSTER_LEADER));
            }
            pause = (pause * 2).min(self.options.rpc_hold_timeout / JITTER_FRACTION);
        }
        Err(self
            .raft
            .disk_fault()
            .map_or(Error::new(structs::NO_CLUSTER_LEADER), Error::new))
    }

    /// Gives the consistency that the options ask for.
    pub(super) async fn make_consistent(&self, options: &QueryOptions) -> Result<()> {
        if options.allow_stale && self.had_leader.load(Ordering::Acquire) {
            return Ok(());
        }
        self.wait_for_leader().await?;
        // Under the lease nobody else can have written anything.
        if options.require_consistent || !self.raft.has_lease() {
            let _timed = Timed::start(&metrics::RPC_CONSISTENT_READ);
            let index = self.raft.read_index().await.map_err(|error| match error {
                // Nothing was changed: whoever routed the call here asks the next leader.
                ProposeError::Lost => Error::new(structs::NO_CLUSTER_LEADER),
                other => propose_error(other),
            })?;
            self.wait_applied(index).await?;
        }
        Ok(())
    }

    /// Waits until the state machine has applied `index`.
    pub(super) async fn wait_applied(&self, index: u64) -> Result<()> {
        let deadline = drive::now() + self.options.rpc_hold_timeout;
        let mut pause = Duration::from_micros(200);
        while self.raft.applied_index() < index {
            if drive::now() >= deadline {
                return Err(Error::new(structs::NOT_READY_CONSISTENT));
            }
            drive::sleep(pause).await;
            pause = (pause * 2).min(LEADER_POLL);
        }
        Ok(())
    }

    /// What an answer says about who answered.
    pub(super) fn meta(&self, index: u64) -> QueryMeta {
        let known_leader = self.raft.leadership().leader.is_some();
        let last_contact = self.raft.last_contact().unwrap_or_default();
        QueryMeta {
            index,
            known_leader,
            last_contact: last_contact.into(),
            ..QueryMeta::default()
        }
    }

    /// Answers a read: runs `read` on a snapshot of the state and, if the options say so, again after each
    /// change of what it depends on until its index exceeds the one given or the time is up.
    ///
    /// # Errors
    /// What `read` says, or that there is no leader.
    pub(super) async fn read<T>(
        &self,
        options: &QueryOptions,
        read: impl Fn(&Read, &mut WatchSet, &Authorizer) -> Result<(u64, T)>,
    ) -> Result<(QueryMeta, T)> {
        self.read_known(options, |_| Ok(None), read).await
    }

    /// As [`Server::read`], for what may be known without a snapshot: `known` is asked first, unless the read blocks.
    ///
    /// # Errors
    /// As [`Server::read`], and what `known` says.
    pub(super) async fn read_known<T>(
        &self,
        options: &QueryOptions,
        known: impl FnOnce(&Authorizer) -> Result<Option<(u64, T)>>,
        read: impl Fn(&Read, &mut WatchSet, &Authorizer) -> Result<(u64, T)>,
    ) -> Result<(QueryMeta, T)> {
        let who = || self.authorizer_until(&options.token);
        self.read_as(options, who, known, read).await
    }

    /// As [`Server::read`], for what is guarded otherwise.
    ///
    /// # Errors
    /// As [`Server::read`].
    pub(super) async fn read_unguarded<T>(
        &self,
        options: &QueryOptions,
        read: impl Fn(&Read, &mut WatchSet) -> Result<(u64, T)>,
    ) -> Result<(QueryMeta, T)> {
        let open = || Ok((None, self.open_authorizer()));
        let read = |state: &Read, watch: &mut WatchSet, _: &Authorizer| read(state, watch);
        self.read_as(options, open, |_| Ok(None), read).await
    }

    async fn read_as<T>(
        &self,
        options: &QueryOptions,
        who: impl Fn() -> Result<(Option<GoTime>, Arc<Authorizer>)>,
        known: impl FnOnce(&Authorizer) -> Result<Option<(u64, T)>>,
        read: impl Fn(&Read, &mut WatchSet, &Authorizer) -> Result<(u64, T)>,
    ) -> Result<(QueryMeta, T)> {
        metrics::RPC_QUERY.incr();
        self.make_consistent(options).await?;
        self.prepare(&options.token).await;
        if options.min_query_index == 0 {
            let (_, authorizer) = who()?;
            if let Some((index, data)) = known(&authorizer)? {
                return Ok((self.meta(index.max(1)), data));
            }
            let state = self.state.read()?;
            let (index, data) = read(&state, &mut WatchSet::new(), &authorizer)?;
            return Ok((self.meta(index.max(1)), data));
        }
        let _blocking = Blocking::begin();
        self.read_blocking(options, who, read).await
    }

    async fn read_blocking<T>(
        &self,
        options: &QueryOptions,
        who: impl Fn() -> Result<(Option<GoTime>, Arc<Authorizer>)>,
        read: impl Fn(&Read, &mut WatchSet, &Authorizer) -> Result<(u64, T)>,
    ) -> Result<(QueryMeta, T)> {
        let wait = match options.max_query_time.to_std() {
            Duration::ZERO => self.options.default_query_time,
            wait => wait.min(self.options.max_query_time),
        };
        let deadline = drive::now() + wait + jitter(wait);
        // What the last look had as its index, once the time is up: nothing that was watched changed since, so
        // that is still the index of the answer.
        let mut expired: Option<u64> = None;
        let mut replaced = false;
        loop {
            let epoch = self.state.epoch();
            let mut watch = WatchSet::new();
            // Asked anew each time: the query ends when its token does.
            self.prepare(&options.token).await;
            let (ends, authorizer) = who()?;
            let index = {
                let state = self.state.read()?;
                if self.options.acl.enabled {
                    state.watch_acl(&mut watch);
                }
                let (index, data) = read(&state, &mut watch, &authorizer)?;
                let index = index.max(1);
                if let Some(before) = expired {
                    return Ok((self.meta(before), data));
                }
                if index > options.min_query_index || replaced {
                    return Ok((self.meta(index), data));
                }
                index
            };
            let changed =
                drive::timeout_at(until(ends, deadline), watch.changed(&self.state)).await;
            if changed.is_err() && drive::now() >= deadline {
                expired = Some(index);
            }
            replaced = self.state.epoch() != epoch;
            if options.require_consistent && expired.is_none() && !replaced {
                self.make_consistent(options).await?;
            }
        }
    }
}
