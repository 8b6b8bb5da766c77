//! `/v1/session/*`.
//!
//! Source: `docs/reference/http-1.md` section 4; bodies and their errors as a running Consul 1.8.7
//! answers them.

use super::context::Ctx;
use super::conventions::{read, write};
use super::error::HttpError;
use super::request::{MAX_JSON_BODY, Request};
use super::response::Response;
use super::routes::{Route, routes};
use crate::codec::{Deserialize, Deserializer, Error as CodecError, Serialize};
use crate::structs::go::{Any, GoDuration, List};
use crate::structs::rpc::method;
use crate::structs::{
    IndexedSessions, NodeSpecificRequest, ServiceCheck, Session, SessionRequest,
    SessionSpecificRequest,
};
use crate::wire::json;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/session/create" [PUT] create;
    "/v1/session/destroy/" [PUT] destroy;
    "/v1/session/renew/" [PUT] renew;
    "/v1/session/info/" [GET] info;
    "/v1/session/node/" [GET] node;
    "/v1/session/list" [GET] list;
};

const LOCK_DELAY: GoDuration = GoDuration::from_secs(15);
/// Lock delays below this many nanoseconds are meant as seconds.
const SECONDS_BELOW: i64 = 1000;
/// The check that a session depends on when it names none.
const SERF_HEALTH: &str = "serfHealth";

/// The body of a create; anonymous in Go's errors.
#[derive(Default, Deserialize)]
#[serde(default, rename = "")]
struct Create {
    #[serde(rename = "Node", deserialize_with = "given")]
    node: Option<String>,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "LockDelay")]
    lock_delay: Any,
    #[serde(rename = "Behavior")]
    behavior: String,
    #[serde(rename = "TTL")]
    ttl: String,
    #[serde(rename = "NodeChecks", deserialize_with = "given")]
    node_checks: Option<List<String>>,
    #[serde(rename = "ServiceChecks")]
    service_checks: List<ServiceCheck>,
    #[serde(rename = "Checks", deserialize_with = "given")]
    checks: Option<List<String>>,
}

/// Tells a member that is there, even as `null`, from one that is not.
fn given<T: Deserialize + Default>(
    member: &mut Option<T>,
    from: &Deserializer<'_, '_>,
) -> Result<(), CodecError> {
    member.insert(T::default()).deserialize(from)
}

#[derive(Serialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

async fn create(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    // Only an announced body is read: a chunked one is passed over.
    let body = if req.body.content_length().is_some_and(|n| n > 0) {
        let text = req.body.read(MAX_JSON_BODY).await?;
        let (value, _) = json::decode(&text).map_err(HttpError::decode)?;
        let go_type = "struct { LockDelay interface {}; *structs.Alias }";
        json::from_value(&value, false, go_type).map_err(HttpError::decode)?
    } else {
        Create::default()
    };
    let args = SessionRequest {
        datacenter: req.datacenter(ctx),
        op: "create".to_owned(),
        session: session(body, &ctx.settings.node_name)?,
        token: req.token(ctx),
    };
    let id = write::<method::SessionApply>(ctx, args).await?;
    Response::json(&Created { id })
}

/// The session that a body asks for, with Consul's defaults.
fn session(body: Create, node_name: &str) -> Result<Session, HttpError> {
    let serf_health = || Some(vec![SERF_HEALTH.to_owned()]);
    let node_checks = match (body.checks, body.node_checks) {
        // The deprecated spelling wins, and is a list even when it was null.
        (Some(checks), _) => Some(checks.unwrap_or_default()),
        (None, Some(checks)) => checks,
        (None, None) => serf_health(),
    };
    let behavior = match body.behavior.as_str() {
        "" => "release".to_owned(),
        _ => body.behavior,
    };
    Ok(Session {
        name: body.name,
        node: body.node.unwrap_or_else(|| node_name.to_owned()),
        lock_delay: lock_delay(&body.lock_delay)?,
        behavior,
        ttl: body.ttl,
        node_checks,
        service_checks: body.service_checks,
        ..Session::default()
    })
}

