//! Logging in with what another system vouches for, and giving the token back.
//!
//! Holds true: a login that no binding rule gives anything makes no token; what was presented is neither stored nor
//! logged.
//! Source: `docs/reference/http-1.md` section 11.7.

use super::fail;
use super::outside;
use super::rule::{interpolate, is_bind_name};
use crate::filter::Filter;
use crate::server::Server;
use crate::server::acl::{jwt, wall_now};
use crate::store::WatchSet;
use crate::structs::go::quote;
use crate::structs::*;
use crate::wire::json;

impl Server {
    /// `ACL.Login`.
    pub(crate) async fn acl_login(&self, request: ACLLoginRequest) -> Result<ACLToken> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.wait_for_leader().await?;
        let Some(auth) = request.auth else {
            return fail("Invalid Login request: Missing auth parameters");
        };
        if !request.token.is_empty() {
            return fail("do not provide a token when logging in");
        }
        let Some(method) = self.auth_method(&auth.auth_method)? else {
            return Err(Error::new(ACL_NOT_FOUND));
        };
        let settings = jwt::Settings::parse(&method.config)?;
        let keys = outside::keys_of(&settings.source)
            .await
            .map_err(|e| Error::from(format!("error verifying token: {e}")))?;
        let now = wall_now();
        let identity = settings.verify(&auth.bearer_token, &keys, now.unix())?;
        let mut token = ACLToken {
            description: "token created via login".to_owned(),
            auth_method: method.name.clone(),
            local: method.token_locality != "global",
            expiration_ttl: method.max_token_ttl,
            ..ACLToken::default()
        };
        if let Some(meta) = auth.meta.filter(|meta| !meta.is_empty()) {
            let text = json::to_vec(&meta).map_err(|e| Error::from(e.to_string()))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            token.description = format!("token created via login: {text}");
        }
        self.bind(&method.name, &identity, &mut token)?;
        self.write_token(token, true, true).await
    }

    /// Gives a token what the binding rules say.
    fn bind(&self, method: &str, identity: &JwtIdentity, token: &mut ACLToken) -> Result<()> {
        let state = self.state.read()?;
        let ws = &mut WatchSet::new();
        let (_, rules) = state.acl_objects::<ACLBindingRule>(ws, Some(method))?;
        for rule in rules {
            if !Filter::<JwtIdentity>::parse(&rule.selector)?.matches(identity) {
                continue;
            }
            let value = |name: &str| {
                let name = name.strip_prefix("value.")?;
                // A mapped claim that the login lacks is empty.
                let known = identity.value.as_ref().and_then(|map| map.get(name));
                Some(known.cloned().unwrap_or_default())
            };
            let name = interpolate(&rule.bind_name, value).map_err(|why| {
                Error::from(format!(
                    "cannot compute {} bind name for bind target: {why}",
                    quote(&rule.bind_type)
                ))
            })?;
            if !is_bind_name(&rule.bind_type, &name) {
                return fail(format!(
                    "computed {} bind name for bind target is invalid: {}",
                    quote(&rule.bind_type),
                    quote(&name)
                ));
            }
            match rule.bind_type.as_str() {
                "service" => {
                    token
                        .service_identities
                        .get_or_insert_default()
                        .push(ACLServiceIdentity {
                            service_name: name,
                            datacenters: None,
                        })
                }
                "node" => token
                    .node_identities
                    .get_or_insert_default()
                    .push(ACLNodeIdentity {
                        node_name: name,
                        datacenter: self.options.datacenter.clone(),
                    }),
                _ => {
                    if let (_, Some(role)) = state.acl_object_named::<ACLRole>(ws, &name)? {
                        token.roles.get_or_insert_default().push(ACLLink {
                            id: role.id,
                            name: String::new(),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// `ACL.Logout`.
    pub(crate) async fn acl_logout(&self, request: ACLLogoutRequest) -> Result<bool> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.wait_for_leader().await?;
        if request.token.is_empty() {
            return Err(Error::new(ACL_NOT_FOUND));
        }
        let Some(token) = self.valid_token(&request.token)? else {
            return Err(Error::new(ACL_NOT_FOUND));
        };
        if token.auth_method.is_empty() {
            return Err(Error::new(PERMISSION_DENIED));
        }
        self.delete_token(&token.accessor_id).await?;
        Ok(true)
    }
}
