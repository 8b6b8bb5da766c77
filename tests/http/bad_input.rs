//! Requests that are too large, malformed, slow, endless or absurd: one clear answer or a closed
//! connection, and a server that goes on.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::http::{Response, read_response};
use crate::stub::Running;

/// Bounds how long a failing test hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(server: &Running) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// Sends bytes on a connection of their own and reads the answer.
fn raw(server: &Running, bytes: &[u8]) -> (Response, BufReader<TcpStream>) {
    let mut conn = connect(server);
    // The server may close before it has taken everything.
    let _ = conn.get_mut().write_all(bytes);
    let answer = read_response(&mut conn, false).unwrap();
    (answer, conn)
}

/// As [`raw`], with whether the connection ended, which one that goes on never does by itself.
fn raw_to_the_end(server: &Running, bytes: &[u8]) -> (Response, bool) {
    let (answer, mut conn) = raw(server, bytes);
    let closed = match conn.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => panic!("a second answer"),
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    };
    (answer, closed)
}

fn well(server: &Running) {
    assert_eq!(
        server.client().get("/v1/status/leader").unwrap().status,
        200
    );
}

#[test]
fn malformed_requests() {
    let server = Running::start();
    for (bytes, status, text) in [
        (&b"GARBAGE\r\n\r\n"[..], 400, None),
        (b"GET /v1/kv/a HTTP/1.1\r\n\r\n", 400, Some("400 Bad Request: missing required Host header")),
        (b"GET /v1/kv/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, Some("400 Bad Request")),
        (b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400, None),
        (b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 400, None),
        (b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n", 400, None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, None),
    ] {
        let (answer, closed) = raw_to_the_end(&server, bytes);
        let shown = bytes.escape_ascii().to_string();
        assert_eq!(answer.status, status, "{shown}");
        assert!(closed, "{shown}");
        if let Some(text) = text {
            assert_eq!(answer.text(), text, "{shown}");
        }
    }
    let (answer, mut conn) = raw(&server, b"GET /v1/kv/a%01 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (400, ""));
    conn.get_mut()
        .write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let next = read_response(&mut conn, false).unwrap();
    assert_eq!(next.status, 200, "the connection goes on");
    well(&server);
}

#[test]
fn keys_that_are_not_text() {
    let server = Running::start();
    let mut c = server.client();
    assert_eq!(c.put("/v1/kv/%ff%fe", b"\xff\x00").unwrap().text(), "true");
    let found = c.get("/v1/kv/%ff%fe").unwrap().text();
    assert!(
        found.contains("\"Key\":\"\\ufffd\\ufffd\",\"Flags\":0,\"Value\":\"/wA=\""),
        "{found}"
    );
    let (answer, _) = raw(
        &server,
        b"GET /v1/kv/\xc3\xa4\"<>|{}^` HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert!([400, 404].contains(&answer.status));
    well(&server);
}

#[test]
fn heads_beyond_measure() {
    let server = Running::start();
    let mut long = b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
    long.resize(2 << 20, b'y');
    let (answer, closed) = raw_to_the_end(&server, &long);
    assert_eq!((answer.status, closed), (431, true));
    let mut many = b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n".to_vec();
    for n in 0..10_000 {
        many.extend_from_slice(format!("X-{n}: y\r\n").as_bytes());
    }
    let (answer, closed) = raw_to_the_end(&server, &many);
    assert_eq!((answer.status, closed), (431, true));
    let target = format!("/v1/kv/{}", "k".repeat(9000));
    assert_eq!(server.client().get(&target).unwrap().status, 404);
    let target = format!(
        "GET /v1/kv/{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "k".repeat(100_000)
    );
    let (answer, closed) = raw_to_the_end(&server, target.as_bytes());
    assert_eq!((answer.status, closed), (414, true));
    well(&server);
}

#[test]
fn values_beyond_the_limit() {
    let server = Running::with(|s| s.kv_max_value_size = 1000);
    let mut c = server.client();
    assert_eq!(c.put("/v1/kv/a", &[b'x'; 1000]).unwrap().text(), "true");
    let answer = c.put("/v1/kv/a", &[b'x'; 1001]).unwrap();
    assert_eq!(answer.status, 413);
    // As much as this is read all the same, and the connection goes on; what is longer is left unread.
    assert_eq!(answer.header("Connection"), None);
    let want = "Request body(1001 bytes) too large, max size: 1000 bytes. \
                See https://www.consul.io/docs/agent/options.html#kv_max_value_size.";
    assert_eq!(answer.text(), want);
    // Without an announced length the limit holds while reading.
    let mut chunked =
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..4 {
        chunked.extend_from_slice(b"190\r\n");
        chunked.extend_from_slice(&[b'y'; 0x190]);
        chunked.extend_from_slice(b"\r\n");
    }
    let (answer, closed) = raw_to_the_end(&server, &chunked);
    assert_eq!((answer.status, closed), (413, true));
    let want = "Request body too large, max size: 1000 bytes. \
                See https://www.consul.io/docs/agent/options.html#kv_max_value_size.";
    assert_eq!(answer.text(), want);
    let found = c.get("/v1/kv/a?raw").unwrap();
    assert_eq!(found.body, [b'x'; 1000], "nothing was changed");
}

#[test]
fn transactions_beyond_the_limits() {
    let server = Running::with(|s| {
        s.kv_max_value_size = 100;
        s.txn_max_req_len = 10_000;
    });
    let mut c = server.client();
    let ops = |n: usize| {
        format!(
            "[{}]",
            vec![r#"{"KV":{"Verb":"get","Key":"b"}}"#; n].join(",")
        )
    };
    let answer = c.put("/v1/txn", ops(65).as_bytes()).unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(
        answer.text(),
        "Transaction contains too many operations (65 > 64)"
    );
    let big = format!(
        r#"[{{"KV":{{"Verb":"set","Key":"big","Value":"{}"}}}}]"#,
        "QUFB".repeat(34)
    );
    let answer = c.put("/v1/txn", big.as_bytes()).unwrap();
    assert_eq!(
        answer.text(),
        "Value for key \"big\" is too large (102 > 100 bytes)"
    );
    let answer = c.put("/v1/txn", &[b' '; 10_001]).unwrap();
    assert_eq!(answer.status, 413);
    assert!(
        answer
            .text()
            .starts_with("Request body(10001 bytes) too large, max size: 10000 bytes.")
    );
    for (body, want) in [
        (&b""[..], "Failed to parse body: EOF"),
        (b"[{", "Failed to parse body: unexpected EOF"),
        (
            b"{}",
            "Failed to parse body: json: cannot unmarshal object into Go value of type api.TxnOps",
        ),
        (
            b"[{\"KV\":{\"Foo\":1}}]",
            "Failed to parse body: json: unknown field \"Foo\"",
        ),
    ] {
        let answer = c.put("/v1/txn", body).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (400, want));
    }
}

#[test]
fn json_that_is_deep_or_not_text() {
    let server = Running::start();
    let mut c = server.client();
    let deep = "[".repeat(1 << 20);
    for path in ["/v1/txn", "/v1/catalog/register", "/v1/session/create"] {
        let answer = c.put(path, deep.as_bytes()).unwrap();
        assert!(
            [400, 413].contains(&answer.status),
            "{path}: {}",
            answer.text()
        );
    }
    let answer = c
        .put("/v1/catalog/register", b"{\"Node\":\"\xff\"}")
        .unwrap();
    assert_eq!(answer.text(), "No cluster leader", "it went to the servers");
    let answer = c.put("/v1/catalog/register", b"{\"Node\":5}").unwrap();
    let want = "Request decode failed: json: cannot unmarshal number into Go struct field \
                RegisterRequest.Node of type string";
    assert_eq!((answer.status, answer.text().as_str()), (400, want));
    let huge = vec![b' '; (4 << 20) + 1];
    assert_eq!(c.put("/v1/catalog/register", &huge).unwrap().status, 413);
    well(&server);
}

#[test]
fn a_head_that_never_ends_in_time() {
    let server = Running::start();
    let mut conn = connect(&server);
    let started = Instant::now();
    let mut ended = None;
    for byte in
        b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    {
        if conn.get_mut().write_all(&[*byte]).is_err() {
            ended = Some(started.elapsed());
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut rest = Vec::new();
    let _ = conn.read_to_end(&mut rest);
    let ended = ended.unwrap_or_else(|| started.elapsed());
    assert!(ended >= Duration::from_millis(250), "{ended:?}");
    assert!(ended < PATIENCE, "{ended:?}");
    well(&server);
}

#[test]
fn a_body_that_stops() {
    let server = Running::start();
    let mut conn = connect(&server);
    conn.get_mut()
        .write_all(b"PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        .unwrap();
    let mut rest = Vec::new();
    let _ = conn.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("true"));
    assert_eq!(server.client().get("/v1/kv/slow").unwrap().status, 404);
}

#[test]
fn waiting_is_not_slowness() {
    // Idle between requests, and blocked inside one, for longer than any patience.
    let server = Running::start();
    let mut c = server.client();
    c.put("/v1/kv/a", b"1").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let index = c.get("/v1/kv/a").unwrap().index().unwrap();
    let started = Instant::now();
    let answer = c
        .get(&format!("/v1/kv/a?index={index}&wait=700ms"))
        .unwrap();
    assert_eq!(answer.status, 200);
    assert!(started.elapsed() >= Duration::from_millis(700));
    let mut conn = connect(&server);
    std::thread::sleep(Duration::from_millis(500));
    conn.get_mut()
        .write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
}

#[test]
fn a_page_that_asks_no_more() {
    // What a browser would keep for minutes ends soon, but not while a query of the page blocks.
    let server = Running::start();
    let index = {
        let mut c = server.client();
        c.put("/v1/kv/a", b"1").unwrap();
        c.get("/v1/kv/a").unwrap().index().unwrap()
    };
    let blocking = format!("/v1/kv/a?index={index}&wait=700ms");
    for target in ["/v1/status/leader", blocking.as_str()] {
        let mut conn = connect(&server);
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Consul-Lite-Page: 1\r\n\r\n");
        conn.get_mut().write_all(head.as_bytes()).unwrap();
        assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
        assert_eq!(conn.read(&mut [0; 64]).unwrap(), 0, "{target}");
    }
    // The next request decides, such as when a proxy's connection serves programs too.
    let mut conn = connect(&server);
    conn.get_mut()
        .write_all(
            b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nX-Consul-Lite-Page: 1\r\n\r\n\
              GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n",
        )
        .unwrap();
    assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
    assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
    std::thread::sleep(Duration::from_millis(700));
    conn.get_mut()
        .write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut conn, false).unwrap().status, 200);
}
