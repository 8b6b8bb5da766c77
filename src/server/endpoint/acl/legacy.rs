//! Tokens of before 1.4, which are found by their secret and hold their own rules.
//!
//! Source: `docs/reference/http-1.md` section 11.9.

use super::fail;
use crate::acl::{self, Rules, Syntax};
use crate::server::Server;
use crate::store::WatchSet;
use crate::structs::go::{Any, GoDuration, new_uuid};
use crate::structs::*;

const CLIENT: &str = "client";
const MANAGEMENT: &str = "management";

impl Server {
    /// `ACL.Apply`: the ID.
    pub(crate) async fn acl_apply(&self, mut request: ACLRequest) -> Result<String> {
        self.acl_writer(&request.datacenter, &request.token).await?;
        match request.op.as_str() {
            "set" => self.check_legacy(&mut request.acl)?,
            "delete" => {
                if request.acl.id.is_empty() {
                    return fail("Missing ACL ID");
                }
                if request.acl.id == acl::ANONYMOUS_SECRET {
                    return fail(format!(
                        "{PERMISSION_DENIED}: Cannot delete anonymous token"
                    ));
                }
            }
            _ => return fail("Invalid ACL Operation"),
        }
        let set = request.op == "set";
        let id = request.acl.id.clone();
        self.apply(command::ACL, &request).await?;
        if set {
            self.upgrade_tokens().await?;
        }
        Ok(id)
    }

    fn check_legacy(&self, acl: &mut ACL) -> Result<()> {
        if !matches!(acl.kind.as_str(), CLIENT | MANAGEMENT) {
            return fail("Invalid ACL Type");
        }
        let state = self.state.read()?;
        if acl.id.is_empty() {
            acl.id = new_uuid();
        } else if let (_, Some(known)) = state.acl_token_by_secret(&mut WatchSet::new(), &acl.id)?
            && (!known.is_legacy() || known.policies.iter().flatten().next().is_some())
        {
            return fail("Cannot use legacy endpoint to modify a non-legacy token");
        }
        if let Err(why) = Rules::parse(&acl.rules, Syntax::Legacy) {
            return fail(format!("ACL rule compilation failed: {why}"));
        }
        Ok(())
    }

    /// `ACL.Get`: whoever knows the secret may ask.
    pub(crate) async fn acl_get(&self, request: ACLSpecificRequest) -> Result<IndexedACLs> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        let (meta, token) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_token_by_secret(watch, &request.acl)?)
            })
            .await?;
        let shown = token.and_then(as_legacy);
        Ok(IndexedACLs {
            acls: shown.map(|one| vec![one]),
            meta,
        })
    }

    /// `ACL.List`.
    pub(crate) async fn acl_list(&self, request: DCSpecificRequest) -> Result<IndexedACLs> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.acl_write(&request.options.token)?;
        let (meta, tokens) = self
            .read_unguarded(&request.options, |state, watch| {
                Ok(state.acl_tokens(watch, |t| !t.local)?)
            })
            .await?;
        Ok(IndexedACLs {
            acls: Some(tokens.into_iter().filter_map(as_legacy).collect()),
            meta,
        })
    }

    /// `ACL.GetPolicy`: what agents of before 1.4 decide with.
    pub(crate) async fn acl_get_policy(
        &self,
        request: ACLPolicyResolveLegacyRequest,
    ) -> Result<ACLPolicyResolveLegacyResponse> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.make_consistent(&request.options).await?;
        self.prepare(&request.acl).await;
        let Some(token) = self.valid_token(&request.acl)? else {
            return Err(Error::new(ACL_NOT_FOUND));
        };
        let all = holds_everything(&token);
        let parent = match (all, self.options.acl.default_policy) {
            (true, _) => "manage",
            (_, acl::Default::Deny) => "deny",
            _ => "allow",
        };
        let rules = if all {
            acl::GLOBAL_MANAGEMENT_RULES.replace("_prefix", "")
        } else {
            token.rules.clone()
        };
        let parsed = Rules::parse(&rules, Syntax::Legacy)?;
        let id = format!("{:016x}", fingerprint(&rules));
        let etag = format!("{parent}:{id}");
        let policy = (etag != request.etag).then(|| legacy_policy(&parsed, &id, all));
        Ok(ACLPolicyResolveLegacyResponse {
            etag,
            parent: parent.to_owned(),
            policy,
            ttl: GoDuration::from(self.options.acl.policy_ttl),
            meta: self.meta(0),
        })
    }
}

fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn holds_everything(token: &ACLToken) -> bool {
    let mut links = token.policies.iter().flatten();
    token.kind == MANAGEMENT || links.any(|link| link.id == acl::GLOBAL_MANAGEMENT_ID)
}

/// A token as the old API shows it; `None` for one made or changed by the new API, whatever it may do.
fn as_legacy(token: ACLToken) -> Option<ACL> {
    token.is_legacy().then_some(ACL {
        id: token.secret_id,
        name: token.description,
        kind: token.kind,
        rules: token.rules,
        create_index: token.create_index,
        modify_index: token.modify_index,
    })
}

/// Rules in the shape that agents of before 1.4 read.
fn legacy_policy(rules: &Rules, id: &str, all: bool) -> Any {
    let word = |level: acl::Level| {
        let word = match level {
            acl::Level::Read => "read",
            acl::Level::List => "list",
            acl::Level::Write => "write",
            acl::Level::Deny => "deny",
        };
        Any::String(word.to_owned())
    };
    let text = |t: &str| Any::String(t.to_owned());
    let mut map = std::collections::BTreeMap::new();
    for (resource, plural, singular, name) in [
        (acl::Resource::Agent, "Agents", "Agent", "Node"),
        (acl::Resource::Key, "Keys", "Key", "Prefix"),
        (acl::Resource::Node, "Nodes", "Node", "Name"),
        (acl::Resource::Service, "Services", "Service", "Name"),
        (acl::Resource::Session, "Sessions", "Session", "Node"),
        (acl::Resource::Event, "Events", "Event", "Event"),
        (
            acl::Resource::Query,
            "PreparedQueries",
            "PreparedQuery",
            "Prefix",
        ),
    ] {
        let own = rules.rules.iter().filter(|r| r.resource == resource);
        let list: Vec<Any> = own
            .map(|rule| {
                let mut one = std::collections::BTreeMap::from([
                    (name.to_owned(), text(&rule.name)),
                    ("Policy".to_owned(), word(rule.level)),
                ]);
                if resource == acl::Resource::Service {
                    let said = rule.intentions.map_or(text(""), word);
                    one.insert("Intentions".to_owned(), said);
                }
                Any::Map(one)
            })
            .collect();
        let list = if list.is_empty() {
            Any::Nil
        } else {
            Any::Array(list)
        };
        map.insert(plural.to_owned(), list);
        let prefixes = match resource {
            acl::Resource::Query => "PreparedQueryPrefixes".to_owned(),
            _ => format!("{singular}Prefixes"),
        };
        map.insert(prefixes, Any::Nil);
    }
    for (scalar, key) in [
        (acl::Scalar::Keyring, "Keyring"),
        (acl::Scalar::Operator, "Operator"),
    ] {
        let said = rules.scalars.iter().rfind(|(s, _)| *s == scalar);
        map.insert(
            key.to_owned(),
            said.map_or(text(""), |(_, level)| word(*level)),
        );
    }
    map.insert("ACL".to_owned(), text(if all { "write" } else { "" }));
    map.insert("ID".to_owned(), text(id));
    map.insert("Revision".to_owned(), Any::Uint(0));
    Any::Map(map)
}
