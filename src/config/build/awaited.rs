//! Which addresses the configuration asks for and this machine does not have yet.
//!
//! For boards whose network comes late: whoever starts the agent at boot can wait until nothing is missing. What
//! is wrong in itself is not missing; the build tells it. An address that is only told to others
//! (`advertise_addr`) may be a router's, so it is missing only where a template gives none.
//! Source: `docs/reference/config.md` section 10; the README of go-sockaddr.

use std::net::IpAddr;

use super::Host;
use super::address::outside;
use crate::config::sockaddr;
use crate::config::source::Sources;
use crate::config::tree::Tree;
use crate::structs::go::quote;

/// Settings whose addresses the agent binds.
const BOUND: &[&str] = &[
    "bind_addr",
    "client_addr",
    "serf_lan",
    "serf_wan",
    "addresses.dns",
    "addresses.http",
    "addresses.https",
    "addresses.grpc",
];
/// Settings whose addresses are told to others.
const TOLD: &[&str] = &["advertise_addr", "advertise_addr_wan"];
/// How a template fails on a machine without a default route.
const NO_DEFAULT_ROUTE: &str = "No default interface found";

/// What is missing, one phrase each; `can_bind` tries an address.
pub(in crate::config) fn awaited(
    sources: &Sources,
    host: &Host,
    can_bind: &dyn Fn(IpAddr) -> bool,
) -> Vec<String> {
    let text = |path: &str| sources.tree.at(path).and_then(Tree::as_str);
    let mut missing = Vec::new();
    for path in BOUND.iter().chain(TOLD) {
        let Some(text) = text(path) else { continue };
        for action in actions(text) {
            let empty = match sockaddr::parse(action, &host.interfaces) {
                Ok(result) => result.is_empty(),
                Err(why) => why.ends_with(NO_DEFAULT_ROUTE),
            };
            if empty {
                missing.push(format!("{path}: {action} gives no address"));
            }
        }
        if !BOUND.contains(path) {
            continue;
        }
        let whole = sockaddr::parse(text, &host.interfaces).unwrap_or_default();
        for ip in whole
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
        {
            if !can_bind(ip) {
                missing.push(format!("{path}: no interface has {ip}"));
            }
        }
    }
    let bind = text("bind_addr").unwrap_or("0.0.0.0");
    let detected = text("advertise_addr").is_none_or(str::is_empty);
    if let Some(any) = bind.trim().parse().ok().filter(IpAddr::is_unspecified)
        && detected
        && !has_family(host, any.is_ipv4())
    {
        let family = if any.is_ipv4() { "IPv4" } else { "IPv6" };
        let why = format!("no interface but loopback has an {family} address");
        missing.push(format!("bind_addr: {}: {why}", quote(bind)));
    }
    missing
}

/// Whether an address of the family leads out of this machine. An IPv6 link-local one comes with the link itself,
/// before there is a network.
fn has_family(host: &Host, v4: bool) -> bool {
    outside(&host.interfaces).iter().any(|one| match one.ip {
        IpAddr::V4(_) => v4,
        IpAddr::V6(ip) => !v4 && !ip.is_unicast_link_local(),
    })
}

/// The template actions in a text, each with its braces.
fn actions(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let tail = &rest[start..];
        let Some(end) = tail.find("}}") else { break };
        found.push(&tail[..end + 2]);
        rest = &tail[end + 2..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sockaddr::Interface;

    fn interface(name: &str, ip: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
            prefix: 24,
            up: true,
            broadcast: true,
            loopback: name == "lo",
            point_to_point: false,
            multicast: true,
            default_route: name == "eth0",
        }
    }

    /// What is missing with this configuration where these interfaces are.
    fn missing(config: &[(&str, &str)], interfaces: &[(&str, &str)]) -> Vec<String> {
        let pairs = config
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Tree::Str((*value).to_owned())));
        let sources = Sources {
            tree: Tree::Map(pairs.collect()),
            warnings: Vec::new(),
        };
        let host = Host {
            interfaces: interfaces.iter().map(|(n, ip)| interface(n, ip)).collect(),
            ..Host::default()
        };
        let has =
            |ip: IpAddr| ip.is_unspecified() || host.interfaces.iter().any(|one| one.ip == ip);
        awaited(&sources, &host, &has)
    }

    const LO: (&str, &str) = ("lo", "127.0.0.1");
    const ETH: (&str, &str) = ("eth0", "192.168.7.2");

    #[test]
    fn a_board_without_network_lacks_its_address() {
        let why = "bind_addr: \"0.0.0.0\": no interface but loopback has an IPv4 address";
        assert_eq!(missing(&[], &[LO]), [why]);
        // The link is up, its address is still asked for.
        assert_eq!(missing(&[], &[LO, ("eth0", "fe80::1")]), [why]);
        assert!(!missing(&[("bind_addr", "::")], &[LO, ("eth0", "fe80::1")]).is_empty());
        assert!(missing(&[], &[LO, ETH]).is_empty());
        assert!(missing(&[("bind_addr", "127.0.0.1")], &[LO]).is_empty());
        assert!(missing(&[("advertise_addr", "203.0.113.4")], &[LO]).is_empty());
    }

    #[test]
    fn an_address_that_no_interface_has_is_missing() {
        let bind = [("bind_addr", "192.168.7.2")];
        let found = missing(&bind, &[LO]);
        assert_eq!(found, ["bind_addr: no interface has 192.168.7.2"]);
        assert!(missing(&bind, &[LO, ETH]).is_empty());
        // What is told to others need not be here.
        let told = [
            ("bind_addr", "192.168.7.2"),
            ("advertise_addr", "203.0.113.4"),
        ];
        assert!(missing(&told, &[LO, ETH]).is_empty());
    }

    #[test]
    fn a_template_without_a_result_is_missing_also_beside_others() {
        let template = r#"127.0.0.1 {{ GetInterfaceIP "eth0" }}"#;
        let config = [("bind_addr", "127.0.0.1"), ("client_addr", template)];
        let found = missing(&config, &[LO]);
        let action = r#"{{ GetInterfaceIP "eth0" }}"#;
        assert_eq!(found, [format!("client_addr: {action} gives no address")]);
        assert!(missing(&config, &[LO, ETH]).is_empty());
        let told = [(
            "advertise_addr",
            r#"{{ GetDefaultInterfaces | attr "address" }}"#,
        )];
        assert_eq!(missing(&told, &[LO]).len(), 1);
        assert!(missing(&told, &[LO, ETH]).is_empty());
    }

    #[test]
    fn what_is_wrong_is_not_missing() {
        for wrong in ["localhost", "{{ env \"HOME\" }}", "{{", "unix:///x"] {
            assert!(
                missing(&[("bind_addr", wrong)], &[LO, ETH]).is_empty(),
                "{wrong}"
            );
        }
    }
}
