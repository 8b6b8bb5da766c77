//! Entries of `retry_join` that name a way to find members instead of an address, as go-discover writes them.
//!
//! Holds true: a way that is not supported is refused in words, and the other entries are still tried.
//! Source: `docs/reference/config.md` section 21.

/// The ways that real Consul has and this agent does not.
const KNOWN: &[&str] = &[
    "aliyun",
    "aws",
    "azure",
    "digitalocean",
    "gce",
    "hcp",
    "k8s",
    "linode",
    "mdns",
    "os",
    "packet",
    "scaleway",
    "softlayer",
    "tencentcloud",
    "triton",
    "vsphere",
];

/// Whether an entry is none of addresses.
pub fn is_provider(entry: &str) -> bool {
    entry.contains("provider=")
}

/// Why an entry leads nowhere.
pub fn refusal(entry: &str) -> String {
    let settings = entry.split_whitespace();
    let name = settings.filter_map(|s| s.strip_prefix("provider=")).next();
    match name.unwrap_or_default() {
        "" => "discover: no provider".to_owned(),
        known if KNOWN.contains(&known) => format!(
            "discover: provider {known} is not supported by this agent: list addresses instead"
        ),
        unknown => format!("discover: unknown provider {unknown}"),
    }
}
