//! Go's value types as Consul's structures use them: durations, times, byte slices, free-form values.
//!
//! Holds true: each type serialises to what Go writes, in JSON (human readable) and in msgpack alike.
//! The codec itself is in `codec`.
//! Source: Go's `time` and `encoding/json` documentation; `docs/reference/rpc.md` section 5.

use std::collections::BTreeMap;
use std::fmt;

use crate::codec::{Deserialize, Deserializer, Error, Origin, Serialize, Serializer, Value};

/// A list that keeps Go's difference between nil (`None`) and empty (`Some(vec![])`).
pub type List<T> = Option<Vec<T>>;
/// A map that keeps Go's difference between nil and empty; sorted, as Go prints maps.
pub type Map<V> = Option<BTreeMap<String, V>>;

/// `#[serde(serialize_with)]`: a duration that JSON shows as Go's text (`1m30s`), msgpack as nanoseconds.
///
/// # Errors
/// None.
pub fn duration_string(value: &GoDuration, to: &mut Serializer) -> Result<(), Error> {
    if to.json() {
        to.display(value)
    } else {
        to.signed(value.0)
    }
}

/// `#[serde(serialize_with)]`: as [`duration_string`], left out of JSON when zero.
///
/// # Errors
/// None.
pub fn duration_string_omitempty(value: &GoDuration, to: &mut Serializer) -> Result<(), Error> {
    if to.json() && value.0 == 0 {
        return to.skip_field();
    }
    duration_string(value, to)
}

/// Go's `time.Duration`: signed nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub i64);

impl GoDuration {
    /// `n` whole seconds.
    pub const fn from_secs(n: i64) -> Self {
        Self(n * 1_000_000_000)
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: i64) -> Self {
        Self(n * 1_000_000)
    }

    /// As a `std` duration; negative values become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.max(0) as u64)
    }

    /// Parses Go's duration syntax (`1h15m30.918s`, `-1.5h`, `0`).
    ///
    /// # Errors
    /// Go's own words: `time: invalid duration "abc"`, `time: missing unit in duration "15"`,
    /// `time: unknown unit "d" in duration "3d"`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("time: invalid duration {}", quote(text));
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (amount, after) = leading_amount(rest).ok_or_else(invalid)?;
            let unit_len = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            if unit_len == 0 {
                return Err(format!("time: missing unit in duration {}", quote(text)));
            }
            let (unit, next) = after.split_at(unit_len);
            let scale: i128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => {
                    return Err(format!(
                        "time: unknown unit {} in duration {}",
                        quote(unit),
                        quote(text)
                    ));
                }
            };
            total += amount.whole * scale + amount.fraction * scale / amount.scale;
            if total > i64::MAX as i128 {
                return Err(invalid());
            }
            rest = next;
        }
        let total = total as i64;
        Ok(Self(if negative { -total } else { total }))
    }
}

/// A decimal amount: `whole + fraction / scale`.
struct Amount {
    whole: i128,
    fraction: i128,
    scale: i128,
}

fn leading_amount(text: &str) -> Option<(Amount, &str)> {
    let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let n = digits(text);
    // 20 digits overflow any duration; Go stops there with the same error.
    if n > 19 {
        return None;
    }
    let whole = text[..n].parse().unwrap_or(0);
    let mut rest = &text[n..];
    let (mut fraction, mut scale, mut fraction_digits) = (0i128, 1i128, 0);
    if let Some(after) = rest.strip_prefix('.') {
        fraction_digits = digits(after);
        for d in after[..fraction_digits].bytes().take(18) {
            fraction = fraction * 10 + i128::from(d - b'0');
            scale *= 10;
        }
        rest = &after[fraction_digits..];
    }
    (n + fraction_digits > 0).then_some((
        Amount {
            whole,
            fraction,
            scale,
        },
        rest,
    ))
}

