//! Endpoints of features that this agent does not have: prepared queries, Connect, config entries.
//!
//! Holds true: a read is answered as Consul answers it while the feature is off or unused; whatever
//! would need the feature is refused, nothing is ever said to be done that was not.
//! Source: `docs/reference/http-1.md` sections 7 and 11, `docs/reference/http-2.md` sections 10 to 13;
//! a running Consul 1.8.7 with ACLs and Connect off.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Ctx;
use super::conventions::{CONSISTENCY, consistency_word, write};
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{self, Ask, Resource};
use crate::codec::Serialize;
use crate::drive;
use crate::sorted::IntoMap;
use crate::structs::rpc::method;
use crate::structs::{DCSpecificRequest, QUERY_NOT_FOUND, QueryMeta, QueryOptions};
use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/query" [GET POST] queries;
    "/v1/query/" [GET PUT DELETE] query;
    "/v1/config" [PUT] config_write;
    "/v1/config/" [GET DELETE] config;
    "/v1/connect/intentions" [GET POST] intentions;
    "/v1/connect/intentions/" [GET PUT DELETE] intention;
    "/v1/connect/intentions/match" [GET] intention_match;
    "/v1/connect/intentions/check" [GET] intention_check;
    "/v1/agent/connect/authorize" [POST] connect_plain;
    "/v1/agent/connect/ca/roots" [GET] connect_plain;
    "/v1/agent/connect/ca/leaf/" [GET] connect_plain;
    "/v1/connect/ca/configuration" [GET PUT] connect_plain;
    "/v1/connect/ca/roots" [GET] connect;
    "/v1/discovery-chain/" [GET POST] discovery_chain;
    "/v1/catalog/gateway-services/" [GET] gateway_services;
    "/v1/internal/ui/gateway-services-nodes/" [GET] gateway_services_nodes;
    "/v1/internal/federation-states" [GET] federation;
    "/v1/internal/federation-states/mesh-gateways" [GET] federation;
    "/v1/internal/federation-state/" [GET] federation;
};

/// The pages of the web page that show what is not here, with blanks between.
pub(super) const ABSENT_PAGES: &str = "intentions queries";

const CONNECT_DISABLED: &str = "Connect must be enabled in order to use this endpoint";
/// The wait of a blocking query that names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);
/// The longest wait of a blocking query.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Answers a read of something that is always empty. It never changes, so a blocking query waits out
/// its time.
async fn empty(
    ctx: &Ctx,
    req: &Request,
    options: &QueryOptions,
    text: &str,
) -> Result<Response, HttpError> {
    if ctx.agent().is_some() {
        ctx.authorizer(req).await?;
    }
    let args = DCSpecificRequest {
        datacenter: req.datacenter(ctx),
        ..DCSpecificRequest::default()
    };
    let leader = write::<method::StatusLeader>(ctx, args)
        .await
        .map_err(HttpError::with_meta)?;
    if options.min_query_index > 0 {
        let wait = match options.max_query_time.to_std() {
            Duration::ZERO => DEFAULT_WAIT,
            wait => wait.min(MAX_WAIT),
        };
        drive::sleep(wait).await;
    }
    let meta = QueryMeta {
        index: 1,
        known_leader: !leader.is_empty(),
        ..QueryMeta::default()
    };
    Ok(Response::raw_json(text.as_bytes().to_vec()).with_meta(&meta))
}

fn with_consistency(answer: Response, options: &QueryOptions) -> Response {
    answer.with(
        CONSISTENCY,
        HeaderValue::from_static(consistency_word(options)),
    )
}

async fn queries(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    if req.method != Method::GET {
        return Err(HttpError::missing("Prepared queries are"));
    }
    let options = req.query_options(ctx)?;
    let answer = empty(ctx, req, &options, "[]").await?;
    Ok(with_consistency(answer, &options))
}

async fn query(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let rest = req.rest().to_owned();
    let by_name = rest.ends_with("/execute") || rest.ends_with("/explain");
    if req.method != Method::GET {
        return Err(HttpError::missing("Prepared queries are"));
    }
    req.query_options(ctx)?;
    if !by_name && rest.len() != 36 {
        return Err(HttpError::internal(
            "failed prepared query lookup: index error: UUID must be 36 characters",
        )
        .with_meta());
    }
    Err(HttpError::not_found(QUERY_NOT_FOUND))
}

async fn config_write(_: &Ctx, _: &mut Request) -> Result<Response, HttpError> {
    Err(HttpError::missing("Config entries are"))
}

/// The kinds that Consul 1.8 knows.
const KINDS: [&str; 7] = [
    "service-defaults",
    "proxy-defaults",
    "service-router",
    "service-splitter",
    "service-resolver",
    "ingress-gateway",
    "terminating-gateway",
];

