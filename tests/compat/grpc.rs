//! A server of gRPC's health protocol for checks to ask, on HTTP/2 framed by hand, with and without TLS: the
//! name of the service decides what it answers, also what no library would.
//!
//! Source: RFC 9113 sections 4 and 6; RFC 7541 section 6.2; gRPC's health checking protocol.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::project_dir;

/// Where it listens without TLS.
pub const PORT: u16 = 18081;
/// Where it listens with TLS, showing a certificate of `localhost` and 127.0.0.1 that nobody trusts.
pub const TLS_PORT: u16 = 18082;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A running server; ends when dropped.
pub struct Grpc {
    ip: Ipv4Addr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Grpc {
    /// Listens on `ip`.
    pub fn start(ip: Ipv4Addr) -> Grpc {
        let stop = Arc::new(AtomicBool::new(false));
        let config = server_config();
        let threads = [(PORT, None), (TLS_PORT, Some(config))].map(|(port, config)| {
            let listener =
                TcpListener::bind((ip, port)).expect("the gRPC server's address is free");
            let seen = stop.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if seen.load(Ordering::Relaxed) {
                        break;
                    }
                    let (Ok(stream), config) = (stream, config.clone()) else {
                        continue;
                    };
                    std::thread::spawn(move || {
                        // Nobody who goes away in the middle is missed.
                        let _ = accept(stream, config);
                    });
                }
            })
        });
        Grpc {
            ip,
            stop,
            threads: threads.into(),
        }
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for port in [PORT, TLS_PORT] {
            let _ = TcpStream::connect((self.ip, port));
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn server_config() -> Arc<rustls::ServerConfig> {
    let folder = project_dir().join("tests/compat/profiles/https");
    let cert = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("its key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("the certificate and its key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn accept(stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    match tls {
        None => serve(stream),
        Some(config) => {
            let session = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
            serve(rustls::StreamOwned::new(session, stream))
        }
    }
}

/// Answers every request of a connection until the client ends it or an answer does.
fn serve(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface)?;
    stream.write_all(&frame(SETTINGS, 0, 0, b""))?;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & 1 == 0 => stream.write_all(&frame(SETTINGS, 1, 0, b""))?,
            DATA => body.extend(payload),
            _ => {}
        }
        if kind == DATA && flags & END_STREAM != 0 {
            // Flag and length of the message, tag and length of the name.
            let name = String::from_utf8_lossy(body.get(7..).unwrap_or_default()).into_owned();
            body.clear();
            match answer(&name, u32::from_be_bytes([s0, s1, s2, s3])) {
                Some(bytes) => stream.write_all(&bytes)?,
                None => return Ok(()),
            }
            stream.flush()?;
        }
    }
}

/// The frames that answer a question about this service; `None` ends the connection instead.
fn answer(service: &str, stream: u32) -> Option<Vec<u8>> {
    let grpc = [b"\x88", &literal("content-type", "application/grpc")[..]].concat();
    let head = frame(HEADERS, END_HEADERS, stream, &grpc);
    let ended = END_HEADERS | END_STREAM;
    let trailers = |status: &str, text: &str| {
        let text = literal("grpc-message", text);
        let block = [literal("grpc-status", status), text].concat();
        frame(HEADERS, ended, stream, &block)
    };
    let health = |flag: u8, body: &[u8]| {
        let message = [&[flag, 0, 0, 0, body.len() as u8], body].concat();
        frame(DATA, 0, stream, &message)
    };
    let said = |body: &[u8]| [head.clone(), health(0, body), trailers("0", "")].concat();
    let leaving = |last: u32| {
        let last = [last.to_be_bytes(), [0; 4]].concat();
        frame(GOAWAY, 0, 0, &last)
    };
    Some(match service {
        "" | "healthy" => said(b"\x08\x01"),
        "sick" => said(b"\x08\x02"),
        "undecided" => said(b""),
        "later" => said(b"\x12\x02xx\x08\x01"),
        "cut" => said(b"\x08"),
        "odd" => said(b"\x0f"),
        "leaving" => [leaving(stream), said(b"\x08\x01")].concat(),
        "left" => leaving(0),
        "reset" => frame(RST_STREAM, 0, stream, &7u32.to_be_bytes()),
        "packed" => [head, health(1, b"\x08\x01"), trailers("0", "")].concat(),
        "silent" => [head, trailers("0", "")].concat(),
        "bare" => {
            let message = b"\0\0\0\0\x02\x08\x01";
            [head, frame(DATA, END_STREAM, stream, message)].concat()
        }
        "web" => {
            let block = [b"\x8d", &literal("content-type", "text/html")[..]].concat();
            frame(HEADERS, ended, stream, &block)
        }
        "denied" => {
            let status = literal("grpc-status", "7");
            let text = literal("grpc-message", "no%20entry, 100%");
            frame(HEADERS, ended, stream, &[grpc, status, text].concat())
        }
        "strange" => [head, trailers("77", "new")].concat(),
        "slow" => Vec::new(),
        "gone" => return None,
        _ => [head, trailers("5", "unknown service")].concat(),
    })
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header that neither side is to remember, not compressed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |t: &str| [&[t.len() as u8], t.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}
