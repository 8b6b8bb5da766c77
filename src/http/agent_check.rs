//! `/v1/agent/check*`: the checks this agent owns, and telling TTL checks how things are.
//!
//! Source: `docs/reference/http-2.md` sections 5.11 to 5.14.

use std::collections::BTreeMap;

use super::agent::agent;
use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::Resource;
use crate::agent::Source;
use crate::agent::check::{NewCheck, health_of_definition};
use crate::agent::definition::is_status;
use crate::agent::local::{CRITICAL, PASSING, WARNING};
use crate::codec::Deserialize;
use crate::filter::Filter;
use crate::structs::{CheckDefinition, HealthCheck};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/checks" [GET] checks;
    "/v1/agent/check/register" [PUT] register;
    "/v1/agent/check/deregister/" [PUT] deregister;
    "/v1/agent/check/pass/" [PUT] pass;
    "/v1/agent/check/warn/" [PUT] warn;
    "/v1/agent/check/fail/" [PUT] fail;
    "/v1/agent/check/update/" [PUT] update;
};

/// Go's name of what a registration is decoded into, as error texts show it.
const GO_TYPE: &str = "struct { Interval interface {}; Timeout interface {}; TTL interface {}; DeregisterCriticalServiceAfter interface {}; Args []string \"json:\\\"args\\\"\"; ScriptArgsSnake []string \"json:\\\"script_args\\\"\"; DeregisterCriticalServiceAfterSnake interface {} \"json:\\\"deregister_critical_service_after\\\"\"; DockerContainerIDSnake string \"json:\\\"docker_container_id\\\"\"; TLSSkipVerifySnake bool \"json:\\\"tls_skip_verify\\\"\"; ServiceIDSnake string \"json:\\\"service_id\\\"\"; *structs.Alias }";

/// How the text about an unknown selector begins.
const SELECTOR_FAULT: &str = "Failed to create boolean expression evaluator: Selector";

async fn checks(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    let authorizer = ctx.authorizer(req).await?;
    let mut all: BTreeMap<String, HealthCheck> = agent.local.checks();
    all.retain(|_, check| match check.service_name.as_str() {
        "" => authorizer.reads(Resource::Node, &check.node),
        service => authorizer.reads(Resource::Service, service),
    });
    let filter = match Filter::<HealthCheck>::parse(req.query.value("filter")) {
        Ok(filter) => filter,
        // Only here Consul finds out about selectors when it looks at a check.
        Err(e) => match e.text().strip_prefix(SELECTOR_FAULT) {
            Some(_) if all.is_empty() => Filter::parse("")?,
            Some(rest) => return Err(HttpError::internal(format!("Selector{rest}"))),
            None => return Err(e.into()),
        },
    };
    all.retain(|_, check| filter.matches(check));
    for check in all.values_mut() {
        check.service_tags.get_or_insert_default();
    }
    Response::json(&all)
}

async fn register(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    let token = req.token(ctx);
    let definition: CheckDefinition = req.json(GO_TYPE).await?;
    if definition.name.is_empty() {
        return Err(HttpError::bad_request("Missing check name"));
    }
    if !definition.status.is_empty() && !is_status(&definition.status) {
        return Err(HttpError::bad_request("Bad check status"));
    }
    let check = definition.check_type();
    check
        .validate()
        .map_err(|e| HttpError::bad_request(format!("Invalid check: {e}")))?;
    let mut health = health_of_definition(&definition);
    check.kind().as_str().clone_into(&mut health.kind);
    agent.may_register_check(&token, &health).await?;
    agent
        .add_check(NewCheck {
            health,
            definition: Some(check),
            token,
            source: Source::Remote,
            persist: true,
        })
        .await?;
    agent.sync_changes().await;
    Ok(Response::empty())
}

async fn deregister(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let agent = agent(ctx)?;
    agent.may_change_check(&req.token(ctx), req.rest()).await?;
    agent.remove_check(req.rest()).await?;
    agent.sync_changes().await;
    Ok(Response::empty())
}

async fn pass(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    note(ctx, req, PASSING).await
}

async fn warn(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    note(ctx, req, WARNING).await
}

async fn fail(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    note(ctx, req, CRITICAL).await
}

async fn note(ctx: &Ctx, req: &Request, status: &str) -> Result<Response, HttpError> {
    req.no_namespace()?;
    tell(ctx, req, status, req.query.value("note")).await
}

async fn tell(ctx: &Ctx, req: &Request, status: &str, output: &str) -> Result<Response, HttpError> {
    let agent = agent(ctx)?;
    let id = req.rest();
    agent.may_change_check(&req.token(ctx), id).await?;
    agent.update_ttl_check(id, status, output).await?;
    agent.sync_changes().await;
    Ok(Response::empty())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename = "checkUpdate")]
struct CheckUpdate {
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "Output")]
    output: String,
}

async fn update(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let update: CheckUpdate = req.json("agent.checkUpdate").await?;
    if !is_status(&update.status) {
        let text = format!("Invalid check status: '{}'", update.status);
        return Err(HttpError::bad_request(text));
    }
    tell(ctx, req, &update.status, &update.output).await
}
