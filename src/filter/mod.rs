//! Filter expressions (`?filter=`): `Service.Meta.env == prod and "v1" in Service.Tags`.
//!
//! `Filter::<Node>::parse(text)?` compiles an expression against the selectors of its element type, and
//! `filter.matches(&node)` asks it; an empty text matches everything. The element types are `Node`,
//! `NodeService`, `ServiceNode`, `HealthCheck`, `CheckServiceNode` and `NodeInfo` of `structs`.
//! Holds true: matching reads the element in place and allocates nothing; a selector that passes
//! through a list of structures is true when it is true for one of them.
//! Source: Consul's API documentation "Filtering", `docs/reference/http-1.md` section 1.11; error texts
//! and the answers for absent keys were recorded from Consul 1.8.7.

use std::marker::PhantomData;

use regex_lite::Regex;

use crate::structs::go::{List, quote};
use crate::structs::{Error, Result};

mod grammar;
pub mod regexp;
mod schema;

pub use grammar::{MAX_DEPTH, MAX_LENGTH};
pub use schema::{Filterable, Item};

use grammar::{Expression, Operator};
use schema::{Kind, Schema, Value};

/// A compiled expression over elements of one type.
#[derive(Debug)]
pub struct Filter<T> {
    /// `None` matches everything.
    root: Option<Expression<Test>>,
    element: PhantomData<fn(&T)>,
}

/// A compiled match.
#[derive(Debug)]
struct Test {
    path: Vec<Step>,
    negated: bool,
    operand: Operand,
}

#[derive(Debug)]
enum Step {
    /// Number of the field in its structure's table.
    Field(usize),
    /// Key of a map.
    Key(String),
}

#[derive(Debug)]
enum Operand {
    Empty,
    EqualText(String),
    EqualInt(i64),
    EqualBool(bool),
    In(String),
    Matches(Box<Regex>),
}

impl<T: Filterable> Filter<T> {
    /// Compiles an expression; the empty text matches everything.
    ///
    /// # Errors
    /// `Failed to create boolean expression evaluator: ...`, as Consul says it.
    pub fn parse(text: &str) -> Result<Self> {
        let root = if text.is_empty() {
            None
        } else {
            let compiled =
                grammar::parse(text).and_then(|expression| compile(expression, T::schema()));
            Some(compiled.map_err(|detail| {
                Error::new(format!(
                    "Failed to create boolean expression evaluator: {detail}"
                ))
            })?)
        };
        Ok(Self {
            root,
            element: PhantomData,
        })
    }

    /// Whether it matches everything because no expression was given.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether the element satisfies the expression.
    pub fn matches(&self, element: &T) -> bool {
        self.root
            .as_ref()
            .is_none_or(|root| evaluate(root, element))
    }

    /// Keeps the elements that satisfy the expression.
    pub fn retain(&self, list: &mut List<T>) {
        if let (Some(root), Some(list)) = (&self.root, list) {
            list.retain(|element| evaluate(root, element));
        }
    }
}

/// Parses an expression and keeps the elements that satisfy it.
///
/// # Errors
/// See [`Filter::parse`]; the list is then unchanged.
pub fn retain<T: Filterable>(text: &str, list: &mut List<T>) -> Result<()> {
    Filter::parse(text)?.retain(list);
    Ok(())
}

fn compile(
    expression: Expression<grammar::Match>,
    schema: &'static Schema,
) -> std::result::Result<Expression<Test>, String> {
    let all = |list: Vec<_>| {
        list.into_iter()
            .map(|e| compile(e, schema))
            .collect::<std::result::Result<Vec<_>, _>>()
    };
    Ok(match expression {
        Expression::Or(list) => Expression::Or(all(list)?),
        Expression::And(list) => Expression::And(all(list)?),
        Expression::Not(inner) => Expression::Not(Box::new(compile(*inner, schema)?)),
        Expression::Match(written) => Expression::Match(compile_match(written, schema)?),
    })
}

