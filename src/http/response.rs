//! An answer before it goes on the wire.
//!
//! Holds true: JSON stays compact until the conventions are applied (`service` indents and compresses),
//! and large bodies are sent piece by piece.
//! Source: `docs/reference/http-1.md` section 1.3.

use std::fs::File;
use std::pin::Pin;

use crate::codec::Serialize;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use smol::stream::Stream;

use super::error::HttpError;
use crate::ui::Asset;
use crate::wire::json;

/// Pieces of a body that is not known at once; an error ends the connection in the middle.
pub type Pieces = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// An answer's body.
pub enum Body {
    /// Nothing.
    Empty,
    /// Compact JSON.
    Json(Vec<u8>),
    /// Bytes as they are.
    Bytes(Bytes),
    /// A file of the page: compressed already, unpacked for clients that cannot do that.
    Packed(&'static Asset),
    /// An open file from its current position to its end.
    File(File),
    /// Whatever comes, as it comes.
    Pieces(Pieces),
}

/// An answer.
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Headers beyond those that every answer has.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// 200 with nothing in it: no body, no `Content-Type`.
    pub fn empty() -> Response {
        Response::status(StatusCode::OK)
    }

    /// A status with an empty body.
    pub fn status(status: StatusCode) -> Response {
        Response {
            status,
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }

    /// 200 with a value as JSON.
    ///
    /// # Errors
    /// 500 when the value holds a number that JSON cannot express.
    pub fn json(value: &dyn Serialize) -> Result<Response, HttpError> {
        let text = json::to_vec(value).map_err(|e| HttpError::internal(e.to_string()))?;
        Ok(Response::raw_json(text))
    }

    /// 200 with compact JSON that is already written.
    pub fn raw_json(text: Vec<u8>) -> Response {
        Response {
            body: Body::Json(text),
            ..Response::empty()
        }
    }

    /// 200 with bytes of a type.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
        let body = Body::Bytes(bytes.into());
        Response {
            body,
            ..Response::empty()
        }
        .with(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// 200 with plain text, in the form that errors have.
    pub fn text(text: impl Into<Bytes>) -> Response {
        Response::bytes("text/plain; charset=utf-8", text)
    }

    /// Sets a header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Response {
        self.headers.insert(name, value);
        self
    }

    /// Sets the status.
    pub fn with_status(mut self, status: StatusCode) -> Response {
        self.status = status;
        self
    }
}
