//! Compression: the struct `{Algo, Buf}` around Go's LZW.
//!
//! Holds true: what is unpacked stays below the caller's limit. The variant (least significant bit first,
//! 8 bit literals, width changes as in GIF) is what the `weezl` crate calls LSB without early change.
//! Source: `docs/reference/gossip.md` section 2.1.

use crate::codec::{Deserialize, Serialize};
use weezl::{BitOrder, LzwStatus, decode::Decoder, encode::Encoder};

use super::kind;
use crate::gossip::Error;
use crate::structs::go::Bytes;
use crate::wire::msgpack;

/// The only algorithm there is.
const LZW: u8 = 0;
/// Bits of a literal.
const LITERAL: u8 = 8;
/// How much is unpacked at a time.
const STEP: usize = 16 << 10;

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Compressed {
    algo: u8,
    buf: Bytes,
}

/// A message with its type byte, compressed, type byte included.
///
/// # Errors
/// Never for messages of sizes that occur.
pub fn compress(message: &[u8]) -> Result<Vec<u8>, Error> {
    let packed = Encoder::new(BitOrder::Lsb, LITERAL)
        .encode(message)
        .map_err(|_| Error::Malformed("the message cannot be compressed"))?;
    let mut out = vec![kind::COMPRESS];
    let body = Compressed {
        algo: LZW,
        buf: Bytes(packed),
    };
    msgpack::append(&mut out, &body)?;
    Ok(out)
}

/// What is inside of a compressed message, given behind its type byte.
///
/// # Errors
/// When it is not LZW, is damaged, or would unpack to more than `limit` bytes.
pub fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let body: Compressed = msgpack::from_slice(body)?;
    if body.algo != LZW {
        return Err(Error::Malformed("Cannot decompress unknown algorithm"));
    }
    let mut decoder = Decoder::new(BitOrder::Lsb, LITERAL);
    let (mut input, mut out) = (&body.buf[..], Vec::new());
    loop {
        let filled = out.len();
        out.resize(filled + STEP, 0);
        let result = decoder.decode_bytes(input, &mut out[filled..]);
        out.truncate(filled + result.consumed_out);
        if out.len() > limit {
            return Err(Error::TooLarge("a compressed message"));
        }
        input = input.get(result.consumed_in..).unwrap_or_default();
        match result.status {
            Ok(LzwStatus::Done) => return Ok(out),
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::NoProgress) => return Err(Error::Truncated),
            Err(_) => return Err(Error::Malformed("the compressed bytes are damaged")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_codes_come_back() {
        let mut rng = fastrand::Rng::with_seed(7);
        for size in [0, 1, 2, 300, 5000, 200_000] {
            let plain: Vec<u8> = (0..size).map(|_| rng.u8(..40)).collect();
            let packed = compress(&plain).unwrap();
            assert_eq!(decompress(&packed[1..], size).unwrap(), plain);
            if size > 2 {
                let short = decompress(&packed[1..], size - 1);
                assert_eq!(short, Err(Error::TooLarge("a compressed message")));
            }
        }
    }

    #[test]
    fn a_cut_stream_ends() {
        let packed = compress(&[7; 4000]).unwrap();
        let mut body: Compressed = msgpack::from_slice(&packed[1..]).unwrap();
        body.buf.0.truncate(20);
        let cut = msgpack::to_vec(&body).unwrap();
        assert_eq!(decompress(&cut, 8000), Err(Error::Truncated));
        body.algo = 1;
        let other = msgpack::to_vec(&body).unwrap();
        assert!(decompress(&other, 8000).is_err());
    }
}
