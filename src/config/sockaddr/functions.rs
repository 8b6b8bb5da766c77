//! The functions of address templates.
//!
//! Source: the README of go-sockaddr; orders and error texts observed on Consul 1.8.7.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex_lite::{Regex, RegexBuilder};

use super::interface::{Interface, contains, network, rfc};
use crate::structs::go::quote;

/// What a command of a pipeline results in.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Interfaces(Vec<Interface>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Number(number) => write!(f, "{number}"),
            Value::Interfaces(list) => {
                let each: Vec<String> = list
                    .iter()
                    .map(|one| attribute(one, "string").unwrap_or_default())
                    .collect();
                write!(f, "[{}]", each.join(" "))
            }
        }
    }
}

/// What a parameter takes.
#[derive(Clone, Copy)]
pub(super) enum Parameter {
    Text,
    Unsigned,
    Signed,
    Interfaces,
}

impl Parameter {
    pub fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Parameter::Text, Value::Text(_))
            | (Parameter::Signed, Value::Number(_))
            | (Parameter::Interfaces, Value::Interfaces(_)) => true,
            (Parameter::Unsigned, Value::Number(number)) => *number >= 0,
            // The reference lists counts given as text too.
            (Parameter::Unsigned | Parameter::Signed, Value::Text(text)) => {
                text.parse::<i64>().is_ok()
            }
            _ => false,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Parameter::Text => "string",
            Parameter::Unsigned => "unsigned integer",
            Parameter::Signed => "integer",
            Parameter::Interfaces => "sockaddr.IfAddrs",
        }
    }
}

const FUNCTIONS: &[(&str, &[Parameter])] = {
    use Parameter::{Interfaces, Signed, Text, Unsigned};
    &[
        ("GetAllInterfaces", &[]),
        ("GetDefaultInterfaces", &[]),
        ("GetPrivateInterfaces", &[]),
        ("GetPublicInterfaces", &[]),
        ("GetPrivateIP", &[]),
        ("GetPrivateIPs", &[]),
        ("GetPublicIP", &[]),
        ("GetPublicIPs", &[]),
        ("GetInterfaceIP", &[Text]),
        ("GetInterfaceIPs", &[Text]),
        ("sort", &[Text, Interfaces]),
        ("include", &[Text, Text, Interfaces]),
        ("exclude", &[Text, Text, Interfaces]),
        ("limit", &[Unsigned, Interfaces]),
        ("offset", &[Signed, Interfaces]),
        ("unique", &[Text, Interfaces]),
        ("math", &[Text, Text, Interfaces]),
        ("attr", &[Text, Interfaces]),
        ("join", &[Text, Text, Interfaces]),
    ]
};

pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}

pub(super) fn parameters(name: &str) -> &'static [Parameter] {
    FUNCTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(&[], |(_, parameters)| parameters)
}

