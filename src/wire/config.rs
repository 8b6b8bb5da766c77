//! Configuration values to structures: all that is wrong at once, each with the path that leads to it.
//!
//! Holds true: unknown keys are collected, not skipped; after a wrong type the rest is still checked.
//! Leaves to others: reading HCL and JSON text, and what a setting means (`config`).
//! Source: `docs/reference/config.md` section 1, whose texts a running Consul 1.8.7 printed.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use super::decode::Rules;
use super::{Deserializer, Error, Origin, Value};

/// Most wrong values that are reported of one file.
const MAX_MISMATCHES: usize = 64;

/// Most unknown keys that are reported of one file.
const MAX_UNKNOWN: usize = 1024;

/// What is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    /// Dotted paths of keys that do not exist, as they were written: `ports.xyz`; sorted.
    pub unknown: Vec<String>,
    /// Values of a wrong type: `'server' expected type 'bool', got unconvertible type 'string'`; sorted.
    pub mismatches: Vec<String>,
}

/// Reads a configuration value as a `T`.
///
/// # Errors
/// Everything that is wrong with it; unknown keys are reported also when there are no mismatches.
pub fn from_value<T: DeserializeOwned>(value: &Value<'_>) -> Result<T, Wrong> {
    let mut wrong = Wrong::default();
    let mut value = value.clone();
    loop {
        let notes = RefCell::new(Notes::default());
        let rules = Rules {
            origin: Origin::Config,
            strict: true,
            root: "",
            notes: Some(&notes),
        };
        let result = T::deserialize(Deserializer::new(&value, rules));
        let Notes { path, unknown } = notes.into_inner();
        let Err(error) = result.as_ref() else {
            wrong.unknown = unknown;
            wrong.unknown.sort_unstable();
            wrong.mismatches.sort_unstable();
            break match result {
                Ok(read) if wrong == Wrong::default() => Ok(read),
                _ => Err(wrong),
            };
        };
        wrong.mismatches.push(describe(error, &path));
        // Without that value the others can be looked at.
        let address = path
            .last()
            .map_or(address_of(&value), |(address, _)| *address);
        if !forget(&mut value, address) || wrong.mismatches.len() == MAX_MISMATCHES {
            wrong.mismatches.sort_unstable();
            return Err(wrong);
        }
    }
}

/// The text for an error found at a path.
fn describe(error: &Error, path: &[(usize, String)]) -> String {
    let path = joined(path, None);
    match error {
        Error::Type(e) => {
            let mut e = e.clone();
            e.path = path;
            Error::Type(e).to_string()
        }
        other => format!("error decoding '{path}': {other}"),
    }
}

/// A path in words: names joined by dots, positions and free keys in brackets.
fn joined(path: &[(usize, String)], last: Option<&str>) -> String {
    let names = path.iter().map(|(_, name)| name.as_str()).chain(last);
    names.fold(String::new(), |mut out, name| {
        if !out.is_empty() && !name.starts_with('[') {
            out.push('.');
        }
        out + name
    })
}

/// Makes the value at an address nil; whether it was found and not nil already.
fn forget(value: &mut Value<'_>, address: usize) -> bool {
    if address_of(value) == address {
        return !matches!(std::mem::take(value), Value::Nil);
    }
    match value {
        Value::Map(entries) => entries.iter_mut().any(|(_, v)| forget(v, address)),
        Value::Array(items) => items.iter_mut().any(|v| forget(v, address)),
        _ => false,
    }
}

/// A value's identity while nothing moves it.
pub(super) fn address_of(value: &Value<'_>) -> usize {
    std::ptr::from_ref(value).addr()
}

/// Where the decoder is, and the unknown keys it met.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The value's address, and the name of the step in words.
    path: Vec<(usize, String)>,
    unknown: Vec<String>,
}

impl Notes {
    /// Notes an unknown key of the structure that is being read.
    pub(super) fn unknown(&mut self, key: &str) {
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(joined(&self.path, Some(key)));
        }
    }

    /// One step further in.
    pub(super) fn enter(&mut self, value: &Value<'_>, name: String) {
        self.path.push((address_of(value), name));
    }

    /// One step back.
    pub(super) fn leave(&mut self) {
        self.path.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::wire::json;

    #[derive(Deserialize, Default, Debug, PartialEq)]
    #[serde(default)]
    struct Settings {
        server: Option<bool>,
        ports: Option<Ports>,
        retry_join: Option<Vec<String>>,
        node_meta: Option<BTreeMap<String, String>>,
        services: Option<Vec<Service>>,
        service: Option<Service>,
    }

    #[derive(Deserialize, Default, Debug, PartialEq)]
    #[serde(default)]
    struct Ports {
        dns: Option<i64>,
        http: Option<i64>,
    }

    #[derive(Deserialize, Default, Debug, PartialEq)]
    #[serde(default)]
    struct Service {
        name: String,
        checks: Option<Vec<Ports>>,
    }

    fn read(text: &str) -> Result<Settings, Wrong> {
        let value = json::decode_whole(text.as_bytes()).unwrap_or_default();
        from_value(&value)
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        let wrong = read(
            r#"{"server":"yes","ports":{"dns":"x","http":1,"xyz":2},"retry_join":"a","foo":1,
                "node_meta":{"a":1},"bar":{"foo":1},"services":[{},{"checks":[{"bogus":1}],"name":2}]}"#,
        );
        let texts = |t: &[&str]| t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            wrong,
            Err(Wrong {
                unknown: texts(&["bar", "foo", "ports.xyz", "services[1].checks[0].bogus"]),
                mismatches: texts(&[
                    "'node_meta[a]' expected type 'string', got unconvertible type 'int'",
                    "'ports.dns' expected type 'int', got unconvertible type 'string'",
                    "'retry_join': source data must be an array or slice, got string",
                    "'server' expected type 'bool', got unconvertible type 'string'",
                    "'services[1].name' expected type 'string', got unconvertible type 'int'",
                ]),
            })
        );
    }

    #[test]
    fn blocks_that_are_lists_of_one_are_the_block() {
        let settings = read(r#"{"Ports":[{"dns":53.9}],"service":[{"name":"web"}]}"#);
        let ports = Ports {
            dns: Some(53),
            http: None,
        };
        let service = Service {
            name: "web".to_owned(),
            checks: None,
        };
        assert_eq!(
            settings,
            Ok(Settings {
                ports: Some(ports),
                service: Some(service),
                ..Settings::default()
            })
        );
        let twice = read(r#"{"service":[{"name":"web"},{"name":"db"}]}"#);
        let text = "'service' expected a map, got 'slice'".to_owned();
        assert_eq!(twice.map_err(|w| w.mismatches), Err(vec![text]));
    }
}
