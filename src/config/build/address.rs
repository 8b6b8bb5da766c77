//! Where the agent listens and how others reach it.
//!
//! Addresses may be templates and may be lists with spaces between; names of hosts are never taken.
//! Source: `docs/reference/config.md` sections 9 and 10.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Builder;
use crate::config::decode::multierror;
use crate::config::runtime::{Address, ListenAddr, Ports, StringMap};
use crate::config::sockaddr::{self, Interface};
use crate::structs::go::quote;

/// Networks that the search for an address of one's own takes for private.
const PRIVATE: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
    "fec0::/10",
    "2001:db8::/32",
];

/// All addresses of the configuration.
pub(super) struct Addresses {
    pub bind: IpAddr,
    pub advertise_lan: IpAddr,
    pub advertise_wan: IpAddr,
    pub tagged: StringMap,
    pub clients: Vec<IpAddr>,
    pub dns: Vec<SocketAddr>,
    pub http: Vec<ListenAddr>,
    pub https: Vec<ListenAddr>,
    pub grpc: Vec<ListenAddr>,
    pub serf_lan: IpAddr,
    pub serf_wan: IpAddr,
    pub ports: Ports,
}

/// Of what is in brackets only the address that means all is taken.
fn bare(part: &str) -> &str {
    match part {
        "[::]" => "::",
        other => other,
    }
}

