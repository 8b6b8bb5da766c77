//! The room's one error: why bytes are not the value that was asked for.
//!
//! Holds true: the text of each JSON error is the one that users of Consul see, word for word
//! (Go's `encoding/json`, asked of a running Consul 1.8.7); no variant says that state changed,
//! because decoding changes none. What to prepend (`Request decode failed: `) is the caller's.

use std::fmt;

use super::decode::Origin;

/// Why a value could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No value at all: the input was empty.
    Eof,
    /// The input ended inside a value.
    UnexpectedEof,
    /// The bytes are not JSON; the text is Go's.
    Syntax(String),
    /// The bytes are not msgpack, or beyond a limit.
    Msgpack(&'static str),
    /// The value is of another kind than the field it was meant for.
    Type(Box<TypeError>),
    /// A field that the structure does not have, in strict JSON.
    UnknownField(String),
    /// A text from elsewhere: a value's own parser (`time: invalid duration "abc"`), base64, a derive.
    Custom(String),
}

/// Go's `UnmarshalTypeError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    /// Where the value came from: it words the text.
    pub origin: Origin,
    /// The kind found: `string`, `number`, `number 1.5`, `object`...
    pub value: String,
    /// The Go type that was wanted.
    pub wanted: String,
    /// The innermost named structure around it; `None` outside any structure.
    pub structure: Option<&'static str>,
    /// The names of the fields that lead to it, joined by dots.
    pub path: String,
    /// Left a structure with a decoder of its own: Go's outer decoder then knows only its own fields.
    pub sealed: bool,
}

impl Error {
    /// Adds the field that was being read when the error happened, going outwards.
    pub(super) fn in_field(mut self, structure: &'static str, field: &str) -> Self {
        if let Error::Type(e) = &mut self {
            if std::mem::take(&mut e.sealed) {
                e.path.clear();
                e.structure = None;
            }
            if e.path.is_empty() {
                e.path = field.to_owned();
            } else {
                e.path = format!("{field}.{}", e.path);
            }
            e.structure.get_or_insert(structure);
        }
        self
    }

    /// The error left a structure that reads itself.
    pub(super) fn sealed(mut self) -> Self {
        if let Error::Type(e) = &mut self {
            e.sealed = true;
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Eof => f.write_str("EOF"),
            Error::UnexpectedEof => f.write_str("unexpected EOF"),
            Error::Syntax(text) | Error::Custom(text) => f.write_str(text),
            Error::Msgpack(text) => write!(f, "msgpack: {text}"),
            Error::Type(e) => e.fmt(f),
            Error::UnknownField(name) => write!(f, "json: unknown field {name:?}"),
        }
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, wanted, path) = (&self.value, &self.wanted, &self.path);
        match (self.origin, self.structure) {
            (Origin::Json, None) => {
                write!(
                    f,
                    "json: cannot unmarshal {value} into Go value of type {wanted}"
                )
            }
            (Origin::Json, Some(s)) => write!(
                f,
                "json: cannot unmarshal {value} into Go struct field {s}.{path} of type {wanted}"
            ),
            (Origin::Msgpack, None) => write!(f, "msgpack: cannot decode {value} into {wanted}"),
            (Origin::Msgpack, Some(s)) => {
                write!(
                    f,
                    "msgpack: cannot decode {value} into {s}.{path} of type {wanted}"
                )
            }
        }
    }
}

impl std::error::Error for Error {}
