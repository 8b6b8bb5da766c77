//! The messages between servers as bytes: hashicorp/raft's protocol version 3.
//!
//! Old peers know each other by address, new ones by id; both are written, and what is read tells whichever
//! was there. Holds true: what cannot be read is an error, never half a message.
//! Leaves to others: connections and the snapshot's data that follows its request (`drive`).
//! Source: `docs/reference/raft.md` sections 1 to 3 and 10.

use std::borrow::Cow;

use super::codec;
use super::message::{
    AppendEntries, AppendEntriesResponse, InstallSnapshot, InstallSnapshotResponse, Message,
    RequestPreVote, RequestVote, TimeoutNow, TimeoutNowResponse, VoteResponse,
};
use super::types::{Entry, EntryKind};
use crate::codec::{Deserialize, Deserializer, Serialize, Serializer};
use crate::wire::{self, msgpack};

/// The version that Consul speaks.
const PROTOCOL_VERSION: i64 = 3;
/// The oldest version understood: one below the own one.
const OLDEST_VERSION: i64 = 2;
/// The snapshot format in which `Configuration` counts and `Peers` does not.
const SNAPSHOT_VERSION: i64 = 1;
/// What says that a peer does not know a request.
const UNEXPECTED: &str = "unexpected command";

/// The byte before a request.
pub mod kind {
    /// AppendEntries.
    pub const APPEND_ENTRIES: u8 = 0;
    /// RequestVote.
    pub const REQUEST_VOTE: u8 = 1;
    /// InstallSnapshot.
    pub const INSTALL_SNAPSHOT: u8 = 2;
    /// TimeoutNow.
    pub const TIMEOUT_NOW: u8 = 3;
    /// RequestPreVote, which peers before raft 1.7 do not know.
    pub const REQUEST_PRE_VOTE: u8 = 4;
}

/// A server as it calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Its id, empty if it did not say.
    pub id: String,
    /// `ip:port`, empty if it did not say.
    pub address: String,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcError {
    /// The bytes are something else.
    Malformed(wire::Error),
    /// A request of a version that is not spoken.
    Version(i64),
    /// An entry of a kind that is not spoken.
    EntryKind(u8),
    /// A configuration that cannot be read.
    Configuration,
    /// A request that is not known.
    UnknownRequest(u8),
    /// The peer refused the request with this text.
    Refused(String),
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RpcError::Malformed(why) => write!(f, "failed to decode Raft message: {why}"),
            RpcError::Version(n) => write!(
                f,
                "operation not supported with current protocol version: peer speaks version {n}"
            ),
            RpcError::EntryKind(n) => write!(f, "unrecognized Raft log type {n}"),
            RpcError::Configuration => f.write_str("failed to decode Raft configuration"),
            RpcError::UnknownRequest(n) => write!(f, "unknown rpc type {n}"),
            RpcError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for RpcError {}

impl From<wire::Error> for RpcError {
    fn from(why: wire::Error) -> Self {
        RpcError::Malformed(why)
    }
}

/// Bytes that are nil on the wire when empty.
#[derive(Default)]
struct Raw<'a>(Cow<'a, [u8]>);

impl Serialize for Raw<'_> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), wire::Error> {
        match &*self.0 {
            [] => to.nil(),
            bytes => to.bytes(bytes),
        }
    }
}

/// What is read is owned.
impl Deserialize for Raw<'_> {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), wire::Error> {
        self.0 = Cow::Owned(from.raw()?.into_owned());
        Ok(())
    }
}

impl<'a> From<&'a [u8]> for Raw<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Raw(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Raw<'a> {
    fn from(text: &'a str) -> Self {
        Raw(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Raw<'static> {
    fn from(bytes: Vec<u8>) -> Self {
        Raw(Cow::Owned(bytes))
    }
}

impl Raw<'_> {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($field:ident $rename:literal: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Default, Serialize, Deserialize)]
            #[serde(default)]
            struct $name<'a> {
                #[serde(rename = "ProtocolVersion")]
                protocol_version: i64,
                /// Since raft 1.3.
                #[serde(rename = "ID")]
                id: Raw<'a>,
                #[serde(rename = "Addr")]
                addr: Raw<'a>,
                $(#[serde(rename = $rename)] $field: $type,)*
            }
        )*
    };
}

