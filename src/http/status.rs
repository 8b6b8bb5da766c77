//! `/v1/status/*`: the Raft leader and peers.
//!
//! Source: `docs/reference/http-1.md` section 8.

use super::context::Ctx;
use super::conventions::write;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::structs::DCSpecificRequest;
use crate::structs::rpc::method;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/status/leader" [GET] leader;
    "/v1/status/peers" [GET] peers;
};

async fn leader(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = args(ctx, req)?;
    Response::json(&write::<method::StatusLeader>(ctx, args).await?)
}

async fn peers(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = args(ctx, req)?;
    Response::json(&write::<method::StatusPeers>(ctx, args).await?)
}

fn args(ctx: &Ctx, req: &mut Request) -> Result<DCSpecificRequest, HttpError> {
    let options = req.query_options(ctx)?;
    Ok(DCSpecificRequest {
        datacenter: req.datacenter(ctx),
        options,
        ..DCSpecificRequest::default()
    })
}
