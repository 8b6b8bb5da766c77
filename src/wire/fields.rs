//! Which entry of a map is which field of a structure, and what Go calls the Rust type of a field.
//!
//! Holds true: msgpack names match exactly; in JSON an exact name wins, then any
//! case; of several entries for one field the last one wins (Go's `encoding/json` documentation).
//! A field named `""`, or with a name that begins with `+` where a structure embeds more than one, is
//! an embedded structure: it takes its fields out of the same map, those that its parent left.

use std::cell::Cell;

use super::decode::Origin;
use super::{Error, Value};

/// One map's entries.
pub(super) type Entries<'de> = &'de [(Value<'de>, Value<'de>)];

/// Where a field's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The entry with this number.
    Entry(usize),
    /// The whole map: the field is an embedded structure.
    Embedded,
}

/// Whether a field of this (renamed) name is an embedded structure.
pub(super) fn is_embedded(name: &str) -> bool {
    name.is_empty() || name.starts_with('+')
}

/// Pairs fields with entries, in the order of the entries, the embedded structures last. `taken`
/// marks the entries that found a field, here or in the structure around this one.
///
/// # Errors
/// `json: unknown field "X"` in strict mode, when no embedded structure could still want it.
pub(super) fn plan(
    fields: &'static [&'static str],
    entries: Entries<'_>,
    origin: Origin,
    strict: bool,
    taken: Option<&[Cell<bool>]>,
) -> Result<Vec<(&'static str, Source)>, Error> {
    let mut steps: Vec<(&'static str, Source)> = Vec::with_capacity(fields.len());
    for (at, (key, _)) in entries.iter().enumerate() {
        let flag = taken.and_then(|t| t.get(at));
        if flag.is_some_and(Cell::get) {
            continue;
        }
        let Some(field) = find(fields, key.as_bytes().unwrap_or_default(), origin) else {
            if taken.is_none() {
                unknown(key, strict)?;
            }
            continue;
        };
        if let Some(flag) = flag {
            flag.set(true);
        }
        // Few structures have more than a dozen fields, and fewer maps have a key twice.
        steps.retain(|(earlier, _)| !std::ptr::eq(*earlier, field));
        steps.push((field, Source::Entry(at)));
    }
    let embedded = fields.iter().filter(|name| is_embedded(name));
    steps.extend(embedded.map(|name| (*name, Source::Embedded)));
    Ok(steps)
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

/// The field that a key means.
fn find(fields: &'static [&'static str], key: &[u8], origin: Origin) -> Option<&'static str> {
    let usable = || fields.iter().copied().filter(|name| !is_embedded(name));
    usable().find(|name| name.as_bytes() == key).or_else(|| {
        (origin != Origin::Msgpack)
            .then(|| usable().find(|name| name.as_bytes().eq_ignore_ascii_case(key)))?
    })
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

    #[test]
    fn exact_names_win_over_other_cases() {
        const FIELDS: &[&str] = &["", "ID", "Id", "Name"];
        assert_eq!(find(FIELDS, b"Id", Origin::Json), Some("Id"));
        assert_eq!(find(FIELDS, b"id", Origin::Json), Some("ID"));
        assert_eq!(find(FIELDS, b"NAME", Origin::Json), Some("Name"));
        assert_eq!(find(FIELDS, b"NAME", Origin::Msgpack), None);
        assert_eq!(find(FIELDS, b"", Origin::Json), None);
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
