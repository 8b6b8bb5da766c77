//! `kv`: the key/value store.
//!
//! Source: `docs/reference/cli.md` section 6.

mod delete;
mod export;
mod get;
mod import;
mod put;

use super::command::Command;
use super::group;
use crate::codec::{Deserialize, Serialize};

pub const COMMAND: Command = group(
    "kv",
    "Works with the key/value store",
    "Usage: consul kv <subcommand> [options] [args]

  Reads and writes the key/value store:

      $ consul kv put redis/config/connections 5
      $ consul kv get redis/config/connections
      $ consul kv delete redis/config/connections",
    &[
        delete::COMMAND,
        export::COMMAND,
        get::COMMAND,
        import::COMMAND,
        put::COMMAND,
    ],
);

/// An entry as `export` writes and `import` reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    key: String,
    flags: u64,
    /// In base64.
    value: String,
}

/// Refuses a key that the API would not find.
fn well_formed(key: &str) -> Result<(), String> {
    match key.starts_with('/') {
        true => Err(format!("Invalid key. Key must not begin with a '/': {key}")),
        false => Ok(()),
    }
}

/// Path of a key in the API.
fn path(key: &str) -> String {
    format!("/v1/kv/{key}")
}

/// A key as it may be typed: with a slash in front, which no key has.
fn typed(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}
