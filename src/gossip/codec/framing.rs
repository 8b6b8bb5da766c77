//! Where a message on a TCP connection ends.
//!
//! Nothing says so but the message itself, so the bytes are walked through as they arrive, each once.
//! Holds true: a message longer than [`MAX_STREAM`] is refused as soon as that shows; the walk does not
//! recurse and keeps nothing but the bytes.
//! Source: `docs/reference/gossip.md` section 4; the msgpack specification.

use super::kind;
use super::push_pull::Header;
use super::stream::{ENCRYPT_HEADER, MAX_STREAM};
use crate::gossip::Error;
use crate::wire::msgpack;

/// What the walk waits for.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Label or type byte.
    Start,
    /// So many msgpack values, then `After`.
    Values(u64, After),
    /// This many bytes, then the end.
    Bytes(usize),
    Done,
}

/// What follows a run of msgpack values.
#[derive(Clone, Copy, Debug)]
enum After {
    End,
    /// The values were a push/pull header that began here.
    PushPull(usize),
    /// The values were the header of a user message that began here.
    User(usize),
    /// This many bytes.
    Bytes(usize),
}

/// Collects the bytes of one message.
#[derive(Debug)]
pub struct Framer {
    buf: Vec<u8>,
    /// Walked through so far.
    at: usize,
    stage: Stage,
}

impl Default for Framer {
    fn default() -> Self {
        Self {
            buf: Vec::new(),
            at: 0,
            stage: Stage::Start,
        }
    }
}

#[derive(Default, crate::codec::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct UserHeader {
    user_msg_len: i64,
}

impl Framer {
    /// Takes what has arrived; the message when it is whole. Bytes behind it are dropped.
    ///
    /// # Errors
    /// When this is no message, or too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.buf.extend_from_slice(bytes);
        while self.step()? {
            if self.at > MAX_STREAM {
                return Err(Error::TooLarge("a stream message"));
            }
        }
        if matches!(self.stage, Stage::Done) {
            self.buf.truncate(self.at);
            let message = std::mem::take(self).buf;
            return Ok(Some(message));
        }
        if self.buf.len() > MAX_STREAM {
            return Err(Error::TooLarge("a stream message"));
        }
        Ok(None)
    }

    fn rest(&self) -> &[u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// One step; false when more bytes are needed, or none any more.
    fn step(&mut self) -> Result<bool, Error> {
        match self.stage {
            Stage::Start => self.start(),
            Stage::Values(0, after) => self.after(after),
            Stage::Values(left, after) => {
                let Some((length, inner)) = value(self.rest())? else {
                    return Ok(false);
                };
                if length > MAX_STREAM || inner > MAX_STREAM as u64 {
                    return Err(Error::TooLarge("a stream message"));
                }
                if self.rest().len() < length {
                    return Ok(false);
                }
                self.at += length;
                self.stage = Stage::Values(left - 1 + inner, after);
                Ok(true)
            }
            Stage::Bytes(n) => {
                if n > MAX_STREAM {
                    return Err(Error::TooLarge("a stream message"));
                }
                if self.rest().len() < n {
                    return Ok(false);
                }
                self.at += n;
                self.stage = Stage::Done;
                Ok(true)
            }
            Stage::Done => Ok(false),
        }
    }

    fn start(&mut self) -> Result<bool, Error> {
        let (used, stage) = match *self.rest() {
            [] | [kind::HAS_LABEL] => return Ok(false),
            [kind::HAS_LABEL, n, ..] if self.at == 0 => {
                let length = 2 + usize::from(n);
                if self.rest().len() < length {
                    return Ok(false);
                }
                (length, Stage::Start)
            }
            [kind::ENCRYPT, a, b, c, d, ..] => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                (ENCRYPT_HEADER, Stage::Bytes(length))
            }
            [kind::ENCRYPT, ..] => return Ok(false),
            [kind::PUSH_PULL, ..] => (1, Stage::Values(1, After::PushPull(self.at + 1))),
            [kind::USER, ..] => (1, Stage::Values(1, After::User(self.at + 1))),
            [kind::PING | kind::ACK | kind::COMPRESS | kind::ERROR, ..] => {
                (1, Stage::Values(1, After::End))
            }
            [other, ..] => return Err(Error::UnknownType(other)),
        };
        self.at += used;
        self.stage = stage;
        Ok(true)
    }

    fn after(&mut self, after: After) -> Result<bool, Error> {
        self.stage = match after {
            After::End => Stage::Done,
            After::Bytes(n) => Stage::Bytes(n),
            After::PushPull(from) => {
                let header: Header = msgpack::from_slice(self.walked(from))?;
                let (nodes, state) = header.sizes()?;
                Stage::Values(nodes as u64, After::Bytes(state))
            }
            After::User(from) => {
                let header: UserHeader = msgpack::from_slice(self.walked(from))?;
                let length = usize::try_from(header.user_msg_len);
                Stage::Bytes(length.map_err(|_| Error::Malformed("a negative length"))?)
            }
        };
        Ok(true)
    }

    fn walked(&self, from: usize) -> &[u8] {
        self.buf.get(from..self.at).unwrap_or_default()
    }
}

