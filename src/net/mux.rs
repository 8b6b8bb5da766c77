//! Many streams over one connection: yamux, as every agent speaks it on port 8300.
//!
//! A connection is driven by one future, which whoever opens it must run; opening streams and using them
//! happens from anywhere. Frames that come together leave together: before the driver sends, whoever else is
//! about to say something gets the chance to. Holds true: what a peer may open and have in flight is bounded.
//! Leaves to others: what the streams carry. Source: `docs/reference/rpc.md` section 3.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use smol::channel::{Receiver, Sender};
use smol::io::{AsyncRead, AsyncWrite};
use smol::stream::Stream as _;
use yamux::{Config, Connection, ConnectionError, Mode};

use super::gather::Gather;

/// A stream of a multiplexed connection.
pub type MuxStream = yamux::Stream;

/// Streams of one connection at most: one per blocked query of a busy agent.
const MAX_STREAMS: usize = 16_384;
/// Bytes of one frame at most when sending.
const MAX_FRAME: usize = 64 * 1024;
/// Openings that wait for the driver, at most; beyond, callers wait.
const OPENINGS: usize = 64;

/// Anything that carries a connection.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// Opens streams of a connection; the connection closes when the last of its clones is gone.
#[derive(Clone)]
pub struct Opener {
    openings: Sender<Sender<MuxStream>>,
}

impl Opener {
    /// Opens a stream.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn open(&self) -> io::Result<MuxStream> {
        let (answer, stream) = smol::channel::bounded(1);
        let ended = |_| io::Error::new(io::ErrorKind::BrokenPipe, "session shutdown");
        self.openings
            .send(answer)
            .await
            .map_err(|_| ended(smol::channel::RecvError))?;
        stream.recv().await.map_err(ended)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.openings.is_closed()
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(MAX_STREAMS);
    config.set_split_send_size(MAX_FRAME);
    config
}

/// The dialling side of a connection: the opener, and the future that drives the connection to its end.
pub fn client(carrier: impl Carrier) -> (Opener, impl Future<Output = ()> + Send) {
    let (openings, wanted) = smol::channel::bounded(OPENINGS);
    let output = Output::new(carrier);
    let connection = Connection::new(output.carrier.clone(), config(), Mode::Client);
    (
        Opener { openings },
        drive_client(connection, output, wanted),
    )
}

/// What a connection has to send.
struct Output<T> {
    carrier: Gather<T>,
    /// The others have had their turn since something was there to be sent.
    waited: bool,
}

impl<T: Carrier> Output<T> {
    fn new(carrier: T) -> Self {
        Self {
            carrier: Gather::new(carrier),
            waited: false,
        }
    }

    /// Sends, after everybody who is ready to run has run; ready when that failed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.carrier.holds() {
            return Poll::Pending;
        }
        if !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.carrier.poll_send(cx) {
            Poll::Ready(Ok(())) => self.waited = false,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {}
        }
        Poll::Pending
    }
}

async fn drive_client<T: Carrier>(
    mut connection: Connection<Gather<T>>,
    mut output: Output<T>,
    wanted: Receiver<Sender<MuxStream>>,
) {
    let mut openings = pin!(wanted.clone());
    let mut opening: Option<Sender<MuxStream>> = None;
    let mut closing = false;
    poll_fn(|cx| {
        while !closing {
            if opening.is_none() {
                match openings.as_mut().poll_next(cx) {
                    Poll::Ready(Some(answer)) => opening = Some(answer),
                    Poll::Ready(None) => closing = true,
                    Poll::Pending => {}
                }
            }
            if opening.is_none() {
                break;
            }
            match connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => {
                    if let Some(answer) = opening.take() {
                        // The caller may have gone away: the stream is dropped and reset.
                        let _ = answer.try_send(stream);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if closing {
            return connection.poll_close(cx).map(|_| ());
        }
        // Consul's servers open no streams: what comes here is dropped, which refuses it.
        match poll_inbound(&mut connection, cx, |_| {}) {
            Poll::Pending => output.poll_send(cx),
            Poll::Ready(_) => Poll::Ready(()),
        }
    })
    .await;
    wanted.close();
}

/// Drives the accepting side of a connection to its end, handing over each stream that the peer opens.
///
/// # Errors
/// When what the peer sends is not what is spoken here; not when the connection just ends.
pub async fn serve(
    carrier: impl Carrier,
    mut accepted: impl FnMut(MuxStream),
) -> Result<(), ConnectionError> {
    let mut output = Output::new(carrier);
    let mut connection = Connection::new(output.carrier.clone(), config(), Mode::Server);
    poll_fn(
        |cx| match poll_inbound(&mut connection, cx, &mut accepted) {
            Poll::Pending => output.poll_send(cx).map(Ok),
            ended => ended,
        },
    )
    .await
}

/// Moves the connection on; ready when it has ended.
fn poll_inbound<T: Carrier>(
    connection: &mut Connection<T>,
    cx: &mut Context<'_>,
    mut accepted: impl FnMut(MuxStream),
) -> Poll<Result<(), ConnectionError>> {
    loop {
        match connection.poll_next_inbound(cx) {
            Poll::Ready(Some(Ok(stream))) => accepted(stream),
            Poll::Ready(Some(Err(ConnectionError::Io(_) | ConnectionError::Closed)) | None) => {
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(wrong))) => return Poll::Ready(Err(wrong)),
            Poll::Pending => return Poll::Pending,
        }
    }
}
