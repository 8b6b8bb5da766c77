//! Serves one connection, and lets those whose request blocks do without hyper.
//!
//! A blocking query waits for minutes, and hyper would hold two buffers of 8 KiB and its own state for as long.
//! So the stream is taken from hyper before the handler runs, and goes to a fresh hyper with the answer at hand.
//! Holds true: the client sees no difference, and nothing that it sent or was sent is lost: the stream is taken
//! only when all earlier answers are out, and what hyper had read beyond the request is read again.
//! Source: the documentation of hyper's `http1::Connection::into_parts`.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Version};

use super::body::Never;
use super::conn::{Conn, SharedPhase};
use super::service::{OutResponse, Service};
use crate::drive;
use crate::net;

/// A request's head beyond this many bytes is refused with 431.
const MAX_HEAD: usize = 128 << 10;
/// A TLS handshake must be over within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The request for which the stream is to be taken from hyper, later its answer for the next hyper.
#[derive(Default)]
pub(super) struct Parking {
    /// Spares requests that do not block the lock.
    used: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Request(Box<hyper::Request<Incoming>>),
    Answer(Box<OutResponse>),
}

impl Parking {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, slot: Slot) {
        *self.slot() = slot;
        self.used.store(true, Ordering::Relaxed);
    }

    fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    fn request(&self) -> Option<Box<hyper::Request<Incoming>>> {
        if !self.is_used() {
            return None;
        }
        match &mut *self.slot() {
            slot @ Slot::Request(_) => match std::mem::take(slot) {
                Slot::Request(request) => Some(request),
                _ => None,
            },
            _ => None,
        }
    }

    fn answer(&self) -> Option<Box<OutResponse>> {
        if !self.is_used() {
            return None;
        }
        self.used.store(false, Ordering::Relaxed);
        match std::mem::take(&mut *self.slot()) {
            Slot::Answer(answer) => Some(answer),
            _ => None,
        }
    }
}

impl Service {
    /// What hyper calls with each request.
    async fn serve(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> Result<OutResponse, Never> {
        if let Some(answer) = self.parking.answer() {
            return Ok(*answer);
        }
        if blocks(&request) && self.phase.is_all_sent() {
            self.parking.put(Slot::Request(Box::new(request)));
            // hyper is dropped before it asks again.
            return pending().await;
        }
        self.answer(request).await
    }
}

/// Whether a request may wait long. One that does not after all has only made a detour.
fn blocks(request: &hyper::Request<Incoming>) -> bool {
    let waits = |pair: &str| pair.starts_with("index=") || pair.starts_with("hash=");
    let query = request.uri().query();
    query.is_some_and(|query| query.split('&').any(waits))
        && *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && !request.headers().contains_key(UPGRADE)
}

/// Serves until the client or the connection ends.
pub(super) async fn serve_connection(
    incoming: net::Incoming,
    service: Arc<Service>,
    phase: SharedPhase,
) {
    let handshake = drive::timeout(HANDSHAKE_TIMEOUT, incoming.handshake());
    let Ok(Ok(stream)) = Box::pin(handshake).await else {
        return;
    };
    let mut conn = Conn::new(stream, phase, service.ctx.settings.patience);
    while let Some((parked, request)) = until_parked(conn, &service).await {
        conn = parked;
        let head = head_of(&request);
        let answered = handle(service.clone(), request);
        let Some(answer) = while_asked(&mut conn, answered).await else {
            return;
        };
        conn.resume(head);
        service.parking.put(Slot::Answer(Box::new(answer)));
    }
}

/// Serves until the stream has been taken from hyper for a request; `None` when the connection has ended.
async fn until_parked(
    conn: Conn,
    service: &Arc<Service>,
) -> Option<(Conn, Box<hyper::Request<Incoming>>)> {
    let next = service.clone();
    let connection = http1::Builder::new()
        .title_case_headers(true)
        // `Conn` sees for itself that a client has gone.
        .half_close(true)
        // Its limit of 100 header lines stays as it is: naming it costs a larger buffer per request.
        .max_buf_size(MAX_HEAD)
        .serve_connection(
            conn,
            service_fn(move |request| Box::pin(next.clone().serve(request))),
        );
    let mut connection = Box::new(connection);
    let request = poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(ended) => {
            if let Err(e) = ended {
                log::debug!(target: "agent.http", "connection ended: {e}");
            }
            Poll::Ready(None)
        }
        Poll::Pending => match service.parking.request() {
            Some(request) => Poll::Ready(Some(request)),
            None => Poll::Pending,
        },
    });
    let request = request.await?;
    let parts = connection.into_parts();
    let mut conn = parts.io;
    conn.park(&parts.read_buf);
    Some((conn, request))
}

/// What of a request decides how hyper sends its answer.
fn head_of(request: &hyper::Request<Incoming>) -> &'static [u8] {
    let closes = |value: &HeaderValue| {
        let value = value.as_bytes().split(|b| *b == b',');
        let mut tokens = value.map(<[u8]>::trim_ascii);
        tokens.any(|token| token.eq_ignore_ascii_case(b"close"))
    };
    if request.headers().get_all(CONNECTION).iter().any(closes) {
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    } else {
        b"GET / HTTP/1.1\r\n\r\n"
    }
}

/// Starts the handler; the request's own box goes.
fn handle(
    service: Arc<Service>,
    request: Box<hyper::Request<Incoming>>,
) -> Pin<Box<impl Future<Output = Result<OutResponse, Never>>>> {
    Box::pin(service.answer(*request))
}

/// Waits for the answer for as long as somebody waits for it.
async fn while_asked(
    conn: &mut Conn,
    mut handler: Pin<Box<impl Future<Output = Result<OutResponse, Never>>>>,
) -> Option<OutResponse> {
    poll_fn(|cx| match handler.as_mut().poll(cx) {
        Poll::Ready(Ok(answer)) => Poll::Ready(Some(answer)),
        Poll::Pending => conn.poll_parked(cx).map(|()| None),
    })
    .await
}
