//! `/v1/health/*`.
//!
//! Source: `docs/reference/http-2.md` section 8.

use hyper::header::HeaderValue;

use super::catalog::{not_null, service_request, shown};
use super::context::Ctx;
use super::conventions::{CONSISTENCY, consistency_word};
use super::discovery::{Found, discover};
use super::error::HttpError;
use super::kept::{Answer, Key};
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::structs::rpc::method;
use crate::structs::{
    CheckServiceNode, ChecksInStateRequest, IndexedHealthChecks, NodeSpecificRequest, QueryMeta,
    ServiceSpecificRequest,
};
use crate::wire::json;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/health/node/" [GET] node;
    "/v1/health/checks/" [GET] checks;
    "/v1/health/state/" [GET] state;
    "/v1/health/service/" [GET] service;
    "/v1/health/connect/" [GET] connect;
    "/v1/health/ingress/" [GET] ingress;
};

async fn node(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let options = req.discovery_options(ctx)?;
    let args = NodeSpecificRequest {
        datacenter: req.datacenter(ctx),
        node: req.rest_or("Missing node name")?,
        options,
    };
    answer(discover::<method::HealthNodeChecks>(ctx, args, false).await?)
}

async fn checks(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let mut args = service_request(ctx, req)?;
    (args.tag_filter, args.service_tags) = (false, None);
    answer(discover::<method::HealthServiceChecks>(ctx, args, false).await?)
}

async fn state(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let options = req.discovery_options(ctx)?;
    let args = ChecksInStateRequest {
        datacenter: req.datacenter(ctx),
        node_meta_filters: req.node_meta(),
        state: req.rest_or("Missing check state")?,
        source: req.source(ctx),
        options,
    };
    answer(discover::<method::HealthChecksInState>(ctx, args, false).await?)
}

fn answer(mut found: Found<IndexedHealthChecks>) -> Result<Response, HttpError> {
    let checks = found.reply.health_checks.get_or_insert_default();
    checks
        .iter_mut()
        .for_each(|c| not_null(&mut c.service_tags));
    let answer = Response::json(checks)?;
    Ok(found.dress(answer))
}

async fn service(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = service_request(ctx, req)?;
    instances(ctx, req, args).await
}

async fn connect(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let mut args = service_request(ctx, req)?;
    args.connect = true;
    instances(ctx, req, args).await
}

async fn ingress(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let mut args = service_request(ctx, req)?;
    args.ingress = true;
    instances(ctx, req, args).await
}

async fn instances(
    ctx: &Ctx,
    req: &Request,
    args: ServiceSpecificRequest,
) -> Result<Response, HttpError> {
    // A bad `passing` is told only where the read itself succeeds.
    let key = passing_only(req.query.get("passing"))
        .ok()
        .and_then(|passing| Key::of(ctx, &args, passing));
    let key = key.and_then(|key| Some((ctx.delegate.catalog_version()?, key)));
    if let Some(kept) = key.as_ref().and_then(|(v, key)| ctx.kept.get(*v, key)) {
        ctx.delegate.count_kept(&args, kept.found);
        let meta = QueryMeta {
            index: kept.index,
            known_leader: true,
            ..QueryMeta::default()
        };
        let word = HeaderValue::from_static(consistency_word(&args.options));
        let answer = Response::raw_json(kept.text.clone()).with_meta(&meta);
        return Ok(answer.with(CONSISTENCY, word));
    }
    let mut found = discover::<method::HealthServiceNodes>(ctx, args, true).await?;
    let nodes = found.reply.nodes.get_or_insert_default();
    let instances = nodes.len();
    if passing_only(req.query.get("passing"))? {
        nodes.retain(is_passing);
    }
    for node in nodes.iter_mut() {
        node.service.iter_mut().for_each(shown);
        let checks = node.checks.get_or_insert_default();
        checks
            .iter_mut()
            .for_each(|c| not_null(&mut c.service_tags));
    }
    let text = json::to_vec(nodes).map_err(|e| HttpError::internal(e.to_string()))?;
    if let Some((version, key)) = key {
        let answer = Answer {
            index: found.reply.meta.index,
            found: instances,
            text: text.clone(),
        };
        ctx.kept.put(version, key, answer);
    }
    Ok(found.dress(Response::raw_json(text)))
}

/// Whether `?passing` asks for healthy instances only: without a value it does.
fn passing_only(value: Option<&str>) -> Result<bool, HttpError> {
    match value {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(HttpError::bad_request("Invalid value for ?passing")),
    }
}

fn is_passing(node: &CheckServiceNode) -> bool {
    node.checks.iter().flatten().all(|c| c.status == "passing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing() {
        for (value, want) in [
            (None, false),
            (Some(""), true),
            (Some("true"), true),
            (Some("False"), false),
            (Some("0"), false),
        ] {
            assert_eq!(passing_only(value), Ok(want), "{value:?}");
        }
        assert!(passing_only(Some("yes")).is_err());
    }
}
