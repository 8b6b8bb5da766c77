//! HPACK as a client of few requests needs it: literals out; in, everything but the dynamic table, which
//! the client forbids by announcing a table of size 0.
//!
//! Holds true: no input panics or grows beyond the frame it came in.
//! Source: RFC 7541 (static table: appendix A; Huffman code lengths: appendix B, whose code is canonical,
//! so the lengths alone give it).

use crate::structs::{Error, Result};

/// The static table from index 1 on: name and value.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Length in bits of the code of each byte, and of the end mark.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
/// The longest code, in bits.
const LONGEST: u8 = 30;

/// A header line.
pub type Header = (String, String);

/// Appends a header line as a literal that is not to be remembered.
pub fn encode(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    for text in [name, value] {
        put_integer(out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
}

/// An integer with a prefix of seven bits whose first bit is 0.
fn put_integer(out: &mut Vec<u8>, n: usize) {
    if n < 127 {
        out.push(n as u8);
        return;
    }
    out.push(127);
    let mut rest = n - 127;
    while rest >= 128 {
        out.push(128 | (rest % 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

fn bad(what: &str) -> Error {
    Error::new(format!("hpack: {what}"))
}

/// Reads a header block.
///
/// # Errors
/// When it is not HPACK, or uses the dynamic table.
pub fn decode(block: &[u8]) -> Result<Vec<Header>> {
    let mut input = Input {
        bytes: block,
        at: 0,
    };
    let mut out = Vec::new();
    while let Some(first) = input.peek() {
        if first & 0x80 != 0 {
            let (name, value) = entry(input.integer(7)?)?;
            out.push((name.to_owned(), value.to_owned()));
            continue;
        }
        if first & 0xe0 == 0x20 {
            // A new size of the dynamic table, which stays empty.
            input.integer(5)?;
            continue;
        }
        let index = input.integer(if first & 0x40 != 0 { 6 } else { 4 })?;
        let name = if index == 0 {
            input.text()?
        } else {
            entry(index)?.0.to_owned()
        };
        let value = input.text()?;
        out.push((name, value));
    }
    Ok(out)
}

fn entry(index: usize) -> Result<(&'static str, &'static str)> {
    let entry = index.checked_sub(1).and_then(|n| STATIC.get(n));
    entry.copied().ok_or_else(|| bad("invalid index"))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = self.peek().ok_or_else(|| bad("truncated block"))?;
        self.at += 1;
        Ok(byte)
    }

    fn integer(&mut self, prefix: u32) -> Result<usize> {
        let mask = (1usize << prefix) - 1;
        let mut n = usize::from(self.byte()?) & mask;
        if n < mask {
            return Ok(n);
        }
        for shift in [0, 7, 14] {
            let byte = usize::from(self.byte()?);
            n += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(bad("integer overflow"))
    }

    fn text(&mut self) -> Result<String> {
        let huffman = self.peek().is_some_and(|b| b & 0x80 != 0);
        let length = self.integer(7)?;
        let raw = self
            .bytes
            .get(self.at..self.at + length)
            .ok_or_else(|| bad("truncated text"))?;
        self.at += length;
        let bytes = if huffman {
            unhuffman(raw)?
        } else {
            raw.to_vec()
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Reads a Huffman text bit by bit: for each length the canonical code knows the first code of that
/// length, so no table of codes is needed.
fn unhuffman(raw: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let (mut code, mut length) = (0u32, 0u8);
    for bit in raw
        .iter()
        .flat_map(|b| (0..8).rev().map(move |n| b >> n & 1))
    {
        code = code << 1 | u32::from(bit);
        length += 1;
        if let Some(symbol) = symbol(code, length) {
            out.push(u8::try_from(symbol).map_err(|_| bad("end mark inside a text"))?);
            (code, length) = (0, 0);
        } else if length >= LONGEST {
            return Err(bad("invalid Huffman code"));
        }
    }
    // What is left is padding: fewer than eight ones.
    if length > 7 || code != (1 << length) - 1 {
        return Err(bad("invalid Huffman padding"));
    }
    Ok(out)
}

/// The canonical code by length: its first code, how many there are, and the symbols in order.
struct Codes {
    first: [u32; LONGEST as usize + 1],
    count: [u32; LONGEST as usize + 1],
    offset: [usize; LONGEST as usize + 1],
    symbols: [u16; LENGTHS.len()],
}

static CODES: Codes = codes();

const fn codes() -> Codes {
    let mut codes = Codes {
        first: [0; LONGEST as usize + 1],
        count: [0; LONGEST as usize + 1],
        offset: [0; LONGEST as usize + 1],
        symbols: [0; LENGTHS.len()],
    };
    let (mut length, mut used) = (1, 0);
    while length <= LONGEST as usize {
        codes.first[length] = (codes.first[length - 1] + codes.count[length - 1]) << 1;
        codes.offset[length] = used;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                codes.symbols[used] = symbol as u16;
                codes.count[length] += 1;
                used += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    codes
}

/// The symbol of a code of this length, if there is one.
fn symbol(code: u32, length: u8) -> Option<u16> {
    let length = usize::from(length);
    let nth = code.checked_sub(CODES.first[length])?;
    if nth >= CODES.count[length] {
        return None;
    }
    CODES
        .symbols
        .get(CODES.offset[length] + nth as usize)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // Appendix C.4.1, without the dynamic table it fills.
        let block = [
            0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
            0x90, 0xf4, 0xff,
        ];
        let headers = decode(&block).unwrap();
        let names: Vec<_> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "www.example.com"),
            ]
        );
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut block = Vec::new();
        let long = "v".repeat(300);
        encode(&mut block, "grpc-status", "0");
        encode(&mut block, "x", &long);
        assert_eq!(
            decode(&block).unwrap(),
            [
                ("grpc-status".to_owned(), "0".to_owned()),
                ("x".to_owned(), long)
            ]
        );
    }

    #[test]
    fn broken_blocks_are_errors() {
        for block in [
            &[0xff, 0xff, 0xff, 0xff, 0xff][..],
            &[0xbe],
            &[0x40],
            &[0x00, 0x05, b'a'],
            &[0x00, 0x81, 0x00, 0x00],
        ] {
            assert!(decode(block).is_err(), "{block:?}");
        }
    }
}