/// A new UUID as Consul makes them: 16 random bytes in the usual dashed form, without version bits.
///
/// The bytes come from the operating system; should it refuse, from a generator seeded by it.
pub fn new_uuid() -> String {
    let mut bytes = [0u8; 16];
    if getrandom::fill(&mut bytes).is_err() {
        fastrand::fill(&mut bytes);
    }
    format_uuid(&bytes)
}

/// The dashed form of 16 bytes.
pub fn format_uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// Go's rules for a UUID in text.
///
/// # Errors
/// What is wrong, in Go's words.
pub fn check_uuid(text: &str) -> Result<(), &'static str> {
    if text.len() != 36 {
        return Err("uuid string is wrong length");
    }
    let well_formed = text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    match well_formed {
        true => Ok(()),
        false => Err("uuid is improperly formatted"),
    }
}

/// Go's `%q` for the texts that appear in errors.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl From<std::time::Duration> for GoDuration {
    fn from(d: std::time::Duration) -> Self {
        Self(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Go's `Duration.String`: `1h0m0s`, `1.5s`, `20.646943ms`, `0s`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.unsigned_abs();
        if total == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let decimal = |value: u64, unit: u64| {
            let (whole, part) = (value / unit, value % unit);
            let mut text = whole.to_string();
            if part > 0 {
                let width = unit.ilog10() as usize;
                text.push('.');
                text.push_str(format!("{part:0width$}").trim_end_matches('0'));
            }
            text
        };
        match total {
            0..1_000 => write!(f, "{total}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(total, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(total, 1_000_000)),
            _ => {
                let minutes = total / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(total % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

impl Serialize for GoDuration {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.signed(self.0)
    }
}

impl Deserialize for GoDuration {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        self.0 = match from.value() {
            // Go's interface{} holds every JSON number as a float64.
            Value::Int(n) if from.origin() == Origin::Json => *n as f64 as i64,
            Value::Int(n) => *n,
            Value::Uint(n) if from.origin() == Origin::Json => *n as f64 as i64,
            Value::Uint(n) => {
                i64::try_from(*n).map_err(|_| Error::Custom("duration out of range".to_owned()))?
            }
            Value::F32(n) => *n as i64,
            Value::F64(n) => *n as i64,
            Value::Str(_) => {
                let text = from.text("GoDuration")?;
                GoDuration::parse(&text).map_err(Error::Custom)?.0
            }
            // Consul ignores durations of other types than text and number.
            Value::Nil | Value::Bool(_) | Value::Array(_) | Value::Map(_) => 0,
        };
        Ok(())
    }
}

/// Go's `[]byte`: base64 in JSON (`null` when empty), raw in msgpack.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(v: Vec<u8>) -> Self {
        Self(v)
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        to.bytes(&self.0)
    }
}

impl Deserialize for Bytes {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        self.0 = from.raw()?.into_owned();
        Ok(())
    }
}

/// Go's `time.Time` in UTC: seconds since the first of January of the year 1, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoTime {
    /// Seconds since 0001-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

/// Seconds from Go's zero time to the Unix epoch.
const UNIX_EPOCH: i64 = 62_135_596_800;

impl GoTime {
    /// From seconds and nanoseconds since the Unix epoch.
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self {
            seconds: seconds + UNIX_EPOCH,
            nanos,
        }
    }

    /// From the system's clock reading.
    pub fn from_system(t: std::time::SystemTime) -> Self {
        match t.duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => Self::from_unix(d.as_secs() as i64, d.subsec_nanos()),
            Err(_) => Self::from_unix(0, 0),
        }
    }

    /// Seconds since the Unix epoch.
    pub fn unix(self) -> i64 {
        self.seconds - UNIX_EPOCH
    }

    /// Go's `IsZero`.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// `(year, month, day, hour, minute, second)` in UTC, by the civil-from-days algorithm on
    /// the proleptic Gregorian calendar.
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32) {
        let (days, second) = (
            self.seconds.div_euclid(86_400),
            self.seconds.rem_euclid(86_400),
        );
        // Days are counted from 0000-03-01 so that the leap day is a year's last one.
        let z = days + 306;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
        let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
        let year = yoe + era * 400 + i64::from(month <= 2);
        let second = second as u32;
        (
            year,
            month,
            day,
            second / 3600,
            second / 60 % 60,
            second % 60,
        )
    }
}

