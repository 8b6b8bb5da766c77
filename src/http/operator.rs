//! `/v1/operator/*`: Raft peers, autopilot, the gossip keyring.
//!
//! Source: `docs/reference/http-1.md` section 10; texts as a running Consul 1.8.7 answers them.

use super::autopilot_state::AutopilotState;
use super::context::Ctx;
use super::conventions::{go_parse_uint, write};
use super::error::HttpError;
use super::request::{MAX_JSON_BODY, Request};
use super::response::Response;
use super::routes::{Route, routes};
use crate::acl::{Ask, Scalar};
use crate::codec::{Deserialize, Serialize};
use crate::config::flags::parse_bool;
use crate::structs::go::{Any, GoDuration, GoTime, List, duration_string, quote};
use crate::structs::rpc::method;
use crate::structs::{
    AutopilotConfig, AutopilotSetConfigRequest, DCSpecificRequest, KeyringRequest, KeyringResponse,
    MemberStatus, OperatorHealthReply, QueryOptions, RaftRemovePeerRequest, ServerHealth,
    TransferLeaderRequest, error_list, keyring_op,
};
use crate::wire::json;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/operator/raft/configuration" [GET] raft_configuration;
    "/v1/operator/raft/peer" [DELETE] raft_peer;
    "/v1/operator/raft/transfer-leader" [POST] transfer_leader;
    "/v1/operator/autopilot/configuration" [GET PUT] autopilot_configuration;
    "/v1/operator/autopilot/health" [GET] autopilot_health;
    "/v1/operator/autopilot/state" [GET] autopilot_state;
    "/v1/operator/keyring" [GET POST PUT DELETE] keyring;
};

/// A 400 of this family, which carries a prefix of its own.
fn bad_request(text: impl std::fmt::Display) -> HttpError {
    HttpError::bad_request(format!("Bad request: {text}"))
}

fn dc_request(ctx: &Ctx, req: &mut Request) -> Result<DCSpecificRequest, HttpError> {
    let options = req.query_options(ctx)?;
    Ok(DCSpecificRequest {
        datacenter: req.datacenter(ctx),
        options,
        ..DCSpecificRequest::default()
    })
}

async fn raft_configuration(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = dc_request(ctx, req)?;
    Response::json(&write::<method::RaftGetConfiguration>(ctx, args).await?)
}

