//! The value between bytes and structures: what a msgpack, JSON or configuration text says, untyped.
//!
//! Holds true: it borrows from its input where it can; maps keep their order and duplicates, so
//! msgpack decoded and encoded again is the same bytes (given shortest forms).
//! Leaves to others: Go's typing rules (`decode`), text and bytes (`json`, `msgpack`).

use std::borrow::Cow;
use std::fmt;

use super::{Error, Serialize, Serializer};
use crate::sorted;

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

    /// As a key of a JSON object, which is text.
    fn to_key(&self) -> Cow<'_, str> {
        match self {
            Value::Str(text) => String::from_utf8_lossy(text),
            Value::Int(v) => Cow::Owned(v.to_string()),
            Value::Uint(v) => Cow::Owned(v.to_string()),
            other => Cow::Owned(format!("{other:?}")),
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
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        match self {
            Value::Nil => to.nil(),
            Value::Bool(v) => to.boolean(*v),
            Value::Int(v) => to.signed(*v),
            Value::Uint(v) => to.unsigned(*v),
            Value::F32(v) => to.single(*v),
            Value::F64(v) => to.double(*v),
            Value::Str(v) => match std::str::from_utf8(v) {
                Ok(text) => to.text(text),
                Err(_) if to.json() => to.text(&String::from_utf8_lossy(v)),
                Err(_) => to.bytes(v),
            },
            Value::Array(v) => v.serialize(to),
            Value::Map(v) if to.json() => {
                let mut sorted: Vec<(Cow<'_, str>, &Value<'_>)> =
                    v.iter().map(|(key, item)| (key.to_key(), item)).collect();
                sorted::sort_by(&mut sorted, |a, b| a.0.cmp(&b.0));
                to.open_map(v.len())?;
                for (at, (key, item)) in sorted.iter().enumerate() {
                    to.key(at, key)?;
                    item.serialize(to)?;
                }
                to.close_map(v.len())
            }
            Value::Map(v) => {
                to.open_map(v.len())?;
                for (key, item) in v {
                    key.serialize(to)?;
                    item.serialize(to)?;
                }
                to.close_map(v.len())
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
