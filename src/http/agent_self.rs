//! `/v1/agent/self` and `/v1/agent/host`: who this agent is, how it is configured and how it fares.
//!
//! Source: `docs/reference/http-2.md` sections 5.1 and 5.3.

use std::collections::BTreeMap;

use super::agent::agent;
use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{Ask, Scalar};
use crate::agent::{Agent, host};
use crate::codec::Serialize;
use crate::config::debug_config;
use crate::server::CONSUL_VERSION;
use crate::sorted::IntoMap;
use crate::structs::go::Any;
use crate::structs::rpc::Stats;
use crate::structs::{Member, Position};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/agent/self" [GET] about;
    "/v1/agent/host" [GET] about_host;
};

#[derive(Serialize)]
struct SelfConfig {
    #[serde(rename = "Datacenter")]
    datacenter: String,
    #[serde(rename = "NodeName")]
    node_name: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    #[serde(rename = "Revision")]
    revision: &'static str,
    #[serde(rename = "Server")]
    server: bool,
    #[serde(rename = "Version")]
    version: &'static str,
}

#[derive(Serialize)]
struct About {
    #[serde(rename = "Config")]
    config: SelfConfig,
    #[serde(rename = "DebugConfig")]
    debug_config: BTreeMap<String, Any>,
    #[serde(rename = "Coord")]
    coord: Option<Position>,
    #[serde(rename = "Member")]
    member: Member,
    #[serde(rename = "Stats")]
    stats: Stats,
    #[serde(rename = "Meta")]
    meta: BTreeMap<String, String>,
}

async fn about(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.agent_read(req).await?;
    let agent = agent(ctx)?;
    let config = agent.config();
    let identity = agent.local.identity();
    let members = ctx.delegate.members(false).unwrap_or_default();
    let own = members.into_iter().find(|m| m.name == identity.node);
    let mut stats = ctx.delegate.stats().await;
    stats.extend(agent_stats(agent));
    Response::json(&About {
        config: SelfConfig {
            datacenter: config.datacenter.clone(),
            node_name: config.node_name.clone(),
            node_id: identity.id.clone(),
            revision: "",
            server: config.server,
            version: CONSUL_VERSION,
        },
        debug_config: debug_config(&agent.config_shown(), &identity.id, CONSUL_VERSION),
        coord: ctx.delegate.coordinate(),
        member: own.unwrap_or_default(),
        stats,
        meta: agent.local.metadata(),
    })
}

/// The groups of `consul info` that every agent has.
fn agent_stats(agent: &Agent) -> Stats {
    let group = |pairs: &[(&str, String)]| {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        pairs.into_map()
    };
    let (services, checks) = agent.local.counts();
    let (ttls, monitors) = agent.runner_counts();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    BTreeMap::from([
        (
            "agent".to_owned(),
            group(&[
                ("check_monitors", monitors.to_string()),
                ("check_ttls", ttls.to_string()),
                ("checks", checks.to_string()),
                ("services", services.to_string()),
            ]),
        ),
        (
            "build".to_owned(),
            group(&[
                ("prerelease", String::new()),
                ("revision", String::new()),
                ("version", CONSUL_VERSION.to_owned()),
            ]),
        ),
        (
            "runtime".to_owned(),
            group(&[
                ("arch", go_arch().to_owned()),
                ("cpu_count", cores.to_string()),
                ("goroutines", host::threads().to_string()),
                ("max_procs", cores.to_string()),
                ("os", std::env::consts::OS.to_owned()),
                (
                    "version",
                    concat!("rust consul-lite ", env!("CARGO_PKG_VERSION")).to_owned(),
                ),
            ]),
        ),
    ])
}

/// Go's name of the architecture.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

async fn about_host(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    ctx.require(req, Ask::ReadScalar(Scalar::Operator)).await?;
    let host = smol::unblock(host::collect).await;
    Response::json(&host)
}
