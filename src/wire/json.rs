//! JSON texts to [`Value`]s and structures, and back, as Go's `encoding/json` does it.
//!
//! Holds true: errors are Go's words; the first value is read and bytes behind it are ignored, as for
//! a request's body, or refused where the text is the whole; nesting is at most 1000 deep; numbers are
//! correctly rounded; text that is not Unicode becomes U+FFFD.
//! Leaves to others: the grammar (`scan`), the parsing proper (miniserde, which needs no stack), Go's
//! typing rules (`decode`), writing (`encode`).

use std::borrow::Cow;
use std::ops::Range;

use miniserde::de::{Map, Seq, Visitor};
use miniserde::make_place;

use super::scan::{Scanned, is_space, scan, trailing};
use super::{Deserialize, Deserializer, Error, Mode, Origin, Serialize, Serializer, Value};
use crate::codec::Rules;

/// Reads the first value of a text; returns it and the bytes after it.
///
/// # Errors
/// [`Error::Eof`], [`Error::UnexpectedEof`] or [`Error::Syntax`] in Go's words.
pub fn decode(text: &[u8]) -> Result<(Value<'static>, &[u8]), Error> {
    let scanned = scan(text)?;
    let rest = text.get(scanned.span.end..).unwrap_or_default();
    Ok((parse(text, &scanned)?, rest))
}

/// Reads a text that is one value and nothing more (a file).
///
/// # Errors
/// As Go's `json.Unmarshal`: `unexpected end of JSON input`, `invalid character 'x' after top-level value`.
pub fn decode_whole(text: &[u8]) -> Result<Value<'static>, Error> {
    let (value, rest) = decode(text).map_err(|e| match e {
        Error::Eof | Error::UnexpectedEof => {
            Error::Syntax("unexpected end of JSON input".to_owned())
        }
        e => e,
    })?;
    trailing(rest)?;
    Ok(value)
}

/// Reads a request's body as a `T`, skipping fields that it does not have.
///
/// # Errors
/// Go's words for bad syntax and for wrong types.
pub fn from_slice_lenient<T: Deserialize + Default>(text: &[u8]) -> Result<T, Error> {
    from_value(&decode(text)?.0, false, "structs")
}

/// Reads a request's body as a `T`; fields that it does not have are errors. `type_name` is the Go
/// name of `T`, for the error when the body is of another kind: `structs.PreparedQuery`.
///
/// # Errors
/// Go's words for bad syntax, for unknown fields and for wrong types.
pub fn from_slice_strict<T: Deserialize + Default>(
    text: &[u8],
    type_name: &'static str,
) -> Result<T, Error> {
    from_value(&decode(text)?.0, true, type_name)
}

/// Reads a decoded value as a `T`, `strict` about unknown fields or not.
///
/// # Errors
/// Go's words for unknown fields and for wrong types.
pub fn from_value<T: Deserialize + Default>(
    value: &Value<'_>,
    strict: bool,
    type_name: &'static str,
) -> Result<T, Error> {
    let mut out = T::default();
    value_into(value, strict, type_name, &mut out)?;
    Ok(out)
}

/// As [`from_value`], into a default.
///
/// # Errors
/// Those of [`from_value`].
pub fn value_into(
    value: &Value<'_>,
    strict: bool,
    type_name: &'static str,
    out: &mut dyn Deserialize,
) -> Result<(), Error> {
    let rules = Rules {
        origin: Origin::Json,
        strict,
        root: type_name,
    };
    out.deserialize(&Deserializer::new(value, rules))
}

/// Writes a value in Go's compact form.
///
/// # Errors
/// `json: unsupported value: NaN`, and those of the value's own `Serialize`.
pub fn to_vec(value: &dyn Serialize) -> Result<Vec<u8>, Error> {
    let mut to = Serializer::new(Mode::Json);
    value.serialize(&mut to)?;
    Ok(to.into_bytes())
}

/// Indents compact JSON by 4 spaces a level, as Go's `MarshalIndent` does; no line end at the end.
pub fn pretty(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, &c) in compact.iter().enumerate() {
        if quoted {
            out.push(c);
            quoted = escaped || c != b'"';
            escaped = c == b'\\' && !escaped;
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| compact.get(at));
        match c {
            b'{' | b'[' => {
                out.push(c);
                if !matches!(compact.get(at + 1), Some(b'}' | b']')) {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                if !matches!(before, Some(b'{' | b'[')) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(c);
            }
            b',' => {
                out.push(c);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            c if is_space(c) => {}
            _ => {
                quoted = c == b'"';
                out.push(c);
            }
        }
    }
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 4 * depth, b' ');
}

/// A text that the scanner has found right, as a value.
fn parse(text: &[u8], scanned: &Scanned) -> Result<Value<'static>, Error> {
    let slice = text.get(scanned.span.clone()).unwrap_or_default();
    let clean = if scanned.unclean {
        Cow::Owned(cleaned(slice))
    } else {
        String::from_utf8_lossy(slice)
    };
    let parsed: miniserde::Result<Parsed> = miniserde::json::from_str(&clean);
    let Ok(Parsed(mut value)) = parsed else {
        // The one thing that is right by the grammar and still refused.
        return Err(Error::Custom(
            "json: cannot unmarshal number into Go value of type float64".to_owned(),
        ));
    };
    exact_numbers(&mut value, text, &mut scanned.numbers.iter());
    Ok(value)
}

