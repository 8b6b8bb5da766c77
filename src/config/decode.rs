//! A file's untyped content to a [`Tree`]: names are matched in any case, types are strict, and everything wrong is
//! reported at once in Consul's words.
//!
//! A list of one thing stands for the thing where no list is wanted, because a block of HCL is such a list.
//! Source: `docs/reference/config.md` section 1; error texts observed on Consul 1.8.7.

use std::collections::BTreeMap;

use super::schema::{Key, Kind, ROOT, SERVICE};
use super::tree::Tree;
use crate::sorted::{self, IntoMap};
use crate::structs::go::Any;
use crate::wire::Value;

/// Which language a file was written in: it shows in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HCL 1.
    Hcl,
    /// JSON: every number is a float.
    Json,
}

/// Checks and types a file's content.
///
/// # Errors
/// All wrong types, or if there are none all unknown keys, in Consul's words.
pub(super) fn decode(value: &Value<'_>, format: Format) -> Result<Tree, String> {
    let mut decoder = Decoder {
        format,
        wrong: Vec::new(),
        unknown: Vec::new(),
    };
    let tree = decoder.object("", value, ROOT);
    if !decoder.wrong.is_empty() {
        sorted::sort(&mut decoder.wrong);
        let count = decoder.wrong.len();
        let lines = decoder.wrong.join("\n* ");
        return Err(format!("{count} error(s) decoding:\n\n* {lines}"));
    }
    if !decoder.unknown.is_empty() {
        let lines = decoder.unknown.iter();
        let lines: Vec<String> = lines
            .map(|key| format!("invalid config key {key}"))
            .collect();
        return Err(multierror(&lines));
    }
    Ok(tree.unwrap_or_default())
}

/// Several errors in one text, as Consul lists them.
pub(super) fn multierror(lines: &[String]) -> String {
    let head = match lines.len() {
        1 => "1 error occurred:".to_owned(),
        n => format!("{n} errors occurred:"),
    };
    format!("{head}\n\t* {}\n\n", lines.join("\n\t* "))
}

struct Decoder {
    format: Format,
    wrong: Vec<String>,
    unknown: Vec<String>,
}

