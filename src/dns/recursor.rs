//! Recursors: questions that are not ours, and names outside of our zones that our answers point to.
//!
//! Holds true: every attempt is bounded by `recursor_timeout`; a reply is taken only from the recursor
//! that was asked, with the identity and the question that was sent.
//! Source: `docs/reference/dns.md` section 14; RFC 1035 section 4.2.

use std::net::SocketAddr;

use domain::base::iana::Rtype;
use domain::base::name::ParsedName;
use domain::base::{Message, ParsedRecord};
use domain::dep::octseq::Octets;
use domain::rdata::{A, Aaaa, Cname};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::lock::{Semaphore, SemaphoreGuard};

use super::message::{Data, Record};
use super::name::Name;
use super::settings::Settings;
use crate::drive;
use crate::net::dial;

/// Records of a recursor's answer that are looked at.
const MAX_CHAIN: usize = 64;
/// Questions that wait for recursors at a time, each with a socket of its own; more fail at once.
const MAX_WAITING: usize = 256;
/// Largest datagram.
const MAX_DATAGRAM: usize = 65535;

/// Room for questions that wait.
pub fn waiting_room() -> Semaphore {
    Semaphore::new(MAX_WAITING)
}

/// Sends a client's message to one recursor after the other; the first acceptable reply.
pub async fn forward(
    settings: &Settings,
    room: &Semaphore,
    packet: &[u8],
    question: &str,
    udp: bool,
) -> Option<Vec<u8>> {
    let _place = place(room)?;
    for recursor in order(settings) {
        let start = drive::now();
        let reply = match ask(settings, recursor, packet, udp).await {
            Ok(reply) => reply,
            Err(text) => {
                log::error!(target: "agent.dns", "recurse failed: error={text:?}");
                continue;
            }
        };
        let (truncated, code) = match reply.get(2..4) {
            Some([high, low]) => (high & 0x02 != 0, low & 0x0f),
            _ => continue,
        };
        // NOERROR, NXDOMAIN, or what the client is to repeat over TCP.
        if truncated || code == 0 || code == 3 {
            log::debug!(
                target: "agent.dns",
                "recurse succeeded for question: question={question:?} rtt={} recursor={recursor}",
                crate::structs::go::GoDuration::from(start.elapsed()),
            );
            return Some(reply);
        }
        log::debug!(
            target: "agent.dns",
            "recurse failed for question: question={question:?} rtt={} recursor={recursor} rcode={}",
            crate::structs::go::GoDuration::from(start.elapsed()),
            code_name(code),
        );
    }
    None
}

/// Asks for the addresses of a name; what its answer holds of CNAME, A and AAAA records.
pub async fn addresses(settings: &Settings, room: &Semaphore, name: &Name) -> Vec<Record> {
    let Some(_place) = place(room) else {
        return Vec::new();
    };
    let mut packet = Vec::with_capacity(18 + name.wire().len());
    packet.extend_from_slice(&fastrand::u16(..).to_be_bytes());
    // Recursion desired, one question.
    packet.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(name.wire());
    packet.extend_from_slice(&[0, 1, 0, 1]);
    for recursor in order(settings) {
        match ask(settings, recursor, &packet, true).await {
            // As Consul: whatever the code is, the first reply decides.
            Ok(reply) => return chain(&reply).unwrap_or_default(),
            Err(text) => log::error!(
                target: "agent.dns",
                "cname recurse failed for name: name={name} error={text:?}"
            ),
        }
    }
    log::error!(target: "agent.dns", "all resolvers failed for name: name={name}");
    Vec::new()
}

fn place(room: &Semaphore) -> Option<SemaphoreGuard<'_>> {
    let place = room.try_acquire();
    if place.is_none() {
        log::debug!(target: "agent.dns", "Too many questions wait for recursors");
    }
    place
}

fn order(settings: &Settings) -> Vec<SocketAddr> {
    let mut recursors = settings.recursors.clone();
    if settings.random_recursors {
        fastrand::shuffle(&mut recursors);
    }
    recursors
}

