//! The exchange of all that two nodes know: a header, the member table, the layer above's state.
//!
//! Holds true: the number of members and the bytes of the state are bounded.
//! Leaves to others: what the state of the layer above is (`serf`), merging (`push_pull` of the room).
//! Source: `docs/reference/gossip.md` section 4.1.

use super::kind;
use crate::codec::{Deserialize, Serialize};
use crate::gossip::Error;
use crate::structs::go::Bytes;
use crate::wire::msgpack;

/// Most members of a pool.
pub const MAX_MEMBERS: usize = 16_384;
/// Most bytes of the layer above's state.
pub const MAX_USER_STATE: usize = 2 << 20;

/// What goes before the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Header {
    pub join: bool,
    nodes: i64,
    user_state_len: i64,
}

impl Header {
    /// The number of members and of bytes that follow.
    ///
    /// # Errors
    /// Beyond the limits.
    pub fn sizes(&self) -> Result<(usize, usize), Error> {
        let within = |n: i64, limit: usize, what| match usize::try_from(n) {
            Ok(n) if n <= limit => Ok(n),
            _ => Err(Error::TooLarge(what)),
        };
        Ok((
            within(self.nodes, MAX_MEMBERS, "the number of nodes")?,
            within(self.user_state_len, MAX_USER_STATE, "the user state")?,
        ))
    }
}

/// The state of a member in the table of another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum NodeStatus {
    /// There.
    #[default]
    Alive = 0,
    /// Does not answer.
    Suspect = 1,
    /// Gone without a word.
    Dead = 2,
    /// Gone with a word.
    Left = 3,
}

impl NodeStatus {
    /// The status with this number.
    pub fn from_number(n: i64) -> Option<Self> {
        match n {
            0 => Some(Self::Alive),
            1 => Some(Self::Suspect),
            2 => Some(Self::Dead),
            3 => Some(Self::Left),
            _ => None,
        }
    }
}

/// One line of the member table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NodeState {
    /// Who.
    pub name: String,
    /// Address.
    pub addr: Bytes,
    /// Port.
    pub port: u16,
    /// Tags, encoded.
    pub meta: Bytes,
    /// Newest incarnation known.
    pub incarnation: u32,
    /// A [`NodeStatus`] as its number.
    pub state: i64,
    /// [`Versions`](super::message::Versions).
    pub vsn: Bytes,
}

/// One direction of the exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushPull {
    /// It comes from a join.
    pub join: bool,
    /// The member table, the sender included.
    pub nodes: Vec<NodeState>,
    /// The state of the layer above.
    pub user_state: Vec<u8>,
}

impl PushPull {
    /// Reads what is behind the type byte.
    ///
    /// # Errors
    /// When it is not whole or too large.
    pub fn decode(mut body: &[u8]) -> Result<Self, Error> {
        let header: Header = msgpack::next(&mut body)?;
        let (count, state) = header.sizes()?;
        let mut nodes = Vec::with_capacity(count.min(body.len()));
        for _ in 0..count {
            nodes.push(msgpack::next(&mut body)?);
        }
        let user_state = body.get(..state).ok_or(Error::Truncated)?.to_vec();
        Ok(Self {
            join: header.join,
            nodes,
            user_state,
        })
    }

    /// Writes it, type byte first.
    ///
    /// # Errors
    /// Never for tables within the limits.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = vec![kind::PUSH_PULL];
        let header = Header {
            join: self.join,
            nodes: self.nodes.len() as i64,
            user_state_len: self.user_state.len() as i64,
        };
        msgpack::append(&mut out, &header)?;
        for node in &self.nodes {
            msgpack::append(&mut out, node)?;
        }
        out.extend_from_slice(&self.user_state);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_ends() {
        let whole = PushPull {
            join: true,
            nodes: vec![NodeState::default(); 3],
            user_state: vec![1, 2, 3],
        };
        let bytes = whole.encode().unwrap();
        assert_eq!(PushPull::decode(&bytes[1..]), Ok(whole));
        for cut in 1..bytes.len() {
            assert_eq!(PushPull::decode(&bytes[1..cut]), Err(Error::Truncated));
        }
        for (nodes, user_state_len) in [(-1, 0), (1 << 40, 0), (0, -1), (0, 1 << 40)] {
            let header = Header {
                join: false,
                nodes,
                user_state_len,
            };
            let bytes = msgpack::to_vec(&header).unwrap();
            assert!(matches!(PushPull::decode(&bytes), Err(Error::TooLarge(_))));
        }
    }
}
