//! `KVS.List` and `KVS.ListKeys`: what is large is read page by page while it is sent, to the own agent or to who
//! calls over the network.
//!
//! Holds true: an answer shows one moment of the state, whatever is written while it is sent; how many are read
//! that way at once is limited, for the own agent and for the others apart, and others wait.
//! Source: `docs/reference/http-1.md` section 2.

use std::sync::Arc;

use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::acl::{Authorizer, Resource};
use crate::drive;
use crate::server::Server;
use crate::server::acl::retain;
use crate::store::{Listed, View};
use crate::structs::rpc::{Listing, Reply, Request};
use crate::structs::{self, DirEntry, Error, KeyListRequest, KeyRequest, Result};

/// Answers of more than this are read while they are sent.
const WHOLE: usize = 256 << 10;
/// What is read of them at once.
const PAGE: usize = 64 << 10;
/// How many are read at once.
const MAX_READING: usize = 8;

/// Who an answer is for.
#[derive(Clone, Copy)]
pub(crate) enum For {
    /// The own agent, which need not know how long it is.
    Agent,
    /// A caller over the network, who is told first how many there are.
    Caller,
}

/// The places of those that are read while they are sent: callers far away take none of the own agent's.
pub(crate) struct Reading {
    agent: Arc<Semaphore>,
    callers: Arc<Semaphore>,
}

impl Default for Reading {
    fn default() -> Self {
        let places = || Arc::new(Semaphore::new(MAX_READING));
        Self {
            agent: places(),
            callers: places(),
        }
    }
}

/// What is still to be read of an answer.
struct Rest {
    view: View,
    authorizer: Arc<Authorizer>,
    prefix: String,
    separator: String,
    _place: SemaphoreGuardArc,
}

impl Rest {
    async fn begin(
        server: &Server,
        who: For,
        token: &str,
        (prefix, separator): (&str, &str),
    ) -> Result<Rest> {
        let places = match who {
            For::Agent => &server.reading.agent,
            For::Caller => &server.reading.callers,
        };
        let place = places.acquire_arc().await;
        server.prepare(token).await;
        Ok(Rest {
            view: server.state.view(drive::now() - server.options.clock)?,
            authorizer: server.authorizer(token)?,
            prefix: prefix.to_owned(),
            separator: separator.to_owned(),
            _place: place,
        })
    }

    fn keep_entries(&self, page: &mut Listed<DirEntry>) {
        retain(&mut page.found, &self.authorizer);
    }

    fn keep_keys(&self, page: &mut Listed<String>) {
        page.found
            .retain(|key| self.authorizer.reads(Resource::Key, key));
    }

    /// How many keys, or entries, there are on all pages.
    fn count(&self, who: For) -> Result<Option<usize>> {
        if matches!(who, For::Agent) {
            return Ok(None);
        }
        let (prefix, separator) = (&self.prefix, &self.separator);
        let mut page = self.view.kvs_list_keys(prefix, separator, PAGE)?.1;
        let mut total = 0;
        loop {
            self.keep_keys(&mut page);
            total += page.found.len();
            let Some(after) = page.after else {
                return Ok(Some(total));
            };
            page = self
                .view
                .kvs_list_keys_on(prefix, separator, &after, PAGE)?;
        }
    }
}

/// The pages behind a key, each found by `next`.
fn pages<T>(
    rest: Rest,
    mut after: Option<String>,
    next: impl Fn(&Rest, &str) -> Result<Listed<T>>,
) -> impl Iterator<Item = Result<Vec<T>>> {
    std::iter::from_fn(move || match next(&rest, &after.take()?) {
        Ok(page) => {
            after = page.after;
            Some(Ok(page.found))
        }
        Err(e) => Some(Err(e)),
    })
}

impl Server {
    /// `KVS.List` for the own agent, answered by whoever may.
    ///
    /// # Errors
    /// As any read.
    pub(crate) async fn list_entries(&self, args: KeyRequest) -> Result<Listing<DirEntry>> {
        let request = Request::KvsList(args.clone());
        if self.is_placed_here(&request) {
            match self.kvs_listing(args, For::Agent).await {
                Err(e) if self.is_worth_another_try(&e) => {}
                done => return done,
            }
        }
        match self.route(request).await? {
            Reply::KvsList(all) => Ok(Listing::whole(all.meta, all.entries.unwrap_or_default())),
            _ => Err(Error::new("rpc: unexpected reply to KVS.List")),
        }
    }

