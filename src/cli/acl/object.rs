//! What is done alike with tokens, policies, roles, auth methods and binding rules: finding one by the beginning of its
//! ID, reading, listing, deleting and showing it.
//!
//! Source: `docs/reference/cli.md` section 18; a running Consul 1.8.7.

use hyper::Method;

use super::show::{self, Show};
use super::{path, run, wants_json};
use crate::cli::client::Client;
use crate::cli::command::{Invocation, say};
use crate::codec::{Deserialize, Serialize};
use crate::structs::{
    ACLAuthMethod, ACLAuthMethodListStub, ACLBindingRule, ACLPolicy, ACLPolicyListStub, ACLRole,
    ACLToken, ACLTokenListStub,
};
use crate::wire::json;

/// A kind of things that ACLs are made of.
pub trait Object: Show + Serialize + Deserialize + Default {
    /// As lists have it.
    type Listed: Show + Serialize + Deserialize + Default;
    /// What it is called.
    const NOUN: &'static str;
    /// What it is called where its ID is looked for.
    const SHORT: &'static str = Self::NOUN;
    /// Where one of them is.
    const ONE: &'static str;
    /// Where all of them are.
    const ALL: &'static str;

    /// ID and name of one in a list.
    fn names(listed: &Self::Listed) -> (&str, &str);
}

macro_rules! objects {
    ($($type:ty, $listed:ty, $noun:literal, $short:literal, $one:literal, $all:literal, $id:ident, $name:ident;)*) => {
        $(
            impl Object for $type {
                type Listed = $listed;
                const NOUN: &'static str = $noun;
                const SHORT: &'static str = $short;
                const ONE: &'static str = concat!("/v1/acl/", $one, "/");
                const ALL: &'static str = concat!("/v1/acl/", $all);

                fn names(listed: &$listed) -> (&str, &str) {
                    (&listed.$id, &listed.$name)
                }
            }
        )*
    };
}

objects! {
    ACLToken, ACLTokenListStub, "token", "token", "token", "tokens", accessor_id, description;
    ACLPolicy, ACLPolicyListStub, "policy", "policy", "policy", "policies", id, name;
    ACLRole, ACLRole, "role", "role", "role", "roles", id, name;
    ACLAuthMethod, ACLAuthMethodListStub, "auth method", "auth method", "auth-method", "auth-methods", name, name;
    ACLBindingRule, ACLBindingRule, "binding rule", "rule", "binding-rule", "binding-rules", id, description;
}

/// The noun at the beginning of a sentence.
fn capital<T: Object>() -> String {
    format!("{}{}", T::NOUN[..1].to_uppercase(), &T::NOUN[1..])
}

/// The one ID that begins as typed.
pub fn by_prefix<T: Object>(client: &Client, typed: &str) -> Result<String, String> {
    if typed.len() == 36 {
        return Ok(typed.to_owned());
    }
    let short = T::SHORT;
    let known: Vec<T::Listed> = client.read(T::ALL, &[])?;
    let ids = known.iter().map(|one| T::names(one).0);
    let mut found = ids.filter(|id| id.starts_with(typed));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id.to_owned()),
        (Some(_), Some(_)) => Err(format!("Partial {short} ID is not unique")),
        (None, _) => Err(format!("No such {short} ID with prefix: {typed}")),
    }
}

/// What is said when it does not turn out which one is meant.
fn undetermined<T: Object>(why: &str) -> String {
    format!("Error determining {} ID: {why}", T::NOUN)
}

/// [`by_prefix`], as most commands say what is wrong.
pub fn find_id<T: Object>(client: &Client, typed: &str) -> Result<String, String> {
    by_prefix::<T>(client, typed).map_err(|e| undetermined::<T>(&e))
}

/// The ID that is meant by `-id`, or else by `-name`.
pub fn find<T: Object>(client: &Client, call: &Invocation) -> Result<String, String> {
    let (id, name) = (call.args.string("id"), call.args.string("name"));
    if !id.is_empty() {
        return find_id::<T>(client, id);
    }
    let known = client.read(T::ALL, &[]);
    let known: Vec<T::Listed> = known.map_err(|e| undetermined::<T>(&e))?;
    let found = known.iter().map(T::names).find(|names| names.1 == name);
    let unknown = || undetermined::<T>(&format!("No such {} with name {name}", T::NOUN));
    found.map(|(id, _)| id.to_owned()).ok_or_else(unknown)
}

/// Whether nothing says which one is meant.
pub fn unnamed(call: &Invocation) -> bool {
    call.args.string("id").is_empty() && call.args.string("name").is_empty()
}

