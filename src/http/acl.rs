//! `/v1/acl/*`: tokens, policies, roles, auth methods, binding rules, logging in and out.
//!
//! Holds true: while ACLs are off everything here is refused before anything else is looked at.
//! Source: `docs/reference/http-1.md` section 11; a running Consul 1.8.7.

use super::context::Ctx;
use super::conventions::{read, write};
use super::error::HttpError;
use super::request::{MAX_JSON_BODY, Request};
use super::response::Response;
use super::routes::{Route, routes};
use crate::codec::{Deserialize, Serialize};
use crate::structs::go::{Bytes, GoDuration, GoTime, List};
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
    "/v1/acl/policies" [GET] policies;
    "/v1/acl/policy" [PUT] policy;
    "/v1/acl/policy/" [GET PUT DELETE] policy;
    "/v1/acl/policy/name/" [GET] policy_by_name;
    "/v1/acl/roles" [GET] roles;
    "/v1/acl/role" [PUT] role;
    "/v1/acl/role/name/" [GET] role_by_name;
    "/v1/acl/role/" [GET PUT DELETE] role;
    "/v1/acl/binding-rules" [GET] binding_rules;
    "/v1/acl/binding-rule" [PUT] binding_rule;
    "/v1/acl/binding-rule/" [GET PUT DELETE] binding_rule;
    "/v1/acl/auth-methods" [GET] auth_methods;
    "/v1/acl/auth-method" [PUT] auth_method;
    "/v1/acl/auth-method/" [GET PUT DELETE] auth_method;
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

/// The answer for what is not there, where it is an empty 404.
fn absent() -> Response {
    Response::status(StatusCode::NOT_FOUND)
}

fn not_found(meta: &QueryMeta) -> Result<Response, HttpError> {
    Ok(Response::text(ACL_NOT_FOUND)
        .with_status(StatusCode::FORBIDDEN)
        .with_meta(meta))
}

fn query(ctx: &Ctx, req: &mut Request) -> Result<(String, QueryOptions), HttpError> {
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
    let (datacenter, options) = query(ctx, req)?;
    let args = DCSpecificRequest {
        datacenter,
        options,
        ..DCSpecificRequest::default()
    };
    Response::json(&write::<method::AclReplicationStatus>(ctx, args).await?)
}

/// A token as users write it: no type.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct TokenBody {
    #[serde(rename = "AccessorID")]
    accessor_id: String,
    #[serde(rename = "SecretID")]
    secret_id: String,
    description: String,
    policies: List<ACLLink>,
    roles: List<ACLLink>,
    service_identities: List<ACLServiceIdentity>,
    node_identities: List<ACLNodeIdentity>,
    rules: String,
    local: bool,
    auth_method: String,
    expiration_time: Option<GoTime>,
    #[serde(rename = "ExpirationTTL")]
    expiration_ttl: GoDuration,
    #[serde(rename = "CreateTime")]
    _create_time: GoTime,
    #[serde(rename = "Hash")]
    _hash: Bytes,
    #[serde(rename = "CreateIndex")]
    _create_index: u64,
    #[serde(rename = "ModifyIndex")]
    _modify_index: u64,
}

impl From<TokenBody> for ACLToken {
    fn from(b: TokenBody) -> Self {
        Self {
            accessor_id: b.accessor_id,
            secret_id: b.secret_id,
            description: b.description,
            policies: b.policies,
            roles: b.roles,
            service_identities: b.service_identities,
            node_identities: b.node_identities,
            rules: b.rules,
            local: b.local,
            auth_method: b.auth_method,
            expiration_time: b.expiration_time,
            expiration_ttl: b.expiration_ttl,
            ..Self::default()
        }
    }
}

