//! From a [`Value`] to any structure: the one reader, with Go's rules.
//!
//! Holds true: nil is the zero value of every type; integers of any width are accepted and range
//! checked; unknown keys are skipped, or refused in strict JSON; JSON's errors are Go's, with the
//! path of fields that Go names. A structure that has a decoder of its own in Consul is marked by its
//! name: `""` (as strict as the request around it) or `"?"` (lenient); to Go's errors it is opaque.
//! Leaves to others: lists, maps and structures (`access`), the text of errors (`error`).
//! Source: Go's `encoding/json` documentation; `docs/reference/rpc.md` section 5, `gossip.md` section 1.

use std::borrow::Cow;
use std::cell::Cell;

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
pub struct Rules {
    /// The format.
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
    /// Reads `value` by `rules`.
    pub fn new(value: &'de Value<'de>, rules: Rules) -> Self {
        Self {
            value,
            rules,
            strict: rules.strict,
            depth: 0,
            key: false,
            embedded: None,
        }
    }

    /// What is read.
    pub fn value(&self) -> &'de Value<'de> {
        self.value
    }

    /// The format that it was read from.
    pub fn origin(&self) -> Origin {
        self.rules.origin
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

    pub(super) fn boolean(&self, rust: &str) -> Result<bool, Error> {
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

    pub(super) fn signed(&self, rust: &str, min: i64, max: i64) -> Result<i64, Error> {
        let v = self.integer(rust)?;
        match i64::try_from(v) {
            Ok(v) if (min..=max).contains(&v) => Ok(v),
            _ => Err(self.mismatch(rust, true)),
        }
    }

    pub(super) fn unsigned(&self, rust: &str, max: u64) -> Result<u64, Error> {
        let v = self.integer(rust)?;
        match u64::try_from(v) {
            Ok(v) if v <= max => Ok(v),
            _ => Err(self.mismatch(rust, true)),
        }
    }

    pub(super) fn float(&self, rust: &str) -> Result<f64, Error> {
        match self.value {
            Value::Nil => Ok(0.0),
            Value::Int(v) => Ok(*v as f64),
            Value::Uint(v) => Ok(*v as f64),
            Value::F32(v) => Ok(f64::from(*v)),
            Value::F64(v) => Ok(*v),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    /// A text; `rust` is the type's name.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&self, rust: &str) -> Result<Cow<'de, str>, Error> {
        match self.value {
            Value::Nil => Ok(Cow::Borrowed("")),
            Value::Str(text) => Ok(String::from_utf8_lossy(text)),
            _ => Err(self.mismatch(rust, false)),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// When it is none, or in JSON no base64.
    pub fn raw(&self) -> Result<Cow<'de, [u8]>, Error> {
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

    pub(super) fn list(&self, rust: &str) -> Result<&'de [Value<'de>], Error> {
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
