//! What the tests of the store share: directories of their own, entries, commands.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use consul_lite::raft::{Entry, EntryKind};
use consul_lite::store::{ApplyReply, Fsm};
use consul_lite::structs::go::Bytes;
use consul_lite::structs::{DirEntry, KVSRequest};
use consul_lite::wire::msgpack;
use serde::Serialize;

/// A directory that goes away with its owner.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("consul-lite-store-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A log entry that holds a command.
pub fn entry(index: u64, data: Vec<u8>) -> Entry {
    Entry {
        index,
        term: 1,
        kind: EntryKind::Command,
        data: data.into(),
        extensions: Vec::new(),
    }
}

/// A command: its type and its body.
pub fn command<T: Serialize>(kind: u8, body: &T) -> Vec<u8> {
    let mut data = vec![kind];
    data.extend(msgpack::to_vec(body).unwrap());
    data
}

/// A KV command on one key.
pub fn kvs(op: &str, entry: DirEntry) -> Vec<u8> {
    let request = KVSRequest {
        datacenter: "dc1".to_owned(),
        op: op.to_owned(),
        dir_ent: entry,
        ..KVSRequest::default()
    };
    command(2, &request)
}

/// The command that sets a key.
pub fn set(key: &str, value: &[u8]) -> Vec<u8> {
    kvs(
        "set",
        DirEntry {
            key: key.to_owned(),
            value: Bytes(value.to_vec()),
            ..DirEntry::default()
        },
    )
}

/// Applies one command and returns its reply.
pub fn apply(fsm: &mut Fsm, data: Vec<u8>) -> ApplyReply {
    let index = fsm.applied_index() + 1;
    let replies = fsm.apply(Duration::ZERO, &[entry(index, data)]).unwrap();
    replies.into_iter().next().unwrap()
}
