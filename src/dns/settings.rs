//! What configures DNS, in the units that answers need.
//!
//! Holds true: settings never change under a running query; a reload swaps them as a whole.
//! Source: Consul's documentation of `dns_config`, `docs/reference/dns.md` sections 16 and 22.

use std::net::SocketAddr;
use std::time::Duration;

use super::name::Name;
use crate::config;
use crate::net::dial;
use crate::sorted;
use crate::structs::{Error, Result};

/// Fields of the SOA record that are configured, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub min_ttl: u32,
}

impl Default for Soa {
    fn default() -> Self {
        Self {
            refresh: 3600,
            retry: 600,
            expire: 86400,
            min_ttl: 0,
        }
    }
}

/// TTLs of services by name, exact or by prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTtl {
    exact: Vec<(String, u32)>,
    /// Longest prefix first.
    prefixes: Vec<(String, u32)>,
}

impl ServiceTtl {
    /// From `dns_config.service_ttl`: a key that ends in `*` is a prefix.
    pub fn new<'a>(entries: impl IntoIterator<Item = (&'a str, Duration)>) -> Self {
        let mut ttl = Self::default();
        for (key, value) in entries {
            let seconds = whole_seconds(value);
            match key.strip_suffix('*') {
                Some(prefix) => ttl.prefixes.push((prefix.to_owned(), seconds)),
                None => ttl.exact.push((key.to_owned(), seconds)),
            }
        }
        sorted::sort_by_key(&mut ttl.prefixes, |(prefix, _)| {
            std::cmp::Reverse(prefix.len())
        });
        ttl
    }

    /// The TTL of a service whose name is in lower case, in seconds.
    pub fn of(&self, service: &str) -> u32 {
        let exact = self.exact.iter().find(|(name, _)| name == service);
        let found = exact.or_else(|| {
            self.prefixes
                .iter()
                .find(|(prefix, _)| service.starts_with(prefix.as_str()))
        });
        found.map_or(0, |(_, seconds)| *seconds)
    }
}

/// A duration as a TTL: the fraction is cut.
pub fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Everything that decides about answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This agent's node, the label of DNS metrics.
    pub node_name: String,
    /// This agent's datacenter.
    pub datacenter: String,
    pub domain: Name,
    pub alt_domain: Option<Name>,
    /// The token that lookups carry.
    pub token: String,
    /// It is the agent's own default token, which may change while the agent runs.
    pub token_of_agent: bool,
    /// Asked in this order, unless at random.
    pub recursors: Vec<SocketAddr>,
    pub random_recursors: bool,
    pub recursor_timeout: Duration,
    /// Seconds.
    pub node_ttl: u32,
    pub service_ttl: ServiceTtl,
    pub soa: Soa,
    pub allow_stale: bool,
    pub max_stale: Duration,
    pub use_cache: bool,
    pub cache_max_age: Duration,
    pub only_passing: bool,
    pub enable_truncate: bool,
    pub disable_compression: bool,
    pub enable_additional_node_meta_txt: bool,
    pub translate_wan_addrs: bool,
    /// Answers to UDP clients without EDNS, 8 at most.
    pub udp_answer_limit: usize,
    /// Address records per answer, 0 is no limit.
    pub a_record_limit: usize,
}

/// Where recursors listen whose addresses do not say.
const RECURSOR_PORT: u16 = 53;
/// How long a recursor is waited for unless configured; a timeout of zero means this too.
const RECURSOR_TIMEOUT: Duration = Duration::from_secs(2);

