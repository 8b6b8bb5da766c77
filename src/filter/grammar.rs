//! The grammar of filter expressions: text to a tree of matches.
//!
//! Holds true: a syntax error names the farthest place that was reached and everything that could have
//! stood there, in Consul's words; time is linear in the length; depth and length have a maximum. What a
//! selector means is left to `schema`, what an operator does to `mod`.
//! Source: Consul's API documentation "Filtering"; the error texts were recorded from Consul 1.8.7.

use std::fmt::Write;

/// Longest expression taken, in bytes.
pub const MAX_LENGTH: usize = 64 * 1024;
/// Deepest nesting of parentheses and `not`.
pub const MAX_DEPTH: usize = 128;

/// A comparison, without its negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `is empty`
    Empty,
    /// `in` and `contains`
    In,
    /// `matches`
    Matches,
}

/// One match as it was written.
#[derive(Debug)]
pub struct Match {
    /// Names of the selector from left to right.
    pub selector: Vec<String>,
    pub operator: Operator,
    /// Whether the operator was written in its negated form.
    pub negated: bool,
    /// The value's text; empty for `is empty`.
    pub value: String,
}

/// An expression.
#[derive(Debug)]
pub enum Expression<M> {
    /// True when one of them is.
    Or(Vec<Expression<M>>),
    /// True when all of them are.
    And(Vec<Expression<M>>),
    Not(Box<Expression<M>>),
    Match(M),
}

/// What could have stood at the place of an error, in the order in which errors list it.
const EXPECTED: [&str; 21] = [
    "\"!=\"",
    "\"(\"",
    "\"-\"",
    "\".\"",
    "\"0\"",
    "\"==\"",
    "\"[\"",
    "\"\\\"\"",
    "\"`\"",
    "\"and\"",
    "\"contains\"",
    "\"empty\"",
    "\"in\"",
    "\"is\"",
    "\"matches\"",
    "\"not\"",
    "\"or\"",
    "[ \\t\\r\\n]",
    "[0-9]",
    "[1-9]",
    "[a-zA-Z0-9_]",
];
const SPACE: u32 = 1 << 17;
const DIGIT: u32 = 1 << 18;
const NON_ZERO: u32 = 1 << 19;
const IDENTIFIER: u32 = 1 << 20;
const LETTER: u32 = 1 << 21;
const END: u32 = 1 << 22;

/// `None`: no match here, another alternative may do; `Err`: an error that no alternative can mend.
type Parsed<T> = Result<Option<T>, String>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Farthest place where something was missing, and the set of what was.
    farthest: usize,
    missing: u32,
}

/// Parses an expression that is not empty.
///
/// # Errors
/// Consul's text without its prefix, such as `1:9 (8): no match found, expected: ...`.
pub fn parse(text: &str) -> Result<Expression<Match>, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!(
            "expression is longer than {MAX_LENGTH} bytes: split the request"
        ));
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        farthest: 0,
        missing: 0,
    };
    parser.spaces();
    if let Some(expression) = parser.or_expression()? {
        parser.spaces();
        if parser.at == text.len() {
            return Ok(expression);
        }
        parser.miss(END);
    }
    Err(parser.no_match())
}