async fn raft_peer(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let (id, address) = (req.query.get("id"), req.query.get("address"));
    let args = RaftRemovePeerRequest {
        datacenter: req.datacenter(ctx),
        id: id.unwrap_or_default().to_owned(),
        address: address.unwrap_or_default().to_owned(),
        token: req.token(ctx),
    };
    match (id, address) {
        (None, None) => {
            return Err(bad_request(
                "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(bad_request("Must specify only one of ?id or ?address"));
        }
        (Some(_), None) => write::<method::RaftRemovePeerById>(ctx, args).await?,
        (None, Some(_)) => write::<method::RaftRemovePeerByAddress>(ctx, args).await?,
    }
    Ok(Response::empty())
}

async fn transfer_leader(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = TransferLeaderRequest {
        datacenter: req.datacenter(ctx),
        id: req.query.get("id").unwrap_or_default().to_owned(),
        token: req.token(ctx),
    };
    Response::json(&write::<method::RaftTransferLeader>(ctx, args).await?)
}

/// The body of a change; its name is the one in Go's errors.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AutopilotConfiguration {
    #[serde(rename = "CleanupDeadServers")]
    cleanup_dead_servers: bool,
    #[serde(rename = "LastContactThreshold")]
    last_contact_threshold: Any,
    #[serde(rename = "MaxTrailingLogs")]
    max_trailing_logs: u64,
    #[serde(rename = "MinQuorum")]
    min_quorum: u64,
    #[serde(rename = "ServerStabilizationTime")]
    server_stabilization_time: Any,
    #[serde(rename = "RedundancyZoneTag")]
    redundancy_zone_tag: String,
    #[serde(rename = "DisableUpgradeMigration")]
    disable_upgrade_migration: bool,
    #[serde(rename = "UpgradeVersionTag")]
    upgrade_version_tag: String,
    // Clients send back what they have read.
    #[serde(rename = "CreateIndex")]
    _create_index: u64,
    #[serde(rename = "ModifyIndex")]
    _modify_index: u64,
}

async fn autopilot_configuration(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    if req.method == Method::GET {
        let args = dc_request(ctx, req)?;
        let config = write::<method::AutopilotGetConfiguration>(ctx, args).await?;
        return Response::json(&config);
    }
    let mut args = AutopilotSetConfigRequest {
        datacenter: req.datacenter(ctx),
        token: req.token(ctx),
        ..AutopilotSetConfigRequest::default()
    };
    let text = req.body.read(MAX_JSON_BODY).await?;
    let bad_config = |e: String| bad_request(format!("Error parsing autopilot config: {e}"));
    let body: AutopilotConfiguration = json::from_slice_strict(&text, "api.AutopilotConfiguration")
        .map_err(|e| bad_config(e.to_string()))?;
    args.config = AutopilotConfig {
        cleanup_dead_servers: body.cleanup_dead_servers,
        last_contact_threshold: duration(&body.last_contact_threshold).map_err(bad_config)?,
        max_trailing_logs: body.max_trailing_logs,
        min_quorum: body.min_quorum,
        server_stabilization_time: duration(&body.server_stabilization_time).map_err(bad_config)?,
        redundancy_zone_tag: body.redundancy_zone_tag,
        disable_upgrade_migration: body.disable_upgrade_migration,
        upgrade_version_tag: body.upgrade_version_tag,
        create_index: 0,
        modify_index: 0,
    };
    if let Some(cas) = req.query.get("cas") {
        args.config.modify_index =
            go_parse_uint(cas).map_err(|e| bad_request(format!("Error parsing cas value: {e}")))?;
        args.cas = true;
    }
    let cas = args.cas;
    let done = write::<method::AutopilotSetConfiguration>(ctx, args).await?;
    // The RPC tells success for a compare-and-set only.
    Response::json(&(done || !cas))
}

/// A duration as text or as a number of nanoseconds.
fn duration(value: &Any) -> Result<GoDuration, String> {
    let no_number = |text: String| {
        let quoted = quote(&text);
        Err(format!(
            "strconv.ParseFloat: parsing {quoted}: invalid syntax"
        ))
    };
    match value {
        Any::Nil => Ok(GoDuration(0)),
        Any::String(text) => GoDuration::parse(text),
        Any::Int(n) => Ok(GoDuration(*n)),
        Any::Uint(n) => Ok(GoDuration(i64::try_from(*n).unwrap_or(i64::MAX))),
        Any::Float(n) => Ok(GoDuration(*n as i64)),
        Any::Bool(b) => no_number(b.to_string()),
        other => {
            let text = json::to_vec(other).unwrap_or_default();
            no_number(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

#[derive(Serialize)]
struct HealthReply {
    #[serde(rename = "Healthy")]
    healthy: bool,
    #[serde(rename = "FailureTolerance")]
    failure_tolerance: i64,
    #[serde(rename = "Servers")]
    servers: List<Health>,
}

/// A server's health as users see it: words instead of numbers.
#[derive(Serialize)]
struct Health {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Address")]
    address: String,
    #[serde(rename = "SerfStatus")]
    serf_status: &'static str,
    #[serde(rename = "Version")]
    version: String,
    #[serde(rename = "Leader")]
    leader: bool,
    #[serde(rename = "LastContact", serialize_with = "duration_string")]
    last_contact: GoDuration,
    #[serde(rename = "LastTerm")]
    last_term: u64,
    #[serde(rename = "LastIndex")]
    last_index: u64,
    #[serde(rename = "Healthy")]
    healthy: bool,
    #[serde(rename = "Voter")]
    voter: bool,
    #[serde(rename = "StableSince")]
    stable_since: GoTime,
}

/// The word for a member's status.
pub(super) fn status_word(status: i64) -> &'static str {
    let statuses = [
        MemberStatus::None,
        MemberStatus::Alive,
        MemberStatus::Leaving,
        MemberStatus::Left,
        MemberStatus::Failed,
    ];
    let status = usize::try_from(status).ok().and_then(|n| statuses.get(n));
    status.map_or("none", |status| status.word())
}

impl From<ServerHealth> for Health {
    fn from(s: ServerHealth) -> Self {
        Self {
            id: s.id,
            name: s.name,
            address: s.address,
            serf_status: status_word(s.serf_status),
            version: s.version,
            leader: s.leader,
            last_contact: s.last_contact,
            last_term: s.last_term,
            last_index: s.last_index,
            healthy: s.healthy,
            voter: s.voter,
            stable_since: GoTime {
                nanos: 0,
                ..s.stable_since
            },
        }
    }
}

async fn autopilot_health(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = dc_request(ctx, req)?;
    let OperatorHealthReply {
        healthy,
        failure_tolerance,
        servers,
    } = write::<method::OperatorServerHealth>(ctx, args).await?;
    let answer = Response::json(&HealthReply {
        healthy,
        failure_tolerance,
        servers: servers.map(|all| all.into_iter().map(Health::from).collect()),
    })?;
    if healthy {
        return Ok(answer);
    }
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(answer
        .with(CONTENT_TYPE, text)
        .with_status(StatusCode::TOO_MANY_REQUESTS))
}

async fn autopilot_state(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = dc_request(ctx, req)?;
    let health = write::<method::OperatorServerHealth>(ctx, args).await?;
    Response::json(&AutopilotState::from(health))
}

/// The body of a keyring change.
#[derive(Default, Deserialize)]
#[serde(default, rename = "")]
struct KeyringArgs {
    #[serde(rename = "Key")]
    key: String,
    // Accepted and, as in Consul, taken from the query instead.
    #[serde(rename = "Token")]
    _token: String,
    #[serde(rename = "RelayFactor")]
    _relay_factor: u8,
    #[serde(rename = "LocalOnly")]
    _local_only: bool,
}

async fn keyring(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let args = if req.method == Method::GET {
        KeyringArgs::default()
    } else {
        let text = req.body.read(MAX_JSON_BODY).await?;
        json::from_slice_strict(&text, "agent.keyringArgs")
            .map_err(|e| bad_request(format!("Request decode failed: {e}")))?
    };
    let relay_factor = relay_factor(req.query.value("relay-factor"))?;
    let local_only = local_only(req)?;
    if !ctx.settings.server {
        return Err(HttpError::internal(
            "keyring operations must run against a server node",
        ));
    }
    let (ask, denied) = if req.method == Method::GET {
        (
            Ask::ReadScalar(Scalar::Keyring),
            "Reading keyring denied by ACLs",
        )
    } else {
        (
            Ask::WriteScalar(Scalar::Keyring),
            "Modifying keyring denied due to ACLs",
        )
    };
    if !ctx.authorizer(req).await?.allows(ask) {
        return Err(HttpError::internal(denied));
    }
    let operation = match req.method {
        Method::POST => keyring_op::INSTALL,
        Method::PUT => keyring_op::USE,
        Method::DELETE => keyring_op::REMOVE,
        _ => keyring_op::LIST,
    };
    let request = KeyringRequest {
        operation: operation.to_owned(),
        key: args.key,
        datacenter: ctx.settings.datacenter.clone(),
        relay_factor,
        local_only,
        options: QueryOptions {
            token: req.token(ctx),
            ..QueryOptions::default()
        },
        ..KeyringRequest::default()
    };
    let answer = write::<method::InternalKeyringOperation>(ctx, request).await?;
    let responses = answer.responses.unwrap_or_default();
    if let Some(error) = error_list(&keyring_errors(&responses)) {
        return Err(HttpError::internal(error.text().to_owned()));
    }
    match req.method {
        Method::GET => Response::json(&responses),
        _ => Ok(Response::empty()),
    }
}

/// What went wrong in the pools, and what their members say about it.
fn keyring_errors(responses: &[KeyringResponse]) -> Vec<String> {
    let mut errors = Vec::new();
    for response in responses.iter().filter(|r| !r.error.is_empty()) {
        let pool = match response.wan {
            true => "WAN".to_owned(),
            false => format!("{} (LAN)", response.datacenter),
        };
        errors.push(format!("{pool} error: {}", response.error));
        let messages = response.messages.iter().flatten();
        errors.extend(messages.map(|(node, why)| format!("{node}: {why}")));
    }
    errors
}

fn relay_factor(text: &str) -> Result<u8, HttpError> {
    if text.is_empty() {
        return Ok(0);
    }
    let factor: i64 = text.parse().map_err(|_| {
        let quoted = quote(text);
        bad_request(format!(
            "Error parsing relay factor: strconv.Atoi: parsing {quoted}: invalid syntax"
        ))
    })?;
    match u8::try_from(factor) {
        Ok(factor @ 0..=5) => Ok(factor),
        _ => Err(bad_request(
            "Invalid relay-factor: Relay factor must be in range: [0, 5]",
        )),
    }
}

fn local_only(req: &Request) -> Result<bool, HttpError> {
    let text = req.query.value("local-only");
    if text.is_empty() {
        return Ok(false);
    }
    let Some(wanted) = parse_bool(text) else {
        let quoted = quote(text);
        return Err(bad_request(format!(
            "Error parsing local-only: strconv.ParseBool: parsing {quoted}: invalid syntax"
        )));
    };
    if req.method != Method::GET {
        return Err(bad_request(
            "Invalid use of local-only: local-only can only be set for list requests",
        ));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_factors() {
        assert!(relay_factor("").is_ok());
        assert!(relay_factor("5").is_ok());
        let text = |t: &str| relay_factor(t).unwrap_err().text;
        assert_eq!(
            text("9"),
            "Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]"
        );
        assert_eq!(
            text("x"),
            "Bad request: Error parsing relay factor: strconv.Atoi: parsing \"x\": invalid syntax"
        );
    }
}