/// Calls a function with arguments that fit its parameters.
pub(super) fn call(name: &str, arguments: &[Value], all: &[Interface]) -> Result<Value, String> {
    let text = |at: usize| match arguments.get(at) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    let number = |at: usize| match arguments.get(at) {
        Some(Value::Number(number)) => *number,
        Some(Value::Text(text)) => text.parse().unwrap_or(0),
        _ => 0,
    };
    let list = || match arguments.last() {
        Some(Value::Interfaces(list)) => list.clone(),
        _ => Vec::new(),
    };
    let first = |list: Vec<Interface>| {
        Value::Text(
            list.first()
                .map(|one| one.ip.to_string())
                .unwrap_or_default(),
        )
    };
    let joined = |list: &[Interface], attr: &str, by: &str| -> Result<Value, String> {
        let each: Vec<String> = list
            .iter()
            .map(|one| attribute(one, attr))
            .collect::<Result<_, _>>()?;
        Ok(Value::Text(each.join(by)))
    };
    match name {
        "GetAllInterfaces" => Ok(Value::Interfaces(all.to_vec())),
        "GetDefaultInterfaces" => {
            let list: Vec<Interface> = all
                .iter()
                .filter(|one| one.default_route)
                .cloned()
                .collect();
            if list.is_empty() {
                Err("No default interface found".to_owned())
            } else {
                Ok(Value::Interfaces(list))
            }
        }
        "GetPrivateInterfaces" => usable(all, true).map(Value::Interfaces),
        "GetPublicInterfaces" => usable(all, false).map(Value::Interfaces),
        "GetPrivateIP" => usable(all, true).map(first),
        "GetPublicIP" => usable(all, false).map(first),
        "GetPrivateIPs" => joined(&usable(all, true)?, "address", " "),
        "GetPublicIPs" => joined(&usable(all, false)?, "address", " "),
        "GetInterfaceIP" => {
            let list = filter(all.to_vec(), "name", text(0), true)?;
            let list = sort(list, "type,size")?;
            Ok(first(
                list.into_iter().filter(Interface::is_forwardable).collect(),
            ))
        }
        "GetInterfaceIPs" => {
            let list = filter(all.to_vec(), "name", text(0), true)?;
            joined(&sort(list, "type,size")?, "address", " ")
        }
        "sort" => sort(list(), text(0)).map(Value::Interfaces),
        "include" => filter(list(), text(0), text(1), true).map(Value::Interfaces),
        "exclude" => filter(list(), text(0), text(1), false).map(Value::Interfaces),
        "limit" => {
            let count = usize::try_from(number(0)).unwrap_or(0);
            Ok(Value::Interfaces(list().into_iter().take(count).collect()))
        }
        "offset" => offset(list(), number(0)).map(Value::Interfaces),
        "unique" => unique(list(), text(0)).map(Value::Interfaces),
        "math" => math(list(), text(0), text(1)).map(Value::Interfaces),
        "attr" => list()
            .first()
            .map_or(Ok(String::new()), |one| attribute(one, text(0)))
            .map(Value::Text),
        "join" => joined(&list(), text(0), text(1)),
        _ => Err(format!("function {} not defined", quote(name))),
    }
}

/// Interfaces that are up, with addresses that routers pass on, private or not.
fn usable(all: &[Interface], private: bool) -> Result<Vec<Interface>, String> {
    let list = all.iter().filter(|one| one.up && one.is_forwardable());
    let list = list.filter(|one| super::interface::is_rfc6890(one.ip) == private);
    sort(list.cloned().collect(), "default,type,size")
}

/// Sorts by several keys. Not every two addresses compare (a size of IPv4 and one of IPv6 do not), so elements only
/// move past neighbours that they compare with.
fn sort(mut list: Vec<Interface>, keys: &str) -> Result<Vec<Interface>, String> {
    let mut rules: Vec<(&str, bool)> = Vec::new();
    for key in keys.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        let descending = key.starts_with('-');
        let key = key.trim_start_matches(['-', '+']);
        if ![
            "address", "default", "name", "port", "private", "size", "type",
        ]
        .contains(&key)
        {
            return Err(format!("unknown sort type: {}", quote(key)));
        }
        rules.push((key, descending));
    }
    let compare = |a: &Interface, b: &Interface| {
        rules
            .iter()
            .fold(Ordering::Equal, |so_far, (key, descending)| {
                so_far.then_with(|| {
                    let order = compare_by(key, a, b);
                    if *descending { order.reverse() } else { order }
                })
            })
    };
    for end in 1..list.len() {
        let mut at = end;
        while at > 0 && compare(&list[at], &list[at - 1]) == Ordering::Less {
            list.swap(at, at - 1);
            at -= 1;
        }
    }
    Ok(list)
}

fn compare_by(key: &str, a: &Interface, b: &Interface) -> Ordering {
    let same_family = a.ip.is_ipv4() == b.ip.is_ipv4();
    let private =
        |one: &Interface| one.ip.is_ipv6() || matches!(one.ip, IpAddr::V4(ip) if ip.is_private());
    match key {
        "address" if same_family => a.ip.cmp(&b.ip),
        "default" => b.default_route.cmp(&a.default_route),
        "name" => a.name.cmp(&b.name),
        "private" => private(b).cmp(&private(a)),
        "size" => a.compare_size(b),
        "type" => a.ip.is_ipv6().cmp(&b.ip.is_ipv6()),
        _ => Ordering::Equal,
    }
}

/// Largest compiled expression, in bytes.
const MAX_COMPILED: usize = 256 << 10;

fn compiled(expression: &str) -> Result<Regex, regex_lite::Error> {
    let mut builder = RegexBuilder::new(expression);
    builder.size_limit(MAX_COMPILED).build()
}

