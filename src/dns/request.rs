//! Questions: what arrives, read with the same indulgence and refused with the same codes as Consul.
//!
//! Holds true: any bytes lead to a request, to an immediate answer or to silence; nothing is kept of what
//! is not understood.
//! Source: RFC 1035 section 4.1, RFC 6891, RFC 7871; `docs/reference/dns.md` section 1, asked of
//! Consul 1.8.7 packet by packet.

use std::net::IpAddr;

use domain::base::iana::{OptionCode, Rtype};
use domain::base::name::ParsedName;
use domain::base::{Header, RecordHeader};
use domain::dep::octseq::Parser;

use super::message::{Code, Reply, write};
use super::name::Name;

/// EDNS option code of the client subnet.
pub const CLIENT_SUBNET: u16 = OptionCode::CLIENT_SUBNET.to_int();

/// The client's own network, given by a resolver on the way (RFC 7871).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// 1 for IPv4, 2 for IPv6, 0 for none.
    family: u16,
    source_prefix: u8,
    /// The address cut to the prefix, in as few bytes as hold it.
    address: Vec<u8>,
}

impl Subnet {
    /// The option's content as it is sent back: scope 0, the answer is good for everybody.
    pub fn as_bytes(&self) -> Vec<u8> {
        let mut out = self.family.to_be_bytes().to_vec();
        out.extend_from_slice(&[self.source_prefix, 0]);
        out.extend_from_slice(&self.address);
        out
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let [f1, f2, source_prefix, _scope, address @ ..] = body else {
            return None;
        };
        let family = u16::from_be_bytes([*f1, *f2]);
        let longest = match family {
            0 if *source_prefix == 0 => 0,
            1 => 4,
            2 => 16,
            _ => return None,
        };
        let bits = usize::from(*source_prefix);
        if bits > longest * 8 || address.len() > longest {
            return None;
        }
        let mut address = address.to_vec();
        address.resize(bits.div_ceil(8), 0);
        if let (Some(last), partial @ 1..) = (address.last_mut(), bits % 8) {
            *last &= 0xffu8 << (8 - partial);
        }
        Some(Self {
            family,
            source_prefix: *source_prefix,
            address,
        })
    }
}

/// The OPT record of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload size that the client takes, as given.
    pub size: u16,
    pub subnet: Option<Subnet>,
}

/// A request that can be answered.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: u16,
    pub opcode: u8,
    pub recursion_desired: bool,
    pub checking_disabled: bool,
    /// False only for a message that ends before its question.
    pub has_question: bool,
    /// The name as it was written.
    pub name: Name,
    pub rtype: Rtype,
    pub class: u16,
    pub edns: Option<Edns>,
}

/// What to do with a packet.
#[derive(Debug)]
pub enum Received {
    /// A request to answer.
    Request(Request),
    /// An answer that is clear from the header.
    Answer(Vec<u8>),
    /// Nothing.
    Silence,
}

/// Reads a packet.
pub fn read(packet: &[u8]) -> Received {
    let Some((header, counts)) = header(packet) else {
        return Received::Silence;
    };
    if header.qr() {
        return Received::Silence;
    }
    let [questions, answers, authorities, additionals] = counts;
    let opcode = header.opcode().to_int();
    // QUERY and NOTIFY.
    if opcode != 0 && opcode != 4 {
        return Received::Answer(bare(packet, Code::NotImp));
    }
    if questions != 1 || answers > 1 || authorities > 1 || additionals > 2 {
        return Received::Answer(bare(packet, Code::FormErr));
    }
    let mut request = Request {
        id: header.id(),
        opcode,
        recursion_desired: header.rd(),
        checking_disabled: header.cd(),
        has_question: packet.len() > 12,
        name: match Name::parse("") {
            Some(root) => root,
            None => return Received::Silence,
        },
        rtype: Rtype::A,
        class: 1,
        edns: None,
    };
    if !request.has_question {
        let refused = Reply {
            code: Code::Refused,
            ..Reply::default()
        };
        return Received::Answer(write(&request, &refused, true));
    }
    let mut parser = Parser::from_ref(packet);
    if parser.advance(12).is_err() || question(&mut parser, &mut request).is_none() {
        return Received::Answer(bare(packet, Code::FormErr));
    }
    if records(
        &mut parser,
        answers + authorities,
        additionals,
        &mut request,
    )
    .is_none()
    {
        request.edns = None;
        let malformed = Reply {
            code: Code::FormErr,
            ..Reply::default()
        };
        return Received::Answer(write(&request, &malformed, true));
    }
    Received::Request(request)
}

