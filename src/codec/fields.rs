//! The table of a structure's fields, which entry of a map is which of them, and what Go calls Rust's types.
//!
//! Holds true: msgpack names match exactly; in JSON an exact name wins, then any
//! case; of several entries for one field the last one wins (Go's `encoding/json` documentation).
//! A field named `""`, or with a name that begins with `+` where a structure embeds more than one, is
//! an embedded structure: it takes its fields out of the same map, those that its parent left.

use super::decode::Origin;
use super::{Error, Value};

/// One field of a structure.
#[derive(Debug)]
pub struct Field {
    /// Consul's name.
    pub name: &'static str,
    /// Go's `omitempty`: JSON leaves it out when it is empty.
    pub omit_empty: bool,
    /// Go's `json:"-"`: not there in JSON.
    pub hidden: bool,
}

/// What the derives know of a structure.
#[derive(Debug)]
pub struct Layout {
    /// Its name in Go's errors, or the mark of one with a decoder of its own.
    pub name: &'static str,
    /// Its name in Rust.
    pub rust: &'static str,
    /// All fields must be given.
    pub required: bool,
    /// The written fields are always these: none is embedded or skipped.
    pub fixed: bool,
    /// In the order of JSON.
    pub fields: &'static [Field],
    /// Further names that fields are read under.
    pub aliases: &'static [(&'static str, u8)],
    /// The fields' numbers in the order of their names, which is msgpack's.
    pub order: &'static [u8],
}

impl Layout {
    /// The field that a key means, and the name it was found by. `guess` is looked at first.
    pub(super) fn find(
        &self,
        key: &[u8],
        origin: Origin,
        guess: usize,
    ) -> Option<(usize, &'static str)> {
        if let Some(field) = self.fields.get(guess)
            && field.name.as_bytes() == key
            && !is_embedded(field.name)
            && (origin == Origin::Msgpack || !field.hidden)
        {
            return Some((guess, field.name));
        }
        match origin {
            Origin::Msgpack => self.search(|_| true, |name| name.as_bytes() == key),
            Origin::Json => {
                let shown = |field: &Field| !field.hidden;
                self.search(shown, |name| name.as_bytes() == key)
                    .or_else(|| {
                        self.search(shown, |name| name.as_bytes().eq_ignore_ascii_case(key))
                    })
            }
        }
    }

    fn search(
        &self,
        among: fn(&Field) -> bool,
        fits: impl Fn(&str) -> bool,
    ) -> Option<(usize, &'static str)> {
        let fields = self.fields.iter().enumerate();
        let fields = fields.filter(|(_, field)| among(field));
        let fields = fields.map(|(at, field)| (at, field.name));
        let aliases = self.aliases.iter();
        let aliases = aliases.map(|(name, at)| (usize::from(*at), *name));
        fields
            .chain(aliases)
            .find(|(_, name)| !is_embedded(name) && fits(name))
    }
}

/// One map's entries.
pub(super) type Entries<'de> = &'de [(Value<'de>, Value<'de>)];

/// Whether a field of this (renamed) name is an embedded structure.
pub(super) fn is_embedded(name: &str) -> bool {
    matches!(name.as_bytes().first(), None | Some(b'+'))
}

/// A key that no field has: an error when `strict`.
pub(super) fn unknown(key: &Value<'_>, strict: bool) -> Result<(), Error> {
    if !strict {
        return Ok(());
    }
    let name = key.as_bytes().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    Err(Error::UnknownField(name))
}

/// Go's name of a Rust type, out of `std::any::type_name`: it only words errors. `package` is the Go
/// package that structures are said to come from.
pub(super) fn go_type(rust: &str, package: &str) -> String {
    let (outer, inner) = match rust.split_once('<') {
        Some((outer, inner)) => (outer, inner.strip_suffix('>').unwrap_or(inner)),
        None => (rust, ""),
    };
    let name = outer.rsplit("::").next().unwrap_or(outer);
    match name {
        "bool" => "bool".into(),
        "i8" | "i16" | "i32" => name.replace('i', "int"),
        "i64" | "isize" => "int".into(),
        "u8" | "u16" | "u32" | "u64" => name.replace('u', "uint"),
        "usize" => "uint".into(),
        "f32" | "f64" => name.replace('f', "float"),
        "str" | "&str" | "String" | "char" => "string".into(),
        "Option" | "Box" => go_type(inner, package),
        "Vec" => format!("[]{}", go_type(inner, package)),
        "BTreeMap" | "HashMap" => {
            let (key, value) = inner.split_once(", ").unwrap_or((inner, "()"));
            format!("map[{}]{}", go_type(key, package), go_type(value, package))
        }
        "Bytes" => "[]uint8".into(),
        "Any" | "Value" => "interface {}".into(),
        "GoDuration" => "time.Duration".into(),
        "GoTime" => "time.Time".into(),
        _ => format!("{package}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: fn(&'static str) -> Field = |name| Field {
        name,
        omit_empty: false,
        hidden: false,
    };

    #[test]
    fn exact_names_win_over_other_cases() {
        let fields: Vec<Field> = ["", "ID", "Id", "Name"].map(NAMED).into();
        let layout = Layout {
            name: "T",
            rust: "T",
            required: false,
            fixed: false,
            fields: fields.leak(),
            aliases: &[("other_name", 3)],
            order: &[0, 1, 2, 3],
        };
        for guess in 0..5 {
            let find = |key: &[u8], origin| layout.find(key, origin, guess);
            assert_eq!(find(b"Id", Origin::Json), Some((2, "Id")));
            assert_eq!(find(b"id", Origin::Json), Some((1, "ID")));
            assert_eq!(find(b"NAME", Origin::Json), Some((3, "Name")));
            assert_eq!(find(b"NAME", Origin::Msgpack), None);
            assert_eq!(find(b"", Origin::Json), None);
            let alias = Some((3, "other_name"));
            assert_eq!(find(b"other_name", Origin::Msgpack), alias);
            assert_eq!(find(b"Other_Name", Origin::Json), alias);
        }
    }

    #[test]
    fn json_does_not_know_hidden_fields() {
        let hidden = Field {
            hidden: true,
            ..NAMED("Type")
        };
        let layout = Layout {
            name: "T",
            rust: "T",
            required: false,
            fixed: true,
            fields: vec![hidden].leak(),
            aliases: &[],
            order: &[0],
        };
        for guess in 0..2 {
            assert_eq!(layout.find(b"Type", Origin::Json, guess), None);
            assert_eq!(layout.find(b"type", Origin::Json, guess), None);
            let found = layout.find(b"Type", Origin::Msgpack, guess);
            assert_eq!(found, Some((0, "Type")));
        }
    }

    #[test]
    fn rust_types_have_go_names() {
        use std::any::type_name;
        for (rust, go) in [
            (type_name::<Option<Vec<String>>>(), "[]string"),
            (
                type_name::<std::collections::BTreeMap<String, Vec<Option<u16>>>>(),
                "map[string][]uint16",
            ),
            (type_name::<i64>(), "int"),
            (type_name::<Error>(), "structs.Error"),
        ] {
            assert_eq!(go_type(rust, "structs"), go);
        }
    }
}
