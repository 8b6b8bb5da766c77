//! A leader's duty in a secondary datacenter: having the primary's policies and roles here, and its tokens if that is wanted.
//!
//! Holds true: nothing is written that is here already; what is in memory at once is bounded but for the list of what the
//! primary has; the primary's leader is asked, so that no server of it that lags takes anything away here; while the
//! primary cannot be asked everything stays as it is.
//! Leaves to others: what is to be done (`crate::acl::replication`), what a kind of objects is (`kind`).
//! Source: `docs/reference/http-1.md` section 11.1; the log of a running Consul 1.8.7.

mod kind;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smol::future::FutureExt;

use self::kind::Copied;
use super::wall_now;
use crate::acl::replication::{Plan, Progress, batches, plan};
use crate::codec::Serialize;
use crate::drive::{self, Limiter, Rate};
use crate::server::Server;
use crate::server::forward::Era;
use crate::structs::rpc::{BoxFuture, Reply, Request};
use crate::structs::{
    ACLPolicy, ACLReplicationStatus, ACLRole, ACLToken, Error, QueryMeta, QueryOptions, Result,
};

/// How long the primary is to wait for a change. Longer would cost less, but whoever asks again just when the primary is
/// restored waits for an index that it will not reach soon.
const WAIT: Duration = Duration::from_secs(60);
/// How much longer than that an answer may take.
const GRACE: Duration = Duration::from_secs(30);
/// Passes a second, and how many at once, as Consul's.
const RATE: Rate = Rate {
    per_second: 1.0,
    burst: 5,
};
/// Objects fetched at once: each may have half a mebibyte of rules.
const FETCH: usize = 32;
/// Bytes in one command, unless a single object is larger.
const BATCH_BYTES: usize = 256 << 10;
/// Objects deleted by one command.
const BATCH_DELETIONS: usize = 1024;

/// The secret that is used, and how it goes.
#[derive(Default)]
pub(in crate::server) struct Replication {
    token: Mutex<String>,
    status: Mutex<ACLReplicationStatus>,
    /// Ends when it is worth trying anew at once.
    era: Era,
}

impl Replication {
    /// Takes the secret that the primary is asked with.
    pub fn set_token(&self, token: &str) {
        let mut known = lock(&self.token);
        if *known != token {
            token.clone_into(&mut known);
            drop(known);
            self.begin_anew();
        }
    }

    /// Does not wait any longer after a failure: something changed.
    pub fn begin_anew(&self) {
        self.era.end();
    }

    /// How it goes, as far as this server does it.
    pub fn status(&self) -> ACLReplicationStatus {
        lock(&self.status).clone()
    }

