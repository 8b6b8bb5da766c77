//! Command-line flags as Go's `flag` package reads them, and the two texts made from them: Go's flag list (printed
//! when a flag is wrong) and Consul's help sections (printed for `-h`).
//!
//! A command declares its flags once in a [`FlagSet`]; [`FlagSet::parse`] checks every value and keeps them in the order
//! given. `-x` and `--x` are the same; a value follows after `=` or as the next word; switches take a value only
//! after `=`; reading stops at the first word that is no flag, or after `--`.
//! The crate `lexopt` is not used: it knows `-abc` only as three short options, and Go's `-abc` is one name.
//! What a flag means, and what is printed where, is left to the command.
//! Source: documentation of Go's package `flag`; texts observed on Consul 1.8.7.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::sorted;
use crate::structs::go::{GoDuration, quote};

/// Consul's help texts are at most this many columns wide.
const HELP_COLUMNS: usize = 72;
/// Flag help is indented by this many columns.
const HELP_INDENT: usize = 5;

/// What kind of value a flag takes. The kinds in `..Value` are Consul's own: like the plain ones but shown as `value`,
/// without a default, and with other error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Go's switch.
    Bool,
    /// Consul's switch.
    BoolValue,
    /// Go's text.
    String,
    /// Consul's text, also the kind of durations and addresses that are checked later.
    Value,
    /// Go's signed number: decimal, `0x`, `0o`, `0b`.
    Int,
    /// Consul's signed number: decimal only.
    IntValue,
    /// Consul's unsigned number.
    UintValue,
    /// Go's unsigned number.
    Uint,
    /// Go's duration.
    Duration,
    /// Consul's duration, checked at once.
    DurationValue,
    /// Text that may be given several times and adds up.
    List,
    /// `key:value` that may be given several times.
    Map,
    /// `key=value` that may be given several times.
    Pairs,
}

impl Kind {
    fn is_switch(self) -> bool {
        matches!(self, Kind::Bool | Kind::BoolValue)
    }

    /// The word that stands for the value in help texts.
    fn value_name(self) -> &'static str {
        match self {
            Kind::Bool | Kind::BoolValue => "",
            Kind::String => "string",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Duration => "duration",
            Kind::Value
            | Kind::IntValue
            | Kind::UintValue
            | Kind::DurationValue
            | Kind::List
            | Kind::Map
            | Kind::Pairs => "value",
        }
    }
}

/// The help section a flag is listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `HTTP API Options`.
    Api,
    /// `Command Options`.
    Command,
}

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name without dashes.
    pub name: &'static str,
    /// Kind of value.
    pub kind: Kind,
    /// Default as it would be typed; empty for the zero value of the kind.
    pub default: &'static str,
    /// Help in one line; a name between backquotes names the value.
    pub help: &'static str,
    /// Help section.
    pub group: Group,
}

/// Why a command line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagError {
    /// `-h`, `-help` or `--help` was given: print the help and leave with success.
    Help,
    /// A wrong flag, in Go's words: print this text, then [`FlagSet::go_usage`], on the error output.
    Wrong(String),
}

