//! The rule language: a policy's text in HCL or JSON, read and checked.
//!
//! Holds true: what Consul refuses is refused with its words; unknown top-level keys are passed over, as Consul does
//! (newer policies name resources that 1.8 does not know). Keys match whatever their case.
//! Source: `docs/reference/http-1.md` sections 12.1 and 12.2; a running Consul 1.8.7 asked about oddities.

use super::level::{Level, Resource, Scalar};
use crate::structs::go::quote;
use crate::structs::{Error, Result};
use crate::wire::Value;
use crate::wire::hcl::{self, Item, Node, Pos};

/// Which generation of the language a text is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// Exact rules and `_prefix` rules.
    #[default]
    Current,
    /// Before 1.4: every rule is about a prefix, `_prefix` and `acl` are unknown.
    Legacy,
}

/// A rule that names what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What kind of thing.
    pub resource: Resource,
    /// About everything that begins with the name, not the name alone.
    pub prefix: bool,
    /// The name.
    pub name: String,
    /// What is granted.
    pub level: Level,
    /// For services: what is granted for intentions, if said.
    pub intentions: Option<Level>,
}

/// The rules of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Named ones.
    pub rules: Vec<Rule>,
    /// The others.
    pub scalars: Vec<(Scalar, Level)>,
}

impl Rules {
    /// Reads a policy.
    ///
    /// # Errors
    /// `Failed to parse ACL rules: At 1:14: ...`, `Invalid key policy: &acl.KeyRule{...}`.
    pub fn parse(text: &str, syntax: Syntax) -> Result<Rules> {
        let items = items(text).map_err(failed)?;
        let mut rules = Rules::default();
        rules.scalar(&items, Scalar::Acl, syntax)?;
        for resource in Resource::RULED {
            let forms: &[(&str, bool)] = match syntax {
                Syntax::Current => &[("", false), ("_prefix", true)],
                Syntax::Legacy => &[("", true)],
            };
            for (suffix, prefix) in forms {
                let name = format!("{}{suffix}", resource.name());
                let found = named(&items, &name).map_err(failed)?;
                for raw in found {
                    let rule = raw.checked(resource, *prefix, &name);
                    rules.rules.push(rule?);
                }
            }
        }
        rules.scalar(&items, Scalar::Keyring, syntax)?;
        rules.scalar(&items, Scalar::Operator, syntax)?;
        Ok(rules)
    }

    fn scalar(&mut self, items: &[Item], scalar: Scalar, syntax: Syntax) -> Result<()> {
        if let Some(level) = scalar_level(items, scalar, syntax)? {
            self.scalars.push((scalar, level));
        }
        Ok(())
    }
}

/// The first key of an item; the reader makes none without.
fn first_key(item: &Item) -> &str {
    item.keys.first().map_or("", |key| &key.text)
}

fn failed(error: hcl::Error) -> Error {
    Error::new(format!("Failed to parse ACL rules: {error}"))
}

/// The items of a text; those of a JSON text stand nowhere.
fn items(text: &str) -> std::result::Result<Vec<Item>, hcl::Error> {
    let bytes = text.as_bytes();
    if !hcl::is_json(bytes) {
        return hcl::parse(bytes);
    }
    Ok(json_items(hcl::decode_json(bytes)?, 0))
}

/// A JSON object as items: of a list of objects each is an item of its own.
fn json_items(value: Value<'_>, depth: usize) -> Vec<Item> {
    let mut items = Vec::new();
    let Value::Map(entries) = value else {
        return items;
    };
    for (key, value) in entries {
        let key = String::from_utf8_lossy(key.as_bytes().unwrap_or_default()).into_owned();
        let mut push = |node| {
            let pos = Pos::default();
            let text = key.clone();
            items.push(Item {
                keys: vec![hcl::Key {
                    text,
                    pos,
                    quoted: true,
                }],
                node,
                pos,
                end: pos,
            });
        };
        match value {
            Value::Array(list) => list
                .into_iter()
                .filter(|one| matches!(one, Value::Map(_)))
                .for_each(|one| push(json_node(one, depth))),
            other => push(json_node(other, depth)),
        }
    }
    items
}

fn json_node(value: Value<'_>, depth: usize) -> Node {
    match value {
        Value::Nil => Node::Str(String::new()),
        Value::Bool(b) => Node::Bool(b),
        Value::Int(n) => Node::Int(n.to_string()),
        Value::Uint(n) => Node::Int(n.to_string()),
        Value::F32(n) => Node::Float(n.to_string()),
        Value::F64(n) if n.fract() == 0.0 && n.abs() < 1e15 => Node::Int(format!("{n:.0}")),
        Value::F64(n) => Node::Float(n.to_string()),
        Value::Str(s) => Node::Str(String::from_utf8_lossy(&s).into_owned()),
        Value::Array(_) => Node::List(Vec::new()),
        // Nothing that means anything lies deeper.
        Value::Map(_) if depth > 3 => Node::Object(Vec::new()),
        map @ Value::Map(_) => Node::Object(json_items(map, depth + 1)),
    }
}

/// What is wrong with a value, in the words of Consul's decoder.
fn wrong(pos: Pos, what: &str) -> hcl::Error {
    let place = match pos.line {
        0 => "At -".to_owned(),
        _ => format!("At {pos}"),
    };
    hcl::Error {
        pos: None,
        message: format!("{place}: {what}"),
    }
}

fn go_type(node: &Node) -> &'static str {
    match node {
        Node::List(_) => "*ast.ListType",
        Node::Object(_) => "*ast.ObjectList",
        Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Str(_) => "*ast.LiteralType",
    }
}