/// Reads one at a path; `key` says how it is named there.
pub fn fetch_at<T: Object>(
    client: &Client,
    path: &str,
    key: &str,
    value: &str,
) -> Result<T, String> {
    let failed = |e: String| format!("Error reading {} \"{value}\": {e}", T::NOUN);
    let reply = client.get(path, &[]).map_err(failed)?;
    if reply.status == hyper::StatusCode::NOT_FOUND {
        return Err(format!(
            "{} not found with {key} \"{value}\"",
            capital::<T>()
        ));
    }
    json::from_slice_lenient(&reply.ok().map_err(failed)?).map_err(|e| e.to_string())
}

/// Reads one by its ID.
pub fn fetch<T: Object>(client: &Client, id: &str) -> Result<T, String> {
    fetch_at(client, &path(T::ONE, id), "ID", id)
}

/// Asks for a change and shows what came of it.
pub fn change<T: Object>(
    call: &Invocation,
    client: &Client,
    method: Method,
    path: &str,
    body: &T,
    failed: &dyn Fn(String) -> String,
) -> Result<(), String> {
    let body = json::to_vec(body).map_err(|e| e.to_string())?;
    let reply = crate::net::block_on(client.ask(method, path, &[], body));
    let body = reply.and_then(|reply| reply.ok()).map_err(failed)?;
    let made: T = json::from_slice_lenient(&body).map_err(|e| e.to_string())?;
    display(call, &made)
}

/// The first of these flags that is not given, as an explanation.
pub fn missing(call: &Invocation, flags: &[&str]) -> Option<String> {
    let missing = flags.iter().find(|flag| call.args.string(flag).is_empty());
    missing.map(|flag| format!("Missing required '-{flag}' flag"))
}

/// Puts texts that are given over the old ones; with `-no-merge` also those that are not.
pub fn overwrite<const N: usize>(call: &Invocation, texts: [(&str, &mut String); N]) {
    let clear = call.args.bool("no-merge");
    for (flag, text) in texts {
        if clear || call.args.is_set(flag) {
            call.args.string(flag).clone_into(text);
        }
    }
}

/// Makes one and shows it.
pub fn create<T: Object>(call: &Invocation, client: &Client, object: &T) -> Result<(), String> {
    let failed = |e: String| format!("Failed to create new {}: {e}", T::NOUN);
    let path = T::ONE.trim_end_matches('/');
    change(call, client, Method::PUT, path, object, &failed)
}

/// Changes one and shows it.
pub fn update<T: Object>(
    call: &Invocation,
    client: &Client,
    id: &str,
    object: &T,
) -> Result<(), String> {
    let failed = |e: String| format!("Error updating {} \"{id}\": {e}", T::NOUN);
    let path = path(T::ONE, id);
    change(call, client, Method::PUT, &path, object, &failed)
}

/// Shows one as text or as JSON.
pub fn display<T: Object>(call: &Invocation, object: &T) -> Result<(), String> {
    say(match wants_json(call)? {
        true => show::json(object, T::LAYOUT)?,
        false => object.shown().text(call.args.bool("meta"), false),
    });
    Ok(())
}

/// Lists them.
pub fn list<T: Object>(call: &Invocation, query: &[(&'static str, String)]) -> u8 {
    run(call, |client| {
        let all: Vec<T::Listed> = client
            .read(T::ALL, query)
            .map_err(|e| format!("Failed to retrieve the {} list: {e}", T::NOUN))?;
        if wants_json(call)? {
            say(show::json(&all, T::Listed::LAYOUT)?);
            return Ok(());
        }
        let meta = call.args.bool("meta");
        let between = match T::Listed::LAYOUT {
            show::Layout::Token => "\n",
            _ => "",
        };
        let texts: Vec<String> = all.iter().map(|o| o.shown().text(meta, true)).collect();
        if !texts.is_empty() {
            say(texts.join(between));
        }
        Ok(())
    })
}

/// Deletes the one that is named.
pub fn remove<T: Object>(call: &Invocation, id: impl Fn(&Client) -> Result<String, String>) -> u8 {
    run(call, |client| {
        let id = id(client)?;
        client
            .send(Method::DELETE, &path(T::ONE, &id), &[], Vec::new())
            .map_err(|e| format!("Error deleting {} \"{id}\": {e}", T::NOUN))?;
        say(format!("{} \"{id}\" deleted successfully", capital::<T>()));
        Ok(())
    })
}
