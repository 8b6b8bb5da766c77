//! Finding members by multicast DNS, so that boards on one LAN find each other without an address.
//!
//! An agent that is told to look for others this way also lets itself be found: it answers who asks for its
//! service. Holds true: without such an entry in `retry_join` there is no socket and no packet; answers are
//! only looked at while a question of ours is open, and bounded in number and size.
//! Leaves to others: the messages (`message`).
//! Source: RFC 6762 sections 5.1, 6 and 6.7, RFC 6763 section 4; `docs/reference/config.md` section 21.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use smol::future::FutureExt;

use crate::config::flags::parse_bool;
use crate::drive::{self, Instant};
use crate::net::dial::errno_text;
use crate::net::multicast::{self, Link, Multicast};
use crate::structs::go::GoDuration;

use message::{Found, Instance};

/// The port of multicast DNS.
const PORT: u16 = 5353;
/// The groups of multicast DNS.
const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb));
/// Longest message.
const MAX_MESSAGE: usize = 9000;
/// How long answers are waited for unless the entry says.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long more answers are waited for after the first.
const GRACE: Duration = Duration::from_millis(300);
/// The question is asked again after this much of the time: packets get lost.
const AGAIN: Duration = Duration::from_secs(1);
/// Most members found at a time.
const MAX_FOUND: usize = 64;
/// Answers given in a second, at most.
const MAX_ANSWERS: u32 = 50;

/// What is looked for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name of the service.
    service: String,
    /// Domain.
    domain: String,
    timeout: Duration,
    v4: bool,
    v6: bool,
}

impl Service {
    /// From an entry's settings: `service`, `domain`, `timeout`, `v4`, `v6`.
    ///
    /// # Errors
    /// go-discover's words.
    pub fn from_settings(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| settings.get(name).map_or("", String::as_str);
        let switch = |name: &str| {
            match text(name) {
            "" => Ok(true),
            value => parse_bool(value).ok_or_else(|| {
                format!("discover-mdns: Failed to parse {name}: strconv.ParseBool: parsing {value:?}: invalid syntax")
            }),
        }
        };
        if text("service").is_empty() {
            return Err(
                "discover-mdns: Service record not provided. Please specify a service record for the mDNS lookup."
                    .to_owned(),
            );
        }
        let timeout = match text("timeout") {
            "" => TIMEOUT,
            value => GoDuration::parse(value)
                .map_err(|e| format!("discover-mdns: Failed to parse timeout: {e}"))?
                .to_std(),
        };
        let domain = match text("domain") {
            "" => "local",
            value => value,
        };
        let service = Self {
            service: text("service").trim_matches('.').to_owned(),
            domain: domain.trim_matches('.').to_owned(),
            timeout,
            v4: switch("v4")?,
            v6: switch("v6")?,
        };
        message::check_name(&service.name())
            .map_err(|e| format!("discover-mdns: {}: {e}", service.name()))?;
        Ok(service)
    }

    /// The name that is asked for.
    fn name(&self) -> String {
        format!("{}.{}", self.service, self.domain)
    }

    /// The groups of the families that are wanted.
    fn groups(&self) -> impl Iterator<Item = SocketAddr> {
        let groups = [(self.v4, GROUP_V4), (self.v6, GROUP_V6)];
        let wanted = groups.into_iter().filter(|(wanted, _)| *wanted);
        wanted.map(|(_, ip)| SocketAddr::new(ip, PORT))
    }

    /// A socket for each family that the machine has.
    fn sockets(&self, port: u16) -> (Vec<Multicast>, String) {
        let mut why = String::new();
        let mut sockets = Vec::new();
        for group in self.groups() {
            match Multicast::bind(group, port) {
                Ok(socket) => sockets.push(socket),
                Err(e) => why = errno_text(&e),
            }
        }
        (sockets, why)
    }
}

