//! The messages of Consul's RPC: a header, then the argument or the result, for every method of the table.
//!
//! Holds true: what cannot be read names the method and changes nothing; unit arguments and results are the
//! empty map that Consul sends. Leaves to others: where a message ends on a stream (`extent`), connections
//! (`net`), who answers (`server`).
//! Source: `docs/reference/rpc.md` sections 4 and 11.

use std::result::Result;

use super::{Deserialize, Error, Serialize, msgpack};
use crate::structs;
use crate::structs::rpc::{Reply, Request, rpc_methods};
use crate::structs::*;

/// Before every argument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestHeader {
    /// The caller's counter, echoed in the answer.
    #[serde(rename = "Seq")]
    pub seq: u64,
    /// Such as `KVS.Apply`.
    #[serde(rename = "ServiceMethod")]
    pub service_method: String,
}

/// Before every result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResponseHeader {
    /// What went wrong, or empty.
    #[serde(rename = "Error")]
    pub error: String,
    /// The request's counter.
    #[serde(rename = "Seq")]
    pub seq: u64,
    /// The request's method.
    #[serde(rename = "ServiceMethod")]
    pub service_method: String,
}

/// Why a request cannot be answered; the caller hears it as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No such service: Consul closes the stream after saying so.
    UnknownService(String),
    /// No such method: Consul closes the stream after saying so.
    UnknownMethod(String),
    /// The bytes are no message.
    Malformed(Error),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::UnknownService(name) => write!(f, "rpc: can't find service {name}"),
            CallError::UnknownMethod(name) => write!(f, "rpc: can't find method {name}"),
            CallError::Malformed(why) => write!(f, "rpc: {why}"),
        }
    }
}

impl std::error::Error for CallError {}

/// What a body without content is: an empty map.
const NOTHING: u8 = 0x80;

fn append_body<T: Serialize>(out: &mut Vec<u8>, body: &T) -> Result<(), Error> {
    if size_of::<T>() == 0 {
        out.push(NOTHING);
        return Ok(());
    }
    msgpack::append(out, body)
}

