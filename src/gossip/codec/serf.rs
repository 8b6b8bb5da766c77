//! Serf's messages, which travel inside of memberlist's user messages, push/pulls and query payloads.
//!
//! Holds true: every message read can be written again with the same content.
//! Source: `docs/reference/gossip.md` sections 10, 11.3, 11.6 and 12.4.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::message::{ip_bytes, parse_ip};
use super::tags::Tags;
use crate::codec::{Deserialize, Serialize};
use crate::gossip::Error;
use crate::structs::go::{Bytes, GoDuration, List, Map};
use crate::wire::msgpack;

const LEAVE: u8 = 0;
const JOIN: u8 = 1;
const PUSH_PULL: u8 = 2;
const USER_EVENT: u8 = 3;
const QUERY: u8 = 4;
const QUERY_RESPONSE: u8 = 5;
const CONFLICT_RESPONSE: u8 = 6;
const KEY_REQUEST: u8 = 7;
const KEY_RESPONSE: u8 = 8;
const RELAY: u8 = 9;

/// In a query's flags: acknowledge it. In an answer's: this is the acknowledgement.
pub const FLAG_ACK: u32 = 1;
/// In a query's flags: do not pass it on.
pub const FLAG_NO_BROADCAST: u32 = 2;

/// A member leaves, or is forced to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Leave {
    /// Member clock.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// Who.
    pub node: String,
    /// Forget it at once.
    pub prune: bool,
}

/// A member joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Join {
    /// Member clock.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// Who.
    pub node: String,
}

/// An event of one time in the ring of recent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PastEvent {
    /// Name.
    pub name: String,
    /// Payload.
    pub payload: Option<Bytes>,
}

/// The events of one time in the ring of recent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PastEvents {
    /// Event clock.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// What happened then.
    pub events: List<PastEvent>,
}

/// Serf's part of a push/pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct State {
    /// Member clock.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// The time of each member's status.
    #[serde(rename = "StatusLTimes")]
    pub status_ltimes: Map<u64>,
    /// Who left.
    pub left_members: List<String>,
    /// Event clock.
    #[serde(rename = "EventLTime")]
    pub event_ltime: u64,
    /// The ring of recent events.
    pub events: List<Option<PastEvents>>,
    /// Query clock.
    #[serde(rename = "QueryLTime")]
    pub query_ltime: u64,
}

/// A user event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UserEvent {
    /// Event clock.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// Name.
    pub name: String,
    /// Payload.
    pub payload: Option<Bytes>,
    /// Only the last of several is of interest.
    #[serde(rename = "CC")]
    pub coalesce: bool,
}

/// A question to all members, or to some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Query {
    /// Query clock.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// Tells queries of one time apart.
    #[serde(rename = "ID")]
    pub id: u32,
    /// Address to answer to.
    pub addr: Bytes,
    /// Port to answer to.
    pub port: u16,
    /// Who asks.
    pub source_node: String,
    /// Encoded [`Filter`]s; all must fit.
    pub filters: List<Bytes>,
    /// [`FLAG_ACK`], [`FLAG_NO_BROADCAST`].
    pub flags: u32,
    /// How many members an answer also goes through.
    pub relay_factor: u8,
    /// How long answers are waited for.
    pub timeout: GoDuration,
    /// Name.
    pub name: String,
    /// Payload.
    pub payload: Option<Bytes>,
}

/// An answer, or the acknowledgement of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct QueryResponse {
    /// That of the query.
    #[serde(rename = "LTime")]
    pub ltime: u64,
    /// That of the query.
    #[serde(rename = "ID")]
    pub id: u32,
    /// Who answers.
    pub from: String,
    /// [`FLAG_ACK`].
    pub flags: u32,
    /// The answer.
    pub payload: Option<Bytes>,
}

/// A member as another one knows it: the answer to a query about a name that two claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct KnownMember {
    /// Who.
    pub name: String,
    /// Address.
    pub addr: Bytes,
    /// Port.
    pub port: u16,
    /// Tags.
    pub tags: Tags,
    /// Serf's status as its number.
    pub status: i64,
    /// Oldest memberlist protocol understood.
    pub protocol_min: u8,
    /// Newest memberlist protocol understood.
    pub protocol_max: u8,
    /// Memberlist protocol spoken.
    pub protocol_cur: u8,
    /// Oldest Serf protocol understood.
    pub delegate_min: u8,
    /// Newest Serf protocol understood.
    pub delegate_max: u8,
    /// Serf protocol spoken.
    pub delegate_cur: u8,
}

/// The payload of a query about a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct KeyRequest {
    /// The key; empty when keys are listed.
    pub key: Option<Bytes>,
}

/// The payload of an answer to a query about a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct KeyResponse {
    /// Whether it could be done.
    pub result: bool,
    /// Why not, or what else there is to say.
    pub message: String,
    /// The installed keys in base64, when asked for.
    pub keys: List<String>,
    /// The primary key in base64, when keys were asked for.
    pub primary_key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct UdpAddr {
    #[serde(rename = "IP")]
    ip: Bytes,
    #[serde(rename = "Port")]
    port: i64,
    #[serde(rename = "Zone")]
    zone: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RelayHeader {
    dest_addr: UdpAddr,
    dest_name: String,
}

/// A message to be passed on to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where to.
    pub to: SocketAddr,
    /// Who that is.
    pub name: String,
    /// The message, its type byte first.
    pub message: Vec<u8>,
}

