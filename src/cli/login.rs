//! `login` and `logout`: a token for what another system vouches for, and back.
//!
//! Holds true: the token's secret goes to a file that only its owner can read, never to the terminal.
//! Source: `docs/reference/cli.md` section 18.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hyper::Method;

use super::command::{Command, Invocation, OK, namespace_flags, server_flags};
use super::simple;
use crate::config::flags::{FlagSet, Kind};
use crate::net::dial::errno_text;
use crate::structs::{ACLLoginParams, ACLToken};
use crate::wire::json;

pub const LOGIN: Command = simple(
    "login",
    "Logs in through an auth method",
    "Usage: consul login [options]

  Exchanges what another system vouches for for a token, which is written to a file.",
    login_flags,
    login,
);

pub const LOGOUT: Command = simple(
    "logout",
    "Gives a login's token back",
    "Usage: consul logout [options]

  Destroys a token that a login made.",
    server_flags,
    logout,
);

const NO_ARGUMENTS: &str = "Should have no non-flag arguments.";

fn login_flags() -> FlagSet {
    namespace_flags()
        .command("method", Kind::String, "The auth method to log in through.")
        .command(
            "bearer-token-file",
            Kind::String,
            "File with what the other system vouches with.",
        )
        .command(
            "token-sink-file",
            Kind::String,
            "File to write the token's secret to.",
        )
        .command(
            "type",
            Kind::String,
            "Type of the auth method, where it matters.",
        )
        .command(
            "meta",
            Kind::Pairs,
            "`key=value` to keep in the token's description; may be repeated.",
        )
}

fn login(call: &Invocation) -> u8 {
    let args = &call.args;
    if !args.args().is_empty() {
        return call.fail(NO_ARGUMENTS);
    }
    for flag in ["method", "token-sink-file", "bearer-token-file"] {
        if args.string(flag).is_empty() {
            return call.fail(format!("Missing required '-{flag}' flag"));
        }
    }
    let file = args.string("bearer-token-file");
    let bearer = match fs::read_to_string(file) {
        Ok(text) => text.trim().to_owned(),
        Err(e) => return call.fail(format!("open {file}: {}", errno_text(&e))),
    };
    if bearer.is_empty() {
        return call.fail(format!("No bearer token found in {file}"));
    }
    let mut meta = std::collections::BTreeMap::new();
    for pair in args.list("meta") {
        let (key, value) = pair.split_once('=').unwrap_or((&pair, ""));
        meta.insert(key.to_owned(), value.to_owned());
    }
    let params = ACLLoginParams {
        auth_method: args.string("method").to_owned(),
        bearer_token: bearer,
        meta: (!meta.is_empty()).then_some(meta),
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let asked = json::to_vec(&params)
        .map_err(|e| e.to_string())
        .and_then(|body| {
            crate::net::block_on(client.ask(Method::POST, "/v1/acl/login", &[], body))?.ok()
        });
    let token = asked
        .and_then(|body| json::from_slice_lenient::<ACLToken>(&body).map_err(|e| e.to_string()));
    match token {
        Err(why) => call.fail(format!("Error logging in: {why}")),
        Ok(token) => match sink(Path::new(args.string("token-sink-file")), &token.secret_id) {
            Ok(()) => OK,
            Err(e) => call.fail(format!(
                "Error writing token to file sink: {}",
                errno_text(&e)
            )),
        },
    }
}

/// Writes a secret beside its place, then into it; a folder that is missing is made.
fn sink(path: &Path, secret: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension(format!("{:08x}.tmp", fastrand::u32(..)));
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(secret.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // It may not be there; the error that counts is the first.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn logout(call: &Invocation) -> u8 {
    if !call.args.args().is_empty() {
        return call.fail(NO_ARGUMENTS);
    }
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let asked = crate::net::block_on(client.ask(Method::POST, "/v1/acl/logout", &[], Vec::new()));
    match asked.and_then(|reply| reply.ok()) {
        Ok(_) => OK,
        Err(why) => call.fail(format!("Error destroying token: {why}")),
    }
}