impl<'a> Parser<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn miss(&mut self, what: u32) {
        if self.at > self.farthest {
            self.farthest = self.at;
            self.missing = 0;
        }
        if self.at == self.farthest {
            self.missing |= what;
        }
    }

    /// Takes one byte of a class.
    fn class(&mut self, what: u32, has: impl Fn(u8) -> bool) -> bool {
        if self.byte().is_some_and(has) {
            self.at += 1;
            return true;
        }
        self.miss(what);
        false
    }

    /// Takes a literal; it is listed in [`EXPECTED`] in quotes.
    fn literal(&mut self, literal: &'static str) -> bool {
        if self.text[self.at..].starts_with(literal) {
            self.at += literal.len();
            return true;
        }
        let listed = if literal == "\"" { "\\\"" } else { literal };
        let bit = EXPECTED
            .iter()
            .position(|e| e.get(1..e.len() - 1) == Some(listed));
        if let Some(bit) = bit {
            self.miss(1 << bit);
        }
        false
    }

    /// Takes any white space; whether there was some.
    fn spaces(&mut self) -> bool {
        let start = self.at;
        while self.class(SPACE, |b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')) {}
        self.at > start
    }

    /// Takes white space, a word and white space.
    fn word(&mut self, word: &'static str) -> bool {
        self.literal(word) && self.spaces()
    }

    /// `line:column (byte):` of a place; columns count characters.
    fn place(&self, at: usize) -> String {
        let (mut line, mut column) = (1, 0);
        let upto = self.text[at..].chars().next().map_or(0, char::len_utf8);
        for c in self.text[..at + upto].chars() {
            if c == '\n' {
                line += 1;
                column = 0;
            } else {
                column += 1;
            }
        }
        if upto == 0 {
            column += 1;
        }
        format!("{line}:{column} ({at}):")
    }

    fn fatal<T>(&self, rule: &str, what: &str) -> Parsed<T> {
        Err(format!("{} rule \"{rule}\": {what}", self.place(self.at)))
    }

    fn no_match(&self) -> String {
        let mut out = format!("{} no match found, expected: ", self.place(self.farthest));
        let names = EXPECTED.iter().copied().chain(["[a-zA-Z]", "EOF"]);
        let listed: Vec<&str> = names
            .enumerate()
            .filter(|(bit, _)| self.missing & (1 << bit) != 0)
            .map(|(_, name)| name)
            .collect();
        for (n, name) in listed.iter().enumerate() {
            let separator = match n {
                0 => "",
                _ if n + 1 == listed.len() => " or ",
                _ => ", ",
            };
            let _ = write!(out, "{separator}{name}");
        }
        out
    }

    fn or_expression(&mut self) -> Parsed<Expression<Match>> {
        self.chain("or", Self::and_expression, Expression::Or)
    }

    fn and_expression(&mut self) -> Parsed<Expression<Match>> {
        self.chain("and", Self::not_expression, Expression::And)
    }

    /// One or more operands with a word between them.
    fn chain(
        &mut self,
        word: &'static str,
        operand: fn(&mut Self) -> Parsed<Expression<Match>>,
        join: fn(Vec<Expression<Match>>) -> Expression<Match>,
    ) -> Parsed<Expression<Match>> {
        let Some(first) = operand(self)? else {
            return Ok(None);
        };
        let mut rest = Vec::new();
        loop {
            let start = self.at;
            let next = if self.spaces() && self.word(word) {
                operand(self)?
            } else {
                None
            };
            match next {
                Some(next) => rest.push(next),
                None => {
                    self.at = start;
                    break;
                }
            }
        }
        if rest.is_empty() {
            return Ok(Some(first));
        }
        rest.insert(0, first);
        Ok(Some(join(rest)))
    }

    fn not_expression(&mut self) -> Parsed<Expression<Match>> {
        if self.depth == MAX_DEPTH {
            return Err(format!(
                "{} expression nests deeper than {MAX_DEPTH} levels: simplify it",
                self.place(self.at)
            ));
        }
        self.depth += 1;
        let parsed = self.nested();
        self.depth -= 1;
        parsed
    }

    fn nested(&mut self) -> Parsed<Expression<Match>> {
        let start = self.at;
        if self.word("not")
            && let Some(inner) = self.not_expression()?
        {
            return Ok(Some(Expression::Not(Box::new(inner))));
        }
        self.at = start;
        if self.literal("(") {
            self.spaces();
            if let Some(inner) = self.or_expression()? {
                self.spaces();
                if self.byte() != Some(b')') {
                    return self.fatal("grouping", "Unmatched parentheses");
                }
                self.at += 1;
                return Ok(Some(inner));
            }
            self.at = start;
        }
        Ok(self.match_()?.map(Expression::Match))
    }

    fn match_(&mut self) -> Parsed<Match> {
        if let Some(names) = self.selector()? {
            return self.after_selector(names);
        }
        let Some(value) = self.literal_value()? else {
            return Ok(None);
        };
        if !self.spaces() {
            return Ok(None);
        }
        self.after_value(value)
    }

    /// `in SELECTOR` or `not in SELECTOR`.
    fn after_value(&mut self, value: String) -> Parsed<Match> {
        let start = self.at;
        if self.word("in") {
            return self.in_selector(value, false);
        }
        self.at = start;
        if self.word("not") && self.word("in") {
            return self.in_selector(value, true);
        }
        Ok(None)
    }

    fn in_selector(&mut self, value: String, negated: bool) -> Parsed<Match> {
        match self.selector()? {
            Some(selector) => Ok(Some(Match {
                selector,
                operator: Operator::In,
                negated,
                value,
            })),
            None => self.fatal("match", "Invalid selector"),
        }
    }

    fn after_selector(&mut self, selector: Vec<String>) -> Parsed<Match> {
        let spaced = self.spaces();
        let start = self.at;
        for (sign, negated) in [("==", false), ("!=", true)] {
            if self.literal(sign) {
                self.spaces();
                return self.with_value(selector, Operator::Equal, negated);
            }
        }
        if !spaced {
            return Ok(None);
        }
        if self.word("is") {
            let here = self.at;
            let negated = self.word("not");
            if !negated {
                self.at = here;
            }
            return Ok(self.literal("empty").then_some(Match {
                selector,
                operator: Operator::Empty,
                negated,
                value: String::new(),
            }));
        }
        self.at = start;
        let negated = self.word("not");
        if !negated {
            self.at = start;
        }
        let here = self.at;
        for (word, operator) in [("contains", Operator::In), ("matches", Operator::Matches)] {
            if self.word(word) {
                return self.with_value(selector, operator, negated);
            }
            self.at = here;
        }
        // What looked like a selector is the value of `VALUE in SELECTOR`.
        self.at = start;
        self.after_value(selector.join("."))
    }

    fn with_value(
        &mut self,
        selector: Vec<String>,
        operator: Operator,
        negated: bool,
    ) -> Parsed<Match> {
        let value = match self.selector()? {
            Some(names) => Some(names.join(".")),
            None => self.literal_value()?,
        };
        Ok(value.map(|value| Match {
            selector,
            operator,
            negated,
            value,
        }))
    }

    fn identifier(&mut self) -> Option<String> {
        let start = self.at;
        if !self.class(LETTER, |b| b.is_ascii_alphabetic()) {
            return None;
        }
        while self.class(IDENTIFIER, |b| b.is_ascii_alphanumeric() || b == b'_') {}
        Some(self.text[start..self.at].to_owned())
    }

    fn selector(&mut self) -> Parsed<Vec<String>> {
        let Some(first) = self.identifier() else {
            return Ok(None);
        };
        let mut names = vec![first];
        loop {
            let start = self.at;
            if self.literal(".")
                && let Some(name) = self.identifier()
            {
                names.push(name);
                continue;
            }
            self.at = start;
            if !self.literal("[") {
                return Ok(Some(names));
            }
            self.spaces();
            let inside = self.at;
            match self.string() {
                Ok(Some(name)) => names.push(name),
                Ok(None) => return self.fatal("index", "Invalid index"),
                Err(first) => {
                    self.at = inside;
                    let second = self.fatal::<()>("index", "Invalid index");
                    return Err(format!("{first}\n{}", second.err().unwrap_or_default()));
                }
            }
            self.spaces();
            if self.byte() != Some(b']') {
                return self.fatal("index", "Unclosed index expression");
            }
            self.at += 1;
        }
    }

    fn literal_value(&mut self) -> Parsed<String> {
        match self.number()? {
            Some(number) => Ok(Some(number)),
            None => self.string(),
        }
    }

    fn number(&mut self) -> Parsed<String> {
        let start = self.at;
        self.literal("-");
        if !self.literal("0") {
            if !self.class(NON_ZERO, |b| matches!(b, b'1'..=b'9')) {
                // Keeps what was missing after the sign.
                self.at = start;
                return Ok(None);
            }
            while self.class(DIGIT, |b| b.is_ascii_digit()) {}
        }
        let whole = self.at;
        if self.literal(".") {
            let fraction = self.at;
            while self.class(DIGIT, |b| b.is_ascii_digit()) {}
            if self.at == fraction {
                self.at = whole;
            }
        }
        match self.byte() {
            None => self.miss(SPACE),
            Some(b' ' | b'\t' | b'\r' | b'\n' | b')') => {}
            Some(_) => return self.fatal("number", "Invalid number literal"),
        }
        Ok(Some(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Parsed<String> {
        let start = self.at;
        let raw = self.literal("`");
        if !raw && !self.literal("\"") {
            return Ok(None);
        }
        let quote = if raw { '`' } else { '"' };
        let Some(length) = self.text[self.at..].find(quote) else {
            self.at = self.text.len();
            return self.fatal("string", "Unterminated string literal");
        };
        let inner = &self.text[self.at..self.at + length];
        self.at += length + 1;
        if raw {
            return Ok(Some(inner.replace('\r', "")));
        }
        match unquote(inner) {
            Some(value) => Ok(Some(value)),
            None => {
                self.at = start;
                self.fatal("string", "invalid syntax")
            }
        }
    }
}

/// The inside of a Go string literal in double quotes; `None` when it is not one.
fn unquote(inner: &str) -> Option<String> {
    if !inner.contains(['\\', '\n']) {
        return Some(inner.to_owned());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\n' {
            return None;
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        let plain = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            'x' => take_code(&mut rest, 2, 16)? as u8,
            'u' | 'U' => {
                let digits = if escape == 'u' { 4 } else { 8 };
                let c = char::from_u32(take_code(&mut rest, digits, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            '0'..='7' => {
                let low = take_code(&mut rest, 2, 8)?;
                u8::try_from(escape.to_digit(8)? * 64 + low).ok()?
            }
            _ => return None,
        };
        out.push(plain);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn take_code(rest: &mut &str, digits: usize, radix: u32) -> Option<u32> {
    let text = rest.get(..digits)?;
    if !text.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    *rest = &rest[digits..];
    u32::from_str_radix(text, radix).ok()
}
