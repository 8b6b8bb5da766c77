//! From a request on the wire to a handler and back: the checks and headers that all endpoints share.
//!
//! Holds true: the order of checks is Consul's; whatever a client sends it gets one answer.
//! Source: `docs/reference/http-1.md` sections 1.1 to 1.3, 1.12; Go's `net/http` as a running Consul
//! 1.8.7 shows it.

use std::pin::pin;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONNECTION, CONTENT_ENCODING,
    CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, VARY,
};
use hyper::{HeaderMap, Method, StatusCode, Version};

use super::blocking::Parking;
use super::body::{Never, OutBody, file_pieces};
use super::budget::{BUDGET, SMALL};
use super::conn::{Phase, SharedPhase};
use super::context::Ctx;
use super::conventions::set_meta;
use super::error::HttpError;
use super::query::Query;
use super::request::{Request, RequestBody};
use super::request_log::{self, Begun};
use super::response::{Body, Response};
use super::routes::{Found, Route, Router};
use super::ui::{PAGE, Place, is_cross_site};
use super::{gzip, path, timing};
use crate::net::{Peer, room};
use crate::structs::QueryMeta;
use crate::telemetry::Timed;
use crate::wire::json;

/// What of an unread body is read and forgotten to keep the connection, as Go does.
const MAX_DRAIN: usize = 256 << 10;
const TRANSLATE: HeaderName = HeaderName::from_static("x-consul-translate-addresses");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers one connection's requests.
pub struct Service {
    /// What handlers share.
    pub ctx: Arc<Ctx>,
    /// The routes.
    pub router: Arc<Router>,
    /// Who asks.
    pub peer: Peer,
    /// What the connection waits for.
    pub phase: SharedPhase,
    pub(super) parking: Parking,
}

pub(super) type OutResponse = hyper::Response<OutBody>;

/// Where a request leads.
enum Way<'a> {
    /// To an endpoint, with the decoded path.
    Endpoint(&'a Route, String),
    /// To what is served beside the API, by a clean path.
    Beside(String),
    /// To an answer that is there already.
    Refused(Box<OutResponse>),
}

impl Service {
    /// A connection's service.
    pub fn new(ctx: Arc<Ctx>, router: Arc<Router>, peer: Peer, phase: SharedPhase) -> Service {
        Service {
            ctx,
            router,
            peer,
            phase,
            parking: Parking::default(),
        }
    }

    /// Answers a request.
    ///
    /// # Errors
    /// Never.
    pub async fn answer(
        self: Arc<Self>,
        incoming: hyper::Request<Incoming>,
    ) -> Result<OutResponse, Never> {
        self.phase.hand_out(!incoming.body().is_end_stream());
        if incoming.headers().contains_key(PAGE) {
            self.phase.set_brief();
        }
        let answer = match self.route(&incoming) {
            Way::Endpoint(route, path) => self.endpoint(route, path, incoming).await,
            Way::Refused(answer) => self.unasked(*answer, incoming).await,
            Way::Beside(path) => {
                let answer = self.beside_the_api(&path, &incoming).await;
                self.unasked(answer, incoming).await
            }
        };
        self.phase.set(Phase::Head);
        Ok(answer)
    }