impl Decoder {
    /// The words for a value of an unwanted type.
    fn type_name(&self, value: &Value<'_>) -> &'static str {
        match value {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Uint(_) if self.format == Format::Hcl => "int",
            Value::Int(_) | Value::Uint(_) | Value::F32(_) | Value::F64(_) => "float64",
            Value::Str(_) => "string",
            Value::Array(items)
                if self.format == Format::Hcl
                    && !items.is_empty()
                    && items.iter().all(|item| matches!(item, Value::Map(_))) =>
            {
                "[]map[string]interface {}"
            }
            Value::Array(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
        }
    }

    /// The words for a value where a map or list is wanted.
    fn kind_name(&self, value: &Value<'_>) -> &'static str {
        match value {
            Value::Array(_) => "slice",
            Value::Map(_) => "map",
            other => self.type_name(other),
        }
    }

    fn unconvertible<T>(&mut self, path: &str, wanted: &str, value: &Value<'_>) -> Option<T> {
        let got = self.type_name(value);
        self.wrong.push(format!(
            "'{path}' expected type '{wanted}', got unconvertible type '{got}'"
        ));
        None
    }

    /// A whole number, of the type that Go calls `go`.
    fn int(&mut self, path: &str, value: &Value<'_>, go: &str) -> Option<Tree> {
        match value {
            Value::Int(value) => Some(Tree::Int(*value)),
            Value::Uint(value) => Some(Tree::Int(i64::try_from(*value).unwrap_or(i64::MAX))),
            Value::F64(value) => Some(Tree::Int(*value as i64)),
            _ => self.unconvertible(path, go, value),
        }
    }

    fn value(&mut self, path: &str, value: &Value<'_>, kind: Kind) -> Option<Tree> {
        if matches!(value, Value::Nil) {
            return None;
        }
        if let Kind::Strings | Kind::Objects(_) | Kind::AnyList = kind {
            return self.list(path, value, kind);
        }
        let value = single(value);
        match kind {
            Kind::Bool => match value {
                Value::Bool(value) => Some(Tree::Bool(*value)),
                _ => self.unconvertible(path, "bool", value),
            },
            Kind::Int => self.int(path, value, "int"),
            Kind::Uint(go) => match self.int(path, value, go) {
                Some(Tree::Int(number)) if number < 0 => {
                    // JSON has but one kind of number.
                    let shown = match self.format {
                        Format::Hcl => number.to_string(),
                        Format::Json => format!("{:.6}", number as f64),
                    };
                    self.wrong
                        .push(format!("cannot parse '{path}', {shown} overflows uint"));
                    None
                }
                other => other,
            },
            Kind::Float => match value {
                Value::Int(value) => Some(Tree::Float(*value as f64)),
                Value::Uint(value) => Some(Tree::Float(*value as f64)),
                Value::F64(value) => Some(Tree::Float(*value)),
                _ => self.unconvertible(path, "float64", value),
            },
            Kind::Object(keys) => self.object(path, value, keys),
            Kind::Sidecar => self.object(path, value, SERVICE),
            Kind::StringMap => self.map(path, value, Kind::Str),
            Kind::StringsMap => self.map(path, value, Kind::Strings),
            Kind::ObjectMap(keys) => self.map(path, value, Kind::Object(keys)),
            Kind::Any => match value {
                Value::Map(_) => Some(Tree::Any(opaque(value, self.format))),
                _ => self.no_map(path, value),
            },
            Kind::Str | Kind::Strings | Kind::Objects(_) | Kind::AnyList => match value {
                Value::Str(text) => Some(Tree::Str(String::from_utf8_lossy(text).into_owned())),
                _ => self.unconvertible(path, "string", value),
            },
        }
    }

    fn no_map<T>(&mut self, path: &str, value: &Value<'_>) -> Option<T> {
        let got = self.kind_name(value);
        self.wrong
            .push(format!("'{path}' expected a map, got '{got}'"));
        None
    }

    fn list(&mut self, path: &str, value: &Value<'_>, kind: Kind) -> Option<Tree> {
        let Value::Array(items) = value else {
            let got = self.kind_name(value);
            self.wrong.push(format!(
                "'{path}': source data must be an array or slice, got {got}"
            ));
            return None;
        };
        let (item_kind, zero) = match kind {
            Kind::Objects(keys) => (Kind::Object(keys), Tree::default()),
            Kind::AnyList => (Kind::AnyList, Tree::Any(Any::Map(BTreeMap::new()))),
            _ => (Kind::Str, Tree::Str(String::new())),
        };
        let items = items.iter().enumerate().map(|(at, item)| {
            let path = format!("{path}[{at}]");
            let item = match item_kind {
                Kind::AnyList => self.free(&path, item),
                kind => self.value(&path, item, kind),
            };
            item.unwrap_or_else(|| zero.clone())
        });
        Some(Tree::List(items.collect()))
    }

    /// A map of free content in a list of such.
    fn free(&mut self, path: &str, value: &Value<'_>) -> Option<Tree> {
        match single(value) {
            Value::Nil => None,
            map @ Value::Map(_) => Some(Tree::Any(any(map, self.format))),
            other => self.no_map(path, other),
        }
    }

    fn map(&mut self, path: &str, value: &Value<'_>, kind: Kind) -> Option<Tree> {
        let Value::Map(entries) = value else {
            return self.no_map(path, value);
        };
        let zero = match kind {
            Kind::Strings => Tree::List(Vec::new()),
            Kind::Object(_) => Tree::default(),
            _ => Tree::Str(String::new()),
        };
        let mut map = BTreeMap::new();
        for (key, item) in entries {
            let key = text(key);
            let item = self
                .value(&format!("{path}[{key}]"), item, kind)
                .unwrap_or_else(|| zero.clone());
            map.insert(key, item);
        }
        Some(Tree::Map(map))
    }

    fn object(&mut self, path: &str, value: &Value<'_>, keys: &'static [Key]) -> Option<Tree> {
        let Value::Map(entries) = value else {
            return self.no_map(path, value);
        };
        let inside = |name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}.{name}"),
        };
        let mut used = vec![false; entries.len()];
        let mut map = BTreeMap::new();
        for key in keys {
            let Some(at) = find(entries, key, &mut used) else {
                continue;
            };
            if let Some(item) = self.value(&inside(key.name), &entries[at].1, key.kind) {
                map.insert(key.name.to_owned(), item);
            }
        }
        let unused = entries.iter().zip(&used).filter(|(_, used)| !**used);
        let mut unknown: Vec<String> = unused.map(|((key, _), _)| inside(&text(key))).collect();
        sorted::sort(&mut unknown);
        unknown.dedup();
        self.unknown.extend(unknown);
        Some(Tree::Map(map))
    }
}

/// The entry that gives a key its value: the last with its exact name, else the first with its name in any case, else
/// one with another name of it. All other names of it count as used too.
fn find(entries: &[(Value<'_>, Value<'_>)], key: &Key, used: &mut [bool]) -> Option<usize> {
    let names = |at: usize| entries[at].0.as_bytes().unwrap_or_default();
    let range = 0..entries.len();
    let exact = range
        .clone()
        .rev()
        .find(|at| names(*at) == key.name.as_bytes());
    let any_case = |name: &str| {
        let name = name.as_bytes().to_owned();
        range
            .clone()
            .find(|at| names(*at).eq_ignore_ascii_case(&name))
    };
    let mut found = exact.or_else(|| any_case(key.name));
    if let Some(found) = found {
        for at in range.clone().filter(|at| names(*at) == names(found)) {
            used[at] = true;
        }
    }
    for alias in key.aliases {
        for at in range.clone() {
            if names(at).eq_ignore_ascii_case(alias.as_bytes()) {
                used[at] = true;
                found = found.or(Some(at));
            }
        }
    }
    found
}

/// The one thing in a list, or the value itself.
fn single<'v, 'a>(value: &'v Value<'a>) -> &'v Value<'a> {
    match value {
        Value::Array(items) => match items.as_slice() {
            [one] => single(one),
            _ => value,
        },
        _ => value,
    }
}

fn text(key: &Value<'_>) -> String {
    String::from_utf8_lossy(key.as_bytes().unwrap_or_default()).into_owned()
}

/// Free content; blocks of HCL become the maps they are.
fn any(value: &Value<'_>, format: Format) -> Any {
    match value {
        Value::Nil => Any::Nil,
        Value::Bool(value) => Any::Bool(*value),
        Value::Int(value) if format == Format::Hcl => Any::Int(*value),
        Value::Uint(value) if format == Format::Hcl => match i64::try_from(*value) {
            Ok(value) => Any::Int(value),
            Err(_) => Any::Uint(*value),
        },
        Value::Int(value) => Any::Float(*value as f64),
        Value::Uint(value) => Any::Float(*value as f64),
        Value::F32(value) => Any::Float(f64::from(*value)),
        Value::F64(value) => Any::Float(*value),
        Value::Str(value) => Any::String(String::from_utf8_lossy(value).into_owned()),
        Value::Array(items) => match items.as_slice() {
            [one @ Value::Map(_)] if format == Format::Hcl => any(one, format),
            items => Any::Array(items.iter().map(|item| any(item, format)).collect()),
        },
        Value::Map(entries) => Any::Map(
            entries
                .iter()
                .map(|(key, item)| (text(key), any(item, format)))
                .into_map(),
        ),
    }
}

/// A map of free content whose own values of a list of one thing are that thing. Of watches and configuration entries,
/// where lists have a meaning, that is not done.
fn opaque(value: &Value<'_>, format: Format) -> Any {
    let Value::Map(entries) = value else {
        return any(value, format);
    };
    let entries = entries.iter().map(|(key, item)| {
        let item = match item {
            Value::Array(_) => match single(item) {
                map @ Value::Map(_) => opaque(map, format),
                other => any(other, format),
            },
            other => any(other, format),
        };
        (text(key), item)
    });
    Any::Map(entries.into_map())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{hcl, json};

    fn hcl(text: &str) -> Result<Tree, String> {
        decode(
            &hcl::decode(text.as_bytes()).expect("valid HCL"),
            Format::Hcl,
        )
    }

    fn json(text: &str) -> Result<Tree, String> {
        decode(
            &json::decode_whole(text.as_bytes()).expect("valid JSON"),
            Format::Json,
        )
    }

    #[test]
    fn names_match_in_any_case_and_blocks_are_objects() {
        let tree =
            hcl("Server = true PORTS { Dns = 1.7 } check { ScriptArgs = [\"x\"] args = [\"y\"] }");
        let tree = tree.expect("valid file");
        assert_eq!(tree.at("server"), Some(&Tree::Bool(true)));
        assert_eq!(tree.at("ports.dns"), Some(&Tree::Int(1)));
        assert_eq!(
            tree.at("check.args"),
            Some(&Tree::List(vec![Tree::Str("y".into())]))
        );
        let tree = json("{\"node_name\":[\"a\"],\"retry_join\":[null],\"server\":null}")
            .expect("valid file");
        assert_eq!(tree.at("node_name"), Some(&Tree::Str("a".into())));
        assert_eq!(
            tree.at("retry_join"),
            Some(&Tree::List(vec![Tree::Str(String::new())]))
        );
        assert_eq!(tree.at("server"), None);
    }

    #[test]
    fn everything_wrong_is_told() {
        let types = |result: Result<Tree, String>| {
            let text = result.expect_err("wrong types");
            text.split_once("decoding:\n\n* ")
                .expect("list of types")
                .1
                .to_owned()
        };
        for (text, want) in [
            (
                "retry_join = [1,true,{}]",
                "'retry_join[0]' expected type 'string', got unconvertible type 'int'\n* \
              'retry_join[1]' expected type 'string', got unconvertible type 'bool'\n* \
              'retry_join[2]' expected type 'string', got unconvertible type 'map[string]interface {}'",
            ),
            ("ports {} ports {}", "'ports' expected a map, got 'slice'"),
            (
                "node_name {} node_name {}",
                "'node_name' expected type 'string', got unconvertible type \
              '[]map[string]interface {}'",
            ),
            (
                "retry_join = true",
                "'retry_join': source data must be an array or slice, got bool",
            ),
            (
                "node_meta { a = 1 }",
                "'node_meta[a]' expected type 'string', got unconvertible type 'int'",
            ),
            (
                "check { header { a = \"b\" } }",
                "'check.header[a]': source data must be an array or slice, got string",
            ),
        ] {
            assert_eq!(types(hcl(text)), want, "{text}");
        }
        assert_eq!(
            types(json("{\"services\":[{\"name\":1}]}")),
            "'services[0].name' expected type 'string', got unconvertible type 'float64'"
        );
        assert_eq!(
            json("{\"check\":{\"bogus\":[\"b\"]},\"zz\":1,\"aa\":{\"b\":1},\"ports\":{\"q\":1,\"r\":2}}"),
            Err("5 errors occurred:\n\t* invalid config key check.bogus\n\t* invalid config key ports.q\n\t* invalid \
                 config key ports.r\n\t* invalid config key aa\n\t* invalid config key zz\n\n".to_owned())
        );
    }
}
