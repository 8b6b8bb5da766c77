//! Compression of answers for clients that ask for it.
//!
//! Holds true: every body is encoded when the client accepts gzip, as Consul 1.8 does. Short ones are
//! only framed (a stored block): compressing them costs more than it saves.
//! Source: RFC 1951, RFC 1952; `docs/reference/http-1.md` section 1.3.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use hyper::body::Bytes;
use smol::stream::Stream;

use super::response::Pieces;

/// Below this many bytes a body is stored.
const STORE_BELOW: usize = 1400;

/// Whether an `Accept-Encoding` header asks for gzip.
pub fn accepts(value: &str) -> bool {
    value.split(',').any(|item| {
        let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
        let refused = || {
            let q = parameters.trim().strip_prefix("q=").map(str::trim);
            q.is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
        };
        coding.trim().eq_ignore_ascii_case("gzip") && !refused()
    })
}

/// A body as one gzip member.
pub fn encode(body: &[u8]) -> Vec<u8> {
    if body.len() < STORE_BELOW
        && let Ok(len) = u16::try_from(body.len())
    {
        return store(body, len);
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::new(4));
    // Writing into a vector cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

fn store(body: &[u8], len: u16) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(body);
    let mut out = Vec::with_capacity(body.len() + 23);
    // Magic, deflate, no flags, no time, no hints, unknown system.
    out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    // One last block, stored, with its length and the complement.
    out.push(1);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// Encodes pieces as they come; each can be decoded when it has arrived.
pub struct Encoded {
    pieces: Pieces,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Encoded {
    /// Wraps pieces.
    pub fn new(pieces: Pieces) -> Encoded {
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        Encoded {
            pieces,
            encoder: Some(encoder),
        }
    }

    fn add(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(Bytes::new());
        };
        encoder.write_all(piece)?;
        encoder.flush()?;
        Ok(std::mem::take(encoder.get_mut()).into())
    }
}

impl Stream for Encoded {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.encoder.is_none() {
            // The end was told; the pieces must not be asked again.
            return Poll::Ready(None);
        }
        match std::task::ready!(self.pieces.as_mut().poll_next(cx)) {
            Some(Ok(piece)) => Poll::Ready(Some(self.add(&piece))),
            Some(Err(e)) => {
                self.encoder = None;
                Poll::Ready(Some(Err(e)))
            }
            None => {
                let last = self.encoder.take().map(|e| e.finish().map(Bytes::from));
                Poll::Ready(last)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn decode(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes)
            .read_to_end(&mut out)
            .unwrap();
        out
    }

    #[test]
    fn short_and_long_bodies_come_back() {
        for len in [0, 1, 4, 1399, 1400, 100_000] {
            let body: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            assert_eq!(decode(&encode(&body)), body, "{len}");
        }
    }

    #[test]
    fn pieces_come_back() {
        // As the pieces of a file are: not to be asked again after the end.
        let mut left = vec![Bytes::from("two"), Bytes::from("one")];
        let mut ended = false;
        let pieces = smol::stream::poll_fn(move |_| {
            assert!(!ended, "asked after the end");
            let piece = left.pop();
            ended = piece.is_none();
            Poll::Ready(piece.map(Ok))
        });
        let encoded = Encoded::new(Box::pin(pieces));
        let all = crate::net::block_on(smol::stream::StreamExt::collect::<Vec<_>>(encoded));
        let bytes: Vec<u8> = all.into_iter().flat_map(|b| b.unwrap()).collect();
        assert_eq!(decode(&bytes), b"onetwo");
    }

    #[test]
    fn negotiation() {
        for yes in ["gzip", "deflate, gzip", "GZIP;q=0.5", "br;q=1, gzip ;q=1"] {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "deflate", "gzip;q=0", "gzip; q=0.0", "*", "xgzip"] {
            assert!(!accepts(no), "{no}");
        }
    }
}
