//! The room's one error: why bytes, keys or requests were refused. Nothing was changed.
//!
//! Holds true: texts that reach users through `consul keyring` or `consul event` are Consul's.
//! Source: `docs/reference/gossip.md`; the texts of a running Consul 1.8.7.

use std::fmt;

use crate::wire;

/// Why the gossip room refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The bytes end inside of a message.
    Truncated,
    /// A message type or layer that is not spoken here.
    UnknownType(u8),
    /// A layer's header or a message's body makes no sense.
    Malformed(&'static str),
    /// The body is not what its type says.
    Body(wire::Error),
    /// The checksum is of other bytes.
    Checksum,
    /// More layers inside of each other, or more bytes, than is allowed.
    TooLarge(&'static str),
    /// No installed key opens the message.
    Decrypt,
    /// Plaintext where encryption is required.
    NotEncrypted,
    /// Ciphertext, and there is no keyring.
    NoKeyring,
    /// The label is not ours.
    Label,
    /// A key that cannot be one.
    KeySize(usize),
    /// The keyring refuses; the text is Consul's.
    Keyring(&'static str),
    /// The other side of a stream reports an error.
    Remote(String),
    /// Members that do not fit together; the text says why.
    Merge(String),
    /// A request of our own that cannot be carried out.
    Request(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Truncated => f.write_str("the message is cut off"),
            Error::UnknownType(n) => write!(f, "msg type ({n}) not supported"),
            Error::Malformed(what) => f.write_str(what),
            Error::Body(e) => write!(f, "failed to decode message: {e}"),
            Error::Checksum => f.write_str("Got invalid checksum for UDP packet"),
            Error::TooLarge(what) => write!(f, "{what} is too large"),
            Error::Decrypt => f.write_str("No installed keys could decrypt the message"),
            Error::NotEncrypted => {
                f.write_str("Encryption is configured but remote state is not encrypted")
            }
            Error::NoKeyring => {
                f.write_str("Remote state is encrypted and encryption is not configured")
            }
            Error::Label => f.write_str("the packet's label is not this pool's"),
            Error::KeySize(24) => {
                f.write_str("24 byte keys (AES-192) are not supported, use 16 or 32 bytes")
            }
            Error::KeySize(_) => f.write_str("key size must be 16, 24 or 32 bytes"),
            Error::Keyring(text) => f.write_str(text),
            Error::Remote(text) => write!(f, "remote error: {text}"),
            Error::Merge(text) | Error::Request(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

impl From<wire::Error> for Error {
    fn from(e: wire::Error) -> Self {
        match e {
            wire::Error::Eof | wire::Error::UnexpectedEof => Error::Truncated,
            other => Error::Body(other),
        }
    }
}