/// Replaces numbers with fractions or exponents by the nearest float: the parser rounds twice.
fn exact_numbers(
    value: &mut Value<'_>,
    text: &[u8],
    literals: &mut std::slice::Iter<Range<usize>>,
) {
    match value {
        Value::Int(_) | Value::Uint(_) | Value::F32(_) | Value::F64(_) => {
            let literal = literals.next().and_then(|span| text.get(span.clone()));
            let literal = literal.and_then(|l| std::str::from_utf8(l).ok());
            if let (Value::F64(v), Some(exact)) = (value, literal.and_then(|l| l.parse().ok())) {
                *v = exact;
            }
        }
        Value::Array(items) => {
            for item in items {
                exact_numbers(item, text, literals);
            }
        }
        Value::Map(entries) => {
            for (_, item) in entries {
                exact_numbers(item, text, literals);
            }
        }
        Value::Nil | Value::Bool(_) | Value::Str(_) => {}
    }
}

/// The same JSON with U+FFFD in place of bytes that are not UTF-8 and of half surrogate pairs.
fn cleaned(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        // Go replaces each byte.
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    let mut from = 0;
    while let Some(at) = out.get(from..).and_then(|rest| rest.find('\\')) {
        let at = from + at;
        from = at + 2;
        let Some(unit) = escape_at(&out, at) else {
            continue;
        };
        from = at + 6;
        let low = escape_at(&out, from).is_some_and(|u| (0xdc00..0xe000).contains(&u));
        match unit {
            0xd800..0xdc00 if low => from += 6,
            0xd800..0xe000 => out.replace_range(at..at + 6, "\\ufffd"),
            _ => {}
        }
    }
    out
}

/// The unit of a `\u` escape at this place.
fn escape_at(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

make_place!(Place);

/// A [`Value`] as miniserde builds it, in the order of the text.
struct Parsed(Value<'static>);

impl miniserde::Deserialize for Parsed {
    fn begin(out: &mut Option<Self>) -> &mut dyn Visitor {
        Place::new(out)
    }
}

impl Place<Parsed> {
    fn set(&mut self, value: Value<'static>) -> miniserde::Result<()> {
        self.out = Some(Parsed(value));
        Ok(())
    }
}

impl Visitor for Place<Parsed> {
    fn null(&mut self) -> miniserde::Result<()> {
        self.set(Value::Nil)
    }

    fn boolean(&mut self, b: bool) -> miniserde::Result<()> {
        self.set(Value::Bool(b))
    }

    fn string(&mut self, s: &str) -> miniserde::Result<()> {
        self.set(Value::Str(Cow::Owned(s.as_bytes().to_vec())))
    }

    fn negative(&mut self, n: i64) -> miniserde::Result<()> {
        self.set(Value::int(n))
    }

    fn nonnegative(&mut self, n: u64) -> miniserde::Result<()> {
        self.set(Value::Uint(n))
    }

    fn float(&mut self, n: f64) -> miniserde::Result<()> {
        self.set(Value::F64(n))
    }

    fn seq(&mut self) -> miniserde::Result<Box<dyn Seq + '_>> {
        Ok(Box::new(Elements {
            out: &mut self.out,
            items: Vec::new(),
            open: None,
        }))
    }

    fn map(&mut self) -> miniserde::Result<Box<dyn Map + '_>> {
        Ok(Box::new(Members {
            out: &mut self.out,
            entries: Vec::new(),
            key: None,
            open: None,
        }))
    }
}

/// An array being read.
struct Elements<'a> {
    out: &'a mut Option<Parsed>,
    items: Vec<Value<'static>>,
    open: Option<Parsed>,
}

impl Elements<'_> {
    fn shift(&mut self) {
        self.items.extend(self.open.take().map(|p| p.0));
    }
}

impl Seq for Elements<'_> {
    fn element(&mut self) -> miniserde::Result<&mut dyn Visitor> {
        self.shift();
        Ok(miniserde::Deserialize::begin(&mut self.open))
    }

    fn finish(&mut self) -> miniserde::Result<()> {
        self.shift();
        *self.out = Some(Parsed(Value::Array(std::mem::take(&mut self.items))));
        Ok(())
    }
}

/// An object being read.
struct Members<'a> {
    out: &'a mut Option<Parsed>,
    entries: Vec<(Value<'static>, Value<'static>)>,
    key: Option<Value<'static>>,
    open: Option<Parsed>,
}

impl Members<'_> {
    fn shift(&mut self) {
        if let (Some(key), Some(Parsed(value))) = (self.key.take(), self.open.take()) {
            self.entries.push((key, value));
        }
    }
}

impl Map for Members<'_> {
    fn key(&mut self, k: &str) -> miniserde::Result<&mut dyn Visitor> {
        self.shift();
        self.key = Some(Value::Str(Cow::Owned(k.as_bytes().to_vec())));
        Ok(miniserde::Deserialize::begin(&mut self.open))
    }

    fn finish(&mut self) -> miniserde::Result<()> {
        self.shift();
        *self.out = Some(Parsed(Value::Map(std::mem::take(&mut self.entries))));
        Ok(())
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
