//! `/v1/agent/monitor`: the log as it is written, until the client goes.
//!
//! Source: `docs/reference/http-2.md` section 5.5.

use hyper::body::Bytes;
use smol::stream::StreamExt;

use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::{Body, Response};
use super::routes::{Route, routes};
use crate::agent::logging;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/monitor" [GET] monitor;
};

async fn monitor(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.agent_read(req).await?;
    let name = match req.query.value("loglevel") {
        "" => "INFO",
        name => name,
    };
    let level = logging::parse_level(name)
        .ok_or_else(|| HttpError::bad_request(format!("Bad request: Unknown log level: {name}")))?;
    let lines = logging::follow(level, req.query.has("logjson"))?;
    let pieces = lines.map(|mut line| {
        line.push('\n');
        Ok(Bytes::from(line))
    });
    Ok(Response {
        body: Body::Pieces(Box::pin(pieces)),
        ..Response::empty()
    })
}
