//! What a watch asks, and what of its answers is news.
//!
//! A [`Plan`] is made from parameters and turns into requests to the HTTP API; [`Progress`] remembers what
//! was seen. Holds true: nothing here waits or connects; a result that was delivered is not delivered
//! again, and an index that goes backwards starts from the beginning.
//! Leaves to others: asking, and what is done with news. Shared by the agent and the `watch` command.
//! Source: `docs/reference/cli.md` section 10, `docs/reference/config.md` section 8.

use std::collections::BTreeMap;
use std::time::Duration;

use super::params::Params;
use super::shape::{self, Shaped};
use crate::agent::event::id_index;
use crate::sorted;
use crate::structs::go::Any;
use crate::structs::{Error, Result};
use crate::wire::Value;
use crate::wire::json;

/// First pause after a failure; it grows with the square of the failures.
const RETRY: Duration = Duration::from_secs(5);
/// Longest pause.
const MAX_RETRY: Duration = Duration::from_secs(180);

/// What is watched.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Key(String),
    KeyPrefix(String),
    Services,
    Nodes,
    Service {
        service: String,
        tags: Vec<String>,
        passing_only: bool,
    },
    Checks {
        service: String,
        state: String,
    },
    Event(String),
    AgentService(String),
    ConnectRoots,
    ConnectLeaf(String),
}

/// A watch, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The type's name, as it was given.
    pub name: String,
    /// The datacenter to ask, or empty for the agent's own.
    pub datacenter: String,
    /// The token to ask with, or empty.
    pub token: String,
    /// `script` or `http`, or empty.
    pub handler_type: String,
    /// The parameters for whoever runs the plan: `handler`, `args`, `http_handler_config`.
    pub exempt: BTreeMap<String, Any>,
    stale: bool,
    kind: Kind,
}

/// A request of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The path, not escaped.
    pub path: String,
    /// The query's parameters, sorted.
    pub params: Vec<(&'static str, String)>,
}

impl Query {
    /// Path and query as they stand in a request line.
    pub fn target(&self) -> String {
        let mut out = escape(&self.path, b"$&+,/:;=@-_.~");
        for (n, (name, value)) in self.params.iter().enumerate() {
            out.push(if n == 0 { '?' } else { '&' });
            out.push_str(name);
            out.push('=');
            out.push_str(&escape(value, b"-_.~").replace("%20", "+"));
        }
        out
    }
}

