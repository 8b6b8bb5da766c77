//! Bytes of gossip to messages and back.
//!
//! One file per layer, from the outside in: `packet` and `stream` take apart and put together what
//! travels as a datagram or over TCP with the help of `layers` (label, checksum, compound), `lzw` and
//! `crypt`; `framing` says where a message on a TCP connection ends; `message` and `push_pull` are memberlist's messages,
//! `serf` those that travel inside of them, `tags` a member's tags.
//! Holds true: no input panics, allocates more than a small multiple of its limit, or recurses deeply.
//! Source: `docs/reference/gossip.md` sections 1 to 4, 9 and 10.

pub mod crypt;
pub mod framing;
pub mod layers;
pub mod lzw;
pub mod message;
pub mod packet;
pub mod push_pull;
pub mod serf;
pub mod stream;
pub mod tags;

/// The first byte of a message or layer.
pub mod kind {
    /// Are you there?
    pub const PING: u8 = 0;
    /// Ask somebody else for me.
    pub const INDIRECT_PING: u8 = 1;
    /// Answers a ping.
    pub const ACK: u8 = 2;
    /// A member does not answer.
    pub const SUSPECT: u8 = 3;
    /// A member is there.
    pub const ALIVE: u8 = 4;
    /// A member is gone.
    pub const DEAD: u8 = 5;
    /// All that one side knows.
    pub const PUSH_PULL: u8 = 6;
    /// Several messages in one packet.
    pub const COMPOUND: u8 = 7;
    /// A message of the layer above.
    pub const USER: u8 = 8;
    /// A compressed message.
    pub const COMPRESS: u8 = 9;
    /// An encrypted stream.
    pub const ENCRYPT: u8 = 10;
    /// A relayed ping got no answer.
    pub const NACK: u8 = 11;
    /// A checksum goes before the message.
    pub const HAS_CRC: u8 = 12;
    /// What went wrong with a stream.
    pub const ERROR: u8 = 13;
    /// The name of the pool goes before everything.
    pub const HAS_LABEL: u8 = 244;
}
