//! The value between bytes and structures: what a msgpack, JSON or configuration text says, untyped.
//!
//! Holds true: it borrows from its input where it can; maps keep their order and duplicates, so
//! msgpack decoded and encoded again is the same bytes (given shortest forms).
//! Leaves to others: Go's typing rules (`decode`), text and bytes (`json`, `msgpack`).

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A value of any shape.
#[derive(Clone, Default, PartialEq)]
pub enum Value<'a> {
    /// nil, null
    #[default]
    Nil,
    /// true or false
    Bool(bool),
    /// A negative integer.
    Int(i64),
    /// A non-negative integer.
    Uint(u64),
    /// A single precision number (msgpack only).
    F32(f32),
    /// Any other number.
    F64(f64),
    /// Text or bytes: msgpack's old spec does not tell them apart.
    Str(Cow<'a, [u8]>),
    /// A list.
    Array(Vec<Value<'a>>),
    /// A map, in the order of the input.
    Map(Vec<(Value<'a>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// A text that borrows.
    pub fn text(s: &'a str) -> Self {
        Value::Str(Cow::Borrowed(s.as_bytes()))
    }

    /// An integer of either sign, in its one form.
    pub fn int(n: i64) -> Self {
        u64::try_from(n).map_or(Value::Int(n), Value::Uint)
    }

    /// The bytes of a text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The text, when it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|b| std::str::from_utf8(b).ok())
    }

    /// The value of a map's key; the last one wins, as in Go.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        match self {
            Value::Map(entries) => entries
                .iter()
                .rev()
                .find(|(k, _)| k.as_bytes() == Some(key.as_bytes()))
                .map(|(_, v)| v),
            _ => None,
        }
    }

    /// The same value, owning all its parts.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Nil => Value::Nil,
            Value::Bool(v) => Value::Bool(v),
            Value::Int(v) => Value::Int(v),
            Value::Uint(v) => Value::Uint(v),
            Value::F32(v) => Value::F32(v),
            Value::F64(v) => Value::F64(v),
            Value::Str(v) => Value::Str(Cow::Owned(v.into_owned())),
            Value::Array(v) => Value::Array(v.into_iter().map(Value::into_owned).collect()),
            Value::Map(v) => Value::Map(
                v.into_iter()
                    .map(|(k, v)| (k.into_owned(), v.into_owned()))
                    .collect(),
            ),
        }
    }
}

/// Short and readable: `{"Key": "foo", "Flags": 0}`.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(v) => v.fmt(f),
            Value::Int(v) => v.fmt(f),
            Value::Uint(v) => v.fmt(f),
            Value::F32(v) => v.fmt(f),
            Value::F64(v) => v.fmt(f),
            Value::Str(v) => write!(f, "\"{}\"", v.escape_ascii()),
            Value::Array(v) => f.debug_list().entries(v).finish(),
            Value::Map(v) => f
                .debug_map()
                .entries(v.iter().map(|(k, v)| (k, v)))
                .finish(),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nil => to.serialize_unit(),
            Value::Bool(v) => to.serialize_bool(*v),
            Value::Int(v) => to.serialize_i64(*v),
            Value::Uint(v) => to.serialize_u64(*v),
            Value::F32(v) => to.serialize_f32(*v),
            Value::F64(v) => to.serialize_f64(*v),
            Value::Str(v) => match std::str::from_utf8(v) {
                Ok(text) => to.serialize_str(text),
                Err(_) if to.is_human_readable() => to.serialize_str(&String::from_utf8_lossy(v)),
                Err(_) => to.serialize_bytes(v),
            },
            Value::Array(v) => {
                let mut seq = to.serialize_seq(Some(v.len()))?;
                for item in v {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Map(v) => {
                let mut map = to.serialize_map(Some(v.len()))?;
                for (key, item) in v {
                    map.serialize_entry(key, item)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_wins() {
        let map = Value::Map(vec![
            (Value::text("a"), Value::Uint(1)),
            (Value::Uint(7), Value::Uint(2)),
            (Value::text("a"), Value::Uint(3)),
        ]);
        assert_eq!(map.get("a"), Some(&Value::Uint(3)));
        assert_eq!(map.get("b"), None);
        assert_eq!(map.clone().into_owned(), map);
    }

    #[test]
    fn integers_have_one_form() {
        assert_eq!(Value::int(-1), Value::Int(-1));
        assert_eq!(Value::int(5), Value::Uint(5));
    }
}
