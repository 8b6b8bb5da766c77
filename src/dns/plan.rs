//! The grammar of names in Consul's zone: question to lookup plan.
//!
//! Source: `docs/reference/dns.md` section 2; Consul's documentation "DNS Interface"; RFC 2782.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::iana::Rtype;

use super::name::{Labels, push_presentation};

/// What a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Instances of a service.
    Service {
        name: String,
        /// Empty for any.
        tag: String,
        datacenter: Option<String>,
        connect: bool,
        ingress: bool,
    },
    /// A node by name or ID.
    Node {
        name: String,
        datacenter: Option<String>,
    },
    /// A prepared query by name or ID.
    Query {
        name: String,
        datacenter: Option<String>,
    },
    /// An address that is spelled in the name itself.
    Address(IpAddr),
    /// As [`Plan::Address`], of a length that no address has: an empty answer.
    NoAddress,
    /// A name that means nothing.
    Invalid,
}

/// Reads what stands left of the domain, in any case of letters.
pub fn plan(labels: Labels<'_>, rtype: Rtype) -> Plan {
    let mut texts: Vec<String> = Vec::with_capacity(6);
    for label in labels {
        let mut text = String::with_capacity(label.len());
        push_presentation(&mut text, label);
        text.make_ascii_lowercase();
        texts.push(text);
    }
    for at in (0..texts.len()).rev() {
        let word = texts[at].as_str();
        if rtype == Rtype::SRV && word.starts_with('_') {
            let (parts, suffixes) = texts.split_at(at + 1);
            return service(parts, suffixes);
        }
        let (parts, rest) = texts.split_at(at);
        let suffixes = rest.get(1..).unwrap_or_default();
        return match word {
            "service" => service(parts, suffixes),
            "connect" | "ingress" => match (parts.last(), datacenter(suffixes)) {
                (Some(name), Some(datacenter)) => Plan::Service {
                    name: name.clone(),
                    tag: String::new(),
                    datacenter,
                    connect: word == "connect",
                    ingress: word == "ingress",
                },
                _ => Plan::Invalid,
            },
            "node" | "query" => match (parts, datacenter(suffixes)) {
                ([], _) | (_, None) => Plan::Invalid,
                (_, Some(datacenter)) if word == "node" => Plan::Node {
                    name: parts.join("."),
                    datacenter,
                },
                (_, Some(datacenter)) => Plan::Query {
                    name: parts.join("."),
                    datacenter,
                },
            },
            "addr" => match parts {
                [hex] => address(hex),
                _ => Plan::Invalid,
            },
            _ => continue,
        };
    }
    Plan::Invalid
}

/// None or one label; `None` for more.
fn datacenter(suffixes: &[String]) -> Option<Option<String>> {
    match suffixes {
        [] => Some(None),
        [name] => Some(Some(name.clone())),
        _ => None,
    }
}

fn service(parts: &[String], suffixes: &[String]) -> Plan {
    let (Some(datacenter), Some((last, before))) = (datacenter(suffixes), parts.split_last())
    else {
        return Plan::Invalid;
    };
    let (name, tag) = match before {
        [first] if first.starts_with('_') && last.starts_with('_') => {
            let tag = last.get(1..).unwrap_or_default();
            let tag = if tag == "tcp" { "" } else { tag };
            (
                first.get(1..).unwrap_or_default().to_owned(),
                tag.to_owned(),
            )
        }
        _ => (last.clone(), before.join(".")),
    };
    Plan::Service {
        name,
        tag,
        datacenter,
        connect: false,
        ingress: false,
    }
}

