//! Address templates: `{{ GetInterfaceIP "eth0" }}`, `{{ GetAllInterfaces | include "type" "ipv4" | attr "address" }}`.
//!
//! The part of Go's templates that such addresses are written in: actions with pipelines of the functions below, string and
//! number literals, parentheses, comments and trimming. Control structures and variables are refused with a clear text.
//! What the machine's interfaces are is handed in ([`Interface`]), so results can be tested.
//! Source: the README of go-sockaddr and Go's documentation of `text/template`; error texts observed on Consul 1.8.7.

mod functions;
mod interface;

pub use interface::{Interface, interfaces};

use self::functions::{Value, call, is_function};
use crate::structs::go::quote;

/// The longest template and the longest result, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// Replaces every action in `input` by its result and trims the whole.
///
/// # Errors
/// Consul's text: `unable to parse template "..."` or `unable to execute sockaddr input "..."` with the reason.
pub fn parse(input: &str, interfaces: &[Interface]) -> Result<String, String> {
    if input.len() > MAX_BYTES {
        return Err(format!("template is longer than {MAX_BYTES} bytes"));
    }
    let parts = split(input).map_err(|reason| unparsable(input, &reason))?;
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Action(pipeline) => {
                let value = run(&pipeline, interfaces).map_err(|failure| {
                    let (line, column) = place(input, failure.at);
                    format!(
                        "unable to execute sockaddr input {}: template: sockaddr.Parse:{line}:{column}: executing \
                         \"sockaddr.Parse\" at <{}>: {}",
                        quote(input),
                        failure.source,
                        failure.reason
                    )
                })?;
                out.push_str(&value.to_string());
            }
        }
        if out.len() > MAX_BYTES {
            return Err(format!(
                "result of template is longer than {MAX_BYTES} bytes"
            ));
        }
    }
    Ok(out.trim().to_owned())
}

fn unparsable(input: &str, reason: &str) -> String {
    format!(
        "unable to parse template {}: template: sockaddr.Parse:1: {reason}",
        quote(input)
    )
}

/// Line from 1 and column from 0, as Go counts them.
fn place(input: &str, at: usize) -> (usize, usize) {
    let before = input.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, at - line_start)
}

enum Part<'a> {
    Text(&'a str),
    Action(Pipeline<'a>),
}

/// Commands that hand their result on.
struct Pipeline<'a> {
    commands: Vec<Command<'a>>,
}

/// A function with arguments, or a lone literal.
struct Command<'a> {
    words: Vec<Word<'a>>,
    /// As written, for errors.
    source: &'a str,
}

struct Word<'a> {
    kind: WordKind<'a>,
    at: usize,
    source: &'a str,
}

enum WordKind<'a> {
    Function(&'a str),
    Literal(Value),
    Nested(Pipeline<'a>),
}

/// Why a command failed, and where.
struct Failure {
    at: usize,
    source: String,
    reason: String,
}

/// Cuts the input into text and actions.
fn split(input: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    while let Some(start) = input[at..].find("{{").map(|found| found + at) {
        let mut body = start + 2;
        let trim_before = input[body..].starts_with("- ");
        let mut text = &input[at..start];
        if std::mem::take(&mut trim_next) {
            text = text.trim_start();
        }
        if trim_before {
            text = text.trim_end();
            body += 1;
        }
        parts.push(Part::Text(text));
        let trimmed = input[body..].trim_start();
        if trimmed.starts_with("/*") {
            let comment = input.len() - trimmed.len();
            let end = input[comment..].find("*/").ok_or("unclosed comment")? + comment + 2;
            let rest = input[end..].trim_start();
            trim_next = rest.starts_with('-');
            let rest = rest.strip_prefix('-').unwrap_or(rest);
            let rest = rest
                .strip_prefix("}}")
                .ok_or("comment ends before closing delimiter")?;
            at = input.len() - rest.len();
            continue;
        }
        let mut reader = Reader {
            input,
            at: body,
            depth: 0,
        };
        let pipeline = reader.pipeline()?;
        reader.space();
        if reader.rest().starts_with("-}}") {
            trim_next = true;
            reader.at += 1;
        }
        if !reader.rest().starts_with("}}") {
            return Err(reader.unexpected());
        }
        at = reader.at + 2;
        parts.push(Part::Action(pipeline));
    }
    let text = &input[at..];
    parts.push(Part::Text(if trim_next { text.trim_start() } else { text }));
    Ok(parts)
}

/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 32;

struct Reader<'a> {
    input: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at = self.input.len() - self.rest().trim_start().len();
    }

    fn unexpected(&self) -> String {
        match self.rest().chars().next() {
            None => "unclosed action".to_owned(),
            Some(c) => format!("unexpected {} in operand", quote(&c.to_string())),
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline<'a>, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("parentheses nested deeper than {MAX_DEPTH} levels"));
        }
        let mut commands = vec![self.command()?];
        while self.rest().starts_with('|') {
            self.at += 1;
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(Pipeline { commands })
    }

    fn command(&mut self) -> Result<Command<'a>, String> {
        self.space();
        let start = self.at;
        let mut end = start;
        let mut words = Vec::new();
        loop {
            self.space();
            let rest = self.rest();
            if rest.is_empty() {
                return Err("unclosed action".to_owned());
            }
            if rest.starts_with(['|', ')']) || rest.starts_with("}}") || rest.starts_with("-}}") {
                break;
            }
            words.push(self.word()?);
            end = self.at;
        }
        if words.is_empty() {
            return Err("missing value for command".to_owned());
        }
        Ok(Command {
            words,
            source: &self.input[start..end],
        })
    }

    fn word(&mut self) -> Result<Word<'a>, String> {
        let at = self.at;
        let rest = self.rest();
        let kind = match rest.as_bytes().first() {
            Some(b'"') => WordKind::Literal(Value::Text(self.quoted()?)),
            Some(b'`') => {
                let end = rest[1..]
                    .find('`')
                    .ok_or("unterminated raw quoted string")?;
                self.at += end + 2;
                WordKind::Literal(Value::Text(rest[1..=end].to_owned()))
            }
            Some(b'(') => {
                self.at += 1;
                let pipeline = self.pipeline()?;
                if !self.rest().starts_with(')') {
                    return Err("unclosed left paren".to_owned());
                }
                self.at += 1;
                WordKind::Nested(pipeline)
            }
            Some(b'0'..=b'9' | b'-' | b'+') => {
                let end = rest[1..]
                    .find(|c: char| !c.is_ascii_digit())
                    .map_or(rest.len(), |end| end + 1);
                self.at += end;
                let number = rest[..end]
                    .parse()
                    .map_err(|_| format!("bad number syntax: {}", quote(&rest[..end])))?;
                WordKind::Literal(Value::Number(number))
            }
            Some(c) if c.is_ascii_alphabetic() || *c == b'_' => {
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                self.at += end;
                let name = &rest[..end];
                match name {
                    "true" => WordKind::Literal(Value::Text("true".to_owned())),
                    "false" => WordKind::Literal(Value::Text("false".to_owned())),
                    "if" | "range" | "with" | "else" | "end" | "define" | "template" | "block"
                    | "nil" => {
                        return Err(format!(
                            "{} is not supported in address templates",
                            quote(name)
                        ));
                    }
                    _ if is_function(name) => WordKind::Function(name),
                    _ => return Err(format!("function {} not defined", quote(name))),
                }
            }
            Some(b'.' | b'$') => {
                return Err("variables are not supported in address templates".to_owned());
            }
            _ => return Err(self.unexpected()),
        };
        Ok(Word {
            kind,
            at,
            source: &self.input[at..self.at],
        })
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut out = String::new();
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\\'))) => out.push(c),
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    _ => return Err("invalid syntax".to_owned()),
                },
                '\n' => break,
                c => out.push(c),
            }
        }
        Err("unterminated quoted string".to_owned())
    }
}