/// Percent encoding of all but letters, digits and `keep`, as Go does it.
fn escape(text: &str, keep: &[u8]) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl Plan {
    /// Reads the parameters, all of which must be known.
    ///
    /// # Errors
    /// Consul's words; `params` then holds what had not been read yet, as the message of the agent shows.
    pub fn parse(params: &mut Params) -> Result<Self> {
        let datacenter = params.string("datacenter")?;
        let token = params.string("token")?;
        let name = params.string("type")?;
        if name.is_empty() {
            return Err(Error::new("Watch type must be specified"));
        }
        let handler_type = params.string("handler_type")?;
        let mut exempt = BTreeMap::new();
        if handler_type == "http" {
            let Some(config) = params.0.get("http_handler_config") else {
                return Err(Error::new(
                    "Handler type 'http' requires 'http_handler_config' to be set",
                ));
            };
            // Checked here so that the message shows the parameters with it.
            super::handler::HttpTarget::parse(config)
                .map_err(|e| Error::new(format!("Failed to parse 'http_handler_config': {e}")))?;
            if let Some(config) = params.0.remove("http_handler_config") {
                exempt.insert("http_handler_config".to_owned(), config);
            }
        }
        let (kind, stale) = kind(&name, params)?;
        for key in ["handler", "args"] {
            if let Some(value) = params.0.remove(key) {
                exempt.insert(key.to_owned(), value);
            }
        }
        if !params.0.is_empty() {
            let left: Vec<&str> = params.0.keys().map(String::as_str).collect();
            let left = left.join(" ");
            return Err(Error::new(format!("Invalid parameters: [{left}]")));
        }
        Ok(Self {
            name,
            datacenter,
            token,
            handler_type,
            exempt,
            stale,
            kind,
        })
    }

    /// The next request, after what `progress` has seen.
    pub fn query(&self, progress: &Progress) -> Query {
        let mut params: Vec<(&'static str, String)> = Vec::new();
        let path = match &self.kind {
            Kind::Key(key) => format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key)),
            Kind::KeyPrefix(prefix) => {
                params.push(("recurse", String::new()));
                format!("/v1/kv/{}", prefix.strip_prefix('/').unwrap_or(prefix))
            }
            Kind::Services => "/v1/catalog/services".to_owned(),
            Kind::Nodes => "/v1/catalog/nodes".to_owned(),
            Kind::Service {
                service,
                tags,
                passing_only,
            } => {
                params.extend(tags.iter().map(|tag| ("tag", tag.clone())));
                if *passing_only {
                    params.push(("passing", "1".to_owned()));
                }
                format!("/v1/health/service/{service}")
            }
            Kind::Checks { service, .. } if !service.is_empty() => {
                format!("/v1/health/checks/{service}")
            }
            Kind::Checks { state, .. } => format!("/v1/health/state/{state}"),
            Kind::Event(name) => {
                if !name.is_empty() {
                    params.push(("name", name.clone()));
                }
                "/v1/event/list".to_owned()
            }
            Kind::AgentService(id) => format!("/v1/agent/service/{id}"),
            Kind::ConnectRoots => "/v1/agent/connect/ca/roots".to_owned(),
            Kind::ConnectLeaf(service) => format!("/v1/agent/connect/ca/leaf/{service}"),
        };
        if self.stale {
            params.push(("stale", String::new()));
        }
        if !self.datacenter.is_empty() {
            params.push(("dc", self.datacenter.clone()));
        }
        match (&progress.position, &self.kind) {
            (Position::Hash(hash), Kind::AgentService(_)) => params.push(("hash", hash.clone())),
            (Position::Index(index), _) if *index > 0 => params.push(("index", index.to_string())),
            _ => {}
        }
        sorted::sort_by_key(&mut params, |(name, _)| *name);
        Query { path, params }
    }

    /// The Go client takes an answer of 404 for nothing being there.
    fn absent_is_nil(&self) -> bool {
        matches!(self.kind, Kind::Key(_) | Kind::KeyPrefix(_))
    }

    /// The result in the form that handlers get.
    fn result(&self, body: &[u8], progress: &Progress) -> Result<Shaped> {
        let (value, _) = json::decode(body).map_err(|e| Error::new(e.to_string()))?;
        let (shape, value) = match &self.kind {
            Kind::Key(_) => (
                &shape::KV_PAIR,
                match value {
                    Value::Array(pairs) => pairs.into_iter().next().unwrap_or_default(),
                    _ => Value::Nil,
                },
            ),
            Kind::KeyPrefix(_) => (&shape::KV_PAIRS, value),
            Kind::Nodes => (&shape::NODES, value),
            Kind::Service { .. } => (&shape::SERVICE_ENTRIES, value),
            Kind::Checks { .. } => (&shape::HEALTH_CHECKS, value),
            Kind::AgentService(_) => (&shape::AGENT_SERVICE, value),
            Kind::Event(_) => (
                &shape::EVENTS,
                match (&progress.position, value) {
                    (Position::Index(seen), Value::Array(events)) => {
                        Value::Array(new_events(events, *seen))
                    }
                    (_, value) => value,
                },
            ),
            Kind::Services | Kind::ConnectRoots | Kind::ConnectLeaf(_) => (&shape::SAME, value),
        };
        Ok(shape::reshape(value, shape))
    }
}

