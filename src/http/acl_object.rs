//! `/v1/acl/*` of policies, roles, auth methods and binding rules: four kinds, read, listed, written and deleted alike.
//!
//! A row of `objects!` says in what a kind differs; the handlers are written once, over [`Object`].
//! Leaves to others: tokens and logins (`acl`).
//! Source: `docs/reference/http-1.md` section 11; a running Consul 1.8.7.

use super::acl::{ask, bad_request, body, enabled, not_found};
use super::context::Ctx;
use super::conventions::{read, write};
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use super::routes::{Route, routes};
use crate::codec::{Deserialize, Serialize};
use crate::structs::go::List;
use crate::structs::rpc::{Method as Call, method};
use crate::structs::*;
use hyper::{Method, StatusCode};
use std::result::Result;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/acl/policies" [GET] list::<ACLPolicy>;
    "/v1/acl/policy" [PUT] one::<ACLPolicy>;
    "/v1/acl/policy/" [GET PUT DELETE] one::<ACLPolicy>;
    "/v1/acl/policy/name/" [GET] policy_by_name;
    "/v1/acl/roles" [GET] list::<ACLRole>;
    "/v1/acl/role" [PUT] one::<ACLRole>;
    "/v1/acl/role/" [GET PUT DELETE] one::<ACLRole>;
    "/v1/acl/role/name/" [GET] role_by_name;
    "/v1/acl/auth-methods" [GET] list::<ACLAuthMethod>;
    "/v1/acl/auth-method" [PUT] one::<ACLAuthMethod>;
    "/v1/acl/auth-method/" [GET PUT DELETE] one::<ACLAuthMethod>;
    "/v1/acl/binding-rules" [GET] list::<ACLBindingRule>;
    "/v1/acl/binding-rule" [PUT] one::<ACLBindingRule>;
    "/v1/acl/binding-rule/" [GET PUT DELETE] one::<ACLBindingRule>;
};

/// The arguments of a method of the RPC table.
type Args<M> = <M as Call>::Args;

/// A kind of things that ACLs are made of.
trait Object: Serialize + Deserialize + Default {
    /// As lists have it.
    type Listed: Serialize;
    type Read: Call;
    type List: Call;
    type Set: Call<Reply = Self>;
    type Delete: Call;
    /// What is said when nothing is named.
    const UNNAMED: &'static str;
    /// Begins the error of a body that cannot be read.
    const UNREADABLE: &'static str;
    /// Go's name of the type.
    const GO_TYPE: &'static str;
    /// What is said when path and body name different ones.
    const MISMATCH: &'static str;
    /// What is said to a body that names one when the path does not; `None` when the body's name counts.
    const UNEXPECTED: Option<&'static str>;
    /// Whether what is not there looks as if it were forbidden; else it is an empty 404.
    const HIDDEN: bool;

    /// What paths name it by.
    fn key(&mut self) -> &mut String;
    fn read_args(datacenter: String, id: String, options: QueryOptions) -> Args<Self::Read>;
    fn found(reply: <Self::Read as Call>::Reply) -> (Option<Self>, QueryMeta);
    /// All of them, or those that the query asks for.
    fn list_args(datacenter: String, req: &Request, options: QueryOptions) -> Args<Self::List>;
    fn listed(reply: <Self::List as Call>::Reply) -> (List<Self::Listed>, QueryMeta);
    fn set_args(self, datacenter: String, token: String) -> Args<Self::Set>;
    fn delete_args(datacenter: String, id: String, token: String) -> Args<Self::Delete>;
}

macro_rules! objects {
    ($($object:ty, $word:literal by $key:ident $called:literal, $noun:literal {
        unexpected: $unexpected:expr, hidden: $hidden:literal,
        read: $read:ident($read_args:ident { $read_key:ident $(or $other:ident)? }) $found:ident,
        list: $list:ident($list_args:ident { $($filter:ident: $parameter:literal)? }) $listed:ident of $stub:ty,
        set: $set:ident($set_args:ident) $given:ident,
        delete: $delete:ident($delete_args:ident),
    })*) => {
        $(
            impl Object for $object {
                type Listed = $stub;
                type Read = method::$read;
                type List = method::$list;
                type Set = method::$set;
                type Delete = method::$delete;
                const UNNAMED: &'static str = concat!("Missing ", $noun);
                const UNREADABLE: &'static str = concat!($word, " decoding failed");
                const GO_TYPE: &'static str = concat!("structs.ACL", $word);
                const MISMATCH: &'static str = concat!($word, " ", $called, " in URL and payload do not match");
                const UNEXPECTED: Option<&'static str> = $unexpected;
                const HIDDEN: bool = $hidden;

                fn key(&mut self) -> &mut String {
                    &mut self.$key
                }

                fn read_args(datacenter: String, id: String, options: QueryOptions) -> $read_args {
                    $read_args { datacenter, $read_key: id, $($other: String::new(),)? options }
                }

                fn found(reply: <method::$read as Call>::Reply) -> (Option<Self>, QueryMeta) {
                    (reply.$found, reply.meta)
                }

                fn list_args(datacenter: String, _req: &Request, options: QueryOptions) -> $list_args {
                    $list_args {
                        datacenter,
                        $($filter: _req.query.value($parameter).to_owned(),)?
                        options,
                    }
                }

                fn listed(reply: <method::$list as Call>::Reply) -> (List<$stub>, QueryMeta) {
                    (reply.$listed, reply.meta)
                }

                fn set_args(self, datacenter: String, token: String) -> Box<$set_args> {
                    Box::new($set_args { datacenter, $given: self, token })
                }

                fn delete_args(datacenter: String, id: String, token: String) -> $delete_args {
                    $delete_args { datacenter, $read_key: id, token }
                }
            }
        )*
    };
}

