//! How long requests take, under `http.METHOD.PATH`, and how the catalog's endpoints fare for this agent's
//! clients.
//!
//! Holds true: a series is made once per route and method and found again without its name; only routes of
//! the table have one, so that clients cannot make series.
//! Source: Consul's documentation "Telemetry"; the names of a running Consul 1.8.7.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};

use hyper::Method;

use super::context::Ctx;
use super::error::HttpError;
use super::routes::Route;
use crate::telemetry::{self, Counter, Sample};

/// Methods that have a series.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::HEAD,
    Method::PATCH,
    Method::OPTIONS,
];

type Known = RwLock<HashMap<(&'static str, usize), Option<&'static Sample>>>;

/// The series of a route and method; `None` for a method without one.
pub fn of(route: &Route, method: &Method) -> Option<&'static Sample> {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    let known = KNOWN.get_or_init(Known::default);
    let number = METHODS.iter().position(|m| m == method)?;
    let key = (route.path, number);
    let found = {
        let known = known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).copied()
    };
    if let Some(found) = found {
        return found;
    }
    let made = telemetry::sample(&[&name(route.path, method)], &[]);
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(key, made);
    made
}

/// `/v1/kv/` becomes `http.GET.v1.kv._`.
fn name(path: &str, method: &Method) -> String {
    let mut name = format!("http.{method}");
    for part in path.split('/').skip(1) {
        name.push('.');
        name.push_str(if part.is_empty() { "_" } else { part });
    }
    name
}

/// Counts what this agent's clients ask of one endpoint of the catalog, and how that ends.
pub struct Api {
    name: &'static str,
    /// What a success is counted as.
    success: &'static str,
    asked: OnceLock<Option<&'static Counter>>,
    succeeded: OnceLock<Option<&'static Counter>>,
    failed: OnceLock<Option<&'static Counter>>,
}

impl Api {
    /// An endpoint by Consul's name of it.
    pub const fn new(name: &'static str) -> Self {
        Self::with_success(name, name)
    }

    /// An endpoint whose successes count as another's.
    pub const fn with_success(name: &'static str, success: &'static str) -> Self {
        Self {
            name,
            success,
            asked: OnceLock::new(),
            succeeded: OnceLock::new(),
            failed: OnceLock::new(),
        }
    }

    /// Counts a request before it goes to the servers.
    pub fn ask(&self, ctx: &Ctx) {
        count(&self.asked, ctx, ["client.api.", self.name]);
    }

    /// Counts how it ended, and passes it on.
    ///
    /// # Errors
    /// Those it is given.
    pub fn end<T>(&self, ctx: &Ctx, result: Result<T, HttpError>) -> Result<T, HttpError> {
        match result {
            Ok(_) => count(&self.succeeded, ctx, ["client.api.success.", self.success]),
            Err(_) => count(&self.failed, ctx, ["client.rpc.error.", self.name]),
        }
        result
    }
}

fn count(place: &OnceLock<Option<&'static Counter>>, ctx: &Ctx, name: [&str; 2]) {
    let labels = [("node", ctx.settings.node_name.as_str())];
    if let Some(counter) = place.get_or_init(|| telemetry::counter(&name, &labels)) {
        counter.incr();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name("/v1/kv/", &Method::GET), "http.GET.v1.kv._");
        assert_eq!(name("/v1/txn", &Method::PUT), "http.PUT.v1.txn");
    }
}
