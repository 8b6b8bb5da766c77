//! Datagrams: messages with all layers around them.
//!
//! Holds true: what one datagram unpacks to is bounded in depth and in bytes; a part that makes no sense
//! does not take the others with it.
//! Source: `docs/reference/gossip.md` section 2.

use super::crypt::{self, Nonces};
use super::layers::{self, COMPOUND_HEADER, MAX_LABEL};
use super::message::Message;
use super::{kind, lzw};
use crate::gossip::{Error, Keyring};

/// Bytes of a datagram before compression and checksum, unless one message alone is larger.
pub const MAX_PACKET: usize = 1400;
/// Most bytes that one datagram may unpack to.
const MAX_UNPACKED: usize = 1 << 20;
/// Most compounds and compressions inside of each other.
const MAX_DEPTH: u32 = 6;

/// How a pool wraps what it sends and unwraps what comes.
#[derive(Debug)]
pub struct Envelope {
    /// The name of the pool in front of everything; empty in Consul.
    pub label: Vec<u8>,
    /// The keys, when messages are encrypted.
    pub keyring: Option<Keyring>,
    /// Plaintext is refused when there are keys.
    pub verify_incoming: bool,
    /// What is sent is encrypted when there are keys.
    pub verify_outgoing: bool,
    /// What is sent is compressed: on streams always, as datagram when it helps.
    pub compress: bool,
    /// For what is encrypted.
    pub nonces: Nonces,
}

impl Envelope {
    /// The keys to encrypt with, if that is to be done.
    pub(super) fn outgoing(&self) -> Option<&Keyring> {
        self.keyring.as_ref().filter(|_| self.verify_outgoing)
    }

    /// The bytes of messages that fit into one datagram, each with
    /// [`COMPOUND_PART`](layers::COMPOUND_PART) bytes on top.
    pub fn room(&self) -> usize {
        let label = match self.label.len().min(MAX_LABEL) {
            0 => 0,
            n => n + 2,
        };
        let encryption = self.outgoing().map_or(0, |_| crypt::OVERHEAD);
        MAX_PACKET - COMPOUND_HEADER - label - encryption
    }

    /// Makes a datagram of messages, type bytes first.
    ///
    /// # Errors
    /// Never for messages of sizes that occur.
    pub fn seal_packet(&mut self, parts: &[Vec<u8>], crc: bool) -> Result<Vec<u8>, Error> {
        let mut message = layers::join_compound(parts);
        if self.compress {
            let packed = lzw::compress(&message)?;
            if packed.len() < message.len() {
                message = packed;
            }
        }
        if crc {
            message = layers::with_crc(&message);
        }
        let nonce = self.nonces.draw();
        if let Some(keys) = self.outgoing() {
            message = keys.seal(nonce, &message, &self.label)?;
        }
        if self.label.is_empty() {
            return Ok(message);
        }
        let mut out = Vec::with_capacity(message.len() + self.label.len() + 2);
        layers::put_label(&mut out, &self.label);
        out.append(&mut message);
        Ok(out)
    }

    /// Takes a datagram apart.
    ///
    /// # Errors
    /// When its outer layers are damaged or not for us; errors of single parts stand in their place.
    pub fn open_packet(&self, bytes: &[u8]) -> Result<Vec<Result<Message, Error>>, Error> {
        let (label, rest) = layers::split_label(bytes)?;
        if label != self.label {
            return Err(Error::Label);
        }
        let plain;
        let mut message = rest;
        if let Some(keys) = &self.keyring {
            match keys.open(rest, label) {
                Ok(opened) => {
                    plain = opened;
                    message = &plain;
                }
                Err(e) if self.verify_incoming => return Err(e),
                Err(_) => {}
            }
        }
        let mut parts = Parts {
            found: Vec::new(),
            budget: MAX_UNPACKED,
        };
        parts.unpack(layers::check_crc(message)?, 0)?;
        Ok(parts.found)
    }
}

/// The messages found so far.
struct Parts {
    found: Vec<Result<Message, Error>>,
    /// Bytes that may still be unpacked.
    budget: usize,
}

impl Parts {
    fn unpack(&mut self, message: &[u8], depth: u32) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooLarge("the nesting of a packet"));
        }
        match message.split_first() {
            Some((&kind::COMPOUND, body)) => {
                for part in layers::split_compound(body)? {
                    if let Err(e) = self.unpack(part, depth + 1) {
                        self.found.push(Err(e));
                    }
                }
            }
            Some((&kind::COMPRESS, body)) => {
                let inner = lzw::decompress(body, self.budget)?;
                self.budget -= inner.len();
                self.unpack(&inner, depth + 1)?;
            }
            _ => self.found.push(Message::decode(message)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(label: &[u8], key: Option<u8>) -> Envelope {
        Envelope {
            label: label.to_vec(),
            keyring: key.map(|k| Keyring::new(&[k; 16]).unwrap()),
            verify_incoming: true,
            verify_outgoing: true,
            compress: true,
            nonces: Nonces::new([0; 12]),
        }
    }

    fn user(text: &[u8]) -> Vec<u8> {
        Message::User(text.to_vec()).encode().unwrap()
    }

    #[test]
    fn datagrams_come_back_through_all_layers() {
        let parts = [user(b"one"), user(&[b'x'; 300])];
        for label in [&b""[..], b"blue"] {
            for key in [None, Some(1)] {
                for crc in [false, true] {
                    let mut envelope = envelope(label, key);
                    let packet = envelope.seal_packet(&parts, crc).unwrap();
                    let found = envelope.open_packet(&packet).unwrap();
                    assert_eq!(found.len(), 2);
                    assert_eq!(found[0], Ok(Message::User(b"one".to_vec())));
                }
            }
        }
    }

    #[test]
    fn strangers_are_refused() {
        let mut ours = envelope(b"", Some(1));
        let mut theirs = envelope(b"", Some(2));
        let packet = theirs.seal_packet(&[user(b"x")], true).unwrap();
        assert_eq!(ours.open_packet(&packet), Err(Error::Decrypt));
        let mut plain = envelope(b"", None);
        let packet = plain.seal_packet(&[user(b"x")], true).unwrap();
        assert!(ours.open_packet(&packet).is_err());
        ours.verify_incoming = false;
        assert_eq!(ours.open_packet(&packet).unwrap().len(), 1);
        assert_eq!(
            envelope(b"blue", None).open_packet(&packet),
            Err(Error::Label)
        );
    }

    #[test]
    fn a_bad_part_does_not_take_the_others_with_it() {
        let parts = [user(b"one"), vec![99, 1], Vec::new(), user(b"two")];
        let mut envelope = envelope(b"", None);
        let packet = envelope.seal_packet(&parts, false).unwrap();
        let found = envelope.open_packet(&packet).unwrap();
        assert_eq!(found.iter().filter(|m| m.is_ok()).count(), 2);
        assert_eq!(found[1], Err(Error::UnknownType(99)));
    }

    #[test]
    fn bombs_are_refused() {
        let envelope = envelope(b"", None);
        let mut bomb = user(&vec![0; MAX_UNPACKED]);
        bomb = lzw::compress(&bomb).unwrap();
        assert!(envelope.open_packet(&bomb).is_err());
        let mut nested = user(b"x");
        for _ in 0..=MAX_DEPTH {
            nested = lzw::compress(&nested).unwrap();
        }
        assert!(envelope.open_packet(&nested).is_err());
    }
}