/// The length of a msgpack value without the values inside of it, and how many those are; nothing when
/// even that is not there yet.
fn value(bytes: &[u8]) -> Result<Option<(usize, u64)>, Error> {
    let Some(&code) = bytes.first() else {
        return Ok(None);
    };
    // A header of one byte, a length of this width, and what the length counts.
    let number = |width: usize| -> Option<u64> {
        let digits = bytes.get(1..=width)?;
        Some(digits.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    };
    let raw = |width: usize, more: usize| {
        number(width).map(|n| {
            let length = usize::try_from(n).unwrap_or(usize::MAX);
            (length.saturating_add(1 + width + more), 0)
        })
    };
    let list = |width: usize, each: u64| number(width).map(|n| (1 + width, n.saturating_mul(each)));
    let low = |mask: u8| usize::from(code & mask);
    Ok(match code {
        0x80..=0x8f => Some((1, 2 * low(15) as u64)),
        0x90..=0x9f => Some((1, low(15) as u64)),
        0xa0..=0xbf => Some((1 + low(31), 0)),
        0xc1 => return Err(Error::Malformed("code c1 is not used")),
        0xc4 | 0xd9 => raw(1, 0),
        0xc5 | 0xda => raw(2, 0),
        0xc6 | 0xdb => raw(4, 0),
        0xc7 => raw(1, 1),
        0xc8 => raw(2, 1),
        0xc9 => raw(4, 1),
        0xca => Some((5, 0)),
        0xcb => Some((9, 0)),
        0xcc..=0xd3 => Some((1 + (1 << low(3)), 0)),
        0xd4..=0xd8 => Some((2 + (1 << (code - 0xd4)), 0)),
        0xdc => list(2, 1),
        0xdd => list(4, 1),
        0xde => list(2, 2),
        0xdf => list(4, 2),
        _ => Some((1, 0)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::{Ack, Message};
    use super::super::push_pull::{NodeState, PushPull};
    use super::*;

    #[test]
    fn messages_end_where_they_end() {
        let push_pull = PushPull {
            join: true,
            nodes: vec![NodeState::default(); 40],
            user_state: vec![7; 70_000],
        };
        for message in [
            Message::Ack(Ack::default()),
            Message::User(vec![1; 500]),
            Message::Error("x".repeat(300)),
            Message::PushPull(Box::new(push_pull)),
        ] {
            let plain = message.encode_stream().unwrap();
            let packed = super::super::lzw::compress(&plain).unwrap();
            let mut sealed = vec![kind::HAS_LABEL, 2, b'a', b'b', kind::ENCRYPT];
            sealed.extend_from_slice(&(plain.len() as u32).to_be_bytes());
            sealed.extend_from_slice(&plain);
            for bytes in [plain, packed, sealed] {
                let mut whole = Framer::default();
                let more = [&bytes[..], &[1, 2, 3]].concat();
                assert_eq!(whole.push(&more).unwrap().as_ref(), Some(&bytes));
                let mut piecewise = Framer::default();
                let (last, first) = bytes.split_last().unwrap();
                for piece in first.chunks(7) {
                    assert_eq!(piecewise.push(piece), Ok(None));
                }
                assert_eq!(piecewise.push(&[*last]).unwrap(), Some(bytes));
            }
        }
    }

    #[test]
    fn what_is_too_long_is_refused_at_once() {
        for bytes in [
            &[kind::ENCRYPT, 0x7f, 0, 0, 0][..],
            &[kind::COMPRESS, 0xdb, 0x7f, 0, 0, 0],
            &[kind::COMPRESS, 0xdf, 0x7f, 0, 0, 0],
        ] {
            let refused = Framer::default().push(bytes);
            assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
        }
        assert_eq!(
            Framer::default().push(b"GET / HTTP/1.1"),
            Err(Error::UnknownType(b'G'))
        );
    }
}
