//! `/v1/agent/service*`: the services this agent owns.
//!
//! Holds true: a registration is checked completely before anything is stored, and pushed to the catalog
//! before it is answered; a failing push is only logged.
//! Source: `docs/reference/http-2.md` sections 2.5 and 5.15 to 5.19.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::{agent, enable};
use super::context::Ctx;
use super::conventions::CONTENT_HASH;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{self, Ask, Resource};
use crate::agent::Source;
use crate::agent::definition::{is_proxy, validate_service};
use crate::codec::Serialize;
use crate::drive::{now, timeout_at};
use crate::filter::Filter;
use crate::sorted::IntoMap;
use crate::structs::go::{Any, List, Map};
use crate::structs::{
    ExposeConfig, MeshGatewayConfig, NodeService, ServiceAddress, ServiceConnect,
    ServiceDefinition, Upstream, Weights,
};
use crate::wire::json;
use hyper::header::HeaderValue;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/services" [GET] services;
    "/v1/agent/service/" [GET] service;
    "/v1/agent/service/register" [PUT] register;
    "/v1/agent/service/deregister/" [PUT] deregister;
    "/v1/agent/service/maintenance/" [PUT] maintenance;
};

/// Go's name of what a registration is decoded into, as error texts show it.
const GO_TYPE: &str = "struct { EnableTagOverrideSnake bool \"json:\\\"enable_tag_override\\\"\"; TaggedAddressesSnake map[string]structs.ServiceAddress \"json:\\\"tagged_addresses\\\"\"; *structs.Alias }";
/// Longest wait for a change of a service.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// The wait when none is given.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);

/// A proxy's upstream as the agent shows it.
#[derive(Serialize)]
struct AgentUpstream {
    #[serde(rename = "DestinationType", serialize_with = "omitempty")]
    destination_type: String,
    #[serde(rename = "DestinationNamespace", serialize_with = "omitempty")]
    destination_namespace: String,
    #[serde(rename = "DestinationName")]
    destination_name: String,
    #[serde(rename = "Datacenter", serialize_with = "omitempty")]
    datacenter: String,
    #[serde(rename = "LocalBindAddress", serialize_with = "omitempty")]
    local_bind_address: String,
    #[serde(rename = "LocalBindPort", serialize_with = "omitempty")]
    local_bind_port: i64,
    #[serde(rename = "Config", serialize_with = "omitempty")]
    config: Map<Any>,
    #[serde(rename = "MeshGateway")]
    mesh_gateway: MeshGatewayConfig,
}

impl From<Upstream> for AgentUpstream {
    fn from(u: Upstream) -> Self {
        Self {
            destination_type: u.destination_type,
            destination_namespace: u.destination_namespace,
            destination_name: u.destination_name,
            datacenter: u.datacenter,
            local_bind_address: u.local_bind_address,
            local_bind_port: u.local_bind_port,
            config: u.config,
            mesh_gateway: u.mesh_gateway,
        }
    }
}

/// A proxy as the agent shows it.
#[derive(Serialize)]
struct AgentProxy {
    #[serde(rename = "DestinationServiceName", serialize_with = "omitempty")]
    destination_service_name: String,
    #[serde(rename = "DestinationServiceID", serialize_with = "omitempty")]
    destination_service_id: String,
    #[serde(rename = "LocalServiceAddress", serialize_with = "omitempty")]
    local_service_address: String,
    #[serde(rename = "LocalServicePort", serialize_with = "omitempty")]
    local_service_port: i64,
    #[serde(rename = "Config", serialize_with = "omitempty")]
    config: Map<Any>,
    #[serde(rename = "Upstreams", serialize_with = "omitempty")]
    upstreams: List<AgentUpstream>,
    #[serde(rename = "MeshGateway")]
    mesh_gateway: MeshGatewayConfig,
    #[serde(rename = "Expose")]
    expose: ExposeConfig,
}

/// A service as the agent shows it.
#[derive(Serialize)]
pub(super) struct AgentService {
    #[serde(rename = "Kind", serialize_with = "omitempty")]
    kind: String,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Service")]
    service: String,
    #[serde(rename = "Tags")]
    tags: Vec<String>,
    #[serde(rename = "Meta")]
    meta: BTreeMap<String, String>,
    #[serde(rename = "Port")]
    port: i64,
    #[serde(rename = "Address")]
    address: String,
    #[serde(rename = "TaggedAddresses", serialize_with = "omitempty")]
    tagged_addresses: Map<ServiceAddress>,
    #[serde(rename = "Weights")]
    weights: Weights,
    #[serde(rename = "EnableTagOverride")]
    enable_tag_override: bool,
    #[serde(rename = "ContentHash", serialize_with = "omitempty")]
    content_hash: String,
    #[serde(rename = "Proxy", skip_serializing_if = "Option::is_none")]
    proxy: Option<AgentProxy>,
    #[serde(rename = "Connect", skip_serializing_if = "Option::is_none")]
    connect: Option<ServiceConnect>,
}

