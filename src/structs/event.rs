//! User events: what users fire and list, and the form in which they travel through gossip.
//!
//! Source: `docs/reference/http-1.md` section 5, `docs/reference/gossip.md` section 15.4.

use super::go::Bytes;
use crate::codec::{Deserialize, Serialize};

/// The version of user events that is spoken.
pub const USER_EVENT_VERSION: i64 = 1;

/// A user event as users see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserEvent {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Name")]
    pub name: String,
    #[serde(rename = "Payload")]
    pub payload: Bytes,
    /// Regular expression on node names, empty for all.
    #[serde(rename = "NodeFilter")]
    pub node_filter: String,
    /// Regular expression on names of local services, empty for all.
    #[serde(rename = "ServiceFilter")]
    pub service_filter: String,
    /// Regular expression on tags of a service that matches, empty for all.
    #[serde(rename = "TagFilter")]
    pub tag_filter: String,
    #[serde(rename = "Version")]
    pub version: i64,
    /// Serf's event time; 0 in the answer of a fire.
    #[serde(rename = "LTime")]
    pub ltime: u64,
}

/// A user event inside a gossip message. Writing it needs msgpack's newer specification: [`UserEventPayload::encode`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UserEventPayload {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "p")]
    pub payload: Bytes,
    #[serde(rename = "nf")]
    pub node_filter: String,
    #[serde(rename = "sf")]
    pub service_filter: String,
    #[serde(rename = "tf")]
    pub tag_filter: String,
    #[serde(rename = "v")]
    pub version: i64,
}

impl From<&UserEvent> for UserEventPayload {
    fn from(event: &UserEvent) -> Self {
        Self {
            id: event.id.clone(),
            name: event.name.clone(),
            payload: event.payload.clone(),
            node_filter: event.node_filter.clone(),
            service_filter: event.service_filter.clone(),
            tag_filter: event.tag_filter.clone(),
            version: event.version,
        }
    }
}

impl UserEventPayload {
    /// The bytes that travel: a msgpack map of the newer specification (str8 and bin8), empty members left out.
    pub fn encode(&self) -> Vec<u8> {
        let texts = [
            ("ID", &self.id),
            ("n", &self.name),
            ("nf", &self.node_filter),
            ("sf", &self.service_filter),
            ("tf", &self.tag_filter),
        ];
        let kept: Vec<_> = texts
            .into_iter()
            .filter(|(key, v)| !v.is_empty() || matches!(*key, "ID" | "n"))
            .collect();
        let with_payload = usize::from(!self.payload.is_empty());
        // At most seven members, each key shorter than 32 bytes: both fit their one-byte forms.
        let mut out = vec![0x80 | (kept.len() + 1 + with_payload) as u8];
        for (key, value) in kept {
            put_text(&mut out, key);
            put_text(&mut out, value);
        }
        if with_payload == 1 {
            put_text(&mut out, "p");
            put_length(&mut out, 0xc4, self.payload.len());
            out.extend_from_slice(&self.payload);
        }
        put_text(&mut out, "v");
        out.push(self.version.clamp(0, 127) as u8);
        out
    }

    /// The event that users see, at Serf's event time.
    pub fn event(self, ltime: u64) -> UserEvent {
        UserEvent {
            id: self.id,
            name: self.name,
            payload: self.payload,
            node_filter: self.node_filter,
            service_filter: self.service_filter,
            tag_filter: self.tag_filter,
            version: self.version,
            ltime,
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(n) if n < 32 => out.push(0xa0 | n),
        _ => put_length(out, 0xd9, text.len()),
    }
    out.extend_from_slice(text.as_bytes());
}

/// A length after the first of three consecutive codes: for 8, 16 and 32 bits.
fn put_length(out: &mut Vec<u8>, code: u8, length: usize) {
    if let Ok(n) = u8::try_from(length) {
        out.extend_from_slice(&[code, n]);
    } else if let Ok(n) = u16::try_from(length) {
        out.push(code + 1);
        out.extend_from_slice(&n.to_be_bytes());
    } else {
        out.push(code + 2);
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_leaves_empty_members_out() {
        let event = UserEventPayload {
            id: "i".into(),
            name: "n".repeat(40),
            payload: Bytes(vec![7]),
            version: 1,
            ..UserEventPayload::default()
        };
        let mut want = vec![0x84, 0xa2, b'I', b'D', 0xa1, b'i', 0xa1, b'n', 0xd9, 40];
        want.extend_from_slice(&[b'n'; 40]);
        want.extend_from_slice(&[0xa1, b'p', 0xc4, 1, 7, 0xa1, b'v', 1]);
        assert_eq!(event.encode(), want);
    }
}
