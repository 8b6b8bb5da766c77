//! `/v1/catalog/*`.
//!
//! Source: `docs/reference/http-2.md` sections 2 and 7.

use super::context::Ctx;
use super::conventions::write;
use super::discovery::{discover, read_cached};
use super::error::HttpError;
use super::request::{MAX_JSON_BODY, Request};
use super::response::Response;
use super::routes::{Route, routes};
use super::timing::Api;
use crate::codec::Deserialize;
use crate::structs::go::List;
use crate::structs::rpc::method;
use crate::structs::{
    DCSpecificRequest, DatacentersRequest, DeregisterRequest, NodeService, NodeSpecificRequest,
    RegisterRequest, ServiceSpecificRequest,
};
use crate::wire::{self, json};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/catalog/register" [PUT] register;
    "/v1/catalog/deregister" [PUT] deregister;
    "/v1/catalog/datacenters" [GET] datacenters;
    "/v1/catalog/nodes" [GET] nodes;
    "/v1/catalog/services" [GET] services;
    "/v1/catalog/service/" [GET] service;
    "/v1/catalog/connect/" [GET] connect;
    "/v1/catalog/node/" [GET] node;
    "/v1/catalog/node-services/" [GET] node_services;
};

static REGISTER: Api = Api::new("catalog_register");
static DEREGISTER: Api = Api::new("catalog_deregister");
static DATACENTERS: Api = Api::new("catalog_datacenters");
static NODES: Api = Api::new("catalog_nodes");
static SERVICES: Api = Api::new("catalog_services");
static SERVICE_NODES: Api = Api::new("catalog_service_nodes");
static CONNECT_NODES: Api =
    Api::with_success("catalog_connect_service_nodes", "catalog_service_nodes");
static NODE_SERVICES: Api = Api::new("catalog_node_services");
static NODE_SERVICE_LIST: Api = Api::new("catalog_node_service_list");

/// Reads a body of this family: a namespace is refused with a hint.
async fn body<T: crate::codec::Deserialize + Default>(
    req: &mut Request,
    go_type: &'static str,
) -> Result<T, HttpError> {
    let text = req.body.read(MAX_JSON_BODY).await?;
    json::from_slice_strict(&text, go_type).map_err(|e| match e {
        wire::Error::UnknownField(field) if field == "Namespace" => HttpError::decode(
            "json: unknown field \"Namespace\" - Namespaces are a Consul Enterprise feature",
        ),
        e => HttpError::decode(e),
    })
}

async fn register(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    REGISTER.ask(ctx);
    req.no_namespace()?;
    let mut args: RegisterRequest = body(req, "structs.RegisterRequest").await?;
    if args.datacenter.is_empty() {
        args.datacenter = ctx.settings.datacenter.clone();
    }
    args.token = req.token(ctx);
    let done = write::<method::CatalogRegister>(ctx, Box::new(args)).await;
    REGISTER.end(ctx, done)?;
    Response::json(&true)
}

/// The body of a deregistration; anonymous in Go's errors.
#[derive(Default, Deserialize)]
#[serde(default, rename = "")]
struct Deregister {
    #[serde(rename = "Datacenter")]
    datacenter: String,
    #[serde(rename = "Node")]
    node: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    // Old clients send it.
    #[serde(rename = "Address")]
    _address: String,
}

async fn deregister(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    DEREGISTER.ask(ctx);
    req.no_namespace()?;
    let body: Deregister = body(req, "struct { Address string; *structs.Alias }").await?;
    let datacenter = match body.datacenter.as_str() {
        "" => ctx.settings.datacenter.clone(),
        _ => body.datacenter,
    };
    let args = DeregisterRequest {
        datacenter,
        node: body.node,
        service_id: body.service_id,
        check_id: body.check_id,
        token: req.token(ctx),
    };
    let done = write::<method::CatalogDeregister>(ctx, args).await;
    DEREGISTER.end(ctx, done)?;
    Response::json(&true)
}

async fn datacenters(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    DATACENTERS.ask(ctx);
    let options = req.options_without_wait(ctx)?;
    let cached = options.use_cache;
    let args = DatacentersRequest { options };
    if cached {
        let found = read_cached::<method::CatalogListDatacenters>(ctx, args).await;
        let (found, cached) = DATACENTERS.end(ctx, found.map_err(HttpError::from))?;
        return Ok(cached.dress(Response::json(&found)?));
    }
    let found = write::<method::CatalogListDatacenters>(ctx, args).await;
    Response::json(&DATACENTERS.end(ctx, found)?)
}

