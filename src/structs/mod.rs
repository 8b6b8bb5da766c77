//! Consul's domain types and RPC requests, under Consul's own names.
//!
//! One definition serves JSON and msgpack: the Rust field carries Consul's name in its serde attribute,
//! JSON keeps the declared order (which is Consul's), msgpack sorts. A field renamed to `""` is an
//! embedded structure. A structure renamed to `""` has a decoder of its own in Consul, one renamed to `"?"`
//! has one that ignores unknown fields: `wire` words its errors as Consul does. Leaves any reading and writing of bytes to `wire`.
//! Source: `docs/reference/rpc.md` appendix A and the object shapes of `docs/reference/http-2.md`.

pub mod command;
pub mod go;
pub mod rpc;

mod acl;
mod acl_request;
mod catalog;
mod coordinate;
mod definition;
mod error;
mod event;
mod kvs;
mod member;
mod operator;
mod request;
mod routed;
mod session;
mod txn;
mod validate;

pub use acl::*;
pub use acl_request::*;
pub use catalog::*;
pub use coordinate::*;
pub use definition::*;
pub use error::*;
pub use event::*;
pub use kvs::*;
pub use member::*;
pub use operator::*;
pub use request::*;
pub use routed::*;
pub use session::*;
pub use txn::*;
pub use validate::*;
