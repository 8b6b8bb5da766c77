//! Flags and configuration files to one checked configuration, as Consul reads them.
//!
//! Text is read by `wire` (JSON, HCL), typed by `decode` along `schema`, merged by `tree` in the order `source` keeps, and
//! built and checked by `build`. The agent is given a [`Config`]; it may ask for it again with the same flags on reload.
//! Leaves to others: what settings do, and those that Consul checks only when it starts (log level, TLS files, watches).
//! Source: `docs/reference/config.md`.

mod agent;
mod build;
mod debug;
mod decode;
pub mod flags;
mod runtime;
mod schema;
pub mod sockaddr;
mod source;
mod tree;
mod unsupported;

use std::net::IpAddr;
use std::path::Path;

use crate::structs::ServiceDefinition;

pub use agent::agent_flags;
pub use build::Host;
pub use debug::debug_config;
pub use decode::Format;
pub use runtime::*;
pub use unsupported::unsupported;

use self::flags::Parsed;
use self::source::Sources;

/// A configuration with what is worth a warning about it, in the order in which Consul warns.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// Loads the configuration that the flags of `agent` describe and name files for. It may be called again at any time.
///
/// # Errors
/// Consul's text.
pub fn load(flags: &Parsed, host: &Host) -> Result<Loaded, String> {
    let sources = Sources::from_flags(flags)?;
    let (config, warnings) = build::build(sources, flags.bool("dev"), host)?;
    Ok(Loaded { config, warnings })
}

/// The addresses that the configuration asks for and this machine does not have yet, one phrase each; `can_bind` tries
/// one. Empty also when the configuration is wrong, which [`load`] tells.
pub fn awaited_addresses(
    flags: &Parsed,
    host: &Host,
    can_bind: &dyn Fn(IpAddr) -> bool,
) -> Vec<String> {
    Sources::from_flags(flags)
        .map(|sources| build::awaited(&sources, host, can_bind))
        .unwrap_or_default()
}

/// The services that files define, and which files were passed over; what else they hold is read alone.
///
/// # Errors
/// As [`load`], for files that cannot be read.
pub fn services_of<P: AsRef<Path>>(
    paths: &[P],
    host: &Host,
) -> Result<(Vec<ServiceDefinition>, Vec<String>), String> {
    let sources = Sources::from_paths(paths, None)?;
    Ok((build::services(&sources, host)?, sources.warnings))
}

/// Loads files and directories alone, as `validate` does.
///
/// # Errors
/// As [`load`].
pub fn load_paths<P: AsRef<Path>>(
    paths: &[P],
    format: Option<Format>,
    host: &Host,
) -> Result<Loaded, String> {
    let sources = Sources::from_paths(paths, format)?;
    let (config, warnings) = build::build(sources, false, host)?;
    Ok(Loaded { config, warnings })
}
