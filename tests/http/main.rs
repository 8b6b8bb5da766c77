//! The HTTP server in process, in front of a delegate that keeps keys in memory: the conventions that
//! all endpoints share, and what becomes of requests that no proper client would send.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod connections;
mod conventions;
mod stub;
