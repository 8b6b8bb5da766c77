//! Configuration files, requests and packets that are meant to fill memory or to keep the agent busy: each gets a clear
//! error, the agent goes on, and its memory stays within a bound.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::PATIENCE;
use crate::common::agent::Agent;
use crate::common::harness::Outcome;
use crate::common::http::Client;
use crate::common::{Loopback, TempDir, consul_lite};

/// What reading a hostile file of at most 4 MiB may take: a tree of 300,000 keys, each of which is told as wrong.
const CONFIG_MIB: i64 = 192;

/// A file's name, how its text is made, and what is to be said about it.
type Hostile = (&'static str, fn() -> Vec<u8>, &'static str);

const FILES: &[Hostile] = &[
    ("deep.json", || b"[".repeat(2_000_000), "exceeded max depth"),
    (
        "blocks.json",
        || b"{\"a\":".repeat(500_000),
        "exceeded max depth",
    ),
    (
        "blocks.hcl",
        || b"a { ".repeat(500_000),
        "nested deeper than 100 levels",
    ),
    (
        "lists.hcl",
        || [b"a = ".to_vec(), b"[".repeat(500_000)].concat(),
        "nested deeper than 100 levels",
    ),
    (
        "large.json",
        || b"x".repeat(5_000_000),
        "is longer than 4194304 bytes",
    ),
    (
        "large.hcl",
        || b"x".repeat(5_000_000),
        "is longer than 4194304 bytes",
    ),
    ("noise.hcl", noise, "failed to parse noise.hcl"),
    ("noise.json", noise, "failed to parse noise.json"),
    (
        "nul.hcl",
        || b"node_name = \"a\0b\"".to_vec(),
        "literal not terminated",
    ),
    (
        "bytes.hcl",
        || b"node_name = \"\xff\xfe\"".to_vec(),
        "illegal UTF-8 encoding",
    ),
    (
        "open.hcl",
        || [b"a = \"".to_vec(), b"${".repeat(1_000_000)].concat(),
        "literal not terminated",
    ),
    ("keys.hcl", keys, "invalid config key k299999"),
    (
        "number.hcl",
        || b"bootstrap_expect = 1e999999999".to_vec(),
        "value out of range",
    ),
    (
        "types.json",
        || br#"{"server": "maybe", "ports": [1]}"#.to_vec(),
        "expected type",
    ),
    ("list.json", || b"[1, 2]".to_vec(), "cannot unmarshal array"),
    ("template.hcl", template, "bind_addr cannot be empty"),
];

fn noise() -> Vec<u8> {
    let byte = |n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..1_000_000).map(byte).collect()
}

fn keys() -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..300_000 {
        text.extend_from_slice(format!("k{n} = 1\n").as_bytes());
    }
    text
}

/// An expression in an address template whose compiled form is many times its length.
fn template() -> Vec<u8> {
    let expression = "(a*)*".repeat(2000);
    let template =
        format!("{{{{ GetAllInterfaces | include \\\"name\\\" \\\"{expression}\\\" }}}}");
    format!("data_dir = \"/nowhere\"\nbind_addr = \"{template}\"").into_bytes()
}

#[expect(
    clippy::zombie_processes,
    reason = "`ended` waits, and tells the memory"
)]
pub fn configuration() -> Outcome {
    let _parent = crate::parent();
    let dir = TempDir::new("hostile");
    for (name, text, wanted) in FILES {
        fs::write(dir.path().join(name), text()).expect("a file can be written");
        let said = dir.path().join("said");
        let output = || File::create(&said).expect("a file can be made");
        let child = Command::new(consul_lite())
            .args(["validate", name])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(output())
            .spawn()
            .expect("the program can be started");
        let (status, mib) = ended(child.id());
        let said = fs::read_to_string(&said).unwrap_or_default();
        let shown: String = said.chars().take(200).collect();
        assert!(
            libc::WIFEXITED(status),
            "{name}: it was ended by a signal: {shown}"
        );
        assert_eq!(libc::WEXITSTATUS(status), 1, "{name}: {shown}");
        assert!(said.contains(wanted), "{name}: {shown}");
        println!("{name}: {mib} MiB");
        assert!(mib <= CONFIG_MIB, "{name}: {mib} MiB");
    }
    Outcome::Passed
}

