//! Lookup results to records: the pure part of answering.
//!
//! Source: `docs/reference/dns.md` sections 3 to 5, 8, 9 and 15.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;

use domain::base::iana::Rtype;

use super::message::{Code, Data, Record, Reply, SoaData};
use super::name::Name;
use super::request::Request;
use super::settings::Settings;
use crate::structs::go::Map;
use crate::structs::{CheckServiceNode, HealthCheck, Node, NodeService, ServiceAddress};

/// Which address families an answer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Families {
    v4: bool,
    v6: bool,
}

fn families(rtype: Rtype) -> Families {
    Families {
        v4: rtype != Rtype::AAAA,
        v6: rtype != Rtype::A,
    }
}

/// What answers say of one instance of a service.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its node, without what answers do not tell.
    pub node: Node,
    /// `<node>.node.<dc>.<domain>`, if DNS can say it.
    pub node_name: Option<Name>,
    address: String,
    tagged_addresses: Map<ServiceAddress>,
    port: i64,
    /// For SRV records.
    weight: u16,
}

impl Instance {
    /// From what the catalog says.
    pub fn new(settings: &Settings, found: CheckServiceNode) -> Option<Self> {
        let (mut node, service) = (found.node?, found.service?);
        node.id = String::new();
        Some(Self {
            node_name: node_name(settings, &node),
            node,
            weight: weight(found.checks.as_deref().unwrap_or_default(), &service),
            address: service.address,
            tagged_addresses: service.tagged_addresses.filter(|t| !t.is_empty()),
            port: service.port,
        })
    }
}

/// Where an answer points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Address(IpAddr),
    /// A name outside of this answer.
    Host(Name),
}

impl Target {
    /// From an address as it was registered: an IP address or a host name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(ip) => Some(Self::Address(ip)),
            Err(_) => Name::parse(text).filter(|n| !n.is_root()).map(Self::Host),
        }
    }
}

/// The record for an address.
pub fn address_data(ip: IpAddr) -> Data {
    match ip {
        IpAddr::V4(ip) => Data::A(ip),
        // As Go prints and packs them, mapped addresses are IPv4.
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => Data::A(ip),
            None => Data::Aaaa(ip),
        },
    }
}

/// Picks an address by family; empty texts count as missing.
fn pick<'a>(
    families: Families,
    default: &'a str,
    v4: Option<&'a str>,
    v6: Option<&'a str>,
) -> &'a str {
    let given = |text: Option<&'a str>| text.filter(|t| !t.is_empty());
    match (given(v6), given(v4)) {
        (Some(v6), _) if families.v6 => v6,
        (_, Some(v4)) if families.v4 => v4,
        _ => default,
    }
}

/// Whether tagged WAN addresses take the place of the others.
fn wan(settings: &Settings, datacenter: &str) -> bool {
    settings.translate_wan_addrs && datacenter != settings.datacenter
}

/// The address under which a node is to be reached from here.
pub fn node_address<'a>(
    settings: &Settings,
    datacenter: &str,
    node: &'a Node,
    rtype: Rtype,
) -> &'a str {
    let tagged = |tag: &str| {
        let text = node.tagged_addresses.as_ref()?.get(tag)?;
        (!text.is_empty()).then_some(text.as_str())
    };
    let mut default = node.address.as_str();
    let (mut v4, mut v6) = (tagged("lan_ipv4"), tagged("lan_ipv6"));
    if wan(settings, datacenter) {
        default = tagged("wan").unwrap_or(default);
        v4 = tagged("wan_ipv4").or(v4);
        v6 = tagged("wan_ipv6").or(v6);
    }
    pick(families(rtype), default, v4, v6)
}

/// The address that a service instance has of its own, empty for none.
fn service_address<'a>(settings: &Settings, service: &'a Instance, rtype: Rtype) -> &'a str {
    let tagged = |tag: &str| {
        let text = &service.tagged_addresses.as_ref()?.get(tag)?.address;
        (!text.is_empty()).then_some(text.as_str())
    };
    let mut default = service.address.as_str();
    let (mut v4, mut v6) = (tagged("lan_ipv4"), tagged("lan_ipv6"));
    if wan(settings, &service.node.datacenter) {
        default = tagged("wan").unwrap_or(default);
        v4 = tagged("wan_ipv4").or(v4);
        v6 = tagged("wan_ipv6").or(v6);
    }
    pick(families(rtype), default, v4, v6)
}

fn service_port(settings: &Settings, service: &Instance) -> i64 {
    let tagged = service.tagged_addresses.as_ref();
    let is_wan = wan(settings, &service.node.datacenter);
    match tagged.and_then(|t| t.get("wan")) {
        Some(wan_address) if is_wan && wan_address.port != 0 => wan_address.port,
        _ => service.port,
    }
}