/// A lock delay from whatever the client wrote; small numbers are seconds.
fn lock_delay(value: &Any) -> Result<GoDuration, HttpError> {
    let nanoseconds = match value {
        Any::Nil => return Ok(LOCK_DELAY),
        Any::String(text) => GoDuration::parse(text).map_err(HttpError::decode)?.0,
        Any::Int(n) => *n,
        Any::Uint(n) => i64::try_from(*n).unwrap_or(i64::MIN),
        // Out of range is Go's smallest number, and ends as no delay.
        Any::Float(n) if n.abs() >= i64::MAX as f64 => i64::MIN,
        Any::Float(n) => *n as i64,
        _ => 0,
    };
    let scaled = if nanoseconds < SECONDS_BELOW {
        nanoseconds.wrapping_mul(1_000_000_000)
    } else {
        nanoseconds
    };
    Ok(GoDuration(scaled))
}

async fn destroy(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    req.no_namespace()?;
    let args = SessionRequest {
        datacenter: req.datacenter(ctx),
        op: "destroy".to_owned(),
        session: Session {
            id: req.rest_or("Missing session")?,
            ..Session::default()
        },
        token: req.token(ctx),
    };
    write::<method::SessionApply>(ctx, args).await?;
    Response::json(&true)
}

async fn renew(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = specific(ctx, req)?;
    let id = args.session_id.clone();
    let found = write::<method::SessionRenew>(ctx, args).await?;
    match found.sessions.as_deref() {
        None | Some([]) => {
            let text = format!("Session id '{id}' not found");
            Err(HttpError::not_found(text))
        }
        Some(sessions) => Response::json(&sessions),
    }
}

async fn info(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = specific(ctx, req)?;
    sessions(read::<method::SessionGet>(ctx, args).await?)
}

async fn list(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let options = req.query_options(ctx)?;
    req.no_namespace()?;
    let args = SessionSpecificRequest {
        datacenter: req.datacenter(ctx),
        options,
        ..SessionSpecificRequest::default()
    };
    sessions(read::<method::SessionList>(ctx, args).await?)
}

async fn node(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let options = req.query_options(ctx)?;
    req.no_namespace()?;
    let args = NodeSpecificRequest {
        datacenter: req.datacenter(ctx),
        node: req.rest_or("Missing node name")?,
        options,
    };
    sessions(read::<method::SessionNodeSessions>(ctx, args).await?)
}

/// The options of a read and the session that the path names.
fn specific(ctx: &Ctx, req: &mut Request) -> Result<SessionSpecificRequest, HttpError> {
    let options = req.query_options(ctx)?;
    req.no_namespace()?;
    let id = req.rest_or("Missing session")?;
    Ok(SessionSpecificRequest {
        datacenter: req.datacenter(ctx),
        session_id: id.clone(),
        session: id,
        options,
    })
}

fn sessions(found: IndexedSessions) -> Result<Response, HttpError> {
    let sessions = found.sessions.unwrap_or_default();
    Ok(Response::json(&sessions)?.with_meta(&found.meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(body: &str) -> Session {
        let (value, _) = json::decode(body.as_bytes()).unwrap();
        session(json::from_value(&value, false, "struct").unwrap(), "n1").unwrap()
    }

    #[test]
    fn defaults() {
        let s = created("{}");
        assert_eq!(s.node, "n1");
        assert_eq!(s.behavior, "release");
        assert_eq!(s.lock_delay, LOCK_DELAY);
        assert_eq!(s.node_checks, Some(vec![SERF_HEALTH.to_owned()]));
        assert_eq!(created("null"), s);
    }

    #[test]
    fn given_checks_replace_the_default() {
        assert_eq!(created(r#"{"NodeChecks":[]}"#).node_checks, Some(vec![]));
        assert_eq!(created(r#"{"NodeChecks":null}"#).node_checks, None);
        assert_eq!(created(r#"{"Checks":null}"#).node_checks, Some(vec![]));
        let both = r#"{"checks":[],"NodeChecks":["serfHealth"]}"#;
        assert_eq!(created(both).node_checks, Some(vec![]));
        assert_eq!(created(r#"{"Node":""}"#).node, "");
    }

    #[test]
    fn lock_delays() {
        for (text, want) in [
            ("15", 15_000_000_000),
            ("900", 900_000_000_000),
            ("1500000000", 1_500_000_000),
            ("1.5", 1_000_000_000),
            ("0", 0),
            ("true", 0),
            ("-5", -5_000_000_000),
            ("1e20", 0),
            ("\"500ns\"", 500_000_000_000),
            ("\"1us\"", 1_000),
            ("\"2s\"", 2_000_000_000),
        ] {
            let body = format!("{{\"LockDelay\":{text}}}");
            assert_eq!(created(&body).lock_delay, GoDuration(want), "{text}");
        }
    }
}
