//! HCL 1, the language of Consul's configuration files and ACL rules: text to a tree of blocks, or to a [`Value`].
//!
//! The crate `hcl-rs` is not used: it reads HCL 2, which refuses much of what Consul's users write (quoted keys
//! `"server" = true`, items set apart by commas or spaces, several blocks on one line), treats `${` as an expression,
//! and words its errors otherwise. This reader is a few hundred lines, and its errors are Consul's to the column.
//! Nesting and text size are bounded by [`MAX_DEPTH`] and [`MAX_BYTES`].
//! As in Consul, a text that begins with `{` is JSON. What keys mean is left to the callers.
//! Source: the README of HCL 1; error texts and positions observed on Consul 1.8.7.

mod parse;
mod scan;
mod token;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use super::{Value, json};
use crate::structs::go::quote;

/// The deepest nesting of objects and lists.
pub const MAX_DEPTH: usize = 100;
/// The longest text, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// A place in a text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is not HCL: Consul's words, with the place where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub pos: Option<Pos>,
    /// What.
    pub message: String,
}

impl Error {
    fn at(pos: Pos, message: impl Into<String>) -> Self {
        Self {
            pos: Some(pos),
            message: message.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pos {
            Some(pos) => write!(f, "At {pos}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

/// One key of an item: `service` and `web` in `service "web" { }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key without quotes.
    pub text: String,
    /// Where it stands.
    pub pos: Pos,
    /// It was written in quotes.
    pub quoted: bool,
}

/// `keys = value` or `keys { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// At least one key; more than one only before an object.
    pub keys: Vec<Key>,
    /// The value.
    pub node: Node,
    /// Where the value begins.
    pub pos: Pos,
    /// Where the last token of the value begins.
    pub end: Pos,
}

/// A comment, with its mark, and between which tokens it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// As written.
    pub text: String,
    /// Where it begins.
    pub pos: Pos,
    /// Where the token before it begins.
    pub after: Pos,
    /// Where the token after it begins; the end of the text is one.
    pub before: Pos,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `true`, `false`
    Bool(bool),
    /// A whole number as written: its range is only checked when it is wanted.
    Int(String),
    /// Any other number as written.
    Float(String),
    /// A quoted string or a heredoc.
    Str(String),
    /// `[ ... ]`
    List(Vec<Node>),
    /// `{ ... }`
    Object(Vec<Item>),
}

/// Reads a text into the items of its outermost object, in order.
///
/// # Errors
/// Consul's text, such as `At 1:14: object expected closing RBRACE got: EOF`.
pub fn parse(text: &[u8]) -> Result<Vec<Item>, Error> {
    parse_all(text).map(|(items, _)| items)
}

/// As [`parse`], with the comments.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: &[u8]) -> Result<(Vec<Item>, Vec<Comment>), Error> {
    if text.len() > MAX_BYTES {
        let message = format!("text is longer than {MAX_BYTES} bytes");
        return Err(Error { pos: None, message });
    }
    parse::Parser::new(&without_carriage_returns(text)).parse()
}

/// Is the text taken for JSON, because its first visible character is a brace?
pub fn is_json(text: &[u8]) -> bool {
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Reads a text into a tree without types: every object that is the value of a key becomes a list of one map, and
/// the objects of a repeated key are gathered in one list; of other values of a repeated key the last one stays.
///
/// # Errors
/// Consul's text for a text that is not HCL, or for a number out of range.
pub fn decode(text: &[u8]) -> Result<Value<'static>, Error> {
    if is_json(text) && text.len() <= MAX_BYTES {
        // What follows the closing brace does not count.
        return decode_json(text);
    }
    object(parse(text)?)
}

/// Reads JSON as Consul reads it in place of HCL: a comma may stand after the last of a list or an object.
///
/// # Errors
/// Go's text.
pub fn decode_json(text: &[u8]) -> Result<Value<'static>, Error> {
    json::decode(&without_last_commas(text))
        .map(|(value, _)| value.into_owned())
        .map_err(|error| Error {
            pos: None,
            message: error.to_string(),
        })
}

fn without_last_commas(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for byte in text {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b'}' | b']' if !quoted => {
                let last = out.iter().rposition(|b| !b.is_ascii_whitespace());
                if last.is_some_and(|at| out[at] == b',') {
                    out.truncate(last.unwrap_or_default());
                }
            }
            _ => {}
        }
        escaped = quoted && *byte == b'\\' && !escaped;
        out.push(*byte);
    }
    out
}

fn without_carriage_returns(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.windows(2).any(|pair| pair == b"\r\n") {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    Cow::Owned(out)
}

fn string(text: String) -> Value<'static> {
    Value::Str(Cow::Owned(text.into_bytes()))
}

fn object(items: Vec<Item>) -> Result<Value<'static>, Error> {
    let mut map: Vec<(Value<'static>, Value<'static>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for Item { keys, node, .. } in items {
        let is_object = matches!(node, Node::Object(_));
        let mut value = value(node)?;
        let mut keys = keys.into_iter();
        let Some(first) = keys.next() else { continue };
        // Labels are nested objects, each in a list of its own.
        for label in keys.rev() {
            value = Value::Map(vec![(string(label.text), Value::Array(vec![value]))]);
        }
        let place = *places.entry(first.text.clone()).or_insert(map.len());
        let name = string(first.text);
        match map.get_mut(place) {
            Some((_, Value::Array(list))) if is_object => list.push(value),
            Some((_, known)) if is_object => *known = Value::Array(vec![value]),
            Some((_, known)) => *known = value,
            None if is_object => map.push((name, Value::Array(vec![value]))),
            None => map.push((name, value)),
        }
    }
    Ok(Value::Map(map))
}

fn value(node: Node) -> Result<Value<'static>, Error> {
    Ok(match node {
        Node::Bool(value) => Value::Bool(value),
        Node::Int(text) => Value::int(integer(&text)?),
        Node::Float(text) => Value::F64(float(&text)?),
        Node::Str(text) => string(text),
        Node::List(items) => Value::Array(items.into_iter().map(value).collect::<Result<_, _>>()?),
        Node::Object(items) => object(items)?,
    })
}

fn number_error(function: &str, text: &str, reason: &str) -> Error {
    Error {
        pos: None,
        message: format!("strconv.{function}: parsing {}: {reason}", quote(text)),
    }
}

/// The value of a whole number: decimal, `0x` or, after a leading zero, octal.
///
/// # Errors
/// Go's text.
pub fn integer(text: &str) -> Result<i64, Error> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(number_error("ParseInt", text, "invalid syntax"));
    }
    let value = i128::from_str_radix(digits, base).unwrap_or(i128::MAX);
    i64::try_from(if negative { -value } else { value })
        .map_err(|_| number_error("ParseInt", text, "value out of range"))
}

/// The value of a number with a point or an exponent.
///
/// # Errors
/// Go's text.
pub fn float(text: &str) -> Result<f64, Error> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(number_error("ParseFloat", text, "value out of range")),
        Err(_) => Err(number_error("ParseFloat", text, "invalid syntax")),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdicts;
