//! What every agent does, server or client: the services and checks it owns, keeping the catalog equal
//! to them, running the checks, maintenance, watches, events, reload.
//!
//! Leaves to others: how the catalog is stored and replicated (behind the `Delegate`), HTTP and DNS.
//! Source: `docs/reference/http-2.md` sections 3 to 6.

pub mod ae;
pub mod checks;
pub mod event;
pub mod local;
pub mod token;
