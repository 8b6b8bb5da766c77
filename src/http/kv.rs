//! `/v1/kv/`: the key/value store.
//!
//! Source: `docs/reference/http-1.md` section 2.

use hyper::Method;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use super::context::Ctx;
use super::conventions::{go_parse_uint, set_meta, write};
use super::error::HttpError;
use super::listing;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::structs::go::Bytes;
use crate::structs::rpc::method;
use crate::structs::{DirEntry, KVSRequest, KeyListRequest, KeyRequest, QueryOptions, kv_op};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/kv/" [GET PUT DELETE] endpoint;
};

async fn endpoint(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    // Writes too: a bad parameter is refused even where it would mean nothing.
    let options = req.query_options(ctx)?;
    match req.method {
        Method::PUT => put(ctx, req, options.token).await,
        Method::DELETE => delete(ctx, req, options.token).await,
        _ => get(ctx, req, options).await,
    }
}

async fn get(ctx: &Ctx, req: &mut Request, options: QueryOptions) -> Result<Response, HttpError> {
    let datacenter = req.datacenter(ctx);
    let key = req.rest().to_owned();
    if req.query.has("keys") {
        req.no_namespace()?;
        let seperator = match req.query.value("separator") {
            "" => req.query.value("seperator"),
            separator => separator,
        };
        let args = KeyListRequest {
            datacenter,
            prefix: key,
            seperator: seperator.to_owned(),
            options,
        };
        let missing = !args.prefix.is_empty();
        let found = ctx.delegate.kvs_list_keys(args).await?;
        return listing::answer(ctx, req, found, missing);
    }
    let recurse = req.query.has("recurse");
    if key.is_empty() && !recurse {
        return Err(HttpError::bad_request("Missing key name"));
    }
    req.no_namespace()?;
    let raw = req.query.has("raw") && !recurse;
    let args = KeyRequest {
        datacenter,
        key,
        options,
    };
    if recurse {
        let found = ctx.delegate.kvs_list(args).await?;
        return listing::answer(ctx, req, found, true);
    }
    let found = write::<method::KvsGet>(ctx, args).await?;
    let entries = found.entries.unwrap_or_default();
    let mut answer = match entries.as_slice() {
        [] => Response::status(StatusCode::NOT_FOUND),
        _ if raw => raw_value(entries.into_iter().next().unwrap_or_default()),
        entries => Response::json(&entries)?,
    };
    set_meta(&mut answer.headers, &found.meta);
    Ok(answer)
}

/// `?raw`: the value itself, guarded against browsers that would run it.
fn raw_value(entry: DirEntry) -> Response {
    let fixed = HeaderValue::from_static;
    Response::bytes("text/plain", entry.value.0)
        .with(CONTENT_SECURITY_POLICY, fixed("sandbox"))
        .with(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"))
}

async fn put(ctx: &Ctx, req: &mut Request, token: String) -> Result<Response, HttpError> {
    let key = req.rest_or("Missing key name")?;
    req.no_namespace()?;
    conflicting(req, &["cas", "acquire", "release"])?;
    let mut args = KVSRequest {
        datacenter: req.datacenter(ctx),
        op: kv_op::SET.to_owned(),
        dir_ent: DirEntry {
            key,
            ..DirEntry::default()
        },
        token,
    };
    if let Some(flags) = req.query.get("flags") {
        args.dir_ent.flags = go_parse_uint(flags).map_err(HttpError::internal)?;
    }
    if let Some(cas) = req.query.get("cas") {
        args.dir_ent.modify_index = go_parse_uint(cas).map_err(HttpError::internal)?;
        args.op = kv_op::CAS.to_owned();
    }
    for (parameter, op) in [("acquire", kv_op::LOCK), ("release", kv_op::UNLOCK)] {
        if let Some(session) = req.query.get(parameter) {
            args.dir_ent.session = session.to_owned();
            args.op = op.to_owned();
        }
    }
    let limit = ctx.settings.kv_max_value_size;
    let value = req.limited_body(limit, "kv_max_value_size").await?;
    args.dir_ent.value = Bytes(value.into());
    let plain = args.op == kv_op::SET;
    let done = write::<method::KvsApply>(ctx, args).await?;
    // The reply of a plain write says nothing: it is done when there is no error.
    Ok(boolean(plain || done))
}

async fn delete(ctx: &Ctx, req: &mut Request, token: String) -> Result<Response, HttpError> {
    req.no_namespace()?;
    conflicting(req, &["recurse", "cas"])?;
    let mut args = KVSRequest {
        datacenter: req.datacenter(ctx),
        op: kv_op::DELETE.to_owned(),
        dir_ent: DirEntry {
            key: req.rest().to_owned(),
            ..DirEntry::default()
        },
        token,
    };
    if req.query.has("recurse") {
        args.op = kv_op::DELETE_TREE.to_owned();
    } else if args.dir_ent.key.is_empty() {
        return Err(HttpError::bad_request("Missing key name"));
    }
    let cas = req.query.get("cas");
    if let Some(cas) = cas {
        args.dir_ent.modify_index = go_parse_uint(cas).map_err(HttpError::internal)?;
        args.op = kv_op::DELETE_CAS.to_owned();
    }
    let conditional = cas.is_some();
    let done = write::<method::KvsApply>(ctx, args).await?;
    Ok(boolean(!conditional || done))
}

/// Refuses more than one of the parameters.
fn conflicting(req: &Request, parameters: &[&str]) -> Result<(), HttpError> {
    let given = parameters.iter().filter(|p| req.query.has(p)).count();
    if given <= 1 {
        return Ok(());
    }
    let text = format!("Conflicting flags: {}", req.query.encode());
    Err(HttpError::bad_request(text))
}

fn boolean(value: bool) -> Response {
    let text: &[u8] = if value { b"true" } else { b"false" };
    Response::raw_json(text.to_vec())
}
