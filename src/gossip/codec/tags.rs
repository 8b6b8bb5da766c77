//! A member's tags as the metadata of its alive message.
//!
//! Source: `docs/reference/gossip.md` section 10.1.

use std::collections::BTreeMap;

use crate::gossip::Error;
use crate::wire::msgpack;

/// Says that the metadata is a map; without it, it is the one tag `role`.
const MAGIC: u8 = 0xff;
/// Most bytes of encoded tags.
pub const MAX_META: usize = 512;

/// Names and values.
pub type Tags = BTreeMap<String, String>;

/// Encodes tags.
///
/// # Errors
/// When they are longer than [`MAX_META`], in Consul's words.
pub fn encode(tags: &Tags) -> Result<Vec<u8>, Error> {
    let mut out = vec![MAGIC];
    msgpack::append(&mut out, tags)?;
    if out.len() > MAX_META {
        return Err(Error::Request(format!(
            "Encoded length of tags exceeds limit of {MAX_META} bytes"
        )));
    }
    Ok(out)
}

/// Decodes tags; what is not a map of texts has none.
pub fn decode(meta: &[u8]) -> Tags {
    match meta.split_first() {
        Some((&MAGIC, map)) => msgpack::from_slice(map).unwrap_or_default(),
        _ => {
            let role = String::from_utf8_lossy(meta).into_owned();
            Tags::from([("role".to_owned(), role)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_the_old_form() {
        let tags = Tags::from([("a".to_owned(), "b".to_owned())]);
        let meta = encode(&tags).unwrap();
        assert_eq!(meta, b"\xff\x81\xa1a\xa1b");
        assert_eq!(decode(&meta), tags);
        assert_eq!(decode(b"web")["role"], "web");
        assert!(decode(b"\xff\x81\xa1a").is_empty());
        let long = Tags::from([("a".to_owned(), "x".repeat(600))]);
        assert!(encode(&long).is_err());
    }
}
