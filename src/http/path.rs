//! Paths as Go's multiplexer treats them: percent decoding, cleaning, redirects.
//!
//! Holds true: a path is decoded once and as a whole before anything looks at it, so `%2F` is `/`.
//! Source: `docs/reference/http-1.md` section 1.1, RFC 3986; redirect bodies as a running Consul 1.8.7
//! sends them.

use std::borrow::Cow;

/// Decodes percent escapes; `None` when one is malformed. Bytes that are not UTF-8 become U+FFFD.
pub fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.as_bytes().contains(&b'%') {
        return Some(Cow::Borrowed(raw));
    }
    let bytes = unescape(raw.as_bytes(), false)?;
    Some(Cow::Owned(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }))
}

/// Resolves `%xx`, and `+` as a blank where `plus` says so; `None` when an escape is malformed.
pub fn unescape(raw: &[u8], plus: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&c, after)) = rest.split_first() {
        rest = after;
        match c {
            b'%' => {
                let (high, low) = (rest.first()?, rest.get(1)?);
                out.push(hex(*high)? << 4 | hex(*low)?);
                rest = rest.get(2..)?;
            }
            b'+' if plus => out.push(b' '),
            c => out.push(c),
        }
    }
    Some(out)
}

fn hex(c: u8) -> Option<u8> {
    char::from(c)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Whether every character may appear in a path: letters, marks, numbers, punctuation, symbols and
/// the plain blank.
pub fn is_printable(path: &str) -> bool {
    if path.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return true;
    }
    !path.chars().any(|c| {
        c.is_control()
            || (c.is_whitespace() && c != ' ')
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e000}'..='\u{f8ff}')
    })
}

/// Whether a path begins with a slash and has no empty part before its end, and no `.` or `..`.
fn is_clean(path: &[u8]) -> bool {
    let mut parts = path.split(|b| *b == b'/');
    if parts.next() != Some(b"") {
        return false;
    }
    let Some(last) = parts.next_back() else {
        return false;
    };
    let dots = |part: &[u8]| part == b"." || part == b"..";
    !dots(last) && parts.all(|part| !part.is_empty() && !dots(part))
}

/// Removes `//`, `/./` and `/../`; borrows when there is nothing to remove.
pub fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for part in &parts {
        out.push('/');
        out.push_str(part);
    }
    // As Go: only a path that ended in a slash keeps one.
    if path.ends_with('/') || out.is_empty() {
        out.push('/');
    }
    Cow::Owned(out)
}

/// Escapes a path for a `Location`, as Go's `URL.String` does.
pub fn escape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for &b in path.as_bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b) {
            out.push(char::from(b));
        } else {
            push_escaped(&mut out, b);
        }
    }
    out
}

/// Escapes a query's key or value, as Go's `url.QueryEscape` does.
pub fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &b in text.as_bytes() {
        match b {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => out.push(char::from(b)),
            b => push_escaped(&mut out, b),
        }
    }
    out
}

fn push_escaped(out: &mut String, b: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(b >> 4)]));
    out.push(char::from(DIGITS[usize::from(b & 15)]));
}

/// The body of a redirect that was asked for with GET.
pub fn redirect_body(location: &str) -> String {
    let mut href = String::with_capacity(location.len());
    for c in location.chars() {
        match c {
            '&' => href.push_str("&amp;"),
            '<' => href.push_str("&lt;"),
            '>' => href.push_str("&gt;"),
            '"' => href.push_str("&#34;"),
            '\'' => href.push_str("&#39;"),
            c => href.push(c),
        }
    }
    format!("<a href=\"{href}\">Moved Permanently</a>.\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        assert_eq!(decode("/a%2Fb+c;d").unwrap(), "/a/b+c;d");
        assert_eq!(decode("/%ff").unwrap(), "/\u{fffd}");
        for bad in ["/%", "/%1", "/%zz", "/%+1", "/a%2"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(unescape(b"a+b%20c", true).unwrap(), b"a b c");
    }

    #[test]
    fn cleaning() {
        for (raw, want) in [
            ("/v1/kv/a", "/v1/kv/a"),
            ("/v1/kv/", "/v1/kv/"),
            ("/v1//kv/x", "/v1/kv/x"),
            ("/v1/kv//x/", "/v1/kv/x/"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a"),
            ("/a/b/.", "/a/b"),
            ("/a/b/../", "/a/"),
            ("/../..", "/"),
            ("//", "/"),
            ("", "/"),
            ("/a/..b/...", "/a/..b/..."),
        ] {
            assert_eq!(clean(raw), want, "{raw}");
        }
    }

    #[test]
    fn printable() {
        assert!(is_printable("/v1/kv/ä ö\u{fffd}"));
        for bad in [
            "\u{0}", "\u{1f}", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\t",
        ] {
            assert!(!is_printable(bad), "{bad:?}");
        }
    }

    #[test]
    fn escaping() {
        assert_eq!(escape("/v1/kv/a b(c)!é"), "/v1/kv/a%20b%28c%29%21%C3%A9");
        assert_eq!(escape_query("a b/c&d"), "a+b%2Fc%26d");
        assert_eq!(
            redirect_body("/v1/kv/?a=b&c"),
            "<a href=\"/v1/kv/?a=b&amp;c\">Moved Permanently</a>.\n\n"
        );
    }
}
