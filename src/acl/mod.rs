//! Access control: the rule language, what Consul builds in, and the decision whether a token may do something.
//!
//! ```text
//! Rules::parse(text, Syntax)              one policy's text, checked, errors in Consul's words
//! Authorizer::new(&[&rules], default)     all policies of a token merged, made for asking
//! authorizer.allows(Ask::KeyRead("a/b"))  the answer
//! ```
//!
//! Holds true: no IO; an exact rule beats a prefix rule, a longer prefix a shorter one, and of rules with one
//! name deny beats write beats list beats read; asking costs two binary searches and no allocation.
//! Leaves to others: which policies a token has (`server`, `client`), what is asked for (`server`, `agent`).
//! Source: `docs/reference/http-1.md` section 12; the words of errors from a running Consul 1.8.7.

mod authorizer;
mod builtin;
mod compile;
mod level;
mod printer;
pub mod replication;
mod resolver;
mod rules;
mod table;

#[cfg(test)]
mod twin;

pub use authorizer::{Ask, Authorizer, Default};
pub use builtin::*;
pub use compile::compile;
pub use level::{Level, Resource, Scalar};
pub use printer::translate;
pub use resolver::{DownPolicy, Resolver, require};
pub use rules::{Rule, Rules, Syntax};
