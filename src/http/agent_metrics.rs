//! `/v1/agent/metrics`: the last interval as JSON, or the totals in Prometheus' form.
//!
//! Source: `docs/reference/http-2.md` section 5.4; a running Consul 1.8.7.

use hyper::StatusCode;
use hyper::header::ACCEPT;

use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::telemetry;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/metrics" [GET] metrics;
};

/// What Prometheus expects of its text form.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Prometheus says in a header what it understands.
fn accepts_prometheus(req: &Request) -> bool {
    req.header(ACCEPT).is_some_and(|accept| {
        accept.contains("application/openmetrics-text")
            || accept.contains("text/plain;version=0.4.0")
    })
}

async fn metrics(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.agent_read(req).await?;
    if req.query.value("format") != "prometheus" && !accepts_prometheus(req) {
        return Response::json(&telemetry::display());
    }
    match telemetry::prometheus() {
        Ok(text) => Ok(Response::bytes(PROMETHEUS_TEXT, text)),
        Err(e) => Err(HttpError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            e.text().to_owned(),
        )),
    }
}
