//! Bytes to structs and back: Go's msgpack dialect and Go's JSON, over the one [`Value`].
//!
//! Holds true: no input makes it panic, overflow the stack or allocate more than a small multiple of the input.
//! Leaves to others: reading and writing structures (`codec`), what they are (`structs`), message headers and framing
//! (`gossip`, `net`).

pub mod extent;
pub mod hcl;
pub mod json;
pub mod msgpack;
pub mod rpc;
mod scan;

pub use crate::codec::{
    Deserialize, Deserializer, Error, Mode, Origin, Serialize, Serializer, Value, base64, error,
};
