//! Characters to tokens, counting lines and columns the way Consul does.
//!
//! A wrong character does not stop the scan: the last thing wrong is what gets reported, as the users of Consul know
//! it. Reading past the end moves the column too, which shows in the places given for texts that end too early.
//! Leaves to `parse` in which order tokens make sense.

use super::token::{Kind, Token};
use super::{Error, Pos};

/// The state that going back one character restores.
#[derive(Clone, Copy, Default)]
struct Place {
    offset: usize,
    line: u32,
    column: u32,
    /// Columns of the line before, for what is wrong at its end.
    last_line: u32,
}

/// Reads tokens.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    here: Place,
    before: Place,
    /// The last thing wrong.
    pub error: Option<Error>,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let start = Place {
            line: 1,
            ..Place::default()
        };
        Self {
            text,
            here: start,
            before: start,
            error: None,
        }
    }

    /// The character at `offset` and its length; what is no UTF-8 is one replacement character.
    fn decode(&self, offset: usize) -> Option<(char, usize, bool)> {
        let rest = self.text.get(offset..)?;
        let first = *rest.first()?;
        if first < 0x80 {
            return Some((char::from(first), 1, true));
        }
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Some((char::REPLACEMENT_CHARACTER, 1, false)),
        };
        let decoded = rest
            .get(..length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        match decoded.and_then(|text| text.chars().next()) {
            Some(c) => Some((c, length, true)),
            None => Some((char::REPLACEMENT_CHARACTER, 1, false)),
        }
    }

    fn next(&mut self) -> Option<char> {
        let Some((c, length, valid)) = self.decode(self.here.offset) else {
            self.here.column += 1;
            return None;
        };
        self.before = self.here;
        self.here.offset += length;
        self.here.column += 1;
        if !valid {
            self.wrong("illegal UTF-8 encoding");
        }
        if c == '\n' {
            self.here.line += 1;
            self.here.last_line = self.here.column;
            self.here.column = 0;
        }
        if c == '\0' {
            self.wrong("unexpected null character (0x00)");
            self.here.offset = self.text.len();
            return None;
        }
        Some(c)
    }

    /// Goes back before the character last read; not to be used after the end was read.
    fn back(&mut self) {
        self.here = self.before;
    }

    fn peek(&self) -> Option<char> {
        self.decode(self.here.offset).map(|(c, _, _)| c)
    }

    /// The place of the character last read.
    fn pos(&self) -> Pos {
        if self.here.column > 0 {
            Pos {
                line: self.here.line,
                column: self.here.column,
            }
        } else {
            Pos {
                line: self.here.line.saturating_sub(1).max(1),
                column: self.here.last_line.max(1),
            }
        }
    }

    fn wrong(&mut self, message: &str) {
        self.error = Some(Error::at(self.pos(), message));
    }

    /// The next token.
    pub fn scan(&mut self) -> Token {
        let mut c = self.next();
        while c.is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r')) {
            c = self.next();
        }
        let pos = self.pos();
        let start = self.before.offset;
        let mut value = String::new();
        let kind = match c {
            None => Kind::Eof,
            Some(c) if c.is_alphabetic() || c == '_' => self.identifier(start),
            Some(c) if c.is_ascii_digit() => self.number(c),
            Some('"') => {
                self.string(&mut value);
                Kind::String
            }
            Some('#') => self.line_comment(),
            Some('/') => self.comment(),
            Some('.') if self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.fraction();
                Kind::Float
            }
            Some('.') => Kind::Period,
            Some('<') => self.heredoc(&mut value),
            Some('[') => Kind::Lbrack,
            Some(']') => Kind::Rbrack,
            Some('{') => Kind::Lbrace,
            Some('}') => Kind::Rbrace,
            Some(',') => Kind::Comma,
            Some('=') => Kind::Assign,
            Some('+') => Kind::Add,
            Some('-') if self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                let first = self.next().unwrap_or('0');
                self.number(first)
            }
            Some('-') => Kind::Sub,
            Some(_) => {
                self.wrong("illegal char");
                Kind::Illegal
            }
        };
        let text = match kind {
            Kind::Eof => String::new(),
            _ => self.slice(start, self.here.offset),
        };
        Token {
            kind,
            pos,
            text,
            value,
        }
    }

    fn slice(&self, from: usize, to: usize) -> String {
        let bytes = self.text.get(from..to).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn identifier(&mut self, start: usize) -> Kind {
        loop {
            match self.next() {
                Some(c) if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') => {}
                Some(_) => {
                    self.back();
                    break;
                }
                None => break,
            }
        }
        match self.text.get(start..self.here.offset) {
            Some(b"true" | b"false") => Kind::Bool,
            _ => Kind::Ident,
        }
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.next();
        }
    }

    fn fraction(&mut self) {
        self.skip_digits();
        self.exponent();
        self.at_end(1);
    }

    fn exponent(&mut self) -> bool {
        if !matches!(self.peek(), Some('e' | 'E')) {
            return false;
        }
        self.next();
        if matches!(self.peek(), Some('+' | '-')) {
            self.next();
        }
        self.skip_digits();
        true
    }

    /// At the end of the text, looking for the end of a number has read past it this often.
    fn at_end(&mut self, reads: u32) {
        if self.peek().is_none() {
            self.here.column += reads;
        }
    }

    /// The rest of a number after its first digit.
    fn number(&mut self, first: char) -> Kind {
        if first == '0' && matches!(self.peek(), Some('x' | 'X')) {
            self.next();
            let mut found = false;
            while self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                self.next();
                found = true;
            }
            self.at_end(1);
            if !found {
                self.wrong("illegal hexadecimal number");
            }
            return Kind::Number;
        }
        self.skip_digits();
        if self.peek() == Some('.') {
            self.next();
            if self.peek().is_some() {
                self.fraction();
            }
            return Kind::Float;
        }
        if self.exponent() {
            self.at_end(1);
            return Kind::Float;
        }
        self.at_end(if first == '0' { 1 } else { 2 });
        Kind::Number
    }

    fn line_comment(&mut self) -> Kind {
        while self.next().is_some_and(|c| c != '\n') {}
        Kind::Comment
    }

    fn comment(&mut self) -> Kind {
        match self.peek() {
            Some('/') => self.line_comment(),
            Some('*') => {
                self.next();
                let mut star = false;
                loop {
                    match self.next() {
                        None => {
                            self.wrong("comment not terminated");
                            break;
                        }
                        Some('/') if star => break,
                        Some(c) => star = c == '*',
                    }
                }
                Kind::Comment
            }
            _ => {
                self.wrong("expected '/' for comment");
                Kind::Comment
            }
        }
    }

    /// The rest of a string. Between `${` and its brace nothing is special, not even quotes and line ends, and all stays
    /// as written.
    fn string(&mut self, value: &mut String) {
        let mut braces = 0_usize;
        loop {
            let Some(c) = self.next() else {
                self.wrong("literal not terminated");
                return;
            };
            match c {
                '\n' if braces == 0 => {
                    self.wrong("literal not terminated");
                    return;
                }
                '"' if braces == 0 => return,
                '\\' => {
                    let start = self.before.offset;
                    let escaped = self.escape();
                    if braces == 0 {
                        value.extend(escaped);
                    } else {
                        value.push_str(&self.slice(start, self.here.offset));
                    }
                    continue;
                }
                '$' if braces == 0 && self.peek() == Some('{') => {
                    value.push('$');
                    self.next();
                    braces = 1;
                    value.push('{');
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                _ => {}
            }
            value.push(c);
        }
    }

    /// The character after a backslash; `None` (and an error noted) if there is no such escape.
    fn escape(&mut self) -> Option<char> {
        let c = self.next();
        match c {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(c @ ('\\' | '"')) => Some(c),
            Some(c @ '0'..='7') => self.digits(8, 2, c.to_digit(8).unwrap_or(0)),
            Some('x') => self.digits(16, 2, 0),
            Some('u') => self.digits(16, 4, 0),
            Some('U') => self.digits(16, 8, 0),
            _ => {
                self.wrong("illegal char escape");
                None
            }
        }
    }

    fn digits(&mut self, base: u32, count: usize, start: u32) -> Option<char> {
        let mut value = start;
        for _ in 0..count {
            let c = self.next();
            let Some(digit) = c.and_then(|c| c.to_digit(base)) else {
                self.wrong("illegal char escape");
                if c.is_some() {
                    self.back();
                }
                return None;
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        let c = char::from_u32(value);
        if c.is_none() || (base == 8 && value > 0xff) {
            self.wrong("illegal char escape");
            return None;
        }
        c
    }

    /// `<<EOF` or `<<-EOF` to the line that holds only the anchor. With `-` that line must be indented, and its
    /// indentation is taken off all lines if all have it.
    fn heredoc(&mut self, value: &mut String) -> Kind {
        if self.next() != Some('<') {
            self.wrong("heredoc expected second '<', didn't see it");
            return Kind::Heredoc;
        }
        let indented = self.peek() == Some('-');
        if indented {
            self.next();
        }
        let start = self.here.offset;
        let mut c = self.next();
        while c.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            c = self.next();
        }
        match c {
            None => {
                self.wrong("heredoc not terminated");
                return Kind::Heredoc;
            }
            Some('\n') => {}
            Some(_) => {
                self.wrong("invalid characters in heredoc anchor");
                return Kind::Heredoc;
            }
        }
        let anchor = self.slice(start, self.before.offset);
        if anchor.is_empty() {
            self.wrong("zero-length heredoc anchor");
            return Kind::Heredoc;
        }
        let body = self.here.offset;
        let mut line = body;
        loop {
            match self.next() {
                None => {
                    self.wrong("heredoc not terminated");
                    return Kind::Heredoc;
                }
                Some('\n') => {
                    let text = self.slice(line, self.before.offset);
                    let indent = text.len() - text.trim_start().len();
                    if text[indent..] == *anchor && (indent > 0 || !indented) {
                        let text = self.slice(body, line);
                        *value = heredoc_text(&text, self.slice(line, line + indent), indented);
                        return Kind::Heredoc;
                    }
                    line = self.here.offset;
                }
                Some(_) => {}
            }
        }
    }
}

/// What a heredoc stands for: `body` is all lines before the anchor's, `indent` what stands before the anchor.
fn heredoc_text(body: &str, indent: String, indented: bool) -> String {
    if !indented {
        return format!("{body}{indent}");
    }
    if !body.lines().all(|line| line.starts_with(&indent)) {
        return body.to_owned();
    }
    let lines = body.split_inclusive('\n');
    lines
        .map(|line| line.get(indent.len()..).unwrap_or_default())
        .collect()
}
