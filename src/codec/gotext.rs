//! Texts as Go's `encoding/json` writes them: strings, numbers, and characters inside errors.
//!
//! Holds true: `<`, `>`, `&`, U+2028 and U+2029 are escaped; bytes that are not UTF-8 become `\ufffd`,
//! and so does U+FFFD itself, which in our structures stands for such bytes.
//! Source: Go's `encoding/json` documentation (`Marshal`, `HTMLEscape`).

use std::fmt::Write;

/// The bytes that stand for themselves whatever comes next.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut c = 0;
    while c < 256 {
        plain[c] = c >= 0x20 && !matches!(c as u8, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2 | 0xef);
        c += 1;
    }
    plain
};

/// Appends a quoted JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while let Some(&c) = bytes.get(at) {
        if PLAIN[usize::from(c)] {
            at += 1;
            continue;
        }
        let (width, escape): (usize, &[u8]) = match c {
            b'"' => (1, b"\\\""),
            b'\\' => (1, b"\\\\"),
            b'\n' => (1, b"\\n"),
            b'\r' => (1, b"\\r"),
            b'\t' => (1, b"\\t"),
            b'<' => (1, b"\\u003c"),
            b'>' => (1, b"\\u003e"),
            b'&' => (1, b"\\u0026"),
            0..0x20 => (1, b""),
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa8") => (3, b"\\u2028"),
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa9") => (3, b"\\u2029"),
            0xef if bytes[at..].starts_with(b"\xef\xbf\xbd") => (3, b"\\ufffd"),
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[copied..at]);
        if escape.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(c >> 4)]);
            out.push(HEX[usize::from(c & 15)]);
        } else {
            out.extend_from_slice(escape);
        }
        at += width;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends a finite number: the shortest digits that read back the same, with an exponent below
/// 1e-6 and from 1e21 on.
pub(super) fn push_float(out: &mut Vec<u8>, magnitude: f64, shortest: &str, scientific: &str) {
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        match scientific.split_once('e') {
            Some((digits, exponent)) => {
                out.extend_from_slice(digits.as_bytes());
                out.push(b'e');
                if !exponent.starts_with('-') {
                    out.push(b'+');
                }
                out.extend_from_slice(exponent.as_bytes());
            }
            None => out.extend_from_slice(scientific.as_bytes()),
        }
    } else {
        out.extend_from_slice(shortest.as_bytes());
    }
}

/// A byte as Go's syntax errors quote it: `'x'`, `'\''`, `'"'`, `'\x01'`, `'ÿ'`.
pub(crate) fn quote_byte(c: u8) -> String {
    let mut out = String::from("'");
    match c {
        b'\'' => out.push_str("\\'"),
        b'\\' => out.push_str("\\\\"),
        0x07 => out.push_str("\\a"),
        0x08 => out.push_str("\\b"),
        0x09 => out.push_str("\\t"),
        0x0a => out.push_str("\\n"),
        0x0b => out.push_str("\\v"),
        0x0c => out.push_str("\\f"),
        0x0d => out.push_str("\\r"),
        0..0x20 | 0x7f => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{c:02x}");
        }
        0x80..=0xa0 | 0xad => {
            let _ = write!(out, "\\u{c:04x}");
        }
        _ => out.push(char::from(c)),
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).unwrap_or_default()
    }

    fn float(v: f64) -> String {
        let mut out = Vec::new();
        push_float(&mut out, v.abs(), &v.to_string(), &format!("{v:e}"));
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn strings_are_escaped_for_html() {
        assert_eq!(
            string("a<b>&\"\\\n\r\t"),
            r#""a\u003cb\u003e\u0026\"\\\n\r\t""#
        );
        assert_eq!(
            string("\u{1}\u{1f}\u{8}\u{7f}"),
            "\"\\u0001\\u001f\\u0008\u{7f}\""
        );
        assert_eq!(
            string("\u{2028}\u{2029}\u{fffd}é€"),
            "\"\\u2028\\u2029\\ufffdé€\""
        );
    }

    #[test]
    fn floats_switch_to_exponents_where_go_does() {
        for (v, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.000001, "0.000001"),
            (0.000000999, "9.99e-7"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e-9, "-1.25e-9"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(float(v), text);
        }
    }

    #[test]
    fn bytes_in_errors_are_quoted_like_runes() {
        for (c, text) in [
            (b'x', "'x'"),
            (b'\'', "'\\''"),
            (b'"', "'\"'"),
            (b'\\', "'\\\\'"),
            (1, "'\\x01'"),
            (b'\n', "'\\n'"),
            (0xff, "'ÿ'"),
            (0x85, "'\\u0085'"),
        ] {
            assert_eq!(quote_byte(c), text);
        }
    }
}
