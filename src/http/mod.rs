//! The HTTP API: one file per family of endpoints, one table of routes, one place for the conventions.
//!
//! A request goes `server` (connections) -> `service` (checks, routing) -> a family's handler, which
//! reads options through `conventions`, calls the servers through the [`Delegate`], and gives back a
//! [`Response`] that `service` dresses (indentation, gzip, shared headers).
//! Knows nothing of SQLite and Raft, nor whether the agent is a server or a client.
//!
//! [`Delegate`]: crate::structs::rpc::Delegate

mod absent;
mod acl;
mod acl_legacy;
mod acl_object;
mod agent;
mod agent_check;
mod agent_health;
mod agent_metrics;
mod agent_monitor;
mod agent_self;
mod agent_service;
mod autopilot_state;
mod blocking;
mod body;
mod budget;
mod catalog;
mod conn;
mod context;
pub mod conventions;
mod coordinate;
mod discovery;
mod error;
mod event;
mod gzip;
mod head;
mod health;
mod internal_ui;
mod kept;
mod kv;
mod listing;
mod operator;
mod path;
mod query;
mod request;
mod request_log;
mod response;
mod routes;
mod server;
mod service;
mod session;
mod snapshot;
mod status;
mod timing;
mod txn;
mod txn_body;
mod ui;

pub use autopilot_state::AutopilotState;
pub use conn::Patience;
pub use context::{Ctx, Live, Network, Settings};
pub use error::HttpError;
pub use request::Request;
pub use response::{Body, Response};
pub use server::Server;
pub use ui::Ui;

use routes::Route;

/// The tables of all families.
fn tables() -> &'static [&'static [Route]] {
    &[
        absent::ROUTES,
        acl::ROUTES,
        acl_legacy::ROUTES,
        acl_object::ROUTES,
        catalog::ROUTES,
        agent::ROUTES,
        agent_check::ROUTES,
        agent_health::ROUTES,
        agent_metrics::ROUTES,
        agent_monitor::ROUTES,
        agent_self::ROUTES,
        agent_service::ROUTES,
        coordinate::ROUTES,
        event::ROUTES,
        health::ROUTES,
        internal_ui::ROUTES,
        kv::ROUTES,
        operator::ROUTES,
        session::ROUTES,
        snapshot::ROUTES,
        status::ROUTES,
        txn::ROUTES,
    ]
}
