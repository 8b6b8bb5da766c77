//! A real Consul's history: its log entries applied here must give, after every step, the state that it
//! saved in its snapshots, the indexes that it answered reads with, and the replies that it gave.
//!
//! Each `history-*.bin.gz` was recorded from one Consul 1.8.7 server: nearly a hundred writes over HTTP, a
//! snapshot and some fifty reads after each. Records: kind (0 to 5 a log entry of that Raft type, 100 a
//! `state.bin`, 101 a read, 102 the answer to the write), index and length (big endian), bytes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use consul_lite::raft::{Entry, EntryKind};
use consul_lite::store::{self, ApplyReply, Read, State, WatchSet};
use consul_lite::wire::{Value, json, msgpack};

use crate::support::Dir;

struct Step {
    kind: u8,
    index: u64,
    bytes: Vec<u8>,
}

fn steps(packed: &[u8]) -> Vec<Step> {
    let mut all = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut all)
        .unwrap();
    let mut rest = all.as_slice();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let index = u64::from_be_bytes(rest[1..9].try_into().unwrap());
        let length = u32::from_be_bytes(rest[9..13].try_into().unwrap()) as usize;
        out.push(Step {
            kind: rest[0],
            index,
            bytes: rest[13..13 + length].to_vec(),
        });
        rest = &rest[13 + length..];
    }
    out
}

fn canonical(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Map(entries) => {
            let mut sorted: BTreeMap<String, &Value<'_>> = BTreeMap::new();
            for (k, v) in entries {
                sorted.insert(k.as_str().unwrap_or_default().to_owned(), v);
            }
            out.push('{');
            for (k, v) in sorted {
                out.push_str(&k);
                out.push(':');
                canonical(v, out);
                out.push(' ');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for v in items {
                canonical(v, out);
                out.push(' ');
            }
            out.push(']');
        }
        // Absent and empty text are the same value of a key.
        Value::Str(s) if s.is_empty() => out.push_str("nil"),
        other => out.push_str(&format!("{other:?}")),
    }
}

/// The records of the kinds that are served here, as sorted text.
fn records(state: &[u8]) -> Vec<String> {
    let (_, mut rest) = msgpack::decode(state).unwrap();
    let mut out = Vec::new();
    while let Some((kind, body)) = rest.split_first() {
        let (value, after) = msgpack::decode(body).unwrap();
        rest = after;
        let key = value.get("Key").and_then(Value::as_str).unwrap_or_default();
        let foreign = *kind == 16 && ["federation-states"].contains(&key);
        if [0, 2, 3, 5, 6, 9, 16].contains(kind) && !foreign {
            let mut text = format!("{kind} ");
            canonical(&value, &mut text);
            out.push(text);
        }
    }
    out.sort();
    out
}

fn compare_state(index: u64, state: &State, want: &[u8], wrong: &mut Vec<String>) {
    let mut got = Vec::new();
    let snapshot = state.snapshot().unwrap();
    assert_eq!(snapshot.index(), index);
    snapshot.write_state(&mut got).unwrap();
    let (want, got) = (records(want), records(&got));
    let missing: Vec<_> = want.iter().filter(|r| !got.contains(r)).collect();
    let extra: Vec<_> = got.iter().filter(|r| !want.contains(r)).collect();
    if !(missing.is_empty() && extra.is_empty()) {
        wrong.push(format!("{index}: missing {missing:#?} extra {extra:#?}"));
    }
}

