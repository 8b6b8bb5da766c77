//! An answer's body on its way out.
//!
//! Source: the documentation of `http-body`.

use std::convert::Infallible;
use std::fs::File;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use smol::Unblock;
use smol::io::AsyncReadExt;

use super::budget::Share;
use super::response::Pieces;

/// Bytes that are read from a file at once.
const FILE_PIECE: usize = 64 << 10;

/// A body for hyper.
pub enum OutBody {
    /// All of it; `None` when it was sent or there is none.
    Whole(Option<Bytes>),
    /// Piece by piece.
    Pieces(Pieces),
}

impl OutBody {
    /// No body.
    pub fn empty() -> OutBody {
        OutBody::Whole(None)
    }

    /// How many bytes there are, when all of them are here.
    pub fn held(&self) -> usize {
        match self {
            OutBody::Whole(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            OutBody::Pieces(_) => 0,
        }
    }

    /// Keeps room until the bytes are sent.
    pub fn keep(&mut self, share: Share) {
        if let OutBody::Whole(bytes) = self {
            *bytes = bytes.take().map(|bytes| share.hold(bytes));
        }
    }

    /// A body whose bytes are known.
    pub fn whole(bytes: impl Into<Bytes>) -> OutBody {
        let bytes = bytes.into();
        OutBody::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

/// A file's rest as pieces; reading happens on the pool for blocking work.
pub fn file_pieces(file: File) -> Pieces {
    let file = Unblock::with_capacity(FILE_PIECE, file);
    Box::pin(smol::stream::unfold(Some(file), async |file| {
        let mut file = file?;
        let mut piece = vec![0; FILE_PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok(Bytes::from(piece)), Some(file)))
            }
            Err(e) => Some((Err(e), None)),
        }
    }))
}

/// What ends a connection in the middle of an answer.
pub type BodyError = std::io::Error;

impl HttpBody for OutBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            OutBody::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            OutBody::Pieces(pieces) => {
                let piece = std::task::ready!(pieces.as_mut().poll_next(cx));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, OutBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            OutBody::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A service that answers everything never fails.
pub type Never = Infallible;