/// Whether an interface is meant.
type Matcher = Box<dyn Fn(&Interface) -> bool>;

/// Keeps (or drops) the interfaces that a selector matches.
fn filter(
    list: Vec<Interface>,
    selector: &str,
    value: &str,
    keep: bool,
) -> Result<Vec<Interface>, String> {
    let matches: Matcher = match selector.to_ascii_lowercase().as_str() {
        what @ ("address" | "name" | "port") => by_expression(what, value)?,
        "flag" | "flags" => by_flags(value)?,
        "network" => by_networks(value)?,
        "rfc" | "rfcs" => by_rfcs(value)?,
        "size" => {
            let prefix: u64 = value.trim_start_matches('/').parse().map_err(|_| {
                let value = quote(value);
                format!("invalid exclude size argument ({value}): strconv.ParseUint: parsing {value}: invalid syntax")
            })?;
            Box::new(move |one: &Interface| u64::from(one.prefix) == prefix)
        }
        "type" => by_type(value)?,
        _ if keep => return Err(format!("invalid include selector {}", quote(selector))),
        _ => return Err(format!("invalid exclude selector {}", quote(selector))),
    };
    Ok(list
        .into_iter()
        .filter(|one| matches(one) == keep)
        .collect())
}

fn by_expression(what: &str, value: &str) -> Result<Matcher, String> {
    let regex = compiled(value)
        .map_err(|error| format!("Unable to compile {what} regexp {}: {error}", quote(value)))?;
    Ok(match what {
        "name" => Box::new(move |one| regex.is_match(&one.name)),
        "address" => Box::new(move |one| regex.is_match(&one.ip.to_string())),
        // An interface's address has no port.
        _ => Box::new(move |_| regex.is_match("0")),
    })
}

fn by_flags(value: &str) -> Result<Matcher, String> {
    let flags: Vec<String> = value
        .split('|')
        .map(|flag| flag.trim().to_lowercase())
        .collect();
    let probe = Interface {
        name: String::new(),
        ip: Ipv4Addr::LOCALHOST.into(),
        prefix: 8,
        up: true,
        broadcast: false,
        loopback: true,
        point_to_point: false,
        multicast: false,
        default_route: false,
    };
    if let Some(flag) = flags.iter().find(|flag| probe.flag(flag).is_none()) {
        return Err(format!("Unknown interface flag: {}", quote(flag)));
    }
    Ok(Box::new(move |one| {
        flags.iter().all(|flag| one.flag(flag) == Some(true))
    }))
}

fn by_networks(value: &str) -> Result<Matcher, String> {
    let mut networks = Vec::new();
    for text in value.split('|').map(str::trim) {
        let net = network(text).ok_or_else(|| {
            format!(
                "unable to create an IP address from {}: invalid IPAddr {text}",
                quote(text)
            )
        })?;
        networks.push(net);
    }
    Ok(Box::new(move |one| {
        networks.iter().any(|net| contains(*net, one.ip))
    }))
}

fn by_rfcs(value: &str) -> Result<Matcher, String> {
    let mut networks = Vec::new();
    for number in value.split('|').map(str::trim) {
        let found = number.parse().ok().and_then(rfc).ok_or_else(|| {
            format!(
                "unable to lookup RFC number {}: unsupported RFC {number}",
                quote(number)
            )
        })?;
        networks.extend(found.iter().filter_map(|text| network(text)));
    }
    Ok(Box::new(move |one| {
        networks.iter().any(|net| contains(*net, one.ip))
    }))
}

fn by_type(value: &str) -> Result<Matcher, String> {
    let kind = value.to_ascii_lowercase();
    if !["ip", "ipv4", "ipv6", "unix"].contains(&kind.as_str()) {
        return Err(format!("unsupported type {0} {0}", quote(value)));
    }
    Ok(Box::new(move |one| match kind.as_str() {
        "ip" => true,
        "ipv4" => one.ip.is_ipv4(),
        "ipv6" => one.ip.is_ipv6(),
        _ => false,
    }))
}

