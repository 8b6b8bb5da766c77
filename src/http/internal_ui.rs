//! `/v1/internal/ui/*`: what the web page asks for.
//!
//! Source: `docs/reference/http-2.md` section 14; counts as a running Consul 1.8.7 gives them.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Ctx;
use super::conventions::read;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::codec::Serialize;
use crate::sorted;
use crate::structs::go::List;
use crate::structs::rpc::method;
use crate::structs::{
    CheckServiceNode, DCSpecificRequest, NodeInfo, NodeSpecificRequest, QueryOptions,
    ServiceDumpRequest,
};
use hyper::StatusCode;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/internal/ui/nodes" [GET] nodes;
    "/v1/internal/ui/node/" [GET] node;
    "/v1/internal/ui/services" [GET] services;
};

fn options(ctx: &Ctx, req: &mut Request) -> Result<QueryOptions, HttpError> {
    let options = req.query_options(ctx)?;
    req.no_namespace()?;
    Ok(options)
}

async fn nodes(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let options = options(ctx, req)?;
    let args = DCSpecificRequest {
        datacenter: req.datacenter(ctx),
        options,
        ..DCSpecificRequest::default()
    };
    let mut found = read::<method::InternalNodeDump>(ctx, args).await?;
    let dump = found.dump.get_or_insert_default();
    dump.iter_mut().for_each(shown);
    Ok(Response::json(dump)?.with_meta(&found.meta))
}

async fn node(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let options = options(ctx, req)?;
    let args = NodeSpecificRequest {
        datacenter: req.datacenter(ctx),
        node: req.rest_or("Missing node name")?,
        options,
    };
    let mut found = read::<method::InternalNodeInfo>(ctx, args).await?;
    match found.dump.as_mut().and_then(|dump| dump.first_mut()) {
        Some(node) => {
            shown(node);
            Ok(Response::json(node)?.with_meta(&found.meta))
        }
        None => Ok(Response::status(StatusCode::NOT_FOUND)),
    }
}

/// Lists are never `null` here, but the tags in them may be.
fn shown(node: &mut NodeInfo) {
    node.services.get_or_insert_default();
    node.checks.get_or_insert_default();
}

/// One line of the page's list of services.
#[derive(Default, Serialize)]
struct Summary {
    #[serde(rename = "Kind", serialize_with = "omitempty")]
    kind: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Tags")]
    tags: List<String>,
    #[serde(rename = "Nodes")]
    nodes: Vec<String>,
    #[serde(rename = "InstanceCount")]
    instance_count: usize,
    #[serde(rename = "ProxyFor", serialize_with = "omitempty")]
    proxy_for: List<String>,
    #[serde(rename = "ChecksPassing")]
    passing: usize,
    #[serde(rename = "ChecksWarning")]
    warning: usize,
    #[serde(rename = "ChecksCritical")]
    critical: usize,
    #[serde(rename = "ExternalSources")]
    external_sources: List<String>,
    #[serde(rename = "GatewayConfig")]
    gateway_config: GatewayConfig,
}

/// Always empty: gateways are made by config entries.
#[derive(Default, Serialize)]
struct GatewayConfig {}

async fn services(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let options = options(ctx, req)?;
    let args = ServiceDumpRequest {
        datacenter: req.datacenter(ctx),
        options,
        ..ServiceDumpRequest::default()
    };
    let found = read::<method::InternalServiceDump>(ctx, args).await?;
    let summaries = summarize(found.nodes.as_deref().unwrap_or_default());
    Ok(Response::json(&summaries)?.with_meta(&found.meta))
}

#[derive(Default)]
struct Sets {
    tags: BTreeSet<String>,
    /// In the order in which they are met, as Consul shows these two.
    proxy_for: Vec<String>,
    sources: Vec<String>,
}

/// Adds what is not there yet.
fn add(list: &mut Vec<String>, text: &str) {
    if !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

/// Sums instances up by service name, sorted.
fn summarize(instances: &[CheckServiceNode]) -> Vec<Summary> {
    let mut by_name: BTreeMap<&str, (Summary, Sets)> = BTreeMap::new();
    for instance in instances {
        let (Some(node), Some(service)) = (&instance.node, &instance.service) else {
            continue;
        };
        let (summary, sets) = by_name.entry(&service.service).or_default();
        summary.kind.clone_from(&service.kind);
        summary.instance_count += 1;
        summary.nodes.push(node.node.clone());
        sets.tags.extend(service.tags.iter().flatten().cloned());
        if service.kind == "connect-proxy" {
            add(&mut sets.proxy_for, &service.proxy.destination_service_name);
        }
        let source = service.meta.as_ref().and_then(|m| m.get("external-source"));
        source
            .iter()
            .for_each(|source| add(&mut sets.sources, source));
        for check in instance.checks.iter().flatten() {
            match check.status.as_str() {
                "passing" => summary.passing += 1,
                "warning" => summary.warning += 1,
                "critical" => summary.critical += 1,
                _ => {}
            }
        }
    }
    let list = |found: Vec<String>| (!found.is_empty()).then_some(found);
    let finish = |(name, (mut summary, sets)): (&str, (Summary, Sets))| {
        summary.name = name.to_owned();
        sorted::sort(&mut summary.nodes);
        summary.tags = list(sets.tags.into_iter().collect());
        summary.proxy_for = list(sets.proxy_for);
        summary.external_sources = list(sets.sources);
        summary
    };
    by_name.into_iter().map(finish).collect()
}
