//! `/v1/agent/health/service/*`: the health of local services as a status code, for load balancers.
//!
//! Holds true: the node's own checks count for every service; the worst status wins.
//! Source: `docs/reference/http-2.md` section 5.20.

use super::agent::agent;
use super::agent_service::AgentService;
use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{self, Ask, Resource};
use crate::agent::local::{CRITICAL, PASSING, State, WARNING};
use crate::codec::Serialize;
use crate::structs::go::{List, Map};
use crate::structs::{HealthCheck, NodeService};
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderName, HeaderValue};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/health/service/name/" [GET] by_name;
    "/v1/agent/health/service/id/" [GET] by_id;
};

const REASON: HeaderName = HeaderName::from_static("x-consul-reason");
const MAINTENANCE: &str = "maintenance";

/// The definition of a check with nothing left out, as this endpoint alone shows it.
#[derive(Default, Serialize)]
struct LongDefinition {
    #[serde(rename = "Interval")]
    interval: &'static str,
    #[serde(rename = "Timeout")]
    timeout: &'static str,
    #[serde(rename = "DeregisterCriticalServiceAfter")]
    deregister: &'static str,
    #[serde(rename = "HTTP")]
    http: &'static str,
    #[serde(rename = "Header")]
    header: Map<List<String>>,
    #[serde(rename = "Method")]
    method: &'static str,
    #[serde(rename = "Body")]
    body: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: &'static str,
}

/// A check as this endpoint shows it.
#[derive(Serialize)]
struct LongCheck {
    #[serde(rename = "Node")]
    node: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "Notes")]
    notes: String,
    #[serde(rename = "Output")]
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "ServiceName")]
    service_name: String,
    #[serde(rename = "ServiceTags")]
    service_tags: List<String>,
    /// Always empty here.
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Definition")]
    definition: LongDefinition,
    #[serde(rename = "CreateIndex")]
    create_index: u64,
    #[serde(rename = "ModifyIndex")]
    modify_index: u64,
}

impl From<HealthCheck> for LongCheck {
    fn from(c: HealthCheck) -> Self {
        Self {
            node: c.node,
            check_id: c.check_id,
            name: c.name,
            status: c.status,
            notes: c.notes,
            output: c.output,
            service_id: c.service_id,
            service_name: c.service_name,
            service_tags: c.service_tags,
            kind: "",
            definition: LongDefinition {
                interval: "0s",
                timeout: "0s",
                deregister: "0s",
                ..LongDefinition::default()
            },
            create_index: 0,
            modify_index: 0,
        }
    }
}

/// A service with its checks and what they amount to.
#[derive(Serialize)]
struct ServiceHealth {
    #[serde(rename = "AggregatedStatus")]
    status: &'static str,
    #[serde(rename = "Service")]
    service: Option<AgentService>,
    #[serde(rename = "Checks")]
    checks: Option<Vec<LongCheck>>,
}

fn rank(status: &str) -> u8 {
    match status {
        PASSING => 0,
        WARNING => 1,
        CRITICAL => 2,
        _ => 3,
    }
}

/// The worst status; a maintenance check is worse than critical.
fn aggregate(checks: &[HealthCheck]) -> &'static str {
    let of = |c: &HealthCheck| {
        let id = c.check_id.as_str();
        if id == "_node_maintenance" || id.starts_with("_service_maintenance:") {
            MAINTENANCE
        } else {
            match c.status.as_str() {
                PASSING => PASSING,
                WARNING => WARNING,
                _ => CRITICAL,
            }
        }
    };
    checks
        .iter()
        .map(of)
        .max_by_key(|s| rank(s))
        .unwrap_or(PASSING)
}

fn health(local: &State, service: &NodeService) -> ServiceHealth {
    let checks = local.checks_for_service(&service.id, true);
    ServiceHealth {
        status: aggregate(&checks),
        service: Some(AgentService::from(service.clone())),
        checks: Some(checks.into_iter().map(Into::into).collect()),
    }
}

fn code(status: &str) -> StatusCode {
    match status {
        PASSING => StatusCode::OK,
        WARNING => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn wants_text(req: &Request) -> bool {
    let accepts = req
        .header(ACCEPT)
        .is_some_and(|a| a.starts_with("text/plain"));
    accepts || req.query.value("format") == "text"
}

fn with_reason(response: Response, reason: &str, status: StatusCode) -> Response {
    let response = response.with_status(status);
    match HeaderValue::from_str(reason) {
        Ok(value) => response.with(REASON, value),
        Err(_) => response,
    }
}

fn text(reason: &str) -> Response {
    Response::bytes("text/plain", reason.to_owned())
}

async fn by_id(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let id = req.rest().to_owned();
    if id.is_empty() {
        return Err(HttpError::internal("Bad request: Missing serviceID"));
    }
    let local = &agent(ctx)?.local;
    let authorizer = ctx.authorizer(req).await?;
    let Some(service) = local.service(&id) else {
        let reason = format!("ServiceId {id} not found");
        let body = if wants_text(req) {
            Response::json(&reason)?
        } else {
            Response::json(&ServiceHealth {
                status: CRITICAL,
                service: None,
                checks: None,
            })?
        };
        return Ok(with_reason(body, &reason, StatusCode::NOT_FOUND));
    };
    acl::require(&authorizer, Ask::Read(Resource::Service, &service.service))?;
    let found = health(local, &service);
    let status = found.status;
    let body = if wants_text(req) {
        text(status)
    } else {
        Response::json(&found)?
    };
    Ok(with_reason(body, status, code(status)))
}

async fn by_name(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let name = req.rest().to_owned();
    if name.is_empty() {
        return Err(HttpError::internal("Bad request: Missing service Name"));
    }
    ctx.require(req, Ask::Read(Resource::Service, &name))
        .await?;
    let local = &agent(ctx)?.local;
    let services = local.services();
    let named = services.values().filter(|s| s.service == name);
    let found: Vec<ServiceHealth> = named.map(|s| health(local, s)).collect();
    let Some(worst) = found.iter().map(|h| h.status).max_by_key(|s| rank(s)) else {
        let reason = format!("ServiceName {name} Not Found");
        let body = if wants_text(req) {
            text(&reason)
        } else {
            Response::json(&found)?
        };
        return Ok(with_reason(body, &reason, StatusCode::NOT_FOUND));
    };
    let body = if wants_text(req) {
        text(worst)
    } else {
        Response::json(&found)?
    };
    Ok(with_reason(body, worst, code(worst)))
}
