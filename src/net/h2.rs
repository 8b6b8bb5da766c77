//! A minimal HTTP/2 client: a ping, and one request with its answer and trailers. Enough for the health
//! protocol of gRPC and for H2PING checks; a full library would bring a runtime of its own and a
//! quarter of a megabyte.
//!
//! Holds true: one request at a time; what the peer may send is bounded by [`MAX_DATA`] and
//! [`MAX_HEADERS`]; nothing here bounds its waiting.
//! Source: RFC 9113 sections 3.4, 4, 6 and 8; gRPC over HTTP/2 (the protocol's public description).

use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::dial::errno_text;
use super::hpack::{self, Header};
use crate::structs::{Error, Result};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most data of an answer that is kept, in bytes.
const MAX_DATA: usize = 64 << 10;
/// The longest header block that is read, in bytes.
const MAX_HEADERS: usize = 64 << 10;
/// The largest frame a peer may send without having been allowed more, in bytes.
const MAX_FRAME: usize = 16_384;
/// The most frames read while waiting for one answer.
const MAX_FRAMES: usize = 4096;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Setting 1, the size of the table of remembered headers: none, so that ours needs no such table.
const NO_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];
/// Setting 2: no pushed answers.
const NO_PUSH: [u8; 6] = [0, 2, 0, 0, 0, 0];

/// A frame.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The answer to a request.
#[derive(Debug, Default)]
pub struct Answer {
    /// Those before the body.
    pub headers: Vec<Header>,
    /// The body.
    pub data: Vec<u8>,
    /// Those that ended the answer; `None` when data did. An answer of nothing but headers has them here too.
    pub trailers: Option<Vec<Header>>,
}

/// The value of a header, the last one when there are several.
pub fn header<'h>(headers: &'h [Header], name: &str) -> Option<&'h str> {
    let found = headers.iter().rev().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The connection ended, or what came was not understood.
    Closed(Error),
    /// The peer ended the stream, with this code of RFC 9113 section 7.
    Reset(u32),
    /// The peer is going away and did not take the request.
    Draining,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Closed(error)
    }
}

/// A connection as a client.
pub struct Connection<S> {
    io: S,
    next_stream: u32,
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(errno_text(error))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends the preface and our settings, and waits for the peer's.
    ///
    /// # Errors
    /// When the peer does not speak HTTP/2.
    pub async fn handshake(io: S) -> Result<Self> {
        let mut connection = Self { io, next_stream: 1 };
        let mut hello = PREFACE.to_vec();
        put_frame(&mut hello, SETTINGS, 0, 0, &[NO_TABLE, NO_PUSH].concat());
        connection.send(&hello).await?;
        let first = connection.receive().await?;
        if first.kind != SETTINGS || first.flags & ACK != 0 {
            return Err(Error::new("http2: server sent no SETTINGS first"));
        }
        connection.acknowledge(&first).await?;
        Ok(connection)
    }

