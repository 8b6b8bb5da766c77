//! One HTTP/1.1 exchange over a connection of its own, which is closed afterwards.
//!
//! Holds true: no more of the body than the caller's limit is kept in memory; nothing here bounds its
//! waiting. Leaves to others: redirects, what the status means.
//! Source: RFC 9112 by way of hyper; `docs/reference/http-2.md` section 4.2 for the request sent.

use std::future::Future;
use std::io::Read;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, HOST, HeaderMap, HeaderName,
    HeaderValue,
};
use hyper::{Method, Request, Response, Uri};
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

use super::heard::{Ends, Heard, Listening, read_error, words};
use super::tls_client::ClientConfig;
use super::url::Url;
use super::{dial, tls_client};
use crate::structs::{Error, Result};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method, such as `GET`.
    pub method: String,
    /// Where.
    pub url: Url,
    /// Header lines; `Host` names the virtual host, others replace the defaults.
    pub headers: Vec<(String, String)>,
    /// Body, sent with any method.
    pub body: Vec<u8>,
    /// How much of the answer's body is kept, in bytes.
    pub max_body: usize,
    /// The unix socket to connect to in place of the URL's host.
    pub socket: Option<String>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Code and reason: `200 OK`.
    pub status_line: String,
    /// The `Location` header, if any.
    pub location: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The first bytes of the body, unzipped.
    pub body: Vec<u8>,
    /// Why the body ended early, if it did.
    pub body_error: Option<String>,
    zipped: bool,
}

/// Asks over a fresh connection; TLS as `tls` says when the URL is `https`. `None` when `expired` resolved
/// before the head of the answer arrived; when it resolves later the body ends there.
///
/// # Errors
/// Go's words for what failed before an answer arrived.
pub async fn exchange(
    ask: &Ask,
    tls: Option<&(Arc<ClientConfig>, String)>,
    mut expired: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Answer>> {
    let request = request(ask)?;
    let mut answer = None;
    let work = talk(ask, tls, request, &mut answer);
    let cut = async {
        expired.as_mut().await;
        Ok(false)
    };
    let whole = smol::future::or(work, cut).await?;
    Ok(answer.map(|mut a: Answer| {
        if !whole {
            a.body_error = Some("timed out while reading body".to_owned());
        }
        a.unzip(ask.max_body);
        a
    }))
}

async fn talk(
    ask: &Ask,
    tls: Option<&(Arc<ClientConfig>, String)>,
    request: Request<Full<Bytes>>,
    answer: &mut Option<Answer>,
) -> Result<bool> {
    if let Some(path) = &ask.socket {
        let stream = dial::unix(path).await?;
        return converse(stream, None, request, ask, answer).await;
    }
    let stream = dial::tcp(&ask.url.address()).await?;
    let ends = ends(stream.get_ref());
    match tls {
        Some((config, name)) if ask.url.is_tls() => {
            let name = if name.is_empty() { &ask.url.host } else { name };
            let stream = tls_client::connect(config.clone(), name, stream)
                .await
                .map_err(|e| {
                    if e.text() == tls_client::NOT_TLS {
                        return Error::new("http: server gave HTTP response to HTTPS client");
                    }
                    read_error(e.text().to_owned(), ends)
                })?;
            converse(stream, ends, request, ask, answer).await
        }
        _ if ask.url.is_tls() => Err(Error::new("tls: no configuration for https")),
        _ => converse(stream, ends, request, ask, answer).await,
    }
}

fn request(ask: &Ask) -> Result<Request<Full<Bytes>>> {
    let method = Method::from_bytes(ask.method.as_bytes())
        .map_err(|_| Error::new(format!("net/http: invalid method \"{}\"", ask.method)))?;
    let uri: Uri = ask
        .url
        .target
        .parse()
        .map_err(|_| Error::new(format!("parse \"{}\": invalid URL", ask.url.target)))?;
    let mut headers = HeaderMap::new();
    let host = HeaderValue::from_str(&ask.url.authority())
        .map_err(|_| Error::new("http: invalid Host header"))?;
    headers.insert(HOST, host);
    if let Some(user) = &ask.url.userinfo {
        let user = crate::codec::base64::encode(user.as_bytes());
        if let Ok(value) = HeaderValue::from_str(&format!("Basic {user}")) {
            headers.insert(AUTHORIZATION, value);
        }
    }
    let mut own: Vec<HeaderName> = Vec::new();
    for (name, value) in &ask.headers {
        let bad = || Error::new(format!("net/http: invalid header field name \"{name}\""));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_str(value).map_err(|_| {
            Error::new(format!(
                "net/http: invalid header field value {value:?} for key {name}"
            ))
        })?;
        if own.contains(&key) {
            headers.append(key, value);
        } else {
            headers.insert(key.clone(), value);
            own.push(key);
        }
    }
    // Go asks for no compression of what has no body.
    if !own.contains(&ACCEPT_ENCODING) && method != Method::HEAD {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if !own.contains(&CONNECTION) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut request = Request::new(Full::new(Bytes::from(ask.body.clone())));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The connection's own address and the other's, which can be asked for only as long as it lives.
fn ends(stream: &TcpStream) -> Option<Ends> {
    Some((stream.local_addr().ok()?, stream.peer_addr().ok()?))
}

async fn converse<S>(
    stream: S,
    ends: Option<Ends>,
    request: Request<Full<Bytes>>,
    ask: &Ask,
    answer: &mut Option<Answer>,
) -> Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let heard = Heard::default();
    let told = |e: hyper::Error| heard.words(&e, ends);
    let stream = Listening {
        stream,
        heard: heard.clone(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        // What Go's client puts up with.
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .handshake(FuturesIo::new(stream))
        .await
        .map_err(told)?;
    let drive = async {
        // What ends the connection also ends the exchange below, which has the better words for it.
        let _ = connection.await;
        std::future::pending().await
    };
    let work = async {
        let response = sender.send_request(request).await.map_err(told)?;
        read(response, ask, answer).await;
        Ok(true)
    };
    smol::future::or(work, drive).await
}

/// Fills `out` as the answer arrives, so that a caller who gives up keeps what there is.
async fn read(response: Response<Incoming>, ask: &Ask, out: &mut Option<Answer>) {
    let reason = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map(|r| String::from_utf8_lossy(r.as_bytes()).into_owned());
    let status = response.status();
    let reason = reason.unwrap_or_else(|| status.canonical_reason().unwrap_or("").to_owned());
    let text = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let asked_for_it = ask
        .headers
        .iter()
        .all(|(name, _)| !name.eq_ignore_ascii_case("accept-encoding"));
    let zipped =
        asked_for_it && text(CONTENT_ENCODING).is_some_and(|e| e.eq_ignore_ascii_case("gzip"));
    let answer = out.insert(Answer {
        status: status.as_u16(),
        status_line: format!("{} {reason}", status.as_u16()),
        location: text(hyper::header::LOCATION),
        zipped,
        headers: response.headers().clone(),
        ..Answer::default()
    });
    let mut body = response.into_body();
    while answer.body.len() < ask.max_body {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    let room = ask.max_body - answer.body.len();
                    answer.body.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Some(Err(e)) => {
                answer.body_error = Some(words(e).to_string());
                break;
            }
            None => break,
        }
    }
}

impl Answer {
    fn unzip(&mut self, limit: usize) {
        if !self.zipped {
            return;
        }
        let mut plain = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(self.body.as_slice());
        // The zipped text may have been cut at the limit: what could be unzipped counts.
        let _ = reader.by_ref().take(limit as u64).read_to_end(&mut plain);
        self.body = plain;
    }
}