    /// This server does not do it any longer.
    pub fn clear(&self) {
        *lock(&self.status) = ACLReplicationStatus::default();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Copies from the primary datacenter, until dropped; does nothing in the primary.
    pub(in crate::server) async fn run_acl_replication(&self) {
        if !self.is_secondary() {
            return std::future::pending().await;
        }
        let tokens = self.options.acl.token_replication;
        *lock(&self.replication.status) = ACLReplicationStatus {
            enabled: true,
            running: true,
            source_datacenter: self.options.acl.primary_datacenter.clone(),
            replication_type: if tokens { "tokens" } else { "policies" }.to_owned(),
            ..ACLReplicationStatus::default()
        };
        let copy_tokens = async {
            if !tokens {
                std::future::pending::<()>().await;
            }
            self.copy::<ACLToken>().await;
        };
        self.copy::<ACLPolicy>()
            .or(self.copy::<ACLRole>())
            .or(copy_tokens)
            .await;
    }

    /// Keeps one kind of objects like the primary's.
    async fn copy<T: Copied>(&self) {
        log::info!(target: "agent.leader", "started routine: routine=\"ACL {} replication\"", T::WORD);
        let limiter = Limiter::new(RATE, drive::now());
        let mut progress = Progress::default();
        loop {
            // Taken first: whatever changes from here on is not missed.
            let changed = self.replication.era.over();
            drive::sleep(limiter.reserve(drive::now())).await;
            let pass = async { Some(self.pass::<T>(&mut progress).await) };
            let anew = async {
                changed.await;
                None
            };
            match pass.or(anew).await {
                None => {}
                Some(Ok(())) => {
                    let mut status = lock(&self.replication.status);
                    *T::index(&mut status) = progress.index();
                    status.last_success = whole_seconds();
                    log::debug!(
                        target: "agent.server.replication.acl", kind = T::WORD, index = progress.index();
                        "ACL replication completed through remote index"
                    );
                }
                Some(Err(error)) => {
                    let pause = progress.failed();
                    lock(&self.replication.status).last_error = whole_seconds();
                    log::warn!(
                        target: "agent.server.replication.acl", kind = T::WORD, error:%;
                        "ACL replication error (will retry if still leader)"
                    );
                    let changed = self.replication.era.over();
                    drive::sleep(pause).or(changed).await;
                }
            }
        }
    }

    /// Waits for a change in the primary and makes it here.
    async fn pass<T: Copied>(&self, progress: &mut Progress) -> Result<()> {
        let epoch = self.state.epoch();
        let failed =
            |e: Error| Error::from(format!("failed to retrieve remote ACL {}: {e}", T::PLURAL));
        let mut options = self.replication_options();
        options.min_query_index = progress.index();
        options.max_query_time = WAIT.into();
        let there = self.options.acl.primary_datacenter.clone();
        let reply = self
            .ask_primary_for(T::list(there, options), WAIT + GRACE)
            .await
            .map_err(failed)?;
        let (meta, remote) = T::listed(reply).ok_or_else(|| failed(unexpected()))?;
        let since = progress.since(meta.index, epoch);
        if since == 0 && progress.index() > meta.index {
            log::warn!(
                target: "agent.server.replication.acl", from = progress.index(), to = meta.index;
                "ACL replication remote index moved backwards, forcing a full ACL {} sync", T::WORD
            );
        }
        let local = T::marks(&self.state.read()?)?;
        let plan = plan(local, remote, since);
        if !plan.is_empty() {
            self.carry_out::<T>(plan).await?;
        }
        progress.succeeded(meta.index, epoch);
        Ok(())
    }

    async fn carry_out<T: Copied>(&self, plan: Plan) -> Result<()> {
        log::debug!(
            target: "agent.server.replication.acl", deletions = plan.deletions.len(), updates = plan.updates.len();
            "acl replication: {}", T::PLURAL
        );
        self.delete_copies::<T>(plan.deletions).await?;
        for id in plan.aside {
            let known = T::one(&self.state.read()?, &id)?;
            if let Some(moved) = known.and_then(|one| one.renamed(&id)) {
                self.write_copies(vec![moved]).await?;
            }
        }
        for ids in plan.updates.chunks(FETCH) {
            let fetched = self.fetch::<T>(ids.to_vec()).await?;
            let (mut changed, mut replaced) = (Vec::new(), Vec::new());
            {
                let state = self.state.read()?;
                for one in fetched {
                    match T::one(&state, one.id())? {
                        Some(known) if known.is_copy_of(&one) => continue,
                        Some(known) if one.replaces(&known) => replaced.push(one.id().to_owned()),
                        _ => {}
                    }
                    changed.push(one);
                }
            }
            self.delete_copies::<T>(replaced).await?;
            for batch in batches(changed, BATCH_BYTES, T::size) {
                self.write_copies(batch).await?;
            }
        }
        Ok(())
    }

    async fn delete_copies<T: Copied>(&self, ids: Vec<String>) -> Result<()> {
        for ids in ids.chunks(BATCH_DELETIONS) {
            let (number, request) = T::delete(ids.to_vec());
            self.write(number, request).await?;
        }
        Ok(())
    }

    async fn write_copies<T: Copied>(&self, batch: Vec<T>) -> Result<()> {
        let (number, request) = T::set(batch);
        self.write(number, request).await
    }

    /// Reads objects in the primary; those that are gone by now are not among them.
    async fn fetch<T: Copied>(&self, ids: Vec<String>) -> Result<Vec<T>> {
        let failed = |e: Error| {
            let what = T::PLURAL;
            Error::from(format!("failed to retrieve ACL {what} updates: {e}"))
        };
        let there = self.options.acl.primary_datacenter.clone();
        let request = T::read(there, ids, self.replication_options());
        let reply = self.ask_primary_for(request, GRACE).await.map_err(failed)?;
        T::found(reply).ok_or_else(|| failed(unexpected()))?
    }

    fn replication_options(&self) -> QueryOptions {
        QueryOptions {
            token: lock(&self.replication.token).clone(),
            ..QueryOptions::default()
        }
    }

    // What follows is boxed, for it is the same for each kind of objects, and would be there three times.

    fn write(
        &self,
        number: u8,
        request: Box<dyn Serialize + Send + Sync>,
    ) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.propose(number, &*request).await?;
            Ok(())
        })
    }

    fn ask_primary_for(&self, request: Request, within: Duration) -> BoxFuture<'_, Result<Reply>> {
        Box::pin(self.call_elsewhere_within(request, within))
    }
}

fn unexpected() -> Error {
    Error::new("rpc: an unexpected reply")
}

/// The present time as the state of the replication tells it.
fn whole_seconds() -> crate::structs::go::GoTime {
    let mut now = wall_now();
    now.nanos = 0;
    now
}

/// What an answer says of itself, and the objects in it.
type Listed = (QueryMeta, Vec<crate::acl::replication::Mark>);
