//! The error that crosses every room up to the user: Consul's own text.
//!
//! Consul's peers and clients recognise errors by text, so the text is the error. The constants are the
//! texts that somebody compares with; the status a text gets over HTTP is the HTTP room's affair.
//! Source: `docs/reference/rpc.md` section 4, `docs/reference/http-1.md` section 1.9.

use std::borrow::Cow;
use std::fmt;

/// No leader is known, after waiting for one.
pub const NO_CLUSTER_LEADER: &str = "No cluster leader";
/// The datacenter is unknown.
pub const NO_PATH_TO_DATACENTER: &str = "No path to datacenter";
/// None of the servers of another datacenter is there.
pub const DATACENTER_UNREACHABLE: &str = "Remote DC has no server currently reachable";
/// A client agent knows no server.
pub const NO_KNOWN_SERVERS: &str = "No known Consul servers";
/// The token may not do this.
pub const PERMISSION_DENIED: &str = "Permission denied";
/// The token does not exist.
pub const ACL_NOT_FOUND: &str = "ACL not found";
/// ACLs are off.
pub const ACL_DISABLED: &str = "ACL support disabled";
/// The leader has not applied its start-up barrier yet.
pub const NOT_READY_CONSISTENT: &str = "Not ready to serve consistent reads";
/// A client agent makes more calls than `limits.rpc_rate` allows.
pub const RPC_RATE_EXCEEDED: &str = "RPC rate limit exceeded";
/// A leader that changed in the middle of a large write asks for all of it again.
pub const RESUBMIT_CHUNKS: &str = "please resubmit call for rechunking";
/// A prepared query does not exist.
pub const QUERY_NOT_FOUND: &str = "Query not found";

/// An error in the words the user reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, str>);

/// Result with the shared [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a fixed or built text.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is (or was relayed from) the given known text.
    pub fn is(&self, known: &str) -> bool {
        self.0.contains(known)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static str> for Error {
    fn from(text: &'static str) -> Self {
        Self(text.into())
    }
}
