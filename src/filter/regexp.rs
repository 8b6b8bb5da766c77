//! Regular expressions of `matches`: compiled by `regex-lite`, refused in Go's words.
//!
//! Holds true: matching takes time linear in text times expression, and a compiled expression stays
//! under a fixed size. Unicode classes (`\p{L}`) are not there; the error says so.
//! Source: Go's `regexp/syntax` documentation; the texts were recorded from Consul 1.8.7.

use regex_lite::{Regex, RegexBuilder};

use crate::structs::go::quote;

/// Largest compiled expression, in bytes.
const MAX_COMPILED: usize = 1 << 20;
/// Largest count in `x{n,m}`, Go's own limit.
const MAX_REPEAT: u32 = 1000;

/// Compiles an expression; what is wrong with it in Go's words alone.
///
/// # Errors
/// ``error parsing regexp: missing closing ]: `[` ``
pub fn parse(pattern: &str) -> Result<Regex, String> {
    compile(pattern).map_err(|text| match text.find("error parsing regexp") {
        Some(at) => text[at..].to_owned(),
        None => text,
    })
}

/// Compiles an expression.
///
/// # Errors
/// `Failed to compile regular expression "(": error parsing regexp: missing closing ): ...`
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let failed = |detail: String| {
        format!(
            "Failed to compile regular expression {}: {detail}",
            quote(pattern)
        )
    };
    let mut scan = Scan {
        pattern,
        ..Scan::default()
    };
    scan.run()
        .map_err(|problem| failed(format!("error parsing regexp: {problem}")))?;
    if pattern.contains("\\p") || pattern.contains("\\P") {
        return Err(failed(
            "Unicode classes (\\p) are not available here: list the characters in [...]".into(),
        ));
    }
    let mut escaped = pattern.to_owned();
    for at in scan.plain_braces.into_iter().rev() {
        escaped.insert(at, '\\');
    }
    RegexBuilder::new(&escaped)
        .size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| failed(error.to_string()))
}

/// A scan from left to right for the first defect that Go would name.
#[derive(Default)]
struct Scan<'a> {
    pattern: &'a str,
    at: usize,
    /// Groups that are open.
    open: usize,
    /// Whether there is something that a repetition could apply to.
    has_atom: bool,
    /// Where the repetition that was just read began.
    repeated_from: Option<usize>,
    /// Braces that are no repetition: Go takes them as themselves.
    plain_braces: Vec<usize>,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.pattern[self.at..].chars().next() {
            let rest = &self.pattern[self.at..];
            let length = match c {
                '\\' => self.atom(escape_length(rest)?),
                '(' => {
                    let length = group_length(self.pattern, rest)?;
                    self.open += usize::from(!rest[..length].ends_with(')'));
                    self.no_atom(length)
                }
                ')' => {
                    let left = self.open.checked_sub(1);
                    self.open = left.ok_or_else(|| format!("unexpected ): `{}`", self.pattern))?;
                    self.atom(1)
                }
                '|' => self.no_atom(1),
                '[' => {
                    let length =
                        class_length(rest).ok_or_else(|| format!("missing closing ]: `{rest}`"))?;
                    if let Some(range) = bad_range(&rest[..length]) {
                        return Err(format!("invalid character class range: `{range}`"));
                    }
                    self.atom(length)
                }
                '*' | '+' | '?' => self.repetition(1)?,
                '{' => match repeat(rest) {
                    None => {
                        self.plain_braces.push(self.at);
                        self.atom(1)
                    }
                    Some((length, true)) => self.repetition(length)?,
                    Some((length, false)) => {
                        return Err(format!("invalid repeat count: `{}`", &rest[..length]));
                    }
                },
                c => self.atom(c.len_utf8()),
            };
            self.at += length;
        }
        if self.open > 0 {
            return Err(format!("missing closing ): `{}`", self.pattern));
        }
        Ok(())
    }

    fn atom(&mut self, length: usize) -> usize {
        (self.has_atom, self.repeated_from) = (true, None);
        length
    }

    fn no_atom(&mut self, length: usize) -> usize {
        (self.has_atom, self.repeated_from) = (false, None);
        length
    }

    fn repetition(&mut self, mut length: usize) -> Result<usize, String> {
        let rest = &self.pattern[self.at..];
        if !self.has_atom {
            return Err(format!(
                "missing argument to repetition operator: `{}`",
                &rest[..length]
            ));
        }
        if rest[length..].starts_with('?') {
            length += 1;
        }
        if let Some(from) = self.repeated_from {
            return Err(format!(
                "invalid nested repetition operator: `{}`",
                &self.pattern[from..self.at + length]
            ));
        }
        self.repeated_from = Some(self.at);
        Ok(length)
    }
}

