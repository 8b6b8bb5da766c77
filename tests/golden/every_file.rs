//! Every recorded file is read and written again: to the same bytes, or there is a reason, named here, why other
//! bytes say the same. A file of a folder or a kind that is not named here fails.
//!
//! What the bytes mean is checked elsewhere: `gossip`, `through_values`, `through_structs`, `raft_messages`.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use consul_lite::gossip::codec::{kind, layers, lzw};
use consul_lite::gossip::snapshot;
use consul_lite::net::mux;
use consul_lite::store::snapshot::archive;
use consul_lite::structs::{SnapshotRequest, SnapshotResponse};
use consul_lite::wire::{Value, json, msgpack, rpc};
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::vectors::{canonical, values};

/// One kind of file.
struct Kind {
    folder: &'static str,
    /// How names begin and end.
    name: (&'static str, &'static str),
    /// How many there are at least.
    least: usize,
    /// Reads the file and writes it again; panics when that loses something.
    again: fn(&[u8]) -> Vec<u8>,
    /// Why what is written may differ from what was read.
    reason: Option<&'static str>,
}

const KINDS: [Kind; 11] = [
    Kind {
        folder: "rpc",
        name: ("", ".bin"),
        least: 226,
        again: |bytes| written(&values(bytes)),
        reason: None,
    },
    Kind {
        folder: "raft",
        name: ("fsm-", ".bin"),
        least: 20,
        again: |bytes| [&bytes[..1], &written(&values(&bytes[1..]))].concat(),
        reason: None,
    },
    Kind {
        folder: "raft-rpc",
        name: ("", ".req.bin"),
        least: 11,
        again: raft_requests,
        reason: None,
    },
    Kind {
        folder: "raft-rpc",
        name: ("", ".resp.bin"),
        least: 10,
        again: |bytes| written(&values(bytes)),
        reason: None,
    },
    Kind {
        folder: "gossip",
        name: ("", ".bin"),
        least: 43,
        again: gossip,
        reason: Some(
            "LZW begins with a clear code here, as in newer versions of Go, and Go writes maps in a random order",
        ),
    },
    Kind {
        folder: "serf",
        name: ("", ".snapshot"),
        least: 3,
        again: serf_snapshot,
        reason: Some("the file is a log of changes; what is known is written without the history"),
    },
    Kind {
        folder: "snapshot",
        name: ("", ".snap"),
        least: 2,
        again: |bytes| state(bytes),
        reason: Some(
            "gzip packs as each library likes; the state inside is written to the same bytes",
        ),
    },
    Kind {
        folder: "stream",
        name: ("snapshot-", ".client.bin"),
        least: 2,
        again: |bytes| snapshot_request(bytes),
        reason: None,
    },
    Kind {
        folder: "stream",
        name: ("snapshot-", ".server.bin"),
        least: 2,
        again: |bytes| snapshot_response(bytes),
        reason: None,
    },
    Kind {
        folder: "stream",
        name: ("yamux-", ".client.bin"),
        least: 1,
        again: session,
        reason: Some("streams are multiplexed; each call within is written to the same bytes"),
    },
    Kind {
        folder: "stream",
        name: ("yamux-", ".server.bin"),
        least: 1,
        again: frames,
        reason: None,
    },
];

fn written(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        msgpack::append(&mut out, value).expect("values can be written");
    }
    out
}

fn number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Uint(n) => Some(*n),
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// Requests follow each other, each a type byte and a value; behind a snapshot's, its data.
fn raft_requests(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some((kind, body)) = rest.split_first() {
        let (value, after) = msgpack::decode(body).expect("a request");
        out.push(*kind);
        msgpack::append(&mut out, &value).expect("values can be written");
        let size = value.get("Size").and_then(number).unwrap_or(0);
        let (data, after) = after.split_at(usize::try_from(size).expect("a size"));
        out.extend_from_slice(data);
        rest = after;
    }
    out
}

