//! From any value to bytes: the one writer, of msgpack or JSON.
//!
//! Holds true: msgpack is the old spec's (no str8, no bin), integers take the shortest form, unsigned
//! when they can, a structure is a map sorted by field name, and nothing nests deeper than is read; JSON keeps the declared order and
//! sorts the keys of maps.
//! Leaves to others: lists, maps and structures (`compound`), Go's texts (`gotext`).
//! Source: Go's `encoding/json` documentation; `docs/reference/gossip.md` section 1, `rpc.md` section 5.

use std::fmt::Display;

use super::gotext::{push_float, push_string};
use super::{Error, base64};

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

/// A field that waits to be put in order: its name and where it was written.
pub(super) struct Slot {
    pub name: &'static str,
    pub from: usize,
}

/// Writes one value to a buffer.
pub struct Serializer {
    pub(super) mode: Mode,
    pub(super) out: Vec<u8>,
    /// The fields written so far of the structures that are open and wait for their order, innermost last.
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

    /// Whether this is JSON, which shows some things as texts.
    pub fn json(&self) -> bool {
        self.mode == Mode::Json
    }

    fn put(&mut self, bytes: &[u8], empty: bool) -> Result<(), Error> {
        self.out.extend_from_slice(bytes);
        self.fill = if empty { Fill::Empty } else { Fill::Full };
        Ok(())
    }

    /// Writes nil, `null`.
    ///
    /// # Errors
    /// None.
    pub fn nil(&mut self) -> Result<(), Error> {
        let text: &[u8] = if self.json() { b"null" } else { b"\xc0" };
        self.put(text, true)
    }

    /// Writes a number.
    ///
    /// # Errors
    /// None.
    pub fn unsigned(&mut self, v: u64) -> Result<(), Error> {
        if self.json() {
            self.digits(v);
            return self.put(b"", v == 0);
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

    /// Writes a number.
    ///
    /// # Errors
    /// None.
    pub fn signed(&mut self, v: i64) -> Result<(), Error> {
        if let Ok(v) = u64::try_from(v) {
            return self.unsigned(v);
        }
        if self.json() {
            self.out.push(b'-');
            self.digits(v.unsigned_abs());
            return self.put(b"", false);
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

    /// A decimal number.
    fn digits(&mut self, mut v: u64) {
        let mut text = [0u8; 20];
        let mut first = text.len();
        for (at, digit) in text.iter_mut().enumerate().rev() {
            *digit = b'0' + (v % 10) as u8;
            v /= 10;
            first = at;
            if v == 0 {
                break;
            }
        }
        self.out
            .extend_from_slice(text.get(first..).unwrap_or_default());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.length(bytes.len(), 0xa0, 32, 0xda)?;
        self.put(bytes, bytes.is_empty())
    }

    /// Rewrites what was written from `start` on as a msgpack map: the slots from `base` on, in order of their names.
    pub(super) fn reorder(&mut self, start: usize, base: usize) -> Result<(), Error> {
        let tail = self.out.split_off(start.min(self.out.len()));
        let slots = self.slots.split_off(base.min(self.slots.len()));
        let ends = slots
            .iter()
            .skip(1)
            .map(|s| s.from)
            .chain([start + tail.len()]);
        let mut parts: Vec<(&str, &[u8])> = slots
            .iter()
            .zip(ends)
            .map(|(s, end)| {
                let body = tail.get(s.from - start..end - start).unwrap_or_default();
                (s.name, body)
            })
            .collect();
        parts.sort_unstable_by_key(|part| part.0);
        self.length(parts.len(), 0x80, 16, 0xde)?;
        for (name, body) in parts {
            self.raw(name.as_bytes())?;
            self.out.extend_from_slice(body);
        }
        Ok(())
    }

    /// Writes true or false.
    ///
    /// # Errors
    /// None.
    pub fn boolean(&mut self, v: bool) -> Result<(), Error> {
        let text: &[u8] = match (self.mode, v) {
            (Mode::Json, true) => b"true",
            (Mode::Json, false) => b"false",
            (Mode::Msgpack, true) => b"\xc3",
            (Mode::Msgpack, false) => b"\xc2",
        };
        self.put(text, !v)
    }

    /// Writes a single precision number.
    ///
    /// # Errors
    /// `json: unsupported value: NaN`.
    pub fn single(&mut self, v: f32) -> Result<(), Error> {
        if !self.json() {
            self.out.push(0xca);
            return self.put(&v.to_be_bytes(), v == 0.0);
        }
        let (shortest, scientific) = (v.to_string(), format!("{v:e}"));
        self.float(v.into(), &shortest, &scientific)
    }

    /// Writes a number.
    ///
    /// # Errors
    /// `json: unsupported value: NaN`.
    pub fn double(&mut self, v: f64) -> Result<(), Error> {
        if !self.json() {
            self.out.push(0xcb);
            return self.put(&v.to_be_bytes(), v == 0.0);
        }
        let (shortest, scientific) = (v.to_string(), format!("{v:e}"));
        self.float(v, &shortest, &scientific)
    }

    fn float(&mut self, v: f64, shortest: &str, scientific: &str) -> Result<(), Error> {
        if !v.is_finite() {
            return Err(Error::Custom(format!("json: unsupported value: {v}")));
        }
        push_float(&mut self.out, v.abs(), shortest, scientific);
        self.put(b"", v == 0.0)
    }

    /// Writes a text.
    ///
    /// # Errors
    /// When msgpack has no length for it.
    pub fn text(&mut self, v: &str) -> Result<(), Error> {
        if !self.json() {
            return self.raw(v.as_bytes());
        }
        push_string(&mut self.out, v);
        self.put(b"", v.is_empty())
    }

    /// Writes something's text.
    ///
    /// # Errors
    /// When msgpack has no length for it.
    pub fn display(&mut self, v: &dyn Display) -> Result<(), Error> {
        self.text(&v.to_string())
    }

    /// Writes bytes: base64 in JSON, `null` when there are none.
    ///
    /// # Errors
    /// When msgpack has no length for them.
    pub fn bytes(&mut self, v: &[u8]) -> Result<(), Error> {
        if !self.json() {
            return self.raw(v);
        }
        if v.is_empty() {
            return self.nil();
        }
        self.out.push(b'"');
        base64::encode_to(&mut self.out, v);
        self.put(b"\"", false)
    }

    /// What was written last is behind a pointer: Go's omitempty asks whether that is nil, not what it points to.
    pub(super) fn pointed(&mut self) {
        if self.fill == Fill::Empty {
            self.fill = Fill::Full;
        }
    }

    /// Go's `omitempty` for the value written last: JSON leaves the field out when it is empty.
    pub fn omit_empty(&mut self) {
        self.omit = self.json() && self.fill != Fill::Full;
    }

    /// Leaves the field out in either format; its structure must know that some are (`Layout::fixed`).
    ///
    /// # Errors
    /// None.
    pub fn skip_field(&mut self) -> Result<(), Error> {
        self.omit = true;
        Ok(())
    }
}