objects! {
    ACLPolicy, "Policy" by id "ID", "policy ID" {
        unexpected: Some("Cannot specify the ID when creating a new policy"), hidden: true,
        read: AclPolicyRead(ACLPolicyGetRequest { policy_id or policy_name }) policy,
        list: AclPolicyList(ACLPolicyListRequest {}) policies of ACLPolicyListStub,
        set: AclPolicySet(ACLPolicySetRequest) policy,
        delete: AclPolicyDelete(ACLPolicyDeleteRequest),
    }
    ACLRole, "Role" by id "ID", "role ID" {
        unexpected: Some(Self::MISMATCH), hidden: false,
        read: AclRoleRead(ACLRoleGetRequest { role_id or role_name }) role,
        list: AclRoleList(ACLRoleListRequest { policy: "policy" }) roles of ACLRole,
        set: AclRoleSet(ACLRoleSetRequest) role,
        delete: AclRoleDelete(ACLRoleDeleteRequest),
    }
    ACLAuthMethod, "AuthMethod" by name "Name", "auth method name" {
        unexpected: None, hidden: false,
        read: AclAuthMethodRead(ACLAuthMethodGetRequest { auth_method_name }) auth_method,
        list: AclAuthMethodList(ACLAuthMethodListRequest {}) auth_methods of ACLAuthMethodListStub,
        set: AclAuthMethodSet(ACLAuthMethodSetRequest) auth_method,
        delete: AclAuthMethodDelete(ACLAuthMethodDeleteRequest),
    }
    ACLBindingRule, "BindingRule" by id "ID", "binding rule ID" {
        unexpected: Some(Self::MISMATCH), hidden: false,
        read: AclBindingRuleRead(ACLBindingRuleGetRequest { binding_rule_id }) binding_rule,
        list: AclBindingRuleList(ACLBindingRuleListRequest { auth_method: "authmethod" }) binding_rules
            of ACLBindingRule,
        set: AclBindingRuleSet(ACLBindingRuleSetRequest) binding_rule,
        delete: AclBindingRuleDelete(ACLBindingRuleDeleteRequest),
    }
}

async fn list<T: Object>(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let (datacenter, options) = ask(ctx, req)?;
    let args = T::list_args(datacenter, req, options);
    let (all, meta) = T::listed(read::<T::List>(ctx, args).await?);
    Ok(Response::json(&all.unwrap_or_default())?.with_meta(&meta))
}

/// Reads, writes or deletes the one that the path names; makes one when it names none.
async fn one<T: Object>(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    req.no_namespace()?;
    let id = req.rest().to_owned();
    if id.is_empty() && req.method != Method::PUT {
        return Err(bad_request(T::UNNAMED));
    }
    match req.method {
        Method::GET => {
            let (datacenter, options) = ask(ctx, req)?;
            get::<T>(ctx, T::read_args(datacenter, id, options)).await
        }
        Method::DELETE => {
            let args = T::delete_args(ctx.settings.datacenter.clone(), id, req.token(ctx));
            write::<T::Delete>(ctx, args).await?;
            Response::json(&true)
        }
        _ => {
            let mut object: T = body(req, T::UNREADABLE, T::GO_TYPE).await?;
            place(&mut object, id)?;
            let args = object.set_args(ctx.settings.datacenter.clone(), req.token(ctx));
            Response::json(&write::<T::Set>(ctx, args).await?)
        }
    }
}

/// Gives what was sent the name that the path says.
fn place<T: Object>(object: &mut T, named: String) -> Result<(), HttpError> {
    let own = object.key();
    if named.is_empty() {
        return match T::UNEXPECTED {
            Some(why) if !own.is_empty() => Err(bad_request(why)),
            _ => Ok(()),
        };
    }
    if !own.is_empty() && *own != named {
        return Err(bad_request(T::MISMATCH));
    }
    *own = named;
    Ok(())
}

async fn get<T: Object>(ctx: &Ctx, args: Args<T::Read>) -> Result<Response, HttpError> {
    let (found, meta) = T::found(read::<T::Read>(ctx, args).await?);
    match found {
        Some(object) => Ok(Response::json(&object)?.with_meta(&meta)),
        None if T::HIDDEN => Ok(not_found(&meta)),
        None => Ok(Response::status(StatusCode::NOT_FOUND)),
    }
}

async fn policy_by_name(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let policy_name = req.rest_or("Bad request: Missing policy Name")?;
    let (datacenter, options) = ask(ctx, req)?;
    let args = ACLPolicyGetRequest {
        policy_name,
        ..ACLPolicy::read_args(datacenter, String::new(), options)
    };
    get::<ACLPolicy>(ctx, args).await
}

async fn role_by_name(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    enabled(ctx)?;
    let role_name = req.rest_or("Bad request: Missing role Name")?;
    let (datacenter, options) = ask(ctx, req)?;
    let args = ACLRoleGetRequest {
        role_name,
        ..ACLRole::read_args(datacenter, String::new(), options)
    };
    get::<ACLRole>(ctx, args).await
}
