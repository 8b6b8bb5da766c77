//! From the merged tree to the [`Config`]: defaults, parsing of durations, addresses and ports, and every rule that can
//! make a configuration wrong.
//!
//! What is wrong is found in Consul's order, because only the first error is told: some end the build at once, others
//! (ports, addresses, durations, services) are gathered, and a wrong duration, or wrong metadata or weights of a service,
//! pushes out what was gathered before it.
//! Source: `docs/reference/config.md` sections 3 to 11; order and texts observed on Consul 1.8.7.

mod address;
mod awaited;
mod definition;
mod feature;
mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

pub(super) use self::awaited::awaited;

use super::decode::multierror;
use super::runtime::{Config, StringMap};
use super::sockaddr::{self, Interface};
use super::source::Sources;
use super::tree::Tree;
use crate::sorted::IntoMap;
use crate::structs::ServiceDefinition;
use crate::structs::go::{Any, GoDuration};

/// What is asked of the machine, so that tests can answer in its place.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Addresses of the network interfaces.
    pub interfaces: Vec<Interface>,
    /// Name of the host.
    pub hostname: String,
    /// Files the process may hold open; 0 is unknown.
    pub max_open_files: u64,
}

impl Host {
    /// This machine.
    pub fn system() -> Self {
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let open_files = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let soft = open_files.and_then(|line| line.split_ascii_whitespace().next());
        Self {
            interfaces: sockaddr::interfaces(),
            hostname: hostname.trim().to_owned(),
            max_open_files: soft.and_then(|number| number.parse().ok()).unwrap_or(0),
        }
    }
}

/// Reads settings out of the tree and gathers errors.
pub(super) struct Builder<'a> {
    tree: &'a Tree,
    host: &'a Host,
    dev_mode: bool,
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// Builds and checks the configuration.
///
/// # Errors
/// Consul's text.
pub(super) fn build(
    sources: Sources,
    dev_mode: bool,
    host: &Host,
) -> Result<(Config, Vec<String>), String> {
    let mut builder = Builder {
        tree: &sources.tree,
        host,
        dev_mode,
        errors: Vec::new(),
        warnings: sources.warnings,
    };
    let config = builder.config()?;
    rules::after(&mut builder, &config)?;
    Ok((config, builder.warnings))
}

/// Builds the services alone.
///
/// # Errors
/// Consul's text.
pub(super) fn services(sources: &Sources, host: &Host) -> Result<Vec<ServiceDefinition>, String> {
    let mut builder = Builder {
        tree: &sources.tree,
        host,
        dev_mode: false,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let services = builder.services();
    match builder.errors.is_empty() {
        true => Ok(services),
        false => Err(multierror(&builder.errors)),
    }
}

impl Builder<'_> {
    fn config(&mut self) -> Result<Config, String> {
        rules::first_warnings(self);
        let service_ttl = self.service_ttl();
        let checks = self.checks();
        let services = self.services();
        let addresses = self.addresses()?;
        let mut config = self.assemble(addresses, services, checks)?;
        config.dns.service_ttl = service_ttl;
        rules::before(self, &config)?;
        if self.errors.is_empty() {
            Ok(config)
        } else {
            Err(multierror(&self.errors))
        }
    }

    fn error(&mut self, text: String) {
        self.errors.push(text);
    }

    /// An error that pushes out those before it.
    fn only_error(&mut self, text: String) {
        self.errors = vec![text];
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    fn is_set(&self, path: &str) -> bool {
        self.tree.at(path).is_some()
    }

    fn bool(&self, path: &str, default: bool) -> bool {
        self.tree
            .at(path)
            .and_then(Tree::as_bool)
            .unwrap_or(default)
    }

    fn int(&self, path: &str, default: i64) -> i64 {
        self.tree.at(path).and_then(Tree::as_int).unwrap_or(default)
    }

    fn uint(&self, path: &str, default: u64) -> u64 {
        let value = self.tree.at(path).and_then(Tree::as_int);
        value
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(default)
    }

    fn float(&self, path: &str, default: f64) -> f64 {
        self.tree
            .at(path)
            .and_then(Tree::as_float)
            .unwrap_or(default)
    }

    fn opt(&self, path: &str) -> Option<&str> {
        self.tree.at(path).and_then(Tree::as_str)
    }

    fn str(&self, path: &str, default: &str) -> String {
        self.opt(path).unwrap_or(default).to_owned()
    }

    /// The first of several spellings that is set.
    fn first(&self, paths: &[&str], default: &str) -> String {
        paths
            .iter()
            .find_map(|path| self.opt(path))
            .unwrap_or(default)
            .to_owned()
    }

    fn first_bool(&self, paths: &[&str], default: bool) -> bool {
        let value = paths
            .iter()
            .find_map(|path| self.tree.at(path).and_then(Tree::as_bool));
        value.unwrap_or(default)
    }

    fn strings(&self, path: &str) -> Vec<String> {
        strings(self.tree.at(path))
    }

    fn string_map(&self, path: &str) -> StringMap {
        string_map(self.tree.at(path)).unwrap_or_default()
    }

    fn any(&self, path: &str) -> BTreeMap<String, Any> {
        match self.tree.at(path) {
            Some(Tree::Any(Any::Map(map))) => map.clone(),
            _ => BTreeMap::new(),
        }
    }

    fn any_list(&self, path: &str) -> Vec<BTreeMap<String, Any>> {
        let list = self
            .tree
            .at(path)
            .and_then(Tree::as_list)
            .unwrap_or_default();
        let maps = list.iter().map(|item| match item {
            Tree::Any(Any::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        });
        maps.collect()
    }

    /// Parses a duration; `name` is what the error calls it. A wrong one replaces all errors before it.
    fn parse_duration(&mut self, name: &str, text: &str) -> GoDuration {
        match GoDuration::parse(text) {
            Ok(duration) => duration,
            Err(error) => {
                let quoted = crate::structs::go::quote(text);
                self.only_error(format!("{name}: invalid duration: {quoted}: {error}"));
                GoDuration(0)
            }
        }
    }

    fn duration(&mut self, path: &str, default: Duration) -> Duration {
        self.named_duration(path, path, default)
    }

    fn named_duration(&mut self, path: &str, name: &str, default: Duration) -> Duration {
        match self.opt(path).map(str::to_owned) {
            Some(text) => self.parse_duration(name, &text).to_std(),
            None => default,
        }
    }
}

/// The texts of a list.
fn strings(tree: Option<&Tree>) -> Vec<String> {
    let list = tree.and_then(Tree::as_list).unwrap_or_default();
    list.iter()
        .filter_map(Tree::as_str)
        .map(str::to_owned)
        .collect()
}

/// The texts of a map.
fn string_map(tree: Option<&Tree>) -> Option<StringMap> {
    let map = tree.and_then(Tree::as_map)?;
    let pairs = map
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(pairs.into_map())
}

/// A network `address/length`; the host's part of the address is cleared.
fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: u8 = length.parse().ok().filter(|length| *length <= most)?;
    let address = match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    };
    Some((address, length))
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
