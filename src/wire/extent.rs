//! Where msgpack values end in bytes that arrive piece by piece.
//!
//! Messages on a stream carry no length: a value ends where its structure says. Holds true: each byte is
//! looked at once however small the pieces are, nothing is allocated, nesting costs nothing.
//! Leaves to others: how many bytes are too many, and what the values are (`msgpack`).
//! Source: the msgpack specification.

use super::Error;

/// Looks for the end of a number of successive values.
#[derive(Clone, Debug)]
pub struct Extent {
    at: usize,
    remaining: u64,
}

impl Extent {
    /// Begins before the first of `values` values.
    pub fn new(values: u64) -> Self {
        Self {
            at: 0,
            remaining: values,
        }
    }

    /// Goes on with `bytes`, which begin with the first value and hold everything seen before; the length of
    /// all values together once they are whole.
    ///
    /// # Errors
    /// [`Error::Msgpack`] on a code that the format does not have.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        while self.remaining > 0 {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let Some((head, inside)) = head(rest)? else {
                return Ok(None);
            };
            let Some(end) = self.at.checked_add(head) else {
                return Err(Error::Msgpack("length out of range"));
            };
            // A string is looked at again when it is whole: that is one look per piece.
            if end > bytes.len() {
                return Ok(None);
            }
            self.at = end;
            self.remaining = self.remaining - 1 + inside;
        }
        Ok(Some(self.at))
    }
}

/// Length of a value's own bytes and the number of values inside it; `None` if its length is not there yet.
fn head(bytes: &[u8]) -> Result<Option<(usize, u64)>, Error> {
    let Some(&code) = bytes.first() else {
        return Ok(None);
    };
    let n = u64::from(code);
    let own = |length: usize| Ok(Some((1 + length, 0)));
    match code {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => own(0),
        0x80..=0x8f => Ok(Some((1, 2 * (n & 0x0f)))),
        0x90..=0x9f => Ok(Some((1, n & 0x0f))),
        0xa0..=0xbf => own(usize::from(code & 0x1f)),
        0xc1 => Err(Error::Msgpack("unused code")),
        0xcc | 0xd0 => own(1),
        0xcd | 0xd1 => own(2),
        0xca | 0xce | 0xd2 => own(4),
        0xcb | 0xcf | 0xd3 => own(8),
        0xd4..=0xd8 => own(1 + (1 << (code - 0xd4))),
        0xc4 | 0xd9 => Ok(sized(bytes, 1, 0)),
        0xc5 | 0xda => Ok(sized(bytes, 2, 0)),
        0xc6 | 0xdb => Ok(sized(bytes, 4, 0)),
        0xc7 => Ok(sized(bytes, 1, 1)),
        0xc8 => Ok(sized(bytes, 2, 1)),
        0xc9 => Ok(sized(bytes, 4, 1)),
        0xdc => Ok(length(bytes, 2).map(|n| (3, n))),
        0xdd => Ok(length(bytes, 4).map(|n| (5, n))),
        0xde => Ok(length(bytes, 2).map(|n| (3, 2 * n))),
        0xdf => Ok(length(bytes, 4).map(|n| (5, 2 * n))),
    }
}

/// A value whose length stands in `width` bytes, with `more` bytes besides.
fn sized(bytes: &[u8], width: usize, more: usize) -> Option<(usize, u64)> {
    let n = usize::try_from(length(bytes, width)?).ok()?;
    Some((1 + width + more + n, 0))
}

fn length(bytes: &[u8], width: usize) -> Option<u64> {
    let bytes = bytes.get(1..=width)?;
    Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_pieces_end_where_they_end() {
        // {"a": [1, "xyz", 2.5], "b": nil}, then a number of the next message.
        let message = b"\x82\xa1a\x93\x01\xa3xyz\xcb\x40\x04\0\0\0\0\0\0\xa1b\xc0\x07";
        let whole = message.len() - 1;
        let mut extent = Extent::new(1);
        for end in 0..whole {
            assert_eq!(extent.advance(&message[..end]), Ok(None), "at {end}");
        }
        assert_eq!(extent.advance(message), Ok(Some(whole)));
        assert_eq!(Extent::new(2).advance(message), Ok(Some(whole + 1)));
    }

    #[test]
    fn every_length_of_string_is_found() {
        for length in [0usize, 1, 31, 32, 255, 256, 65_535, 65_536] {
            let bytes = crate::wire::msgpack::to_vec(&"x".repeat(length)).unwrap();
            assert_eq!(Extent::new(1).advance(&bytes), Ok(Some(bytes.len())));
            assert_eq!(Extent::new(1).advance(&bytes[..bytes.len() / 2]), Ok(None));
        }
    }

    #[test]
    fn deep_nesting_and_huge_counts_cost_nothing() {
        let deep = vec![0x91; 1 << 20];
        assert_eq!(Extent::new(1).advance(&deep), Ok(None));
        let many = b"\xdf\xff\xff\xff\xff";
        assert_eq!(Extent::new(1).advance(many), Ok(None));
        assert!(Extent::new(1).advance(b"\xc1").is_err());
    }
}
