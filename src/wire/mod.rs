//! Bytes to structs and back: Go's msgpack dialect and Go's JSON, over the one [`Value`].
//!
//! Holds true: there is one [`Deserializer`] and one [`Serializer`] for all formats, so each of
//! Consul's structures is compiled once for reading and once for writing; no input makes it panic,
//! overflow the stack or allocate more than a small multiple of the input.
//! Leaves to others: what the structures are (`structs`), message headers and framing (`gossip`, `net`).

mod access;
pub mod base64;
mod compound;
pub mod decode;
pub mod encode;
pub mod error;
pub mod extent;
mod fields;
mod gotext;
pub mod hcl;
pub mod json;
pub mod msgpack;
pub mod rpc;
mod scan;
pub mod value;

pub use decode::{Deserializer, Origin};
pub use encode::{Mode, Serializer};
pub use error::Error;
pub use value::Value;
