//! How the standard library's types are read and written.
//!
//! Holds true: nil is the zero value of every type; integers of any width are accepted and range checked.

use std::any::type_name;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Deserialize, Deserializer, Error, Serialize, Serializer, Value};

/// Most bytes to reserve room for before the elements are read.
const MAX_RESERVE: usize = 1 << 20;

impl Serialize for bool {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.boolean(*self)
    }
}

impl Deserialize for bool {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        *self = from.boolean("bool")?;
        Ok(())
    }
}

macro_rules! integers {
    ($($int:ident $write:ident $wide:ident $read:ident($($bound:expr),*);)*) => {$(
        impl Serialize for $int {
            fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
                to.$write(*self as $wide)
            }
        }

        impl Deserialize for $int {
            fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
                *self = from.$read(stringify!($int), $($bound),*)? as $int;
                Ok(())
            }
        }
    )*};
}

integers! {
    i8 signed i64 signed(i8::MIN.into(), i8::MAX.into());
    i16 signed i64 signed(i16::MIN.into(), i16::MAX.into());
    i32 signed i64 signed(i32::MIN.into(), i32::MAX.into());
    i64 signed i64 signed(i64::MIN, i64::MAX);
    u8 unsigned u64 unsigned(u8::MAX.into());
    u16 unsigned u64 unsigned(u16::MAX.into());
    u32 unsigned u64 unsigned(u32::MAX.into());
    u64 unsigned u64 unsigned(u64::MAX);
    usize unsigned u64 unsigned(usize::MAX as u64);
}

impl Serialize for f32 {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.single(*self)
    }
}

impl Deserialize for f32 {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        *self = from.float("f32")? as f32;
        Ok(())
    }
}

impl Serialize for f64 {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.double(*self)
    }
}

impl Deserialize for f64 {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        *self = from.float("f64")?;
        Ok(())
    }
}

impl Serialize for str {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.text(self)
    }
}

impl Serialize for String {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.text(self)
    }
}

impl Deserialize for String {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        *self = from.text("String")?.into_owned();
        Ok(())
    }
}

impl Serialize for Cow<'_, str> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.text(self)
    }
}

impl Serialize for () {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.nil()
    }
}

impl Deserialize for () {
    fn deserialize(&mut self, _: &Deserializer<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

impl<T: Serialize + ?Sized> Serialize for &T {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        (**self).serialize(to)
    }
}

impl<T: Serialize + ?Sized> Serialize for Box<T> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        (**self).serialize(to)
    }
}

impl<T: Deserialize> Deserialize for Box<T> {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        (**self).deserialize(from)
    }
}

impl<T: Serialize + ?Sized> Serialize for std::sync::Arc<T> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        (**self).serialize(to)
    }
}

impl<T: Serialize> Serialize for Option<T> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        match self {
            None => to.nil(),
            Some(value) => {
                value.serialize(to)?;
                to.pointed();
                Ok(())
            }
        }
    }
}

impl<T: Deserialize + Default> Deserialize for Option<T> {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        if matches!(from.value(), Value::Nil) {
            *self = None;
            return Ok(());
        }
        self.insert(T::default()).deserialize(from)
    }
}

impl<T: Serialize> Serialize for [T] {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.open_list(self.len())?;
        for (at, item) in self.iter().enumerate() {
            to.element(at);
            item.serialize(to)?;
        }
        to.close_list(self.len())
    }
}

impl<T: Serialize> Serialize for Vec<T> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        self.as_slice().serialize(to)
    }
}

impl<T: Serialize, const N: usize> Serialize for [T; N] {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        self.as_slice().serialize(to)
    }
}

impl<T: Deserialize + Default> Deserialize for Vec<T> {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        let items = from.list(type_name::<Self>())?;
        self.clear();
        self.reserve_exact(items.len().min(MAX_RESERVE / size_of::<T>().max(1)));
        for item in items {
            self.push(T::default());
            if let Some(last) = self.last_mut() {
                last.deserialize(&from.child(item))?;
            }
        }
        Ok(())
    }
}

impl<V: Serialize> Serialize for BTreeMap<String, V> {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.open_map(self.len())?;
        for (at, (key, value)) in self.iter().enumerate() {
            to.key(at, key)?;
            value.serialize(to)?;
        }
        to.close_map(self.len())
    }
}

impl<V: Deserialize + Default> Deserialize for BTreeMap<String, V> {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        let entries = from.entries(type_name::<Self>())?;
        self.clear();
        for (key, value) in entries {
            let (mut name, mut inner) = (String::new(), V::default());
            name.deserialize(&from.child(key))?;
            inner.deserialize(&from.child(value))?;
            self.insert(name, inner);
        }
        Ok(())
    }
}
