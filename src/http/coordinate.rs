//! `/v1/coordinate/*`: network coordinates of nodes.
//!
//! Source: `docs/reference/http-1.md` section 6.

use hyper::StatusCode;

use super::context::Ctx;
use super::conventions::{read, write};
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::structs::rpc::method;
use crate::structs::{
    Coordinate, CoordinateUpdateRequest, DCSpecificRequest, DatacentersRequest, NodeSpecificRequest,
};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/coordinate/datacenters" [GET] datacenters;
    "/v1/coordinate/nodes" [GET] nodes;
    "/v1/coordinate/node/" [GET] node;
    "/v1/coordinate/update" [PUT] update;
};

/// Refuses everything when coordinates are off.
fn enabled(ctx: &Ctx) -> Result<(), HttpError> {
    if ctx.settings.coordinates {
        return Ok(());
    }
    Err(HttpError::new(
        StatusCode::UNAUTHORIZED,
        "Coordinate support disabled",
    ))
}

async fn datacenters(ctx: &Ctx, _: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let args = DatacentersRequest::default();
    Response::json(&write::<method::CoordinateListDatacenters>(ctx, args).await?)
}

async fn nodes(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let options = req.query_options(ctx)?;
    let segment = req.query.value("segment").to_owned();
    let args = DCSpecificRequest {
        datacenter: req.datacenter(ctx),
        options,
        ..DCSpecificRequest::default()
    };
    let found = read::<method::CoordinateListNodes>(ctx, args).await?;
    let coordinates = of_segment(found.coordinates.unwrap_or_default(), &segment);
    Ok(Response::json(&coordinates)?.with_meta(&found.meta))
}

async fn node(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let options = req.query_options(ctx)?;
    let segment = req.query.value("segment").to_owned();
    let args = NodeSpecificRequest {
        datacenter: req.datacenter(ctx),
        node: req.rest().to_owned(),
        options,
    };
    let found = read::<method::CoordinateNode>(ctx, args).await?;
    let coordinates = of_segment(found.coordinates.unwrap_or_default(), &segment);
    if coordinates.is_empty() {
        return Ok(Response::status(StatusCode::NOT_FOUND));
    }
    Ok(Response::json(&coordinates)?.with_meta(&found.meta))
}

fn of_segment(mut coordinates: Vec<Coordinate>, segment: &str) -> Vec<Coordinate> {
    coordinates.retain(|c| c.segment == segment);
    coordinates
}

async fn update(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let mut args: CoordinateUpdateRequest = req.json("structs.CoordinateUpdateRequest").await?;
    args.datacenter = req.datacenter(ctx);
    args.token = req.token(ctx);
    if args.coord.is_none() {
        return Err(HttpError::internal("incompatible coordinate"));
    }
    write::<method::CoordinateUpdate>(ctx, args).await?;
    Ok(Response::empty())
}
