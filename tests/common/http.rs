//! A tiny HTTP/1.1 client over a std socket (RFC 9112): enough to ask an agent anything, also things no
//! proper client would send. Keeps the connection; reads Content-Length and chunked bodies.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// An answer: status, headers in order of arrival, body with transfer coding removed.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names as sent, with values.
    pub headers: Vec<(String, String)>,
    /// The body's bytes; content coding (gzip) is left on.
    pub body: Vec<u8>,
    /// Whether the answer ended the connection.
    pub closed: bool,
}

impl Response {
    /// The first value of a header, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let hit = |h: &&(String, String)| h.0.eq_ignore_ascii_case(name);
        self.headers.iter().find(hit).map(|h| h.1.as_str())
    }

    /// The body as text, bad UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `X-Consul-Index` as a number.
    pub fn index(&self) -> Option<u64> {
        self.header("X-Consul-Index").and_then(|v| v.parse().ok())
    }
}

/// A kept connection to one address.
pub struct Client {
    addr: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    timeout: Duration,
    sent: Option<Sender<()>>,
}

impl Client {
    /// A client for `addr`; connects at the first request. `timeout` bounds each read and write.
    pub fn new(addr: SocketAddr, timeout: Duration) -> Client {
        Client {
            addr,
            stream: None,
            timeout,
            sent: None,
        }
    }

    /// Something comes out here when a request has been written.
    #[allow(dead_code)]
    pub fn when_sent(&mut self) -> Receiver<()> {
        let (tell, told) = channel();
        self.sent = Some(tell);
        told
    }

    fn connect(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.addr, self.timeout)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(self.timeout))?;
            stream.set_write_timeout(Some(self.timeout))?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream
            .as_mut()
            .ok_or_else(|| io::Error::other("no connection"))
    }

    /// Sends a request with `Content-Length` (when there is a body or the method usually has one).
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.addr);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has = |n: &str| headers.iter().any(|h| h.0.eq_ignore_ascii_case(n));
        if !has("Transfer-Encoding")
            && !has("Content-Length")
            && (!body.is_empty() || matches!(method, "PUT" | "POST"))
        {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send_raw(&bytes, method == "HEAD")
    }

    /// Sends these bytes and reads one answer. A kept connection that turns out to be closed before
    /// the first byte of the answer is replaced once.
    pub fn send_raw(&mut self, bytes: &[u8], head_only: bool) -> io::Result<Response> {
        let fresh = self.stream.is_none();
        match self.exchange(bytes, head_only) {
            Err(e) if !fresh && is_closed(&e) => {
                self.stream = None;
                self.exchange(bytes, head_only)
            }
            other => other,
        }
    }

    fn exchange(&mut self, bytes: &[u8], head_only: bool) -> io::Result<Response> {
        let sent = self.sent.take();
        let stream = self.connect()?;
        let wrote = stream
            .get_mut()
            .write_all(bytes)
            .and_then(|()| stream.get_mut().flush());
        // Nobody may wait for it.
        let _ = sent.map(|sent| sent.send(()));
        // An agent may answer and close before it has read the whole body: then the answer counts.
        let answer = read_response(stream, head_only);
        let result = match (wrote, answer) {
            (_, Ok(answer)) => Ok(answer),
            (Err(e), Err(_)) | (Ok(()), Err(e)) => Err(e),
        };
        if result.as_ref().map_or(true, |r| r.closed) {
            self.stream = None;
        }
        result
    }

    /// `GET` without extras.
    pub fn get(&mut self, target: &str) -> io::Result<Response> {
        self.request("GET", target, &[], b"")
    }

    /// `PUT` with a body.
    pub fn put(&mut self, target: &str, body: &[u8]) -> io::Result<Response> {
        self.request("PUT", target, &[], body)
    }
}

fn is_closed(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_string())
}

fn read_line(r: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    r.read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8_lossy(&line);
    Ok(text.trim_end_matches(['\r', '\n']).to_string())
}

/// Reads one answer; informational ones (`100 Continue`) are passed over.
pub fn read_response(r: &mut impl BufRead, head_only: bool) -> io::Result<Response> {
    loop {
        let line = read_line(r)?;
        let mut words = line.split(' ');
        let version = words.next().unwrap_or_default();
        if !version.starts_with("HTTP/1.") {
            return Err(bad("no status line"));
        }
        let status: u16 = words
            .next()
            .and_then(|w| w.parse().ok())
            .ok_or_else(|| bad("no status code"))?;
        let mut headers = Vec::new();
        loop {
            let line = read_line(r)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("bad header"))?;
            headers.push((name.to_string(), value.trim().to_string()));
        }
        if (100..200).contains(&status) {
            continue;
        }
        let mut response = Response {
            status,
            headers,
            ..Response::default()
        };
        let is = |n: &str, v: &str| {
            let value = response.header(n);
            value.is_some_and(|x| x.eq_ignore_ascii_case(v))
        };
        let closed = is("Connection", "close") || version == "HTTP/1.0";
        let chunked = is("Transfer-Encoding", "chunked");
        response.closed = closed;
        if head_only || status == 204 || status == 304 {
            return Ok(response);
        }
        if chunked {
            response.body = read_chunks(r)?;
        } else if let Some(length) = response.header("Content-Length") {
            let length: usize = length.parse().map_err(|_| bad("bad Content-Length"))?;
            let mut body = vec![0; length];
            r.read_exact(&mut body)?;
            response.body = body;
        } else {
            r.read_to_end(&mut response.body)?;
            response.closed = true;
        }
        return Ok(response);
    }
}

fn read_chunks(r: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(r)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("bad chunk size"))?;
        if size == 0 {
            while !read_line(r)?.is_empty() {}
            return Ok(body);
        }
        let mut chunk = vec![0; size];
        r.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk);
        read_line(r)?;
    }
}
