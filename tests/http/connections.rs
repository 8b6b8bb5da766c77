//! Connections: kept, pipelined, limited, over a unix socket; blocking queries and their end.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use consul_lite::http::Live;
use consul_lite::net::UnixSocket;

use crate::common::TempDir;
use crate::common::http::read_response;
use crate::common::{try_until, wait_until};
use crate::stub::Running;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Running::start();
    let stream = TcpStream::connect(server.addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut conn = BufReader::new(stream);
    let mut all = Vec::new();
    for n in 0..100 {
        let body = format!("value-{n}");
        let length = body.len();
        all.extend_from_slice(
            format!("PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
                .as_bytes(),
        );
        all.extend_from_slice(b"GET /v1/kv/k?raw HTTP/1.1\r\nHost: x\r\n\r\n");
        // A body that the handler does not want.
        all.extend_from_slice(
            b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
        );
    }
    conn.get_mut().write_all(&all).unwrap();
    for n in 0..100 {
        assert_eq!(read_response(&mut conn, false).unwrap().text(), "true");
        let value = read_response(&mut conn, false).unwrap().text();
        assert_eq!(value, format!("value-{n}"));
        assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
    }
}

/// Whatever a body holds and however its pieces come, it is not taken for the head of a request.
#[test]
fn a_body_that_is_taken_piece_by_piece_is_not_touched() {
    let server = Running::start();
    let body: Vec<u8> = (0..300_000u32).map(|n| 0x20 + (n % 0x5f) as u8).collect();
    let head = format!(
        "PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let whole = [head.as_bytes(), &body].concat();
    let stream = TcpStream::connect(server.addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut conn = BufReader::new(stream);
    for round in 0..20 {
        conn.get_mut().write_all(&whole).unwrap();
        assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
        let taken = std::mem::take(&mut *server.stub.restored.lock().unwrap());
        assert!(taken == body, "round {round}: another body");
    }
}

#[test]
fn a_blocking_query_wakes() {
    let server = Running::start();
    let mut c = server.client();
    c.put("/v1/kv/a", b"1").unwrap();
    let index = c.get("/v1/kv/a").unwrap().index().unwrap();
    let target = format!("/v1/kv/a?index={index}&wait=50s");
    let mut waiting = server.client();
    let thread = std::thread::spawn(move || {
        let started = Instant::now();
        (waiting.get(&target).unwrap(), started.elapsed())
    });
    std::thread::sleep(Duration::from_millis(100));
    c.put("/v1/kv/a", b"2").unwrap();
    let (answer, took) = thread.join().unwrap();
    assert_eq!(answer.index(), Some(index + 1));
    assert!(answer.text().contains("Mg=="));
    assert!(took < Duration::from_secs(25), "{took:?}");
}

/// A blocking query between others in one pipeline, whose pieces come as they like.
#[test]
fn a_blocking_query_in_a_pipeline() {
    let server = Running::start();
    let mut other = server.client();
    let stream = TcpStream::connect(server.addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut conn = BufReader::new(stream);
    let large = "v".repeat(100_000);
    let rest = format!(
        "GET /v1/kv/b?raw HTTP/1.1\r\nHost: x\r\n\r\n\
         PUT /v1/kv/c HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{large}\
         GET /v1/kv/c?raw HTTP/1.1\r\nHost: x\r\n\r\n",
        large.len()
    );
    other.put("/v1/kv/b", b"beside").unwrap();
    for round in 0..3 {
        let value = format!("value-{round}");
        other.put("/v1/kv/a", b"before").unwrap();
        let index = other.get("/v1/kv/a").unwrap().index().unwrap();
        let first = format!(
            "GET /v1/kv/b?raw HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /v1/kv/a?raw&index={index}&wait=50s HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        conn.get_mut().write_all(first.as_bytes()).unwrap();
        assert_eq!(read_response(&mut conn, false).unwrap().text(), "beside");
        // Part of what follows comes while the query waits.
        let mut pieces = rest.as_bytes().chunks(40_000);
        conn.get_mut().write_all(pieces.next().unwrap()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        other.put("/v1/kv/a", value.as_bytes()).unwrap();
        let woken = read_response(&mut conn, false).unwrap();
        assert_eq!(woken.text(), value);
        assert!(woken.index() > Some(index));
        for piece in pieces {
            conn.get_mut().write_all(piece).unwrap();
        }
        assert_eq!(read_response(&mut conn, false).unwrap().text(), "beside");
        assert_eq!(read_response(&mut conn, false).unwrap().text(), "true");
        assert_eq!(read_response(&mut conn, false).unwrap().text(), large);
    }
}

#[test]
fn a_blocking_query_that_closes() {
    let server = Running::start();
    let mut conn = BufReader::new(TcpStream::connect(server.addr).unwrap());
    conn.get_ref()
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    conn.get_mut()
        .write_all(
            b"GET /v1/kv/a?index=9&wait=50ms HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n",
        )
        .unwrap();
    let answer = read_response(&mut conn, false).unwrap();
    assert_eq!(answer.status, 404);
    let mut rest = Vec::new();
    conn.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    // Without it the connection goes on, and errors are errors there, too.
    let mut client = server.client();
    for _ in 0..3 {
        let bad = client.get("/v1/kv/a?index=9&wait=x").unwrap();
        assert_eq!((bad.status, bad.text()), (400, "Invalid wait time".into()));
        let none = client.get("/v1/kv/a?index=9&wait=10ms").unwrap();
        assert_eq!(none.status, 404);
        assert_eq!(client.get("/v1/none?index=9").unwrap().status, 404);
    }
}

#[test]
fn clients_are_limited_and_places_come_back() {
    let server = Running::with(|s| s.max_conns_per_client = 3);
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
    for c in &mut clients {
        assert_eq!(c.get("/v1/status/leader").unwrap().status, 200);
    }
    let mut over = TcpStream::connect(server.addr).unwrap();
    over.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let _ = over.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut rest = Vec::new();
    let _ = over.read_to_end(&mut rest);
    assert!(rest.is_empty(), "closed without an answer");
    clients.pop();
    let again = try_until(Duration::from_secs(60), || {
        server.client().get("/v1/status/leader").ok()
    });
    assert_eq!(again.map(|r| r.status), Some(200));
}

#[test]
fn a_reload_limits_clients_from_then_on() {
    let server = Running::with(|s| s.max_conns_per_client = 0);
    let mut before: Vec<_> = (0..3).map(|_| server.client()).collect();
    for c in &mut before {
        assert_eq!(c.get("/v1/status/leader").unwrap().status, 200);
    }
    server.ctx.limit_clients(1);
    // Those that are there already stay, and were never counted.
    assert_eq!(before[0].get("/v1/status/leader").unwrap().status, 200);
    let mut one = server.client();
    assert_eq!(one.get("/v1/status/leader").unwrap().status, 200);
    assert!(server.client().get("/v1/status/leader").is_err());
    server.ctx.limit_clients(2);
    assert_eq!(
        server.client().get("/v1/status/leader").unwrap().status,
        200
    );
}

#[test]
fn a_client_that_goes_away_ends_its_blocking_query() {
    let server = Running::with(|s| s.max_conns_per_client = 1);
    let mut conn = TcpStream::connect(server.addr).unwrap();
    conn.write_all(b"GET /v1/kv/a?index=99 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(conn);
    // Its place comes back, so its task is gone.
    wait_until(Duration::from_secs(60), "the place is free", || {
        server.client().get("/v1/status/leader").ok()
    });
}

#[test]
fn over_a_unix_socket() {
    let dir = TempDir::new("http-unix");
    let path = dir.path().join("http.sock");
    let socket = UnixSocket {
        path: path.clone(),
        mode: Some(0o600),
        ..UnixSocket::default()
    };
    let server = Running::full(|_| {}, Live::default(), Some(socket));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut conn = BufReader::new(UnixStream::connect(&path).unwrap());
    for _ in 0..2 {
        conn.get_mut()
            .write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let answer = read_response(&mut conn, false).unwrap();
        assert_eq!(answer.text(), "\"127.0.0.1:8300\"");
    }
    drop(server);
    assert!(!path.exists());
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let server = Running::start();
    let stream = TcpStream::connect(server.addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut conn = BufReader::new(stream);
    conn.get_mut()
        .write_all(
            b"PUT /v1/kv/e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let mut first = [0; 25];
    conn.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    conn.get_mut().write_all(b"abc").unwrap();
    assert_eq!(read_response(&mut conn, false).unwrap().text(), "true");
}
