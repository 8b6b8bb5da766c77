//! Binding rules: what the logins of an auth method are given.
//!
//! Source: `docs/reference/http-1.md` section 11.6.

use super::fail;
use crate::filter::Filter;
use crate::server::Server;
use crate::server::acl::jwt;
use crate::store::WatchSet;
use crate::structs::go::{new_uuid, quote};
use crate::structs::*;

impl Server {
    /// `ACL.BindingRuleRead`.
    pub(crate) async fn acl_binding_rule_read(
        &self,
        request: ACLBindingRuleGetRequest,
    ) -> Result<ACLBindingRuleResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let (meta, binding_rule) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_object(watch, &request.binding_rule_id)?)
            })
            .await?;
        Ok(ACLBindingRuleResponse { binding_rule, meta })
    }

    /// `ACL.BindingRuleList`.
    pub(crate) async fn acl_binding_rule_list(
        &self,
        request: ACLBindingRuleListRequest,
    ) -> Result<ACLBindingRuleListResponse> {
        self.acl_reader(&request.datacenter, &request.options.token)?;
        let of = Some(request.auth_method.as_str()).filter(|name| !name.is_empty());
        let (meta, rules) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_objects(watch, of)?)
            })
            .await?;
        Ok(ACLBindingRuleListResponse {
            binding_rules: Some(rules),
            meta,
        })
    }

    /// `ACL.BindingRuleSet`.
    pub(crate) async fn acl_binding_rule_set(
        &self,
        request: ACLBindingRuleSetRequest,
    ) -> Result<ACLBindingRule> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let mut rule = request.binding_rule;
        if rule.id.is_empty() {
            rule.id = new_uuid();
        } else {
            let state = self.state.read()?;
            let known = state
                .acl_object::<ACLBindingRule>(&mut WatchSet::new(), &rule.id)?
                .1;
            let Some(known) = known else {
                return fail(format!("cannot find binding rule {}", rule.id));
            };
            if rule.auth_method.is_empty() {
                rule.auth_method = known.auth_method;
            } else if rule.auth_method != known.auth_method {
                return fail("the AuthMethod field of an Binding Rule is immutable");
            }
        }
        self.check_rule(&rule)?;
        let id = rule.id.clone();
        let request = ACLBindingRuleBatchSetRequest {
            binding_rules: Some(vec![rule]),
        };
        self.apply(command::ACL_BINDING_RULE_SET, &request).await?;
        let state = self.state.read()?;
        let (_, written) = state.acl_object(&mut WatchSet::new(), &id)?;
        written.ok_or_else(|| Error::new("Failed to retrieve the binding rule after insertion"))
    }

    fn check_rule(&self, rule: &ACLBindingRule) -> Result<()> {
        if rule.auth_method.is_empty() {
            return fail("Invalid Binding Rule: no AuthMethod is set");
        }
        let Some(method) = self.auth_method(&rule.auth_method)? else {
            let name = quote(&rule.auth_method);
            return fail(format!("cannot find auth method with name {name}"));
        };
        Filter::<JwtIdentity>::parse(&rule.selector).map_err(|e| {
            let why = e.text();
            let why = why
                .strip_prefix("Failed to create boolean expression evaluator: ")
                .unwrap_or(why);
            Error::from(format!("invalid Binding Rule: Selector is invalid: {why}"))
        })?;
        if rule.bind_type.is_empty() {
            return fail("Invalid Binding Rule: no BindType is set");
        }
        if rule.bind_name.is_empty() {
            return fail("Invalid Binding Rule: no BindName is set");
        }
        match rule.bind_type.as_str() {
            "service" | "node" | "role" => {}
            other => {
                let other = quote(other);
                return fail(format!("Invalid Binding Rule: unknown BindType {other}"));
            }
        }
        let settings = jwt::Settings::parse(&method.config)?;
        let known = |name: &str| {
            let name = name.strip_prefix("value.")?;
            settings
                .value_names()
                .any(|v| v == name)
                .then(|| "x".to_owned())
        };
        match interpolate(&rule.bind_name, known) {
            Ok(name) if is_bind_name(&rule.bind_type, &name) => Ok(()),
            Ok(_) => fail("Invalid Binding Rule: invalid BindName"),
            Err(why) => fail(format!("Invalid Binding Rule: invalid BindName: {why}")),
        }
    }

    /// `ACL.BindingRuleDelete`.
    pub(crate) async fn acl_binding_rule_delete(
        &self,
        request: ACLBindingRuleDeleteRequest,
    ) -> Result<bool> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        let id = request.binding_rule_id;
        let known = self
            .state
            .read()?
            .acl_object::<ACLBindingRule>(&mut WatchSet::new(), &id)?
            .1;
        if known.is_none() {
            return Ok(true);
        }
        let request = ACLBindingRuleBatchDeleteRequest {
            binding_rule_ids: Some(vec![id]),
        };
        self.apply(command::ACL_BINDING_RULE_DELETE, &request)
            .await?;
        Ok(true)
    }
}

/// Whether a name may be what a rule of a type binds.
pub(super) fn is_bind_name(bind_type: &str, name: &str) -> bool {
    match bind_type {
        "role" => super::is_name(name, 256),
        _ => super::identity::is_identity_name(name),
    }
}

/// Puts values into the `${...}` of a name.
///
/// # Errors
/// `1:5: unknown variable accessed: bogus`.
pub(super) fn interpolate(
    name: &str,
    value: impl Fn(&str) -> Option<String>,
) -> std::result::Result<String, String> {
    let mut out = String::new();
    let mut rest = name;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let column = name.len() - inside.len() + 1;
        let Some(end) = inside.find('}') else {
            return Err(format!("1:{column}: expected closing brace"));
        };
        let variable = inside[..end].trim();
        let Some(value) = value(variable) else {
            return Err(format!("1:{column}: unknown variable accessed: {variable}"));
        };
        out.push_str(&value);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_in_values() {
        let value = |name: &str| (name == "value.user").then(|| "bob".to_owned());
        assert_eq!(
            interpolate("svc-${value.user}", value).as_deref(),
            Ok("svc-bob")
        );
        assert_eq!(interpolate("plain", value).as_deref(), Ok("plain"));
        let error = interpolate("x-${bogus}", value).unwrap_err();
        assert_eq!(error, "1:5: unknown variable accessed: bogus");
        assert!(interpolate("${value.user", value).is_err());
    }
}