impl std::fmt::Display for FlagError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FlagError::Help => f.write_str("flag: help requested"),
            FlagError::Wrong(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for FlagError {}

/// The flags a command knows.
#[derive(Clone, Debug, Default)]
pub struct FlagSet {
    flags: Vec<Flag>,
}

impl FlagSet {
    /// A set without flags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one flag.
    #[must_use]
    pub fn flag(mut self, flag: Flag) -> Self {
        self.flags.push(flag);
        self
    }

    /// Adds a flag of the section `Command Options` with the zero value as default.
    #[must_use]
    pub fn command(self, name: &'static str, kind: Kind, help: &'static str) -> Self {
        self.command_default(name, kind, "", help)
    }

    /// Adds a flag of the section `Command Options`.
    #[must_use]
    pub fn command_default(
        self,
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        self.flag(Flag {
            name,
            kind,
            default,
            help,
            group: Group::Command,
        })
    }

    /// Adds a flag of the section `HTTP API Options`.
    #[must_use]
    pub fn api(self, name: &'static str, kind: Kind, help: &'static str) -> Self {
        self.flag(Flag {
            name,
            kind,
            default: "",
            help,
            group: Group::Api,
        })
    }

    /// Adds many flags.
    #[must_use]
    pub fn all(mut self, flags: &[Flag]) -> Self {
        self.flags.extend_from_slice(flags);
        self
    }

    /// The flags, in the order they were added.
    pub fn flags(&self) -> &[Flag] {
        &self.flags
    }

    /// Reads a command line (without the command's own name).
    ///
    /// # Errors
    /// Go's text for the first wrong flag, or [`FlagError::Help`].
    pub fn parse<I>(&self, args: I) -> Result<Parsed, FlagError>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut values = Vec::new();
        let mut next = 0;
        while let Some(arg) = args.get(next) {
            let arg = arg.to_string_lossy();
            if arg.len() < 2 || !arg.starts_with('-') {
                break;
            }
            next += 1;
            if arg == "--" {
                break;
            }
            let body = arg.strip_prefix("--").unwrap_or(&arg[1..]);
            if body.is_empty() || body.starts_with('-') || body.starts_with('=') {
                return Err(FlagError::Wrong(format!("bad flag syntax: {arg}")));
            }
            let (name, given) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            let Some(flag) = self.flags.iter().find(|flag| flag.name == name) else {
                if name == "h" || name == "help" {
                    return Err(FlagError::Help);
                }
                return Err(FlagError::Wrong(format!(
                    "flag provided but not defined: -{name}"
                )));
            };
            let value = match given {
                Some(value) => value,
                None if flag.kind.is_switch() => "true".to_owned(),
                None => {
                    let missing = || FlagError::Wrong(format!("flag needs an argument: -{name}"));
                    let value = args
                        .get(next)
                        .ok_or_else(missing)?
                        .to_string_lossy()
                        .into_owned();
                    next += 1;
                    value
                }
            };
            check(flag, &value).map_err(FlagError::Wrong)?;
            values.push((flag.name, value));
        }
        let rest = args.into_iter().skip(next).collect();
        Ok(Parsed {
            flags: self.clone(),
            values,
            rest,
        })
    }

    /// Go's flag list: `Usage:` and every flag in the order of names. Printed after a [`FlagError::Wrong`].
    pub fn go_usage(&self) -> String {
        let mut out = String::from("Usage:\n");
        for flag in self.sorted(|_| true) {
            let (name, help) = unquote(flag);
            let _ = write!(out, "  -{}", flag.name);
            if !name.is_empty() {
                let _ = write!(out, " {name}");
            }
            // Go puts the help of a switch of one letter on the same line.
            out.push_str(if flag.name.len() == 1 && name.is_empty() {
                "\t"
            } else {
                "\n    \t"
            });
            out.push_str(&help.replace('\n', "\n    \t"));
            match flag.kind {
                _ if is_zero(flag) => {}
                Kind::String => {
                    let _ = write!(out, " (default {})", quote(flag.default));
                }
                _ => {
                    let _ = write!(out, " (default {})", flag.default);
                }
            }
            out.push('\n');
        }
        out
    }

    /// Consul's help sections, to be printed after the command's own text: `HTTP API Options` and `Command Options`,
    /// each only if it has flags.
    pub fn help(&self) -> String {
        let mut out = String::new();
        for (group, title) in [
            (Group::Api, "HTTP API Options"),
            (Group::Command, "Command Options"),
        ] {
            let flags = self.sorted(|flag| flag.group == group);
            if flags.is_empty() {
                continue;
            }
            let _ = write!(out, "\n\n{title}");
            for flag in flags {
                let (name, _) = unquote(flag);
                let _ = write!(out, "\n\n  -{}", flag.name);
                if !name.is_empty() {
                    let _ = write!(out, "=<{name}>");
                }
                for line in wrap(flag.help, HELP_COLUMNS - HELP_INDENT) {
                    let _ = write!(out, "\n{:HELP_INDENT$}{line}", "");
                }
            }
        }
        out.trim_start_matches('\n').to_owned()
    }

    fn sorted(&self, keep: impl Fn(&Flag) -> bool) -> Vec<&Flag> {
        let mut flags: Vec<&Flag> = self.flags.iter().filter(|flag| keep(flag)).collect();
        sorted::sort_by_key(&mut flags, |flag| flag.name);
        flags
    }
}

