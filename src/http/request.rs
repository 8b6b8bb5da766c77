//! A request as handlers see it: decoded path, parsed query, a body that is read on demand.
//!
//! Holds true: a body is never read beyond the limit its reader names.
//! Leaves to others: what query options mean (`conventions`).
//! Source: `docs/reference/http-1.md` section 1.1.

use std::fmt;

use super::conn::{Phase, SharedPhase};
use super::context::Ctx;
use super::error::HttpError;
use super::query::Query;
use crate::codec::Deserialize;
use crate::net::Peer;
use crate::wire::json;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderName};
use hyper::{HeaderMap, Method};

/// Bodies of JSON endpoints beyond this many bytes are refused.
pub const MAX_JSON_BODY: usize = 4 << 20;

/// A request.
pub struct Request {
    /// The method; one that the route declares.
    pub method: Method,
    /// The decoded path.
    pub path: String,
    /// Length of the route's own part of the path.
    pub(super) matched: usize,
    /// The query's parameters.
    pub query: Query,
    /// The headers; gone once a blocking query waits.
    pub headers: HeaderMap,
    /// Who asks.
    pub peer: Peer,
    /// The body.
    pub body: RequestBody,
}

impl Request {
    /// What follows the route's prefix: the key, ID or name.
    pub fn rest(&self) -> &str {
        self.path.get(self.matched..).unwrap_or_default()
    }

    /// [`Request::rest`], refused with 400 and `missing` when it is empty.
    ///
    /// # Errors
    /// 400 with the given text.
    pub fn rest_or(&self, missing: &'static str) -> Result<String, HttpError> {
        match self.rest() {
            "" => Err(HttpError::bad_request(missing)),
            rest => Ok(rest.to_owned()),
        }
    }

    /// A header's value, when it is there and text.
    pub fn header(&self, name: impl Into<HeaderName>) -> Option<&str> {
        self.headers.get(name.into())?.to_str().ok()
    }

    /// Reads the body as JSON, strict about unknown fields. `type_name` is Go's name of the type.
    ///
    /// # Errors
    /// 400 `Request decode failed: ...`, 413 beyond [`MAX_JSON_BODY`].
    pub async fn json<T: Deserialize + Default>(
        &mut self,
        type_name: &'static str,
    ) -> Result<T, HttpError> {
        let body = self.body.read(MAX_JSON_BODY).await?;
        json::from_slice_strict(&body, type_name).map_err(HttpError::decode)
    }

    /// Reads the body as JSON and skips unknown fields.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub async fn json_lenient<T: Deserialize + Default>(&mut self) -> Result<T, HttpError> {
        let body = self.body.read(MAX_JSON_BODY).await?;
        json::from_slice_lenient(&body).map_err(HttpError::decode)
    }

    /// The agent's datacenter, or the one the request names.
    pub fn datacenter(&self, ctx: &Ctx) -> String {
        match self.query.value("dc") {
            "" => ctx.settings.datacenter.clone(),
            dc => dc.to_owned(),
        }
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum BodyError {
    /// It is longer than this many bytes.
    TooLarge(usize),
    /// The connection failed or the framing is wrong.
    Broken(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge(limit) => {
                write!(f, "Request body too large, max size: {limit} bytes.")
            }
            BodyError::Broken(cause) => write!(f, "Failed to read body: {cause}"),
        }
    }
}

impl From<BodyError> for HttpError {
    fn from(e: BodyError) -> Self {
        let status = match e {
            BodyError::TooLarge(_) => hyper::StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Broken(_) => hyper::StatusCode::BAD_REQUEST,
        };
        HttpError::new(status, e.to_string()).closing()
    }
}

/// A request's body.
pub struct RequestBody {
    incoming: Incoming,
    phase: SharedPhase,
    /// The client waits for `100 Continue` before it sends.
    expects: bool,
    touched: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap, phase: SharedPhase) -> Self {
        Self {
            incoming,
            phase,
            expects: headers.contains_key(hyper::header::EXPECT),
            touched: false,
        }
    }

    /// The announced length; `None` for a chunked body, 0 without a body.
    pub fn content_length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Whether there is nothing to read.
    pub fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// [`BodyError::Broken`] when the connection fails.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.touched = true;
        loop {
            self.phase.set(Phase::Body);
            let frame = self.incoming.frame().await;
            self.phase.set(Phase::Handling);
            let Some(frame) = frame else {
                return Ok(None);
            };
            match frame {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Err(e) => return Err(BodyError::Broken(e.to_string())),
            }
        }
    }

    /// Reads the rest, at most `limit` bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] without reading on, [`BodyError::Broken`] when the connection fails.
    pub async fn read(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.is_end() {
            return Ok(Bytes::new());
        }
        if self.content_length().is_some_and(|n| n > limit as u64) {
            return Err(BodyError::TooLarge(limit));
        }
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if self.is_end() {
            return Ok(first);
        }
        let mut all = Vec::with_capacity(self.expected(first.len(), limit));
        all.extend_from_slice(&first);
        drop(first);
        while let Some(piece) = self.next().await? {
            if all.len() + piece.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }

    /// Room for the whole body as far as it is announced; a chunked one grows as it comes.
    fn expected(&self, have: usize, limit: usize) -> usize {
        let rest = self.content_length().unwrap_or(0);
        have.saturating_add(usize::try_from(rest).unwrap_or(0))
            .min(limit)
    }

    /// Reads and forgets what a handler left unread, so that the connection can go on; false when that
    /// is more than `limit` bytes or the connection failed.
    pub(super) async fn drain(&mut self, limit: usize) -> bool {
        if self.is_end() {
            return true;
        }
        if (self.expects && !self.touched)
            || self.content_length().is_some_and(|n| n > limit as u64)
        {
            return false;
        }
        let mut seen = 0;
        while let Ok(piece) = self.next().await {
            match piece {
                Some(piece) => seen += piece.len(),
                None => return true,
            }
            if seen > limit {
                return false;
            }
        }
        false
    }
}

/// The length that the headers announce, for messages about bodies that were refused unread.
pub fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