/// Asks for members, `own` being our address: theirs with ports.
///
/// # Errors
/// When nothing can be sent at all.
pub async fn query(service: &Service, own: IpAddr) -> Result<Vec<String>, String> {
    let (sockets, why) = service.sockets(0);
    if sockets.is_empty() {
        return Err(format!("discover-mdns: cannot open a socket: {why}"));
    }
    let question = message::question(&service.name())?;
    let deadline = drive::now() + service.timeout;
    let mut found = Found::new(&service.name(), MAX_FOUND);
    let mut asked = false;
    let mut end = deadline;
    while drive::now() < end {
        if found.is_empty() {
            asked |= ask(&sockets, &multicast::links(own), &question);
        }
        let again = end.min(drive::now() + AGAIN);
        collect(&sockets, &mut found, again).await;
        if !found.is_empty() {
            end = end.min(drive::now() + GRACE);
            collect(&sockets, &mut found, end).await;
            break;
        }
    }
    if !asked {
        return Err("discover-mdns: no link to send a question on".to_owned());
    }
    let found: BTreeSet<SocketAddr> = found.addresses().collect();
    Ok(found.iter().map(SocketAddr::to_string).collect())
}

/// Sends a question on all links; whether any took it.
fn ask(sockets: &[Multicast], links: &[Link], question: &[u8]) -> bool {
    let mut sent = false;
    for socket in sockets {
        for link in links {
            match socket.send(*link, question) {
                Ok(()) => sent = true,
                Err(e) => {
                    log::debug!(target: "agent", address:% = link.ip, error = errno_text(&e).as_str();
                        "mdns: cannot ask on a link");
                }
            }
        }
    }
    sent
}

/// Reads answers until `until`, or until there is one where there was none.
async fn collect(sockets: &[Multicast], found: &mut Found, until: Instant) {
    let none = found.is_empty();
    while let Some((message, _)) = receive(sockets, Some(until)).await {
        found.read(&message);
        if none && !found.is_empty() {
            return;
        }
    }
}

/// The next message of any socket; nothing when the time is over.
async fn receive(
    sockets: &[Multicast],
    until: Option<Instant>,
) -> Option<(Vec<u8>, (SocketAddr, usize))> {
    let one = |at: usize| async move {
        let Some(socket) = sockets.get(at) else {
            return std::future::pending().await;
        };
        let mut buf = vec![0; MAX_MESSAGE];
        loop {
            match socket.recv(&mut buf).await {
                Ok((length, from)) => {
                    buf.truncate(length);
                    return Some((buf, (from, at)));
                }
                // Such as a notice that an earlier datagram could not be delivered.
                Err(_) => drive::sleep(GRACE).await,
            }
        }
    };
    let end = async {
        match until {
            Some(until) => drive::sleep_until(until).await,
            None => std::future::pending().await,
        }
        None
    };
    one(0).or(one(1)).or(end).await
}

/// Answers who asks for the service, until dropped. `own` is where this agent's gossip is reached.
pub async fn announce(service: Service, node: String, own: SocketAddr) {
    let instance = match Instance::new(&service.service, &service.domain, &node, own) {
        Ok(instance) => instance,
        Err(why) => {
            log::error!(target: "agent", error = why.as_str(); "mdns: cannot be announced");
            return;
        }
    };
    let (sockets, why) = service.sockets(PORT);
    let links = multicast::links(own.ip());
    let mut heard = false;
    for socket in &sockets {
        for link in &links {
            match socket.join(*link) {
                Ok(()) => heard = true,
                Err(e) => {
                    log::debug!(target: "agent", address:% = link.ip, error = errno_text(&e).as_str();
                        "mdns: cannot listen on a link");
                }
            }
        }
    }
    if !heard {
        log::warn!(target: "agent", error = why.as_str(); "mdns: nobody will find this agent");
        return;
    }
    log::info!(target: "agent", service = service.name().as_str(), address:% = own; "mdns: announcing");
    let mut answered = (drive::now(), 0);
    while let Some((question, (from, at))) = receive(&sockets, None).await {
        let Some(answer) = instance.answer(&question, from.port() != PORT) else {
            continue;
        };
        if answered.0.elapsed() >= Duration::from_secs(1) {
            answered = (drive::now(), 0);
        }
        answered.1 += 1;
        let Some(socket) = sockets.get(at).filter(|_| answered.1 <= MAX_ANSWERS) else {
            continue;
        };
        // Who asks from another port is no full responder, and is answered alone.
        let sent = if from.port() == PORT {
            links
                .iter()
                .try_for_each(|link| socket.send(*link, &answer))
        } else {
            socket.send_to(from, &answer)
        };
        if let Err(e) = sent {
            log::debug!(target: "agent", error = errno_text(&e).as_str(), to:% = from; "mdns: cannot answer");
        }
    }
}
