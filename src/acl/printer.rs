//! Legacy rules in the present language, laid out as Consul lays them out.
//!
//! Holds true: only the names of resources change; what is written otherwise stays, comments are dropped.
//! Source: `docs/reference/http-1.md` section 11.9; a running Consul 1.8.7.

use super::level::Resource;
use crate::structs::go::quote;
use crate::structs::{Error, Result};
use crate::wire::hcl::{self, Item, Node};
use crate::wire::{Value, json};

/// Turns rules of before 1.4, which are all about prefixes, into such that say so.
///
/// # Errors
/// `Failed to parse rules: At 1:9: ...`.
pub fn translate(rules: &str) -> Result<String> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(format!("Bad request: Failed to parse rules: {error}"))
    };
    let mut out = String::new();
    if hcl::is_json(rules.as_bytes()) {
        let (value, _) = json::decode(rules.as_bytes()).map_err(|e| failed(&e))?;
        print_json(&value, &mut out);
    } else {
        let items = hcl::parse(rules.as_bytes()).map_err(|e| failed(&e))?;
        let items: Vec<Printed<'_>> = items.iter().map(Printed::of).collect();
        print(&items, 0, true, &mut out);
    }
    Ok(out)
}

/// An item whose first key may be another than it was.
struct Printed<'a> {
    keys: Vec<String>,
    node: &'a Node,
    /// A label, or a single key, is followed by a block rather than by `=`.
    block: bool,
}

impl<'a> Printed<'a> {
    fn of(item: &'a Item) -> Self {
        let mut keys: Vec<String> = item.keys.iter().map(written).collect();
        if let Some(first) = keys.first_mut() {
            rename(first);
        }
        Printed {
            block: matches!(item.node, Node::Object(_)),
            keys,
            node: &item.node,
        }
    }
}

fn rename(key: &mut String) {
    if Resource::RULED.iter().any(|r| r.name() == key) {
        key.push_str("_prefix");
    }
}

/// A key as it has to be written: labels in quotes.
fn written(key: &hcl::Key) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if key.quoted || key.text.is_empty() || !key.text.chars().all(bare) {
        quote(&key.text)
    } else {
        key.text.clone()
    }
}

fn print(items: &[Printed<'_>], depth: usize, apart: bool, out: &mut String) {
    let indent = "  ".repeat(depth);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(if apart { "\n\n" } else { "\n" });
        }
        out.push_str(&indent);
        out.push_str(&item.keys.join(" "));
        out.push_str(if item.block { " " } else { " = " });
        print_node(item.node, depth, out);
    }
}

fn print_node(node: &Node, depth: usize, out: &mut String) {
    match node {
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Int(text) | Node::Float(text) => out.push_str(text),
        Node::Str(text) => out.push_str(&quote(text)),
        Node::List(list) => {
            out.push('[');
            for (at, one) in list.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                print_node(one, depth, out);
            }
            out.push(']');
        }
        Node::Object(items) if items.is_empty() => out.push_str("{}"),
        Node::Object(items) => {
            let inner: Vec<Printed<'_>> = items
                .iter()
                .map(|item| Printed {
                    block: matches!(item.node, Node::Object(_)),
                    keys: item.keys.iter().map(written).collect(),
                    node: &item.node,
                })
                .collect();
            out.push_str("{\n");
            print(&inner, depth + 1, true, out);
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
            out.push('}');
        }
    }
}

/// JSON rules: each label becomes a block of its own.
fn print_json(value: &Value<'_>, out: &mut String) {
    let Value::Map(resources) = value else { return };
    let name = |key: &Value<'_>| key.as_str().unwrap_or_default().to_owned();
    for (key, value) in resources {
        let mut resource = name(key);
        match value {
            Value::Map(labels) => {
                rename(&mut resource);
                print_labels(&resource, labels, out);
            }
            Value::Array(list) => {
                rename(&mut resource);
                for one in list {
                    if let Value::Map(labels) = one {
                        print_labels(&resource, labels, out);
                    }
                }
            }
            scalar => {
                apart(out);
                out.push_str(&format!("{} = {}", quote(&resource), json_text(scalar)));
            }
        }
    }
}

fn apart(out: &mut String) {
    if !out.is_empty() {
        out.push_str("\n\n");
    }
}

fn print_labels(resource: &str, labels: &[(Value<'_>, Value<'_>)], out: &mut String) {
    for (label, fields) in labels {
        apart(out);
        let label = quote(label.as_str().unwrap_or_default());
        out.push_str(&format!("{resource} {label} {{\n"));
        let Value::Map(fields) = fields else {
            out.push('}');
            continue;
        };
        let lines: Vec<String> = fields
            .iter()
            .map(|(k, v)| format!("  {} = {}\n", k.as_str().unwrap_or_default(), json_text(v)))
            .collect();
        out.push_str(&lines.join("\n"));
        out.push('}');
    }
}

fn json_text(value: &Value<'_>) -> String {
    match value {
        Value::Str(text) => quote(&String::from_utf8_lossy(text)),
        other => json::to_vec(other)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default(),
    }
}