fn kind(name: &str, params: &mut Params) -> Result<(Kind, bool)> {
    let required = |value: String, what: &str| {
        if value.is_empty() {
            return Err(Error::new(format!("Must specify a single {what} to watch")));
        }
        Ok(value)
    };
    let reads_stale = !matches!(
        name,
        "event" | "agent_service" | "connect_roots" | "connect_leaf"
    );
    let known = [
        "key",
        "keyprefix",
        "services",
        "nodes",
        "service",
        "checks",
        "event",
        "agent_service",
        "connect_roots",
        "connect_leaf",
    ];
    if !known.contains(&name) {
        return Err(Error::new(format!("Unsupported watch type: {name}")));
    }
    let stale = reads_stale && params.bool("stale")?;
    let kind = match name {
        "key" => Kind::Key(required(params.string("key")?, "key")?),
        "keyprefix" => Kind::KeyPrefix(required(params.string("prefix")?, "prefix")?),
        "services" => Kind::Services,
        "nodes" => Kind::Nodes,
        "service" => {
            let service = params.string("service")?;
            let tags = params.strings("tag")?;
            let service = required(service, "service")?;
            Kind::Service {
                service,
                tags,
                passing_only: params.bool("passingonly")?,
            }
        }
        "checks" => {
            let service = params.string("service")?;
            let state = params.string("state")?;
            if !service.is_empty() && !state.is_empty() {
                return Err(Error::new("Cannot specify service and state"));
            }
            let state = if state.is_empty() {
                "any".to_owned()
            } else {
                state
            };
            Kind::Checks { service, state }
        }
        "event" => Kind::Event(params.string("name")?),
        "agent_service" => Kind::AgentService(params.string("service_id")?),
        "connect_leaf" => Kind::ConnectLeaf(params.string("service")?),
        _ => Kind::ConnectRoots,
    };
    Ok((kind, stale))
}

/// The events after the one that was seen last; all when it is not among them any more.
fn new_events(events: Vec<Value<'static>>, seen: u64) -> Vec<Value<'static>> {
    let id = |event: &Value<'static>| match event {
        Value::Map(fields) => fields.iter().find_map(|(name, value)| match (name, value) {
            (Value::Str(name), Value::Str(id)) if name.as_ref() == b"ID" => {
                Some(id_index(&String::from_utf8_lossy(id)))
            }
            _ => None,
        }),
        _ => None,
    };
    match events.iter().position(|event| id(event) == Some(seen)) {
        Some(at) => events.into_iter().skip(at + 1).collect(),
        None => events,
    }
}

/// An answer of the HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `X-Consul-Index`.
    pub index: String,
    /// `X-Consul-ContentHash`.
    pub hash: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Something new to tell a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What `CONSUL_INDEX` says; 0 of a watch that has no index.
    pub index: u64,
    /// The result as compact JSON.
    pub json: Vec<u8>,
}

/// Up to where a watch has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    Start,
    Index(u64),
    Hash(String),
}

/// What a watch has seen.
#[derive(Clone, Debug)]
pub struct Progress {
    position: Position,
    last: Option<Vec<u8>>,
    failures: u32,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            position: Position::Start,
            last: None,
            failures: 0,
        }
    }
}

impl Progress {
    /// Takes an answer: what is new in it, if anything.
    ///
    /// # Errors
    /// Consul's words for an answer that is none; call [`Progress::failed`] then.
    pub fn take(&mut self, plan: &Plan, answer: &Answer) -> Result<Option<News>> {
        let body = match answer.status {
            200 => answer.body.as_slice(),
            404 if plan.absent_is_nil() => b"null",
            code => {
                let text = String::from_utf8_lossy(&answer.body);
                // The Go client drops the body of these.
                let text = if plan.absent_is_nil() {
                    format!("Unexpected response code: {code}")
                } else {
                    format!("Unexpected response code: {code} ({text})")
                };
                return Err(Error::new(text));
            }
        };
        let position = match &plan.kind {
            Kind::AgentService(_) => Position::Hash(answer.hash.clone()),
            _ => Position::Index(answer.index.parse().unwrap_or(0)),
        };
        let result = plan.result(body, self)?;
        self.failures = 0;
        if position == self.position {
            return Ok(None);
        }
        let backwards = match (&self.position, &position) {
            (Position::Index(before), Position::Index(now)) => now < before,
            _ => false,
        };
        let index = match &position {
            Position::Index(index) => *index,
            _ => 0,
        };
        let is_event = matches!(plan.kind, Kind::Event(_));
        self.position = match position {
            // The index of events is a digest, of which neither order counts.
            Position::Index(_) if backwards && !is_event => Position::Index(0),
            position => position,
        };
        let json = json::to_vec(&result).map_err(|e| Error::new(e.to_string()))?;
        if self.last.as_ref() == Some(&json) {
            return Ok(None);
        }
        self.last = Some(json.clone());
        Ok(Some(News { index, json }))
    }

    /// After a failure: how long to pause before the next try.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.position = Position::Start;
        let squared = self.failures.saturating_mul(self.failures);
        RETRY.saturating_mul(squared).min(MAX_RETRY)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