impl From<NodeService> for AgentService {
    fn from(s: NodeService) -> Self {
        let proxy = s.proxy;
        let upstreams = proxy.upstreams;
        let proxy = is_proxy(&s.kind).then(|| AgentProxy {
            destination_service_name: proxy.destination_service_name,
            destination_service_id: proxy.destination_service_id,
            local_service_address: proxy.local_service_address,
            local_service_port: proxy.local_service_port,
            config: proxy.config,
            upstreams: upstreams.map(|u| u.into_iter().map(Into::into).collect()),
            mesh_gateway: proxy.mesh_gateway,
            expose: proxy.expose,
        });
        Self {
            kind: s.kind,
            id: s.id,
            service: s.service,
            tags: s.tags.unwrap_or_default(),
            meta: s.meta.unwrap_or_default(),
            port: s.port,
            address: s.address,
            tagged_addresses: s.tagged_addresses,
            weights: s.weights.unwrap_or(Weights {
                passing: 1,
                warning: 1,
            }),
            enable_tag_override: s.enable_tag_override,
            content_hash: String::new(),
            proxy,
            connect: s.connect.native.then_some(ServiceConnect {
                native: true,
                sidecar_service: None,
            }),
        }
    }
}

async fn services(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    let filter = Filter::<NodeService>::parse(req.query.value("filter"))?;
    let authorizer = ctx.authorizer(req).await?;
    let all = agent.local.services();
    let shown: BTreeMap<String, AgentService> = all
        .into_iter()
        .filter(|(_, s)| filter.matches(s) && authorizer.reads(Resource::Service, &s.service))
        .map(|(id, s)| (id, AgentService::from(NodeService::clone(&s))))
        .into_map();
    Response::json(&shown)
}

/// A digest of what is shown: FNV-1a over the JSON. Opaque to clients.
fn content_hash(service: &AgentService) -> Result<String, HttpError> {
    let text = json::to_vec(service).map_err(|e| HttpError::internal(e.to_string()))?;
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(format!("{hash:x}"))
}

async fn service(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    let id = req.rest().to_owned();
    let (_, wait) = req.wait_options()?;
    let known = req.query.value("hash").to_owned();
    let wait = if wait.0 <= 0 {
        DEFAULT_WAIT
    } else {
        wait.to_std().min(MAX_WAIT)
    };
    let token = req.token(ctx);
    let deadline = now() + wait + (wait / 16).mul_f64(fastrand::f64());
    loop {
        // Listen before looking: what comes in between is not missed.
        let changed = agent.local.listen();
        let authorizer = agent.authorizer(&token).await?;
        let Some(found) = agent.local.service(&id) else {
            return Err(HttpError::not_found(format!("unknown service ID: {id}")));
        };
        acl::require(&authorizer, Ask::Read(Resource::Service, &found.service))?;
        let mut shown = AgentService::from(NodeService::clone(&found));
        let hash = content_hash(&shown)?;
        let same = !known.is_empty() && hash == known;
        if same && timeout_at(deadline, changed).await.is_ok() {
            continue;
        }
        let header = HeaderValue::from_str(&hash).unwrap_or(HeaderValue::from_static("0"));
        shown.content_hash = hash;
        return Ok(Response::json(&shown)?.with(CONTENT_HASH, header));
    }
}

async fn register(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    let token = req.token(ctx);
    let replace = req.query.has("replace-existing-checks")
        && matches!(req.query.value("replace-existing-checks"), "" | "true");
    let mut definition: ServiceDefinition = req.json(GO_TYPE).await?;
    validate_service(&definition).map_err(HttpError::bad_request)?;
    definition.token.clear();
    agent.may_register_service(&token, &definition).await?;
    agent
        .add_service_definition(&definition, &token, Source::Remote, replace)
        .await?;
    agent.sync_changes().await;
    Ok(Response::empty())
}

async fn deregister(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    agent
        .may_change_service(&req.token(ctx), req.rest())
        .await?;
    agent.remove_service(req.rest()).await?;
    agent.sync_changes().await;
    Ok(Response::empty())
}

async fn maintenance(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let id = req.rest_or("Missing service ID")?;
    let enable = enable(req)?;
    let agent = agent(ctx)?;
    agent.may_change_service(&req.token(ctx), &id).await?;
    let done = if enable {
        let reason = req.query.value("reason");
        let token = req.token(ctx);
        agent.enable_service_maintenance(&id, reason, &token).await
    } else {
        agent.disable_service_maintenance(&id).await
    };
    done.map_err(|e| {
        if e.is("No service registered with ID") {
            HttpError::not_found(e.text().to_owned())
        } else {
            e.into()
        }
    })?;
    agent.sync_changes().await;
    Ok(Response::empty())
}
