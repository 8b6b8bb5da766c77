//! The query part of a request's target.
//!
//! Holds true: parameters keep their order; `&` and `;` both separate, as in the Go of Consul 1.8; the
//! first value of a name counts.
//! Source: `docs/reference/http-1.md` section 1.1.

use super::path;
use crate::sorted;

/// More parameters than any client sends; further ones are refused with the whole request.
const MAX_PARAMETERS: usize = 4096;

/// Decoded parameters in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses; `None` when an escape is malformed.
    pub fn parse(raw: &str) -> Option<Query> {
        let mut out = Vec::new();
        for part in raw.split(['&', ';']).filter(|part| !part.is_empty()) {
            if out.len() == MAX_PARAMETERS {
                return None;
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            out.push((text(key)?, text(value)?));
        }
        Some(Query(out))
    }

    /// Whether the parameter is there, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The first value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// The first value, empty when the parameter is missing.
    pub fn value(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// All values.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let hit = move |(k, _): &&(String, String)| k == key;
        self.0.iter().filter(hit).map(|(_, v)| v.as_str())
    }

    /// All parameters in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is no parameter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out a parameter.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }

    /// Sorted by name and escaped again, as Go's `Values.Encode` writes it.
    pub fn encode(&self) -> String {
        let mut sorted: Vec<&(String, String)> = self.0.iter().collect();
        sorted::sort_by(&mut sorted, |a, b| a.0.cmp(&b.0));
        let pair = |(k, v): &(String, String)| {
            format!("{}={}", path::escape_query(k), path::escape_query(v))
        };
        sorted.into_iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

fn text(raw: &str) -> Option<String> {
    if !raw.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return Some(raw.to_owned());
    }
    let bytes = path::unescape(raw.as_bytes(), true)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let q = Query::parse("recurse=false&flags=1;flags=2&&a=%2F+x&dc=").unwrap();
        assert!(q.has("recurse"));
        assert_eq!(q.get("flags"), Some("1"));
        assert_eq!(q.all("flags").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(q.value("a"), "/ x");
        assert_eq!(q.get("dc"), Some(""));
        assert_eq!(q.get("none"), None);
        let mut without = q.clone();
        without.remove("flags");
        assert!(!without.has("flags") && without.has("recurse") && without.has("dc"));
        assert_eq!(Query::parse("a=%zz"), None);
        assert!(Query::parse("").unwrap().is_empty());
    }

    #[test]
    fn encoding() {
        let q = Query::parse("cas=0&acquire=a/b&cas=1").unwrap();
        assert_eq!(q.encode(), "acquire=a%2Fb&cas=0&cas=1");
    }
}
