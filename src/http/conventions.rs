//! What all reads share: query options in, metadata headers out.
//!
//! Holds true: `X-Consul-Index` is never 0; the texts of bad parameters are Consul's.
//! Leaves to others: blocking itself, which happens where the data is.
//! Source: `docs/reference/http-1.md` sections 1.3 to 1.8.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue};

use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use crate::structs::go::{GoDuration, Map};
use crate::structs::rpc::{Method, call};
use crate::structs::{QueryMeta, QueryOptions, QuerySource};

/// `X-Consul-Index`.
pub const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
/// `X-Consul-KnownLeader`.
pub const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
/// `X-Consul-LastContact`, in milliseconds.
pub const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
/// `X-Consul-Effective-Consistency`.
pub const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
/// `X-Consul-ContentHash`.
pub const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");
/// `X-Cache`.
pub const CACHE: HeaderName = HeaderName::from_static("x-cache");
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

impl Request {
    /// All options of a read. Blocking reads wait long: the headers are given back here, so read what
    /// else is needed from them before.
    ///
    /// # Errors
    /// 400 with Consul's text, in Consul's order of checks.
    pub fn query_options(&mut self, ctx: &Ctx) -> Result<QueryOptions, HttpError> {
        self.options(ctx, false)
    }

    /// As [`Request::query_options`], for catalog and health: `discovery_max_stale` applies.
    ///
    /// # Errors
    /// As [`Request::query_options`].
    pub fn discovery_options(&mut self, ctx: &Ctx) -> Result<QueryOptions, HttpError> {
        self.options(ctx, true)
    }

    fn options(&mut self, ctx: &Ctx, discovery: bool) -> Result<QueryOptions, HttpError> {
        let mut options = self.mode_options(ctx, discovery)?;
        if !self.query.is_empty() {
            (options.min_query_index, options.max_query_time) = self.wait_options()?;
        }
        if options.min_query_index > 0 {
            self.headers = HeaderMap::new();
            self.token = Some(options.token.clone());
        }
        Ok(options)
    }

    /// As [`Request::query_options`], for reads that never block: `index` and `wait` are not looked at.
    ///
    /// # Errors
    /// As [`Request::query_options`].
    pub fn options_without_wait(&mut self, ctx: &Ctx) -> Result<QueryOptions, HttpError> {
        self.mode_options(ctx, false)
    }

    fn mode_options(&self, ctx: &Ctx, discovery: bool) -> Result<QueryOptions, HttpError> {
        let mut options = QueryOptions {
            token: self.token(ctx),
            filter: self.query.value("filter").to_owned(),
            ..QueryOptions::default()
        };
        if !self.query.is_empty() {
            self.consistency(&mut options)?;
        }
        if discovery && !self.query_has_mode() {
            let max_stale = ctx.live(|live| live.discovery_max_stale);
            if max_stale.0 > 0 {
                options.allow_stale = true;
                options.max_stale_duration = max_stale;
            }
        }
        options.use_cache = ctx.settings.use_cache && self.query.has("cached");
        if options.use_cache && options.require_consistent {
            return Err(HttpError::bad_request(
                "Cannot specify ?cached with ?consistent, conflicting semantics.",
            ));
        }
        if let Some(value) = self.header(CACHE_CONTROL) {
            cache_control(value, &mut options)?;
        }
        Ok(options)
    }

    fn query_has_mode(&self) -> bool {
        ["stale", "consistent", "leader", "cached"]
            .iter()
            .any(|mode| self.query.has(mode))
            || !self.query.value("max_stale").is_empty()
    }

