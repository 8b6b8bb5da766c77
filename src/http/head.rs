//! What the wire says where hyper and Go's server differ: request targets that Go takes, and the answer to
//! what is no request.
//!
//! Holds true: only bytes of a request's first line are ever changed, each into its percent escape, which
//! means the same.
//! Source: Go's `net/http` as a running Consul 1.8.7 shows it; RFC 9112 section 3.

use std::str;

/// Bytes that Go takes as they are and the `http` crate refuses, or, as `#`, cuts the target at. A table: this is
/// asked of every byte of every target.
const RAW: [bool; 256] = {
    let mut raw = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        raw[byte] =
            byte >= 0x80 || matches!(byte as u8, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`');
        byte += 1;
    }
    raw
};

/// How far a request's first line has been read; it may come in several pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FirstLine {
    /// Up to the space behind the method.
    #[default]
    Method,
    /// The target, and the version, which has no such bytes.
    Target,
    /// All that follows.
    Read,
}

impl FirstLine {
    /// The next piece with a target that can be read; `None` when it is fine as it is.
    pub fn escaped(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        let start = match self {
            FirstLine::Method => piece.iter().position(|b| matches!(b, b' ' | b'\n'))?,
            FirstLine::Target => 0,
            FirstLine::Read => return None,
        };
        *self = FirstLine::Target;
        let (method, rest) = piece.split_at_checked(start)?;
        let (mut end, mut raw) = (0, false);
        while let Some(&byte) = rest.get(end) {
            if byte == b'\n' {
                *self = FirstLine::Read;
                break;
            }
            raw |= RAW[usize::from(byte)];
            end += 1;
        }
        if !raw {
            return None;
        }
        let (target, rest) = rest.split_at_checked(end)?;
        let mut out = method.to_vec();
        for byte in target {
            if RAW[usize::from(*byte)] {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else {
                out.push(*byte);
            }
        }
        out.extend_from_slice(rest);
        Some(out)
    }
}

/// The statuses with which hyper answers what is no request: bad, target too long, fields too large. All other empty
/// answers are handlers' own, to a client that wants no further one.
const REFUSALS: &[&str] = &["400 ", "414 ", "431 "];

/// hyper's empty answer to what is no request, with the text that Go's server gives there.
pub fn refusal(answer: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(answer).ok()?;
    let (first, fields) = text.split_once("\r\n")?;
    let status = first.strip_prefix("HTTP/1.1 ")?;
    if !REFUSALS.iter().any(|code| status.starts_with(code)) {
        return None;
    }
    let has = |field: &str| fields.split("\r\n").any(|l| l.eq_ignore_ascii_case(field));
    if !has("content-length: 0") || !has("connection: close") {
        return None;
    }
    // With its length, which Go leaves out: whoever still sends would else lose the text to the reset.
    let head = format!(
        "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: {}",
        status.len()
    );
    Some(format!("{first}\r\n{head}\r\n\r\n{status}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let fixed = |pieces: &[&[u8]]| {
            let mut line = FirstLine::default();
            let piece = |p: &&[u8]| line.escaped(p).unwrap_or_else(|| p.to_vec());
            let bytes: Vec<u8> = pieces.iter().flat_map(piece).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let plain = b"GET /v1/kv/a?b=c HTTP/1.1\r\nX: <y>\r\n\r\n";
        assert_eq!(fixed(&[plain]).as_bytes(), plain);
        assert_eq!(
            fixed(&[b"GET /a#?b=<\"c\"> HTTP/1.1\r\nX: <y>\r\n\r\n"]),
            "GET /a%23?b=%3C%22c%22%3E HTTP/1.1\r\nX: <y>\r\n\r\n"
        );
        assert_eq!(
            fixed(&[b"GE", b"T /a\xff^", b"^ HTTP/1.1", b"\r\nX:", b" <\r\n"]),
            "GET /a%FF%5E%5E HTTP/1.1\r\nX: <\r\n"
        );
        assert_eq!(fixed(&["GET /ä H".as_bytes()]), "GET /%C3%A4 H");
        assert_eq!(fixed(&[b"<", b"\n<"]), "<\n<");
    }

    #[test]
    fn refusals() {
        let own =
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\nDate: x\r\n\r\n";
        let text = refusal(own.as_bytes()).map(|b| String::from_utf8_lossy(&b).into_owned());
        assert!(text.is_some_and(|t| t.ends_with("Length: 15\r\n\r\n400 Bad Request")));
        let other = own.replace("Length: 0", "Length: 1");
        assert_eq!(refusal(other.as_bytes()), None);
        assert_eq!(refusal(own.replace("400", "200").as_bytes()), None);
        // A key that is not there, asked for by a client that closes.
        let missing = own.replace("400 Bad Request", "404 Not Found");
        assert_eq!(refusal(missing.as_bytes()), None);
    }
}
