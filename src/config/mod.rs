//! Flags and configuration files to one checked configuration, as Consul reads them.

pub mod flags;
