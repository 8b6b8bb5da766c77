//! Consul's domain types and RPC requests, under Consul's own names.
//!
//! One definition serves JSON and msgpack: the Rust field carries Consul's name in its serde attribute,
//! JSON keeps the declared order (which is Consul's), msgpack sorts. A field renamed to `""` is an
//! embedded structure. Leaves any reading and writing of bytes to `wire`.
//! Source: `docs/reference/rpc.md` appendix A and the object shapes of `docs/reference/http-2.md`.

pub mod go;