fn header(packet: &[u8]) -> Option<(Header, [u16; 4])> {
    let bytes: &[u8; 12] = packet.first_chunk()?;
    let header = *Header::for_message_slice(packet);
    let count = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Some((header, [count(4), count(6), count(8), count(10)]))
}

/// A header alone: identity, opcode and the flags RD, AD and CD are kept.
fn bare(packet: &[u8], code: Code) -> Vec<u8> {
    let mut out = vec![0; 12];
    if let (Some(to), Some(from)) = (out.get_mut(..4), packet.get(..4)) {
        to.copy_from_slice(from);
        to[2] = 0x80 | from[2] & 0x79;
        to[3] = from[3] & 0x30 | code as u8;
    }
    out
}

fn question(parser: &mut Parser<'_, [u8]>, request: &mut Request) -> Option<()> {
    request.name = name(parser)?;
    // What is missing at the very end counts as zero, of the class even a half.
    request.rtype = match parser.remaining() {
        0 => Rtype::from_int(0),
        _ => Rtype::from_int(parser.parse_u16_be().ok()?),
    };
    request.class = match parser.remaining() {
        0 | 1 => {
            parser.advance(parser.remaining()).ok()?;
            0
        }
        _ => parser.parse_u16_be().ok()?,
    };
    Some(())
}

fn name(parser: &mut Parser<'_, [u8]>) -> Option<Name> {
    let parsed = ParsedName::parse_ref(parser).ok()?;
    Name::from_labels(
        parsed
            .iter()
            .filter(|label| !label.is_root())
            .map(|label| label.as_slice()),
    )
}

/// Reads the records behind the question for the sake of the last OPT among the additional ones.
fn records(
    parser: &mut Parser<'_, [u8]>,
    skipped: u16,
    additionals: u16,
    request: &mut Request,
) -> Option<()> {
    for n in 0..skipped + additionals {
        // Consul takes a count for a promise only as far as there are bytes.
        if parser.remaining() == 0 {
            break;
        }
        let header = RecordHeader::parse_ref(parser).ok()?;
        let length = usize::from(header.rdlen());
        if header.rtype() != Rtype::OPT || n < skipped {
            parser.advance(length).ok()?;
            continue;
        }
        let mut edns = Edns {
            size: header.class().to_int(),
            subnet: None,
        };
        let mut options = parser.parse_parser(length).ok()?;
        while options.remaining() > 0 {
            let code = options.parse_u16_be().ok()?;
            let size = options.parse_u16_be().ok()?;
            let body = options.parse_octets(usize::from(size)).ok()?;
            if code == CLIENT_SUBNET {
                edns.subnet = Some(Subnet::parse(body)?);
            }
        }
        request.edns = Some(edns);
    }
    Some(())
}

impl Request {
    /// A question of our own, as the resolution of a CNAME asks it.
    pub fn internal(&self, name: Name) -> Self {
        Self {
            name,
            rtype: Rtype::ANY,
            class: 1,
            edns: None,
            ..self.clone()
        }
    }

    /// The largest UDP answer that the client takes, in bytes.
    pub fn udp_size(&self) -> usize {
        self.edns
            .as_ref()
            .map_or(512, |edns| usize::from(edns.size).max(512))
    }

    /// Whether an address record of this family answers the question.
    pub fn accepts(&self, ip: IpAddr) -> bool {
        match self.rtype {
            Rtype::A => ip.is_ipv4(),
            Rtype::AAAA => ip.is_ipv6(),
            Rtype::ANY | Rtype::TXT | Rtype::SRV => true,
            _ => false,
        }
    }

    /// Go's way to print a question: `{name type class}` with numbers.
    pub fn go_question(&self) -> String {
        format!("{{{} {} {}}}", self.name, self.rtype.to_int(), self.class)
    }
}