/// The index for a read given by its HTTP path, `None` for paths that have none.
fn read_index(read: &Read, path: &str) -> Option<u64> {
    let mut ws = WatchSet::new();
    let ws = &mut ws;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let meta = query.strip_prefix("node-meta=").and_then(|m| {
        let (k, v) = m.split_once(':')?;
        Some([(k.to_owned(), v.to_owned())].into())
    });
    let (head, name) = path.rsplit_once('/').unwrap_or((path, ""));
    if let Some(key) = path.strip_prefix("kv/") {
        return Some(match query {
            "" => read.kvs_get(ws, key).unwrap().0,
            "recurse" => read.kvs_list(ws, key).unwrap().0,
            _ => read.kvs_list_keys(ws, key, "/").unwrap().0,
        });
    }
    Some(match (head, name) {
        ("session", "list") => read.session_list(ws).unwrap().0,
        ("session/node", n) => read.node_sessions(ws, n).unwrap().0,
        ("catalog", "nodes") => read.nodes(ws, &meta).unwrap().0,
        ("catalog", "services") => read.services(ws, &meta).unwrap().0,
        ("catalog/service", n) => read.service_nodes(ws, n, false).unwrap().0,
        ("catalog/connect", n) => read.service_nodes(ws, n, true).unwrap().0,
        ("catalog/node" | "catalog/node-services", n) => read.node_services(ws, n).unwrap().0,
        ("health/service", n) => read.check_service_nodes(ws, n, false).unwrap().0,
        ("health/connect", n) => read.check_service_nodes(ws, n, true).unwrap().0,
        ("health/ingress", n) => read.check_ingress_service_nodes(ws, n).unwrap().0,
        ("health/checks", n) => read.service_checks(ws, n, &meta).unwrap().0,
        ("health/node", n) => read.node_checks(ws, n).unwrap().0,
        ("health/state", n) => read.checks_in_state(ws, n, &meta).unwrap().0,
        ("coordinate", "nodes") => read.coordinates(ws).unwrap().0,
        ("internal/ui", "nodes") => read.node_dump(ws).unwrap().0,
        ("internal/ui/node", n) => read.node_info(ws, n).unwrap().0,
        ("internal/ui", "services") => read.service_dump(ws, None).unwrap().0,
        other => panic!("no such read: {other:?}"),
    })
}

/// The first two elements of a JSON list.
fn text_and_number(list: &[u8]) -> (String, u64) {
    match json::decode(list).unwrap().0 {
        Value::Array(items) => match items.as_slice() {
            [Value::Str(text), Value::Uint(n), ..] => {
                (String::from_utf8_lossy(text).into_owned(), *n)
            }
            other => panic!("no text and number: {other:?}"),
        },
        other => panic!("no list: {other:?}"),
    }
}

fn compare_reply(index: u64, reply: &ApplyReply, answer: &[u8], wrong: &mut Vec<String>) {
    let at = answer.iter().position(|b| *b == b'\n').unwrap();
    let (family, status) = text_and_number(&answer[..at]);
    let body = String::from_utf8_lossy(&answer[at + 1..]);
    let got = match reply {
        ApplyReply::Nil => "true".to_owned(),
        ApplyReply::Bool(b) => b.to_string(),
        ApplyReply::String(id) => format!("{{\"ID\":\"{id}\"}}"),
        ApplyReply::Error(e) => e.to_string(),
        ApplyReply::Txn(r) => {
            let text = String::from_utf8(json::to_vec(r).unwrap()).unwrap();
            // How HTTP shows no results is not the store's affair.
            match r.errors {
                None => text.replace("\"Results\":null", "\"Results\":[]"),
                Some(_) => text,
            }
        }
    };
    if got != body {
        wrong.push(format!("{index}: {family} {status}: {got}, Consul {body}"));
    }
}

#[test]
fn a_first_real_history_gives_the_same_states_indexes_and_replies() {
    replay(include_bytes!("history-1.bin.gz"));
}

#[test]
fn a_second_real_history_gives_the_same_states_indexes_and_replies() {
    replay(include_bytes!("history-2.bin.gz"));
}

fn replay(packed: &[u8]) {
    let dir = Dir::new();
    let (_log, mut fsm, state) = store::open(dir.path(), store::Options::default()).unwrap();
    let mut last = ApplyReply::Nil;
    let mut wrong = Vec::new();
    let (mut states, mut reads, mut replies) = (0, 0, 0);
    for step in steps(packed) {
        let index = step.index;
        match step.kind {
            kind @ 0..=5 => {
                let entry = Entry {
                    index,
                    term: u64::from_be_bytes(step.bytes[..8].try_into().unwrap()),
                    kind: EntryKind::from_u8(kind).unwrap(),
                    data: step.bytes[8..].into(),
                    extensions: Vec::new(),
                };
                last = fsm.apply(Duration::ZERO, &[entry]).unwrap().remove(0);
            }
            100 => {
                compare_state(index, &state, &step.bytes, &mut wrong);
                states += 1;
            }
            101 => {
                let (path, want) = text_and_number(&step.bytes);
                let read = state.read().unwrap();
                if want > 0
                    && let Some(got) = read_index(&read, &path)
                    && got.max(1) != want
                {
                    wrong.push(format!("{index}: {path}: {got}, Consul {want}"));
                }
                reads += 1;
            }
            102 => {
                compare_reply(index, &last, &step.bytes, &mut wrong);
                replies += 1;
            }
            other => panic!("no such record: {other}"),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(states >= 70 && reads >= 3000 && replies >= 60);
}
