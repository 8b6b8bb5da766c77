//! Msgpack bytes to [`Value`]s and structures, and back.
//!
//! Holds true: every code of both the old and the new spec is read (str8, bin and ext as raw bytes);
//! nesting is at most [`MAX_DEPTH`]; a length allocates nothing before its bytes are there.
//! Leaves to others: what is written (`encode`), Go's typing rules (`decode`).
//! Source: the msgpack specification; `docs/reference/gossip.md` section 1.

use std::borrow::Cow;

use super::{Deserialize, Deserializer, Error, Mode, Origin, Serialize, Serializer, Value};
pub use crate::codec::MAX_DEPTH;
use crate::codec::Rules;

/// Most elements to reserve room for before they are seen.
const MAX_RESERVE: usize = 1024;

/// Reads the first value; returns it and the bytes after it.
///
/// # Errors
/// [`Error::Eof`] on no bytes, [`Error::UnexpectedEof`] when the value does not end,
/// [`Error::Msgpack`] on a code that the format does not have and beyond [`MAX_DEPTH`].
pub fn decode(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), Error> {
    if bytes.is_empty() {
        return Err(Error::Eof);
    }
    let mut reader = Reader { rest: bytes };
    let value = reader.value(0)?;
    Ok((value, reader.rest))
}

/// Reads the first value as a `T`, ignoring bytes after it.
///
/// # Errors
/// Those of [`decode`], and [`Error::Type`] when it is not a `T`.
pub fn from_slice<T: Deserialize + Default>(bytes: &[u8]) -> Result<T, Error> {
    let mut rest = bytes;
    next(&mut rest)
}

/// Reads the next of successive values and moves `bytes` past it; on an error nothing moves.
///
/// # Errors
/// Those of [`from_slice`]; [`Error::Eof`] after the last one.
pub fn next<T: Deserialize + Default>(bytes: &mut &[u8]) -> Result<T, Error> {
    let mut out = T::default();
    next_into(bytes, &mut out)?;
    Ok(out)
}

/// As [`next`], into a default.
///
/// # Errors
/// Those of [`next`].
pub fn next_into(bytes: &mut &[u8], out: &mut dyn Deserialize) -> Result<(), Error> {
    let (value, rest) = decode(bytes)?;
    value_into(&value, out)?;
    *bytes = rest;
    Ok(())
}

/// Reads a decoded value as a `T`.
///
/// # Errors
/// [`Error::Type`] when it is not a `T`.
pub fn from_value<T: Deserialize + Default>(value: &Value<'_>) -> Result<T, Error> {
    let mut out = T::default();
    value_into(value, &mut out)?;
    Ok(out)
}

fn value_into(value: &Value<'_>, out: &mut dyn Deserialize) -> Result<(), Error> {
    let rules = Rules {
        origin: Origin::Msgpack,
        strict: false,
        root: "",
    };
    out.deserialize(&Deserializer::new(value, rules))
}

/// Writes a value.
///
/// # Errors
/// Only those of the value's own `Serialize`.
pub fn to_vec(value: &dyn Serialize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    append(&mut out, value)?;
    Ok(out)
}

/// Writes a value behind what `out` already holds; on an error `out` may hold a part of it.
///
/// # Errors
/// Only those of the value's own `Serialize`.
pub fn append(out: &mut Vec<u8>, value: &dyn Serialize) -> Result<(), Error> {
    let mut to = Serializer::append(Mode::Msgpack, std::mem::take(out));
    let result = value.serialize(&mut to);
    *out = to.into_bytes();
    result
}

/// The bytes not yet read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    // In a build for size these two would be calls, and there are several for each value that a server takes in.
    #[inline(always)]
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            return Err(Error::UnexpectedEof);
        };
        self.rest = rest;
        Ok(head)
    }

    #[inline(always)]
    fn byte(&mut self) -> Result<u8, Error> {
        let Some((byte, rest)) = self.rest.split_first() else {
            return Err(Error::UnexpectedEof);
        };
        self.rest = rest;
        Ok(*byte)
    }

    /// A big endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<u64, Error> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    /// A number in two's complement of `width` bytes.
    fn signed(&mut self, width: usize) -> Result<Value<'a>, Error> {
        let unused = 64 - 8 * width as u32;
        let n = (self.number(width)? << unused) as i64 >> unused;
        Ok(Value::int(n))
    }

    fn length(&mut self, width: usize) -> Result<usize, Error> {
        usize::try_from(self.number(width)?).map_err(|_| Error::UnexpectedEof)
    }

    fn raw(&mut self, n: usize) -> Result<Value<'a>, Error> {
        Ok(Value::Str(Cow::Borrowed(self.take(n)?)))
    }

    /// An extension: its type says nothing to us.
    fn extension(&mut self, n: usize) -> Result<Value<'a>, Error> {
        self.byte()?;
        self.raw(n)
    }

    fn array(&mut self, n: usize, depth: usize) -> Result<Value<'a>, Error> {
        let depth = deeper(depth)?;
        let mut items = Vec::with_capacity(n.min(self.rest.len()).min(MAX_RESERVE));
        for _ in 0..n {
            items.push(self.value(depth)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, n: usize, depth: usize) -> Result<Value<'a>, Error> {
        let depth = deeper(depth)?;
        let mut entries = Vec::with_capacity(n.min(self.rest.len() / 2).min(MAX_RESERVE));
        for _ in 0..n {
            let key = self.value(depth)?;
            entries.push((key, self.value(depth)?));
        }
        Ok(Value::Map(entries))
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        let code = self.byte()?;
        let low = |mask: u8| usize::from(code & mask);
        match code {
            0..=0x7f => Ok(Value::Uint(code.into())),
            0x80..=0x8f => self.map(low(15), depth),
            0x90..=0x9f => self.array(low(15), depth),
            0xa0..=0xbf => self.raw(low(31)),
            0xc0 => Ok(Value::Nil),
            0xc1 => Err(Error::Msgpack("code c1 is not used")),
            0xc2 => Ok(Value::Bool(false)),
            0xc3 => Ok(Value::Bool(true)),
            0xc4 | 0xd9 => self.length(1).and_then(|n| self.raw(n)),
            0xc5 | 0xda => self.length(2).and_then(|n| self.raw(n)),
            0xc6 | 0xdb => self.length(4).and_then(|n| self.raw(n)),
            0xc7 => self.length(1).and_then(|n| self.extension(n)),
            0xc8 => self.length(2).and_then(|n| self.extension(n)),
            0xc9 => self.length(4).and_then(|n| self.extension(n)),
            0xca => Ok(Value::F32(f32::from_bits(self.number(4)? as u32))),
            0xcb => Ok(Value::F64(f64::from_bits(self.number(8)?))),
            0xcc..=0xcf => self.number(1 << low(3)).map(Value::Uint),
            0xd0..=0xd3 => self.signed(1 << low(3)),
            0xd4..=0xd8 => self.extension(1 << (code - 0xd4)),
            0xdc => self.length(2).and_then(|n| self.array(n, depth)),
            0xdd => self.length(4).and_then(|n| self.array(n, depth)),
            0xde => self.length(2).and_then(|n| self.map(n, depth)),
            0xdf => self.length(4).and_then(|n| self.map(n, depth)),
            0xe0..=0xff => Ok(Value::Int((code as i8).into())),
        }
    }
}

fn deeper(depth: usize) -> Result<usize, Error> {
    if depth < MAX_DEPTH {
        Ok(depth + 1)
    } else {
        Err(Error::Msgpack("nested too deeply"))
    }
}

#[cfg(test)]
#[path = "msgpack_tests.rs"]
mod tests;