/// Takes off the layers that are there without a key, and puts them on again.
fn gossip(bytes: &[u8]) -> Vec<u8> {
    match bytes[0] {
        kind::HAS_CRC => layers::with_crc(&gossip(layers::check_crc(bytes).expect("a checksum"))),
        kind::COMPRESS => {
            let inner = lzw::decompress(&bytes[1..], 1 << 20).expect("compressed bytes");
            lzw::compress(&inner).expect("it can be compressed")
        }
        kind::COMPOUND => {
            let parts = layers::split_compound(&bytes[1..]).expect("a compound");
            let parts: Vec<Vec<u8>> = parts.into_iter().map(gossip).collect();
            layers::join_compound(&parts)
        }
        // Encryption comes outermost; `gossip` opens and seals it with the keys.
        _ => bytes.to_vec(),
    }
}

fn serf_snapshot(bytes: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).expect("text");
    let known = snapshot::replay(text, false);
    let alive = known.alive.iter();
    let mut out: String = alive
        .map(|(name, addr)| format!("alive: {name} {addr}\n"))
        .collect();
    out += &format!("clock: {}\n", known.clock);
    out += &format!(
        "event-clock: {}\nquery-clock: {}\n",
        known.event_clock, known.query_clock
    );
    assert_eq!(snapshot::replay(&out, false), known);
    out.into_bytes()
}

/// A snapshot's state, record by record.
fn state(bytes: &[u8]) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom, Write};
    let dir = std::env::temp_dir();
    let mut file = archive::temporary(&dir).expect("a file");
    file.write_all(bytes)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .expect("written");
    let mut found = archive::open(file, &dir).expect("a sound archive");
    let mut state = Vec::new();
    found.state.read_to_end(&mut state).expect("readable");
    assert_eq!(i64::try_from(state.len()), Ok(found.meta.size));
    let (header, mut rest) = msgpack::decode(&state).expect("a header");
    assert_eq!(
        header.get("LastIndex").and_then(number),
        Some(found.meta.index)
    );
    let mut again = msgpack::to_vec(&header).expect("written");
    let mut records = 0;
    while let Some((kind, body)) = rest.split_first() {
        let (value, after) = msgpack::decode(body).expect("a record");
        again.push(*kind);
        msgpack::append(&mut again, &value).expect("written");
        rest = after;
        records += 1;
    }
    assert!(records > 10 && again == state, "{records} records");
    bytes.to_vec()
}

/// The first value of some bytes through its structure; what follows it.
fn through<T: consul_lite::codec::Serialize + consul_lite::codec::Deserialize + Default>(
    bytes: &[u8],
) -> (Vec<u8>, &[u8]) {
    let (_, rest) = msgpack::decode(bytes).expect("a value");
    let first = &bytes[..bytes.len() - rest.len()];
    let read: T = msgpack::from_slice(first).expect("the structure");
    let again = msgpack::to_vec(&read).expect("written");
    assert_eq!(canonical(&again), canonical(first));
    (again, rest)
}

/// What `archive` is: sound, or nothing.
fn sound(archive: &[u8]) {
    if !archive.is_empty() {
        state(archive);
    }
}

fn snapshot_request(bytes: &[u8]) -> Vec<u8> {
    let (request, rest) = through::<SnapshotRequest>(&bytes[1..]);
    sound(rest);
    [&bytes[..1], &request, rest].concat()
}

fn snapshot_response(bytes: &[u8]) -> Vec<u8> {
    let (response, rest) = through::<SnapshotResponse>(bytes);
    sound(rest);
    [&response, rest].concat()
}

