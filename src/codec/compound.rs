//! Lists, maps and structures on their way to bytes.
//!
//! Holds true: the fields of embedded structures are the parent's; in msgpack the fields of a
//! structure are sorted, in JSON the keys of a map; a map or list is as long as it says.
//! Leaves to others: single values (`encode`).

use super::encode::{Fill, Mode, Serializer, Slot};
use super::fields::{Layout, is_embedded};
use super::gotext::push_string;
use super::{Error, MAX_DEPTH, Serialize, WriteFields};

impl Serializer {
    /// Begins a list of `len` elements.
    pub(super) fn open_list(&mut self, len: usize) -> Result<(), Error> {
        match self.mode {
            Mode::Json => self.out.push(b'['),
            Mode::Msgpack => self.length(len, 0x90, 16, 0xdc)?,
        }
        self.deeper()
    }

    /// Before the element with this number.
    pub(super) fn element(&mut self, at: usize) {
        if at > 0 && self.json() {
            self.out.push(b',');
        }
    }

    /// Ends a list of `len` elements.
    pub(super) fn close_list(&mut self, len: usize) -> Result<(), Error> {
        if self.json() {
            self.out.push(b']');
        }
        self.shallower(if len == 0 {
            Fill::EmptyList
        } else {
            Fill::Full
        })
    }

    /// Begins a map of `len` entries, which come in the order of their keys.
    pub(super) fn open_map(&mut self, len: usize) -> Result<(), Error> {
        match self.mode {
            Mode::Json => self.out.push(b'{'),
            Mode::Msgpack => self.length(len, 0x80, 16, 0xde)?,
        }
        self.deeper()
    }

    /// The key of the entry with this number.
    pub(super) fn key(&mut self, at: usize, key: &str) -> Result<(), Error> {
        self.element(at);
        if !self.json() {
            return self.raw(key.as_bytes());
        }
        push_string(&mut self.out, key);
        self.out.push(b':');
        Ok(())
    }

    /// Ends a map of `len` entries.
    pub(super) fn close_map(&mut self, len: usize) -> Result<(), Error> {
        if self.json() {
            self.out.push(b'}');
        }
        self.shallower(if len == 0 {
            Fill::EmptyList
        } else {
            Fill::Full
        })
    }

    /// What a reader would refuse must not be written: it could end up in the Raft log.
    fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.mode == Mode::Msgpack && self.depth > MAX_DEPTH {
            return Err(Error::Msgpack("nested too deeply"));
        }
        Ok(())
    }

    fn shallower(&mut self, fill: Fill) -> Result<(), Error> {
        self.depth -= 1;
        self.fill = fill;
        self.omit = false;
        Ok(())
    }

    /// Writes a structure whose fields are known only now, in the order given.
    ///
    /// # Errors
    /// Those of the fields.
    pub fn object(
        &mut self,
        fields: &mut dyn ExactSizeIterator<Item = (&str, &dyn Serialize)>,
    ) -> Result<(), Error> {
        let len = fields.len();
        self.open_map(len)?;
        for (at, (name, value)) in fields.enumerate() {
            self.key(at, name)?;
            value.serialize(self)?;
        }
        self.close_map(len)?;
        self.fill = Fill::Full;
        Ok(())
    }

    /// Writes a structure by its table.
    ///
    /// # Errors
    /// Those of the fields.
    pub fn structure(
        &mut self,
        from: &dyn WriteFields,
        layout: &'static Layout,
    ) -> Result<(), Error> {
        let embedded = std::mem::take(&mut self.embed);
        if self.json() {
            return self.json_fields(from, layout, embedded);
        }
        self.deeper()?;
        if layout.fixed && !embedded {
            self.length(layout.fields.len(), 0x80, 16, 0xde)?;
            for at in layout.order {
                let at = usize::from(*at);
                let name = layout.fields.get(at).map_or("", |field| field.name);
                self.raw(name.as_bytes())?;
                from.write_field(at, self)?;
            }
        } else {
            self.sorted_fields(from, layout, embedded)?;
        }
        self.shallower(Fill::Full)
    }

    fn json_fields(
        &mut self,
        from: &dyn WriteFields,
        layout: &'static Layout,
        embedded: bool,
    ) -> Result<(), Error> {
        if !embedded {
            self.out.push(b'{');
        }
        self.deeper()?;
        for (at, field) in layout.fields.iter().enumerate() {
            let start = self.out.len();
            if is_embedded(field.name) {
                self.embedded_field(from, at)?;
                continue;
            }
            if self.out.last() != Some(&b'{') {
                self.out.push(b',');
            }
            // No field's name has anything to escape.
            self.out.push(b'"');
            self.out.extend_from_slice(field.name.as_bytes());
            self.out.extend_from_slice(b"\":");
            from.write_field(at, self)?;
            let omit = std::mem::take(&mut self.omit);
            if omit || field.omit_empty && self.fill != Fill::Full {
                self.out.truncate(start);
            }
        }
        if !embedded {
            self.out.push(b'}');
        }
        self.shallower(Fill::Full)
    }

    /// In msgpack, fields whose order or number only shows as they are written.
    fn sorted_fields(
        &mut self,
        from: &dyn WriteFields,
        layout: &'static Layout,
        embedded: bool,
    ) -> Result<(), Error> {
        let (start, base) = (self.out.len(), self.slots.len());
        for (at, field) in layout.fields.iter().enumerate() {
            if is_embedded(field.name) {
                self.embedded_field(from, at)?;
                continue;
            }
            let slot = Slot {
                name: field.name,
                from: self.out.len(),
            };
            self.slots.push(slot);
            from.write_field(at, self)?;
            if std::mem::take(&mut self.omit) {
                self.slots.pop();
            }
        }
        if embedded {
            return Ok(());
        }
        self.reorder(start, base)
    }

    fn embedded_field(&mut self, from: &dyn WriteFields, at: usize) -> Result<(), Error> {
        let start = self.out.len();
        self.embed = true;
        from.write_field(at, self)?;
        if std::mem::take(&mut self.embed) {
            // Nothing but a structure can be embedded; a nil one has no fields.
            self.out.truncate(start);
        }
        Ok(())
    }
}
