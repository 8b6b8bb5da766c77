//! The room's error: a status and the text that the user reads.
//!
//! Holds true: a handler that fails has changed nothing beyond what its call to the servers did before
//! it failed.
//! Source: `docs/reference/http-1.md` section 1.9.

use std::borrow::Cow;

use hyper::StatusCode;

use crate::structs::{self, ACL_NOT_FOUND, PERMISSION_DENIED, RPC_RATE_EXCEEDED};

/// A request that failed, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body.
    pub text: Cow<'static, str>,
    /// Send the headers of a read that failed: index 1, no known leader, last contact 0.
    pub meta: bool,
    /// Say `Connection: close` and close.
    pub close: bool,
}

impl HttpError {
    /// An error with a status and a text.
    pub fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            meta: false,
            close: false,
        }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// 404 with a text.
    pub fn not_found(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 500: everything without a status of its own.
    pub fn internal(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// 400 for a body that is not the JSON it should be.
    pub fn decode(cause: impl std::fmt::Display) -> Self {
        Self::bad_request(format!("Request decode failed: {cause}"))
    }

    /// 501: a feature of Consul that this agent does not have, as in `Config entries are`.
    pub fn missing(feature: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "{feature} not supported by this version of consul-lite: use a Consul server for it"
            ),
        )
    }

    /// Adds the headers of a failed read.
    pub fn with_meta(mut self) -> Self {
        self.meta = true;
        self
    }

    /// Closes the connection after the answer.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

/// An error of the servers: the status follows from known texts.
impl From<structs::Error> for HttpError {
    fn from(e: structs::Error) -> Self {
        if e.is(RPC_RATE_EXCEEDED) {
            return Self::new(StatusCode::TOO_MANY_REQUESTS, "");
        }
        let status = if e.is(PERMISSION_DENIED) || e.is(ACL_NOT_FOUND) {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::new(status, e.text().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_by_known_text() {
        let status = |text: &'static str| HttpError::from(structs::Error::new(text)).status;
        assert_eq!(status("rpc error making call: Permission denied"), 403);
        assert_eq!(status("rpc error making call: ACL not found"), 403);
        assert_eq!(status("No cluster leader"), 500);
        let limited = HttpError::from(structs::Error::new(RPC_RATE_EXCEEDED)).with_meta();
        assert_eq!((limited.status.as_u16(), limited.meta), (429, true));
        assert_eq!(limited.text, "");
    }
}
