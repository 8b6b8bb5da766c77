//! The payload of a configuration entry: msgpack as hashicorp/raft writes it.
//!
//! The core has to read these itself, since a configuration takes effect when appended. Old-spec msgpack
//! (no str8, no bin), maps with sorted keys; on reading, keys in any order and unknown keys are taken.
//! Everything else on the wire is `rpc`'s affair.
//! Source: hashicorp/raft's configuration entry, protocol version 3.

use super::membership::{Configuration, MAX_SERVERS, Server, Suffrage};

/// Nesting that unknown values may have.
const MAX_DEPTH: u32 = 8;

pub(super) fn encode(configuration: &Configuration) -> Vec<u8> {
    let mut out = vec![0x81];
    put_str(&mut out, "Servers");
    let n = configuration.servers.len();
    match u8::try_from(n) {
        Ok(n) if n < 16 => out.push(0x90 | n),
        _ => {
            out.push(0xdc);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    for server in &configuration.servers {
        out.push(0x83);
        put_str(&mut out, "Address");
        put_str(&mut out, &server.address);
        put_str(&mut out, "ID");
        put_str(&mut out, &server.id);
        put_str(&mut out, "Suffrage");
        out.push(server.suffrage.into());
    }
    out
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    match u8::try_from(s.len()) {
        Ok(n) if n < 32 => out.push(0xa0 | n),
        _ => {
            out.push(0xda);
            out.extend_from_slice(&(s.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(s.as_bytes());
}

/// `None` for anything that is not a configuration.
pub(super) fn decode(bytes: &[u8]) -> Option<Configuration> {
    let mut input = Input(bytes);
    let mut servers = Vec::new();
    for _ in 0..input.map()? {
        match input.str()? {
            "Servers" => servers = input.servers()?,
            _ => input.skip(MAX_DEPTH)?,
        }
    }
    input.0.is_empty().then_some(Configuration { servers })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn servers(&mut self) -> Option<Vec<Server>> {
        let n = self.array()?;
        if n > MAX_SERVERS {
            return None;
        }
        (0..n).map(|_| self.server()).collect()
    }

    fn server(&mut self) -> Option<Server> {
        let mut server = Server {
            suffrage: Suffrage::Voter,
            id: String::new(),
            address: String::new(),
        };
        for _ in 0..self.map()? {
            match self.str()? {
                "Suffrage" => server.suffrage = self.byte()?.try_into().ok()?,
                "ID" => server.id = self.str()?.to_owned(),
                "Address" => server.address = self.str()?.to_owned(),
                _ => self.skip(MAX_DEPTH)?,
            }
        }
        Some(server)
    }

    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        let digits = self.bytes(width)?.iter();
        Some(digits.fold(0, |n, b| (n << 8) | usize::from(*b)))
    }

    fn map(&mut self) -> Option<usize> {
        match self.byte()? {
            0xc0 => Some(0),
            b @ 0x80..=0x8f => Some(usize::from(b & 15)),
            0xde => self.number(2),
            _ => None,
        }
    }

    fn array(&mut self) -> Option<usize> {
        match self.byte()? {
            0xc0 => Some(0),
            b @ 0x90..=0x9f => Some(usize::from(b & 15)),
            0xdc => self.number(2),
            _ => None,
        }
    }

    fn str(&mut self) -> Option<&'a str> {
        let n = match self.byte()? {
            0xc0 => 0,
            b @ 0xa0..=0xbf => usize::from(b & 31),
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            _ => return None,
        };
        std::str::from_utf8(self.bytes(n)?).ok()
    }

    /// Passes over one value of any type.
    fn skip(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let b = self.byte()?;
        let values = match b {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 0,
            0x80..=0x8f => 2 * usize::from(b & 15),
            0x90..=0x9f => usize::from(b & 15),
            0xde => 2 * self.number(2)?,
            0xdc => self.number(2)?,
            0xa0..=0xbf => return self.bytes(usize::from(b & 31)).map(drop),
            0xcc | 0xd0 => return self.bytes(1).map(drop),
            0xcd | 0xd1 => return self.bytes(2).map(drop),
            0xca | 0xce | 0xd2 => return self.bytes(4).map(drop),
            0xcb | 0xcf | 0xd3 => return self.bytes(8).map(drop),
            0xc4 | 0xd9 => {
                let n = self.number(1)?;
                return self.bytes(n).map(drop);
            }
            0xc5 | 0xda => {
                let n = self.number(2)?;
                return self.bytes(n).map(drop);
            }
            _ => return None,
        };
        (0..values).try_for_each(|_| self.skip(depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of a configuration entry as a real leader sent it.
    const REAL: &[u8] = include_bytes!("testdata/configuration.bin");

    #[test]
    fn real_bytes_survive() {
        let configuration = decode(REAL).expect("a configuration");
        assert_eq!(configuration.servers.len(), 3);
        assert_eq!(configuration.servers[2].address, "127.0.1.1:8300");
        assert_eq!(encode(&configuration), REAL);
    }

    #[test]
    fn no_prefix_is_a_configuration() {
        for n in 0..REAL.len() {
            assert_eq!(decode(&REAL[..n]), None, "{n} bytes");
        }
    }

    #[test]
    fn unknown_keys_are_passed_over() {
        let mut bytes = vec![0x82, 0xa1, b'X', 0x92, 0x01, 0x81, 0xa1, b'y', 0xc0];
        bytes.extend_from_slice(&REAL[1..]);
        assert_eq!(decode(&bytes), decode(REAL));
    }

    #[test]
    fn deep_nesting_ends() {
        let mut bytes = vec![0x81, 0xa1, b'X'];
        bytes.extend_from_slice(&[0x91; 10_000]);
        assert_eq!(decode(&bytes), None);
    }
}
