//! `/v1/event/*`: firing user events, and those that this agent has seen.
//!
//! Source: `docs/reference/http-1.md` section 5.

use std::time::Duration;

use hyper::header::HeaderValue;

use super::context::Ctx;
use super::conventions::{INDEX, write};
use super::error::HttpError;
use super::request::{BodyError, Request};
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::Resource;
use crate::agent::event;
use crate::drive;
use crate::structs::go::{Bytes, new_uuid};
use crate::structs::rpc::method;
use crate::structs::{
    ACL_NOT_FOUND, Error, EventFireRequest, PERMISSION_DENIED, QueryOptions, USER_EVENT_VERSION,
    UserEvent, UserEventPayload,
};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/event/fire/" [PUT] fire;
    "/v1/event/list" [GET] list;
};

/// Longest wait of a list, and the wait when none is given.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Gossip takes 512 bytes at most; what is longer is refused there, in Serf's words.
const MAX_PAYLOAD: usize = 64 << 10;

async fn fire(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let mut fired = UserEvent {
        id: new_uuid(),
        name: req.rest_or("Missing name")?,
        node_filter: req.query.value("node").to_owned(),
        service_filter: req.query.value("service").to_owned(),
        tag_filter: req.query.value("tag").to_owned(),
        version: USER_EVENT_VERSION,
        ..UserEvent::default()
    };
    // Only an announced body is read: a chunked one is passed over.
    if req.body.content_length().is_some_and(|n| n > 0) {
        fired.payload = match req.body.read(MAX_PAYLOAD).await {
            Ok(payload) => Bytes(payload.into()),
            Err(BodyError::TooLarge(_)) => return Err(too_large()),
            Err(e) => return Err(e.into()),
        };
    }
    event::validate(&fired)?;
    let args = EventFireRequest {
        datacenter: req.datacenter(ctx),
        name: fired.name.clone(),
        payload: Bytes(UserEventPayload::from(&fired).encode()),
        options: QueryOptions {
            token: req.token(ctx),
            ..QueryOptions::default()
        },
    };
    // Only here an unknown token is no matter of permission to Consul, and who says no is left out.
    write::<method::InternalEventFire>(ctx, args)
        .await
        .map_err(|e| match &e.text {
            text if text.contains(ACL_NOT_FOUND) => HttpError::internal(e.text),
            text if text.contains(PERMISSION_DENIED) => Error::new(PERMISSION_DENIED).into(),
            _ => e,
        })?;
    Response::json(&fired)
}

fn too_large() -> HttpError {
    HttpError::internal(
        "1 error occurred:\n\t* error broadcasting event to segment \"\": user event exceeds \
         configured limit of 512 bytes before encoding\n\n",
    )
}

async fn list(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let (index, wait) = req.wait_options()?;
    let name = req.query.value("name").to_owned();
    let wait = match wait.to_std() {
        Duration::ZERO => MAX_WAIT,
        wait => wait.min(MAX_WAIT),
    };
    let deadline = drive::now() + wait;
    loop {
        let authorizer = ctx.authorizer(req).await?;
        // Listen before looking: what comes in between is not missed.
        let next = ctx.events.listen();
        let mut events = ctx.events.list(&name);
        events.retain(|event| authorizer.reads(Resource::Event, &event.name));
        let current = event::list_index(&events);
        if index == 0 || index != current {
            return answer(&events, current);
        }
        if drive::timeout_at(deadline, next).await.is_err() {
            return answer(&events, current);
        }
    }
}

fn answer(events: &[std::sync::Arc<UserEvent>], index: u64) -> Result<Response, HttpError> {
    let events: Vec<&UserEvent> = events.iter().map(|e| &**e).collect();
    Ok(Response::json(&events)?.with(INDEX, HeaderValue::from(index)))
}