/// Who shall answer a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// These members.
    Nodes(Vec<String>),
    /// Those with a tag whose value fits a regular expression; a missing tag counts as empty.
    Tag {
        /// The tag.
        tag: String,
        /// The expression.
        expr: String,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct TagFilter {
    tag: String,
    expr: String,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Unknown kinds: such a filter fits nobody.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (&kind, body) = bytes.split_first().ok_or(Error::Truncated)?;
        match kind {
            0 => Ok(Self::Nodes(msgpack::from_slice(body)?)),
            1 => {
                let TagFilter { tag, expr } = msgpack::from_slice(body)?;
                Ok(Self::Tag { tag, expr })
            }
            other => Err(Error::UnknownType(other)),
        }
    }

    /// Writes a filter.
    ///
    /// # Errors
    /// Never in practice.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Nodes(names) => typed(0, names),
            Self::Tag { tag, expr } => {
                let (tag, expr) = (tag.clone(), expr.clone());
                typed(1, &TagFilter { tag, expr })
            }
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerfMessage {
    /// A member leaves.
    Leave(Leave),
    /// A member joins.
    Join(Join),
    /// Serf's part of a push/pull.
    PushPull(Box<State>),
    /// A user event.
    UserEvent(UserEvent),
    /// A question.
    Query(Box<Query>),
    /// An answer.
    QueryResponse(QueryResponse),
    /// Who somebody knows by a name; nothing when nobody.
    Conflict(Option<Box<KnownMember>>),
    /// A key to install, use or remove.
    KeyRequest(KeyRequest),
    /// How that went.
    KeyResponse(KeyResponse),
    /// To be passed on.
    Relay(Relay),
}

impl SerfMessage {
    /// Reads a message, type byte first.
    ///
    /// # Errors
    /// Unknown types, bodies that are not what the type says.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (&kind, mut body) = bytes.split_first().ok_or(Error::Truncated)?;
        Ok(match kind {
            LEAVE => Self::Leave(msgpack::from_slice(body)?),
            JOIN => Self::Join(msgpack::from_slice(body)?),
            PUSH_PULL => Self::PushPull(msgpack::from_slice(body)?),
            USER_EVENT => Self::UserEvent(msgpack::from_slice(body)?),
            QUERY => Self::Query(msgpack::from_slice(body)?),
            QUERY_RESPONSE => Self::QueryResponse(msgpack::from_slice(body)?),
            CONFLICT_RESPONSE => Self::Conflict(msgpack::from_slice(body)?),
            KEY_REQUEST => Self::KeyRequest(msgpack::from_slice(body)?),
            KEY_RESPONSE => Self::KeyResponse(msgpack::from_slice(body)?),
            RELAY => {
                let header: RelayHeader = msgpack::next(&mut body)?;
                let port = u16::try_from(header.dest_addr.port);
                let port = port.map_err(|_| Error::Malformed("no such port"))?;
                Self::Relay(Relay {
                    to: SocketAddr::new(parse_ip(&header.dest_addr.ip)?, port),
                    name: header.dest_name,
                    message: body.to_vec(),
                })
            }
            other => return Err(Error::UnknownType(other)),
        })
    }

    /// Writes the message, type byte first.
    ///
    /// # Errors
    /// Never in practice.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Leave(m) => typed(LEAVE, m),
            Self::Join(m) => typed(JOIN, m),
            Self::PushPull(m) => typed(PUSH_PULL, m),
            Self::UserEvent(m) => typed(USER_EVENT, m),
            Self::Query(m) => typed(QUERY, m),
            Self::QueryResponse(m) => typed(QUERY_RESPONSE, m),
            Self::Conflict(m) => typed(CONFLICT_RESPONSE, m),
            Self::KeyRequest(m) => typed(KEY_REQUEST, m),
            Self::KeyResponse(m) => typed(KEY_RESPONSE, m),
            Self::Relay(m) => {
                let header = RelayHeader {
                    dest_addr: UdpAddr {
                        ip: ip_bytes(m.to.ip()),
                        port: m.to.port().into(),
                        zone: String::new(),
                    },
                    dest_name: m.name.clone(),
                };
                let mut out = typed(RELAY, &header)?;
                out.extend_from_slice(&m.message);
                Ok(out)
            }
        }
    }
}

fn typed(kind: u8, message: &dyn Serialize) -> Result<Vec<u8>, Error> {
    let mut out = vec![kind];
    msgpack::append(&mut out, message)?;
    Ok(out)
}

impl KnownMember {
    /// Where it is.
    ///
    /// # Errors
    /// When its address is none.
    pub fn socket(&self) -> Result<SocketAddr, Error> {
        Ok(SocketAddr::new(parse_ip(&self.addr)?, self.port))
    }
}

impl State {
    /// The times of the members' statuses.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, u64)> {
        let times: Option<&BTreeMap<String, u64>> = self.status_ltimes.as_ref();
        times.into_iter().flatten().map(|(k, v)| (k.as_str(), *v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_come_back() {
        for filter in [
            Filter::Nodes(vec!["a".to_owned(), "b".to_owned()]),
            Filter::Tag {
                tag: "role".to_owned(),
                expr: "^consul$".to_owned(),
            },
        ] {
            let bytes = filter.encode().unwrap();
            assert_eq!(Filter::decode(&bytes), Ok(filter));
        }
        assert_eq!(Filter::decode(&[2]), Err(Error::UnknownType(2)));
    }

    #[test]
    fn a_relay_keeps_its_message() {
        let relay = SerfMessage::Relay(Relay {
            to: "10.0.0.1:8301".parse().unwrap(),
            name: "a".to_owned(),
            message: vec![5, 1, 2],
        });
        let bytes = relay.encode().unwrap();
        assert_eq!(SerfMessage::decode(&bytes), Ok(relay));
        assert_eq!(SerfMessage::decode(&[10]), Err(Error::UnknownType(10)));
    }
}
