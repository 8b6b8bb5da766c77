//! The messages of multicast DNS: one question, the answer to it, and reading answers.
//!
//! Holds true: what is read is bounded and never believed beyond its own length.
//! Source: RFC 1035 section 4, RFC 2782, RFC 6762 sections 5.4, 6.7 and 10, RFC 6763 section 4.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use domain::base::iana::{Class, Rtype};
use domain::base::name::ParsedName;
use domain::base::{Message, MessageBuilder, Name, Question, Record, Ttl};
use domain::rdata::{A, Aaaa, Ptr, Srv, Txt};

/// Names and ports may be remembered this long.
const TTL: Ttl = Ttl::from_secs(120);
/// Legacy askers may not remember for longer than this.
const LEGACY_TTL: Ttl = Ttl::from_secs(10);
/// The bit of a question's class that asks for an answer to the asker alone.
const UNICAST: u16 = 0x8000;
/// Longest label.
const MAX_LABEL: usize = 63;
/// Records of a message that are looked at, at most.
const MAX_RECORDS: usize = 256;

type Owned = Name<Vec<u8>>;

fn name(text: &str) -> Result<Owned, String> {
    Owned::from_str(text).map_err(|e| e.to_string())
}

/// Whether a text can be a name.
pub fn check_name(text: &str) -> Result<(), String> {
    name(text).map(|_| ())
}

/// The question for all instances of a service.
pub fn question(service: &str) -> Result<Vec<u8>, String> {
    let mut builder = MessageBuilder::new_vec().question();
    builder
        .push((name(service)?, Rtype::PTR))
        .map_err(|e| e.to_string())?;
    Ok(builder.finish())
}

/// How this agent is found.
pub struct Instance {
    service: Owned,
    instance: Owned,
    host: Owned,
    text: Txt<Vec<u8>>,
    at: SocketAddr,
}

impl Instance {
    pub fn new(service: &str, domain: &str, node: &str, at: SocketAddr) -> Result<Self, String> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let label: String = node.chars().take(MAX_LABEL).map(plain).collect();
        Ok(Self {
            service: name(&format!("{service}.{domain}"))?,
            instance: name(&format!("{label}.{service}.{domain}"))?,
            host: name(&format!("{label}.{domain}"))?,
            // There is nothing to say, and it must be said.
            text: Txt::build_from_slice(b"").map_err(|e| e.to_string())?,
            at,
        })
    }

    /// The answer to a message if it asks for us. `legacy` when the asker is no full responder: it is answered
    /// as by unicast DNS.
    pub fn answer(&self, question: &[u8], legacy: bool) -> Option<Vec<u8>> {
        let message = Message::from_octets(question).ok()?;
        if message.header().qr() || message.header().opcode().to_int() != 0 {
            return None;
        }
        let mut asked = message.question().take(MAX_RECORDS).flatten();
        let question = asked.find(|q| self.is_asked(q))?;
        self.write(message.header().id(), &question, legacy).ok()
    }

    fn is_asked(&self, question: &Question<ParsedName<&[u8]>>) -> bool {
        let class = question.qclass().to_int() & !UNICAST;
        let internet = class == Class::IN.to_int() || class == Class::ANY.to_int();
        let any = question.qtype() == Rtype::ANY;
        let of = |name: &Owned, rtype: Rtype| {
            question.qname() == name && (any || question.qtype() == rtype)
        };
        let host = match self.at {
            SocketAddr::V4(_) => Rtype::A,
            SocketAddr::V6(_) => Rtype::AAAA,
        };
        internet
            && (of(&self.service, Rtype::PTR)
                || of(&self.instance, Rtype::SRV)
                || of(&self.instance, Rtype::TXT)
                || of(&self.host, host))
    }

    /// All that there is to say, whatever of it was asked for.
    fn write(
        &self,
        id: u16,
        question: &Question<ParsedName<&[u8]>>,
        legacy: bool,
    ) -> Result<Vec<u8>, domain::base::message_builder::PushError> {
        let mut builder = MessageBuilder::new_vec();
        let header = builder.header_mut();
        header.set_qr(true);
        header.set_aa(true);
        let mut builder = builder.question();
        let mut ttl = TTL;
        if legacy {
            builder.header_mut().set_id(id);
            builder.push((question.qname(), question.qtype()))?;
            ttl = LEGACY_TTL;
        }
        let mut builder = builder.answer();
        let (service, instance, host) = (&self.service, &self.instance, &self.host);
        let class = Class::IN;
        builder.push(Record::new(service, class, ttl, Ptr::new(instance)))?;
        let srv = Srv::new(0, 0, self.at.port(), host);
        builder.push(Record::new(instance, class, ttl, srv))?;
        builder.push(Record::new(instance, class, ttl, &self.text))?;
        match self.at.ip() {
            IpAddr::V4(ip) => builder.push(Record::new(host, class, ttl, A::new(ip)))?,
            IpAddr::V6(ip) => builder.push(Record::new(host, class, ttl, Aaaa::new(ip)))?,
        }
        Ok(builder.finish())
    }
}

