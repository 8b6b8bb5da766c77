//! What agents talk to: a small HTTP server for health checks, whose answers are asked for by path, and a
//! small DNS server to recurse to, whose answers are asked for by name; on the side's own address, so
//! that its texts are the same on both sides.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

/// The port it listens on.
pub const PORT: u16 = 18080;

/// The port of the DNS server.
pub const DNS_PORT: u16 = 18053;

/// A running backend; ends when dropped.
pub struct Backend {
    addr: (Ipv4Addr, u16),
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    given: Given,
}

/// The last request below `/watch/`, by path.
type Given = Arc<Mutex<HashMap<String, String>>>;

impl Backend {
    /// Listens on `ip`.
    pub fn start(ip: Ipv4Addr) -> Backend {
        let addr = (ip, PORT);
        let listener = TcpListener::bind(addr).expect("the backend's address is free");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let given = Given::default();
        let told = given.clone();
        let http = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(stream) = stream {
                    let told = told.clone();
                    std::thread::spawn(move || serve(stream, &told));
                }
            }
        });
        let socket = UdpSocket::bind((ip, DNS_PORT)).expect("the backend's DNS address is free");
        let seen = stop.clone();
        let dns = std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((n, from)) = socket.recv_from(&mut query) {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                if let Some(reply) = resolve(&query[..n]) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Backend {
            addr,
            stop,
            threads: vec![http, dns],
            given,
        }
    }

    /// Forgets what was asked so far: whoever asked is gone.
    pub fn forget(&self) {
        self.given.lock().expect("nobody panics with it").clear();
    }

    /// What was last asked at this path, which is one below `/watch/`.
    pub fn given(&self, path: &str) -> Option<String> {
        let given = self.given.lock().expect("nobody panics with it");
        given.get(path).cloned()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
        if let Ok(socket) = UdpSocket::bind((self.addr.0, 0)) {
            let _ = socket.send_to(b"end", (self.addr.0, DNS_PORT));
        }
        // The addresses are free again only when the threads are gone.
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// `/200`, `/429`, `/500`, ... answer that status; `/big` a long body; `/echo` what was asked; what is
/// asked below `/watch/` is remembered; below `/broken/` is no whole answer.
fn serve(stream: TcpStream, given: &Given) {
    let Ok(mut out) = stream.try_clone() else {
        return;
    };
    let mut request = Vec::new();
    let mut length = 0;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if !matches!(reader.read_line(&mut line), Ok(n) if n > 0) || line == "\r\n" {
            break;
        }
        let line = line.trim_end().to_string();
        if let Some(n) = line.strip_prefix("Content-Length: ") {
            length = n.parse().unwrap_or(0);
        }
        request.push(line);
    }
    let mut body = vec![0; length];
    let _ = std::io::Read::read_exact(&mut reader, &mut body);
    let path = request
        .first()
        .and_then(|l| l.split(' ').nth(1))
        .unwrap_or("/")
        .trim_start_matches('/')
        .to_string();
    if path.starts_with("watch/") {
        request.sort();
        let lines: Vec<String> = request.iter().map(|line| masked(line)).collect();
        let text = format!("{}\n{}", lines.join("\n"), String::from_utf8_lossy(&body));
        let mut given = given.lock().expect("nobody panics with it");
        let path = path.split('?').next().unwrap_or_default();
        given.insert(format!("/{path}"), text);
    }
    if let Some(what) = path.strip_prefix("broken/") {
        let _ = out.write_all(broken(what));
        if what == "reset" {
            reset(&out);
        }
        return;
    }
    let status: u16 = path.parse().unwrap_or(200);
    let text = match path.as_str() {
        "big" => "x".repeat(10_000),
        "echo" => {
            request.sort();
            format!("{} {}", request.join("|"), String::from_utf8_lossy(&body))
        }
        _ => format!("body-{status}\n"),
    };
    let reason = match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let text = if status == 204 { String::new() } else { text };
    let _ = write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}

/// What is said for an answer below `/broken/`, before the connection ends.
fn broken(what: &str) -> &'static [u8] {
    match what {
        "redis" => b"-ERR unknown command `GET`\r\n",
        "memcached" => b"ERROR\r\n",
        "ssh" => b"SSH-2.0-OpenSSH_8.4p1\r\n",
        "version" => b"ICY 200 OK\r\n\r\n",
        "code" => b"HTTP/1.1 2x0 OK\r\n\r\n",
        "status" => b"HTTP/1.1 20",
        "head" => b"HTTP/1.1 200 OK\r\nContent-Type: text",
        "body" => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "spaced" => b"HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 2\r\n\r\nab",
        "folded" => b"HTTP/1.1 200 OK\r\nX-A: a\r\n  b\r\nContent-Length: 2\r\n\r\nab",
        "location" => b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        // `eof`, `reset`
        _ => b"",
    }
}

/// Lets the connection end with a reset.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// A header line; of an index and a length it counts only that they are numbers.
fn masked(line: &str) -> String {
    match line.split_once(": ") {
        Some((name @ ("X-Consul-Index" | "Content-Length"), number))
            if number.parse().is_ok_and(|n: u64| n > 0) =>
        {
            format!("{name}: a number")
        }
        _ => line.to_owned(),
    }
}

/// `nx.*` is not there, `fail.*` and `refused.*` say so, `quiet.*` says nothing, `www.*` is an alias,
/// all else is 192.0.2.1.
fn resolve(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(12..end + 5)?;
    let label = query.get(13..13 + usize::from(query[12]))?;
    let rcode = match label {
        b"nx" => 3,
        b"fail" => 2,
        b"refused" => 5,
        b"quiet" => return None,
        _ => 0,
    };
    let address = [0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    let mut answers = Vec::new();
    if rcode == 0 && label == b"www" {
        // An alias of `edge` in the same zone, whose name follows the first label of the question.
        let zone = 13 + query[12];
        let alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 1, 44, 0, 7, 4];
        answers.push([&alias[..], b"edge", &[0xc0, zone]].concat());
        let start = 12 + question.len() + 12;
        answers.push([&[0xc0, start as u8][..], &address].concat());
    } else if rcode == 0 {
        answers.push([&[0xc0, 12][..], &address].concat());
    }
    let flags = [0x80 | (query[2] & 1), 0x80 | rcode];
    let counts = [0, 1, 0, answers.len() as u8, 0, 0, 0, 0];
    let head = [&query[..2], &flags, &counts, question].concat();
    Some([head, answers.concat()].concat())
}
