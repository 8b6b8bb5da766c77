//! From a [`Value`] to any structure: the one `serde::Deserializer`, with Go's rules.
//!
//! Holds true: nil is the zero value of every type; integers of any width are accepted and range
//! checked; unknown keys are skipped, or refused in strict JSON; JSON's errors are Go's, with the
//! path of fields that Go names. A structure that has a decoder of its own in Consul is marked by its
//! serde name: `""` (as strict as the request around it) or `"?"` (lenient); to Go's errors it is opaque.
//! Leaves to others: lists, maps and structures (`access`), the text of errors (`error`).
//! Source: Go's `encoding/json` documentation; `docs/reference/rpc.md` section 5, `gossip.md` section 1.

use std::any::type_name;
use std::borrow::Cow;
use std::cell::Cell;

use serde::de::Visitor;
use serde::de::value::{BorrowedStrDeserializer, StringDeserializer, U32Deserializer};

use super::access::{Entry, List};
use super::fields::{Entries, go_type};
use super::{Error, Value, base64};

/// Where a value comes from: the formats differ in their rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Exact names, raw bytes.
    Msgpack,
    /// Names in any case, base64 for bytes, all numbers alike.
    Json,
}

/// What is the same throughout one decoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub origin: Origin,
    /// Unknown fields are errors.
    pub strict: bool,
    /// The Go name of the whole, `structs.PreparedQuery`.
    pub root: &'static str,
}

impl Rules {
    /// The Go package that types are said to come from.
    fn package(&self) -> &'static str {
        match self.root.split_once('.') {
            // An anonymous structure is part of Consul's own package.
            Some((package, _)) if !package.contains(' ') => package,
            _ => "structs",
        }
    }
}

/// Reads one value. A few words in size, and copied freely.
#[derive(Clone, Copy)]
pub struct Deserializer<'p, 'de> {
    pub(super) value: &'de Value<'de>,
    pub(super) rules: Rules,
    /// Unknown fields are errors here: some structures are lenient inside strict ones.
    pub(super) strict: bool,
    /// How many lists and maps are around this value.
    pub(super) depth: usize,
    /// This is a map's key: numbers stand as text.
    pub(super) key: bool,
    /// This is an embedded structure.
    pub(super) embedded: Option<Embedded<'p>>,
}

/// What an embedded structure shares with the one around it.
#[derive(Clone, Copy)]
pub(super) struct Embedded<'p> {
    /// The name that Go's errors know its fields by.
    pub name: &'static str,
    /// The entries that found a field.
    pub taken: &'p [Cell<bool>],
}

/// Deepest nesting that a structure is read from. What is skipped may be deeper.
pub const MAX_DEPTH: usize = 128;

const NO_ENTRIES: Entries<'static> = &[];

impl<'p, 'de> Deserializer<'p, 'de> {
    pub(super) fn new(value: &'de Value<'de>, rules: Rules) -> Self {
        Self {
            value,
            rules,
            strict: rules.strict,
            depth: 0,
            key: false,
            embedded: None,
        }
    }

    /// For a value inside this one.
    pub(super) fn child(&self, value: &'de Value<'de>) -> Deserializer<'p, 'de> {
        Deserializer {
            value,
            rules: self.rules,
            strict: self.strict,
            depth: self.depth + 1,
            key: false,
            embedded: None,
        }
    }

    /// The kind of this value in words.
    fn kind(&self, with_number: bool) -> String {
        match self.value {
            Value::Nil => "nil".into(),
            Value::Bool(_) => "bool".into(),
            Value::Str(_) => "string".into(),
            Value::Array(_) => "array".into(),
            Value::Map(_) => "object".into(),
            Value::Int(v) if with_number => format!("number {v}"),
            Value::Uint(v) if with_number => format!("number {v}"),
            Value::F32(v) if with_number => format!("number {v}"),
            Value::F64(v) if with_number => format!("number {v}"),
            _ => "number".into(),
        }
    }

    /// The value is of another kind than wanted; `rust` is the type's name.
    #[cold]
    fn mismatch(&self, rust: &str, with_number: bool) -> Error {
        let wanted = if self.depth == 0 && self.rules.root.contains(['.', ' ']) {
            self.rules.root.to_owned()
        } else {
            go_type(rust, self.rules.package())
        };
        Error::Type(Box::new(super::error::TypeError {
            origin: self.rules.origin,
            value: self.kind(with_number),
            wanted,
            structure: None,
            path: String::new(),
            sealed: false,
        }))
    }