messages! {
    Append {
        term "Term": u64,
        leader "Leader": Raw<'a>,
        prev_index "PrevLogEntry": u64,
        prev_term "PrevLogTerm": u64,
        entries "Entries": Option<Vec<Log<'a>>>,
        leader_commit "LeaderCommitIndex": u64,
    }
    AppendAnswer {
        term "Term": u64,
        last_log "LastLog": u64,
        success "Success": bool,
        no_retry_backoff "NoRetryBackoff": bool,
    }
    Vote {
        term "Term": u64,
        candidate "Candidate": Raw<'a>,
        last_log_index "LastLogIndex": u64,
        last_log_term "LastLogTerm": u64,
        leadership_transfer "LeadershipTransfer": bool,
    }
    VoteAnswer {
        term "Term": u64,
        peers "Peers": Raw<'a>,
        granted "Granted": bool,
    }
    PreVote {
        term "Term": u64,
        last_log_index "LastLogIndex": u64,
        last_log_term "LastLogTerm": u64,
    }
    PreVoteAnswer {
        term "Term": u64,
        granted "Granted": bool,
    }
    Install {
        snapshot_version "SnapshotVersion": i64,
        term "Term": u64,
        leader "Leader": Raw<'a>,
        last_log_index "LastLogIndex": u64,
        last_log_term "LastLogTerm": u64,
        peers "Peers": Raw<'a>,
        configuration "Configuration": Raw<'a>,
        configuration_index "ConfigurationIndex": u64,
        size "Size": i64,
    }
    InstallAnswer {
        term "Term": u64,
        success "Success": bool,
    }
    /// TimeoutNow and its answer. The term is an addition of ours, which others pass over.
    Header {
        term "Term": u64,
    }
}

/// A log entry.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Log<'a> {
    #[serde(rename = "Index")]
    index: u64,
    #[serde(rename = "Term")]
    term: u64,
    #[serde(rename = "Type")]
    kind: u8,
    #[serde(rename = "Data")]
    data: Raw<'a>,
    #[serde(rename = "Extensions")]
    extensions: Raw<'a>,
}

fn log_out(entry: &Entry) -> Log<'_> {
    Log {
        index: entry.index,
        term: entry.term,
        kind: entry.kind as u8,
        data: Raw::from(&*entry.data),
        extensions: Raw::from(entry.extensions.as_slice()),
    }
}

fn log_in(entry: Log<'static>) -> Result<Entry, RpcError> {
    let kind = EntryKind::from_u8(entry.kind).ok_or(RpcError::EntryKind(entry.kind))?;
    Ok(Entry {
        index: entry.index,
        term: entry.term,
        kind,
        data: entry.data.0.into_owned().into(),
        extensions: entry.extensions.0.into_owned(),
    })
}

