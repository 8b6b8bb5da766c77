//! Memberlist's messages: those of datagrams, and pings, acks and errors on streams.
//!
//! Holds true: every message read can be written again with the same content; addresses are 4 or 16
//! bytes, an IPv4 address in 16 bytes is taken as what it is.
//! Leaves to others: layers around messages (`packet`, `stream`), what is inside of user messages (`serf`).
//! Source: `docs/reference/gossip.md` section 3.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::kind;
use super::push_pull::PushPull;
use crate::codec::{Deserialize, Serialize};
use crate::gossip::Error;
use crate::structs::go::Bytes;
use crate::wire::msgpack;

/// Versions of both protocols: oldest, newest, and spoken, of memberlist and then of Serf.
pub type Versions = [u8; 6];

/// An address as messages carry it.
pub fn ip_bytes(ip: IpAddr) -> Bytes {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Bytes(ip.octets().to_vec()),
        IpAddr::V6(ip) => Bytes(ip.octets().to_vec()),
    }
}

/// The address in a message.
///
/// # Errors
/// When it has neither 4 nor 16 bytes.
pub fn parse_ip(bytes: &[u8]) -> Result<IpAddr, Error> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes);
    let v6 = v6.map_err(|_| Error::Malformed("an address must have 4 or 16 bytes"))?;
    Ok(IpAddr::from(Ipv6Addr::from(v6)).to_canonical())
}

/// Who asks, when the answer is to go elsewhere than where the question came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Source {
    /// Address, empty when not given.
    #[serde(skip_serializing_if = "no_bytes")]
    pub source_addr: Bytes,
    /// Port, 0 when not given.
    #[serde(skip_serializing_if = "no_port")]
    pub source_port: u16,
    /// Name, empty when not given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source_node: String,
}

fn no_bytes(bytes: &Bytes) -> bool {
    bytes.is_empty()
}

fn no_port(port: &u16) -> bool {
    *port == 0
}

impl Source {
    /// This node.
    pub fn new(addr: SocketAddr, node: &str) -> Self {
        Self {
            source_addr: ip_bytes(addr.ip()),
            source_port: addr.port(),
            source_node: node.to_owned(),
        }
    }

    /// Where to answer to.
    pub fn answer_to(&self, from: SocketAddr) -> SocketAddr {
        match parse_ip(&self.source_addr) {
            Ok(ip) if self.source_port > 0 => SocketAddr::new(ip, self.source_port),
            _ => from,
        }
    }
}

/// Are you there?
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ping {
    /// Comes back with the answer.
    pub seq_no: u32,
    /// Who is meant; a node of another name does not answer.
    pub node: String,
    /// Who asks.
    #[serde(rename = "")]
    pub source: Source,
}

/// Ask somebody else for me.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IndirectPing {
    /// Comes back with the answer.
    pub seq_no: u32,
    /// Address of whom to ask.
    pub target: Bytes,
    /// Port of whom to ask; 0 means the usual one.
    pub port: u16,
    /// Name of whom to ask.
    pub node: String,
    /// Say so when no answer comes.
    pub nack: bool,
    /// Who asks.
    #[serde(rename = "")]
    pub source: Source,
}

/// Answers a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ack {
    /// That of the ping.
    pub seq_no: u32,
    /// A network coordinate, nothing when relayed or over TCP.
    pub payload: Option<Bytes>,
}

/// A relayed ping got no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Nack {
    /// That of the indirect ping.
    pub seq_no: u32,
}

/// A member does not answer, or is gone: suspect and dead messages look alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Accusation {
    /// The incarnation that is accused.
    pub incarnation: u32,
    /// Who.
    pub node: String,
    /// Who says so; the node itself when it leaves.
    pub from: String,
}

