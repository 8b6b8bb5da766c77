//! Lists, maps and structures on their way to bytes: what the `Serializer` writes piece by piece.
//!
//! Holds true: the fields of embedded structures are the parent's; in msgpack the fields of a
//! structure are sorted, in JSON the keys of a map; a map or list is as long as it says.
//! Leaves to others: single values (`encode`).

use std::borrow::Cow;

use serde::ser::{self, Serialize};

use super::encode::{Fill, Mode, Serializer, Slot};
use super::fields::is_embedded;
use super::gotext::push_string;
use super::msgpack::MAX_DEPTH;
use super::{Error, Value, json};

/// What is being written element by element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    List,
    Map,
    Struct,
    /// A structure whose fields go to the one around it.
    Embedded,
}

/// A list, map or structure being written.
pub struct Compound<'a> {
    to: &'a mut Serializer,
    shape: Shape,
    /// Where the content begins.
    start: usize,
    /// How many slots belong to others.
    base: usize,
    /// Elements written, not counting the fields of structures.
    count: usize,
    /// The number of elements announced, already written in msgpack.
    announced: Option<usize>,
}

impl<'a> Compound<'a> {
    pub(super) fn open(
        to: &'a mut Serializer,
        shape: Shape,
        len: Option<usize>,
    ) -> Result<Self, Error> {
        match (to.mode, shape, len) {
            (_, Shape::Embedded, _) => {}
            (Mode::Json, Shape::List, _) => to.out.push(b'['),
            (Mode::Json, _, _) => to.out.push(b'{'),
            (Mode::Msgpack, Shape::List, Some(n)) => to.length(n, 0x90, 16, 0xdc)?,
            (Mode::Msgpack, Shape::Map, Some(n)) => to.length(n, 0x80, 16, 0xde)?,
            (Mode::Msgpack, _, _) => {}
        }
        // What a reader would refuse must not be written: it could end up in the Raft log.
        to.depth += 1;
        if to.mode == Mode::Msgpack && to.depth > MAX_DEPTH {
            return Err(Error::Msgpack("nested too deeply"));
        }
        Ok(Self {
            start: to.out.len(),
            base: to.slots.len(),
            to,
            shape,
            count: 0,
            announced: len,
        })
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if self.to.json() && self.count > 0 {
            self.to.out.push(b',');
        }
        self.count += 1;
        value.serialize(&mut *self.to)?;
        self.to.omit = false;
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        let from = self.to.out.len();
        if is_embedded(name) {
            self.to.embed = true;
            value.serialize(&mut *self.to)?;
            if std::mem::take(&mut self.to.embed) {
                // Nothing but a structure can be embedded; a nil one has no fields.
                self.to.out.truncate(from);
            }
            return Ok(());
        }
        if self.to.json() {
            if self.to.out.last() != Some(&b'{') {
                self.to.out.push(b',');
            }
            push_string(&mut self.to.out, name);
            self.to.out.push(b':');
        } else {
            self.to.slots.push(Slot {
                name: Cow::Borrowed(name.as_bytes()),
                from,
            });
        }
        value.serialize(&mut *self.to)?;
        if std::mem::take(&mut self.to.omit) {
            self.to.out.truncate(from);
        }
        Ok(())
    }

    fn map_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.count += 1;
        if !self.to.json() {
            return key.serialize(&mut *self.to);
        }
        let from = self.to.out.len();
        key.serialize(&mut *self.to)?;
        let written = self.to.out.get(from..).unwrap_or_default();
        // The order is that of the keys before escaping.
        let name = match written {
            [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => plain.to_vec(),
            [b'"', ..] => match json::decode(written)?.0 {
                Value::Str(text) => text.into_owned(),
                _ => Vec::new(),
            },
            number => {
                let number = number.to_vec();
                self.to.out.truncate(from);
                push_string(&mut self.to.out, &String::from_utf8_lossy(&number));
                number
            }
        };
        self.to.out.push(b':');
        self.to.slots.push(Slot {
            name: name.into(),
            from,
        });
        Ok(())
    }

    fn close(self) -> Result<(), Error> {
        let Self {
            to,
            shape,
            start,
            base,
            count,
            announced,
        } = self;
        to.depth -= 1;
        match (to.mode, shape) {
            (_, Shape::Embedded) => return Ok(()),
            (Mode::Json, Shape::List) => to.out.push(b']'),
            (Mode::Json, Shape::Struct) => to.out.push(b'}'),
            (Mode::Json, Shape::Map) => {
                to.reorder(start, base, b",")?;
                to.out.push(b'}');
            }
            (Mode::Msgpack, Shape::Struct) => to.reorder(start, base, b"")?,
            (Mode::Msgpack, _) if announced.is_none() => {
                let tail = to.out.split_off(start);
                match shape {
                    Shape::List => to.length(count, 0x90, 16, 0xdc)?,
                    _ => to.length(count, 0x80, 16, 0xde)?,
                }
                to.out.extend_from_slice(&tail);
            }
            (Mode::Msgpack, _) if announced != Some(count) => {
                return Err(Error::Msgpack("a list is not as long as it announced"));
            }
            (Mode::Msgpack, _) => {}
        }
        to.fill = match shape {
            Shape::List | Shape::Map if count == 0 => Fill::EmptyList,
            _ => Fill::Full,
        };
        Ok(())
    }
}

/// The list-like traits of serde, all the same here.
macro_rules! lists {
    ($($compound:ident $method:ident;)*) => {$(
        impl ser::$compound for Compound<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

lists! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.map_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.to)?;
        self.to.omit = false;
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl ser::SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}
