//! Damaged input: the recorded bytes with pseudo-random wounds, and values made up at random.
//!
//! Nothing may panic; what is accepted must survive being written and read again; and the JSON
//! scanner must accept exactly what the parser behind it accepts.

use std::borrow::Cow;

use consul_lite::codec::{Deserialize, Serialize};
use consul_lite::structs::go::Any;
use consul_lite::structs::*;
use consul_lite::wire::{Value, base64, json, msgpack};
use fastrand::Rng;

use crate::vectors::load;

const SEED: u64 = 0x5eed_c0de;
const MSGPACK_ROUNDS: usize = 30_000;
const JSON_ROUNDS: usize = 30_000;

/// Changes, drops, doubles or inserts a few bytes.
pub fn wound(rng: &mut Rng, bytes: &mut Vec<u8>, favourites: &[u8]) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len().max(1));
        let byte = match rng.u8(..3) {
            0 => rng.u8(..),
            _ => *rng.choice(favourites).unwrap_or(&0),
        };
        match rng.u8(..5) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => bytes.insert(at.min(bytes.len()), byte),
        }
    }
}

/// Reads as a `T`; what that accepts is written in both formats.
fn through<T: Deserialize + Default + Serialize>(value: &Value<'_>) {
    if let Ok(read) = msgpack::from_value::<T>(value) {
        let _ = json::to_vec(&read);
        let bytes = msgpack::to_vec(&read);
        assert!(bytes.is_ok_and(|b| msgpack::from_slice::<T>(&b).is_ok()));
    }
    for strict in [false, true] {
        let _ = json::from_value::<T>(value, strict, "structs.T").map_err(|e| e.to_string());
    }
}

fn through_all(value: &Value<'_>) {
    through::<RegisterRequest>(value);
    through::<TxnRequest>(value);
    through::<SessionRequest>(value);
    through::<KVSRequest>(value);
    through::<IndexedNodeDump>(value);
    through::<ServiceDefinition>(value);
    through::<CoordinateUpdateRequest>(value);
    through::<Any>(value);
}

/// NaN differs from itself, so values are compared by how they look.
fn look(value: &Value<'_>) -> String {
    format!("{value:?}")
}

#[test]
fn damaged_msgpack_is_refused_or_survives() {
    let mut rng = Rng::with_seed(SEED);
    let mut seeds: Vec<Vec<u8>> = load("rpc").into_iter().map(|v| v.bytes).collect();
    seeds.extend(load("raft").into_iter().map(|v| v.bytes[1..].to_vec()));
    let favourites = [
        0x80, 0x8f, 0x9f, 0xa0, 0xc0, 0xc1, 0xc4, 0xca, 0xcb, 0xcf, 0xd3, 0xd9, 0xdb, 0xdd, 0xdf,
    ];
    for round in 0..MSGPACK_ROUNDS {
        let mut bytes = rng.choice(&seeds).cloned().unwrap_or_default();
        wound(&mut rng, &mut bytes, &favourites);
        let mut rest = &bytes[..];
        while let Ok((value, after)) = msgpack::decode(rest) {
            let written = msgpack::to_vec(&value).expect("what was read can be written");
            let again = msgpack::decode(&written).expect("what was written can be read");
            assert_eq!(look(&again.0), look(&value), "seed {SEED} round {round}");
            assert!(again.1.is_empty());
            let _ = json::to_vec(&value);
            if round % 8 == 0 {
                through_all(&value);
            }
            rest = after;
        }
    }
}

/// The JSON texts to damage: request bodies as users write them, and corners of the grammar.
fn texts() -> Vec<Vec<u8>> {
    let vectors = load("rpc").into_iter().chain(load("raft"));
    let mut texts: Vec<Vec<u8>> = vectors
        .filter_map(|v| json::to_vec(&v.expected).ok())
        .filter(|t| t.len() < 600)
        .collect();
    for text in [
        r#"{"Name":"web","Port":8080,"Tags":["a","b"],"Check":{"TTL":"15s","Header":{"a":["b"]}}}"#,
        r#"[{"KV":{"Verb":"set","Key":"a/b","Value":"aGVsbG8=","Flags":18446744073709551615}}]"#,
        r#"[0,-0,1.5,-2.25e-7,1E+20,123456789012345678901,-9223372036854775808,5e-324]"#,
        "\"\\u00e9\\ud83d\\ude00\\n\\t\\\"\\\\/é€😀\"",
        " { \"a\" : [ true , false , null , { } , [ ] ] } \r\n\t",
    ] {
        texts.extend(std::iter::repeat_n(text.as_bytes().to_vec(), 40));
    }
    texts
}

