//! Listings: whole when they are small, else written as they are read and sent.
//!
//! Holds true: both forms have the same bytes, indented or not.
//! Source: `docs/reference/http-1.md` section 1.3.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::context::Ctx;
use super::conventions::set_meta;
use super::error::HttpError;
use super::request::Request;
use super::response::{Body, Response};
use crate::codec::Serialize;
use crate::structs::rpc::Listing;
use crate::wire::json;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers with a listing; with 404 and `empty` when there is nothing in it.
///
/// # Errors
/// 500 when a page cannot be read.
pub(super) fn answer<T: Serialize + Send + 'static>(
    ctx: &Ctx,
    req: &Request,
    listing: Listing<T>,
    missing: bool,
) -> Result<Response, HttpError> {
    let Listing {
        meta,
        mut first,
        mut rest,
        ..
    } = listing;
    // What may not be seen is left out of the pages: whether anything is left decides about the status.
    while first.is_empty()
        && let Some(pages) = &mut rest
    {
        match pages.next() {
            Some(page) => first = page?,
            None => rest = None,
        }
    }
    let mut answer = match rest {
        _ if first.is_empty() && missing => Response::status(StatusCode::NOT_FOUND),
        None => Response::json(&first)?,
        Some(rest) => {
            let pretty = ctx.settings.pretty || req.query.has("pretty");
            let begin = inner(&first, pretty)?;
            drop(first);
            let pieces = Pieces {
                begin: Some(begin),
                rest: Some(rest),
                pretty,
            };
            let mut answer = Response::empty().with(CONTENT_TYPE, JSON);
            answer.body = Body::Pieces(Box::pin(smol::stream::iter(pieces)));
            answer
        }
    };
    set_meta(&mut answer.headers, &meta);
    Ok(answer)
}

/// The text of a list without its brackets.
fn inner(page: &dyn Serialize, pretty: bool) -> Result<Vec<u8>, HttpError> {
    let mut text = json::to_vec(page).map_err(|e| HttpError::internal(e.to_string()))?;
    if pretty {
        text = json::pretty(&text);
    }
    let end = if pretty { "\n]".len() } else { "]".len() };
    text.truncate(text.len().saturating_sub(end));
    text.drain(..1);
    Ok(text)
}

/// The text of a list, page by page.
struct Pieces<T> {
    begin: Option<Vec<u8>>,
    rest: Option<Box<dyn Iterator<Item = crate::structs::Result<Vec<T>>> + Send>>,
    pretty: bool,
}

impl<T: Serialize> Iterator for Pieces<T> {
    type Item = std::io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(mut begin) = self.begin.take() {
            begin.insert(0, b'[');
            return Some(Ok(begin.into()));
        }
        loop {
            let page = match self.rest.as_mut()?.next() {
                None => {
                    self.rest = None;
                    let end: &[u8] = if self.pretty { b"\n]\n" } else { b"]" };
                    return Some(Ok(Bytes::from_static(end)));
                }
                Some(Ok(page)) if page.is_empty() => continue,
                Some(page) => page.map_err(|e| e.to_string()),
            };
            let text = page.and_then(|page| inner(&page, self.pretty).map_err(|e| e.text.into()));
            return Some(match text {
                Ok(mut text) => {
                    text.insert(0, b',');
                    Ok(text.into())
                }
                Err(why) => {
                    log::warn!(target: "agent.http", "an answer had to be cut off: {why}");
                    self.rest = None;
                    Err(std::io::Error::other(why))
                }
            });
        }
    }
}