async fn tokens(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = query(ctx, req)?;
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

async fn token_self(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLTokenGetRequest {
        datacenter,
        token_id: options.token.clone(),
        token_id_type: "secret".to_owned(),
        options,
    };
    let found = read::<method::AclTokenRead>(ctx, args).await?;
    match found.found {
        Some(token) => Ok(Response::json(&token)?.with_meta(&found.meta)),
        None => not_found(&found.meta),
    }
}

async fn token(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let id = req.rest().to_owned();
    match req.method {
        Method::GET if id.is_empty() => Err(bad_request("Missing token ID")),
        Method::DELETE if id.is_empty() => Err(bad_request("Missing token ID")),
        Method::GET => {
            let (datacenter, options) = query(ctx, req)?;
            let args = ACLTokenGetRequest {
                datacenter,
                token_id: id,
                token_id_type: "accessor".to_owned(),
                options,
            };
            let found = read::<method::AclTokenRead>(ctx, args).await?;
            match found.found {
                Some(token) => Ok(Response::json(&token)?.with_meta(&found.meta)),
                None => not_found(&found.meta),
            }
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
    let given: TokenBody = body(req, "Token decoding failed", "structs.ACLToken").await?;
    let mut acl_token = ACLToken::from(given);
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
    let given: TokenBody = body(req, "Token decoding failed", "structs.ACLToken").await?;
    let mut acl_token = ACLToken::from(given);
    acl_token.accessor_id = source.to_owned();
    let args = ACLTokenSetRequest {
        datacenter: ctx.settings.datacenter.clone(),
        acl_token,
        create: true,
        token: req.token(ctx),
    };
    Response::json(&write::<method::AclTokenClone>(ctx, args.into()).await?)
}

/// A policy as users write it: no syntax.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PolicyBody {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    description: String,
    rules: String,
    datacenters: List<String>,
    #[serde(rename = "Hash")]
    _hash: Bytes,
    #[serde(rename = "CreateIndex")]
    _create_index: u64,
    #[serde(rename = "ModifyIndex")]
    _modify_index: u64,
}

async fn policies(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLPolicyListRequest {
        datacenter,
        options,
    };
    let found = read::<method::AclPolicyList>(ctx, args).await?;
    Ok(Response::json(&found.policies.unwrap_or_default())?.with_meta(&found.meta))
}

async fn policy_by_name(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let name = req.rest_or("Bad request: Missing policy Name")?;
    policy_read(ctx, req, String::new(), name).await
}

async fn policy_read(
    ctx: &Ctx,
    req: &mut Request,
    policy_id: String,
    policy_name: String,
) -> Result<Response, HttpError> {
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLPolicyGetRequest {
        datacenter,
        policy_id,
        policy_name,
        options,
    };
    let found = read::<method::AclPolicyRead>(ctx, args).await?;
    match found.policy {
        Some(policy) => Ok(Response::json(&policy)?.with_meta(&found.meta)),
        None => not_found(&found.meta),
    }
}

async fn policy(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let id = req.rest().to_owned();
    if id.is_empty() && req.method != Method::PUT {
        return Err(bad_request("Missing policy ID"));
    }
    match req.method {
        Method::GET => policy_read(ctx, req, id, String::new()).await,
        Method::DELETE => {
            let args = ACLPolicyDeleteRequest {
                datacenter: ctx.settings.datacenter.clone(),
                policy_id: id,
                token: req.token(ctx),
            };
            write::<method::AclPolicyDelete>(ctx, args).await?;
            Response::json(&true)
        }
        _ => {
            let go_type = "structs.ACLPolicy";
            let given: PolicyBody = body(req, "Policy decoding failed", go_type).await?;
            let mut policy = ACLPolicy {
                id: given.id,
                name: given.name,
                description: given.description,
                rules: given.rules,
                datacenters: given.datacenters,
                ..ACLPolicy::default()
            };
            if id.is_empty() && !policy.id.is_empty() {
                return Err(bad_request(
                    "Cannot specify the ID when creating a new policy",
                ));
            }
            if !id.is_empty() && !policy.id.is_empty() && policy.id != id {
                return Err(bad_request("Policy ID in URL and payload do not match"));
            }
            policy.id = id;
            let args = ACLPolicySetRequest {
                datacenter: ctx.settings.datacenter.clone(),
                policy,
                token: req.token(ctx),
            };
            Response::json(&write::<method::AclPolicySet>(ctx, args.into()).await?)
        }
    }
}

async fn roles(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLRoleListRequest {
        datacenter,
        policy: req.query.value("policy").to_owned(),
        options,
    };
    let found = read::<method::AclRoleList>(ctx, args).await?;
    Ok(Response::json(&found.roles.unwrap_or_default())?.with_meta(&found.meta))
}

async fn role_by_name(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let name = req.rest_or("Bad request: Missing role Name")?;
    role_read(ctx, req, String::new(), name).await
}

async fn role_read(
    ctx: &Ctx,
    req: &mut Request,
    role_id: String,
    role_name: String,
) -> Result<Response, HttpError> {
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLRoleGetRequest {
        datacenter,
        role_id,
        role_name,
        options,
    };
    let found = read::<method::AclRoleRead>(ctx, args).await?;
    match found.role {
        Some(role) => Ok(Response::json(&role)?.with_meta(&found.meta)),
        None => Ok(absent()),
    }
}

async fn role(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let id = req.rest().to_owned();
    if id.is_empty() && req.method != Method::PUT {
        return Err(bad_request("Missing role ID"));
    }
    match req.method {
        Method::GET => role_read(ctx, req, id, String::new()).await,
        Method::DELETE => {
            let args = ACLRoleDeleteRequest {
                datacenter: ctx.settings.datacenter.clone(),
                role_id: id,
                token: req.token(ctx),
            };
            write::<method::AclRoleDelete>(ctx, args).await?;
            Response::json(&true)
        }
        _ => {
            let mut role: ACLRole = body(req, "Role decoding failed", "structs.ACLRole").await?;
            if !role.id.is_empty() && role.id != id {
                return Err(bad_request("Role ID in URL and payload do not match"));
            }
            role.id = id;
            let args = ACLRoleSetRequest {
                datacenter: ctx.settings.datacenter.clone(),
                role,
                token: req.token(ctx),
            };
            Response::json(&write::<method::AclRoleSet>(ctx, args.into()).await?)
        }
    }
}

async fn auth_methods(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLAuthMethodListRequest {
        datacenter,
        options,
    };
    let found = read::<method::AclAuthMethodList>(ctx, args).await?;
    Ok(Response::json(&found.auth_methods.unwrap_or_default())?.with_meta(&found.meta))
}

async fn auth_method(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let name = req.rest().to_owned();
    if name.is_empty() && req.method != Method::PUT {
        return Err(bad_request("Missing auth method name"));
    }
    match req.method {
        Method::GET => {
            let (datacenter, options) = query(ctx, req)?;
            let args = ACLAuthMethodGetRequest {
                datacenter,
                auth_method_name: name,
                options,
            };
            let found = read::<method::AclAuthMethodRead>(ctx, args).await?;
            match found.auth_method {
                Some(method) => Ok(Response::json(&method)?.with_meta(&found.meta)),
                None => Ok(absent()),
            }
        }
        Method::DELETE => {
            let args = ACLAuthMethodDeleteRequest {
                datacenter: ctx.settings.datacenter.clone(),
                auth_method_name: name,
                token: req.token(ctx),
            };
            write::<method::AclAuthMethodDelete>(ctx, args).await?;
            Response::json(&true)
        }
        _ => {
            let go_type = "structs.ACLAuthMethod";
            let mut method: ACLAuthMethod =
                body(req, "AuthMethod decoding failed", go_type).await?;
            if !name.is_empty() {
                if !method.name.is_empty() && method.name != name {
                    return Err(bad_request(
                        "AuthMethod Name in URL and payload do not match",
                    ));
                }
                method.name = name;
            }
            let args = ACLAuthMethodSetRequest {
                datacenter: ctx.settings.datacenter.clone(),
                auth_method: method,
                token: req.token(ctx),
            };
            Response::json(&write::<method::AclAuthMethodSet>(ctx, args.into()).await?)
        }
    }
}

async fn binding_rules(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = query(ctx, req)?;
    let args = ACLBindingRuleListRequest {
        datacenter,
        auth_method: req.query.value("authmethod").to_owned(),
        options,
    };
    let found = read::<method::AclBindingRuleList>(ctx, args).await?;
    Ok(Response::json(&found.binding_rules.unwrap_or_default())?.with_meta(&found.meta))
}

async fn binding_rule(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let id = req.rest().to_owned();
    if id.is_empty() && req.method != Method::PUT {
        return Err(bad_request("Missing binding rule ID"));
    }
    match req.method {
        Method::GET => {
            let (datacenter, options) = query(ctx, req)?;
            let args = ACLBindingRuleGetRequest {
                datacenter,
                binding_rule_id: id,
                options,
            };
            let found = read::<method::AclBindingRuleRead>(ctx, args).await?;
            match found.binding_rule {
                Some(rule) => Ok(Response::json(&rule)?.with_meta(&found.meta)),
                None => Ok(absent()),
            }
        }
        Method::DELETE => {
            let args = ACLBindingRuleDeleteRequest {
                datacenter: ctx.settings.datacenter.clone(),
                binding_rule_id: id,
                token: req.token(ctx),
            };
            write::<method::AclBindingRuleDelete>(ctx, args).await?;
            Response::json(&true)
        }
        _ => {
            let go_type = "structs.ACLBindingRule";
            let mut rule: ACLBindingRule =
                body(req, "BindingRule decoding failed", go_type).await?;
            if !rule.id.is_empty() && rule.id != id {
                return Err(bad_request(
                    "BindingRule ID in URL and payload do not match",
                ));
            }
            rule.id = id;
            let args = ACLBindingRuleSetRequest {
                datacenter: ctx.settings.datacenter.clone(),
                binding_rule: rule,
                token: req.token(ctx),
            };
            Response::json(&write::<method::AclBindingRuleSet>(ctx, args.into()).await?)
        }
    }
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
