//! The plain layers of a datagram: label, checksum, compound.
//!
//! Holds true: parts are slices of their packet, so taking a packet apart copies nothing.
//! Source: `docs/reference/gossip.md` section 2.

use super::kind;
use crate::gossip::Error;

/// Most messages in one compound; its count is one byte.
pub const MAX_PARTS: usize = 255;
/// Bytes of the compound header.
pub const COMPOUND_HEADER: usize = 2;
/// Bytes that a compound needs for each of its parts.
pub const COMPOUND_PART: usize = 2;
/// Type byte and checksum.
pub const CRC_HEADER: usize = 5;
/// Longest label.
pub const MAX_LABEL: usize = 255;

/// The label of a packet or stream (empty when it has none) and the bytes behind it.
///
/// # Errors
/// [`Error::Truncated`], and when the label is empty, which nobody sends.
pub fn split_label(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let Some((&kind::HAS_LABEL, rest)) = bytes.split_first() else {
        return Ok((&[], bytes));
    };
    let (&length, rest) = rest.split_first().ok_or(Error::Truncated)?;
    if length == 0 {
        return Err(Error::Malformed(
            "label header cannot be empty when present",
        ));
    }
    rest.split_at_checked(length.into()).ok_or(Error::Truncated)
}

/// Starts a packet or stream with its label, if there is one.
pub fn put_label(out: &mut Vec<u8>, label: &[u8]) {
    let label = label.get(..MAX_LABEL).unwrap_or(label);
    if !label.is_empty() {
        out.extend_from_slice(&[kind::HAS_LABEL, label.len() as u8]);
        out.extend_from_slice(label);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The message behind the checksum, or all of it when it has none.
///
/// # Errors
/// [`Error::Checksum`].
pub fn check_crc(bytes: &[u8]) -> Result<&[u8], Error> {
    let [kind::HAS_CRC, a, b, c, d, rest @ ..] = bytes else {
        return Ok(bytes);
    };
    if crc32(rest) == u32::from_be_bytes([*a, *b, *c, *d]) {
        Ok(rest)
    } else {
        Err(Error::Checksum)
    }
}

/// The message behind its checksum.
pub fn with_crc(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + CRC_HEADER);
    out.push(kind::HAS_CRC);
    out.extend_from_slice(&crc32(message).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// The parts of a compound, given behind its type byte; parts that run past the end are left out.
///
/// # Errors
/// [`Error::Truncated`] when the list of lengths is not whole.
pub fn split_compound(body: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let (&count, rest) = body.split_first().ok_or(Error::Truncated)?;
    let lengths = usize::from(count) * COMPOUND_PART;
    let (lengths, mut rest) = rest.split_at_checked(lengths).ok_or(Error::Truncated)?;
    let mut parts = Vec::with_capacity(count.into());
    for pair in lengths.chunks_exact(COMPOUND_PART) {
        let length = pair.iter().fold(0, |n, b| n << 8 | usize::from(*b));
        let Some((part, after)) = rest.split_at_checked(length) else {
            break;
        };
        parts.push(part);
        rest = after;
    }
    Ok(parts)
}

/// Messages as one: a single one alone, several as compound. More than [`MAX_PARTS`] are cut off, as
/// is a part too long for its length field: packets are far smaller.
pub fn join_compound(parts: &[Vec<u8>]) -> Vec<u8> {
    if let [only] = parts {
        return only.clone();
    }
    let parts: Vec<&Vec<u8>> = parts
        .iter()
        .filter(|part| part.len() <= usize::from(u16::MAX))
        .take(MAX_PARTS)
        .collect();
    let bytes: usize = parts.iter().map(|part| part.len() + COMPOUND_PART).sum();
    let mut out = Vec::with_capacity(COMPOUND_HEADER + bytes);
    out.extend_from_slice(&[kind::COMPOUND, parts.len() as u8]);
    for part in &parts {
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let mut out = Vec::new();
        put_label(&mut out, b"");
        assert!(out.is_empty());
        put_label(&mut out, b"blue");
        out.push(9);
        assert_eq!(split_label(&out), Ok((&b"blue"[..], &[9][..])));
        assert_eq!(split_label(&[0, 1]), Ok((&[][..], &[0, 1][..])));
        assert_eq!(split_label(&[244, 3, 1]), Err(Error::Truncated));
        assert!(split_label(&[244, 0, 1]).is_err());
    }

    #[test]
    fn a_part_past_the_end_is_left_out() {
        let packet = join_compound(&[vec![1, 2], vec![3]]);
        assert_eq!(packet, [7, 2, 0, 2, 0, 1, 1, 2, 3]);
        assert_eq!(split_compound(&packet[1..8]), Ok(vec![&[1, 2][..]]));
        assert_eq!(split_compound(&packet[1..5]), Err(Error::Truncated));
        assert_eq!(join_compound(&[vec![5]]), [5]);
    }

    #[test]
    fn a_wrong_checksum_is_seen() {
        let mut packet = with_crc(&[8, 1, 2, 3]);
        assert_eq!(check_crc(&packet), Ok(&[8, 1, 2, 3][..]));
        packet[6] ^= 1;
        assert_eq!(check_crc(&packet), Err(Error::Checksum));
        assert_eq!(check_crc(&[12, 1, 2]), Ok(&[12, 1, 2][..]));
    }
}