/// Length of an escape outside of a class.
fn escape_length(rest: &str) -> Result<usize, String> {
    let Some(c) = rest[1..].chars().next() else {
        return Err("trailing backslash at end of expression: ``".into());
    };
    let known = c.is_ascii_punctuation() || "aAbBCdDfnpPQrsStvwWxzE01234567".contains(c);
    if known {
        Ok(1 + c.len_utf8())
    } else {
        Err(format!("invalid escape sequence: `\\{c}`"))
    }
}

/// Length of what opens a group: `(`, `(?:`, `(?i)`, `(?P<name>`.
fn group_length(pattern: &str, rest: &str) -> Result<usize, String> {
    let Some(after) = rest.strip_prefix("(?") else {
        return Ok(1);
    };
    if let Some(name) = after.strip_prefix("P<") {
        let end = name
            .find('>')
            .ok_or_else(|| format!("invalid named capture: `{rest}`"))?;
        let word = &name[..end];
        if word.is_empty() || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("invalid named capture: `(?P<{word}>`"));
        }
        return Ok(4 + end + 1);
    }
    for (n, c) in after.char_indices() {
        match c {
            'i' | 'm' | 's' | 'U' | '-' => {}
            ':' | ')' => return Ok(2 + n + 1),
            _ => {
                let wrong = &rest[..2 + n + c.len_utf8()];
                return Err(format!("invalid or unsupported Perl syntax: `{wrong}`"));
            }
        }
    }
    Err(format!("missing closing ): `{pattern}`"))
}

/// Length of a class from `[` to its `]`.
fn class_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    if bytes.get(at) == Some(&b'^') {
        at += 1;
    }
    if bytes.get(at) == Some(&b']') {
        at += 1;
    }
    loop {
        match bytes.get(at)? {
            b']' => return Some(at + 1),
            b'\\' => at += 2,
            b'[' if bytes.get(at + 1) == Some(&b':') => match rest[at + 2..].find(":]") {
                Some(end) => at += end + 4,
                None => at += 1,
            },
            _ => at += 1,
        }
    }
}

/// A range in a class whose ends are the wrong way round.
fn bad_range(class: &str) -> Option<&str> {
    let inner = class.get(1..class.len() - 1)?;
    let places: Vec<(usize, char)> = inner.char_indices().collect();
    places.windows(3).find_map(|three| match three {
        [(from, low), (_, '-'), (to, high)] if low > high && *low != '\\' && *high != '[' => {
            inner.get(*from..to + high.len_utf8())
        }
        _ => None,
    })
}

/// Length of `{n}`, `{n,}` or `{n,m}` and whether its counts are allowed; `None` for another brace.
fn repeat(rest: &str) -> Option<(usize, bool)> {
    let end = rest.find('}')?;
    let inner = &rest[1..end];
    let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(low) || !(high.is_empty() || digits(high)) {
        return None;
    }
    let low: u32 = low.parse().unwrap_or(u32::MAX);
    let high: u32 = if high.is_empty() {
        low
    } else {
        high.parse().unwrap_or(u32::MAX)
    };
    Some((
        end + 1,
        low <= MAX_REPEAT && high <= MAX_REPEAT && low <= high,
    ))
}
