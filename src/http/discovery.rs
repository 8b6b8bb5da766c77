//! What the reads of catalog and health share: `discovery_max_stale`, the repeat of a read that came
//! out too stale, and the header that tells the consistency.
//!
//! Source: `docs/reference/http-1.md` sections 1.3, 1.4 and 1.6.

use std::time::Duration;

use hyper::header::{AGE, HeaderValue};

use super::context::Ctx;
use super::conventions::{CACHE, CONSISTENCY, consistency_word, read};
use super::error::HttpError;
use super::response::Response;
use crate::structs;
use crate::structs::rpc::{Method, call};
use crate::structs::{
    ChecksInStateRequest, DCSpecificRequest, IndexedCheckServiceNodes, IndexedHealthChecks,
    IndexedNodeServiceList, IndexedNodeServices, IndexedNodes, IndexedServiceNodes,
    IndexedServices, NodeSpecificRequest, QueryMeta, QueryOptions, ServiceSpecificRequest,
};

/// A request that says how to read.
pub(super) trait Options: Clone {
    /// How to read.
    fn options(&mut self) -> &mut QueryOptions;
}

/// An answer that says how it was read.
pub(super) trait Meta {
    /// How it was read.
    fn meta(&self) -> &QueryMeta;
}

macro_rules! requests {
    ($($name:ident)*) => {$(
        impl Options for $name {
            fn options(&mut self) -> &mut QueryOptions { &mut self.options }
        }
    )*};
}
macro_rules! answers {
    ($($name:ident)*) => {$(
        impl Meta for $name {
            fn meta(&self) -> &QueryMeta { &self.meta }
        }
    )*};
}
requests! { ChecksInStateRequest DCSpecificRequest NodeSpecificRequest ServiceSpecificRequest }
answers! {
    IndexedCheckServiceNodes IndexedHealthChecks IndexedNodeServiceList IndexedNodeServices
    IndexedNodes IndexedServiceNodes IndexedServices
}

/// A read's result and what its headers need.
pub(super) struct Found<T> {
    /// The result.
    pub reply: T,
    word: &'static str,
    cached: Option<FromCache>,
}

/// What the agent's cache says about an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct FromCache {
    hit: bool,
    age: Duration,
}

impl FromCache {
    /// Adds the headers to an answer.
    pub fn dress(self, response: Response) -> Response {
        if !self.hit {
            return response.with(CACHE, HeaderValue::from_static("MISS"));
        }
        response
            .with(CACHE, HeaderValue::from_static("HIT"))
            .with(AGE, HeaderValue::from(self.age.as_secs()))
    }
}

/// Reads through the agent's cache.
///
/// # Errors
/// The servers' error.
pub(super) async fn read_cached<M: Method>(
    ctx: &Ctx,
    args: M::Args,
) -> structs::Result<(M::Reply, FromCache)> {
    let Some(agent) = ctx.agent() else {
        // Without an agent there is nothing to keep answers in.
        let reply = call::<M>(&*ctx.delegate, args).await?;
        let (hit, age) = (false, Duration::ZERO);
        return Ok((reply, FromCache { hit, age }));
    };
    let cached = agent.cache.get(M::request(args)).await?;
    let (hit, age) = (cached.hit, cached.age);
    let unexpected = || structs::Error::new(format!("rpc: unexpected reply to {}", M::NAME));
    let reply = M::reply(cached.reply).ok_or_else(unexpected)?;
    Ok((reply, FromCache { hit, age }))
}

/// Reads; `cacheable` marks the reads that Consul's agents can serve from a cache.
///
/// # Errors
/// The servers' error, with the headers of a failed read.
pub(super) async fn discover<M>(
    ctx: &Ctx,
    mut args: M::Args,
    cacheable: bool,
) -> Result<Found<M::Reply>, HttpError>
where
    M: Method,
    M::Args: Options,
    M::Reply: Meta,
{
    let options = args.options();
    let word = consistency_word(options);
    if cacheable && options.use_cache {
        let (reply, cached) = read_cached::<M>(ctx, args)
            .await
            .map_err(|e| HttpError::from(e).with_meta())?;
        let cached = Some(cached);
        return Ok(Found {
            reply,
            word,
            cached,
        });
    }
    let cached = None;
    let bound = options.max_stale_duration;
    if !options.allow_stale || bound.0 <= 0 {
        let reply = read::<M>(ctx, args).await?;
        return Ok(Found {
            reply,
            word,
            cached,
        });
    }
    let mut reply = read::<M>(ctx, args.clone()).await?;
    if reply.meta().last_contact > bound {
        args.options().allow_stale = false;
        reply = read::<M>(ctx, args).await?;
    }
    Ok(Found {
        reply,
        word,
        cached,
    })
}

impl<T: Meta> Found<T> {
    /// Adds the headers to an answer made of the result.
    pub fn dress(&self, response: Response) -> Response {
        self.dressing().dress(response)
    }

    /// The headers, for when the result is taken apart before the answer is made.
    pub fn dressing(&self) -> Dressing {
        Dressing {
            meta: self.reply.meta().clone(),
            word: self.word,
            cached: self.cached,
        }
    }
}

/// The headers of a read.
pub(super) struct Dressing {
    meta: QueryMeta,
    word: &'static str,
    cached: Option<FromCache>,
}

impl Dressing {
    /// Adds the headers to an answer.
    pub fn dress(&self, response: Response) -> Response {
        let response = response
            .with_meta(&self.meta)
            .with(CONSISTENCY, HeaderValue::from_static(self.word));
        match self.cached {
            Some(cached) => cached.dress(response),
            None => response,
        }
    }
}
