//! `/v1/agent/*` about the agent as a whole: members, joining and leaving, reload, maintenance, tokens.
//!
//! Source: `docs/reference/http-2.md` sections 5.2 and 5.7 to 5.10.

use std::sync::Arc;

use hyper::StatusCode;

use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{Ask, Resource, Scalar};
use crate::agent::Agent;
use crate::agent::token::Which;
use crate::structs::go::quote;
use crate::structs::{ACL_DISABLED, Member};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/members" [GET] members;
    "/v1/agent/reload" [PUT] reload;
    "/v1/agent/maintenance" [PUT] maintenance;
    "/v1/agent/join/" [PUT] join;
    "/v1/agent/leave" [PUT] leave;
    "/v1/agent/force-leave/" [PUT] force_leave;
    "/v1/agent/token/" [PUT] token;
};

/// The agent behind this API.
pub(super) fn agent(ctx: &Ctx) -> Result<&Arc<Agent>, HttpError> {
    ctx.agent()
        .ok_or_else(|| HttpError::internal("The agent is still starting; try again in a moment"))
}

/// Go's `ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The `enable` parameter of the maintenance endpoints.
pub(super) fn enable(req: &Request) -> Result<bool, HttpError> {
    if !req.query.has("enable") {
        return Err(HttpError::bad_request("Missing value for enable"));
    }
    let value = req.query.value("enable");
    parse_bool(value).ok_or_else(|| {
        HttpError::bad_request(format!("Invalid value for enable: {}", quote(value)))
    })
}

async fn members(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let wan = !req.query.value("wan").is_empty();
    let segment = req.query.value("segment");
    if !wan && !segment.is_empty() && segment != "_all" {
        return Err(HttpError::internal(match ctx.settings.server {
            true => "Network segments are not supported in this version of Consul".to_owned(),
            false => format!("segment {} not found", quote(segment)),
        }));
    }
    let authorizer = ctx.authorizer(req).await?;
    let mut members: Option<Vec<Member>> = ctx.delegate.members(wan);
    if let Some(members) = &mut members {
        members.retain(|member| authorizer.reads(Resource::Node, &member.name));
    }
    Response::json(&members)
}

async fn reload(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.agent_write(req).await?;
    agent(ctx)?.request_reload().await?;
    Ok(Response::empty())
}

async fn maintenance(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let enable = enable(req)?;
    let ask = Ask::Write(Resource::Node, &ctx.settings.node_name);
    ctx.require(req, ask).await?;
    let agent = agent(ctx)?;
    if enable {
        let reason = req.query.value("reason");
        agent
            .enable_node_maintenance(reason, &req.token(ctx))
            .await?;
    } else {
        agent.disable_node_maintenance().await?;
    }
    agent.sync_changes().await;
    Ok(Response::empty())
}

async fn join(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.agent_write(req).await?;
    let wan = !req.query.value("wan").is_empty();
    let address = req.rest().to_owned();
    ctx.delegate.join(vec![address], wan).await?;
    Ok(Response::empty())
}

async fn leave(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.agent_write(req).await?;
    agent(ctx)?.request_leave().await?;
    Ok(Response::empty())
}

async fn force_leave(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.require(req, Ask::WriteScalar(Scalar::Operator)).await?;
    let prune = req.query.has("prune");
    let node = req.rest().to_owned();
    ctx.delegate.force_leave(node, prune).await?;
    Ok(Response::empty())
}

#[derive(Debug, Default, crate::codec::Deserialize)]
#[serde(default)]
struct TokenBody {
    #[serde(rename = "Token")]
    token: String,
}

async fn token(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let agent = agent(ctx)?;
    if !agent.config().acl.enabled {
        return Err(HttpError::new(StatusCode::UNAUTHORIZED, ACL_DISABLED));
    }
    ctx.agent_write(req).await?;
    let which = req.rest().to_owned();
    let body: TokenBody = req.json("api.AgentToken").await?;
    let Some(slot) = Which::parse(&which) else {
        let text = format!("Token {} is unknown", quote(&which));
        return Err(HttpError::not_found(text));
    };
    let changed = agent.set_token(slot, &body.token);
    agent.persist_tokens().await;
    if changed && matches!(slot, Which::Default | Which::Agent) {
        agent.local.trigger().full();
    }
    Ok(Response::empty())
}