    fn route(&self, incoming: &hyper::Request<Incoming>) -> Way<'_> {
        let refuse = |answer| Way::Refused(Box::new(answer));
        if incoming.version() == Version::HTTP_11 && !incoming.headers().contains_key(HOST) {
            return refuse(refused("400 Bad Request: missing required Host header"));
        }
        let raw = incoming.uri().path();
        if raw == "*" {
            return refuse(bare(StatusCode::OK));
        }
        let Some(decoded) = path::decode(raw) else {
            return refuse(refused("400 Bad Request"));
        };
        if !self.ctx.settings.allow_unprintable && !path::is_printable(&decoded) {
            return refuse(bare(StatusCode::BAD_REQUEST));
        }
        let clean = path::clean(&decoded);
        match self.router.find(&clean) {
            Found::Slash => refuse(redirect(incoming, &format!("{clean}/"))),
            _ if clean != decoded => refuse(redirect(incoming, &clean)),
            Found::Nothing => Way::Beside(clean.into_owned()),
            Found::Route(route) => Way::Endpoint(route, decoded.into_owned()),
        }
    }

    /// Finishes an answer that needed no body: what comes of it must not be read as the next request.
    async fn unasked(
        &self,
        mut answer: OutResponse,
        incoming: hyper::Request<Incoming>,
    ) -> OutResponse {
        let (parts, body) = incoming.into_parts();
        let mut body = RequestBody::new(body, &parts.headers, self.phase.clone());
        if !body.drain(MAX_DRAIN).await {
            answer.headers_mut().insert(CONNECTION, CLOSE);
        }
        answer
    }

    /// Answers what is no endpoint: the web page, when there is one.
    async fn beside_the_api(&self, path: &str, incoming: &hyper::Request<Incoming>) -> OutResponse {
        let ui = self.ctx.settings.ui.as_ref();
        match ui.map_or(Place::Elsewhere, |ui| ui.place(path)) {
            Place::Below(rest) if !path.starts_with("/v1/") => {
                let Some(ui) = ui else {
                    return bare(StatusCode::NOT_FOUND);
                };
                self.phase.set_brief();
                let finish = Finish::of(incoming.headers(), false);
                let mut answer = finish.apply(ui.answer(rest, incoming.headers()).await);
                self.shared_headers(answer.headers_mut());
                answer
            }
            Place::Before => {
                let page = ui.map_or("/", |ui| &ui.content_path);
                // As Consul: whoever asks for the root loses the query on the way.
                let query = incoming.uri().query().filter(|_| path != "/");
                redirect_to(incoming.method(), page, query)
            }
            _ if path == "/" => index_page(),
            _ => bare(StatusCode::NOT_FOUND),
        }
    }

    async fn endpoint(
        &self,
        route: &Route,
        path: String,
        incoming: hyper::Request<Incoming>,
    ) -> OutResponse {
        let _timed = timing::of(route, incoming.method()).map(Timed::start);
        let Some(query) = Query::parse(incoming.uri().query().unwrap_or_default()) else {
            let mut answer = bare(StatusCode::INTERNAL_SERVER_ERROR);
            self.shared_headers(answer.headers_mut());
            return self.unasked(answer, incoming).await;
        };
        let (parts, body) = incoming.into_parts();
        // It shares hyper's read buffer, as the headers do.
        drop(parts.uri);
        let pretty = self.ctx.settings.pretty || query.has("pretty");
        let finish = Finish::of(&parts.headers, pretty);
        let mut request = Request {
            method: parts.method,
            matched: route.path.len().min(path.len()),
            path,
            query,
            body: RequestBody::new(body, &parts.headers, self.phase.clone()),
            headers: parts.headers,
            token: None,
            peer: self.peer,
        };
        let mut answer = self.kept(route, &mut request, &finish).await;
        let bytes = answer.body().held();
        if bytes > SMALL {
            let Some(share) = BUDGET.try_take(bytes) else {
                return self.waited(route, request, finish, answer).await;
            };
            answer.body_mut().keep(share);
        }
        answer
    }

    /// Has the handler answer; what the servers' answers took of the memory for them is taken until it has.
    async fn kept(&self, route: &Route, request: &mut Request, finish: &Finish) -> OutResponse {
        room::keeping(pin!(self.handled(route, request, finish))).await
    }

    /// Has the handler answer.
    async fn handled(&self, route: &Route, request: &mut Request, finish: &Finish) -> OutResponse {
        let begun = Begun::of(request);
        let result = match self.refuse(route, request) {
            Some(answer) => answer,
            None => (route.handler)(&self.ctx, request).await,
        };
        if let Err(e) = &result {
            request_log::failed(request, e);
        }
        begun.ended(request);
        request.body.release();
        let drained = request.body.drain(MAX_DRAIN).await;
        let (response, close) = match result {
            Ok(response) => (response, false),
            Err(e) => {
                let close = e.close;
                (error_response(e), close)
            }
        };
        let mut answer = finish.apply(response);
        if close || !drained {
            answer.headers_mut().insert(CONNECTION, CLOSE);
        }
        self.shared_headers(answer.headers_mut());
        answer
    }

    /// Waits for an answer's room. What can be asked again is let go meanwhile.
    async fn waited(
        &self,
        route: &Route,
        mut request: Request,
        finish: Finish,
        mut answer: OutResponse,
    ) -> OutResponse {
        let bytes = answer.body().held();
        let again = request.method == Method::GET
            && request.body.is_end()
            && !["cached", "hash"].iter().any(|p| request.query.has(p));
        if !again {
            let share = BUDGET.take(bytes).await;
            answer.body_mut().keep(share);
            return answer;
        }
        drop(answer);
        let share = BUDGET.take(bytes).await;
        // It has waited for a change already.
        request.query.remove("index");
        let mut answer = self.kept(route, &mut request, &finish).await;
        answer.body_mut().keep(share);
        answer
    }

    /// The checks before the handler, in Consul's order.
    fn refuse(&self, route: &Route, request: &Request) -> Option<Result<Response, HttpError>> {
        let settings = &self.ctx.settings;
        let forbidden = |text| Some(Err(HttpError::new(StatusCode::FORBIDDEN, text)));
        if settings
            .block_endpoints
            .iter()
            .any(|p| request.path.starts_with(p.as_str()))
        {
            return forbidden("Endpoint is blocked by agent configuration");
        }
        let allow = || HeaderValue::from_static(route.allow);
        if request.method == Method::OPTIONS {
            return Some(Ok(Response::empty().with(ALLOW, allow())));
        }
        if !route.allows(request.method.as_str()) {
            let text = format!("method {} not allowed", request.method);
            request_log::not_allowed(request, &text);
            let answer = Response::text(text).with_status(StatusCode::METHOD_NOT_ALLOWED);
            return Some(Ok(answer.with(ALLOW, allow())));
        }
        if request.method != Method::GET && !self.may_write(settings) {
            return forbidden("Access is restricted");
        }
        if request.method != Method::GET && self.is_foreign(&request.headers) {
            return forbidden("Cross-site writes are refused while the web UI is enabled");
        }
        None
    }

    fn may_write(&self, settings: &super::context::Settings) -> bool {
        let networks = &settings.allow_write_http_from;
        networks.is_empty()
            || self
                .peer
                .ip()
                .is_none_or(|ip| networks.iter().any(|n| n.contains(ip)))
    }

    /// Whether a page of another site sent a write. An operator who allows other origins means it.
    fn is_foreign(&self, headers: &HeaderMap) -> bool {
        let settings = &self.ctx.settings;
        let opened = |name: &HeaderName| *name == ACCESS_CONTROL_ALLOW_ORIGIN;
        settings.ui.is_some()
            && is_cross_site(headers)
            && !settings
                .response_headers
                .iter()
                .any(|(name, _)| opened(name))
    }

    fn shared_headers(&self, headers: &mut HeaderMap) {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        let settings = &self.ctx.settings;
        if settings.translate_wan_addrs {
            headers.insert(TRANSLATE, HeaderValue::from_static("true"));
        }
        for (name, value) in &settings.response_headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn asks_for_gzip(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(gzip::accepts)
}

/// How a handler's answer is dressed.
struct Finish {
    pretty: bool,
    gzip: bool,
}

impl Finish {
    fn of(request: &HeaderMap, pretty: bool) -> Finish {
        let codings = request.get_all(ACCEPT_ENCODING);
        Finish {
            pretty,
            gzip: codings.iter().any(asks_for_gzip),
        }
    }

    fn apply(&self, response: Response) -> OutResponse {
        let mut headers = response.headers;
        let body = match response.body {
            Body::Empty => OutBody::empty(),
            Body::Json(text) => {
                headers.entry(CONTENT_TYPE).or_insert(JSON);
                let text = if self.pretty { indented(&text) } else { text };
                self.whole(text, &mut headers)
            }
            Body::Bytes(bytes) => self.whole(bytes, &mut headers),
            Body::Packed(packed) if self.gzip => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                OutBody::whole(packed.gzip)
            }
            Body::Packed(packed) => OutBody::whole(packed.unpacked()),
            Body::File(file) => self.pieces(file_pieces(file), &mut headers),
            Body::Pieces(pieces) => self.pieces(pieces, &mut headers),
        };
        let mut out = hyper::Response::new(body);
        *out.status_mut() = response.status;
        *out.headers_mut() = headers;
        out
    }

    fn whole(&self, bytes: impl Into<hyper::body::Bytes>, headers: &mut HeaderMap) -> OutBody {
        let bytes = bytes.into();
        if !self.gzip || bytes.is_empty() {
            return OutBody::whole(bytes);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        OutBody::whole(gzip::encode(&bytes))
    }

    fn pieces(&self, pieces: super::response::Pieces, headers: &mut HeaderMap) -> OutBody {
        if !self.gzip {
            return OutBody::Pieces(pieces);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        OutBody::Pieces(Box::pin(gzip::Encoded::new(pieces)))
    }
}

fn indented(text: &[u8]) -> Vec<u8> {
    let mut out = json::pretty(text);
    out.push(b'\n');
    out
}

fn error_response(e: HttpError) -> Response {
    let mut answer = match e.text {
        std::borrow::Cow::Borrowed(text) => Response::text(text),
        std::borrow::Cow::Owned(text) => Response::text(text),
    };
    if matches!(&answer.body, Body::Bytes(b) if b.is_empty()) {
        answer = Response::empty();
    }
    answer.status = e.status;
    if e.meta {
        set_meta(&mut answer.headers, &QueryMeta::default());
    }
    answer
}

/// An answer without anything, also without the headers that endpoints send.
fn bare(status: StatusCode) -> OutResponse {
    let mut out = hyper::Response::new(OutBody::empty());
    *out.status_mut() = status;
    out
}

/// A request that is not HTTP as it should be; the connection ends.
fn refused(text: &'static str) -> OutResponse {
    let mut out = hyper::Response::new(OutBody::whole(text));
    *out.status_mut() = StatusCode::BAD_REQUEST;
    out.headers_mut().insert(CONTENT_TYPE, TEXT);
    out.headers_mut().insert(CONNECTION, CLOSE);
    out
}

fn index_page() -> OutResponse {
    let mut out = hyper::Response::new(OutBody::whole("Consul Agent"));
    out.headers_mut().insert(CONTENT_TYPE, TEXT);
    out
}

fn redirect(incoming: &hyper::Request<Incoming>, path: &str) -> OutResponse {
    redirect_to(incoming.method(), path, incoming.uri().query())
}

fn redirect_to(method: &Method, path: &str, query: Option<&str>) -> OutResponse {
    let mut location = path::escape(path);
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut out = bare(StatusCode::MOVED_PERMANENTLY);
    if *method == Method::GET {
        *out.body_mut() = OutBody::whole(path::redirect_body(&location));
    }
    if *method == Method::GET || *method == Method::HEAD {
        out.headers_mut().insert(CONTENT_TYPE, HTML);
    }
    if let Ok(value) = HeaderValue::from_bytes(location.as_bytes()) {
        out.headers_mut().insert(LOCATION, value);
    }
    out
}