/// A command line that was read and checked.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    flags: FlagSet,
    values: Vec<(&'static str, String)>,
    rest: Vec<OsString>,
}

impl Parsed {
    /// Every flag given, in order, with its value.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// Was the flag given at all?
    pub fn is_set(&self, name: &str) -> bool {
        self.values.iter().any(|(given, _)| *given == name)
    }

    /// The last value given, if any.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value given, or the default.
    pub fn string(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| self.default_of(name))
    }

    /// The value of a switch.
    pub fn bool(&self, name: &str) -> bool {
        parse_bool(self.string(name)).unwrap_or(false)
    }

    /// The value of a switch, if it was given.
    pub fn opt_bool(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(parse_bool)
    }

    /// The value of a signed number.
    pub fn int(&self, name: &str) -> i64 {
        parse_int(self.string(name)).unwrap_or(0)
    }

    /// The value of an unsigned number.
    pub fn uint(&self, name: &str) -> u64 {
        parse_uint(self.string(name)).unwrap_or(0)
    }

    /// The value of a duration.
    pub fn duration(&self, name: &str) -> GoDuration {
        GoDuration::parse(self.string(name)).unwrap_or_default()
    }

    /// Every value of a flag that may be repeated.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.given()
            .filter(|(given, _)| *given == name)
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    /// Every pair of a flag of kind [`Kind::Map`], split at the first colon; later values of a key replace earlier ones.
    pub fn map(&self, name: &str) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (_, pair) in self.given().filter(|(given, _)| *given == name) {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            match pairs.iter_mut().find(|(known, _)| known == key) {
                Some(known) => known.1 = value.to_owned(),
                None => pairs.push((key.to_owned(), value.to_owned())),
            }
        }
        pairs
    }

    /// The words after the flags, as text (bytes that are not UTF-8 are replaced).
    pub fn args(&self) -> Vec<String> {
        self.rest
            .iter()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect()
    }

    /// The words after the flags, unchanged.
    pub fn raw_args(&self) -> &[OsString] {
        &self.rest
    }

    fn default_of(&self, name: &str) -> &'static str {
        self.flags
            .flags
            .iter()
            .find(|flag| flag.name == name)
            .map_or("", |flag| flag.default)
    }
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why a number could not be read, in the two kinds Go tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NumberError {
    Syntax,
    Range,
}

/// Splits a Go number into its base and digits: `0x`, `0o`, `0b` and a plain leading `0` (octal) are known, and
/// underscores may stand between digits.
fn radix(text: &str) -> (u32, String) {
    let lower = text.to_ascii_lowercase();
    for (prefix, base) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            return (base, digits.replace('_', ""));
        }
    }
    match lower.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => (8, digits.replace('_', "")),
        _ => (
            10,
            if lower.starts_with('_') {
                lower
            } else {
                lower.replace('_', "")
            },
        ),
    }
}

fn parse_uint(text: &str) -> Result<u64, NumberError> {
    let (base, digits) = radix(text);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(&digits, base).map_err(|_| NumberError::Range)
}

fn parse_int(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = i128::from(parse_uint(digits)?);
    i64::try_from(if negative { -value } else { value }).map_err(|_| NumberError::Range)
}

/// Decimal only, as `strconv.Atoi`.
fn parse_decimal(text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    text.parse().map_err(|_| NumberError::Range)
}

