//! `/v1/acl/*`: tokens, the first one, logging in and out, the state of replication.
//!
//! Holds true: while ACLs are off everything here is refused before anything else is looked at.
//! Leaves to others: policies, roles, auth methods and binding rules (`acl_object`), what is of before 1.4
//! (`acl_legacy`).
//! Source: `docs/reference/http-1.md` section 11; a running Consul 1.8.7.

use super::context::Ctx;
use super::conventions::{read, write};
use super::error::HttpError;
use super::request::{MAX_JSON_BODY, Request};
use super::response::Response;
use super::routes::{Route, routes};
use crate::codec::{Deserialize, Serialize};
use crate::structs::rpc::method;
use crate::structs::*;
use crate::wire::json;
use hyper::{Method, StatusCode};

type Result<T, E = HttpError> = std::result::Result<T, E>;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/acl/bootstrap" [PUT] bootstrap;
    "/v1/acl/replication" [GET] replication;
    "/v1/acl/login" [POST] login;
    "/v1/acl/logout" [POST] logout;
    "/v1/acl/tokens" [GET] tokens;
    "/v1/acl/token" [PUT] token;
    "/v1/acl/token/self" [GET] token_self;
    "/v1/acl/token/" [GET PUT DELETE] token;
};

/// Refuses everything while ACLs are off.
pub(super) fn enabled(ctx: &Ctx) -> Result<(), HttpError> {
    if ctx.agent().is_some_and(|agent| agent.config().acl.enabled) {
        return Ok(());
    }
    Err(HttpError::new(StatusCode::UNAUTHORIZED, ACL_DISABLED))
}

pub(super) fn bad_request(text: impl std::fmt::Display) -> HttpError {
    HttpError::bad_request(format!("Bad request: {text}"))
}

/// Reads the body as JSON; `what` begins the error.
pub(super) async fn body<T: Deserialize + Default>(
    req: &mut Request,
    what: &str,
    go_type: &'static str,
) -> Result<T, HttpError> {
    let text = req.body.read(MAX_JSON_BODY).await?;
    json::from_slice_strict(&text, go_type).map_err(|e| bad_request(format!("{what}: {e}")))
}

/// The answer for what is not there, where it does not tell whether it might be.
pub(super) fn not_found(meta: &QueryMeta) -> Response {
    Response::text(ACL_NOT_FOUND)
        .with_status(StatusCode::FORBIDDEN)
        .with_meta(meta)
}

/// Which datacenter is asked, and how it is to be read.
pub(super) fn ask(ctx: &Ctx, req: &mut Request) -> Result<(String, QueryOptions), HttpError> {
    req.no_namespace()?;
    let options = req.query_options(ctx)?;
    Ok((req.datacenter(ctx), options))
}

/// The first token also shows its secret under the name of before 1.4.
#[derive(Serialize)]
struct Bootstrapped {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "")]
    token: ACLToken,
}

async fn bootstrap(ctx: &Ctx, _req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let args = DCSpecificRequest {
        datacenter: ctx.settings.datacenter.clone(),
        ..DCSpecificRequest::default()
    };
    let token = write::<method::AclBootstrapTokens>(ctx, args).await?;
    let id = token.secret_id.clone();
    Response::json(&Bootstrapped { id, token })
}

async fn replication(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, mut options) = ask(ctx, req)?;
    // Only the leader knows.
    options.allow_stale = false;
    let args = DCSpecificRequest {
        datacenter,
        options,
        ..DCSpecificRequest::default()
    };
    Response::json(&write::<method::AclReplicationStatus>(ctx, args).await?)
}

async fn tokens(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = ask(ctx, req)?;
    let args = ACLTokenListRequest {
        datacenter,
        include_local: true,
        include_global: true,
        policy: req.query.value("policy").to_owned(),
        role: req.query.value("role").to_owned(),
        auth_method: req.query.value("authmethod").to_owned(),
        options,
    };
    let found = read::<method::AclTokenList>(ctx, args).await?;
    Ok(Response::json(&found.tokens.unwrap_or_default())?.with_meta(&found.meta))
}

fn token_answer(found: &ACLTokenResponse) -> Result<Response, HttpError> {
    match &found.found {
        Some(token) => Ok(Response::json(token)?.with_meta(&found.meta)),
        None => Ok(not_found(&found.meta)),
    }
}

async fn token_self(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = ask(ctx, req)?;
    let args = ACLTokenGetRequest {
        datacenter,
        token_id: options.token.clone(),
        token_id_type: "secret".to_owned(),
        options,
    };
    let found = read::<method::AclTokenRead>(ctx, args).await?;
    token_answer(&found)
}

async fn token(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let id = req.rest().to_owned();
    match req.method {
        Method::GET if id.is_empty() => Err(bad_request("Missing token ID")),
        Method::DELETE if id.is_empty() => Err(bad_request("Missing token ID")),
        Method::GET => {
            let (datacenter, options) = ask(ctx, req)?;
            let args = ACLTokenGetRequest {
                datacenter,
                token_id: id,
                token_id_type: "accessor".to_owned(),
                options,
            };
            let found = read::<method::AclTokenRead>(ctx, args).await?;
            token_answer(&found)
        }
        Method::DELETE => {
            let args = ACLTokenDeleteRequest {
                datacenter: ctx.settings.datacenter.clone(),
                token_id: id,
                token: req.token(ctx),
            };
            write::<method::AclTokenDelete>(ctx, args).await?;
            Response::json(&true)
        }
        _ => match id.strip_suffix("/clone") {
            Some(source) => token_clone(ctx, req, source).await,
            None => token_set(ctx, req, id).await,
        },
    }
}

async fn token_set(ctx: &Ctx, req: &mut Request, id: String) -> Result<Response, HttpError> {
    let mut acl_token: ACLToken = body(req, "Token decoding failed", "structs.ACLToken").await?;
    let create = id.is_empty();
    if !create {
        if !acl_token.accessor_id.is_empty() && acl_token.accessor_id != id {
            return Err(bad_request(
                "Token Accessor ID in URL and payload do not match",
            ));
        }
        acl_token.accessor_id = id;
    }
    let args = ACLTokenSetRequest {
        datacenter: ctx.settings.datacenter.clone(),
        acl_token,
        create,
        token: req.token(ctx),
    };
    Response::json(&write::<method::AclTokenSet>(ctx, args.into()).await?)
}

async fn token_clone(ctx: &Ctx, req: &mut Request, source: &str) -> Result<Response, HttpError> {
    let mut acl_token: ACLToken = body(req, "Token decoding failed", "structs.ACLToken").await?;
    acl_token.accessor_id = source.to_owned();
    let args = ACLTokenSetRequest {
        datacenter: ctx.settings.datacenter.clone(),
        acl_token,
        create: true,
        token: req.token(ctx),
    };
    Response::json(&write::<method::AclTokenClone>(ctx, args.into()).await?)
}

async fn login(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let what = "Failed to decode request body";
    let auth: ACLLoginParams = body(req, what, "structs.ACLLoginParams").await?;
    let args = ACLLoginRequest {
        datacenter: ctx.settings.datacenter.clone(),
        auth: Some(auth),
        token: String::new(),
    };
    Response::json(&write::<method::AclLogin>(ctx, args).await?)
}

async fn logout(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let token = req.token(ctx);
    if token.is_empty() {
        return Err(Error::new(ACL_NOT_FOUND).into());
    }
    let args = ACLLogoutRequest {
        datacenter: ctx.settings.datacenter.clone(),
        token,
    };
    write::<method::AclLogout>(ctx, args).await?;
    Response::json(&true)
}
