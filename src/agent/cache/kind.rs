//! Which answers the cache keeps, how, and how large they are.
//!
//! Source: `docs/reference/http-1.md` section 1.6, `docs/reference/http-2.md` sections 7 and 8.

use crate::structs::rpc::{Reply, Request};

/// How an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Given out until it is too old for whoever asks.
    Simple,
    /// Kept up to date by a blocking query.
    Refreshed,
}

/// How the answer to a request is kept; `None` when it never is.
pub(super) fn kind(request: &Request) -> Option<Kind> {
    match request {
        Request::CatalogListDatacenters(_) => Some(Kind::Simple),
        Request::CatalogListServices(_)
        | Request::CatalogNodeServices(_)
        | Request::CatalogServiceNodes(_)
        | Request::HealthServiceNodes(_) => Some(Kind::Refreshed),
        _ => None,
    }
}

/// The index of an answer, never 0.
pub(super) fn index(reply: &Reply) -> u64 {
    let index = match reply {
        Reply::CatalogListServices(r) => r.meta.index,
        Reply::CatalogNodeServices(r) => r.meta.index,
        Reply::CatalogServiceNodes(r) => r.meta.index,
        Reply::HealthServiceNodes(r) => r.meta.index,
        _ => 0,
    };
    index.max(1)
}

/// The number of rows of an answer, at least 1.
pub(super) fn rows(reply: &Reply) -> usize {
    let rows = match reply {
        Reply::CatalogListDatacenters(list) => list.len(),
        Reply::CatalogListServices(r) => r.services.as_ref().map_or(0, |m| m.len()),
        Reply::CatalogNodeServices(r) => {
            let services = r.node_services.as_ref().and_then(|n| n.services.as_ref());
            services.map_or(0, |m| m.len())
        }
        Reply::CatalogServiceNodes(r) => r.service_nodes.as_ref().map_or(0, Vec::len),
        Reply::HealthServiceNodes(r) => r.nodes.as_ref().map_or(0, Vec::len),
        _ => 0,
    };
    rows.max(1)
}
