//! What the pool asks of its driver, and what it has to tell.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::members::Member;
use super::snapshot;

/// One thing to do, or to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this datagram.
    Packet {
        /// Where to.
        to: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// Connect, send these bytes, read one message (as [`Framer`](super::codec::framing::Framer) finds
    /// it), and hand that to [`Pool::stream_answered`](super::Pool::stream_answered); or say
    /// [`Pool::stream_failed`](super::Pool::stream_failed).
    Dial {
        /// Names the stream.
        stream: u64,
        /// Where to.
        to: SocketAddr,
        /// What to send.
        bytes: Vec<u8>,
        /// When to give up.
        deadline: Duration,
    },
    /// Something has happened.
    Event(Event),
    /// Something is to be written to the snapshot's file.
    Snapshot(snapshot::Write),
    /// The keys have changed, here they are, the primary first: the keyring's file is to be rewritten.
    Keyring(Vec<Vec<u8>>),
}

/// What may happen to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there.
    Join,
    /// It has left.
    Leave,
    /// It does not answer any more.
    Failed,
    /// Its tags are others.
    Update,
    /// It is forgotten.
    Reap,
}

impl Change {
    /// The word in Serf's log.
    pub fn word(self) -> &'static str {
        match self {
            Change::Join => "MemberJoin",
            Change::Leave => "MemberLeave",
            Change::Failed => "MemberFailed",
            Change::Update => "MemberUpdate",
            Change::Reap => "MemberReap",
        }
    }
}

/// A query that the application may answer with [`Pool::respond`](super::Pool::respond).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Names the query, together with `id`.
    pub ltime: u64,
    /// Names the query, together with `ltime`.
    pub id: u32,
    /// Who asks.
    pub source: String,
    /// Name.
    pub name: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Answers after this are of no use.
    pub deadline: Duration,
}

/// How an operation on all keyrings went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyOutcome {
    /// Members asked.
    pub nodes: usize,
    /// Members that answered.
    pub responses: usize,
    /// Members that could not do it.
    pub errors: usize,
    /// What members had to say.
    pub messages: BTreeMap<String, String>,
    /// Keys in base64 with the number of members that have them.
    pub keys: BTreeMap<String, usize>,
    /// Primary keys in base64 with the number of members that use them.
    pub primary_keys: BTreeMap<String, usize>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// To a member.
    Member(Change, Member),
    /// A user event came.
    User {
        /// Event clock.
        ltime: u64,
        /// Name.
        name: String,
        /// Payload.
        payload: Vec<u8>,
        /// Only the last of several is of interest.
        coalesce: bool,
    },
    /// A query came that is not Serf's own.
    Query(Asked),
    /// Somebody has taken notice of our query.
    QueryAck {
        /// Our query.
        query: u32,
        /// Who.
        from: String,
    },
    /// Somebody answers our query.
    QueryAnswer {
        /// Our query.
        query: u32,
        /// Who.
        from: String,
        /// The answer.
        payload: Vec<u8>,
    },
    /// Our query waits no longer.
    QueryDone {
        /// Our query.
        query: u32,
    },
    /// An operation on all keyrings is done.
    Keys {
        /// What was returned when it was asked for.
        query: u32,
        /// How it went.
        outcome: KeyOutcome,
    },
    /// A join is done.
    Joined {
        /// What [`Pool::join`](super::Pool::join) returned.
        join: u64,
        /// How many of the addresses could be joined.
        reached: usize,
        /// What went wrong with the others.
        errors: Vec<(SocketAddr, String)>,
    },
    /// We have left; the pool does nothing any more.
    Left,
    /// The others say that our name is another member's; the pool does nothing any more.
    NameLost,
}