/// The text of a value where a text belongs; `path` names the place.
fn text(item: &Item, path: &str) -> std::result::Result<String, hcl::Error> {
    match &item.node {
        Node::Str(text) | Node::Int(text) => Ok(text.clone()),
        other => {
            let pos = match other {
                Node::Object(items) => items.first().map_or(item.pos, begins),
                _ => item.pos,
            };
            let what = format!("{path}: unknown type for string {}", go_type(other));
            Err(wrong(pos, &what))
        }
    }
}

/// Where an item begins.
fn begins(item: &Item) -> Pos {
    item.keys.first().map_or(item.pos, |key| key.pos)
}

/// A named rule as written.
#[derive(Default)]
struct Raw {
    name: String,
    policy: String,
    intentions: String,
}

/// All rules under a key.
fn named(items: &[Item], key: &str) -> std::result::Result<Vec<Raw>, hcl::Error> {
    let mut found = Vec::new();
    let hits = items
        .iter()
        .filter(|item| first_key(item).eq_ignore_ascii_case(key));
    for item in hits {
        match (item.keys.get(1..).unwrap_or_default(), &item.node) {
            ([], Node::Object(inner)) => {
                for item in inner {
                    let label = first_key(item);
                    let fields = match &item.node {
                        Node::Object(fields) if item.keys.len() == 1 => fields.as_slice(),
                        Node::Object(_) => &[],
                        // The label may be a field as well.
                        _ => std::slice::from_ref(item),
                    };
                    found.push(raw(label, fields, key, found.len())?);
                }
            }
            ([], Node::List(list)) if list.is_empty() => {}
            ([], Node::List(list)) => {
                let at = found.len();
                let what = format!("root.{key}[{at}]: Prefix asked for 'key', impossible");
                let pos = match list.first() {
                    Some(Node::Object(inner)) => inner.first().map_or(item.pos, begins),
                    _ => item.pos,
                };
                return Err(wrong(pos, &what));
            }
            ([], other) => {
                let what = format!("unknown slice type: {}", go_type(other));
                return Err(wrong(item.pos, &what));
            }
            ([label], Node::Object(fields)) => {
                found.push(raw(&label.text, fields, key, found.len())?);
            }
            ([label, ..], _) => found.push(raw(&label.text, &[], key, found.len())?),
        }
    }
    Ok(found)
}

fn raw(label: &str, fields: &[Item], key: &str, at: usize) -> std::result::Result<Raw, hcl::Error> {
    let mut raw = Raw {
        name: label.to_owned(),
        ..Raw::default()
    };
    for field in fields {
        let [only] = field.keys.as_slice() else {
            continue;
        };
        for (name, into) in [
            ("Policy", &mut raw.policy),
            ("Intentions", &mut raw.intentions),
        ] {
            let known = name == "Policy" || key.starts_with("service");
            if known && only.text.eq_ignore_ascii_case(name) {
                *into = text(field, &format!("root.{key}[{at}].{name}"))?;
            }
        }
    }
    Ok(raw)
}

impl Raw {
    fn checked(self, resource: Resource, prefix: bool, key: &str) -> Result<Rule> {
        let invalid = |what: &str| {
            Error::new(format!(
                "Invalid {what} policy: {}",
                self.as_go_shows(resource)
            ))
        };
        let fits = |level: &Level| *level != Level::List || resource == Resource::Key;
        let Some(level) = Level::of(&self.policy).filter(fits) else {
            return Err(invalid(key));
        };
        let intentions = match self.intentions.as_str() {
            "" => None,
            word => {
                let Some(level) = Level::of(word).filter(fits) else {
                    return Err(invalid("service intentions"));
                };
                Some(level)
            }
        };
        Ok(Rule {
            resource,
            prefix,
            name: self.name,
            level,
            intentions,
        })
    }

    /// Go's `%#v`.
    fn as_go_shows(&self, resource: Resource) -> String {
        let (name, policy) = (quote(&self.name), quote(&self.policy));
        let enterprise = "EnterpriseRule:acl.EnterpriseRule{}";
        match resource {
            Resource::Agent => format!("&acl.AgentRule{{Node:{name}, Policy:{policy}}}"),
            Resource::Key => {
                format!("&acl.KeyRule{{Prefix:{name}, Policy:{policy}, {enterprise}}}")
            }
            Resource::Node => {
                format!("&acl.NodeRule{{Name:{name}, Policy:{policy}, {enterprise}}}")
            }
            Resource::Service | Resource::Intention => format!(
                "&acl.ServiceRule{{Name:{name}, Policy:{policy}, Intentions:{}, {enterprise}}}",
                quote(&self.intentions)
            ),
            Resource::Session => format!("&acl.SessionRule{{Node:{name}, Policy:{policy}}}"),
            Resource::Event => format!("&acl.EventRule{{Event:{name}, Policy:{policy}}}"),
            Resource::Query => {
                format!("&acl.PreparedQueryRule{{Prefix:{name}, Policy:{policy}}}")
            }
        }
    }
}

/// The level of a rule without a name; the last one written counts.
fn scalar_level(items: &[Item], scalar: Scalar, syntax: Syntax) -> Result<Option<Level>> {
    if syntax == Syntax::Legacy && scalar == Scalar::Acl {
        return Ok(None);
    }
    let key = scalar.name();
    let written = items
        .iter()
        .rfind(|item| first_key(item).eq_ignore_ascii_case(key));
    let Some(item) = written else {
        return Ok(None);
    };
    let word = text(item, &format!("root.{key}")).map_err(failed)?;
    if word.is_empty() {
        return Ok(None);
    }
    match Level::of(&word).filter(|level| *level != Level::List) {
        Some(level) => Ok(Some(level)),
        None => Err(Error::new(format!(
            "Invalid {key} policy: {}",
            quote(&word)
        ))),
    }
}
