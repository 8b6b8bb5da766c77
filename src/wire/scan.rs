//! Where a JSON value ends, or Go's words for why it is none.
//!
//! Holds true: it accepts exactly what Go's decoder accepts, so the parser behind it meets no surprise;
//! it uses no stack, and nests at most [`MAX_DEPTH`] deep.
//! Source: Go's `encoding/json` documentation and RFC 8259; texts asked of a running Consul 1.8.7.

use std::ops::Range;

use super::Error;
use crate::codec::quote_byte;

/// Deepest nesting of arrays and objects.
pub(super) const MAX_DEPTH: usize = 1000;

/// What was found of the first value.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Its bytes.
    pub span: Range<usize>,
    /// Its numbers, in order.
    pub numbers: Vec<Range<usize>>,
    /// A string holds bytes that are not UTF-8, or escapes of half a surrogate pair.
    pub unclean: bool,
}

/// Finds the first value.
///
/// # Errors
/// [`Error::Eof`] when there is only white space, [`Error::UnexpectedEof`] when the value does not end,
/// [`Error::Syntax`] when it is wrong.
pub(super) fn scan(text: &[u8]) -> Result<Scanned, Error> {
    let mut scanner = Scanner {
        text,
        at: 0,
        numbers: Vec::new(),
        unclean: false,
    };
    scanner.space();
    if scanner.peek().is_none() {
        return Err(Error::Eof);
    }
    let start = scanner.at;
    scanner.value()?;
    Ok(Scanned {
        span: start..scanner.at,
        numbers: scanner.numbers,
        unclean: scanner.unclean,
    })
}

/// The error for the first byte behind a value that should be the whole, if there is one.
pub(super) fn trailing(rest: &[u8]) -> Result<(), Error> {
    match rest.iter().find(|c| !is_space(**c)) {
        Some(c) => Err(wrong(*c, "after top-level value")),
        None => Ok(()),
    }
}

pub(super) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

#[cold]
fn wrong(c: u8, place: &str) -> Error {
    Error::Syntax(format!("invalid character {} {place}", quote_byte(c)))
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    numbers: Vec<Range<usize>>,
    unclean: bool,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) -> Result<u8, Error> {
        let c = self.peek().ok_or(Error::UnexpectedEof)?;
        self.at += 1;
        Ok(c)
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// A byte behind white space.
    fn token(&mut self) -> Result<u8, Error> {
        self.space();
        self.bump()
    }

    /// One value and all that is in it; the open brackets are on a stack of our own.
    fn value(&mut self) -> Result<(), Error> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            let c = self.token()?;
            match c {
                b'{' | b'[' => {
                    if open.len() == MAX_DEPTH {
                        return Err(wrong(c, "exceeded max depth"));
                    }
                    self.space();
                    let close = if c == b'{' { b'}' } else { b']' };
                    if self.peek() != Some(close) {
                        open.push(close);
                        if c == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                }
                b'"' => self.string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                b'-' | b'0'..=b'9' => self.number(c)?,
                _ => return Err(wrong(c, "looking for beginning of value")),
            }
            // A value has ended; so may those around it.
            loop {
                let Some(close) = open.last() else {
                    return Ok(());
                };
                let place = if *close == b'}' {
                    "after object key:value pair"
                } else {
                    "after array element"
                };
                let object = *close == b'}';
                match self.token()? {
                    b',' if object => break self.next_key()?,
                    b',' => break,
                    c if c == *close => {
                        open.pop();
                    }
                    c => return Err(wrong(c, place)),
                }
            }
        }
    }

    fn next_key(&mut self) -> Result<(), Error> {
        self.space();
        self.key()
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Error> {
        match self.bump()? {
            b'"' => self.string()?,
            c => return Err(wrong(c, "looking for beginning of object key string")),
        }
        match self.token()? {
            b':' => Ok(()),
            c => Err(wrong(c, "after object key")),
        }
    }

    /// The rest of a string.
    fn string(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut high = false;
        loop {
            let half = std::mem::take(&mut high);
            match self.bump()? {
                b'"' => {
                    self.unclean |= half;
                    break;
                }
                b'\\' => match self.bump()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.unclean |= half,
                    b'u' => {
                        let unit = self.hex()?;
                        let low = (0xdc00..0xe000).contains(&unit);
                        high = (0xd800..0xdc00).contains(&unit);
                        self.unclean |= half != low;
                    }
                    c => return Err(wrong(c, "in string escape code")),
                },
                c @ 0..0x20 => return Err(wrong(c, "in string literal")),
                _ => self.unclean |= half,
            }
        }
        let body = self.text.get(start..self.at).unwrap_or_default();
        self.unclean |= !body.is_ascii() && std::str::from_utf8(body).is_err();
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let mut unit = 0;
        for _ in 0..4 {
            let c = self.bump()?;
            let digit = char::from(c)
                .to_digit(16)
                .ok_or_else(|| wrong(c, "in \\u hexadecimal character escape"))?;
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }

    fn literal(&mut self, word: &str) -> Result<(), Error> {
        for expected in word.bytes().skip(1) {
            let c = self.bump()?;
            if c != expected {
                let expected = char::from(expected);
                return Err(wrong(
                    c,
                    &format!("in literal {word} (expecting '{expected}')"),
                ));
            }
        }
        Ok(())
    }

    /// A digit must come, and more may.
    fn digits(&mut self, place: &str) -> Result<(), Error> {
        let c = self.bump()?;
        if !c.is_ascii_digit() {
            return Err(wrong(c, place));
        }
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// The rest of a number.
    fn number(&mut self, first: u8) -> Result<(), Error> {
        let start = self.at - 1;
        let leading = if first == b'-' {
            let c = self.bump()?;
            if !c.is_ascii_digit() {
                return Err(wrong(c, "in numeric literal"));
            }
            c
        } else {
            first
        };
        if leading != b'0' {
            while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                self.at += 1;
            }
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        self.numbers.push(start..self.at);
        Ok(())
    }
}