/// A member is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Alive {
    /// Newer news about a node have a larger one.
    pub incarnation: u32,
    /// Who.
    pub node: String,
    /// Its address.
    pub addr: Bytes,
    /// Its port; 0 means the usual one.
    pub port: u16,
    /// Its tags, encoded.
    pub meta: Bytes,
    /// Its [`Versions`].
    pub vsn: Bytes,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct UserHeader {
    user_msg_len: i64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ErrorBody {
    error: String,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Are you there?
    Ping(Ping),
    /// Ask somebody else for me.
    IndirectPing(IndirectPing),
    /// Answers a ping.
    Ack(Ack),
    /// A relayed ping got no answer.
    Nack(Nack),
    /// A member does not answer.
    Suspect(Accusation),
    /// A member is there.
    Alive(Alive),
    /// A member is gone.
    Dead(Accusation),
    /// A message of the layer above.
    User(Vec<u8>),
    /// All that one side knows; on streams only.
    PushPull(Box<PushPull>),
    /// What went wrong; on streams only.
    Error(String),
}

impl Message {
    /// Reads a message of a datagram, type byte first, without layers around it.
    ///
    /// # Errors
    /// Unknown types, those of streams, bodies that are not what the type says.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (&kind, body) = bytes.split_first().ok_or(Error::Truncated)?;
        Ok(match kind {
            kind::PING => Self::Ping(msgpack::from_slice(body)?),
            kind::INDIRECT_PING => Self::IndirectPing(msgpack::from_slice(body)?),
            kind::ACK => Self::Ack(msgpack::from_slice(body)?),
            kind::NACK => Self::Nack(msgpack::from_slice(body)?),
            kind::SUSPECT => Self::Suspect(msgpack::from_slice(body)?),
            kind::ALIVE => Self::Alive(msgpack::from_slice(body)?),
            kind::DEAD => Self::Dead(msgpack::from_slice(body)?),
            kind::USER => Self::User(body.to_vec()),
            other => return Err(Error::UnknownType(other)),
        })
    }

    /// Reads a message of a stream, type byte first, without layers around it.
    ///
    /// # Errors
    /// As [`Message::decode`].
    pub fn decode_stream(bytes: &[u8]) -> Result<Self, Error> {
        let (&kind, mut body) = bytes.split_first().ok_or(Error::Truncated)?;
        Ok(match kind {
            kind::PUSH_PULL => Self::PushPull(Box::new(PushPull::decode(body)?)),
            kind::ERROR => Self::Error(msgpack::from_slice::<ErrorBody>(body)?.error),
            kind::USER => {
                let header: UserHeader = msgpack::next(&mut body)?;
                let length = usize::try_from(header.user_msg_len);
                let text = length.ok().and_then(|n| body.get(..n));
                Self::User(text.ok_or(Error::Truncated)?.to_vec())
            }
            kind::PING | kind::ACK => Self::decode(bytes)?,
            other => return Err(Error::UnknownType(other)),
        })
    }

    /// The message for a datagram, type byte first.
    ///
    /// # Errors
    /// For messages of streams, and never otherwise.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Ping(m) => body(kind::PING, m),
            Self::IndirectPing(m) => body(kind::INDIRECT_PING, m),
            Self::Ack(m) => body(kind::ACK, m),
            Self::Nack(m) => body(kind::NACK, m),
            Self::Suspect(m) => body(kind::SUSPECT, m),
            Self::Alive(m) => body(kind::ALIVE, m),
            Self::Dead(m) => body(kind::DEAD, m),
            Self::User(bytes) => Ok([&[kind::USER], &bytes[..]].concat()),
            Self::PushPull(_) | Self::Error(_) => {
                Err(Error::Malformed("the message is one for streams"))
            }
        }
    }

    /// The message for a stream, type byte first.
    ///
    /// # Errors
    /// For messages of datagrams, and never otherwise.
    pub fn encode_stream(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Ping(_) | Self::Ack(_) => self.encode(),
            Self::PushPull(m) => m.encode(),
            Self::Error(text) => {
                let error = text.clone();
                body(kind::ERROR, &ErrorBody { error })
            }
            Self::User(bytes) => {
                let user_msg_len = bytes.len() as i64;
                let mut out = body(kind::USER, &UserHeader { user_msg_len })?;
                out.extend_from_slice(bytes);
                Ok(out)
            }
            _ => Err(Error::Malformed("the message is one for datagrams")),
        }
    }
}

fn body(kind: u8, message: &dyn Serialize) -> Result<Vec<u8>, Error> {
    let mut out = vec![kind];
    msgpack::append(&mut out, message)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_the_source_when_it_is_whole() {
        let from = SocketAddr::from(([10, 0, 0, 1], 4000));
        let mut source = Source::new(SocketAddr::from(([10, 0, 0, 2], 8301)), "a");
        assert_eq!(source.answer_to(from).to_string(), "10.0.0.2:8301");
        source.source_port = 0;
        assert_eq!(source.answer_to(from), from);
        assert_eq!(Source::default().answer_to(from), from);
    }

    #[test]
    fn mapped_addresses_are_version_4() {
        let ip: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        let IpAddr::V6(v6) = ip else { panic!() };
        assert_eq!(parse_ip(&v6.octets()).unwrap().to_string(), "10.1.2.3");
        assert_eq!(ip_bytes(ip).len(), 4);
        assert!(parse_ip(&[]).is_err());
    }

    #[test]
    fn stream_messages_come_back() {
        for message in [
            Message::User(b"hello".to_vec()),
            Message::Error("no".to_owned()),
            Message::Ping(Ping::default()),
            Message::Ack(Ack::default()),
        ] {
            let bytes = message.encode_stream().unwrap();
            assert_eq!(Message::decode_stream(&bytes), Ok(message));
        }
        assert!(Message::Nack(Nack::default()).encode_stream().is_err());
        assert_eq!(Message::decode(&[6]), Err(Error::UnknownType(6)));
        assert_eq!(Message::decode_stream(&[8, 0x81]), Err(Error::Truncated));
    }
}
