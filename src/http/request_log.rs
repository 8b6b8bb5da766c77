//! What the log says of requests: each one that was answered, at level DEBUG, and what failed, at level ERROR.
//!
//! Holds true: no secret is logged, be it a parameter or part of a path; text of a client cannot begin a line of
//! its own; a request costs nothing but a look at the level while nobody wants to read of it.
//! Source: the log of a running Consul 1.8.7.

use hyper::StatusCode;
use log::Level;

use super::error::HttpError;
use super::path;
use super::request::Request;
use crate::drive::{Instant, now};
use crate::structs::go::GoDuration;

/// Endpoints whose paths end in a secret.
const SECRETS: [&str; 3] = ["/v1/acl/info/", "/v1/acl/destroy/", "/v1/acl/clone/"];
/// What is shown instead of a secret.
const HIDDEN: &str = "<hidden>";

/// A request that is being answered; `None` while nobody wants to read of it.
pub struct Begun(Option<(Instant, String)>);

impl Begun {
    /// The handler starts.
    pub fn of(request: &Request) -> Begun {
        let wanted = log::log_enabled!(target: "agent.http", Level::Debug);
        Begun(wanted.then(|| (now(), url(request))))
    }

    /// The handler has ended.
    pub fn ended(self, request: &Request) {
        let Some((began, url)) = self.0 else { return };
        let latency = GoDuration::from(began.elapsed()).to_string();
        let (method, from) = (request.method.as_str(), request.peer.to_string());
        log::debug!(
            target: "agent.http",
            method, url = url.as_str(), from = from.as_str(), latency = latency.as_str();
            "Request finished"
        );
    }
}

/// Logs a failure. What the client alone did wrong, and what is not there, is told to the client only.
pub fn failed(request: &Request, error: &HttpError) {
    let told = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
    if told.contains(&error.status) {
        return;
    }
    let text = match error.status {
        // It is answered without a text.
        StatusCode::TOO_MANY_REQUESTS => crate::structs::RPC_RATE_EXCEEDED,
        _ => error.text.as_ref(),
    };
    log_failure(request, text);
}

/// Logs a method that the path does not have.
pub fn not_allowed(request: &Request, text: &str) {
    log_failure(request, text);
}

fn log_failure(request: &Request, error: &str) {
    let (method, url) = (request.method.as_str(), url(request));
    let from = request.peer.to_string();
    log::error!(
        target: "agent.http",
        method, url = url.as_str(), from = from.as_str(), error;
        "Request error"
    );
}

/// The request's target without its secrets.
fn url(request: &Request) -> String {
    let mut out = String::new();
    let secret = SECRETS.iter().find(|path| request.path.starts_with(**path));
    match secret {
        Some(path) if path.len() < request.path.len() => {
            out.push_str(path);
            out.push_str(HIDDEN);
        }
        _ => out.push_str(&path::escape(&request.path)),
    }
    for (n, (name, value)) in request.query.pairs().enumerate() {
        out.push(if n == 0 { '?' } else { '&' });
        out.push_str(&path::escape_query(name));
        if value.is_empty() {
            continue;
        }
        out.push('=');
        if name == "token" {
            out.push_str(HIDDEN);
        } else {
            out.push_str(&path::escape_query(value));
        }
    }
    out
}
