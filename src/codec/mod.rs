//! What every structure of Consul's can do: be written as msgpack or JSON, and be read from a [`Value`].
//!
//! Holds true: there is one [`Serializer`] and one [`Deserializer`] for all formats, and what they do to a structure
//! is done by one function for all structures, which walks the table that the derives of `derive/` write; so a
//! structure costs a table and two jumps per field. A structure is read into its default. A field named `""` (or
//! `+...`) is an embedded structure: its fields are the parent's; `omitempty` is Go's.
//! Leaves to others: what the structures are (`structs`), texts and bytes to values (`wire`).

mod access;
pub mod base64;
mod compound;
pub mod decode;
pub mod encode;
pub mod error;
mod fields;
mod gotext;
mod impls;
pub mod value;

pub use consul_lite_derive::{Deserialize, Serialize};
pub use decode::{Deserializer, Origin, Rules};
pub use encode::{Mode, Serializer};
pub use error::Error;
pub use fields::{Field, Layout};
pub(crate) use gotext::quote_byte;
pub use value::Value;

/// Deepest nesting of msgpack's lists and maps, written and read.
pub const MAX_DEPTH: usize = 64;

/// What can be written.
pub trait Serialize {
    /// Writes itself.
    ///
    /// # Errors
    /// What the format has no words for (`NaN` in JSON), nesting beyond [`MAX_DEPTH`], and a value's own.
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error>;
}

/// What can be read.
pub trait Deserialize {
    /// Becomes what is read. It is called on defaults; after an error the value is good for nothing but to be dropped.
    ///
    /// # Errors
    /// When the value is of another kind, in Go's words.
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error>;
}

/// A structure as the derive of `Serialize` shows it: by the number of its field in the [`Layout`].
pub trait WriteFields {
    /// Writes one field's value.
    ///
    /// # Errors
    /// Those of [`Serialize::serialize`].
    fn write_field(&self, at: usize, to: &mut Serializer) -> Result<(), Error>;
}

/// A structure as the derive of `Deserialize` shows it: by the number of its field in the [`Layout`].
pub trait ReadFields {
    /// Reads one field's value.
    ///
    /// # Errors
    /// Those of [`Deserialize::deserialize`].
    fn read_field(&mut self, at: usize, from: &Deserializer<'_, '_>) -> Result<(), Error>;
}
