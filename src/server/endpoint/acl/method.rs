//! Auth methods.
//!
//! Source: `docs/reference/http-1.md` section 11.5.

use super::{fail, is_name};
use crate::server::Server;
use crate::server::acl::jwt;
use crate::store::WatchSet;
use crate::structs::go::GoDuration;
use crate::structs::*;

/// Longest name.
const MAX_NAME: usize = 128;
/// Shortest life of an auth method's tokens.
const MIN_TTL: GoDuration = GoDuration::from_secs(60);
/// Longest life of an auth method's tokens.
const MAX_TTL: GoDuration = GoDuration::from_secs(24 * 60 * 60);

impl Server {
    /// `ACL.AuthMethodRead`.
    pub(crate) async fn acl_auth_method_read(
        &self,
        request: ACLAuthMethodGetRequest,
    ) -> Result<ACLAuthMethodResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, auth_method) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_object(watch, &request.auth_method_name)?)
            })
            .await?;
        Ok(ACLAuthMethodResponse { auth_method, meta })
    }

    /// `ACL.AuthMethodList`.
    pub(crate) async fn acl_auth_method_list(
        &self,
        request: ACLAuthMethodListRequest,
    ) -> Result<ACLAuthMethodListResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, methods) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_objects::<ACLAuthMethod>(watch, None)?)
            })
            .await?;
        let stubs = methods.into_iter().map(ACLAuthMethodListStub::from);
        Ok(ACLAuthMethodListResponse {
            auth_methods: Some(stubs.collect()),
            meta,
        })
    }

    /// `ACL.AuthMethodSet`.
    pub(crate) async fn acl_auth_method_set(
        &self,
        request: ACLAuthMethodSetRequest,
    ) -> Result<ACLAuthMethod> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let mut method = request.auth_method;
        if method.name.is_empty() {
            return fail("Invalid Auth Method: no Name is set");
        }
        if !is_name(&method.name, MAX_NAME) {
            return fail(
                "Invalid Auth Method: invalid Name. Only alphanumeric characters, '-' and '_' are allowed",
            );
        }
        let known = self.auth_method(&method.name)?;
        if let Some(known) = known {
            if method.kind.is_empty() {
                method.kind = known.kind;
            } else if method.kind != known.kind {
                return fail("the Type field of an Auth Method is immutable");
            }
            method.name = known.name;
        }
        let settings = check(&method)?;
        if method.token_locality == "global" && self.is_secondary() {
            return fail(
                "Invalid Auth Method: TokenLocality 'global' can only be used in the primary datacenter",
            );
        }
        super::outside::check(&settings.source)
            .await
            .map_err(|e| Error::from(format!("Invalid Auth Method: {e}")))?;
        let name = method.name.clone();
        let request = ACLAuthMethodBatchSetRequest {
            auth_methods: Some(vec![method]),
        };
        self.apply(command::ACL_AUTH_METHOD_SET, &request).await?;
        self.auth_method(&name)?
            .ok_or_else(|| Error::new("Failed to retrieve the auth method after insertion"))
    }

    pub(super) fn auth_method(&self, name: &str) -> Result<Option<ACLAuthMethod>> {
        let state = self.state.read()?;
        Ok(state.acl_object(&mut WatchSet::new(), name)?.1)
    }

    /// `ACL.AuthMethodDelete`.
    pub(crate) async fn acl_auth_method_delete(
        &self,
        request: ACLAuthMethodDeleteRequest,
    ) -> Result<bool> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let Some(method) = self.auth_method(&request.auth_method_name)? else {
            return Ok(true);
        };
        let request = ACLAuthMethodBatchDeleteRequest {
            auth_method_names: Some(vec![method.name]),
        };
        self.apply(command::ACL_AUTH_METHOD_DELETE, &request)
            .await?;
        Ok(true)
    }
}

fn check(method: &ACLAuthMethod) -> Result<jwt::Settings> {
    match method.kind.as_str() {
        "jwt" => {}
        "kubernetes" => {
            return fail(
                "Invalid Auth Method: the type \"kubernetes\" is not supported by this version of \
                 consul-lite: use \"jwt\"",
            );
        }
        _ => return fail("Invalid Auth Method: Type should be one of: [jwt kubernetes]"),
    }
    let ttl = method.max_token_ttl;
    if ttl.0 != 0 && ttl < MIN_TTL {
        return fail(format!("MaxTokenTTL {ttl} cannot be less than {MIN_TTL}"));
    }
    if ttl > MAX_TTL {
        return fail(format!("MaxTokenTTL {ttl} cannot be more than {MAX_TTL}"));
    }
    if !matches!(method.token_locality.as_str(), "" | "local" | "global") {
        return fail("Invalid Auth Method: TokenLocality should be one of 'local' or 'global'");
    }
    jwt::Settings::parse(&method.config)
        .map_err(|e| Error::from(format!("Invalid Auth Method: {e}")))
}
