//! Reads msgpack values from a stream one by one, as bytes.
//!
//! Holds true: no recursion, no allocation before the bytes are there, and a value larger than
//! [`MAX_VALUE`] is refused. What the bytes mean is left to `wire`.
//! Source: the msgpack specification.

use std::io::{self, BufRead, Read};

/// The largest value of a snapshot: far above a KV entry's limit, far below a small machine's memory.
pub const MAX_VALUE: usize = 16 << 20;

/// Reads one byte, `None` at the end of the stream.
pub fn byte(from: &mut dyn BufRead) -> io::Result<Option<u8>> {
    let mut one = [0];
    match from.read_exact(&mut one) {
        Ok(()) => Ok(Some(one[0])),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

fn take(from: &mut dyn BufRead, n: u64, into: &mut Vec<u8>) -> io::Result<()> {
    if into.len() as u64 + n > MAX_VALUE as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a value is larger than {MAX_VALUE} bytes"),
        ));
    }
    let got = from.take(n).read_to_end(into)?;
    if (got as u64) < n {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A big endian length of `width` bytes, kept in `into` as well.
fn length(from: &mut dyn BufRead, width: usize, into: &mut Vec<u8>) -> io::Result<u64> {
    let start = into.len();
    take(from, width as u64, into)?;
    let bytes = into.get(start..).unwrap_or_default();
    Ok(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Reads the bytes of exactly one value into `into`, which is emptied first.
pub fn value(from: &mut dyn BufRead, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    let mut open: u64 = 1;
    while open > 0 {
        open -= 1;
        let code = byte(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        into.push(code);
        let (payload, children) = match code {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            0x80..=0x8f => (0, 2 * u64::from(code & 0x0f)),
            0x90..=0x9f => (0, u64::from(code & 0x0f)),
            0xa0..=0xbf => (u64::from(code & 0x1f), 0),
            0xc4 | 0xd9 => (length(from, 1, into)?, 0),
            0xc5 | 0xda => (length(from, 2, into)?, 0),
            0xc6 | 0xdb => (length(from, 4, into)?, 0),
            0xc7 => (length(from, 1, into)? + 1, 0),
            0xc8 => (length(from, 2, into)? + 1, 0),
            0xc9 => (length(from, 4, into)? + 1, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xd4..=0xd8 => ((1 << (code - 0xd4)) + 1, 0),
            0xdc => (0, length(from, 2, into)?),
            0xdd => (0, length(from, 4, into)?),
            0xde => (0, 2 * length(from, 2, into)?),
            0xdf => (0, 2 * length(from, 4, into)?),
            0xc1 => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the byte c1 begins no value",
                ));
            }
        };
        take(from, payload, into)?;
        open += children;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::msgpack;

    #[test]
    fn values_are_cut_where_they_end() {
        let map: std::collections::BTreeMap<String, Vec<u64>> = [
            ("a".repeat(70_000), vec![1, 300, u64::MAX]),
            ("b".to_owned(), vec![0; 20]),
        ]
        .into();
        let one = msgpack::to_vec(&map).unwrap();
        let mut stream = one.clone();
        stream.extend_from_slice(&one);
        stream.push(0xc0);
        let mut from = stream.as_slice();
        let mut got = Vec::new();
        for want in [one.as_slice(), one.as_slice(), &[0xc0]] {
            value(&mut from, &mut got).unwrap();
            assert_eq!(got, want);
        }
        assert_eq!(byte(&mut from).unwrap(), None);
    }

    #[test]
    fn cut_and_hostile_values_are_refused() {
        for bad in [
            &b"\xc1"[..],
            b"\xdb\xff\xff\xff\xff",
            b"\xdd\xff\xff\xff\xff\x01",
            b"\xa5ab",
            b"",
        ] {
            assert!(value(&mut &bad[..], &mut Vec::new()).is_err());
        }
    }
}
