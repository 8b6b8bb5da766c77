//! The DNS interface: question to lookup to answer.
//!
//! `request` reads what arrives, `plan` turns a name into a lookup, `handler` carries it out by `lookup`
//! through the [`Delegate`](crate::structs::rpc::Delegate), `cache` keeps what it finds, `answer` makes records of the result, `trim`
//! cuts them to size, `message` writes them; `recursor` asks other servers; `server` holds the sockets.
//! Everything but `handler`, `lookup`, `recursor` and `server` is pure.
//!
//! Leaves to others: how a lookup is done (`server` and `store` by way of the delegate), sockets (`net`).
//! Source: Consul's documentation "DNS Interface"; `docs/reference/dns.md`, verified against Consul 1.8.7.

mod answer;
mod cache;
mod handler;
mod lookup;
mod message;
mod name;
mod plan;
mod recursor;
mod request;
mod server;
mod settings;
mod trim;

pub use handler::{Client, Dns};
pub use lookup::InForce;
pub use name::Name;
pub use request::{Received, Request, read};
pub use server::Server;
pub use settings::{ServiceTtl, Settings, Soa};
