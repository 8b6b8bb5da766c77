//! Reading msgpack messages from a stream whose messages carry no length.
//!
//! Holds true: memory for a message grows with the bytes that came, never beyond the limit given; between
//! messages nothing is kept but bytes of the next one.
//! Source: `docs/reference/rpc.md` section 4, `docs/reference/raft.md` section 1.

use std::io;

use smol::io::{AsyncRead, AsyncReadExt};

use crate::wire::extent::Extent;

/// Bytes asked for at first: little, because most streams wait most of the time. Then as many as there are,
const CHUNK: usize = 512;
/// up to so many: a buffer is not to be much larger than what it holds.
const STEP: usize = 128 * 1024;
/// A buffer larger than this is given back between messages.
const KEEP: usize = 16 * 1024;

/// Bytes taken ahead of a message at most while its sender is not listened to.
const MAX_AHEAD: usize = 64 * 1024;

/// Reads messages one after the other.
pub struct MessageReader<R> {
    from: R,
    buffer: Vec<u8>,
    /// Bytes that came, at the front of the buffer.
    filled: usize,
    /// Bytes at the front of the buffer that the last message was made of.
    used: usize,
    /// Bytes asked for at first.
    chunk: usize,
}

impl<R: AsyncRead + Unpin> MessageReader<R> {
    /// A reader at the start of a message.
    pub fn new(from: R) -> Self {
        Self {
            from,
            buffer: Vec::new(),
            filled: 0,
            used: 0,
            chunk: CHUNK,
        }
    }

    /// Asks for so many bytes at first, where messages are larger than most.
    pub fn reading(self, chunk: usize) -> Self {
        Self { chunk, ..self }
    }

    /// Reads the next `values` msgpack values (waiting for them may be given up and begun anew later); their bytes, or `None` when the stream ends before the first.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::UnexpectedEof`] when it ends inside;
    /// [`io::ErrorKind::InvalidData`] when the bytes are no msgpack or more than `limit`.
    pub async fn values(&mut self, values: u64, limit: usize) -> io::Result<Option<&[u8]>> {
        self.values_in(values, limit, &mut |_| true).await
    }

    /// As [`MessageReader::values`], as long as there is room for the bytes that came.
    ///
    /// # Errors
    /// Those of [`MessageReader::values`]; [`io::ErrorKind::WouldBlock`] when there is no room.
    pub async fn values_in(
        &mut self,
        values: u64,
        limit: usize,
        room: &mut (dyn FnMut(usize) -> bool + Send),
    ) -> io::Result<Option<&[u8]>> {
        self.release();
        let mut extent = Extent::new(values);
        loop {
            let found = extent
                .advance(self.came())
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            match found {
                Some(end) if end <= limit => {
                    self.used = end;
                    return Ok(Some(&self.buffer[..end]));
                }
                _ if self.filled > limit => {
                    let why = format!("message larger than {limit} bytes");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                _ if !room(self.filled) => return Err(io::ErrorKind::WouldBlock.into()),
                _ => {}
            }
            if self.fill().await? == 0 {
                if self.filled == 0 {
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads one byte; `None` at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn byte(&mut self) -> io::Result<Option<u8>> {
        self.release();
        if self.filled == 0 && self.fill().await? == 0 {
            return Ok(None);
        }
        self.used = 1;
        Ok(self.came().first().copied())
    }

    /// Reads bytes that are no message, such as a snapshot's; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn raw(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.release();
        if self.filled == 0 {
            return self.from.read(into).await;
        }
        let n = self.filled.min(into.len());
        into[..n].copy_from_slice(&self.buffer[..n]);
        self.used = n;
        Ok(n)
    }

    /// Waits for the stream to end, while no message is expected; one that comes all the same is kept.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::InvalidData`] when more comes than anybody sends ahead.
    pub async fn ended(&mut self) -> io::Result<()> {
        while self.fill().await? > 0 {
            if self.filled - self.used > MAX_AHEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    /// The stream itself; what was read ahead of the last message stays here.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// The stream, if nothing was read ahead of the last message.
    pub fn into_inner(mut self) -> Option<R> {
        self.release();
        (self.filled == 0).then_some(self.from)
    }

    /// What came and is not yet released.
    fn came(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Waits for more bytes; how many came. A caller may stop waiting and come back later.
    async fn fill(&mut self) -> io::Result<usize> {
        let wanted = self.filled + self.chunk.max(self.filled.min(STEP));
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let n = self.from.read(&mut self.buffer[self.filled..]).await?;
        self.filled += n;
        Ok(n)
    }

    /// Gives back what is held of the last message.
    pub fn release(&mut self) {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        if self.filled == 0 && self.buffer.len() > KEEP {
            self.buffer = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::msgpack;

    /// A stream that gives its bytes in small pieces.
    struct Pieces(Vec<u8>, usize);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            let n = self.1.min(self.0.len()).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0.drain(..n);
            std::task::Poll::Ready(Ok(n))
        }
    }

    #[test]
    fn messages_come_whole_whatever_the_pieces() {
        let mut bytes = Vec::new();
        let texts = ["", "a", &"long".repeat(9000), "end"];
        for text in texts {
            msgpack::append(&mut bytes, &text).unwrap();
        }
        for size in [1, 7, 4096, 1 << 20] {
            let mut reader = MessageReader::new(Pieces(bytes.clone(), size));
            for text in texts {
                let read = crate::net::block_on(reader.values(1, 1 << 20))
                    .unwrap()
                    .unwrap();
                assert_eq!(msgpack::from_slice::<String>(read).unwrap(), text);
            }
            assert!(
                crate::net::block_on(reader.values(1, 10))
                    .unwrap()
                    .is_none()
            );
        }
    }

    #[test]
    fn what_is_too_large_or_cut_off_is_refused() {
        let bytes = msgpack::to_vec(&"x".repeat(5000)).unwrap();
        let kind = |bytes: &[u8], limit| {
            let mut reader = MessageReader::new(Pieces(bytes.to_vec(), 100));
            crate::net::block_on(reader.values(1, limit))
                .unwrap_err()
                .kind()
        };
        assert_eq!(kind(&bytes, 1000), io::ErrorKind::InvalidData);
        assert_eq!(kind(&bytes[..4000], 10_000), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"\xc1", 10), io::ErrorKind::InvalidData);
    }
}
