//! Encryption: AES-GCM with a version byte and the nonce in front.
//!
//! Holds true: a nonce is used once. [`Nonces`] counts up from a random start that the driver hands in,
//! so the room needs no randomness and two processes meet with a chance of one in 2^96 per message.
//! Leaves to others: which keys there are (`keyring`).
//! Source: `docs/reference/gossip.md` section 9; NIST SP 800-38D; PKCS #7 (RFC 5652, 6.3).

use std::fmt;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::gossip::Error;

/// Bytes of a nonce.
pub const NONCE: usize = 12;
/// Bytes of an authentication tag.
const TAG: usize = 16;
/// What a message grows by, with version 1.
pub const OVERHEAD: usize = 1 + NONCE + TAG;
/// Padding to the block size of AES, which nothing needs.
const PADDED: u8 = 0;
/// As it is; the version that is written.
const PLAIN: u8 = 1;
/// What version 0 pads to.
const BLOCK: usize = 16;

/// One key of the keyring.
#[derive(Clone)]
pub struct Key {
    bytes: Vec<u8>,
    cipher: LessSafeKey,
}

impl Key {
    /// A key of 16 or 32 bytes.
    ///
    /// # Errors
    /// [`Error::KeySize`]; also for 24 bytes, which Consul takes and `ring` does not have.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        let algorithm = match bytes.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            n => return Err(Error::KeySize(n)),
        };
        let key = UnboundKey::new(algorithm, bytes).map_err(|_| Error::KeySize(bytes.len()))?;
        Ok(Self {
            bytes: bytes.to_vec(),
            cipher: LessSafeKey::new(key),
        })
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Encrypts; the result begins with the version byte.
    ///
    /// # Errors
    /// Only for messages of many gigabytes.
    pub fn seal(&self, nonce: [u8; NONCE], plain: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        out.push(PLAIN);
        out.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        self.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut body,
            )
            .map_err(|_| Error::TooLarge("a message to encrypt"))?;
        out.append(&mut body);
        Ok(out)
    }

    /// Decrypts what begins with the version byte.
    ///
    /// # Errors
    /// [`Error::Decrypt`] when it was sealed with another key, or is not whole.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
        let (&version, rest) = sealed.split_first().ok_or(Error::Truncated)?;
        let least = match version {
            PLAIN => TAG,
            PADDED => BLOCK + TAG,
            _ => return Err(Error::Malformed("Unsupported encryption version")),
        };
        let (nonce, body) = rest.split_at_checked(NONCE).ok_or(Error::Truncated)?;
        if body.len() < least {
            return Err(Error::Truncated);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Truncated)?;
        let mut body = body.to_vec();
        let plain = self
            .cipher
            .open_in_place(nonce, Aad::from(aad), &mut body)
            .map_err(|_| Error::Decrypt)?;
        let mut length = plain.len();
        if version == PADDED {
            length = unpadded(plain)?;
        }
        body.truncate(length);
        Ok(body)
    }
}

/// Keys are not for logs.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key of {} bytes", self.bytes.len())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

/// The length without the padding.
fn unpadded(plain: &[u8]) -> Result<usize, Error> {
    let padding = plain.last().copied().map_or(0, usize::from);
    let length = plain.len().checked_sub(padding);
    match length {
        Some(length) if (1..=BLOCK).contains(&padding) => Ok(length),
        _ => Err(Error::Malformed("the padding is damaged")),
    }
}

/// Hands out nonces.
#[derive(Debug)]
pub struct Nonces(u128);

impl Nonces {
    /// From a start that the driver drew at random for this process.
    pub fn new(start: [u8; NONCE]) -> Self {
        Self(start.iter().fold(0, |n, b| n << 8 | u128::from(*b)))
    }

    /// The next one.
    pub fn draw(&mut self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&self.0.to_be_bytes()[16 - NONCE..]);
        self.0 = self.0.wrapping_add(1);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_comes_back_with_the_same_key_and_data_only() {
        for size in [16, 32] {
            let key = Key::new(&vec![size as u8; size]).unwrap();
            let sealed = key.seal([3; NONCE], b"hello", b"aad").unwrap();
            assert_eq!(sealed.len(), 5 + OVERHEAD);
            assert_eq!(key.open(&sealed, b"aad"), Ok(b"hello".to_vec()));
            assert_eq!(key.open(&sealed, b"other"), Err(Error::Decrypt));
            for cut in 0..sealed.len() {
                assert!(key.open(&sealed[..cut], b"aad").is_err());
            }
            let other = Key::new(&vec![1; size]).unwrap();
            assert_eq!(other.open(&sealed, b"aad"), Err(Error::Decrypt));
        }
    }

    #[test]
    fn padding_of_version_0_is_taken_off() {
        let key = Key::new(&[1; 16]).unwrap();
        for (plain, wanted) in [
            (
                &b"hello\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"[..],
                Ok(b"hello".to_vec()),
            ),
            (&[16; 16][..], Ok(Vec::new())),
            (
                &[17; 16][..],
                Err(Error::Malformed("the padding is damaged")),
            ),
            (
                &[0; 16][..],
                Err(Error::Malformed("the padding is damaged")),
            ),
        ] {
            let mut sealed = key.seal([0; NONCE], plain, b"").unwrap();
            sealed[0] = PADDED;
            assert_eq!(key.open(&sealed, b""), wanted);
        }
    }

    #[test]
    fn sizes_that_are_no_keys_are_refused() {
        assert_eq!(Key::new(&[0; 24]).unwrap_err(), Error::KeySize(24));
        assert_eq!(Key::new(&[0; 5]).unwrap_err(), Error::KeySize(5));
    }

    #[test]
    fn nonces_count_up_and_around() {
        let mut nonces = Nonces::new([0xff; NONCE]);
        assert_eq!(nonces.draw(), [0xff; NONCE]);
        assert_eq!(nonces.draw(), [0; NONCE]);
        assert_eq!(nonces.draw()[NONCE - 1], 1);
    }
}
