//! What travels over TCP: one message in each direction, with all layers around it.
//!
//! Leaves to others: where the message ends (`framing`).
//! Source: `docs/reference/gossip.md` section 4.

use super::layers;
use super::message::Message;
use super::packet::Envelope;
use super::{kind, lzw};
use crate::gossip::Error;

/// Most bytes of a message, packed or unpacked.
pub const MAX_STREAM: usize = 8 << 20;
/// Type byte and length in front of an encrypted message.
pub(super) const ENCRYPT_HEADER: usize = 5;

impl Envelope {
    /// Makes the bytes of one message.
    ///
    /// # Errors
    /// For messages of datagrams, and never otherwise.
    pub fn seal_stream(&mut self, message: &Message) -> Result<Vec<u8>, Error> {
        let mut bytes = message.encode_stream()?;
        if self.compress {
            bytes = lzw::compress(&bytes)?;
        }
        let mut out = Vec::new();
        layers::put_label(&mut out, &self.label);
        let nonce = self.nonces.draw();
        if let Some(keys) = self.outgoing() {
            let length = (bytes.len() + super::crypt::OVERHEAD) as u32;
            let mut aad = vec![kind::ENCRYPT];
            aad.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&aad);
            aad.extend_from_slice(&self.label);
            bytes = keys.seal(nonce, &bytes, &aad)?;
        }
        out.append(&mut bytes);
        Ok(out)
    }

    /// Reads the bytes of one message, as `framing` has found them.
    ///
    /// # Errors
    /// When they are damaged, of another pool, or not encrypted as they should be.
    pub fn open_stream(&self, bytes: &[u8]) -> Result<Message, Error> {
        let (label, rest) = layers::split_label(bytes)?;
        if label != self.label {
            return Err(Error::Label);
        }
        let mut opened;
        let mut message = rest;
        if rest.first() == Some(&kind::ENCRYPT) {
            let keys = self.keyring.as_ref().ok_or(Error::NoKeyring)?;
            let (header, sealed) = rest
                .split_at_checked(ENCRYPT_HEADER)
                .ok_or(Error::Truncated)?;
            opened = keys.open(sealed, &[header, label].concat())?;
            message = &opened;
        } else if self.keyring.is_some() && self.verify_incoming {
            return Err(Error::NotEncrypted);
        }
        if let Some((&kind::COMPRESS, body)) = message.split_first() {
            opened = lzw::decompress(body, MAX_STREAM)?;
            message = &opened;
        }
        Message::decode_stream(message)
    }
}