/// The frames of a connection: version, type, flags, stream, length, and data.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some((header, after)) = rest.split_first_chunk::<12>() {
        let [version, kind, _, _, _, _, _, _, length @ ..] = *header;
        assert!(version == 0 && kind < 4, "{header:?}");
        let data = if kind == 0 {
            u32::from_be_bytes(length) as usize
        } else {
            0
        };
        // The recording may end within a frame.
        let (data, after) = after.split_at(data.min(after.len()));
        out.extend_from_slice(header);
        out.extend_from_slice(data);
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// A recorded client: it says what it said, and then nothing.
struct Recorded<'a>(&'a [u8]);

impl AsyncRead for Recorded<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let n = self.0.len().min(into.len());
        into[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Recorded<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Successive values with what may differ without meaning in one form.
fn in_order(bytes: &[u8]) -> Vec<Vec<u8>> {
    let values = values(bytes).into_iter();
    let plain = values.map(|v| canonical(&msgpack::to_vec(&v).expect("written")));
    plain.collect()
}

/// A client's whole connection through the multiplexer: the calls on its streams.
fn session(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(frames(&bytes[1..]), &bytes[1..]);
    let mut streams = Vec::new();
    let calls = smol::block_on(async {
        let end = mux::serve(Recorded(&bytes[1..]), |stream| streams.push(stream)).await;
        assert!(end.is_ok(), "{end:?}");
        let mut calls = Vec::new();
        for mut stream in streams {
            let mut said = Vec::new();
            // The connection has ended, and with it what the stream still would say.
            let _ = stream.read_to_end(&mut said).await;
            calls.push(said);
        }
        calls
    });
    let mut seen = 0;
    for said in &calls {
        let mut rest = &said[..];
        while !rest.is_empty() {
            let before = rest;
            let Ok(header) = rpc::read_request_header(&mut rest) else {
                break;
            };
            let (_, after) = msgpack::decode(rest).expect("an argument");
            let argument = &rest[..rest.len() - after.len()];
            // The recorded agent called methods of Connect, too, which is not there; their values are checked in
            // `through_values`.
            if let Ok(request) = rpc::read_request(&header, &mut &argument[..]) {
                let again = rpc::request(header.seq, &request).expect("written");
                assert_eq!(
                    in_order(&again),
                    in_order(&before[..before.len() - after.len()])
                );
                seen += 1;
            }
            rest = after;
        }
    }
    assert!(
        seen >= 4 && calls.len() >= 6,
        "only {seen} calls in {} streams",
        calls.len()
    );
    bytes.to_vec()
}

/// All files of a folder and those below it.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn every_recorded_file_is_read_and_written_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vectors");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    let mut seen = [0; KINDS.len()];
    for path in all {
        let part = path
            .strip_prefix(&root)
            .expect("below")
            .to_string_lossy()
            .into_owned();
        let (folder, name) = part.split_once('/').unwrap_or(("", &part));
        let bytes = std::fs::read(&path).expect("a readable file");
        if let Some(stem) = name.strip_suffix(".json") {
            let of =
                ["bin", "snap", "snapshot"].map(|end| path.with_file_name(format!("{stem}.{end}")));
            assert!(of.iter().any(|p| p.exists()), "{part} describes nothing");
            assert!(json::decode_whole(&bytes).is_ok(), "{part}");
            continue;
        }
        let fits = |kind: &Kind| {
            let (start, end) = kind.name;
            folder == kind.folder && name.starts_with(start) && name.ends_with(end)
        };
        let at = KINDS.iter().position(fits);
        let at = at.unwrap_or_else(|| panic!("{part}: nobody reads this file"));
        assert!(
            path.with_extension("json").exists(),
            "{part} has no decoding beside it"
        );
        let again = (KINDS[at].again)(&bytes);
        if KINDS[at].reason.is_none() {
            assert!(again == bytes, "{part} is written to other bytes");
        }
        seen[at] += 1;
    }
    for (kind, seen) in KINDS.iter().zip(seen) {
        let Kind {
            folder,
            name,
            least,
            ..
        } = kind;
        assert!(
            seen >= *least,
            "{folder}/{}*{}: only {seen} of {least}",
            name.0,
            name.1
        );
    }
}
