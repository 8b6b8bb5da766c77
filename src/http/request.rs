//! A request as handlers see it: decoded path, parsed query, a body that is read on demand.
//!
//! Holds true: a body is never read beyond the limit its reader names, and a large one only when there is room for it.
//! Leaves to others: what query options mean (`conventions`).
//! Source: `docs/reference/http-1.md` section 1.1.

use std::fmt;
use std::time::Instant;

use super::budget::{BUDGET, SMALL, Share};
use super::conn::{Phase, SharedPhase};
use super::context::Ctx;
use super::error::HttpError;
use super::query::Query;
use crate::codec::Deserialize;
use crate::drive;
use crate::net::Peer;
use crate::wire::json;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderName};
use hyper::{HeaderMap, Method, StatusCode};

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
    /// The token that they brought, when they are gone.
    pub(super) token: Option<String>,
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

    /// Reads the body as it is, at most as long as a setting of `limits` allows.
    ///
    /// # Errors
    /// 413 that names the setting, or what else went wrong.
    pub async fn limited_body(&mut self, limit: usize, setting: &str) -> Result<Bytes, HttpError> {
        let announced = self.headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
        self.body.read(limit).await.map_err(|e| match e {
            BodyError::TooLarge(_) => {
                let length = announced.map_or_else(String::new, |n| format!("({n} bytes)"));
                let text = format!(
                    "Request body{length} too large, max size: {limit} bytes. \
                     See https://www.consul.io/docs/agent/options.html#{setting}."
                );
                // Whether the connection goes on depends on how much of the body is left.
                HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            }
            e => e.into(),
        })
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
    /// It came slowly while others waited for room.
    Slow,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge(limit) => {
                write!(f, "Request body too large, max size: {limit} bytes.")
            }
            BodyError::Broken(cause) => write!(f, "Failed to read body: {cause}"),
            BodyError::Slow => {
                f.write_str("Failed to read body: it came too slowly while others waited")
            }
        }
    }
}

impl From<BodyError> for HttpError {
    fn from(e: BodyError) -> Self {
        let status = match e {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
            BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
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
    /// Nobody waits for the rest any more.
    given_up: bool,
    /// The room that what was read takes.
    share: Option<Share>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap, phase: SharedPhase) -> Self {
        Self {
            incoming,
            phase,
            expects: headers.contains_key(hyper::header::EXPECT),
            touched: false,
            given_up: false,
            share: None,
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
            if frame.is_none() || self.incoming.is_end_stream() {
                self.phase.body_ended();
            }
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

    /// Reads the rest, at most `limit` bytes; a large body waits for room.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] without reading on, [`BodyError::Broken`] when the connection fails, [`BodyError::Slow`]
    /// when others want the room.
    pub async fn read(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.is_end() {
            return Ok(Bytes::new());
        }
        if self.content_length().is_some_and(|n| n > limit as u64) {
            return Err(BodyError::TooLarge(limit));
        }
        self.make_room(self.expected(0, limit)).await;
        let mut start = drive::now();
        let Some(first) = self.next_in_turn(start).await? else {
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
        while let Some(piece) = self.next_in_turn(start).await? {
            if all.len() + piece.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            if self.share.is_none() && all.len() + piece.len() > SMALL {
                // A chunked body may become as long as it is allowed to be.
                self.make_room(limit).await;
                start = drive::now();
            }
            all.extend_from_slice(&piece);
        }
        if let Some(share) = &mut self.share {
            share.shrink(all.len());
        }
        Ok(all.into())
    }

    async fn make_room(&mut self, bytes: usize) {
        if bytes > SMALL {
            self.share = Some(BUDGET.take(bytes).await);
        }
    }

    /// [`RequestBody::next`], given up when the body holds room that others want.
    async fn next_in_turn(&mut self, start: Instant) -> Result<Option<Bytes>, BodyError> {
        let Some(bytes) = self.share.as_ref().map(Share::bytes) else {
            return self.next().await;
        };
        let next = smol::future::or(self.next(), async move {
            BUDGET.turn_over(start, bytes).await;
            Err(BodyError::Slow)
        });
        let next = next.await;
        self.given_up = matches!(next, Err(BodyError::Slow));
        next
    }

    /// Gives back the room of what was read: nobody has it any more.
    pub(super) fn release(&mut self) {
        self.share = None;
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
        if self.given_up
            || (self.expects && !self.touched)
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
