//! What the wire says where hyper and Go's server differ: request targets that Go takes, and the answer to
//! what is no request.
//!
//! Holds true: only bytes of a request's first line are ever changed, each into its percent escape, which
//! means the same.
//! Source: Go's `net/http` as a running Consul 1.8.7 shows it; RFC 9112 section 3.

use std::str;

/// Bytes that Go takes as they are and the `http` crate refuses.
const RAW: &[u8] = b"<>\\^`";

/// The beginning of a request with a target that can be read; `None` when it is fine as it is.
pub fn escaped_target(bytes: &[u8]) -> Option<Vec<u8>> {
    let line = bytes
        .iter()
        .position(|b| *b == b'\n')
        .unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(line);
    let is_raw = |b: &u8| RAW.contains(b);
    if !line.iter().any(is_raw) && str::from_utf8(line).is_ok() {
        return None;
    }
    let start = line.iter().position(|b| *b == b' ')? + 1;
    let end = line.iter().rposition(|b| *b == b' ')?;
    let target = line.get(start..end)?;
    let text = str::from_utf8(target).is_ok();
    let mut out = line.get(..start)?.to_vec();
    for byte in target {
        if is_raw(byte) || (!text && !byte.is_ascii()) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out.extend_from_slice(line.get(end..)?);
    out.extend_from_slice(rest);
    Some(out)
}

/// hyper's empty answer to what is no request, with the text that Go's server gives there.
pub fn refusal(answer: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(answer).ok()?;
    let (first, fields) = text.split_once("\r\n")?;
    let status = first.strip_prefix("HTTP/1.1 4")?;
    let has = |field: &str| fields.split("\r\n").any(|l| l.eq_ignore_ascii_case(field));
    if !has("content-length: 0") || !has("connection: close") {
        return None;
    }
    // With its length, which Go leaves out: whoever still sends would else lose the text to the reset.
    let head = format!(
        "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: {}",
        status.len() + 1
    );
    Some(format!("{first}\r\n{head}\r\n\r\n4{status}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let fixed =
            |text: &[u8]| escaped_target(text).map(|b| String::from_utf8_lossy(&b).into_owned());
        assert_eq!(fixed(b"GET /v1/kv/a?b=c HTTP/1.1\r\nX: <y>\r\n\r\n"), None);
        assert_eq!(
            fixed(b"GET /a?b=<c> HTTP/1.1\r\nX: <y>\r\n\r\n").as_deref(),
            Some("GET /a?b=%3Cc%3E HTTP/1.1\r\nX: <y>\r\n\r\n")
        );
        assert_eq!(
            fixed(b"GET /a\xff^ HTTP/1.1\r\n").as_deref(),
            Some("GET /a%FF%5E HTTP/1.1\r\n")
        );
        assert_eq!(fixed("GET /ä HTTP/1.1\r\n".as_bytes()), None);
        assert_eq!(fixed(b"<"), None);
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
    }
}