fn run(pipeline: &Pipeline<'_>, interfaces: &[Interface]) -> Result<Value, Failure> {
    let mut result: Option<Value> = None;
    for command in &pipeline.commands {
        let mut words = command.words.iter();
        let Some(first) = words.next() else { continue };
        let mut arguments: Vec<(Value, usize, &str)> = Vec::new();
        for word in words {
            let value = match &word.kind {
                WordKind::Literal(value) => value.clone(),
                WordKind::Nested(pipeline) => run(pipeline, interfaces)?,
                WordKind::Function(name) => call(name, &[], interfaces)
                    .map_err(|reason| failure(word.at, word.source, name, reason))?,
            };
            arguments.push((value, word.at, word.source));
        }
        if let Some(last) = result.take() {
            arguments.push((last, first.at, command.source));
        }
        let value = match &first.kind {
            WordKind::Function(name) => call_at(name, first, command, &arguments, interfaces)?,
            WordKind::Literal(value) if arguments.is_empty() => value.clone(),
            WordKind::Nested(pipeline) if arguments.is_empty() => run(pipeline, interfaces)?,
            _ => {
                return Err(Failure {
                    at: first.at,
                    source: first.source.to_owned(),
                    reason: "can't give argument to non-function".to_owned() + " " + first.source,
                });
            }
        };
        result = Some(value);
    }
    Ok(result.unwrap_or(Value::Text(String::new())))
}

fn call_at(
    name: &str,
    first: &Word<'_>,
    command: &Command<'_>,
    arguments: &[(Value, usize, &str)],
    interfaces: &[Interface],
) -> Result<Value, Failure> {
    let wanted = functions::parameters(name);
    if wanted.len() != arguments.len() {
        let reason = format!(
            "wrong number of args for {name}: want {} got {}",
            wanted.len(),
            arguments.len()
        );
        return Err(Failure {
            at: first.at,
            source: first.source.to_owned(),
            reason,
        });
    }
    for (kind, (value, at, source)) in wanted.iter().zip(arguments) {
        if !kind.fits(value) {
            let reason = format!("expected {}; found {source}", kind.name());
            return Err(Failure {
                at: *at,
                source: (*source).to_owned(),
                reason,
            });
        }
    }
    let values: Vec<Value> = arguments
        .iter()
        .map(|(value, _, _)| value.clone())
        .collect();
    call(name, &values, interfaces)
        .map_err(|reason| failure(first.at, command.source, name, reason))
}

fn failure(at: usize, source: &str, name: &str, reason: String) -> Failure {
    Failure {
        at,
        source: source.to_owned(),
        reason: format!("error calling {name}: {reason}"),
    }
}

#[cfg(test)]
mod tests;
