//! Base64 (RFC 4648 section 4) with the answers of Go's decoder: line ends are skipped, the padding is
//! required, and an error names the byte (`illegal base64 data at input byte 4`).
//!
//! Source: Go's `encoding/base64` documentation; positions asked of a running Consul 1.8.7.

use super::Error;

/// Decodes padded base64.
///
/// # Errors
/// Go's text with the offset of the first byte that cannot be there.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    let bad = |at: usize| Err(illegal(at));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut input = text
        .iter()
        .enumerate()
        .filter(|(_, c)| !matches!(c, b'\r' | b'\n'));
    let (mut group, mut digits) = (0u32, 0usize);
    while let Some((at, &c)) = input.next() {
        if c == b'=' {
            if digits < 2 {
                return bad(at);
            }
            if digits == 2 {
                match input.next() {
                    None => return bad(text.len()),
                    Some((_, b'=')) => {}
                    Some((other, _)) => return bad(other - 1),
                }
            }
            if let Some((after, _)) = input.next() {
                return bad(after);
            }
            let bytes = (group << (6 * (4 - digits))).to_be_bytes();
            out.extend_from_slice(bytes.get(1..digits).unwrap_or_default());
            return Ok(out);
        }
        let Some(bits) = digit(c) else {
            return bad(at);
        };
        group = group << 6 | bits;
        digits += 1;
        if digits == 4 {
            let [_, a, b, c] = group.to_be_bytes();
            out.extend_from_slice(&[a, b, c]);
            (group, digits) = (0, 0);
        }
    }
    if digits > 0 {
        return bad(text.len() - digits);
    }
    Ok(out)
}

#[cold]
fn illegal(at: usize) -> Error {
    Error::Custom(format!("illegal base64 data at input byte {at}"))
}

/// Encodes with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    encode_to(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends what [`encode`] gives.
pub fn encode_to(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let room = out.get_mut(start..).unwrap_or_default().chunks_exact_mut(4);
    for (group, digits) in bytes.chunks(3).zip(room) {
        let byte = |at: usize| group.get(at).copied().map_or(0, usize::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        // What stands for no byte stays the padding.
        for (at, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
            *digit = DIGITS[bits >> (18 - 6 * at) & 63];
        }
    }
}

/// Decodes the form for URLs, without padding.
///
/// # Errors
/// As [`decode`].
pub fn decode_url(text: &[u8]) -> Result<Vec<u8>, Error> {
    let plain = text.iter().map(|c| match c {
        b'-' => b'+',
        b'_' => b'/',
        // These two belong to the other form, and padding to none.
        b'+' | b'/' | b'=' => b'?',
        c => *c,
    });
    let mut plain: Vec<u8> = plain.collect();
    if plain.len() % 4 == 1 && plain.iter().all(|c| digit(*c).is_some()) {
        return Err(illegal(text.len() - 1));
    }
    plain.resize(text.len().next_multiple_of(4), b'=');
    decode(&plain)
}

/// Lower case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(*b)])
        .collect()
}

/// Decodes hexadecimal of either case; `None` when it is none.
pub fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[u8]| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    text.chunks_exact(2).map(byte).collect()
}

/// The six bits of a digit.
fn digit(c: u8) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_byte_that_consul_names() {
        for (text, at) in [
            ("a", 0),
            ("ab=c", 2),
            ("abc", 0),
            ("YQ==YQ==", 4),
            ("YQ=x", 2),
            ("Y", 0),
            ("YWJjY", 4),
            ("YW!jY", 2),
            ("=WJj", 0),
            ("YW\nJjY", 5),
            ("YQ=\n", 4),
        ] {
            let error = decode(text.as_bytes()).map_err(|e| e.to_string());
            assert_eq!(
                error,
                Err(format!("illegal base64 data at input byte {at}")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn decodes_what_the_plain_library_encodes() {
        let mut bytes = Vec::new();
        for n in 0..200u32 {
            let text = data_encoding::BASE64.encode(&bytes);
            assert_eq!(decode(text.as_bytes()), Ok(bytes.clone()));
            assert_eq!(encode(&bytes), text);
            let url = data_encoding::BASE64URL_NOPAD.encode(&bytes);
            assert_eq!(decode_url(url.as_bytes()), Ok(bytes.clone()));
            let digits = data_encoding::HEXLOWER.encode(&bytes);
            assert_eq!(hex(&bytes), digits);
            assert_eq!(decode_hex(digits.as_bytes()), Some(bytes.clone()));
            bytes.push((n * 73 % 251) as u8);
        }
        assert_eq!(decode(b"YQ\n=\n="), Ok(b"a".to_vec()));
        for (text, at) in [("YWJjZ", 4), ("YW+j", 2), ("YQ==", 2), ("YW*j", 2)] {
            assert_eq!(decode_url(text.as_bytes()), Err(illegal(at)), "{text}");
        }
        assert_eq!(decode_hex(b"0G"), None);
        assert_eq!(decode_hex(b"0aF"), None);
        assert_eq!(decode_hex(b"0aFf"), Some(vec![0x0a, 0xff]));
    }
}