async fn ask(
    settings: &Settings,
    recursor: SocketAddr,
    packet: &[u8],
    udp: bool,
) -> Result<Vec<u8>, String> {
    let exchange = async {
        if udp {
            over_udp(recursor, packet).await
        } else {
            over_tcp(recursor, packet).await
        }
    };
    match drive::timeout(settings.recursor_timeout, exchange).await {
        Ok(result) => result,
        Err(_) => {
            let network = if udp { "udp" } else { "tcp" };
            Err(format!("read {network} {recursor}: i/o timeout"))
        }
    }
}

async fn over_udp(recursor: SocketAddr, packet: &[u8]) -> Result<Vec<u8>, String> {
    let socket = dial::udp(&recursor.to_string())
        .await
        .map_err(|e| e.text().to_owned())?;
    let fault =
        |verb: &str, e: std::io::Error| format!("{verb} udp {recursor}: {}", dial::errno_text(&e));
    socket.send(packet).await.map_err(|e| fault("write", e))?;
    loop {
        // Whoever waits has no buffer yet.
        socket.readable().await;
        let mut reply = vec![0; MAX_DATAGRAM];
        loop {
            let length = match socket.get_ref().recv(&mut reply) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                length => length.map_err(|e| fault("read", e))?,
            };
            let answer = reply.get(..length).unwrap_or_default();
            if belongs(packet, answer) {
                return Ok(answer.to_vec());
            }
        }
    }
}

async fn over_tcp(recursor: SocketAddr, packet: &[u8]) -> Result<Vec<u8>, String> {
    let mut stream = dial::tcp(&recursor.to_string())
        .await
        .map_err(|e| e.text().to_owned())?;
    let fault =
        |verb: &str, e: std::io::Error| format!("{verb} tcp {recursor}: {}", dial::errno_text(&e));
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(packet);
    stream
        .write_all(&message)
        .await
        .map_err(|e| fault("write", e))?;
    let mut length = [0; 2];
    stream
        .read_exact(&mut length)
        .await
        .map_err(|e| fault("read", e))?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream
        .read_exact(&mut reply)
        .await
        .map_err(|e| fault("read", e))?;
    if belongs(packet, &reply) {
        Ok(reply)
    } else {
        Err(format!("read tcp {recursor}: dns: id mismatch"))
    }
}

/// Whether a message answers the one that was sent: same identity, and the same question if it has one.
fn belongs(packet: &[u8], reply: &[u8]) -> bool {
    let (Some(asked), Some(got)) = (packet.get(..12), reply.get(..12)) else {
        return false;
    };
    if got[..2] != asked[..2] || got[2] & 0x80 == 0 {
        return false;
    }
    if got[4..6] == [0, 0] {
        return true;
    }
    // Names in questions are never compressed.
    let mut end = 12;
    while let Some(length) = packet.get(end).filter(|length| **length != 0) {
        end += 1 + usize::from(*length);
    }
    match (packet.get(12..end + 5), reply.get(12..end + 5)) {
        (Some(asked), Some(got)) => asked.eq_ignore_ascii_case(got),
        _ => false,
    }
}

fn chain(reply: &[u8]) -> Option<Vec<Record>> {
    let message = Message::from_octets(reply).ok()?;
    let mut out = Vec::new();
    for parsed in message.answer().ok()?.take(MAX_CHAIN) {
        let parsed = parsed.ok()?;
        if let Some(record) = convert(&parsed) {
            out.push(record);
        }
    }
    Some(out)
}

fn convert(parsed: &ParsedRecord<'_, &[u8]>) -> Option<Record> {
    let data = match parsed.rtype() {
        Rtype::A => Data::A(parsed.to_record::<A>().ok()??.data().addr()),
        Rtype::AAAA => Data::Aaaa(parsed.to_record::<Aaaa>().ok()??.data().addr()),
        Rtype::CNAME => {
            let record = parsed.to_record::<Cname<ParsedName<&[u8]>>>().ok()??;
            Data::Cname(own(record.data().cname())?)
        }
        _ => return None,
    };
    Some(Record::of(
        own(&parsed.owner())?,
        parsed.ttl().as_secs(),
        data,
    ))
}

fn own<O: Octets + ?Sized>(name: &ParsedName<&O>) -> Option<Name> {
    let labels = name.iter().filter(|label| !label.is_root());
    Name::from_labels(labels.map(|label| label.as_slice()))
}

fn code_name(code: u8) -> String {
    let known = match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        4 => "NOTIMP",
        5 => "REFUSED",
        other => return other.to_string(),
    };
    known.to_owned()
}
