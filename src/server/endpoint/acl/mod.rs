//! `ACL.*`: tokens, policies, roles, auth methods, binding rules, and the first token.
//!
//! Holds true: whoever may read without writing sees no secret; nothing is written that Consul would refuse.
//! Source: `docs/reference/http-1.md` section 11; texts from a running Consul 1.8.7.

mod identity;
mod legacy;
mod login;
mod method;
mod misc;
mod outside;
mod policy;
mod role;
mod rule;
mod token;

use crate::structs::{Error, Result};

/// What stands for a secret that is not shown.
const REDACTED: &str = "<hidden>";

/// Whether a text is a name as policies, roles and auth methods have them.
fn is_name(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::from(text.into()))
}