/// Whether an instance may be named in answers.
pub fn healthy(instance: &CheckServiceNode, only_passing: bool) -> bool {
    let mut checks = instance.checks.iter().flatten();
    !checks.any(|check| check.status == "critical" || only_passing && check.status != "passing")
}

/// The SRV weight of an instance by the worst of its checks.
fn weight(checks: &[HealthCheck], service: &NodeService) -> u16 {
    let (passing, warning) = match &service.weights {
        Some(w) => (w.passing, w.warning),
        None => (1, 1),
    };
    let of = |check: &HealthCheck| match check.status.as_str() {
        "passing" => 0,
        "warning" => 1,
        "critical" | "maintenance" => 2,
        _ => 3,
    };
    let worst = checks.iter().map(of);
    match worst.clone().find(|w| *w == 3).or(worst.max()) {
        None | Some(0) => clamp(passing),
        Some(1) => clamp(warning),
        Some(2) => 0,
        Some(_) => 1,
    }
}

fn clamp(v: i64) -> u16 {
    u16::try_from(v.max(0)).unwrap_or(u16::MAX)
}

/// Where an instance is to be reached, and whether that is its node's own address.
struct Reach {
    target: Target,
    /// The node's own registered address: SRV then names the node.
    is_node: bool,
}

fn reach(settings: &Settings, request: &Request, instance: &Instance) -> Option<Reach> {
    let node = &instance.node;
    let own = service_address(settings, instance, request.rtype);
    let at_node = node_address(settings, &node.datacenter, node, request.rtype);
    if let Some(target) = Target::parse(own) {
        // A service whose address is the very name asked for would lead nowhere.
        let itself = matches!(&target, Target::Host(name) if name.wire() == request.name.wire());
        if !itself {
            return Some(Reach {
                target,
                is_node: false,
            });
        }
    }
    Some(Reach {
        target: Target::parse(at_node)?,
        is_node: at_node == node.address,
    })
}

/// What an answer has already. Few are scanned, many are hashed.
struct Seen<T> {
    few: Vec<T>,
    many: HashSet<T>,
}

