//! The load: closed loops over kept connections. A thread owns some connections and goes around them: it
//! reads the answer of one and sends its next request at once, so all but one are always busy, at one
//! write and one read per request. The same for both sides. What it costs itself counts: with one core it
//! must outpace what it measures; on cores of its own it does not sleep while an answer is due, so that no agent has
//! to wake it, and the time of waking it is nobody's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cores::Cores;

/// What is asked.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `PUT` of 64 bytes, another value each time.
    Put,
    /// `GET` of this path.
    Get(&'static str),
    /// `GET` of this path with this token.
    GetAs(&'static str, &'static str),
}

/// Threads at most: one for each core that is the load's.
const THREADS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(20);

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS))
}

/// Whether the load has been given cores that agents do not use.
fn has_own_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|n| n.get() < Cores::installed())
}

/// Requests per second over `connections` kept connections.
pub fn http(addr: SocketAddr, kind: Kind, connections: usize, seconds: u64) -> f64 {
    let threads = threads().min(connections);
    run(threads, seconds, |n, stop, done| {
        let mine = connections / threads + usize::from(n < connections % threads);
        let mut all: Vec<Connection> = (0..mine)
            .map(|i| Connection::open(addr, n * 1000 + i))
            .collect();
        all.iter_mut().for_each(|c| c.send(kind));
        while !stop.load(Ordering::Relaxed) {
            for c in &mut all {
                c.receive();
                done.fetch_add(1, Ordering::Relaxed);
                c.send(kind);
            }
        }
        all.iter_mut().for_each(Connection::receive);
    })
}

/// DNS queries per second over `sockets` UDP sockets; `query` is a whole message.
pub fn dns(addr: SocketAddr, query: &[u8], sockets: usize, seconds: u64) -> f64 {
    let threads = threads();
    run(threads, seconds, |_, stop, done| {
        let all: Vec<UdpSocket> = (0..sockets / threads)
            .map(|_| {
                let socket = UdpSocket::bind((addr.ip(), 0)).expect("a UDP socket");
                socket.connect(addr).expect("an address");
                let patience = Some(Duration::from_millis(500));
                socket.set_read_timeout(patience).expect("a timeout");
                let _ = socket.send(query);
                socket
            })
            .collect();
        let mut answer = [0; 4096];
        while !stop.load(Ordering::Relaxed) {
            for socket in &all {
                if let Ok(n) = socket.recv(&mut answer) {
                    let good = n > 12 && answer[3] & 0x0f == 0 && answer[7] > 0;
                    assert!(good, "an answer without an answer");
                    done.fetch_add(1, Ordering::Relaxed);
                }
                let _ = socket.send(query);
            }
        }
    })
}

/// Runs `work` on threads for a warm-up and then for the time that counts.
fn run(threads: usize, seconds: u64, work: impl Fn(usize, &AtomicBool, &AtomicU64) + Sync) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for n in 0..threads {
            let (stop, done, work) = (&stop, &done, &work);
            scope.spawn(move || work(n, stop, done));
        }
        std::thread::sleep(Duration::from_millis(300));
        let (first, start) = (done.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(Duration::from_secs(seconds));
        let counted = done.load(Ordering::Relaxed) - first;
        let rate = counted as f64 / start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        rate
    })
}

struct Connection {
    stream: TcpStream,
    id: usize,
    counter: u64,
    request: Vec<u8>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn open(addr: SocketAddr, id: usize) -> Connection {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a read timeout");
        stream
            .set_nonblocking(has_own_cores())
            .expect("a mode of reading");
        Connection {
            stream,
            id,
            counter: 0,
            request: Vec::new(),
            buffer: vec![0; 256 * 1024],
            filled: 0,
        }
    }

    fn send(&mut self, kind: Kind) {
        self.counter += 1;
        let (id, n) = (self.id, self.counter);
        let request = &mut self.request;
        match kind {
            Kind::Put => {
                request.clear();
                write!(
                    request,
                    "PUT /v1/kv/bench/{id}/{} HTTP/1.1\r\nHost: bench\r\nContent-Length: 64\r\n\r\n{n:064}",
                    n % 100
                )
            }
            // The same each time.
            _ if !request.is_empty() => Ok(()),
            Kind::Get(path) => write!(request, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"),
            Kind::GetAs(path, token) => write!(
                request,
                "GET {path} HTTP/1.1\r\nHost: bench\r\nX-Consul-Token: {token}\r\n\r\n"
            ),
        }
        .expect("room for a request");
        self.stream
            .write_all(request)
            .expect("the agent takes a request");
    }

    /// Reads one answer, which must be a success.
    fn receive(&mut self) {
        self.filled = 0;
        let end = Instant::now() + PATIENCE;
        loop {
            let n = match self.stream.read(&mut self.buffer[self.filled..]) {
                Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < end => continue,
                read => read.expect("the agent answers"),
            };
            assert!(n > 0, "the agent closed the connection");
            self.filled += n;
            if whole(&self.buffer[..self.filled]) {
                return;
            }
        }
    }
}

/// Whether an answer is there to its end; a failure ends the run.
fn whole(answer: &[u8]) -> bool {
    const LENGTH: &[u8] = b"content-length:";
    let mut length = None;
    let mut lines = answer.split_inclusive(|b| *b == b'\n');
    let mut end = 0;
    loop {
        let Some(line) = lines.next().filter(|line| line.ends_with(b"\n")) else {
            return false;
        };
        end += line.len();
        if line.len() == 2 {
            break;
        }
        if matches!(line[0], b'C' | b'c')
            && line.len() > LENGTH.len()
            && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH)
        {
            let text = String::from_utf8_lossy(&line[LENGTH.len()..]);
            length = Some(text.trim().parse::<usize>().expect("a length"));
        }
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "not a success: {}",
        String::from_utf8_lossy(answer)
    );
    match length {
        Some(length) => answer.len() >= end + length,
        None => answer.ends_with(b"0\r\n\r\n") && answer.len() > end,
    }
}