fn compile_match(
    written: grammar::Match,
    schema: &'static Schema,
) -> std::result::Result<Test, String> {
    let (path, kind) = resolve(&written.selector, schema)?;
    let name = written.selector.join(".");
    let fits = match written.operator {
        Operator::Equal => matches!(kind, Kind::Text | Kind::Int | Kind::Bool),
        Operator::Matches => matches!(kind, Kind::Text),
        Operator::In => matches!(
            kind,
            Kind::Text | Kind::Texts | Kind::TextMap | Kind::TextsMap | Kind::StructMap(_)
        ),
        Operator::Empty => matches!(
            kind,
            Kind::Texts | Kind::TextMap | Kind::TextsMap | Kind::StructMap(_) | Kind::Structs(_)
        ),
    };
    if !fits {
        return Err(format!(
            "Invalid match operator \"{}\" for selector {}",
            operator_name(written.operator, written.negated),
            quote(&name)
        ));
    }
    let coercion = |function: &str, problem: &str| {
        format!(
            "Failed to coerce value {0} for selector {1}: strconv.{function}: parsing {0}: {problem}",
            quote(&written.value),
            quote(&name)
        )
    };
    let operand = match (written.operator, kind) {
        (Operator::Empty, _) => Operand::Empty,
        (Operator::In, _) => Operand::In(written.value),
        (Operator::Matches, _) => Operand::Matches(Box::new(regexp::compile(&written.value)?)),
        (Operator::Equal, Kind::Int) => Operand::EqualInt(
            parse_int(&written.value).map_err(|problem| coercion("ParseInt", problem))?,
        ),
        (Operator::Equal, Kind::Bool) => Operand::EqualBool(
            parse_bool(&written.value).ok_or_else(|| coercion("ParseBool", "invalid syntax"))?,
        ),
        (Operator::Equal, _) => Operand::EqualText(written.value),
    };
    Ok(Test {
        path,
        negated: written.negated,
        operand,
    })
}

fn operator_name(operator: Operator, negated: bool) -> &'static str {
    match (operator, negated) {
        (Operator::Equal, false) => "Equal",
        (Operator::Equal, true) => "Not Equal",
        (Operator::Empty, false) => "Is Empty",
        (Operator::Empty, true) => "Is Not Empty",
        (Operator::In, false) => "In",
        (Operator::In, true) => "Not In",
        (Operator::Matches, false) => "Matches",
        (Operator::Matches, true) => "Not Matches",
    }
}

/// Walks a selector through the tables.
fn resolve(
    names: &[String],
    schema: &'static Schema,
) -> std::result::Result<(Vec<Step>, &'static Kind), String> {
    const ROOT: Kind = Kind::Struct(|| &[]);
    let mut kind: &'static Kind = &ROOT;
    let mut fields = Some(schema);
    let mut path = Vec::with_capacity(names.len());
    for (n, name) in names.iter().enumerate() {
        let next = match (kind, fields) {
            (_, Some(fields)) => fields
                .iter()
                .position(|(field, _)| field == name)
                .map(|at| (Step::Field(at), &fields[at].1)),
            (Kind::TextMap, None) => Some((Step::Key(name.clone()), &Kind::Text)),
            (Kind::TextsMap, None) => Some((Step::Key(name.clone()), &Kind::Texts)),
            (Kind::StructMap(inner), None) => Some((Step::Key(name.clone()), *inner)),
            _ => None,
        };
        let Some((step, reached)) = next else {
            return Err(format!(
                "Selector {} is not valid",
                quote(&names[..=n].join("."))
            ));
        };
        path.push(step);
        kind = reached;
        fields = match kind {
            Kind::Struct(table) | Kind::Structs(table) => Some(table()),
            _ => None,
        };
    }
    Ok((path, kind))
}