    fn consistency(&self, options: &mut QueryOptions) -> Result<(), HttpError> {
        options.allow_stale = self.query.has("stale");
        options.require_consistent = self.query.has("consistent");
        let max_stale = self.query.value("max_stale");
        if !max_stale.is_empty() {
            let bound = GoDuration::parse(max_stale).map_err(|_| {
                let quoted = crate::structs::go::quote(max_stale);
                HttpError::bad_request(format!("Invalid max_stale value {quoted}"))
            })?;
            options.max_stale_duration = bound;
            options.allow_stale |= bound.0 > 0;
        }
        if options.allow_stale && options.require_consistent {
            return Err(HttpError::bad_request(
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            ));
        }
        Ok(())
    }

    /// `index` and `wait` alone, 0 when they are not given.
    ///
    /// # Errors
    /// 400 with Consul's text.
    pub fn wait_options(&self) -> Result<(u64, GoDuration), HttpError> {
        let wait = match self.query.value("wait") {
            "" => GoDuration::default(),
            wait => {
                GoDuration::parse(wait).map_err(|_| HttpError::bad_request("Invalid wait time"))?
            }
        };
        let index = match self.query.value("index") {
            "" => 0,
            index => parse_uint(index).ok_or_else(|| HttpError::bad_request("Invalid index"))?,
        };
        Ok((index, wait))
    }

    /// The request's token: parameter, header, bearer, else the agent's default.
    pub fn token(&self, ctx: &Ctx) -> String {
        if let Some(token) = &self.token {
            return token.clone();
        }
        if let Some(token) = self.query.get("token").filter(|t| !t.is_empty()) {
            return token.to_owned();
        }
        if let Some(token) = self.header(TOKEN).filter(|t| !t.is_empty()) {
            return token.to_owned();
        }
        if let Some(token) = self.header(AUTHORIZATION).and_then(bearer) {
            return token.to_owned();
        }
        ctx.default_token()
    }

    /// Refuses namespaces, which the community edition does not have.
    ///
    /// # Errors
    /// 400 with Consul's text.
    pub fn no_namespace(&self) -> Result<(), HttpError> {
        if self.query.value("ns").is_empty() {
            return Ok(());
        }
        Err(HttpError::bad_request(
            "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
        ))
    }

    /// Whose distance results are sorted by (`?near`).
    pub fn source(&self, ctx: &Ctx) -> QuerySource {
        let near = match self.query.value("near") {
            "_agent" => ctx.settings.node_name.clone(),
            near => near.to_owned(),
        };
        QuerySource {
            datacenter: ctx.settings.datacenter.clone(),
            node: near,
            ..QuerySource::default()
        }
    }

    /// All `node-meta` pairs; `None` when there are none.
    pub fn node_meta(&self) -> Map<String> {
        let pair = |text: &str| {
            let (key, value) = text.split_once(':').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        let pairs: std::collections::BTreeMap<_, _> =
            self.query.all("node-meta").map(pair).collect();
        (!pairs.is_empty()).then_some(pairs)
    }
}

/// Go's `ParseUint` in base ten: digits only.
pub fn parse_uint(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Go's `ParseUint` with the words of its error.
///
/// # Errors
/// `strconv.ParseUint: parsing "abc": invalid syntax` or `...: value out of range`.
pub fn go_parse_uint(text: &str) -> Result<u64, String> {
    parse_uint(text).ok_or_else(|| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let why = if digits {
            "value out of range"
        } else {
            "invalid syntax"
        };
        let quoted = crate::structs::go::quote(text);
        format!("strconv.ParseUint: parsing {quoted}: {why}")
    })
}

/// The first word after the scheme `Bearer`.
fn bearer(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    let scheme = words.next()?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| words.next())?
}

fn cache_control(value: &str, options: &mut QueryOptions) -> Result<(), HttpError> {
    let bad = || HttpError::bad_request("Invalid Cache-Control header.");
    for part in value.to_ascii_lowercase().split(',') {
        let part = part.trim();
        if part == "must-revalidate" {
            options.must_revalidate = true;
        } else if let Some((name @ ("max-age" | "stale-if-error"), amount)) = part.split_once('=') {
            let seconds: i64 = amount.parse().map_err(|_| bad())?;
            let duration = GoDuration(seconds.saturating_mul(1_000_000_000));
            if name == "stale-if-error" {
                options.stale_if_error = duration;
            } else {
                options.max_age = duration;
                options.must_revalidate |= seconds == 0;
            }
        }
    }
    Ok(())
}