impl Settings {
    /// The settings that a configuration asks for. The token is Consul's: `acl.tokens.dns`, else the
    /// default one.
    ///
    /// # Errors
    /// When `domain` is no name that DNS can say, or a recursor's host name cannot be resolved.
    pub async fn from_config(config: &config::Config) -> Result<Self> {
        let unusable = |key: &str, domain: &str| {
            Error::new(format!(
                "{key} {domain:?} is not a domain name: labels of 1 to 63 bytes with dots between them"
            ))
        };
        let domain = &config.dns_domain;
        let mut settings =
            Self::new(&config.datacenter, domain).ok_or_else(|| unusable("domain", domain))?;
        let alt = config.dns_alt_domain.trim_end_matches('.');
        if !alt.is_empty() {
            let name = Name::parse(alt).ok_or_else(|| unusable("alt_domain", alt))?;
            settings.alt_domain = Some(name.to_lowercase());
        }
        for recursor in &config.dns.recursors {
            let found = dial::resolve(&dial::with_port(recursor, RECURSOR_PORT)).await;
            let found =
                found.map_err(|e| Error::new(format!("Invalid recursor address: {}", e.text())))?;
            settings.recursors.extend(found.first());
        }
        let dns = &config.dns;
        let ttls = dns.service_ttl.iter();
        let limit = |n: i64| usize::try_from(n).unwrap_or(0);
        let tokens = &config.acl.tokens;
        Ok(Self {
            token_of_agent: tokens.dns.is_empty(),
            token: if tokens.dns.is_empty() {
                tokens.default.clone()
            } else {
                tokens.dns.clone()
            },
            node_name: config.node_name.clone(),
            random_recursors: dns.recursor_strategy == "random",
            recursor_timeout: match dns.recursor_timeout {
                Duration::ZERO => RECURSOR_TIMEOUT,
                other => other,
            },
            node_ttl: whole_seconds(dns.node_ttl),
            service_ttl: ServiceTtl::new(ttls.map(|(name, ttl)| (name.as_str(), *ttl))),
            soa: Soa {
                refresh: dns.soa.refresh,
                retry: dns.soa.retry,
                expire: dns.soa.expire,
                min_ttl: dns.soa.min_ttl,
            },
            allow_stale: dns.allow_stale,
            max_stale: dns.max_stale,
            use_cache: dns.use_cache,
            cache_max_age: dns.cache_max_age,
            only_passing: dns.only_passing,
            enable_truncate: dns.enable_truncate,
            disable_compression: dns.disable_compression,
            enable_additional_node_meta_txt: dns.node_meta_txt,
            translate_wan_addrs: config.translate_wan_addrs,
            udp_answer_limit: limit(dns.udp_answer_limit),
            a_record_limit: limit(dns.a_record_limit),
            ..settings
        })
    }

    /// Consul's defaults for an agent of this datacenter and domain; `None` when the domain is no name.
    pub fn new(datacenter: &str, domain: &str) -> Option<Self> {
        Some(Self {
            node_name: String::new(),
            datacenter: datacenter.to_owned(),
            domain: Name::parse(domain)?.to_lowercase(),
            alt_domain: None,
            token_of_agent: false,
            token: String::new(),
            recursors: Vec::new(),
            random_recursors: false,
            recursor_timeout: RECURSOR_TIMEOUT,
            node_ttl: 0,
            service_ttl: ServiceTtl::default(),
            soa: Soa::default(),
            allow_stale: true,
            max_stale: Duration::from_secs(87_600 * 3600),
            use_cache: false,
            cache_max_age: Duration::ZERO,
            only_passing: false,
            enable_truncate: false,
            disable_compression: false,
            enable_additional_node_meta_txt: true,
            translate_wan_addrs: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_ttl_takes_the_exact_key_then_the_longest_prefix() {
        let seconds = Duration::from_secs;
        let ttl = ServiceTtl::new([
            ("web", seconds(90)),
            ("w*", seconds(5)),
            ("web*", Duration::from_millis(6900)),
        ]);
        for (name, wanted) in [("web", 90), ("web6", 6), ("wax", 5), ("many", 0)] {
            assert_eq!(ttl.of(name), wanted, "{name}");
        }
        assert_eq!(ServiceTtl::new([("*", seconds(3))]).of("x"), 3);
    }
}
