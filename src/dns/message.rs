//! Answers: records, and how they are written into a message.
//!
//! Holds true: names are compressed as Consul compresses them (SRV targets are written whole but later
//! names may point into them, case counts), so that a message has Consul's size and is trimmed to the
//! same number of records. That is why the writer is not the one of the `domain` crate.
//! Source: RFC 1035 section 4, RFC 2782, RFC 6891, RFC 7871.

use std::net::{Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Class, Rtype};

use super::name::Name;
use super::request::Request;

/// Answer codes that are given here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    #[default]
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
}

/// Start-of-authority fields, all in seconds but the serial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SoaData {
    pub mname: Name,
    pub rname: Name,
    pub serial: u32,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    pub minimum: u32,
}

/// A record's type and content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Name),
    Ns(Name),
    Ptr(Name),
    Soa(Box<SoaData>),
    /// Priority is always 1.
    Srv {
        weight: u16,
        port: u16,
        target: Name,
    },
    /// Longer texts are split into strings of 255 bytes.
    Txt(String),
}

/// A record of class IN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// `None` is the question's name, letter for letter.
    pub owner: Option<Name>,
    /// Seconds.
    pub ttl: u32,
    pub data: Data,
}

impl Record {
    /// A record that belongs to the question's name.
    pub fn of_question(ttl: u32, data: Data) -> Self {
        Self {
            owner: None,
            ttl,
            data,
        }
    }

    /// A record of another name.
    pub fn of(owner: Name, ttl: u32, data: Data) -> Self {
        Self {
            owner: Some(owner),
            ttl,
            data,
        }
    }
}

/// An answer before it is written.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub code: Code,
    pub authoritative: bool,
    pub truncated: bool,
    pub recursion_available: bool,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
}

const HEADER: usize = 12;
/// Bytes of an OPT record without options.
const OPT: usize = 11;
/// Pointers reach no further than this.
const MAX_POINTER: usize = 0x4000;

/// Writes the message, with an OPT record when the request had one.
pub fn write(request: &Request, reply: &Reply, compress: bool) -> Vec<u8> {
    write_sections(request, reply, compress, true)
}

/// The size that the message would have without its OPT record.
pub fn size(request: &Request, reply: &Reply, compress: bool) -> usize {
    if compress {
        return write_sections(request, reply, true, false).len();
    }
    let sections = [&reply.answer, &reply.authority, &reply.additional];
    let records = sections.into_iter().flatten();
    HEADER + request.name.wire().len() + 4 + records.map(|r| plain_size(request, r)).sum::<usize>()
}

fn plain_size(request: &Request, record: &Record) -> usize {
    let owner = record.owner.as_ref().unwrap_or(&request.name).wire().len();
    let data = match &record.data {
        Data::A(_) => 4,
        Data::Aaaa(_) => 16,
        Data::Cname(n) | Data::Ns(n) | Data::Ptr(n) => n.wire().len(),
        Data::Soa(soa) => soa.mname.wire().len() + soa.rname.wire().len() + 20,
        Data::Srv { target, .. } => 6 + target.wire().len(),
        Data::Txt(text) => text.len() + text.len().div_ceil(255).max(1),
    };
    owner + 10 + data
}

fn write_sections(request: &Request, reply: &Reply, compress: bool, opt: bool) -> Vec<u8> {
    let opt = request.edns.as_ref().filter(|_| opt);
    let records = reply.answer.len() + reply.authority.len() + reply.additional.len();
    let mut writer = Writer {
        out: Vec::with_capacity(HEADER + request.name.wire().len() + OPT + 24 + 28 * records),
        known: Known::default(),
        compress,
    };
    let mut flags = 0x8000 | u16::from(request.opcode & 0xf) << 11 | reply.code as u16;
    // Only answers to a QUERY repeat what the client wished for.
    let is_query = request.opcode == 0;
    for (set, bit) in [
        (reply.authoritative, 0x0400),
        (reply.truncated, 0x0200),
        (is_query && request.recursion_desired, 0x0100),
        (reply.recursion_available, 0x0080),
        (is_query && request.checking_disabled, 0x0010),
    ] {
        flags |= if set { bit } else { 0 };
    }
    let count = |list: &[Record]| u16::try_from(list.len()).unwrap_or(u16::MAX);
    let additional = count(&reply.additional).saturating_add(u16::from(opt.is_some()));
    for field in [
        request.id,
        flags,
        u16::from(request.has_question),
        count(&reply.answer),
        count(&reply.authority),
        additional,
    ] {
        writer.u16(field);
    }
    if request.has_question {
        writer.name(&request.name, true);
        writer.u16(request.rtype.to_int());
        writer.u16(request.class);
    }
    for section in [&reply.answer, &reply.authority, &reply.additional] {
        // A message cannot count more, and its size is trimmed long before.
        for record in section.iter().take(usize::from(u16::MAX)) {
            writer.record(request, record);
        }
    }
    if let Some(edns) = opt {
        writer.out.push(0);
        writer.u16(Rtype::OPT.to_int());
        writer.u16(edns.size);
        writer.u32(0);
        match &edns.subnet {
            None => writer.u16(0),
            Some(subnet) => {
                let body = subnet.as_bytes();
                writer.u16(body.len() as u16 + 4);
                writer.u16(super::request::CLIENT_SUBNET);
                writer.u16(body.len() as u16);
                writer.out.extend_from_slice(&body);
            }
        }
    }
    writer.out
}

