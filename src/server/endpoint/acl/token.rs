//! Tokens.
//!
//! Source: `docs/reference/http-1.md` section 11.2.

use super::{REDACTED, fail, identity};
use crate::acl::{self, Ask, Scalar};
use crate::server::Server;
use crate::server::acl::{is_uuid, token_hash, wall_now};
use crate::store::WatchSet;
use crate::structs::go::{GoDuration, GoTime, List, new_uuid, quote};
use crate::structs::*;

/// Shortest life of a token that ends.
const MIN_LIFE: GoDuration = GoDuration::from_secs(60);
/// Longest life of a token that ends.
const MAX_LIFE: GoDuration = GoDuration::from_secs(24 * 60 * 60);

impl Server {
    /// `ACL.TokenRead`.
    pub(crate) async fn acl_token_read(
        &self,
        request: ACLTokenGetRequest,
    ) -> Result<ACLTokenResponse> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        let by_secret = request.token_id_type == "secret";
        let mut redacted = false;
        if !by_secret {
            let authorizer = self.acl_read(&request.options.token)?;
            redacted = !authorizer.allows(Ask::WriteScalar(Scalar::Acl));
        }
        let (meta, token) = self
            .read_unguarded(&request.options, |state, watch| {
                let (index, token) = if by_secret {
                    state.acl_token_by_secret(watch, &request.token_id)?
                } else {
                    state.acl_token_by_accessor(watch, &request.token_id)?
                };
                Ok((index, token.filter(|t| !t.is_expired(wall_now()))))
            })
            .await?;
        let found = token.map(|t| redact(t, redacted));
        Ok(ACLTokenResponse {
            redacted: redacted && found.is_some(),
            found,
            source_datacenter: self.options.datacenter.clone(),
            meta,
        })
    }

    /// `ACL.TokenList`.
    pub(crate) async fn acl_token_list(
        &self,
        request: ACLTokenListRequest,
    ) -> Result<ACLTokenListResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let linked = |links: &List<ACLLink>, id: &str| {
            id.is_empty()
                || links
                    .iter()
                    .flatten()
                    .any(|l| l.id.eq_ignore_ascii_case(id))
        };
        let (meta, tokens) = self
            .read_unguarded(&request.options, |state, watch| {
                let now = wall_now();
                Ok(state.acl_tokens(watch, |t| {
                    (if t.local {
                        request.include_local
                    } else {
                        request.include_global
                    }) && !t.is_expired(now)
                        && linked(&t.policies, &request.policy)
                        && linked(&t.roles, &request.role)
                        && (request.auth_method.is_empty() || t.auth_method == request.auth_method)
                })?)
            })
            .await?;
        Ok(ACLTokenListResponse {
            tokens: Some(tokens.into_iter().map(ACLTokenListStub::from).collect()),
            meta,
        })
    }

    /// `ACL.TokenBatchRead`.
    pub(crate) async fn acl_token_batch_read(
        &self,
        request: ACLTokenBatchGetRequest,
    ) -> Result<ACLTokenBatchResponse> {
        let authorizer = self.acl_reader(&request.datacenter, &request.options.token)?;
        let redacted = !authorizer.allows(Ask::WriteScalar(Scalar::Acl));
        let ids = request.accessor_ids.unwrap_or_default();
        let (meta, tokens) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_tokens(watch, |t| ids.contains(&t.accessor_id))?)
            })
            .await?;
        let tokens = tokens.into_iter().map(|t| redact(t, redacted)).collect();
        Ok(ACLTokenBatchResponse {
            tokens: Some(tokens),
            redacted,
            removed: false,
            meta,
        })
    }

    /// `ACL.TokenSet`.
    pub(crate) async fn acl_token_set(&self, request: ACLTokenSetRequest) -> Result<ACLToken> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let create = request.create || request.acl_token.accessor_id.is_empty();
        self.write_token(request.acl_token, create, false).await
    }

    /// Checks a token, makes it whole and writes it.
    pub(super) async fn write_token(
        &self,
        mut token: ACLToken,
        create: bool,
        login: bool,
    ) -> Result<ACLToken> {
        if create {
            self.complete_new(&mut token, login)?;
        } else {
            self.complete_changed(&mut token)?;
        }
        {
            let state = self.state.read()?;
            token.policies = identity::links::<ACLPolicy>(&state, token.policies, true)?;
            token.roles = identity::links::<ACLRole>(&state, token.roles, true)?;
        }
        token.service_identities =
            identity::services(token.service_identities, "token", token.local)?;
        token.node_identities = identity::nodes(token.node_identities, "token")?;
        token.hash = token_hash(&token);
        let accessor = token.accessor_id.clone();
        let request = ACLTokenBatchSetRequest {
            tokens: Some(vec![token]),
            prohibit_unprivileged: login,
            ..ACLTokenBatchSetRequest::default()
        };
        self.apply(command::ACL_TOKEN_SET, &request)
            .await
            .map_err(|e| match e.is(PERMISSION_DENIED) {
                true => e,
                false => Error::from(format!("Failed to apply token write request: {e}")),
            })?;
        let state = self.state.read()?;
        let (_, written) = state.acl_token_by_accessor(&mut WatchSet::new(), &accessor)?;
        written.ok_or_else(|| Error::new("Failed to retrieve the token after insertion"))
    }

    fn complete_new(&self, token: &mut ACLToken, login: bool) -> Result<()> {
        self.complete_ids(token)?;
        if !token.rules.is_empty() {
            return fail("Rules cannot be specified for this token");
        }
        if !token.auth_method.is_empty() && !login {
            return fail("AuthMethod field is disallowed outside of Login");
        }
        token.kind = String::new();
        token.create_time = wall_now();
        let ttl = token.expiration_ttl;
        if ttl.0 != 0 && token.expiration_time.is_some() {
            return fail("Token Expiration TTL and Expiration Time cannot both be set");
        }
        if ttl.0 < 0 {
            return fail(format!("Token Expiration TTL '{ttl}' should be > 0"));
        }
        if ttl.0 > 0 {
            token.expiration_time = Some(add(token.create_time, ttl));
            token.expiration_ttl = GoDuration(0);
        }
        token.expiration_time = token.expiration_time.filter(|end| !end.is_zero());
        if let Some(end) = token.expiration_time {
            if end < token.create_time {
                return fail("ExpirationTime cannot be before CreateTime");
            }
            let life = since(end, token.create_time);
            if life > MAX_LIFE {
                return fail(format!(
                    "ExpirationTime cannot be more than {MAX_LIFE} in the future (was {life})"
                ));
            }
            if life < MIN_LIFE {
                return fail(format!(
                    "ExpirationTime cannot be less than {MIN_LIFE} in the future (was {life})"
                ));
            }
        }
        Ok(())
    }

    /// IDs that were asked for, if nobody has them; else new ones.
    fn complete_ids(&self, token: &mut ACLToken) -> Result<()> {
        let state = self.state.read()?;
        let ws = &mut WatchSet::new();
        for (id, what, is_accessor) in [
            (&mut token.accessor_id, "AccessorID", true),
            (&mut token.secret_id, "SecretID", false),
        ] {
            if id.is_empty() {
                *id = new_uuid();
                continue;
            }
            let taken = if is_accessor {
                state
                    .acl_token_by_accessor(ws, id)
                    .map_err(lookup_failed)?
                    .1
            } else {
                state.acl_token_by_secret(ws, id)?.1
            };
            if !is_uuid(id) {
                return fail(format!("Invalid Token: {what} is not a valid UUID"));
            }
            if taken.is_some() {
                return fail(format!("Invalid Token: {what} is already in use"));
            }
            if id.starts_with(acl::RESERVED_PREFIX) {
                return fail(format!(
                    "Invalid Token: UUIDs with the prefix {} are reserved",
                    quote(acl::RESERVED_PREFIX)
                ));
            }
        }
        Ok(())
    }

    fn complete_changed(&self, token: &mut ACLToken) -> Result<()> {
        let accessor = token.accessor_id.clone();
        let known = self
            .state
            .read()?
            .acl_token_by_accessor(&mut WatchSet::new(), &accessor)
            .map_err(lookup_failed)?
            .1;
        let Some(known) = known.filter(|t| !t.is_expired(wall_now())) else {
            return fail(format!("Cannot find token {}", quote(&accessor)));
        };
        if token.secret_id.is_empty() {
            token.secret_id.clone_from(&known.secret_id);
        } else if token.secret_id != known.secret_id {
            return fail("Changing a tokens SecretID is not permitted");
        }
        if token.local != known.local {
            return fail(format!("cannot toggle local mode of {accessor}"));
        }
        if token.auth_method.is_empty() {
            token.auth_method.clone_from(&known.auth_method);
        } else if token.auth_method != known.auth_method {
            return fail(format!("Cannot change AuthMethod of {accessor}"));
        }
        let given = token.expiration_time.filter(|end| !end.is_zero());
        let known_end = known.expiration_time.filter(|end| !end.is_zero());
        if token.expiration_ttl.0 != 0 || given.is_some_and(|end| Some(end) != known_end) {
            return fail(format!("Cannot change expiration time of {accessor}"));
        }
        token.expiration_time = known_end;
        if !token.rules.is_empty() {
            return fail("Rules cannot be specified for this token");
        }
        token.kind = String::new();
        token.create_time = known.create_time;
        Ok(())
    }

    /// `ACL.TokenClone`.
    pub(crate) async fn acl_token_clone(&self, request: ACLTokenSetRequest) -> Result<ACLToken> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let known = self
            .state
            .read()?
            .acl_token_by_accessor(&mut WatchSet::new(), &request.acl_token.accessor_id)?
            .1;
        let Some(source) = known.filter(|t| !t.is_expired(wall_now())) else {
            return Err(Error::new(ACL_NOT_FOUND));
        };
        if !source.auth_method.is_empty() {
            return fail("Cannot clone a token created from an auth method");
        }
        if !source.rules.is_empty() {
            return fail("Cannot clone a legacy ACL with this endpoint");
        }
        let copy = ACLToken {
            policies: source.policies,
            roles: source.roles,
            service_identities: source.service_identities,
            node_identities: source.node_identities,
            local: source.local,
            expiration_time: source.expiration_time,
            description: match request.acl_token.description.as_str() {
                "" => source.description,
                given => given.to_owned(),
            },
            ..ACLToken::default()
        };
        self.write_token(copy, true, false).await
    }

    /// `ACL.TokenDelete`: the accessor.
    pub(crate) async fn acl_token_delete(&self, request: ACLTokenDeleteRequest) -> Result<String> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let accessor = request.token_id;
        if !is_uuid(&accessor) {
            return fail("Accessor ID is missing or an invalid UUID");
        }
        if accessor == acl::ANONYMOUS_ACCESSOR {
            return fail("Delete operation not permitted on the anonymous token");
        }
        let own = self.valid_token(&request.token)?;
        if own.is_some_and(|own| own.accessor_id == accessor) {
            return fail("Deletion of the request's authorization token is not permitted");
        }
        self.delete_token(&accessor).await?;
        Ok(accessor)
    }

    pub(super) async fn delete_token(&self, accessor: &str) -> Result<()> {
        let request = ACLTokenBatchDeleteRequest {
            token_ids: Some(vec![accessor.to_owned()]),
        };
        self.apply(command::ACL_TOKEN_DELETE, &request).await?;
        Ok(())
    }
}

fn lookup_failed(why: crate::store::StoreError) -> Error {
    let why = Error::from(why);
    Error::from(format!("Failed acl token lookup by accessor: {why}"))
}

fn redact(mut token: ACLToken, redacted: bool) -> ACLToken {
    if redacted {
        token.secret_id = REDACTED.to_owned();
    }
    token
}

fn add(time: GoTime, duration: GoDuration) -> GoTime {
    let nanos = i64::from(time.nanos) + duration.0 % 1_000_000_000;
    GoTime {
        seconds: time.seconds + duration.0 / 1_000_000_000 + nanos.div_euclid(1_000_000_000),
        nanos: nanos.rem_euclid(1_000_000_000) as u32,
    }
}

fn since(end: GoTime, start: GoTime) -> GoDuration {
    let nanos = i128::from(end.seconds - start.seconds) * 1_000_000_000 + i128::from(end.nanos)
        - i128::from(start.nanos);
    GoDuration(i64::try_from(nanos).unwrap_or(i64::MAX))
}
