//! Answers on their way to a caller: small ones are written at once, large ones piece by piece.
//!
//! Holds true: of large answers only so many are held at a time, whoever asks and however slowly they are taken:
//! who comes later waits with empty hands. Listings of keys are never held as a whole. A caller that takes nothing
//! for a while is given up, with its place.
//! Leaves to others: what is answered (`server`), and how large an answer a caller may take (`net`).
//! Source: `docs/reference/rpc.md` section 4.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use smol::io::{AsyncWrite, AsyncWriteExt};
use smol::lock::SemaphoreGuardArc;

use crate::codec::Serialize;
use crate::drive;
use crate::net::room;
use crate::server::Server;
use crate::server::endpoint::listing::For;
use crate::structs::rpc::{Class, Listing, Reply, Request};
use crate::structs::{DirEntry, IndexedDirEntries, IndexedKeyList, Result};
use crate::telemetry::metrics;
use crate::wire::rpc::{self, RequestHeader};
use crate::wire::{self, msgpack};

/// Answers of more bytes are large.
const LARGE: usize = 256 << 10;
/// What is written of them at once.
const PIECE: usize = 64 << 10;
/// How long a caller may take for a piece.
const STALLED: Duration = Duration::from_secs(20);

/// What is to be sent.
pub(super) enum Answer {
    /// All of it.
    Small(Vec<u8>),
    /// All of it, and the place that it holds until it is sent.
    Large(Vec<u8>, SemaphoreGuardArc),
    /// Of `KVS.List`, read while it is sent.
    Entries(Listing<DirEntry>),
    /// Of `KVS.ListKeys`, read while it is sent.
    Keys(Listing<String>),
}

/// Has a call answered.
///
/// # Errors
/// When the answer cannot be written.
pub(super) async fn carry(
    server: &Arc<Server>,
    header: &RequestHeader,
    request: Request,
) -> io::Result<Answer> {
    match &request {
        Request::KvsList(args) if server.is_placed_here(&request) => {
            let result = match server.kvs_listing(args.clone(), For::Caller).await {
                Err(e) if server.is_worth_another_try(&e) => {
                    return whole(server, header, request).await;
                }
                Ok(listing) if listing.rest.is_some() => return Ok(Answer::Entries(listing)),
                result => result,
            };
            let result = result.map(|all| {
                let entries = Some(all.first).filter(|list| !list.is_empty());
                let meta = all.meta;
                Reply::KvsList(IndexedDirEntries { entries, meta })
            });
            written(header, &result).map(Answer::Small)
        }
        Request::KvsListKeys(args) if server.is_placed_here(&request) => {
            let result = match server.kvs_listing_keys(args.clone(), For::Caller).await {
                Err(e) if server.is_worth_another_try(&e) => {
                    return whole(server, header, request).await;
                }
                Ok(listing) if listing.rest.is_some() => return Ok(Answer::Keys(listing)),
                result => result,
            };
            let result = result.map(|all| {
                let keys = Some(all.first).filter(|list| !list.is_empty());
                let meta = all.meta;
                Reply::KvsListKeys(IndexedKeyList { keys, meta })
            });
            written(header, &result).map(Answer::Small)
        }
        _ => whole(server, header, request).await,
    }
}

/// Any other answer. That it is large shows only when it is there: without a place for it what can be asked again
/// is let go meanwhile.
async fn whole(
    server: &Arc<Server>,
    header: &RequestHeader,
    request: Request,
) -> io::Result<Answer> {
    let again = (request.class() == Class::Read).then(|| request.clone());
    let bytes = carried(server, header, request).await?;
    if bytes.len() <= LARGE {
        return Ok(Answer::Small(bytes));
    }
    let places = server.places_for_callers();
    if let Some(place) = places.try_acquire_arc() {
        return Ok(Answer::Large(bytes, place));
    }
    let Some(mut again) = again else {
        return Ok(Answer::Large(bytes, places.acquire_arc().await));
    };
    drop(bytes);
    let place = places.acquire_arc().await;
    if let Some(options) = again.options_mut() {
        // It has waited for its change already.
        options.min_query_index = 0;
    }
    let bytes = carried(server, header, again).await?;
    Ok(Answer::Large(bytes, place))
}

/// An answer, maybe another server's, as it goes over the wire.
async fn carried(
    server: &Arc<Server>,
    header: &RequestHeader,
    request: Request,
) -> io::Result<Vec<u8>> {
    let work = async { written(header, &server.carry(request).await) };
    room::keeping(pin!(work)).await
}

/// An answer, or an error, as it goes over the wire.
pub(super) fn written(header: &RequestHeader, result: &Result<Reply>) -> io::Result<Vec<u8>> {
    if result.is_err() {
        metrics::RPC_REQUEST_ERROR.incr();
    }
    rpc::response(header, result).map_err(invalid)
}

/// Sends an answer.
///
/// # Errors
/// Those of the stream; that a page cannot be read, after which the caller must not take what came for all.
pub(super) async fn send(
    header: &RequestHeader,
    answer: Answer,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    match answer {
        Answer::Small(bytes) => to.write_all(&bytes).await?,
        Answer::Large(bytes, _place) => {
            for piece in bytes.chunks(PIECE) {
                in_time(to, piece).await?;
            }
        }
        Answer::Entries(listing) => pages(header, "Entries", listing, to).await?,
        Answer::Keys(listing) => pages(header, "Keys", listing, to).await?,
    }
    to.flush().await
}

async fn pages<T: Serialize>(
    header: &RequestHeader,
    name: &str,
    listing: Listing<T>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let total = listing.total.unwrap_or_default();
    let mut out = rpc::listing(header, &listing.meta, name, total).map_err(invalid)?;
    let mut sent = 0;
    let first = std::iter::once(Ok(listing.first));
    for page in first.chain(listing.rest.into_iter().flatten()) {
        let page = page.map_err(|e| io::Error::other(e.to_string()))?;
        sent += page.len();
        for one in &page {
            msgpack::append(&mut out, one).map_err(invalid)?;
        }
        drop(page);
        in_time(to, &out).await?;
        out.clear();
    }
    match sent == total {
        true => Ok(()),
        false => Err(io::Error::other(
            "a listing had another length than was said",
        )),
    }
}

async fn in_time(to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    match drive::timeout(STALLED, to.write_all(piece)).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the caller does not take its answer",
        )),
    }
}

pub(super) fn invalid(why: wire::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