macro_rules! codecs {
    ($($(#[$doc:meta])* $name:literal $class:ident $variant:ident($args:ty) -> $reply:ty;)*) => {
        fn append_args(out: &mut Vec<u8>, request: &Request) -> Result<(), Error> {
            match request { $(Request::$variant(args) => append_body::<$args>(out, args),)* }
        }

        fn append_reply(out: &mut Vec<u8>, reply: &Reply) -> Result<(), Error> {
            match reply { $(Reply::$variant(body) => append_body::<$reply>(out, body),)* }
        }

        fn read_args(name: &str, bytes: &mut &[u8]) -> Result<Request, CallError> {
            match name {
                $($name => msgpack::next::<$args>(bytes).map(Request::$variant).map_err(CallError::Malformed),)*
                _ => Err(unknown(name)),
            }
        }

        /// Reads the result of a method.
        ///
        /// # Errors
        /// [`Error::Type`] and others when the bytes are not its result.
        pub fn read_reply(name: &str, bytes: &mut &[u8]) -> Result<Reply, Error> {
            match name {
                $($name => msgpack::next::<$reply>(bytes).map(Reply::$variant),)*
                _ => Err(Error::Custom(unknown(name).to_string())),
            }
        }

        /// The names of all methods.
        const METHODS: &[&str] = &[$($name),*];
    };
}

rpc_methods!(codecs);

#[cold]
fn unknown(name: &str) -> CallError {
    let service = name.split_once('.').map_or(name, |(service, _)| service);
    let mut services = METHODS.iter().filter_map(|m| m.split_once('.'));
    if services.any(|(known, _)| known == service) {
        CallError::UnknownMethod(name.to_owned())
    } else {
        CallError::UnknownService(name.to_owned())
    }
}

/// A request as it goes over the wire.
///
/// # Errors
/// Only those of the argument's own `Serialize`.
pub fn request(seq: u64, request: &Request) -> Result<Vec<u8>, Error> {
    let header = RequestHeader {
        seq,
        service_method: request.name().to_owned(),
    };
    let mut out = msgpack::to_vec(&header)?;
    append_args(&mut out, request)?;
    Ok(out)
}

/// Reads a request's header.
///
/// # Errors
/// When the bytes are none.
pub fn read_request_header(bytes: &mut &[u8]) -> Result<RequestHeader, Error> {
    msgpack::next(bytes)
}

/// Reads a request's argument.
///
/// # Errors
/// See [`CallError`].
pub fn read_request(header: &RequestHeader, bytes: &mut &[u8]) -> Result<Request, CallError> {
    read_args(&header.service_method, bytes)
}

/// An answer as it goes over the wire.
///
/// # Errors
/// Only those of the result's own `Serialize`.
pub fn response(header: &RequestHeader, result: &structs::Result<Reply>) -> Result<Vec<u8>, Error> {
    let mut answer = ResponseHeader {
        error: String::new(),
        seq: header.seq,
        service_method: header.service_method.clone(),
    };
    match result {
        Ok(reply) => {
            let mut out = msgpack::to_vec(&answer)?;
            append_reply(&mut out, reply)?;
            Ok(out)
        }
        Err(error) => {
            answer.error = error.text().to_owned();
            let mut out = msgpack::to_vec(&answer)?;
            out.push(NOTHING);
            Ok(out)
        }
    }
}

/// The beginning of an answer with a list `name` beside `meta`: of its `count` elements each is to follow as
/// [`msgpack::append`] writes it.
///
/// # Errors
/// When there are more elements than a list can have.
pub fn listing(
    header: &RequestHeader,
    meta: &QueryMeta,
    name: &str,
    count: usize,
) -> Result<Vec<u8>, Error> {
    let answer = ResponseHeader {
        error: String::new(),
        seq: header.seq,
        service_method: header.service_method.clone(),
    };
    let mut out = msgpack::to_vec(&answer)?;
    let body = out.len();
    msgpack::append(&mut out, meta)?;
    // The list is one more member of the map, the last one.
    match out.get_mut(body) {
        Some(map @ 0x80..=0x8e) => *map += 1,
        _ => return Err(Error::Msgpack("the meta is no small map")),
    }
    msgpack::append(&mut out, &name.to_owned())?;
    let count = u32::try_from(count).map_err(|_| Error::Msgpack("too many elements for a list"))?;
    out.push(0xdd);
    out.extend(count.to_be_bytes());
    Ok(out)
}

/// Reads an answer's header.
///
/// # Errors
/// When the bytes are none.
pub fn read_response_header(bytes: &mut &[u8]) -> Result<ResponseHeader, Error> {
    msgpack::next(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_bodies_are_empty_maps() {
        let bytes = request(7, &Request::StatusPing(())).unwrap();
        assert_eq!(
            bytes,
            b"\x82\xa3Seq\x07\xadServiceMethod\xabStatus.Ping\x80"
        );
        let mut rest = bytes.as_slice();
        let header = read_request_header(&mut rest).unwrap();
        let back = read_request(&header, &mut rest).unwrap();
        assert!(matches!(back, Request::StatusPing(())));
        assert!(rest.is_empty());
        let answer = response(&header, &Ok(Reply::StatusPing(()))).unwrap();
        let mut rest = answer.as_slice();
        assert_eq!(read_response_header(&mut rest).unwrap().error, "");
        assert!(matches!(
            read_reply("Status.Ping", &mut rest),
            Ok(Reply::StatusPing(()))
        ));
    }

    #[test]
    fn errors_travel_as_text_with_an_empty_body() {
        let header = RequestHeader {
            seq: 3,
            service_method: "KVS.Get".to_owned(),
        };
        let error = structs::Error::new(NO_CLUSTER_LEADER);
        let bytes = response(&header, &Err(error)).unwrap();
        assert_eq!(bytes.last(), Some(&NOTHING));
        let mut rest = bytes.as_slice();
        let back = read_response_header(&mut rest).unwrap();
        assert_eq!((back.error.as_str(), back.seq), (NO_CLUSTER_LEADER, 3));
    }

    #[test]
    fn an_answer_in_pieces_is_the_same_answer() {
        let header = RequestHeader {
            seq: 9,
            service_method: "KVS.List".to_owned(),
        };
        let entry = |n: usize| DirEntry {
            key: format!("k{n}"),
            ..DirEntry::default()
        };
        let all = IndexedDirEntries {
            entries: Some((0..70_000).map(entry).collect()),
            meta: QueryMeta {
                index: 7,
                known_leader: true,
                ..QueryMeta::default()
            },
        };
        let mut bytes = listing(&header, &all.meta, "Entries", 70_000).unwrap();
        for one in all.entries.iter().flatten() {
            msgpack::append(&mut bytes, one).unwrap();
        }
        let mut rest = bytes.as_slice();
        assert_eq!(read_response_header(&mut rest).unwrap().seq, 9);
        let Ok(Reply::KvsList(back)) = read_reply("KVS.List", &mut rest) else {
            panic!("an answer to KVS.List")
        };
        assert_eq!(back, all);
        assert!(rest.is_empty());
    }

    #[test]
    fn unknown_names_are_told_apart() {
        let text = |name: &str| read_args(name, &mut &b"\x80"[..]).unwrap_err().to_string();
        assert_eq!(text("KVS.Nope"), "rpc: can't find method KVS.Nope");
        assert_eq!(text("Nope.Get"), "rpc: can't find service Nope.Get");
        assert_eq!(text(""), "rpc: can't find service ");
    }
}
