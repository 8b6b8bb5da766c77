//! From any structure to bytes: the one `serde::Serializer`, writing msgpack or JSON.
//!
//! Holds true: msgpack is the old spec's (no str8, no bin), integers take the shortest form, unsigned
//! when they can, a structure is a map sorted by field name, and nothing nests deeper than is read; JSON keeps the declared order and
//! sorts the keys of maps. A field named `""` (or `+...`) is an embedded structure: its fields become
//! the parent's. [`OMIT_EMPTY`] marks Go's `omitempty`: JSON leaves such a field out when it is empty.
//! Leaves to others: lists, maps and structures (`compound`), Go's texts (`gotext`).
//! Source: Go's `encoding/json` documentation; `docs/reference/gossip.md` section 1, `rpc.md` section 5.

use std::borrow::Cow;

use serde::ser::{self, Serialize};

use super::Error;
use super::compound::{Compound, Shape};
use super::gotext::{push_float, push_string};
use crate::structs::go::OMIT_EMPTY;

/// The format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Go's msgpack, old spec.
    Msgpack,
    /// Go's compact JSON.
    Json,
}

/// How empty, in the sense of `omitempty`, the value written last is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// false, 0, "", nil, no bytes.
    Empty,
    /// A list or map without elements: empty behind a pointer too, since ours stands for Go's nil-able one.
    EmptyList,
    Full,
}

/// A field or map entry that waits to be put in order: its name and where it was written.
pub(super) struct Slot {
    pub name: Cow<'static, [u8]>,
    pub from: usize,
}

/// Writes one value to a buffer.
pub struct Serializer {
    pub(super) mode: Mode,
    pub(super) out: Vec<u8>,
    /// The fields written so far of the structures and maps that are open, innermost last.
    pub(super) slots: Vec<Slot>,
    pub(super) fill: Fill,
    /// The next structure is embedded in the open one.
    pub(super) embed: bool,
    /// The value written last is to be left out.
    pub(super) omit: bool,
    /// How many lists, maps and structures are open.
    pub(super) depth: usize,
}

impl Serializer {
    /// Starts with an empty buffer.
    pub fn new(mode: Mode) -> Self {
        Self::append(mode, Vec::new())
    }

    /// Appends to `out`.
    pub fn append(mode: Mode, out: Vec<u8>) -> Self {
        Self {
            mode,
            out,
            slots: Vec::new(),
            fill: Fill::Full,
            embed: false,
            omit: false,
            depth: 0,
        }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn json(&self) -> bool {
        self.mode == Mode::Json
    }

    fn put(&mut self, bytes: &[u8], empty: bool) -> Result<(), Error> {
        self.out.extend_from_slice(bytes);
        self.fill = if empty { Fill::Empty } else { Fill::Full };
        Ok(())
    }

    fn nil(&mut self) -> Result<(), Error> {
        let text: &[u8] = if self.json() { b"null" } else { b"\xc0" };
        self.put(text, true)
    }

    fn unsigned(&mut self, v: u64) -> Result<(), Error> {
        if self.json() {
            return self.put(v.to_string().as_bytes(), v == 0);
        }
        let be = v.to_be_bytes();
        let (code, width) = match v {
            0..=0x7f => return self.put(&be[7..], v == 0),
            0x80..=0xff => (0xcc, 1),
            0x100..=0xffff => (0xcd, 2),
            0x1_0000..=0xffff_ffff => (0xce, 4),
            _ => (0xcf, 8),
        };
        self.out.push(code);
        self.put(&be[8 - width..], false)
    }

    fn signed(&mut self, v: i64) -> Result<(), Error> {
        if let Ok(v) = u64::try_from(v) {
            return self.unsigned(v);
        }
        if self.json() {
            return self.put(v.to_string().as_bytes(), false);
        }
        let be = v.to_be_bytes();
        let (code, width) = match v {
            -32..0 => return self.put(&be[7..], false),
            -0x80..-32 => (0xd0, 1),
            -0x8000..-0x80 => (0xd1, 2),
            -0x8000_0000..-0x8000 => (0xd2, 4),
            _ => (0xd3, 8),
        };
        self.out.push(code);
        self.put(&be[8 - width..], false)
    }

    /// A length with the code of its shortest form; `fix` is the code of the shortest one, which
    /// has room for lengths below `room`.
    pub(super) fn length(&mut self, n: usize, fix: u8, room: usize, long: u8) -> Result<(), Error> {
        let n = u32::try_from(n).map_err(|_| Error::Msgpack("too long to encode"))?;
        let be = n.to_be_bytes();
        if (n as usize) < room {
            self.out.push(fix | be[3]);
        } else if n <= 0xffff {
            self.out.extend_from_slice(&[long, be[2], be[3]]);
        } else {
            self.out.push(long + 1);
            self.out.extend_from_slice(&be);
        }
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.length(bytes.len(), 0xa0, 32, 0xda)?;
        self.put(bytes, bytes.is_empty())
    }

    /// Rewrites what was written from `start` on: the slots from `base` on, in order of their names.
    pub(super) fn reorder(
        &mut self,
        start: usize,
        base: usize,
        separator: &[u8],
    ) -> Result<(), Error> {
        let tail = self.out.split_off(start.min(self.out.len()));
        let slots = self.slots.split_off(base.min(self.slots.len()));
        let ends = slots
            .iter()
            .skip(1)
            .map(|s| s.from)
            .chain([start + tail.len()]);
        let mut parts: Vec<(&[u8], &[u8])> = slots
            .iter()
            .zip(ends)
            .map(|(s, end)| {
                let body = tail.get(s.from - start..end - start).unwrap_or_default();
                (&s.name[..], body)
            })
            .collect();
        parts.sort_by(|a, b| a.0.cmp(b.0));
        if !self.json() {
            self.length(parts.len(), 0x80, 16, 0xde)?;
        }
        for (n, (name, body)) in parts.into_iter().enumerate() {
            if n > 0 {
                self.out.extend_from_slice(separator);
            }
            if !self.json() {
                self.raw(name)?;
            }
            self.out.extend_from_slice(body);
        }
        Ok(())
    }
}

impl<'a> ser::Serializer for &'a mut Serializer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = ser::Impossible<(), Error>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = ser::Impossible<(), Error>;