async fn config(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    if req.method != Method::GET {
        return config_write(ctx, req).await;
    }
    let options = req.query_options(ctx)?;
    req.no_namespace()?;
    let rest = req.rest().to_owned();
    let (kind, name) = match rest.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (rest.as_str(), None),
    };
    if !kind.is_empty() && !KINDS.contains(&kind) {
        let text = format!("invalid config entry kind: {kind}");
        return Err(HttpError::internal(text));
    }
    if let Some(name) = name
        && kind != "proxy-defaults"
        && ctx.agent().is_some()
    {
        ctx.require(req, Ask::Read(Resource::Service, name)).await?;
    }
    let answer = empty(ctx, req, &options, "[]").await?;
    let Some(name) = name else {
        return Ok(answer);
    };
    let text = format!("Config entry not found for \"{kind}\" / \"{name}\"");
    let mut missing = Response::text(text).with_status(StatusCode::NOT_FOUND);
    missing.headers.extend(answer.headers);
    Ok(missing)
}

async fn intentions(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    if req.method != Method::GET {
        return Err(HttpError::missing("Intentions are"));
    }
    let options = req.query_options(ctx)?;
    empty(ctx, req, &options, "[]").await
}

async fn intention(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    if req.method != Method::GET {
        return Err(HttpError::missing("Intentions are"));
    }
    req.query_options(ctx)?;
    if req.rest().len() != 36 {
        return Err(HttpError::bad_request(
            "Bad request: failed intention lookup: index error: UUID must be 36 characters",
        ));
    }
    Err(HttpError::not_found("Intention not found"))
}

async fn intention_match(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.query_options(ctx)?;
    if !req.query.has("by") {
        return Err(HttpError::internal("required query parameter 'by' not set"));
    }
    let by = req.query.value("by");
    if !matches!(by, "source" | "destination") {
        return Err(HttpError::internal(
            "'by' parameter must be one of 'source' or 'destination'",
        ));
    }
    if !req.query.has("name") {
        return Err(HttpError::internal(
            "required query parameter 'name' not set",
        ));
    }
    let authorizer = ctx.authorizer(req).await?;
    for name in req.query.all("name") {
        acl::require(&authorizer, Ask::Read(Resource::Intention, name))?;
    }
    let names = req.query.all("name").map(|name| (name.to_owned(), ()));
    let names: BTreeMap<String, ()> = names.into_map();
    Response::json(&names)
}

#[derive(Serialize)]
struct Allowed {
    #[serde(rename = "Allowed")]
    allowed: bool,
}

/// Without intentions the default policy decides, and without ACLs that is to allow.
async fn intention_check(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.query_options(ctx)?;
    for parameter in ["source", "destination"] {
        if !req.query.has(parameter) {
            let text = format!("required query parameter '{parameter}' not set");
            return Err(HttpError::internal(text));
        }
    }
    let destination = req.query.value("destination");
    ctx.require(req, Ask::Read(Resource::Service, destination))
        .await?;
    let acl = &super::agent::agent(ctx)?.config().acl;
    Response::json(&Allowed {
        allowed: !acl.enabled || acl.default_policy != "deny",
    })
}

/// The servers say so: a client agent relays it.
fn connect_disabled(ctx: &Ctx) -> HttpError {
    HttpError::internal(match ctx.settings.server {
        true => CONNECT_DISABLED.to_owned(),
        false => format!("rpc error making call: {CONNECT_DISABLED}"),
    })
}

async fn connect(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.query_options(ctx)?;
    Err(connect_disabled(ctx).with_meta())
}

async fn connect_plain(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    if req.method == Method::GET {
        req.query_options(ctx)?;
    }
    Err(connect_disabled(ctx))
}

async fn discovery_chain(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.query_options(ctx)?;
    req.no_namespace()?;
    req.rest_or("Bad request: Missing chain name")?;
    Err(connect_disabled(ctx).with_meta())
}

async fn gateway_services(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let options = req.discovery_options(ctx)?;
    let gateway = req.rest_or("Missing gateway name")?;
    ctx.require(req, Ask::Read(Resource::Service, &gateway))
        .await?;
    let text = match ctx.agent().is_some_and(|agent| agent.config().acl.enabled) {
        true => "[]",
        false => "null",
    };
    let answer = empty(ctx, req, &options, text).await?;
    Ok(with_consistency(answer, &options))
}

async fn gateway_services_nodes(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let options = req.query_options(ctx)?;
    req.no_namespace()?;
    req.rest_or("Missing gateway name")?;
    empty(ctx, req, &options, "[]").await
}

async fn federation(_: &Ctx, _: &mut Request) -> Result<Response, HttpError> {
    Err(HttpError::missing("Federation states are"))
}
