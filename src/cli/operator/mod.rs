//! `operator`: tools for whoever runs the servers.
//!
//! Source: `docs/reference/cli.md` section 11.

mod autopilot;
mod raft;

use super::command::Command;
use super::group;

pub const COMMAND: Command = group(
    "operator",
    "Tools for whoever runs the servers",
    "Usage: consul operator <subcommand> [options]

  Tools for whoever runs the servers of a cluster. With ACLs they need a token with operator rights.",
    &[autopilot::COMMAND, raft::COMMAND],
);