/// Checks a value against the kind of its flag; the error is Go's whole sentence.
fn check(flag: &Flag, value: &str) -> Result<(), String> {
    let go = |error: NumberError| match error {
        NumberError::Syntax => "parse error".to_owned(),
        NumberError::Range => "value out of range".to_owned(),
    };
    let strconv = |function: &str, error: NumberError| {
        let reason = match error {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        };
        format!("strconv.{function}: parsing {}: {reason}", quote(value))
    };
    let result = match flag.kind {
        Kind::Bool => parse_bool(value)
            .map(drop)
            .ok_or_else(|| go(NumberError::Syntax)),
        Kind::BoolValue => parse_bool(value)
            .map(drop)
            .ok_or_else(|| strconv("ParseBool", NumberError::Syntax)),
        Kind::Int => parse_int(value).map(drop).map_err(go),
        Kind::IntValue => parse_decimal(value)
            .map(drop)
            .map_err(|error| strconv("Atoi", error)),
        Kind::Uint => parse_uint(value).map(drop).map_err(go),
        Kind::UintValue => parse_uint(value)
            .map(drop)
            .map_err(|error| strconv("ParseUint", error)),
        Kind::Duration => GoDuration::parse(value)
            .map(drop)
            .map_err(|_| go(NumberError::Syntax)),
        Kind::DurationValue => GoDuration::parse(value).map(drop),
        Kind::String | Kind::Value | Kind::List | Kind::Map => Ok(()),
        Kind::Pairs if value.contains('=') => Ok(()),
        Kind::Pairs => Err(format!("Missing \"=\" value in argument: {value}")),
    };
    result.map_err(|error| match flag.kind {
        Kind::Bool | Kind::BoolValue => format!(
            "invalid boolean value {value:?} for -{}: {error}",
            flag.name
        ),
        _ => format!(
            "invalid value {} for flag -{}: {error}",
            quote(value),
            flag.name
        ),
    })
}

/// Is the default the zero value of its kind (and so not worth a word)?
fn is_zero(flag: &Flag) -> bool {
    match flag.kind {
        Kind::Bool | Kind::BoolValue => flag.default.is_empty() || flag.default == "false",
        Kind::Int | Kind::Uint => flag.default.is_empty() || flag.default == "0",
        Kind::Duration => {
            flag.default.is_empty() || GoDuration::parse(flag.default) == Ok(GoDuration(0))
        }
        Kind::String => flag.default.is_empty(),
        _ => true,
    }
}

/// The name of the value, and the help without the backquotes around it.
fn unquote(flag: &Flag) -> (&'static str, String) {
    let mut parts = flag.help.splitn(3, '`');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(name), Some(after)) => (name, format!("{before}{name}{after}")),
        _ => (flag.kind.value_name(), flag.help.to_owned()),
    }
}

