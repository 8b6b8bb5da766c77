//! The addresses of this machine's network interfaces, with what templates ask of them.
//!
//! Source: RFC 6890 and the RFCs it names; Linux' `/sys/class/net` and `/proc/net/route`.

use crate::sorted;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most addresses of a machine that are looked at.
const MAX_ADDRESSES: usize = 4096;

/// One address of one network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name of the interface, `eth0`.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// Length of the network's prefix, in bits.
    pub prefix: u8,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether it can broadcast.
    pub broadcast: bool,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Whether it is point-to-point.
    pub point_to_point: bool,
    /// Whether it can multicast.
    pub multicast: bool,
    /// Whether the default route goes over it.
    pub default_route: bool,
}

/// Networks that RFC 6890 sets apart: private, shared, local, for documentation.
const RFC6890: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::1/128",
    "::/128",
    "64:ff9b::/96",
    "100::/64",
    "2001::/16",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
];
/// Networks whose addresses no router passes on.
const NOT_FORWARDABLE: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/29",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::1/128",
    "::/128",
    "::ffff:0:0/96",
    "2001:db8::/32",
    "2001:10::/28",
    "fe80::/10",
    "ff00::/8",
];

/// The networks an RFC defines, as far as templates may name it.
pub(super) fn rfc(number: u32) -> Option<&'static [&'static str]> {
    Some(match number {
        919 => &["255.255.255.255/32"],
        1122 => &["0.0.0.0/8", "127.0.0.0/8"],
        1112 => &["224.0.0.0/4"],
        1918 => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        2544 => &["198.18.0.0/15"],
        3056 => &["2002::/16"],
        3068 => &["192.88.99.0/24"],
        3927 => &["169.254.0.0/16"],
        4193 => &["fc00::/7"],
        4291 => &["::1/128", "::/128", "fe80::/10", "ff00::/8"],
        5735 => &[
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "198.18.0.0/15",
        ],
        5737 => &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
        6598 => &["100.64.0.0/10"],
        6890 => RFC6890,
        _ => return None,
    })
}

/// A network from its written form, `10.0.0.0/8`; an address alone is a network of one.
pub(super) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(most), |prefix| prefix.parse().ok())?;
    (prefix <= most).then_some((address, prefix))
}

/// Does the network hold the address?
pub(super) fn contains((net, prefix): (IpAddr, u8), ip: IpAddr) -> bool {
    let shared = |bits: u32| u32::from(prefix) == 0 || bits >= u32::from(prefix);
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            shared((u32::from(net) ^ u32::from(ip)).leading_zeros())
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            shared((u128::from(net) ^ u128::from(ip)).leading_zeros())
        }
        _ => false,
    }
}

fn in_any(networks: &[&str], ip: IpAddr) -> bool {
    networks
        .iter()
        .filter_map(|text| network(text))
        .any(|net| contains(net, ip))
}

/// Is the address private in the sense of RFC 6890?
pub fn is_rfc6890(ip: IpAddr) -> bool {
    in_any(RFC6890, ip)
}

impl Interface {
    /// May a router pass the address on?
    pub fn is_forwardable(&self) -> bool {
        !in_any(NOT_FORWARDABLE, self.ip)
    }

    /// Has it the flag of this name? `None` if there is no such flag.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        Some(match name {
            "broadcast" => self.broadcast,
            "down" => !self.up,
            "forwardable" => self.is_forwardable(),
            "global unicast" => match self.ip {
                IpAddr::V4(ip) => {
                    !ip.is_loopback()
                        && !ip.is_link_local()
                        && !ip.is_multicast()
                        && !ip.is_broadcast()
                }
                IpAddr::V6(ip) => {
                    !ip.is_loopback()
                        && !ip.is_multicast()
                        && !is_link_local(ip)
                        && !ip.is_unspecified()
                }
            },
            "interface-local multicast" => {
                matches!(self.ip, IpAddr::V6(ip) if ip.segments()[0] & 0xff0f == 0xff01)
            }
            "link-local multicast" => match self.ip {
                IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
                IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
            },
            "link-local unicast" => match self.ip {
                IpAddr::V4(ip) => ip.is_link_local(),
                IpAddr::V6(ip) => is_link_local(ip),
            },
            "loopback" => self.loopback,
            "multicast" => self.multicast,
            "point-to-point" => self.point_to_point,
            "unspecified" => self.ip.is_unspecified(),
            "up" => self.up,
            _ => return None,
        })
    }

    /// Flags in the order in which they are listed.
    pub(super) fn flags(&self) -> String {
        let flags = [
            (self.up, "up"),
            (self.broadcast, "broadcast"),
            (self.loopback, "loopback"),
            (self.point_to_point, "pointtopoint"),
            (self.multicast, "multicast"),
        ];
        let set: Vec<&str> = flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        if set.is_empty() {
            "0".to_owned()
        } else {
            set.join("|")
        }
    }

    /// First address of the network.
    pub(super) fn network(&self) -> IpAddr {
        self.masked(0)
    }

    /// Last address of the network.
    pub(super) fn last(&self) -> IpAddr {
        self.masked(u128::MAX)
    }

    /// The network's prefix with the host's bits out of `host`.
    fn masked(&self, host: u128) -> IpAddr {
        match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Ipv4Addr::from((u32::from(ip) & !mask) | (host as u32 & mask)).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Ipv6Addr::from((u128::from(ip) & !mask) | (host & mask)).into()
            }
        }
    }

    /// The size of the network as sorted by: larger first; only networks of one family compare.
    pub(super) fn compare_size(&self, other: &Interface) -> Ordering {
        if self.ip.is_ipv4() == other.ip.is_ipv4() {
            self.prefix.cmp(&other.prefix)
        } else {
            Ordering::Equal
        }
    }
}

/// RFC 4291 section 2.5.6.
fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// Asks the system for its addresses, in the order of the interfaces. An error of the system means none.
pub fn interfaces() -> Vec<Interface> {
    let default = default_interface();
    let mut found = if_addrs::get_if_addrs().unwrap_or_default();
    found.truncate(MAX_ADDRESSES);
    // IPv4 before IPv6 on each interface, otherwise as the system lists them.
    sorted::sort_by_key(&mut found, |one| (one.index, one.ip().is_ipv6()));
    found
        .into_iter()
        .map(|one| {
            let flags = flags_of(&one.name);
            let prefix = match &one.addr {
                if_addrs::IfAddr::V4(addr) => addr.prefixlen,
                if_addrs::IfAddr::V6(addr) => addr.prefixlen,
            };
            let has = |bit: i32| flags.map(|flags| flags & bit != 0);
            Interface {
                ip: one.ip(),
                prefix,
                up: has(libc::IFF_UP).unwrap_or(true),
                broadcast: has(libc::IFF_BROADCAST).unwrap_or(false),
                loopback: has(libc::IFF_LOOPBACK).unwrap_or_else(|| one.is_loopback()),
                point_to_point: one.is_p2p(),
                multicast: has(libc::IFF_MULTICAST).unwrap_or(false),
                default_route: default.as_ref() == Some(&one.name),
                name: one.name,
            }
        })
        .collect()
}

fn flags_of(name: &str) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
    i32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// The interface of the IPv4 default route.
fn default_interface() -> Option<String> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    let mut lines = routes.lines().skip(1).map(str::split_ascii_whitespace);
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.next()? == "00000000").then(|| name.to_owned())
    })
}