impl Builder<'_> {
    /// Decides all addresses.
    ///
    /// # Errors
    /// Consul's text where it stops at once.
    pub(super) fn addresses(&mut self) -> Result<Addresses, String> {
        let ports = self.ports()?;
        let bind = self.bind_addr()?;
        let advertise = self.first_ip("advertise_addr", "advertise_addr");
        let serf_lan = self.first_ip("serf_lan", "serf_lan").unwrap_or(bind);
        let serf_wan = self.first_ip("serf_wan", "serf_wan").unwrap_or(bind);
        let wan_key = if self.is_set("advertise_addr_wan") {
            "advertise_addr_wan"
        } else {
            "advertise_addr"
        };
        let advertise_wan = self.first_ip(wan_key, wan_key);
        if advertise.is_some_and(|ip| ip.is_unspecified()) {
            return Err("Advertise address cannot be 0.0.0.0, :: or [::]".to_owned());
        }
        if advertise_wan.is_some_and(|ip| ip.is_unspecified()) {
            return Err("Advertise WAN address cannot be 0.0.0.0, :: or [::]".to_owned());
        }
        let advertise_lan = match advertise {
            Some(ip) => ip,
            None if bind.is_unspecified() => detect(bind, &self.host.interfaces)?,
            None => bind,
        };
        let advertise_wan = advertise_wan.unwrap_or(advertise_lan);
        let tagged = self.tagged_addresses(advertise_lan, advertise_wan)?;

        let clients = self.client_addrs();
        let dns = self.listeners("addresses.dns", &clients, ports.dns);
        let http = self.listeners("addresses.http", &clients, ports.http);
        let https = self.listeners("addresses.https", &clients, ports.https);
        let grpc = self.listeners("addresses.grpc", &clients, ports.grpc);
        Ok(Addresses {
            bind,
            advertise_lan,
            advertise_wan,
            tagged,
            clients,
            // A unix socket here is refused by the rules; what is kept no longer matters then.
            dns: dns
                .into_iter()
                .filter_map(|addr| match addr {
                    ListenAddr::Ip(addr) => Some(addr),
                    ListenAddr::Unix(_) => None,
                })
                .collect(),
            http,
            https,
            grpc,
            serf_lan,
            serf_wan,
            ports,
        })
    }

    fn port(&mut self, path: &str, default: i64) -> Option<u16> {
        let port = self.int(path, default);
        if port <= 0 {
            return None;
        }
        match u16::try_from(port) {
            Ok(port) => Some(port),
            Err(_) => {
                self.error(format!("{path}: invalid port: {port}"));
                None
            }
        }
    }

    fn ports(&mut self) -> Result<Ports, String> {
        let ports = Ports {
            dns: self.port("ports.dns", 8600),
            http: self.port("ports.http", 8500),
            https: self.port("ports.https", -1),
            server: self.port("ports.server", 8300).unwrap_or(0),
            grpc: self.port("ports.grpc", -1),
            grpc_tls: self.port("ports.grpc_tls", -1),
            serf_lan: self.port("ports.serf_lan", 8301).unwrap_or(0),
            serf_wan: self.port("ports.serf_wan", 8302),
            sidecar_min: 0,
            sidecar_max: 0,
            expose_min: 0,
            expose_max: 0,
        };
        self.port_range("proxy", 20000, 20255)?;
        let (sidecar_min, sidecar_max) = self.port_range("sidecar", 21000, 21255)?;
        let (expose_min, expose_max) = self.port_range("expose", 21500, 21755)?;
        Ok(Ports {
            sidecar_min,
            sidecar_max,
            expose_min,
            expose_max,
            ..ports
        })
    }

    fn port_range(&mut self, name: &str, min: i64, max: i64) -> Result<(u16, u16), String> {
        let (low, high) = (
            format!("ports.{name}_min_port"),
            format!("ports.{name}_max_port"),
        );
        if self.int(&low, min).max(-1) > self.int(&high, max).max(-1) {
            return Err(format!(
                "{name}_min_port must be less than {name}_max_port. To disable, set both to zero."
            ));
        }
        let min = self.port(&low, min).unwrap_or(0);
        let max = self.port(&high, max).unwrap_or(0);
        Ok((min, max))
    }

    /// The text with its templates replaced; a failure is gathered.
    fn expand(&mut self, name: &str, text: &str) -> Option<String> {
        match sockaddr::parse(text, &self.host.interfaces) {
            Ok(text) => Some(text),
            Err(error) => {
                self.error(format!("{name}: error parsing {}: {error}", quote(text)));
                None
            }
        }
    }

    /// The addresses a setting lists.
    fn addrs(&mut self, path: &str, name: &str, default: &str) -> Vec<Address> {
        let text = self.str(path, default);
        let Some(text) = self.expand(name, &text) else {
            return Vec::new();
        };
        let mut addrs = Vec::new();
        for part in text.split_whitespace() {
            if let Some(path) = part.strip_prefix("unix://") {
                addrs.push(Address::Unix(PathBuf::from(path)));
            } else if let Ok(ip) = bare(part).parse() {
                addrs.push(Address::Ip(ip));
            } else {
                self.error(format!("{name}: invalid ip address: {part}"));
                return Vec::new();
            }
        }
        addrs
    }

    /// The IP addresses a setting lists.
    fn ips(&mut self, path: &str, name: &str, default: &str) -> Vec<IpAddr> {
        let mut ips = Vec::new();
        for addr in self.addrs(path, name, default) {
            match addr {
                Address::Ip(ip) => ips.push(ip),
                Address::Unix(_) => {
                    self.error(format!("{name} cannot be a unix socket"));
                    return Vec::new();
                }
            }
        }
        ips
    }

    /// The one IP address a setting may have.
    fn first_ip(&mut self, path: &str, name: &str) -> Option<IpAddr> {
        let ips = self.ips(path, name, "");
        if ips.len() > 1 {
            let list: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
            self.error(format!(
                "{name}: multiple addresses found: {}",
                list.join(" ")
            ));
            return None;
        }
        ips.first().copied()
    }

    fn bind_addr(&mut self) -> Result<IpAddr, String> {
        match self.addrs("bind_addr", "bind_addr", "0.0.0.0").as_slice() {
            [] => Err("bind_addr cannot be empty".to_owned()),
            [Address::Ip(ip)] => Ok(*ip),
            [Address::Unix(_)] => Err("bind_addr cannot be a unix socket".to_owned()),
            _ => Err("bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.".to_owned()),
        }
    }

    fn client_addrs(&mut self) -> Vec<IpAddr> {
        self.ips("client_addr", "client_addr", "127.0.0.1")
    }

    /// Where a client interface listens: its own addresses, else those of all client interfaces.
    fn listeners(&mut self, path: &str, clients: &[IpAddr], port: Option<u16>) -> Vec<ListenAddr> {
        let mut own = self.addrs(path, path, "");
        if own.is_empty() {
            own = clients.iter().map(|ip| Address::Ip(*ip)).collect();
        }
        let Some(port) = port else { return Vec::new() };
        let addrs = own.into_iter().map(|addr| match addr {
            Address::Ip(ip) => ListenAddr::Ip(SocketAddr::new(ip, port)),
            Address::Unix(path) => ListenAddr::Unix(path),
        });
        addrs.collect()
    }

    fn tagged_addresses(&mut self, lan: IpAddr, wan: IpAddr) -> Result<StringMap, String> {
        let mut tagged = self.string_map("tagged_addresses");
        tagged.insert("lan".to_owned(), lan.to_string());
        tagged.insert("wan".to_owned(), wan.to_string());
        // Consul 1.8 takes the WAN's IPv6 address from the LAN's setting.
        let wan6 = ["advertise_addr_wan_ipv6", "advertise_addr_ipv6"]
            .into_iter()
            .find(|path| self.is_set(path));
        for (tag, path, name, family, primary) in [
            (
                "lan_ipv4",
                "advertise_addr_ipv4",
                "advertise_addr_ipv4",
                4,
                lan,
            ),
            (
                "lan_ipv6",
                "advertise_addr_ipv6",
                "advertise_addr_ipv6",
                6,
                lan,
            ),
            (
                "wan_ipv4",
                "advertise_addr_wan_ipv4",
                "advertise_addr_wan_ipv4",
                4,
                wan,
            ),
            (
                "wan_ipv6",
                wan6.unwrap_or("advertise_addr_wan_ipv6"),
                "advertise_addr_wan_ipv6",
                6,
                wan,
            ),
        ] {
            let fits = |ip: &IpAddr| ip.is_ipv4() == (family == 4);
            match self.first_ip(path, name) {
                Some(ip) if fits(&ip) => {
                    tagged.insert(tag.to_owned(), ip.to_string());
                }
                Some(_) => return Err(format!("{name} must be an ipv{family} address")),
                None if fits(&primary) => {
                    tagged.insert(tag.to_owned(), primary.to_string());
                }
                None => {}
            }
        }
        Ok(tagged)
    }

    /// The entries of a list that may hold templates; what a template results in is split at spaces.
    pub(super) fn expanded_list(&mut self, path: &str) -> Vec<String> {
        let mut list = Vec::new();
        for text in self.strings(path) {
            match self.expand(path, &text) {
                // What is no template stays whole: settings of a discovery provider have spaces.
                Some(same) if same == text => list.push(text),
                Some(expanded) => list.extend(expanded.split_whitespace().map(str::to_owned)),
                None => {}
            }
        }
        list
    }

    /// The upstream DNS servers, without repetition.
    pub(super) fn recursors(&mut self) -> Result<Vec<String>, String> {
        let mut list: Vec<String> = Vec::new();
        for text in self.strings("recursors") {
            let expanded = sockaddr::parse(&text, &self.host.interfaces).map_err(|error| {
                format!("Invalid DNS recursor template {}: {error}", quote(&text))
            })?;
            for one in expanded.split_whitespace() {
                if one.starts_with("unix://") {
                    return Err(format!("DNS Recursors cannot be unix sockets: {one}"));
                }
                if !list.iter().any(|known| known == one) {
                    list.push(one.to_owned());
                }
            }
        }
        Ok(list)
    }

    /// Networks from which gossip is taken.
    pub(super) fn serf_cidrs(&self, path: &str) -> Result<Vec<(IpAddr, u8)>, String> {
        let (mut networks, mut wrong) = (Vec::new(), Vec::new());
        for text in self.strings(path) {
            match super::cidr(&text) {
                Some(network) => networks.push(network),
                None => wrong.push(format!("invalid cidr: {text}")),
            }
        }
        if wrong.is_empty() {
            Ok(networks)
        } else {
            Err(format!("{path}: {}", multierror(&wrong)))
        }
    }
}