    fn boolean(&self, rust: &str) -> Result<bool, Error> {
        match self.value {
            Value::Nil => Ok(false),
            Value::Bool(v) => Ok(*v),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    /// An integer; the caller checks that it fits.
    fn integer(&self, rust: &str) -> Result<i128, Error> {
        match self.value {
            Value::Nil => Ok(0),
            Value::Int(v) => Ok(i128::from(*v)),
            Value::Uint(v) => Ok(i128::from(*v)),
            Value::F32(_) | Value::F64(_) => Err(self.mismatch(rust, true)),
            Value::Str(text) if self.key => std::str::from_utf8(text)
                .ok()
                .and_then(|t| t.parse().ok())
                .ok_or_else(|| self.mismatch(rust, false)),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    fn signed(&self, rust: &str, min: i64, max: i64) -> Result<i64, Error> {
        let v = self.integer(rust)?;
        match i64::try_from(v) {
            Ok(v) if (min..=max).contains(&v) => Ok(v),
            _ => Err(self.mismatch(rust, true)),
        }
    }

    fn unsigned(&self, rust: &str, max: u64) -> Result<u64, Error> {
        let v = self.integer(rust)?;
        match u64::try_from(v) {
            Ok(v) if v <= max => Ok(v),
            _ => Err(self.mismatch(rust, true)),
        }
    }

    fn float(&self, rust: &str) -> Result<f64, Error> {
        match self.value {
            Value::Nil => Ok(0.0),
            Value::Int(v) => Ok(*v as f64),
            Value::Uint(v) => Ok(*v as f64),
            Value::F32(v) => Ok(f64::from(*v)),
            Value::F64(v) => Ok(*v),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    fn text(&self, rust: &str) -> Result<Cow<'de, str>, Error> {
        match self.value {
            Value::Nil => Ok(Cow::Borrowed("")),
            Value::Str(text) => Ok(String::from_utf8_lossy(text)),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    fn raw(&self) -> Result<Cow<'de, [u8]>, Error> {
        match (self.value, self.rules.origin) {
            (Value::Nil, _) => Ok(Cow::Borrowed(&[])),
            (Value::Str(text), Origin::Json) => base64::decode(text).map(Cow::Owned),
            (Value::Str(bytes), _) => Ok(Cow::Borrowed(bytes)),
            (Value::Array(items), _) => items
                .iter()
                .map(|item| Ok(self.child(item).unsigned("u8", 255)? as u8))
                .collect::<Result<_, Error>>()
                .map(Cow::Owned),
            _ => Err(self.mismatch("Vec<u8>", false)),
        }
    }

    fn list(&self, rust: &str) -> Result<&'de [Value<'de>], Error> {
        self.not_too_deep()?;
        match self.value {
            Value::Nil => Ok(&[]),
            Value::Array(items) => Ok(items),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    /// Every level costs stack, and this recurses where the parsers do not.
    fn not_too_deep(&self) -> Result<(), Error> {
        if self.depth < MAX_DEPTH {
            Ok(())
        } else {
            Err(Error::Syntax("exceeded max depth".to_owned()))
        }
    }

    pub(super) fn entries(&self, rust: &str) -> Result<Entries<'de>, Error> {
        self.not_too_deep()?;
        match self.value {
            Value::Nil => Ok(NO_ENTRIES),
            Value::Map(entries) => Ok(entries),
            _ => Err(self.mismatch(rust, false)),
        }
    }
}

/// The integer methods of a deserializer: check the range, hand over.
macro_rules! integers {
    ($($method:ident $visit:ident $int:ident $read:ident($($bound:expr),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.$read(type_name::<V::Value>(), $($bound),*)? as $int)
        }
    )*};
}

impl<'de> serde::Deserializer<'de> for Deserializer<'_, 'de> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        self.rules.origin != Origin::Msgpack
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        // Go's interface{} holds every JSON number as a float64.
        let json = self.rules.origin == Origin::Json;
        match self.value {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(v) => visitor.visit_bool(*v),
            Value::Int(v) if json => visitor.visit_f64(*v as f64),
            Value::Int(v) => visitor.visit_i64(*v),
            Value::Uint(v) if json => visitor.visit_f64(*v as f64),
            Value::Uint(v) => visitor.visit_u64(*v),
            Value::F32(v) => visitor.visit_f32(*v),
            Value::F64(v) => visitor.visit_f64(*v),
            Value::Str(v) => match std::str::from_utf8(v) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => visitor.visit_borrowed_bytes(v),
            },
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.boolean(type_name::<V::Value>())?)
    }

    integers! {
        deserialize_i8 visit_i8 i8 signed(i8::MIN.into(), i8::MAX.into());
        deserialize_i16 visit_i16 i16 signed(i16::MIN.into(), i16::MAX.into());
        deserialize_i32 visit_i32 i32 signed(i32::MIN.into(), i32::MAX.into());
        deserialize_i64 visit_i64 i64 signed(i64::MIN, i64::MAX);
        deserialize_u8 visit_u8 u8 unsigned(u8::MAX.into());
        deserialize_u16 visit_u16 u16 unsigned(u16::MAX.into());
        deserialize_u32 visit_u32 u32 unsigned(u32::MAX.into());
        deserialize_u64 visit_u64 u64 unsigned(u64::MAX);
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f32(self.float(type_name::<V::Value>())? as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float(type_name::<V::Value>())?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text(type_name::<V::Value>())? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.raw()? {
            Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
            Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items = self.list(type_name::<V::Value>())?.iter();
        visitor.visit_seq(List {
            parent: self,
            items,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = self.entries(type_name::<V::Value>())?.iter();
        visitor.visit_map(Entry {
            parent: self,
            entries,
            value: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut structure = self.structure(type_name::<V::Value>(), name, fields)?;
        let result = visitor
            .visit_map(&mut structure)
            .and_then(|v| structure.nothing_left().map(|()| v));
        result.map_err(|e| if structure.opaque { e.sealed() } else { e })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        use serde::de::IntoDeserializer;
        match self.value {
            Value::Int(_) | Value::Uint(_) => {
                let n = self.unsigned("u32", u32::MAX.into())? as u32;
                let variant: U32Deserializer<Error> = n.into_deserializer();
                visitor.visit_enum(variant)
            }
            _ => match self.text("String")? {
                Cow::Borrowed(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
                Cow::Owned(text) => visitor.visit_enum(StringDeserializer::new(text)),
            },
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}