/// What answers have told so far.
pub struct Found {
    service: String,
    most: usize,
    instances: BTreeSet<String>,
    /// Host and port by instance.
    places: BTreeMap<String, (String, u16)>,
    hosts: BTreeMap<String, BTreeSet<IpAddr>>,
}

impl Found {
    /// Nothing yet; no more than `most` of anything is remembered.
    pub fn new(service: &str, most: usize) -> Self {
        Self {
            service: service.trim_end_matches('.').to_ascii_lowercase(),
            most,
            instances: BTreeSet::new(),
            places: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// Takes in a message; one that cannot be read says nothing.
    pub fn read(&mut self, message: &[u8]) {
        let Ok(message) = Message::from_octets(message) else {
            return;
        };
        if !message.header().qr() {
            return;
        }
        let Ok((_, answer, authority, additional)) = message.sections() else {
            return;
        };
        let records = answer.chain(authority).chain(additional);
        for record in records.take(MAX_RECORDS).flatten() {
            let owner = text(&record.owner());
            let data = match record.rtype() {
                Rtype::PTR => record
                    .to_record::<Ptr<ParsedName<&[u8]>>>()
                    .ok()
                    .flatten()
                    .map(|r| {
                        if owner == self.service && self.instances.len() < self.most {
                            self.instances.insert(text(r.data().ptrdname()));
                        }
                    }),
                Rtype::SRV => record
                    .to_record::<Srv<ParsedName<&[u8]>>>()
                    .ok()
                    .flatten()
                    .map(|r| {
                        if self.places.len() < self.most {
                            let place = (text(r.data().target()), r.data().port());
                            self.places.insert(owner, place);
                        }
                    }),
                Rtype::A => record.to_record::<A>().ok().flatten().map(|r| {
                    self.host(owner, r.data().addr().into());
                }),
                Rtype::AAAA => record.to_record::<Aaaa>().ok().flatten().map(|r| {
                    self.host(owner, r.data().addr().into());
                }),
                _ => None,
            };
            // A record that cannot be read is one that is not there.
            let _ = data;
        }
    }

    fn host(&mut self, name: String, ip: IpAddr) {
        if self.hosts.len() < self.most {
            let ips = self.hosts.entry(name).or_default();
            if ips.len() < self.most {
                ips.insert(ip);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.addresses().next().is_none()
    }

    /// The addresses of all instances; of a host with both, the IPv6 one.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.instances.iter().filter_map(|instance| {
            let (host, port) = self.places.get(instance)?;
            let ips = self.hosts.get(host)?;
            let ip = ips.iter().find(|ip| ip.is_ipv6()).or_else(|| ips.first())?;
            Some(SocketAddr::new(*ip, *port))
        })
    }
}

/// A name as text, without the dot at its end, in lower case.
fn text(name: &impl std::fmt::Display) -> String {
    let mut text = name.to_string();
    text.make_ascii_lowercase();
    text.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(at: &str) -> Instance {
        Instance::new("consul", "local", "Node One", at.parse().unwrap()).unwrap()
    }

    #[test]
    fn who_is_asked_for_is_found() {
        for at in ["10.0.0.7:8301", "[fe80::7]:8301"] {
            let question = question("consul.local").unwrap();
            for legacy in [true, false] {
                let answer = instance(at).answer(&question, legacy).unwrap();
                let mut found = Found::new("Consul.local.", 4);
                assert!(found.is_empty());
                found.read(&answer);
                let addresses: Vec<_> = found.addresses().collect();
                assert_eq!(addresses, [at.parse().unwrap()]);
                // Nobody answers an answer.
                assert_eq!(instance(at).answer(&answer, legacy), None);
            }
        }
        let other = question("other.local").unwrap();
        assert_eq!(instance("10.0.0.7:1").answer(&other, true), None);
    }

    #[test]
    fn damaged_messages_say_nothing_and_what_is_remembered_is_bounded() {
        let ask = question("consul.local").unwrap();
        let whole = instance("10.0.0.7:8301").answer(&ask, true).unwrap();
        for length in 0..whole.len() {
            let mut found = Found::new("consul.local", 4);
            found.read(&whole[..length]);
            instance("10.0.0.7:8301").answer(&whole[..length], true);
        }
        let mut found = Found::new("consul.local", 4);
        for n in 0..20 {
            let at = format!("10.0.0.{n}:8301").parse().unwrap();
            let one = Instance::new("consul", "local", &format!("n{n}"), at).unwrap();
            found.read(&one.answer(&ask, true).unwrap());
        }
        assert_eq!(found.addresses().count(), 4);
    }
}