/// Breaks a text into lines of at most `limit` columns so that the squares of the space left over at line ends, the last
/// line aside, add up to the least: Consul's help is not filled line by line but evened out.
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let count = words.len();
    let lengths: Vec<usize> = words.iter().map(|word| word.chars().count()).collect();
    let mut cost = vec![usize::MAX; count + 1];
    let mut line_end = vec![count; count + 1];
    if let Some(last) = cost.last_mut() {
        *last = 0;
    }
    for start in (0..count).rev() {
        let mut width = 0;
        for end in start + 1..=count {
            width += lengths[end - 1] + usize::from(end > start + 1);
            if width > limit && end > start + 1 {
                break;
            }
            let slack = limit.saturating_sub(width);
            let total = if end == count {
                0
            } else {
                (slack * slack).saturating_add(cost[end])
            };
            if total < cost[start] {
                cost[start] = total;
                line_end[start] = end;
            }
        }
    }
    let mut lines = Vec::new();
    let mut start = 0;
    while start < count {
        lines.push(words[start..line_end[start]].join(" "));
        start = line_end[start];
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> FlagSet {
        FlagSet::new()
            .command("b", Kind::Bool, "A switch.")
            .command_default("n", Kind::Int, "1", "A number.")
            .command_default("sep", Kind::String, "/", "A text.")
            .command("wait", Kind::Duration, "A time.")
            .command("meta", Kind::Map, "Pairs of `key:value`.")
            .api("server", Kind::BoolValue, "Another switch.")
            .api("http-port", Kind::IntValue, "A port.")
    }

    #[test]
    fn reads_go_syntax() {
        let parsed = set()
            .parse([
                "-b",
                "--n=0x10",
                "-sep",
                "-",
                "-meta",
                "a:b:c",
                "-meta=d",
                "-server=0",
                "x",
                "-n=2",
            ])
            .expect("valid line");
        assert!(parsed.bool("b"));
        assert_eq!(parsed.int("n"), 16);
        assert_eq!(parsed.string("sep"), "-");
        assert_eq!(
            parsed.map("meta"),
            [("a".into(), "b:c".into()), ("d".into(), String::new())]
        );
        assert_eq!(parsed.opt_bool("server"), Some(false));
        assert_eq!(parsed.args(), ["x", "-n=2"]);
        assert_eq!(
            set().parse(["--", "-b"]).expect("valid line").args(),
            ["-b"]
        );
        assert_eq!(
            set().parse(["-", "-b"]).expect("valid line").args(),
            ["-", "-b"]
        );
        assert_eq!(
            set()
                .parse::<[&str; 0]>([])
                .expect("valid line")
                .string("sep"),
            "/"
        );
    }

    #[test]
    fn refuses_with_go_texts() {
        for (arg, text) in [
            ("-bogus", "flag provided but not defined: -bogus"),
            ("--bogus=1", "flag provided but not defined: -bogus"),
            ("---b", "bad flag syntax: ---b"),
            ("-=x", "bad flag syntax: -=x"),
            ("-n", "flag needs an argument: -n"),
            ("-n=abc", "invalid value \"abc\" for flag -n: parse error"),
            (
                "-n=99999999999999999999",
                "invalid value \"99999999999999999999\" for flag -n: value out of range",
            ),
            (
                "-wait=10",
                "invalid value \"10\" for flag -wait: parse error",
            ),
            (
                "-b=maybe",
                "invalid boolean value \"maybe\" for -b: parse error",
            ),
            (
                "-server=maybe",
                "invalid boolean value \"maybe\" for -server: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "-http-port=abc",
                "invalid value \"abc\" for flag -http-port: strconv.Atoi: parsing \"abc\": invalid syntax",
            ),
        ] {
            assert_eq!(
                set().parse([arg]).map(drop),
                Err(FlagError::Wrong(text.to_owned())),
                "{arg}"
            );
        }
        assert_eq!(
            set().parse(["-n=1", "-help"]).map(drop),
            Err(FlagError::Help)
        );
    }

    #[test]
    fn prints_both_usages() {
        let go = set().go_usage();
        assert!(
            go.starts_with(
                "Usage:\n  -b\tA switch.\n  -http-port value\n    \tA port.\n  -meta key:value\n"
            ),
            "{go}"
        );
        assert!(
            go.contains("  -n int\n    \tA number. (default 1)\n"),
            "{go}"
        );
        assert!(
            go.contains("  -sep string\n    \tA text. (default \"/\")\n"),
            "{go}"
        );
        let help = set().help();
        assert!(
            help.starts_with(
                "HTTP API Options\n\n  -http-port=<value>\n     A port.\n\n  -server\n"
            ),
            "{help}"
        );
        assert!(
            help.contains("\n\nCommand Options\n\n  -b\n     A switch.\n"),
            "{help}"
        );
        assert!(
            help.contains("  -meta=<key:value>\n     Pairs of `key:value`."),
            "{help}"
        );
    }

    #[test]
    fn wraps_evenly() {
        let text = "The server name to use as the SNI host when connecting via TLS. This can also be specified via the \
                    CONSUL_TLS_SERVER_NAME environment variable.";
        assert_eq!(
            wrap(text, 67),
            [
                "The server name to use as the SNI host when connecting via",
                "TLS. This can also be specified via the CONSUL_TLS_SERVER_NAME",
                "environment variable.",
            ]
        );
    }
}