    fn is_human_readable(&self) -> bool {
        self.json()
    }

    fn serialize_bool(self, v: bool) -> Result<(), Error> {
        let text: &[u8] = match (self.mode, v) {
            (Mode::Json, true) => b"true",
            (Mode::Json, false) => b"false",
            (Mode::Msgpack, true) => b"\xc3",
            (Mode::Msgpack, false) => b"\xc2",
        };
        self.put(text, !v)
    }

    fn serialize_i8(self, v: i8) -> Result<(), Error> {
        self.signed(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<(), Error> {
        self.signed(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<(), Error> {
        self.signed(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<(), Error> {
        self.signed(v)
    }

    fn serialize_u8(self, v: u8) -> Result<(), Error> {
        self.unsigned(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<(), Error> {
        self.unsigned(v.into())
    }

    fn serialize_u32(self, v: u32) -> Result<(), Error> {
        self.unsigned(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<(), Error> {
        self.unsigned(v)
    }

    fn serialize_f32(self, v: f32) -> Result<(), Error> {
        if !self.json() {
            self.out.push(0xca);
            return self.put(&v.to_be_bytes(), v == 0.0);
        }
        if !v.is_finite() {
            return Err(Error::Custom(format!("json: unsupported value: {v}")));
        }
        let (shortest, scientific) = (v.to_string(), format!("{v:e}"));
        push_float(&mut self.out, v.abs().into(), &shortest, &scientific);
        self.put(b"", v == 0.0)
    }

    fn serialize_f64(self, v: f64) -> Result<(), Error> {
        if !self.json() {
            self.out.push(0xcb);
            return self.put(&v.to_be_bytes(), v == 0.0);
        }
        if !v.is_finite() {
            return Err(Error::Custom(format!("json: unsupported value: {v}")));
        }
        let (shortest, scientific) = (v.to_string(), format!("{v:e}"));
        push_float(&mut self.out, v.abs(), &shortest, &scientific);
        self.put(b"", v == 0.0)
    }

    fn serialize_char(self, v: char) -> Result<(), Error> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), Error> {
        if !self.json() {
            return self.raw(v.as_bytes());
        }
        push_string(&mut self.out, v);
        self.put(b"", v.is_empty())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), Error> {
        if !self.json() {
            return self.raw(v);
        }
        if v.is_empty() {
            return self.nil();
        }
        self.out.push(b'"');
        self.out
            .extend_from_slice(data_encoding::BASE64.encode(v).as_bytes());
        self.put(b"\"", false)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.nil()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self)?;
        // Go's omitempty asks whether a pointer is nil, not what it points to.
        if self.fill == Fill::Empty {
            self.fill = Fill::Full;
        }
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.nil()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.nil()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(&mut *self)?;
        if name == OMIT_EMPTY && self.json() {
            self.omit = self.fill != Fill::Full;
        }
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'a>, Error> {
        Compound::open(self, Shape::List, len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'a>, Error> {
        Compound::open(self, Shape::List, Some(len))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<Compound<'a>, Error> {
        Compound::open(self, Shape::List, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(Error::Custom("Go has no enums with fields".to_owned()))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'a>, Error> {
        Compound::open(self, Shape::Map, len)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Compound<'a>, Error> {
        let shape = if std::mem::take(&mut self.embed) {
            Shape::Embedded
        } else {
            Shape::Struct
        };
        Compound::open(self, shape, None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(Error::Custom("Go has no enums with fields".to_owned()))
    }
}
