//! The recorded files.

use std::path::{Path, PathBuf};

use consul_lite::wire::{Value, json, msgpack};

/// One recorded file.
pub struct Vector {
    /// Its name without the ending: `KVS.Apply-set.req`, `fsm-KVS`.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The decoding beside it.
    pub expected: Value<'static>,
}

/// All recorded files of a folder, sorted by name.
pub fn load(folder: &str) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/vectors")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the vectors are part of the project")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "bin"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vector {
    let beside = std::fs::read(path.with_extension("json")).expect("a decoding beside each vector");
    Vector {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        bytes: std::fs::read(path).expect("a readable vector"),
        expected: json::decode_whole(&beside).expect("a decoding in JSON"),
    }
}

/// The successive values of some bytes, which must end with the last one.
pub fn values(mut bytes: &[u8]) -> Vec<Value<'_>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (value, rest) = msgpack::decode(bytes).expect("recorded bytes are whole");
        out.push(value);
        bytes = rest;
    }
    out
}

/// The fields of type `[]byte`: our structures do not tell nil from empty there.
const BYTES: [&str; 3] = ["Hash", "Payload", "Value"];

/// Puts the keys of all maps in order, and gives empty bytes and times one form.
fn in_order(value: &mut Value<'_>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(in_order),
        Value::Map(entries) => {
            entries.sort_by(|a, b| a.0.as_bytes().cmp(&b.0.as_bytes()));
            for (key, value) in entries {
                in_order(value);
                if *value == Value::Nil && key.as_str().is_some_and(|k| BYTES.contains(&k)) {
                    *value = Value::text("");
                }
            }
        }
        // The zone offset of a time: our structures keep the instant only.
        Value::Str(raw) if raw.len() == 15 && raw.starts_with(&[1, 0, 0, 0, 14]) => {
            raw.to_mut()[13..].copy_from_slice(&[0xff, 0xff]);
        }
        _ => {}
    }
}

/// The same bytes with all that may differ without meaning in one form.
pub fn canonical(bytes: &[u8]) -> Vec<u8> {
    let (mut value, rest) = msgpack::decode(bytes).expect("whole bytes");
    assert!(rest.is_empty());
    in_order(&mut value);
    msgpack::to_vec(&value).expect("values can be written")
}
