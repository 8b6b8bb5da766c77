//! Flags and configuration files to one checked configuration, as Consul reads them.

mod decode;
pub mod flags;
mod runtime;
mod schema;
pub mod sockaddr;
mod tree;

pub use runtime::*;
