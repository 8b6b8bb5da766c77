//! The parameters of a watch as its definition gives them, taken one by one.
//!
//! Holds true: what was taken is gone, so that what is left at the end is what nobody knows; the list of
//! one thing that HCL cannot tell from the thing is the thing.
//! Source: `docs/reference/config.md` section 8; Go's `%#v` in the texts of errors.

use std::collections::BTreeMap;

use crate::structs::go::{Any, quote};
use crate::structs::{Error, Result};

/// What is left of a watch's parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(pub BTreeMap<String, Any>);

impl Params {
    /// Takes a text; empty when it is not there.
    ///
    /// # Errors
    /// `Expecting KEY to be a string`.
    pub fn string(&mut self, key: &str) -> Result<String> {
        let text = match self.0.get(key) {
            None => return Ok(String::new()),
            Some(Any::String(text)) => text.clone(),
            Some(_) => return Err(Error::new(format!("Expecting {key} to be a string"))),
        };
        self.0.remove(key);
        Ok(text)
    }

    /// Takes a text or a list of them.
    ///
    /// # Errors
    /// `Expecting KEY to be a string or []string`.
    pub fn strings(&mut self, key: &str) -> Result<Vec<String>> {
        let wrong = || Error::new(format!("Expecting {key} to be a string or []string"));
        let texts = match self.0.get(key) {
            None => return Ok(Vec::new()),
            Some(Any::Array(items)) => {
                let text = |item: &Any| match item {
                    Any::String(text) => Ok(text.clone()),
                    _ => Err(wrong()),
                };
                items.iter().map(text).collect::<Result<Vec<_>>>()?
            }
            Some(Any::String(text)) => vec![text.clone()],
            Some(_) => return Err(wrong()),
        };
        self.0.remove(key);
        Ok(texts)
    }

    /// Takes a boolean; false when it is not there.
    ///
    /// # Errors
    /// `Expecting KEY to be a boolean`.
    pub fn bool(&mut self, key: &str) -> Result<bool> {
        let value = match self.0.get(key) {
            None => return Ok(false),
            Some(Any::Bool(value)) => *value,
            Some(_) => return Err(Error::new(format!("Expecting {key} to be a boolean"))),
        };
        self.0.remove(key);
        Ok(value)
    }

    /// The parameters in Go's syntax.
    pub fn go_syntax(&self) -> String {
        go_map(&self.0)
    }
}

fn go_map(map: &BTreeMap<String, Any>) -> String {
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{}:{}", quote(key), go_value(value)))
        .collect();
    format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
}

fn go_value(value: &Any) -> String {
    match value {
        Any::Nil => "interface {}(nil)".to_owned(),
        Any::Bool(v) => v.to_string(),
        Any::Int(v) => v.to_string(),
        Any::Uint(v) => v.to_string(),
        Any::Float(v) => v.to_string(),
        Any::String(v) => quote(v),
        Any::Bytes(v) => quote(&String::from_utf8_lossy(v)),
        Any::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Any::Map(map) => go_map(map),
    }
}

/// The name that Go has for a value's type.
pub(super) fn go_type(value: &Any) -> &'static str {
    match value {
        Any::Nil => "nil",
        Any::Bool(_) => "bool",
        Any::Int(_) | Any::Uint(_) => "int",
        Any::Float(_) => "float64",
        Any::String(_) | Any::Bytes(_) => "string",
        Any::Array(_) => "[]interface {}",
        Any::Map(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_print_as_go_prints_them() {
        let list = Any::Array(vec![
            Any::Float(1.0),
            Any::Bool(true),
            Any::Nil,
            Any::String("q\"x".into()),
        ]);
        let inner = BTreeMap::from([("c".to_owned(), list)]);
        let params = Params(BTreeMap::from([
            ("a".to_owned(), Any::Float(1.5)),
            ("b".to_owned(), Any::Map(inner)),
        ]));
        // Recorded.
        assert_eq!(
            params.go_syntax(),
            r#"map[string]interface {}{"a":1.5, "b":map[string]interface {}{"c":[]interface {}{1, true, interface {}(nil), "q\"x"}}}"#
        );
    }

    #[test]
    fn what_is_taken_is_gone_and_what_is_wrong_stays() {
        let mut params = Params(BTreeMap::from([
            ("key".to_owned(), Any::String("a".into())),
            ("stale".to_owned(), Any::String("x".into())),
            ("tag".to_owned(), Any::Array(vec![Any::String("t".into())])),
        ]));
        assert_eq!(params.string("key"), Ok("a".to_owned()));
        assert_eq!(params.string("key"), Ok(String::new()));
        assert_eq!(params.strings("tag"), Ok(vec!["t".to_owned()]));
        let wrong = params.bool("stale").map_err(|e| e.text().to_owned());
        assert_eq!(wrong, Err("Expecting stale to be a boolean".to_owned()));
        assert_eq!(params.0.len(), 1);
    }
}