    /// `KVS.ListKeys` for the own agent, answered by whoever may.
    ///
    /// # Errors
    /// As any read.
    pub(crate) async fn list_keys(&self, args: KeyListRequest) -> Result<Listing<String>> {
        let request = Request::KvsListKeys(args.clone());
        if self.is_placed_here(&request) {
            match self.kvs_listing_keys(args, For::Agent).await {
                Err(e) if self.is_worth_another_try(&e) => {}
                done => return done,
            }
        }
        match self.route(request).await? {
            Reply::KvsListKeys(all) => Ok(Listing::whole(all.meta, all.keys.unwrap_or_default())),
            _ => Err(Error::new("rpc: unexpected reply to KVS.ListKeys")),
        }
    }

    /// The places of large answers to callers.
    pub(crate) fn places_for_callers(&self) -> &Arc<Semaphore> {
        &self.reading.callers
    }

    /// Whether another server may know better.
    pub(crate) fn is_worth_another_try(&self, e: &Error) -> bool {
        e.is(structs::NO_CLUSTER_LEADER) && !self.raft.is_alone()
    }

    /// `KVS.List`, in pages.
    ///
    /// # Errors
    /// As any read.
    pub(crate) async fn kvs_listing(
        &self,
        request: KeyRequest,
        who: For,
    ) -> Result<Listing<DirEntry>> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, page) = self
            .read(&request.options, |state, watch, acl| {
                self.may_list(acl, &request.key)?;
                let (index, mut page) = state.kvs_list_upto(watch, &request.key, WHOLE)?;
                retain(&mut page.found, acl);
                Ok((index, page))
            })
            .await?;
        if page.after.is_none() {
            return Ok(Listing::whole(meta, page.found));
        }
        drop(page);
        let rest = Rest::begin(self, who, &request.options.token, (&request.key, "")).await?;
        let total = rest.count(who)?;
        let (index, mut page) = rest.view.kvs_list(&rest.prefix, PAGE)?;
        rest.keep_entries(&mut page);
        let rest = pages(rest, page.after, |rest, after| {
            let mut page = rest.view.kvs_list_on(&rest.prefix, after, PAGE)?;
            rest.keep_entries(&mut page);
            Ok(page)
        });
        Ok(Listing {
            meta: self.meta(index.max(1)),
            first: page.found,
            rest: Some(Box::new(rest)),
            total,
        })
    }

    /// `KVS.ListKeys`, in pages.
    ///
    /// # Errors
    /// As any read.
    pub(crate) async fn kvs_listing_keys(
        &self,
        request: KeyListRequest,
        who: For,
    ) -> Result<Listing<String>> {
        self.check_datacenter(&request.datacenter)?;
        let (prefix, separator) = (&request.prefix, &request.seperator);
        let (meta, page) = self
            .read(&request.options, |state, watch, acl| {
                self.may_list(acl, prefix)?;
                let (index, mut page) =
                    state.kvs_list_keys_upto(watch, prefix, separator, WHOLE)?;
                page.found.retain(|key| acl.reads(Resource::Key, key));
                Ok((index, page))
            })
            .await?;
        if page.after.is_none() {
            return Ok(Listing::whole(meta, page.found));
        }
        drop(page);
        let rest = Rest::begin(self, who, &request.options.token, (prefix, separator)).await?;
        let total = rest.count(who)?;
        let (index, mut page) = rest.view.kvs_list_keys(prefix, separator, PAGE)?;
        rest.keep_keys(&mut page);
        let rest = pages(rest, page.after, |rest, after| {
            let (prefix, separator) = (&rest.prefix, &rest.separator);
            let mut page = rest.view.kvs_list_keys_on(prefix, separator, after, PAGE)?;
            rest.keep_keys(&mut page);
            Ok(page)
        });
        Ok(Listing {
            meta: self.meta(index.max(1)),
            first: page.found,
            rest: Some(Box::new(rest)),
            total,
        })
    }
}