/// Addresses of interfaces that are up and lead out of this machine.
pub(super) fn outside(interfaces: &[Interface]) -> Vec<&Interface> {
    let leads_out = |one: &&Interface| one.up && !one.loopback;
    interfaces.iter().filter(leads_out).collect()
}

/// Finds the one address by which others can reach an agent that listens on all of them.
fn detect(bind: IpAddr, interfaces: &[Interface]) -> Result<IpAddr, String> {
    let private = |ip: IpAddr| {
        PRIVATE
            .iter()
            .filter_map(|text| super::cidr(text))
            .any(|(net, length)| {
                super::cidr(&format!("{ip}/{length}")).is_some_and(|(own, _)| own == net)
            })
    };
    let mut candidates = outside(interfaces);
    if candidates.is_empty() {
        candidates = interfaces.iter().filter(|one| one.up).collect();
    }
    let v4 = bind.is_ipv4();
    let fits = |one: &&Interface| one.ip.is_ipv4() == v4 && private(one.ip) == v4;
    let found: Vec<IpAddr> = candidates
        .into_iter()
        .filter(fits)
        .map(|one| one.ip)
        .collect();
    let what = if v4 { "private IPv4" } else { "public IPv6" };
    match found.as_slice() {
        [] => Err(format!("No {what} address found")),
        [ip] => Ok(*ip),
        _ => Err(format!(
            "Multiple {what} addresses found. Please configure one with 'bind' and/or 'advertise'."
        )),
    }
}
