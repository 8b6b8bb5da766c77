//! `/v1/acl/*` of before 1.4, translating its rules, and asking what a token may do.
//!
//! Source: `docs/reference/http-1.md` section 11.9; a running Consul 1.8.7.

use super::acl::{bad_request, body, enabled};
use super::context::Ctx;
use super::conventions::{read, write};
use super::error::HttpError;
use super::request::{MAX_JSON_BODY, Request};
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{Ask, Scalar};
use crate::codec::Serialize;
use crate::structs::rpc::method;
use crate::structs::*;
use hyper::StatusCode;

type Result<T, E = HttpError> = std::result::Result<T, E>;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/acl/rules/translate" [POST] translate;
    "/v1/acl/rules/translate/" [GET] translate_token;
    "/v1/acl/create" [PUT] create;
    "/v1/acl/update" [PUT] update;
    "/v1/acl/destroy/" [PUT] destroy;
    "/v1/acl/info/" [GET] info;
    "/v1/acl/clone/" [PUT] clone;
    "/v1/acl/list" [GET] list;
    "/v1/internal/acl/authorize" [POST] authorize;
};

#[derive(Serialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

async fn create(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    set(ctx, req, false).await
}

async fn update(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    set(ctx, req, true).await
}

async fn set(ctx: &Ctx, req: &mut Request, needs_id: bool) -> Result<Response, HttpError> {
    let mut acl = ACL::default();
    if req.body.content_length() != Some(0) {
        acl = req.json("structs.ACLRequest").await?;
    }
    if needs_id && acl.id.is_empty() {
        return Err(HttpError::bad_request("ACL ID must be set"));
    }
    if acl.kind.is_empty() {
        "client".clone_into(&mut acl.kind);
    }
    apply(ctx, req, "set", acl).await
}

async fn apply(ctx: &Ctx, req: &Request, op: &str, acl: ACL) -> Result<Response, HttpError> {
    let args = ACLRequest {
        datacenter: ctx.settings.datacenter.clone(),
        op: op.to_owned(),
        acl,
        token: req.token(ctx),
    };
    let id = write::<method::AclApply>(ctx, args).await?;
    Response::json(&Created { id })
}

async fn destroy(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let acl = ACL {
        id: req.rest_or("Missing ACL")?,
        ..ACL::default()
    };
    apply(ctx, req, "delete", acl).await?;
    Response::json(&true)
}

/// Tokens of before 1.4 are those of the primary datacenter, unless another is asked for.
fn datacenter(ctx: &Ctx, req: &Request) -> String {
    match req.query.value("dc") {
        "" => ctx.settings.primary_datacenter.clone(),
        _ => req.datacenter(ctx),
    }
}

async fn found(ctx: &Ctx, req: &mut Request) -> Result<IndexedACLs, HttpError> {
    let options = req.query_options(ctx)?;
    let args = ACLSpecificRequest {
        datacenter: datacenter(ctx, req),
        acl: req.rest_or("Missing ACL")?,
        options,
    };
    read::<method::AclGet>(ctx, args).await
}

async fn info(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let found = found(ctx, req).await?;
    Ok(Response::json(&found.acls.unwrap_or_default())?.with_meta(&found.meta))
}

async fn clone(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let found = found(ctx, req).await?;
    let Some(source) = found.acls.unwrap_or_default().pop() else {
        return Err(Error::new(PERMISSION_DENIED).into());
    };
    let copy = ACL {
        id: String::new(),
        ..source
    };
    apply(ctx, req, "set", copy).await
}

async fn list(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let options = req.query_options(ctx)?;
    let args = DCSpecificRequest {
        datacenter: datacenter(ctx, req),
        options,
        ..DCSpecificRequest::default()
    };
    let found = read::<method::AclList>(ctx, args).await?;
    Ok(Response::json(&found.acls.unwrap_or_default())?.with_meta(&found.meta))
}

fn translated(rules: &str) -> Result<Response, HttpError> {
    crate::acl::translate(rules)
        .map(Response::text)
        .map_err(super::acl::bad_request)
}

async fn translate(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    ctx.require(req, Ask::ReadScalar(Scalar::Acl)).await?;
    let text = req.body.read(MAX_JSON_BODY).await?;
    translated(&String::from_utf8_lossy(&text))
}

async fn translate_token(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let token_id = req.rest_or("Bad request: Missing token ID")?;
    let options = req.query_options(ctx)?;
    let args = ACLTokenGetRequest {
        datacenter: req.datacenter(ctx),
        token_id,
        token_id_type: "accessor".to_owned(),
        options,
    };
    let found = read::<method::AclTokenRead>(ctx, args).await?;
    match found.found {
        None => Err(Error::new(ACL_NOT_FOUND).into()),
        Some(token) if token.rules.is_empty() => Err(bad_request(
            "The specified token does not have any rules set",
        )),
        Some(token) => translated(&token.rules),
    }
}

async fn authorize(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let what = "Failed to decode request body";
    let requests: Option<Vec<ACLAuthorizationRequest>> =
        body(req, what, "[]structs.ACLAuthorizationRequest").await?;
    let args = RemoteACLAuthorizationRequest {
        datacenter: req.datacenter(ctx),
        requests,
        options: QueryOptions {
            token: req.token(ctx),
            ..QueryOptions::default()
        },
    };
    let answers = write::<method::AclAuthorize>(ctx, args).await;
    match answers {
        Ok(answers) => Response::json(&answers),
        Err(e) if e.status == StatusCode::INTERNAL_SERVER_ERROR && is_wrong_question(&e) => {
            Err(bad_request(e.text))
        }
        Err(e) => Err(e),
    }
}

/// Whether the question was wrong, not the answering of it.
fn is_wrong_question(e: &HttpError) -> bool {
    [
        "Invalid ACL resource",
        "Invalid access level",
        "Refusing to process",
    ]
    .iter()
    .any(|begin| e.text.contains(begin))
}
