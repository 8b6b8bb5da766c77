//! `acl bootstrap`, `acl set-agent-token` and `acl translate-rules`.

use crate::codec::Serialize;
use hyper::Method;

use super::{format_flag, object, policy, run};
use crate::cli::command::{Command, Invocation, OK, say, server_flags};
use crate::cli::{data, simple};
use crate::config::flags::{FlagSet, Kind};
use crate::structs::ACLToken;

pub const BOOTSTRAP: Command = simple(
    "bootstrap",
    "Makes the first token of a cluster",
    "Usage: consul acl bootstrap [options]

  Makes a token that may do everything; this works once.",
    || format_flag(server_flags()),
    bootstrap,
);

pub const SET_AGENT_TOKEN: Command = simple(
    "set-agent-token",
    "Gives the agent a token to use",
    "Usage: consul acl set-agent-token [options] TYPE TOKEN

  Gives the agent a token while it runs. TYPE is one of

    default      for requests that bring none
    agent        for the agent's own work
    master       works on this agent alone, without servers
    replication  for copying from the primary datacenter",
    server_flags,
    set_agent_token,
);

pub const TRANSLATE_RULES: Command = simple(
    "translate-rules",
    "Turns rules of before 1.4 into present ones",
    "Usage: consul acl translate-rules  [options] TRANSLATE

  Turns rules of before 1.4 into such that say which of them are about prefixes. TRANSLATE is text, `@file`, or `-` for
  stdin; or a token, with -token-accessor or -token-secret.",
    translate_flags,
    translate,
);

fn translate_flags() -> FlagSet {
    server_flags()
        .command(
            "token-accessor",
            Kind::Bool,
            "TRANSLATE is the accessor of a token of before 1.4.",
        )
        .command(
            "token-secret",
            Kind::Bool,
            "TRANSLATE is the secret of a token of before 1.4.",
        )
}

fn bootstrap(call: &Invocation) -> u8 {
    run(call, |client| {
        let body =
            crate::net::block_on(client.ask(Method::PUT, "/v1/acl/bootstrap", &[], Vec::new()))
                .and_then(|reply| reply.ok())
                .map_err(|e| format!("Failed ACL bootstrapping: {e}"))?;
        let token: ACLToken =
            crate::wire::json::from_slice_lenient(&body).map_err(|e| e.to_string())?;
        object::display(call, &token)
    })
}

#[derive(Serialize)]
struct AgentToken {
    #[serde(rename = "Token")]
    token: String,
}

fn set_agent_token(call: &Invocation) -> u8 {
    let words = call.args.args();
    let (kind, token) = match words.as_slice() {
        [] => return call.fail("Error! Missing TYPE and TOKEN arguments"),
        [_] => return call.fail("Error! Missing TOKEN argument"),
        [kind, token] => (kind.as_str(), token.clone()),
        more => {
            let text = format!("Error! Too many arguments: expected 2 got {}", more.len());
            return call.fail(&text);
        }
    };
    let slot = match kind {
        "default" | "agent" | "replication" => kind,
        "master" => "agent_master",
        _ => return call.fail("Unknown token type"),
    };
    run(call, |client| {
        let body = crate::wire::json::to_vec(&AgentToken { token }).map_err(|e| e.to_string())?;
        client
            .put(&format!("/v1/agent/token/{slot}"), &[], body)
            .map_err(|e| format!("Failed to set ACL token \"{kind}\": {e}"))?;
        say(format!("ACL token \"{kind}\" set successfully"));
        Ok(())
    })
}

fn translate(call: &Invocation) -> u8 {
    let words = call.args.args();
    let [what] = words.as_slice() else {
        return match words.as_slice() {
            [] => call.fail("Error! Missing TRANSLATE argument"),
            more => call.fail(format!(
                "Error! Too many arguments: expected 1 got {}",
                more.len()
            )),
        };
    };
    let (accessor, secret) = (
        call.args.bool("token-accessor"),
        call.args.bool("token-secret"),
    );
    if !accessor && !secret {
        let text = match data::load(what) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(why) => return call.fail(format!("Error! {why}")),
        };
        return match crate::acl::translate(&text) {
            Ok(text) => {
                say(text);
                OK
            }
            Err(why) => call.fail(format!("Error translating rules: {why}")),
        };
    }
    run(call, |client| {
        say(policy::rules_of(client, what, secret)?);
        Ok(())
    })
}