fn offset(list: Vec<Interface>, count: i64) -> Result<Vec<Interface>, String> {
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if count.saturating_abs() > length {
        return Err(format!(
            "unable to seek past the end of the interface array: offset ({count}) exceeds the number of interfaces \
             ({length})"
        ));
    }
    let skip = if count < 0 { length + count } else { count };
    Ok(list
        .into_iter()
        .skip(usize::try_from(skip).unwrap_or(0))
        .collect())
}

fn unique(list: Vec<Interface>, by: &str) -> Result<Vec<Interface>, String> {
    if by != "address" && by != "name" {
        return Err(format!("unsupported unique constraint {}", quote(by)));
    }
    let mut kept: Vec<Interface> = Vec::new();
    for one in list {
        let known = |other: &Interface| {
            if by == "name" {
                other.name == one.name
            } else {
                other.ip == one.ip
            }
        };
        if !kept.iter().any(known) {
            kept.push(one);
        }
    }
    Ok(kept)
}

fn math(list: Vec<Interface>, operation: &str, value: &str) -> Result<Vec<Interface>, String> {
    let unable = |one: &Interface, reason: String| {
        let string = attribute(one, "string").unwrap_or_default();
        format!("unable to perform an IPMath operation on {string}: {reason}")
    };
    list.into_iter()
        .map(|mut one| {
            if operation != "address" && operation != "network" {
                return Err(unable(
                    &one,
                    format!("unsupported math operation: {}", quote(operation)),
                ));
            }
            if !value.starts_with(['+', '-']) {
                let reason = format!("sign (+/-) is required for operation {}", quote(operation));
                return Err(unable(&one, reason));
            }
            let amount: i128 = value.parse().map_err(|_| {
                unable(
                    &one,
                    format!("unable to convert {} to int for operation", quote(value)),
                )
            })?;
            // In a network, one counts from its start up or from beyond its end down.
            let (base, amount) = match (operation, amount < 0) {
                ("network", true) => (one.last(), amount + 1),
                ("network", false) => (one.network(), amount),
                _ => (one.ip, amount),
            };
            one.ip = match base {
                IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_add(amount as u32)).into(),
                IpAddr::V6(ip) => {
                    Ipv6Addr::from(u128::from(ip).wrapping_add(amount as u128)).into()
                }
            };
            Ok(one)
        })
        .collect()
}

/// An attribute of an address, as text.
fn attribute(one: &Interface, name: &str) -> Result<String, String> {
    let bits: u32 = if one.ip.is_ipv4() { 32 } else { 128 };
    let host_bits = bits - u32::from(one.prefix).min(bits);
    let number = match one.ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let octets: Vec<u8> = match one.ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let usable = host_bits >= 2;
    let moved = |ip: IpAddr, by: i64| match ip {
        IpAddr::V4(ip) => IpAddr::from(Ipv4Addr::from(u32::from(ip).wrapping_add(by as u32))),
        ip => ip,
    };
    Ok(match name {
        "address" | "host" => one.ip.to_string(),
        "name" => one.name.clone(),
        "flags" => one.flags(),
        "type" => if one.ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        "string" if host_bits == 0 => one.ip.to_string(),
        "string" => format!("{}/{}", one.ip, one.prefix),
        "port" => "0".to_owned(),
        "size" => 1_u128
            .checked_shl(host_bits)
            .map_or("340282366920938463463374607431768211456".into(), |n| {
                n.to_string()
            }),
        "netmask" => {
            let ones = Interface {
                ip: if bits == 32 {
                    IpAddr::V4(Ipv4Addr::BROADCAST)
                } else {
                    Ipv6Addr::from(u128::MAX).into()
                },
                ..one.clone()
            };
            ones.network().to_string()
        }
        "network" => one.network().to_string(),
        "mask_bits" => one.prefix.to_string(),
        "broadcast" if bits == 32 => one.last().to_string(),
        "first_usable" => moved(one.network(), i64::from(usable)).to_string(),
        "last_usable" => moved(one.last(), -i64::from(usable)).to_string(),
        "octets" => octets
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        "binary" if bits == 32 => format!("{number:032b}"),
        "binary" => format!("{number:0128b}"),
        "hex" if bits == 32 => format!("{number:08x}"),
        "hex" => format!("{number:032x}"),
        "uint32" if bits == 32 => number.to_string(),
        "uint128" if bits == 128 => number.to_string(),
        _ => return Err(format!("unsupported attribute name {}", quote(name))),
    })
}