/// Up to this many a scan is quicker than a hash.
const FEW: usize = 8;

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self {
            few: Vec::new(),
            many: HashSet::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> Seen<T> {
    fn is_new(&mut self, item: T) -> bool {
        if self.many.is_empty() && self.few.len() < FEW {
            let is_new = !self.few.contains(&item);
            if is_new {
                self.few.push(item);
            }
            return is_new;
        }
        self.many.extend(self.few.drain(..));
        self.many.insert(item)
    }
}

/// One answer of a service lookup that is no SRV: an address, or a name that is still to be resolved.
pub fn service_targets(
    settings: &Settings,
    request: &Request,
    instances: &[&Instance],
) -> Vec<Target> {
    let mut addresses = Vec::with_capacity(instances.len());
    let mut seen = Seen::default();
    let mut host = None;
    for instance in instances {
        match reach(settings, request, instance).map(|r| r.target) {
            Some(Target::Address(ip)) => {
                let is_new = seen.is_new(ip);
                if is_new && request.accepts(ip.to_canonical()) {
                    addresses.push(Target::Address(ip));
                    if addresses.len() == settings.a_record_limit {
                        break;
                    }
                }
            }
            Some(name) => host = host.or(Some(name)),
            None => {}
        }
    }
    match host {
        Some(host) if addresses.is_empty() => vec![host],
        _ => addresses,
    }
}

/// One SRV answer.
pub struct SrvAnswer {
    pub record: Record,
    /// The name that the record points to.
    pub name: Name,
    pub target: Target,
    /// The node's metadata as TXT records.
    pub texts: Vec<Record>,
}

/// The SRV answers of a service lookup.
pub fn srv_answers(
    settings: &Settings,
    request: &Request,
    instances: &[&Instance],
    ttl: u32,
) -> Vec<SrvAnswer> {
    let mut out: Vec<SrvAnswer> = Vec::with_capacity(instances.len());
    let mut seen = Seen::default();
    for instance in instances {
        let node = &instance.node;
        if !seen.is_new((&node.node, &instance.address, instance.port)) {
            continue;
        }
        let Some(reach) = reach(settings, request, instance) else {
            continue;
        };
        let node_name = &instance.node_name;
        let name = match &reach.target {
            Target::Host(name) => Some(name.clone()),
            Target::Address(_) if reach.is_node => node_name.clone(),
            Target::Address(ip) => address_name(settings, &node.datacenter, *ip),
        };
        let Some(name) = name else {
            log::warn!(target: "agent.dns", "Node name cannot be expressed in DNS: node={}", node.node);
            continue;
        };
        let srv = Data::Srv {
            weight: instance.weight,
            port: service_port(settings, instance) as u16,
            target: name.clone(),
        };
        out.push(SrvAnswer {
            record: Record::of_question(ttl, srv),
            name,
            target: reach.target,
            texts: match node_name {
                Some(owner) if settings.enable_additional_node_meta_txt => {
                    node_texts(node, Some(owner), ttl)
                }
                _ => Vec::new(),
            },
        });
    }
    out
}

/// `<node>.node.<dc>.<domain>`.
pub fn node_name(settings: &Settings, node: &Node) -> Option<Name> {
    Name::parse(&format!("{}.node.{}", node.node, node.datacenter))?.under(&settings.domain)
}

/// `<hex>.addr.<dc>.<domain>`.
fn address_name(settings: &Settings, datacenter: &str, ip: IpAddr) -> Option<Name> {
    let hex = match ip.to_canonical() {
        IpAddr::V4(ip) => crate::codec::base64::hex(&ip.octets()),
        IpAddr::V6(ip) => crate::codec::base64::hex(&ip.octets()),
    };
    Name::parse(&format!("{hex}.addr.{datacenter}"))?.under(&settings.domain)
}

/// The node's metadata as TXT records in random order, as Consul's maps give them.
pub fn node_texts(node: &Node, owner: Option<&Name>, ttl: u32) -> Vec<Record> {
    let mut texts: Vec<Record> = node
        .meta
        .iter()
        .flatten()
        .map(|(key, value)| Record {
            owner: owner.cloned(),
            ttl,
            data: Data::Txt(rfc1464(key, value)),
        })
        .collect();
    fastrand::shuffle(&mut texts);
    texts
}

/// RFC 1464's `key=value`, or the bare value of a key that begins with `rfc1035-`.
fn rfc1464(key: &str, value: &str) -> String {
    let bare = key
        .get(..8)
        .is_some_and(|p| p.eq_ignore_ascii_case("rfc1035-"));
    if bare {
        return value.to_owned();
    }
    let inner = key.trim_matches(' ');
    let leading = key.len() - key.trim_start_matches(' ').len();
    let trailing = if inner.is_empty() {
        0
    } else {
        key.len() - key.trim_end_matches(' ').len()
    };
    let mut out = "` ".repeat(leading);
    for c in inner.chars() {
        if matches!(c, '`' | '=') {
            out.push('`');
        }
        out.push(c);
    }
    out.push_str(&"` ".repeat(trailing));
    out.push('=');
    out.push_str(&value.replace('`', "``"));
    out
}

/// The name of an `addr` answer: the question in lower case, in the primary domain.
pub fn address_owner(settings: &Settings, request: &Request) -> Option<Name> {
    let left = zone_part(settings, &request.name)?;
    let lower = Name::from_labels(left)?.to_lowercase();
    lower.under(&settings.domain)
}

/// What stands left of the longer of domain and alternative domain that the name is in.
pub fn zone_part<'a>(settings: &Settings, name: &'a Name) -> Option<super::name::Labels<'a>> {
    let primary = &settings.domain;
    let (longer, shorter) = match &settings.alt_domain {
        Some(alt) if alt.wire().len() > primary.wire().len() => (alt, Some(primary)),
        alt => (primary, alt.as_ref()),
    };
    name.left_of(longer)
        .or_else(|| shorter.and_then(|zone| name.left_of(zone)))
}

/// The SOA record of the domain; `serial` is the Unix time in seconds.
pub fn soa(settings: &Settings, serial: u32) -> Option<Record> {
    let data = SoaData {
        mname: Name::parse("ns")?.under(&settings.domain)?,
        rname: Name::parse("hostmaster")?.under(&settings.domain)?,
        serial,
        refresh: settings.soa.refresh,
        retry: settings.soa.retry,
        expire: settings.soa.expire,
        minimum: settings.soa.min_ttl,
    };
    Some(Record::of(
        settings.domain.clone(),
        settings.soa.min_ttl,
        Data::Soa(Box::new(data)),
    ))
}

/// Makes a reply negative: the code, and the SOA that tells how long that holds.
pub fn negative(settings: &Settings, serial: u32, code: Code, reply: &mut Reply) {
    reply.code = code;
    reply.authority.extend(soa(settings, serial));
}

/// Whether DNS can say a node's name without escapes, as NS records demand it.
pub fn plain_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_written_by_rfc_1464() {
        for (key, value, wanted) in [
            ("env", "prod", "env=prod"),
            ("k=1", "v`x", "k`=1=v``x"),
            ("rfc1035-foo", "a=`b", "a=`b"),
            ("RFC1035-", "x", "x"),
            (" a ", "b", "` a` =b"),
            ("", "", "="),
        ] {
            assert_eq!(rfc1464(key, value), wanted);
        }
    }
}