/// A request as it goes over the wire, its first byte included. `size` is the length of the snapshot's data
/// that follows.
///
/// # Errors
/// [`RpcError::UnknownRequest`] when `message` is no request.
pub fn encode_request(from: &Sender, message: &Message, size: u64) -> Result<Vec<u8>, RpcError> {
    let protocol_version = PROTOCOL_VERSION;
    let (id, addr) = (Raw::from(&*from.id), Raw::from(&*from.address));
    let mut out = Vec::new();
    match message {
        Message::AppendEntries(m) => {
            out.push(kind::APPEND_ENTRIES);
            let entries = &m.entries;
            let body = Append {
                protocol_version,
                id,
                addr,
                term: m.term,
                leader: Raw::from(&*from.address),
                prev_index: m.prev_index,
                prev_term: m.prev_term,
                entries: (!entries.is_empty()).then(|| entries.iter().map(log_out).collect()),
                leader_commit: m.leader_commit,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::RequestVote(m) => {
            out.push(kind::REQUEST_VOTE);
            let body = Vote {
                protocol_version,
                id,
                addr,
                term: m.term,
                candidate: Raw::from(&*from.address),
                last_log_index: m.last_log_index,
                last_log_term: m.last_log_term,
                leadership_transfer: m.leadership_transfer,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::RequestPreVote(m) => {
            out.push(kind::REQUEST_PRE_VOTE);
            let body = PreVote {
                protocol_version,
                id,
                addr,
                term: m.term,
                last_log_index: m.last_log_index,
                last_log_term: m.last_log_term,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::InstallSnapshot(m) => {
            out.push(kind::INSTALL_SNAPSHOT);
            msgpack::append(&mut out, &install_out(from, m, size)?)?;
        }
        Message::TimeoutNow(m) => {
            out.push(kind::TIMEOUT_NOW);
            let body = Header {
                protocol_version,
                id,
                addr,
                term: m.term,
            };
            msgpack::append(&mut out, &body)?;
        }
        answer => return Err(RpcError::UnknownRequest(answer.rpc())),
    }
    Ok(out)
}

fn install_out<'a>(
    from: &'a Sender,
    m: &'a InstallSnapshot,
    size: u64,
) -> Result<Install<'a>, RpcError> {
    let servers = m.configuration.servers.iter();
    let voters: Vec<Raw> = servers.map(|server| Raw::from(&*server.address)).collect();
    Ok(Install {
        protocol_version: PROTOCOL_VERSION,
        id: Raw::from(&*from.id),
        addr: Raw::from(&*from.address),
        snapshot_version: SNAPSHOT_VERSION,
        term: m.term,
        leader: Raw::from(&*from.address),
        last_log_index: m.last_log_index,
        last_log_term: m.last_log_term,
        peers: msgpack::to_vec(&voters)?.into(),
        configuration: codec::encode(&m.configuration).into(),
        configuration_index: m.configuration_index,
        size: i64::try_from(size).unwrap_or(i64::MAX),
    })
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Who says it is from.
    pub from: Sender,
    /// The request; its `seq` is 0.
    pub message: Message,
    /// Bytes of the snapshot that follow.
    pub size: u64,
}

fn check_version(version: i64) -> Result<(), RpcError> {
    match version {
        OLDEST_VERSION..=PROTOCOL_VERSION => Ok(()),
        other => Err(RpcError::Version(other)),
    }
}

/// The sender by the new fields or else by the old one.
fn sender(id: &Raw, addr: &Raw, old: &Raw) -> Sender {
    let address = if addr.0.is_empty() { old } else { addr };
    Sender {
        id: id.text(),
        address: address.text(),
    }
}

/// Reads a request without its first byte, which is `kind`.
///
/// # Errors
/// See [`RpcError`].
pub fn decode_request(kind: u8, body: &[u8]) -> Result<Incoming, RpcError> {
    match kind {
        kind::APPEND_ENTRIES => {
            let m: Append = msgpack::from_slice(body)?;
            check_version(m.protocol_version)?;
            let entries = m.entries.unwrap_or_default().into_iter().map(log_in);
            Ok(Incoming {
                from: sender(&m.id, &m.addr, &m.leader),
                message: Message::AppendEntries(AppendEntries {
                    seq: 0,
                    term: m.term,
                    prev_index: m.prev_index,
                    prev_term: m.prev_term,
                    entries: entries.collect::<Result<_, _>>()?,
                    leader_commit: m.leader_commit,
                }),
                size: 0,
            })
        }
        kind::REQUEST_VOTE => {
            let m: Vote = msgpack::from_slice(body)?;
            check_version(m.protocol_version)?;
            Ok(Incoming {
                from: sender(&m.id, &m.addr, &m.candidate),
                message: Message::RequestVote(RequestVote {
                    seq: 0,
                    term: m.term,
                    last_log_index: m.last_log_index,
                    last_log_term: m.last_log_term,
                    leadership_transfer: m.leadership_transfer,
                }),
                size: 0,
            })
        }
        kind::INSTALL_SNAPSHOT => decode_install(body),
        kind::TIMEOUT_NOW => {
            let m: Header = msgpack::from_slice(body)?;
            check_version(m.protocol_version)?;
            Ok(Incoming {
                from: sender(&m.id, &m.addr, &Raw::default()),
                message: Message::TimeoutNow(TimeoutNow {
                    seq: 0,
                    term: m.term,
                }),
                size: 0,
            })
        }
        kind::REQUEST_PRE_VOTE => {
            let m: PreVote = msgpack::from_slice(body)?;
            check_version(m.protocol_version)?;
            Ok(Incoming {
                from: sender(&m.id, &m.addr, &Raw::default()),
                message: Message::RequestPreVote(RequestPreVote {
                    seq: 0,
                    term: m.term,
                    last_log_index: m.last_log_index,
                    last_log_term: m.last_log_term,
                }),
                size: 0,
            })
        }
        unknown => Err(RpcError::UnknownRequest(unknown)),
    }
}

fn decode_install(body: &[u8]) -> Result<Incoming, RpcError> {
    let m: Install = msgpack::from_slice(body)?;
    check_version(m.protocol_version)?;
    let configuration = codec::decode(&m.configuration.0).ok_or(RpcError::Configuration)?;
    Ok(Incoming {
        from: sender(&m.id, &m.addr, &m.leader),
        message: Message::InstallSnapshot(InstallSnapshot {
            seq: 0,
            term: m.term,
            last_log_index: m.last_log_index,
            last_log_term: m.last_log_term,
            configuration,
            configuration_index: m.configuration_index,
        }),
        size: u64::try_from(m.size).unwrap_or(0),
    })
}

/// An answer as it goes over the wire.
///
/// # Errors
/// [`RpcError::UnknownRequest`] when `message` is no answer.
pub fn encode_response(from: &Sender, message: &Message) -> Result<Vec<u8>, RpcError> {
    let protocol_version = PROTOCOL_VERSION;
    let (id, addr) = (Raw::from(&*from.id), Raw::from(&*from.address));
    let mut out = msgpack::to_vec(&"")?;
    match message {
        Message::AppendEntriesResponse(m) => {
            let body = AppendAnswer {
                protocol_version,
                id,
                addr,
                term: m.term,
                last_log: m.last_log,
                success: m.success,
                no_retry_backoff: m.no_retry_backoff,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::RequestVoteResponse(m) => {
            let body = VoteAnswer {
                protocol_version,
                id,
                addr,
                term: m.term,
                peers: Raw::default(),
                granted: m.granted,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::RequestPreVoteResponse(m) => {
            let body = PreVoteAnswer {
                protocol_version,
                id,
                addr,
                term: m.term,
                granted: m.granted,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::InstallSnapshotResponse(m) => {
            let body = InstallAnswer {
                protocol_version,
                id,
                addr,
                term: m.term,
                success: m.success,
            };
            msgpack::append(&mut out, &body)?;
        }
        Message::TimeoutNowResponse(_) => {
            let body = Header {
                protocol_version,
                id,
                addr,
                term: 0,
            };
            msgpack::append(&mut out, &body)?;
        }
        request => return Err(RpcError::UnknownRequest(request.rpc())),
    }
    Ok(out)
}

/// The refusal of a request that could not be read or is not known.
///
/// # Errors
/// Never, in fact: a text can always be written.
pub fn encode_refusal(why: &RpcError) -> Result<Vec<u8>, RpcError> {
    let mut out = match why {
        RpcError::UnknownRequest(_) => msgpack::to_vec(&UNEXPECTED)?,
        other => msgpack::to_vec(&other.to_string())?,
    };
    out.push(0xc0);
    Ok(out)
}

/// Reads the answer to `request`, which gives it its kind and its `seq`.
///
/// # Errors
/// See [`RpcError`].
pub fn decode_response(request: &Message, bytes: &[u8]) -> Result<Message, RpcError> {
    let mut rest = bytes;
    let error: String = msgpack::next(&mut rest)?;
    if !error.is_empty() {
        return refused(request, error);
    }
    Ok(match request {
        Message::AppendEntries(r) => {
            let m: AppendAnswer = msgpack::next(&mut rest)?;
            Message::AppendEntriesResponse(AppendEntriesResponse {
                seq: r.seq,
                term: m.term,
                last_log: m.last_log,
                success: m.success,
                no_retry_backoff: m.no_retry_backoff,
            })
        }
        Message::RequestVote(r) => {
            let m: VoteAnswer = msgpack::next(&mut rest)?;
            Message::RequestVoteResponse(VoteResponse {
                seq: r.seq,
                term: m.term,
                granted: m.granted,
            })
        }
        Message::RequestPreVote(r) => {
            let m: PreVoteAnswer = msgpack::next(&mut rest)?;
            Message::RequestPreVoteResponse(VoteResponse {
                seq: r.seq,
                term: m.term,
                granted: m.granted,
            })
        }
        Message::InstallSnapshot(r) => {
            let m: InstallAnswer = msgpack::next(&mut rest)?;
            Message::InstallSnapshotResponse(InstallSnapshotResponse {
                seq: r.seq,
                term: m.term,
                success: m.success,
            })
        }
        Message::TimeoutNow(r) => Message::TimeoutNowResponse(TimeoutNowResponse { seq: r.seq }),
        answer => return Err(RpcError::UnknownRequest(answer.rpc())),
    })
}

/// A refusal of a pre-vote as unknown counts as granted: the peer is older than pre-votes.
fn refused(request: &Message, error: String) -> Result<Message, RpcError> {
    match request {
        Message::RequestPreVote(r) if error.contains(UNEXPECTED) => Ok(granted(r)),
        _ => Err(RpcError::Refused(error)),
    }
}

/// The answer of a peer that is older than pre-votes, whatever way it says so.
pub fn granted(request: &RequestPreVote) -> Message {
    Message::RequestPreVoteResponse(VoteResponse {
        seq: request.seq,
        term: request.term,
        granted: true,
    })
}