/// RFC 3339 with nanoseconds, trailing zeros dropped.
impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d, h, mi, s) = self.civil();
        write!(f, "{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}")?;
        if self.nanos > 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl std::str::FromStr for GoTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_rfc3339(text).ok_or_else(|| {
            format!(
                "parsing time {0} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0}",
                quote(text)
            )
        })
    }
}

fn parse_rfc3339(text: &str) -> Option<GoTime> {
    let field = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let sign = |at: usize, c: u8| (text.as_bytes().get(at) == Some(&c)).then_some(());
    let (y, mo, d) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (h, mi, s) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    sign(4, b'-')
        .and(sign(7, b'-'))
        .and(sign(10, b'T'))
        .and(sign(13, b':'))
        .and(sign(16, b':'))?;
    if !(1..=12).contains(&mo) || !(1..=31).contains(&d) || h > 23 || mi > 59 || s > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(after) = rest.strip_prefix('.') {
        let n = after.bytes().take_while(u8::is_ascii_digit).count();
        let digits: String = after[..n].chars().take(9).collect();
        nanos = format!("{digits:0<9}").parse().ok()?;
        rest = &after[n..];
    }
    let offset = match rest.as_bytes() {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let hours: i64 = rest.get(1..3)?.parse().ok()?;
            let minutes: i64 = rest.get(4..6)?.parse().ok()?;
            let total = hours * 3600 + minutes * 60;
            if *sign == b'-' { -total } else { total }
        }
        _ => return None,
    };
    let (yy, mm) = if mo <= 2 {
        (y - 1, mo + 9)
    } else {
        (y, mo - 3)
    };
    let era = yy.div_euclid(400);
    let yoe = yy.rem_euclid(400);
    let doy = (153 * mm + 2) / 5 + d - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 306;
    Some(GoTime {
        seconds: days * 86_400 + h * 3600 + mi * 60 + s - offset,
        nanos,
    })
}

impl Serialize for GoTime {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        if to.json() {
            return to.display(self);
        }
        let mut raw = [0u8; 15];
        raw[0] = 1;
        raw[1..9].copy_from_slice(&self.seconds.to_be_bytes());
        raw[9..13].copy_from_slice(&self.nanos.to_be_bytes());
        raw[13..15].copy_from_slice(&(-1i16).to_be_bytes());
        to.bytes(&raw)
    }
}

impl Deserialize for GoTime {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        *self = match from.value() {
            Value::Str(raw) if raw.len() == 15 && raw[0] == 1 => GoTime::from_raw(raw)?,
            Value::Str(raw) if std::str::from_utf8(raw).is_err() => GoTime::from_raw(raw)?,
            Value::Nil => GoTime::default(),
            _ => from.text("GoTime")?.parse().map_err(Error::Custom)?,
        };
        Ok(())
    }
}

impl GoTime {
    /// Go's `UnmarshalBinary`.
    fn from_raw(raw: &[u8]) -> Result<Self, Error> {
        match raw {
            [1, rest @ ..] if rest.len() == 14 => {
                let mut seconds = [0; 8];
                seconds.copy_from_slice(&rest[..8]);
                let mut nanos = [0; 4];
                nanos.copy_from_slice(&rest[8..12]);
                Ok(GoTime {
                    seconds: i64::from_be_bytes(seconds),
                    nanos: u32::from_be_bytes(nanos).min(999_999_999),
                })
            }
            _ => Err(Error::Custom(
                "Time.UnmarshalBinary: invalid length".to_owned(),
            )),
        }
    }
}

/// A free-form value (proxy config, CA config): Go's `interface{}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Any {
    /// nil
    #[default]
    Nil,
    /// bool
    Bool(bool),
    /// a negative or positive integer (msgpack only: JSON numbers arrive as floats)
    Int(i64),
    /// an integer above `i64::MAX`
    Uint(u64),
    /// any number that came from JSON
    Float(f64),
    /// text, or bytes that are text
    String(String),
    /// bytes that are not UTF-8
    Bytes(Vec<u8>),
    /// list
    Array(Vec<Any>),
    /// map with text keys, sorted
    Map(BTreeMap<String, Any>),
}

