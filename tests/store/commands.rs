//! Commands for the state machine, as entries of the log.

use consul_lite::raft::{Entry, EntryKind};
use consul_lite::structs::command;
use consul_lite::structs::go::Bytes;
use consul_lite::structs::{DirEntry, KVSRequest, RegisterRequest, Session, SessionRequest};
use consul_lite::wire::msgpack;

/// What the state machine is given.
#[derive(Clone, Debug)]
pub enum Command {
    Register(Box<RegisterRequest>),
    Kvs(KVSRequest),
    Session(SessionRequest),
}

impl Command {
    /// The command as a log entry's payload.
    pub fn bytes(&self) -> Vec<u8> {
        let with = |kind: u8, body: Vec<u8>| [vec![kind], body].concat();
        match self {
            Command::Register(r) => with(command::REGISTER, msgpack::to_vec(r).unwrap()),
            Command::Kvs(r) => with(command::KVS, msgpack::to_vec(r).unwrap()),
            Command::Session(r) => with(command::SESSION, msgpack::to_vec(r).unwrap()),
        }
    }

    /// The command as an entry.
    pub fn entry(&self, index: u64, term: u64) -> Entry {
        entry(index, term, self.bytes())
    }
}

/// An entry with a command's bytes.
pub fn entry(index: u64, term: u64, data: Vec<u8>) -> Entry {
    Entry {
        index,
        term,
        kind: EntryKind::Command,
        data: data.into(),
        extensions: Vec::new(),
    }
}

/// An operation on one key.
pub fn kvs(op: &str, key: &str, value: &[u8]) -> Command {
    Command::Kvs(KVSRequest {
        op: op.to_owned(),
        dir_ent: DirEntry {
            key: key.to_owned(),
            value: Bytes(value.to_vec()),
            ..DirEntry::default()
        },
        ..KVSRequest::default()
    })
}

/// The registration of a node alone.
pub fn node(name: &str, address: &str) -> Command {
    Command::Register(Box::new(RegisterRequest {
        node: name.to_owned(),
        address: address.to_owned(),
        ..RegisterRequest::default()
    }))
}

/// Creates or destroys a session.
pub fn session(op: &str, id: &str, node: &str) -> Command {
    Command::Session(SessionRequest {
        op: op.to_owned(),
        session: Session {
            id: id.to_owned(),
            node: node.to_owned(),
            ..Session::default()
        },
        ..SessionRequest::default()
    })
}

/// A UUID that a small number stands for.
pub fn uuid(n: u64) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}