fn dc_request(ctx: &Ctx, req: &mut Request) -> Result<DCSpecificRequest, HttpError> {
    let options = req.discovery_options(ctx)?;
    Ok(DCSpecificRequest {
        datacenter: req.datacenter(ctx),
        node_meta_filters: req.node_meta(),
        source: req.source(ctx),
        options,
    })
}

async fn nodes(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    NODES.ask(ctx);
    let args = dc_request(ctx, req)?;
    // Consul counts no failures here.
    let found = discover::<method::CatalogListNodes>(ctx, args, false).await?;
    let found = NODES.end(ctx, Ok(found))?;
    let nodes = found.reply.nodes.as_deref().unwrap_or_default();
    Ok(found.dress(Response::json(&nodes)?))
}

async fn services(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    SERVICES.ask(ctx);
    req.no_namespace()?;
    let args = dc_request(ctx, req)?;
    let mut found = SERVICES.end(
        ctx,
        discover::<method::CatalogListServices>(ctx, args, true).await,
    )?;
    let services = found.reply.services.get_or_insert_default();
    services.values_mut().for_each(not_null);
    let answer = Response::json(services)?;
    Ok(found.dress(answer))
}

/// The request of a service's instances; the name is refused when it is empty.
pub(super) fn service_request(
    ctx: &Ctx,
    req: &mut Request,
) -> Result<ServiceSpecificRequest, HttpError> {
    req.no_namespace()?;
    let options = req.discovery_options(ctx)?;
    let tags: Vec<String> = req.query.all("tag").map(str::to_owned).collect();
    Ok(ServiceSpecificRequest {
        datacenter: req.datacenter(ctx),
        node_meta_filters: req.node_meta(),
        service_name: req.rest_or("Missing service name")?,
        tag_filter: !tags.is_empty(),
        service_tags: (!tags.is_empty()).then_some(tags),
        source: req.source(ctx),
        options,
        ..ServiceSpecificRequest::default()
    })
}

async fn service(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    SERVICE_NODES.ask(ctx);
    let args = service_request(ctx, req)?;
    instances(ctx, args, &SERVICE_NODES).await
}

async fn connect(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    CONNECT_NODES.ask(ctx);
    let mut args = service_request(ctx, req)?;
    args.connect = true;
    instances(ctx, args, &CONNECT_NODES).await
}

async fn instances(
    ctx: &Ctx,
    args: ServiceSpecificRequest,
    api: &Api,
) -> Result<Response, HttpError> {
    let found = discover::<method::CatalogServiceNodes>(ctx, args, true).await;
    let mut found = api.end(ctx, found)?;
    let rows = found.reply.service_nodes.get_or_insert_default();
    for row in rows.iter_mut() {
        not_null(&mut row.service_tags);
        row.service_meta.get_or_insert_default();
    }
    let answer = Response::json(rows)?;
    Ok(found.dress(answer))
}

fn node_request(ctx: &Ctx, req: &mut Request) -> Result<NodeSpecificRequest, HttpError> {
    req.no_namespace()?;
    let options = req.discovery_options(ctx)?;
    Ok(NodeSpecificRequest {
        datacenter: req.datacenter(ctx),
        node: req.rest_or("Missing node name")?,
        options,
    })
}

async fn node(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    NODE_SERVICES.ask(ctx);
    let args = node_request(ctx, req)?;
    let mut found = NODE_SERVICES.end(
        ctx,
        discover::<method::CatalogNodeServices>(ctx, args, false).await,
    )?;
    if let Some(node) = &mut found.reply.node_services {
        let services = node.services.iter_mut().flat_map(|all| all.values_mut());
        services.for_each(shown);
    }
    let answer = Response::json(&found.reply.node_services)?;
    Ok(found.dress(answer))
}

async fn node_services(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    NODE_SERVICE_LIST.ask(ctx);
    let args = node_request(ctx, req)?;
    let mut found = NODE_SERVICE_LIST.end(
        ctx,
        discover::<method::CatalogNodeServiceList>(ctx, args, false).await,
    )?;
    let list = &mut found.reply.node_services;
    list.services.iter_mut().flatten().for_each(shown);
    let answer = Response::json(list)?;
    Ok(found.dress(answer))
}

/// Users of catalog and health see an empty list of tags, never `null`.
pub(super) fn shown(service: &mut NodeService) {
    not_null(&mut service.tags);
}

/// An empty list instead of `null`.
pub(super) fn not_null<T>(list: &mut List<T>) {
    list.get_or_insert_with(Vec::new);
}
