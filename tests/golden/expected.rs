//! Compares a decoded value with what the JSON file beside it says.
//!
//! That file shows printable text as text, other bytes as `{"$hex": ..}`, a time of 15 bytes as
//! `{"$time": ..}`, and msgpack inside a raw as `{"$nested": [..]}`.

use consul_lite::structs::go::GoTime;
use consul_lite::wire::{Value, msgpack};

use crate::vectors::values;

/// Whether `got` is what `expected` shows; the error is the path to the first difference.
pub fn same(got: &Value<'_>, expected: &Value<'_>) -> Result<(), String> {
    let differ = || Err(format!(": {got:?} is not {expected:?}"));
    match (got, expected) {
        (Value::Str(_), Value::Map(marked)) => match &marked[..] {
            [(kind, shown)] => bytes(got, kind.as_str().unwrap_or_default(), shown),
            _ => differ(),
        },
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .try_for_each(|(n, (a, b))| same(a, b).map_err(|e| format!("[{n}]{e}"))),
        (Value::Map(a), Value::Map(b)) if a.len() == b.len() => a.iter().try_for_each(|(k, v)| {
            let key = k.as_str().ok_or("a key that is not text")?;
            let shown = expected.get(key).ok_or(format!(".{key} is too many"))?;
            same(v, shown).map_err(|e| format!(".{key}{e}"))
        }),
        (Value::F32(a), _) => same(&Value::F64((*a).into()), expected),
        // JSON has one form for 1 and 1.0.
        (Value::F64(a), Value::Uint(b)) if *a == *b as f64 => Ok(()),
        (Value::F64(a), Value::Int(b)) if *a == *b as f64 => Ok(()),
        (a, b) if a == b => Ok(()),
        _ => differ(),
    }
}

fn bytes(got: &Value<'_>, kind: &str, shown: &Value<'_>) -> Result<(), String> {
    let raw = got.as_bytes().unwrap_or_default();
    match (kind, shown) {
        ("$hex", Value::Str(_)) => {
            let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
            same(&Value::text(&hex), shown)
        }
        ("$time", Value::Str(_)) => {
            let time: GoTime = msgpack::from_value(got).map_err(|e| e.to_string())?;
            if shown.as_str().map(str::parse) == Some(Ok(time)) {
                return Ok(());
            }
            Err(format!(": {time} is not {shown:?}"))
        }
        ("$nested", Value::Array(_)) => same(&Value::Array(values(raw)), shown),
        _ => Err(format!(": unknown marker {kind}")),
    }
}
