//! What Consul's servers said to each other: read, written again, and compared value by value. What we write
//! has two fields more, by which newer servers know each other.

use std::path::Path;

use consul_lite::raft::rpc::{self, Sender};
use consul_lite::raft::{AppendEntries, InstallSnapshot, Message, RequestVote, TimeoutNow};
use consul_lite::wire::{Value, msgpack};

use crate::vectors::{Vector, load};

/// A value without the fields that only newer servers send.
fn old(bytes: &[u8]) -> (Value<'_>, &[u8]) {
    let (mut value, rest) = msgpack::decode(bytes).expect("whole bytes");
    if let Value::Map(fields) = &mut value {
        fields.retain(|(key, _)| !matches!(key.as_str(), Some("ID" | "Addr")));
        for (key, value) in fields {
            // No entries are an empty list or nothing, as it happens.
            if key.as_str() == Some("Entries") && *value == Value::Nil {
                *value = Value::Array(Vec::new());
            }
        }
    }
    (value, rest)
}

fn of_kind(kind: u8) -> Message {
    match kind {
        0 => Message::AppendEntries(AppendEntries::default()),
        1 => Message::RequestVote(RequestVote::default()),
        2 => Message::InstallSnapshot(InstallSnapshot::default()),
        _ => Message::TimeoutNow(TimeoutNow::default()),
    }
}

fn request(vector: &Vector) {
    let mut rest = vector.bytes.as_slice();
    while let Some((kind, body)) = rest.split_first() {
        let (value, after) = old(body);
        let incoming = rpc::decode_request(*kind, body).expect(&vector.name);
        assert_eq!(incoming.message.rpc(), *kind);
        let again = rpc::encode_request(&incoming.from, &incoming.message, incoming.size)
            .expect("a request");
        let (mut mine, _) = old(&again[1..]);
        if let (Message::TimeoutNow(_), Value::Map(fields)) = (&incoming.message, &mut mine) {
            fields.retain(|(key, _)| key.as_str() != Some("Term"));
        }
        assert_eq!(mine, value, "{}", vector.name);
        assert!(
            incoming.from.address.is_empty() || incoming.from.address.ends_with(":8300"),
            "{}: {:?}",
            vector.name,
            incoming.from
        );
        let size = usize::try_from(incoming.size).expect("a size");
        rest = &after[size..];
    }
}

fn response(vector: &Vector, kind: u8) {
    let mut rest = vector.bytes.as_slice();
    while !rest.is_empty() {
        let (error, body) = msgpack::decode(rest).expect("whole bytes");
        assert_eq!(error.as_bytes(), Some(&b""[..]), "{}", vector.name);
        let (value, after) = old(body);
        let message = rpc::decode_response(&of_kind(kind), rest).expect(&vector.name);
        let again = rpc::encode_response(&Sender::default(), &message).expect("a response");
        let (mine, _) = old(&again[1..]);
        // Two of Consul's answers leave the version at 0, and ours to TimeoutNow has a term.
        let plain = |value: &Value<'_>| {
            let Value::Map(fields) = value else {
                panic!("{}: {value:?}", vector.name);
            };
            let told = fields.iter().filter(|(key, _)| {
                let key = key.as_str().unwrap_or_default();
                key != "ProtocolVersion" && (kind != 3 || key != "Term")
            });
            format!("{:?}", told.collect::<Vec<_>>())
        };
        assert_eq!(plain(&mine), plain(&value), "{}", vector.name);
        rest = after;
    }
}

#[test]
fn messages_between_servers_keep_their_values() {
    let vectors = load("raft-rpc");
    assert!(vectors.len() > 15, "{}", vectors.len());
    for vector in &vectors {
        let path = Path::new(&vector.name);
        let stem = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default();
        let kind = match stem {
            name if name.starts_with("vote") => 1,
            name if name.starts_with("install") => 2,
            name if name.starts_with("timeout") => 3,
            _ => 0,
        };
        match vector.name.ends_with(".req") {
            true => request(vector),
            false => response(vector, kind),
        }
    }
}

#[test]
fn servers_know_each_other_by_id() {
    let me = Sender {
        id: "5f0b-id".to_owned(),
        address: "10.0.0.1:8300".to_owned(),
    };
    let message = Message::RequestVote(RequestVote {
        seq: 9,
        term: 4,
        last_log_index: 12,
        last_log_term: 3,
        leadership_transfer: true,
    });
    let bytes = rpc::encode_request(&me, &message, 0).expect("a request");
    let incoming = rpc::decode_request(bytes[0], &bytes[1..]).expect("what was written");
    assert_eq!(incoming.from, me);
    assert_eq!(incoming.message.with_seq(9), message);
}