    /// Sends a ping and waits for its answer.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn ping(&mut self) -> Result<()> {
        let mark = fastrand::u64(..).to_be_bytes();
        let mut out = Vec::new();
        put_frame(&mut out, PING, 0, 0, &mark);
        self.send(&out).await?;
        for _ in 0..MAX_FRAMES {
            let frame = self.receive().await?;
            if frame.kind == PING && frame.flags & ACK != 0 && frame.payload == mark {
                return Ok(());
            }
            self.acknowledge(&frame).await?;
        }
        Err(Error::new("http2: no answer to ping"))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the connection or the stream ends first, or the answer is too large.
    pub async fn request(
        &mut self,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::result::Result<Answer, Failure> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut block = Vec::new();
        for (name, value) in headers {
            hpack::encode(&mut block, name, value);
        }
        if block.len() > MAX_FRAME || body.len() > MAX_FRAME {
            return Err(Error::new("http2: request too large").into());
        }
        let mut out = Vec::new();
        put_frame(&mut out, HEADERS, END_HEADERS, stream, &block);
        put_frame(&mut out, DATA, END_STREAM, stream, body);
        self.send(&out).await?;

        let mut answer = Answer::default();
        for _ in 0..MAX_FRAMES {
            let frame = self.receive().await?;
            if frame.kind == GOAWAY {
                // What it has taken it still answers.
                if last_taken(&frame)? < stream {
                    return Err(Failure::Draining);
                }
                continue;
            }
            if frame.stream != stream {
                self.acknowledge(&frame).await?;
                continue;
            }
            let last = frame.flags & END_STREAM != 0;
            match frame.kind {
                DATA => {
                    let data = unpad(&frame, 0)?;
                    if answer.data.len() + data.len() > MAX_DATA {
                        return Err(Error::new("http2: answer too large").into());
                    }
                    answer.data.extend_from_slice(data);
                }
                HEADERS => {
                    let block = self.header_block(&frame).await?;
                    let headers = hpack::decode(&block)?;
                    if answer.headers.is_empty() {
                        answer.headers.clone_from(&headers);
                    }
                    answer.trailers = last.then_some(headers);
                }
                RST_STREAM => return Err(Failure::Reset(code(&frame)?)),
                _ => continue,
            }
            if last {
                return Ok(answer);
            }
        }
        Err(Error::new("http2: too many frames").into())
    }

    /// The header block that begins with this frame and goes on in continuations.
    async fn header_block(&mut self, frame: &Frame) -> Result<Vec<u8>> {
        let priority = if frame.flags & PRIORITY != 0 { 5 } else { 0 };
        let mut block = unpad(frame, priority)?.to_vec();
        let mut done = frame.flags & END_HEADERS != 0;
        while !done {
            let next = self.receive().await?;
            if next.kind != CONTINUATION || next.stream != frame.stream {
                return Err(Error::new("http2: header block interrupted"));
            }
            if block.len() + next.payload.len() > MAX_HEADERS {
                return Err(Error::new("http2: header list too large"));
            }
            block.extend_from_slice(&next.payload);
            done = next.flags & END_HEADERS != 0;
        }
        Ok(block)
    }

    /// Answers what a peer may send at any time.
    async fn acknowledge(&mut self, frame: &Frame) -> Result<()> {
        let mut out = Vec::new();
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => put_frame(&mut out, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => put_frame(&mut out, PING, ACK, 0, &frame.payload),
            GOAWAY => {
                return Err(Error::new(
                    "http2: server sent GOAWAY and closed the connection",
                ));
            }
            _ => return Ok(()),
        }
        self.send(&out).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.io.write_all(bytes).await.map_err(|e| lost(&e))?;
        self.io.flush().await.map_err(|e| lost(&e))
    }

    async fn receive(&mut self) -> Result<Frame> {
        let mut head = [0u8; 9];
        self.io.read_exact(&mut head).await.map_err(|e| lost(&e))?;
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > MAX_FRAME {
            return Err(Error::new("http2: frame too large"));
        }
        let mut payload = vec![0; length];
        self.io
            .read_exact(&mut payload)
            .await
            .map_err(|e| lost(&e))?;
        Ok(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            payload,
        })
    }
}

/// The four bytes of a frame from here on as a number.
fn number(frame: &Frame, at: usize) -> Result<u32> {
    match frame.payload.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(Error::new("http2: frame too short")),
    }
}

/// The last stream that a peer that is going away has taken.
fn last_taken(frame: &Frame) -> Result<u32> {
    Ok(number(frame, 0)? & 0x7fff_ffff)
}

/// The code with which a peer ended a stream.
fn code(frame: &Frame) -> Result<u32> {
    number(frame, 0)
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The payload without padding and without the first `skip` bytes.
fn unpad(frame: &Frame, skip: usize) -> Result<&[u8]> {
    let bad = || Error::new("http2: invalid padding");
    let mut payload = frame.payload.as_slice();
    if frame.flags & PADDED != 0 {
        let (pad, rest) = payload.split_first().ok_or_else(bad)?;
        let keep = rest.len().checked_sub(usize::from(*pad)).ok_or_else(bad)?;
        payload = &rest[..keep];
    }
    payload.get(skip..).ok_or_else(bad)
}