#[test]
fn damaged_json_is_refused_or_survives() {
    let mut rng = Rng::with_seed(SEED);
    let seeds = texts();
    let mut accepted = 0;
    for round in 0..JSON_ROUNDS {
        let mut text = rng.choice(&seeds).cloned().unwrap_or_default();
        wound(
            &mut rng,
            &mut text,
            b"{}[]\",:\\ue-+.0159ntf \n\xff\xed\xa0",
        );
        let decoded = json::decode_whole(&text);
        if let Ok(utf8) = std::str::from_utf8(&text) {
            let parser = miniserde::json::from_str::<miniserde::json::Value>(utf8).is_ok();
            // Go takes half a surrogate pair, the parser alone does not.
            if !utf8.contains("\\u") {
                assert_eq!(decoded.is_ok(), parser, "seed {SEED} round {round}: {utf8}");
            }
        }
        let Ok(value) = decoded else { continue };
        accepted += 1;
        let written = json::to_vec(&value).expect("what was read can be written");
        let again = json::decode_whole(&written).expect("what was written can be read");
        // A float of -0 is the integer 0 when it is read again.
        let twice = json::to_vec(&again).expect("and written again");
        let thrice = json::decode_whole(&twice).and_then(|v| json::to_vec(&v));
        assert_eq!(thrice, Ok(twice), "seed {SEED} round {round}");
        let pretty = json::pretty(&written);
        assert_eq!(
            json::decode_whole(&pretty),
            Ok(again),
            "seed {SEED} round {round}"
        );
        if round % 8 == 0 {
            through_all(&value);
        }
    }
    assert!(
        accepted > JSON_ROUNDS / 20,
        "only {accepted} were still JSON"
    );
}

/// A value of at most some depth.
fn made_up(rng: &mut Rng, depth: usize) -> Value<'static> {
    let kinds = if depth == 0 { 7 } else { 9 };
    match rng.u8(..kinds) {
        0 => Value::Nil,
        1 => Value::Bool(rng.bool()),
        2 => Value::int((rng.i64(..)) >> rng.u32(..64)),
        3 => Value::Uint(rng.u64(..) >> rng.u32(..64)),
        4 => Value::F32(rng.f32()),
        5 => Value::F64(rng.f64() * 10f64.powi(rng.i32(-30..30))),
        6 => {
            let n = *rng
                .choice([0, 1, 31, 32, 255, 256, 70_000].as_slice())
                .unwrap_or(&0);
            let n = if depth < 2 { n.min(300) } else { n };
            Value::Str(Cow::Owned((0..n).map(|_| rng.u8(b' '..0x7f)).collect()))
        }
        7 => Value::Array(
            (0..rng.usize(..20))
                .map(|_| made_up(rng, depth - 1))
                .collect(),
        ),
        _ => Value::Map(
            (0..rng.usize(..20))
                .map(|n| {
                    (
                        Value::Str(format!("k{n:02}").into_bytes().into()),
                        made_up(rng, depth - 1),
                    )
                })
                .collect(),
        ),
    }
}

#[test]
fn made_up_values_come_back_from_both_formats() {
    let mut rng = Rng::with_seed(SEED);
    for round in 0..500 {
        let value = made_up(&mut rng, 3);
        let bytes = msgpack::to_vec(&value).expect("any value can be written");
        let back = msgpack::decode(&bytes).expect("what was written can be read");
        assert_eq!(
            (&back.0, back.1),
            (&value, &b""[..]),
            "seed {SEED} round {round}"
        );
        let text = json::to_vec(&value).expect("any finite value can be written");
        let back = json::decode_whole(&text).expect("what was written can be read");
        assert_eq!(json::to_vec(&back), Ok(text), "seed {SEED} round {round}");
    }
}

#[test]
fn damaged_base64_is_refused_or_survives() {
    let mut rng = Rng::with_seed(SEED);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(..)).collect();
        let mut text = data_encoding::BASE64.encode(&bytes).into_bytes();
        assert_eq!(base64::decode(&text), Ok(bytes));
        wound(&mut rng, &mut text, b"==\n+/Az");
        let ours = base64::decode(&text);
        // The library takes no line ends, wants the unused bits to be zero, and reads on behind padding.
        let inner = text.iter().rposition(|c| *c != b'=').unwrap_or(0);
        let plain = data_encoding::BASE64.decode(&text);
        if plain.is_ok() && !text[..inner].contains(&b'=') {
            assert_eq!(ours.ok(), plain.ok());
        }
    }
}
