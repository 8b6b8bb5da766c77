//! What health checks check: a small HTTP server whose answers are asked for by path, on the side's own
//! address, so that its texts are the same on both sides.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The port it listens on.
pub const PORT: u16 = 18080;

/// A running backend; ends when dropped.
pub struct Backend {
    addr: (Ipv4Addr, u16),
    stop: Arc<AtomicBool>,
}

impl Backend {
    /// Listens on `ip`.
    pub fn start(ip: Ipv4Addr) -> Backend {
        let addr = (ip, PORT);
        let listener = TcpListener::bind(addr).expect("the backend's address is free");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(stream) = stream {
                    std::thread::spawn(move || serve(stream));
                }
            }
        });
        Backend { addr, stop }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

/// `/200`, `/429`, `/500`, ... answer that status; `/big` a long body; `/echo` what was asked.
fn serve(stream: TcpStream) {
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