/// `leader`, `stale` or `consistent`.
pub fn consistency_word(options: &QueryOptions) -> &'static str {
    if options.require_consistent {
        "consistent"
    } else if options.allow_stale {
        "stale"
    } else {
        "leader"
    }
}

/// Sets the three headers of a read.
pub fn set_meta(headers: &mut HeaderMap, meta: &QueryMeta) {
    headers.insert(INDEX, HeaderValue::from(meta.index.max(1)));
    set_contact(headers, meta);
}

/// Sets the headers about the leader only.
pub fn set_contact(headers: &mut HeaderMap, meta: &QueryMeta) {
    let known = if meta.known_leader { "true" } else { "false" };
    headers.insert(KNOWN_LEADER, HeaderValue::from_static(known));
    let milliseconds = meta.last_contact.0.max(0) / 1_000_000;
    headers.insert(LAST_CONTACT, HeaderValue::from(milliseconds));
}

impl Response {
    /// Adds the three headers of a read.
    pub fn with_meta(mut self, meta: &QueryMeta) -> Response {
        set_meta(&mut self.headers, meta);
        self
    }
}

/// Calls a read method; when it fails the answer has the headers of a failed read.
///
/// # Errors
/// The servers' error.
pub async fn read<M: Method>(ctx: &Ctx, args: M::Args) -> Result<M::Reply, HttpError> {
    call::<M>(&*ctx.delegate, args)
        .await
        .map_err(|e| HttpError::from(e).with_meta())
}

/// Calls a method that writes, or whose failure has no headers of its own.
///
/// # Errors
/// The servers' error.
pub async fn write<M: Method>(ctx: &Ctx, args: M::Args) -> Result<M::Reply, HttpError> {
    call::<M>(&*ctx.delegate, args)
        .await
        .map_err(HttpError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearers() {
        assert_eq!(bearer("Bearer  abc def"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
        assert_eq!(bearer(""), None);
    }

    #[test]
    fn unsigned_numbers() {
        assert_eq!(parse_uint("18446744073709551615"), Some(u64::MAX));
        for bad in ["-1", "+5", "0x10", "1.0", "18446744073709551616", "", "1_0"] {
            assert_eq!(parse_uint(bad), None, "{bad}");
        }
        let text = "strconv.ParseUint: parsing \"\": invalid syntax";
        assert_eq!(go_parse_uint("").unwrap_err(), text);
        let text = "strconv.ParseUint: parsing \"18446744073709551616\": value out of range";
        assert_eq!(go_parse_uint("18446744073709551616").unwrap_err(), text);
    }

    #[test]
    fn cache_control_header() {
        let parse = |value: &str| {
            let mut options = QueryOptions::default();
            cache_control(value, &mut options).map(|()| options)
        };
        let options = parse("max-age=30, Must-Revalidate, stale-if-error=5, other").unwrap();
        assert_eq!(options.max_age, GoDuration::from_secs(30));
        assert_eq!(options.stale_if_error, GoDuration::from_secs(5));
        assert!(options.must_revalidate);
        assert!(parse("max-age=0").unwrap().must_revalidate);
        assert!(!parse("no-cache").unwrap().must_revalidate);
        assert_eq!(
            parse("max-age=x").unwrap_err().text,
            "Invalid Cache-Control header."
        );
    }

    #[test]
    fn index_is_never_zero() {
        let mut headers = HeaderMap::new();
        set_meta(&mut headers, &QueryMeta::default());
        assert_eq!(headers[INDEX], "1");
        assert_eq!(headers[KNOWN_LEADER], "false");
        assert_eq!(headers[LAST_CONTACT], "0");
    }
}