/// Waits for a child: its status, and the most memory that it had, in MiB.
fn ended(pid: u32) -> (i32, i64) {
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is one; `wait4` gets pointers to values that live as long as the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let done = libc::wait4(pid as i32, &raw mut status, 0, &raw mut usage);
        assert_eq!(done, pid as i32, "a child can be waited for");
        (status, usage.ru_maxrss / 1024)
    }
}

/// How much more than idle the agent may take while all of this happens.
const REQUESTS_KIB: u64 = 80 << 10;

pub fn requests() -> Outcome {
    let net = Loopback::claim();
    let mut agent = Agent::ready(&consul_lite(), net.ip(1), PATIENCE);
    let (http, dns) = (agent.http(), agent.dns());
    let mut client = agent.client();
    client.put("/v1/kv/before", b"kept").expect("an answer");
    let before = most_kib(&mut agent);
    let unfinished = unfinished_heads(http);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| endless_body(http));
            scope.spawn(|| deep_bodies(http));
        }
        scope.spawn(|| packets(dns));
    });
    let kept = client.get("/v1/kv/before?raw").expect("the agent lives");
    assert_eq!(kept.text(), "kept");
    drop(unfinished);
    let grown = most_kib(&mut agent) - before;
    println!("memory: {grown} KiB more at most");
    if grown > REQUESTS_KIB {
        return Outcome::Failed(format!("{grown} KiB more, at most {REQUESTS_KIB}"));
    }
    Outcome::Passed
}

pub fn most_kib(agent: &mut Agent) -> u64 {
    let status = format!("/proc/{}/status", agent.process().pid());
    let text = fs::read_to_string(status).expect("the agent's status");
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let number = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    number.expect("a size")
}

/// Connections whose heads do not end.
fn unfinished_heads(http: SocketAddr) -> Vec<TcpStream> {
    let mut head = b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Long: ".to_vec();
    head.resize(100_000, b'y');
    let open = |_| {
        let mut stream = TcpStream::connect(http).expect("a connection");
        stream.write_all(&head).expect("part of a head");
        stream
    };
    (0..150).map(open).collect()
}

/// A body without an end is refused long before it would fill anything.
fn endless_body(http: SocketAddr) {
    let mut stream = TcpStream::connect(http).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let head = b"PUT /v1/kv/endless HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).expect("a head");
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b'z');
    chunk.extend_from_slice(b"\r\n");
    let taken = (0..4096).take_while(|_| stream.write_all(&chunk).is_ok());
    let taken = taken.count();
    assert!(taken < 4096, "256 MiB were taken");
    assert_eq!(
        Client::new(http, PATIENCE)
            .get("/v1/kv/endless")
            .expect("an answer")
            .status,
        404
    );
}

/// JSON of four megabytes that is nothing but nesting.
fn deep_bodies(http: SocketAddr) {
    let mut client = Client::new(http, PATIENCE);
    for piece in ["[", "{\"a\":"] {
        let body = piece.repeat((4 << 20) / piece.len());
        for path in [
            "/v1/catalog/register",
            "/v1/agent/service/register",
            "/v1/session/create",
        ] {
            let answer = client.put(path, body.as_bytes()).expect("an answer");
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        }
    }
}

/// Packets that are no questions, and TCP messages that announce more than comes.
fn packets(dns: SocketAddr) {
    let socket = UdpSocket::bind((dns.ip(), 0)).expect("a socket");
    let mut state = 1u32;
    for n in 0..5000 {
        let byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let packet: Vec<u8> = std::iter::repeat_with(byte).take(n % 1400).collect();
        socket.send_to(&packet, dns).expect("a packet can be sent");
    }
    let open = |_| {
        let mut stream = TcpStream::connect(dns).ok()?;
        stream.write_all(b"\xff\xffx").ok()?;
        Some(stream)
    };
    let mut streams: Vec<TcpStream> = (0..100).filter_map(open).collect();
    let question =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06consul\x00\x00\x06\x00\x01";
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    let answered = (0..60).any(|_| {
        socket.send_to(question, dns).expect("a packet can be sent");
        let mut answer = [0; 1500];
        std::iter::repeat_with(|| {
            socket
                .recv(&mut answer)
                .ok()
                .map(|_| answer[..2] == question[..2])
        })
        .map_while(|one| one)
        .any(|ours| ours)
    });
    assert!(answered, "questions are still answered");
    for stream in &mut streams {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read(&mut [0; 16]);
    }
}