/// An address in hexadecimal. As in Consul, the length is halved before it is compared, so that an odd
/// one reaches the decoder and fails there.
fn address(hex: &str) -> Plan {
    let decode = || crate::codec::base64::decode_hex(hex.as_bytes());
    match hex.len() / 2 {
        4 => match decode().and_then(|b| <[u8; 4]>::try_from(b).ok()) {
            Some(b) => Plan::Address(IpAddr::V4(Ipv4Addr::from(b))),
            None => Plan::Invalid,
        },
        16 => match decode().and_then(|b| <[u8; 16]>::try_from(b).ok()) {
            Some(b) => Plan::Address(IpAddr::V6(Ipv6Addr::from(b))),
            None => Plan::Invalid,
        },
        _ => Plan::NoAddress,
    }
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` spells.
pub fn reverse(labels: Labels<'_>) -> Option<IpAddr> {
    let labels: Vec<&[u8]> = labels.collect();
    let (zone, digits) = labels.split_last()?;
    let text = |label: &[u8]| std::str::from_utf8(label).ok().map(str::to_owned);
    if zone.eq_ignore_ascii_case(b"in-addr") {
        let parts: Option<Vec<String>> = digits.iter().rev().map(|l| text(l)).collect();
        let parts = parts.filter(|p| p.len() == 4)?;
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    if !zone.eq_ignore_ascii_case(b"ip6") || digits.len() != 32 {
        return None;
    }
    let mut value: u128 = 0;
    for label in digits.iter().rev() {
        let [digit] = label else {
            return None;
        };
        value = value << 4 | u128::from((*digit as char).to_digit(16)?);
    }
    Some(IpAddr::V6(Ipv6Addr::from(value)))
}

#[cfg(test)]
mod tests {
    use super::super::name::Name;
    use super::*;

    fn ask(text: &str, rtype: Rtype) -> Plan {
        plan(Name::parse(text).unwrap().labels(), rtype)
    }

    fn service_of(name: &str, tag: &str, dc: Option<&str>) -> Plan {
        Plan::Service {
            name: name.into(),
            tag: tag.into(),
            datacenter: dc.map(Into::into),
            connect: false,
            ingress: false,
        }
    }

    #[test]
    fn names_become_plans() {
        for (text, rtype, wanted) in [
            ("Web.Service", Rtype::A, service_of("web", "", None)),
            (
                "a.B.web.service.dc1",
                Rtype::A,
                service_of("web", "a.b", Some("dc1")),
            ),
            ("_web._tcp", Rtype::SRV, service_of("web", "", None)),
            (
                "_web._udp.dc1",
                Rtype::SRV,
                service_of("web", "udp", Some("dc1")),
            ),
            ("_web._tcp.service", Rtype::A, service_of("web", "", None)),
            (
                "_web._v1.service",
                Rtype::SRV,
                service_of("web", "v1", None),
            ),
            ("_web", Rtype::SRV, service_of("_web", "", None)),
            ("_web.service", Rtype::A, service_of("_web", "", None)),
            ("_web._tcp", Rtype::A, Plan::Invalid),
            ("service", Rtype::A, Plan::Invalid),
            ("web.service.dc1.x", Rtype::A, Plan::Invalid),
            ("foo", Rtype::A, Plan::Invalid),
            ("", Rtype::A, Plan::Invalid),
            ("node", Rtype::A, Plan::Invalid),
            ("x.0a090807.addr", Rtype::A, Plan::Invalid),
            ("zz090807.addr", Rtype::A, Plan::Invalid),
            ("0a0908071.addr", Rtype::A, Plan::Invalid),
            ("0a0908.addr", Rtype::A, Plan::NoAddress),
            (
                "0A090807.addr.x.y",
                Rtype::A,
                Plan::Address([10, 9, 8, 7].into()),
            ),
        ] {
            assert_eq!(ask(text, rtype), wanted, "{text}");
        }
        let node = Plan::Node {
            name: "a.b".into(),
            datacenter: Some("dc2".into()),
        };
        assert_eq!(ask("A.b.node.dc2", Rtype::A), node);
        assert!(
            matches!(ask("x.web.connect", Rtype::A), Plan::Service { name, connect: true, .. } if name == "web")
        );
        assert!(
            matches!(ask("web-q.query", Rtype::A), Plan::Query { name, .. } if name == "web-q")
        );
    }

    #[test]
    fn reverse_names_become_addresses() {
        let ask = |text: &str| reverse(Name::parse(text).unwrap().labels());
        assert_eq!(ask("1.2.0.127.in-addr"), Some([127, 0, 2, 1].into()));
        assert_eq!(ask("2.0.127.in-addr"), None);
        assert_eq!(ask("x.2.0.127.in-addr"), None);
        assert_eq!(ask("foo"), None);
        let v6 = "7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6";
        assert_eq!(ask(v6), "2001:db8::17".parse().ok());
        assert_eq!(ask("7.1.ip6"), None);
    }
}
