//! Lists, maps and structures inside a [`Value`], as serde asks for them piece by piece.
//!
//! Holds true: a structure gets its fields in the order of the input, its embedded structures last, out
//! of the same map; what nobody took is an error where unknown fields are.
//! Leaves to others: which entry is which field (`fields`), single values (`decode`).

use std::cell::Cell;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use super::decode::{Deserializer, Embedded, Origin};
use super::fields::{Entries, Source, is_embedded, plan, unknown};
use super::{Error, Value};

impl<'p, 'de> Deserializer<'p, 'de> {
    /// Everything about reading a structure that does not depend on its type.
    pub(super) fn structure(
        mut self,
        rust: &str,
        name: &'static str,
        fields: &'static [&'static str],
    ) -> Result<Structure<'p, 'de>, Error> {
        let opaque = name.is_empty() || name == "?";
        if opaque {
            self.strict = self.rules.strict && name.is_empty();
        }
        let entries = self.entries(rust)?;
        let strict = self.strict && self.rules.origin != Origin::Msgpack;
        // Flags are needed where structures share a map; without any, the plan alone knows it all.
        let own = self.embedded.is_none() && fields.iter().any(|name| is_embedded(name));
        let taken: Vec<Cell<bool>> = if own {
            vec![Cell::new(false); entries.len()]
        } else {
            Vec::new()
        };
        let flags = self.embedded.map(|e| e.taken);
        let flags = if own { Some(&taken[..]) } else { flags };
        let steps = plan(fields, entries, self.rules.origin, strict, flags)?;
        Ok(Structure {
            name: match self.embedded {
                Some(outer) => outer.name,
                None if opaque => "",
                None => name,
            },
            opaque,
            strict: strict && own,
            child: self.child(self.value),
            entries,
            steps: steps.into_iter(),
            next: None,
            taken,
            outer: self.embedded,
        })
    }
}

/// The elements of a list.
pub(super) struct List<'p, 'de> {
    pub parent: Deserializer<'p, 'de>,
    pub items: std::slice::Iter<'de, Value<'de>>,
}

impl<'de> SeqAccess<'de> for List<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(self.parent.child(item)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a map.
pub(super) struct Entry<'p, 'de> {
    pub parent: Deserializer<'p, 'de>,
    pub entries: std::slice::Iter<'de, (Value<'de>, Value<'de>)>,
    pub value: Option<&'de (Value<'de>, Value<'de>)>,
}

impl<'de> MapAccess<'de> for Entry<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        let mut child = self.parent.child(key);
        child.key = true;
        seed.deserialize(child).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let value = self.value.take().map_or(&Value::Nil, |(_, value)| value);
        seed.deserialize(self.parent.child(value))
    }
}

/// The fields of a structure.
pub(super) struct Structure<'p, 'de> {
    /// Go's name; empty when Go's errors do not know one.
    name: &'static str,
    /// It has a decoder of its own in Consul.
    pub opaque: bool,
    /// An entry that neither it nor its embedded structures took is an error.
    strict: bool,
    /// The template of its fields' deserializers, which points at the whole map.
    child: Deserializer<'p, 'de>,
    entries: Entries<'de>,
    steps: std::vec::IntoIter<(&'static str, Source)>,
    next: Option<(&'static str, Source)>,
    /// The entries that found a field, when this is the outermost of structures that share a map.
    taken: Vec<Cell<bool>>,
    outer: Option<Embedded<'p>>,
}

impl Structure<'_, '_> {
    pub(super) fn nothing_left(&self) -> Result<(), Error> {
        let mut left = self.entries.iter().zip(&self.taken);
        left.try_for_each(|((key, _), taken)| match taken.get() {
            true => Ok(()),
            false => unknown(key, self.strict),
        })
    }
}

impl<'de> MapAccess<'de> for Structure<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.next = self.steps.next();
        let Some((field, _)) = self.next else {
            return Ok(None);
        };
        seed.deserialize(BorrowedStrDeserializer::<Error>::new(field))
            .map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.next.take() {
            Some((field, Source::Entry(at))) => {
                let mut child = self.child;
                child.value = self.entries.get(at).map_or(&Value::Nil, |(_, v)| v);
                seed.deserialize(child)
                    .map_err(|e| e.in_field(self.name, field))
            }
            _ => {
                let shared = self.outer.unwrap_or(Embedded {
                    name: self.name,
                    taken: &self.taken,
                });
                seed.deserialize(Deserializer {
                    embedded: Some(shared),
                    ..self.child
                })
            }
        }
    }
}
