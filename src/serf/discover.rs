//! Entries of `retry_join` that name a way to find members instead of an address, as go-discover writes them.
//!
//! Holds true: a way that is not supported is refused in words, and the other entries are still tried.
//! Source: `docs/reference/config.md` section 21.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use super::mdns;

/// The ways that are supported.
pub const METHODS: &str = "mdns";

/// The ways that real Consul has and this agent does not: they belong to clouds.
const CLOUDS: &[&str] = &[
    "aliyun",
    "aws",
    "azure",
    "digitalocean",
    "gce",
    "hcp",
    "k8s",
    "linode",
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

/// The addresses that an entry leads to; `own` is our address.
///
/// # Errors
/// go-discover's words where it has some.
pub async fn addresses(entry: &str, own: IpAddr) -> Result<Vec<String>, String> {
    match provider(entry)? {
        Provider::Mdns(service) => mdns::query(&service, own).await,
    }
}

/// A way to find members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Multicast DNS.
    Mdns(mdns::Service),
}

/// What an entry asks for.
///
/// # Errors
/// go-discover's words where it has some.
pub fn provider(entry: &str) -> Result<Provider, String> {
    let settings = parse(entry)?;
    match settings.get("provider").map_or("", String::as_str) {
        "mdns" => Ok(Provider::Mdns(mdns::Service::from_settings(&settings)?)),
        cloud if CLOUDS.contains(&cloud) => Err(format!(
            "discover: provider {cloud} is not supported by this agent, which knows {METHODS} only: list addresses instead"
        )),
        "" => Err("discover: no provider".to_owned()),
        unknown => Err(format!("discover: unknown provider {unknown}")),
    }
}

/// Lets this agent be found in the ways that it looks for others, until dropped; at once done if there are none.
pub async fn announce(entries: &[String], node: &str, own: SocketAddr) {
    let mut announced: Vec<mdns::Service> = Vec::new();
    for entry in entries.iter().filter(|entry| is_provider(entry)) {
        match provider(entry) {
            Ok(Provider::Mdns(service)) if !announced.contains(&service) => announced.push(service),
            // What is wrong with it is told by looking for others.
            _ => {}
        }
    }
    let mut all: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {});
    for service in announced {
        let one = mdns::announce(service, node.to_owned(), own);
        let before = all;
        all = Box::pin(async move {
            smol::future::zip(before, one).await;
        });
    }
    all.await;
}

/// Reads `key=value` pairs with blanks between them; a value may be in double quotes and then have blanks, a
/// backslash takes the next character as it is.
fn parse(entry: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    let mut chars = entry.trim().chars().peekable();
    while chars.peek().is_some() {
        let mut key = String::new();
        loop {
            match chars.next() {
                Some('=') => break,
                Some(c) if !c.is_whitespace() => key.push(c),
                _ => return Err(format!("discover: format must be key=value: {entry}")),
            }
        }
        let mut value = String::new();
        let mut quoted = false;
        loop {
            match chars.next() {
                Some('"') => quoted = !quoted,
                Some('\\') => value.extend(chars.next()),
                Some(c) if c.is_whitespace() && !quoted => break,
                Some(c) => value.push(c),
                None if quoted => return Err(format!("discover: a quote is not closed: {entry}")),
                None => break,
            }
        }
        if settings.insert(key.clone(), value).is_some() {
            return Err(format!("discover: {key} is given twice"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_go_discover_does() {
        let settings = parse(r#"provider=mdns  service="my \"svc\"" domain=a\ b v6="#).unwrap();
        assert_eq!(settings["provider"], "mdns");
        assert_eq!(settings["service"], "my \"svc\"");
        assert_eq!(settings["domain"], "a b");
        assert_eq!(settings["v6"], "");
        for wrong in ["provider", "provider=a b", "a=\"b", "a=1 a=2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let why = |entry: &str| provider(entry).unwrap_err();
        assert_eq!(why("provider=nosuch"), "discover: unknown provider nosuch");
        assert!(why("provider=aws tag_key=a").contains("not supported"));
        assert!(why("provider=mdns").contains("Service record not provided"));
        assert!(provider("provider=mdns service=consul").is_ok());
    }
}