/// Go's `strconv.ParseInt(text, 0, 64)`.
fn parse_int(text: &str) -> std::result::Result<i64, &'static str> {
    const SYNTAX: &str = "invalid syntax";
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // An underscore may only stand between digits, or between the base prefix and a digit.
    let prefixed = radix != 10;
    if body.is_empty()
        || body.ends_with('_')
        || body.contains("__")
        || (body.starts_with('_') && !prefixed)
    {
        return Err(SYNTAX);
    }
    let mut value: i128 = 0;
    let mut overflow = false;
    for b in body.bytes().filter(|b| *b != b'_') {
        let digit = (b as char).to_digit(radix).ok_or(SYNTAX)?;
        value = value * i128::from(radix) + i128::from(digit);
        if value > i128::from(u64::MAX) {
            overflow = true;
            value = i128::from(u64::MAX);
        }
    }
    let value = if negative { -value } else { value };
    match i64::try_from(value) {
        Ok(value) if !overflow => Ok(value),
        _ => Err("value out of range"),
    }
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn evaluate(expression: &Expression<Test>, element: &dyn Item) -> bool {
    match expression {
        Expression::Or(list) => list.iter().any(|e| evaluate(e, element)),
        Expression::And(list) => list.iter().all(|e| evaluate(e, element)),
        Expression::Not(inner) => !evaluate(inner, element),
        Expression::Match(test) => test.reach(Value::Struct(element), &test.path),
    }
}

impl Test {
    fn reach(&self, value: Value<'_>, path: &[Step]) -> bool {
        let Some((step, rest)) = path.split_first() else {
            return self.decide(&value);
        };
        match (value, step) {
            (Value::Struct(item), Step::Field(field)) => self.reach(item.field(*field), rest),
            (Value::Structs(list), Step::Field(_)) => (0..list.len()).any(|n| match list.at(n) {
                Some(item) => self.reach(Value::Struct(item), path),
                None => false,
            }),
            (Value::TextMap(map), Step::Key(key)) => match map.and_then(|map| map.get(key)) {
                Some(text) => self.reach(Value::Text(text), rest),
                None => self.absent(),
            },
            (Value::TextsMap(map), Step::Key(key)) => match map.and_then(|map| map.get(key)) {
                Some(list) => self.reach(Value::Texts(list.as_deref().unwrap_or_default()), rest),
                None => self.absent(),
            },
            (Value::StructMap(map), Step::Key(key)) => match map.at_key(key) {
                Some(item) => self.reach(Value::Struct(item), rest),
                None => self.absent(),
            },
            _ => self.absent(),
        }
    }

    fn decide(&self, value: &Value<'_>) -> bool {
        let plain = match (&self.operand, value) {
            (Operand::EqualText(wanted), Value::Text(text)) => wanted == text,
            (Operand::EqualInt(wanted), Value::Int(number)) => wanted == number,
            (Operand::EqualBool(wanted), Value::Bool(flag)) => wanted == flag,
            (Operand::In(wanted), Value::Text(text)) => text.contains(wanted.as_str()),
            (Operand::In(wanted), Value::Texts(list)) => list.contains(wanted),
            (Operand::In(wanted), Value::TextMap(map)) => {
                map.is_some_and(|map| map.contains_key(wanted))
            }
            (Operand::In(wanted), Value::TextsMap(map)) => {
                map.is_some_and(|map| map.contains_key(wanted))
            }
            (Operand::In(wanted), Value::StructMap(map)) => map.at_key(wanted).is_some(),
            (Operand::Empty, Value::Texts(list)) => list.is_empty(),
            (Operand::Empty, Value::TextMap(map)) => map.is_none_or(|map| map.is_empty()),
            (Operand::Empty, Value::TextsMap(map)) => map.is_none_or(|map| map.is_empty()),
            (Operand::Empty, Value::StructMap(map)) => map.len() == 0,
            (Operand::Empty, Value::Structs(list)) => list.len() == 0,
            (Operand::Matches(regex), Value::Text(text)) => regex.is_match(text),
            _ => return self.absent(),
        };
        plain != self.negated
    }

    /// What holds of a map key that is not there: nothing but the negations, and, as Consul has it, both
    /// `matches` and `not matches`.
    fn absent(&self) -> bool {
        self.negated || matches!(self.operand, Operand::Matches(_))
    }
}

#[cfg(test)]
mod tests;