impl Serialize for Any {
    fn serialize(&self, to: &mut Serializer) -> Result<(), Error> {
        match self {
            Any::Nil => to.nil(),
            Any::Bool(v) => to.boolean(*v),
            Any::Int(v) => to.signed(*v),
            Any::Uint(v) => to.unsigned(*v),
            Any::Float(v) => to.double(*v),
            Any::String(v) => to.text(v),
            Any::Bytes(v) => to.bytes(v),
            Any::Array(v) => v.serialize(to),
            Any::Map(v) => v.serialize(to),
        }
    }
}

impl Deserialize for Any {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), Error> {
        // Go's interface{} holds every JSON number as a float64.
        let json = from.origin() == Origin::Json;
        *self = match from.value() {
            Value::Nil => Any::Nil,
            Value::Bool(v) => Any::Bool(*v),
            Value::Int(v) if json => Any::Float(*v as f64),
            Value::Int(v) => Any::Int(*v),
            Value::Uint(v) if json => Any::Float(*v as f64),
            Value::Uint(v) => i64::try_from(*v).map_or(Any::Uint(*v), Any::Int),
            Value::F32(v) => Any::Float(f64::from(*v)),
            Value::F64(v) => Any::Float(*v),
            Value::Str(v) => match std::str::from_utf8(v) {
                Ok(text) => Any::String(text.to_owned()),
                Err(_) => Any::Bytes(v.to_vec()),
            },
            Value::Array(_) => {
                let mut items = Vec::new();
                items.deserialize(from)?;
                Any::Array(items)
            }
            Value::Map(_) => {
                let mut entries = BTreeMap::new();
                entries.deserialize(from)?;
                Any::Map(entries)
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_told_from_other_texts() {
        assert_eq!(check_uuid("11111111-2222-3333-4444-555555555555"), Ok(()));
        assert_eq!(check_uuid("abc"), Err("uuid string is wrong length"));
        assert_eq!(
            check_uuid("1111111122223333-4444-5555-555555555"),
            Err("uuid is improperly formatted")
        );
    }

    #[test]
    fn durations_read_and_print_as_go_does() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("1h", 3_600_000_000_000, "1h0m0s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("-1.5h", -5_400_000_000_000, "-1h30m0s"),
            ("20.646943ms", 20_646_943, "20.646943ms"),
            ("744037ns", 744_037, "744.037µs"),
            ("72h", 259_200_000_000_000, "72h0m0s"),
        ] {
            assert_eq!(GoDuration::parse(text), Ok(GoDuration(nanos)), "{text}");
            assert_eq!(GoDuration(nanos).to_string(), printed);
        }
        for (text, error) in [
            ("15", "time: missing unit in duration \"15\""),
            ("abc", "time: invalid duration \"abc\""),
            ("", "time: invalid duration \"\""),
            ("3d", "time: unknown unit \"d\" in duration \"3d\""),
            (".s", "time: invalid duration \".s\""),
        ] {
            assert_eq!(GoDuration::parse(text), Err(error.to_owned()));
        }
    }

    #[test]
    fn times_read_and_print_rfc3339() {
        assert_eq!(GoTime::default().to_string(), "0001-01-01T00:00:00Z");
        for text in [
            "2026-11-22T08:42:58.400901656Z",
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59.5Z",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(
                text.parse::<GoTime>().map(|t| t.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(GoTime::from_unix(0, 0).to_string(), "1970-01-01T00:00:00Z");
        let shifted = "2026-11-22T10:00:00+02:00"
            .parse::<GoTime>()
            .map(|t| t.to_string());
        assert_eq!(shifted, Ok("2026-11-22T08:00:00Z".to_owned()));
        assert!("2026-13-22T10:00:00Z".parse::<GoTime>().is_err());
    }
}