struct Writer {
    out: Vec<u8>,
    known: Known,
    compress: bool,
}

impl Writer {
    fn u16(&mut self, v: u16) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    fn u32(&mut self, v: u32) {
        self.out.extend_from_slice(&v.to_be_bytes());
    }

    fn record(&mut self, request: &Request, record: &Record) {
        self.name(record.owner.as_ref().unwrap_or(&request.name), true);
        let rtype = match &record.data {
            Data::A(_) => Rtype::A,
            Data::Aaaa(_) => Rtype::AAAA,
            Data::Cname(_) => Rtype::CNAME,
            Data::Ns(_) => Rtype::NS,
            Data::Ptr(_) => Rtype::PTR,
            Data::Soa(_) => Rtype::SOA,
            Data::Srv { .. } => Rtype::SRV,
            Data::Txt(_) => Rtype::TXT,
        };
        self.u16(rtype.to_int());
        self.u16(Class::IN.to_int());
        self.u32(record.ttl);
        let length_at = self.out.len();
        self.u16(0);
        match &record.data {
            Data::A(ip) => self.out.extend_from_slice(&ip.octets()),
            Data::Aaaa(ip) => self.out.extend_from_slice(&ip.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => self.name(name, true),
            Data::Soa(soa) => {
                self.name(&soa.mname, true);
                self.name(&soa.rname, true);
                for v in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                    self.u32(v);
                }
            }
            Data::Srv {
                weight,
                port,
                target,
            } => {
                self.u16(1);
                self.u16(*weight);
                self.u16(*port);
                self.name(target, false);
            }
            Data::Txt(text) if text.is_empty() => self.out.push(0),
            Data::Txt(text) => {
                for part in text.as_bytes().chunks(255) {
                    self.out.push(part.len() as u8);
                    self.out.extend_from_slice(part);
                }
            }
        }
        let length = self.out.len() - length_at - 2;
        let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(place) = self.out.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&length);
        }
    }

    /// Writes a name; where `may_point` is false it is written whole, yet later names may point into it.
    fn name(&mut self, name: &Name, may_point: bool) {
        let wire = name.wire();
        if !self.compress {
            self.out.extend_from_slice(wire);
            return;
        }
        let mut at = 0;
        while let Some(&length) = wire.get(at)
            && length != 0
        {
            let rest = &wire[at..];
            match self.known.find_or_add(&self.out, rest, self.out.len()) {
                Some(offset) if may_point => {
                    self.u16(0xc000 | offset);
                    return;
                }
                _ => {}
            }
            let next = at + 1 + usize::from(length);
            self.out.extend_from_slice(&wire[at..next]);
            at = next;
        }
        self.out.push(0);
    }
}

/// Where names stand in the message: an open hash table from the bytes of a name to its place.
#[derive(Default)]
struct Known {
    /// Hash and offset; offset 0 is a free slot, for the header stands there.
    slots: Vec<(u32, u16)>,
    used: usize,
}

impl Known {
    /// The place of an earlier name of the same bytes; else remembers that it will stand at `here`.
    fn find_or_add(&mut self, message: &[u8], name: &[u8], here: usize) -> Option<u16> {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        // FNV-1a.
        let hash = name.iter().fold(0x811c_9dc5_u32, |hash, b| {
            (hash ^ u32::from(*b)).wrapping_mul(0x0100_0193)
        });
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                (_, 0) => break,
                (known, offset) if known == hash && same_name(message, offset, name) => {
                    return Some(offset);
                }
                _ => at = (at + 1) & mask,
            }
        }
        if here < MAX_POINTER {
            self.slots[at] = (hash, here as u16);
            self.used += 1;
        }
        None
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(32);
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); size]);
        for slot in old.into_iter().filter(|(_, offset)| *offset != 0) {
            let mut at = slot.0 as usize & (size - 1);
            while self.slots[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = slot;
        }
    }
}

/// Whether the name that begins at `offset` of the message, following pointers, has these bytes.
fn same_name(message: &[u8], offset: u16, name: &[u8]) -> bool {
    let mut at = usize::from(offset);
    let mut rest = name;
    loop {
        match message.get(at) {
            Some(0) => return rest == [0],
            Some(&high) if high & 0xc0 == 0xc0 => {
                let Some(&low) = message.get(at + 1) else {
                    return false;
                };
                at = usize::from(high & 0x3f) << 8 | usize::from(low);
            }
            Some(&length) => {
                let size = 1 + usize::from(length);
                match (message.get(at..at + size), rest.get(..size)) {
                    (Some(a), Some(b)) if a == b => {
                        rest = &rest[size..];
                        at += size;
                    }
                    _ => return false,
                }
            }
            None => return false,
        }
    }
}
