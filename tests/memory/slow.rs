//! Slow clients: large bodies that stop before their end, and large answers that nobody takes. What is held for all of
//! them stays within a bound, and whoever is quick gets through.

use std::fmt::Write as _;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::common::agent::Agent;
use crate::common::harness::Outcome;
use crate::common::http::{Client, read_response};
use crate::common::{Loopback, consul_lite};
use crate::hostile::most_kib;
use crate::{PATIENCE, taken_slowly_from};

/// Clients that stop in the middle of a body: together they would have 24 MB held.
const STALLED: usize = 48;
const BODY: usize = 500_000;
const BODIES_MIB: u64 = 18;
/// Clients that let an answer wait: together they would have more than 140 MB held.
const READERS: usize = 24;
const NODES: usize = 200;
const ANSWERS_MIB: u64 = 48;
/// Less than the time for which one client may take nothing when nobody else waits.
const MAKE_ROOM: Duration = Duration::from_secs(90);

fn agent(net: &Loopback) -> Agent {
    Agent::ready(&consul_lite(), net.ip(1), PATIENCE)
}

fn grown(what: &str, agent: &mut Agent, before: u64, most: u64) -> Outcome {
    let mib = (most_kib(agent) - before) / 1024;
    println!("memory: {mib} MiB more with {what}");
    match agent.process().ended() {
        Some(ended) => Outcome::Failed(format!("the agent ended with {ended}")),
        None if mib > most => Outcome::Failed(format!("{mib} MiB, at most {most}")),
        None => Outcome::Passed,
    }
}

pub fn bodies() -> Outcome {
    let net = Loopback::claim();
    let mut agent = agent(&net);
    let mut client = Client::new(agent.http(), PATIENCE);
    let value = vec![b'q'; 300_000];
    assert_eq!(
        client
            .put("/v1/kv/quick", &value)
            .expect("an answer")
            .status,
        200
    );
    let before = most_kib(&mut agent);
    let addr = agent.http();
    let stalled: Vec<TcpStream> = (0..STALLED).map(|_| stop_halfway(addr)).collect();
    // What is small does not wait; what is large waits until those who are slow have had their time.
    let small = client.put("/v1/kv/small", b"1");
    assert_eq!(small.expect("an answer").status, 200);
    let large = client.put("/v1/kv/large", &value);
    assert_eq!(large.expect("an answer").status, 200);
    let outcome = grown("slow bodies", &mut agent, before, BODIES_MIB);
    drop(stalled);
    let read = client.get("/v1/kv/large?raw").expect("an answer");
    assert!(read.body == value);
    assert_eq!(client.get("/v1/kv/slow").expect("an answer").status, 404);
    outcome
}

/// Announces a body and sends as much of it as the sockets take, without its last byte.
fn stop_halfway(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    let head = format!("PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a head");
    let patience = Some(Duration::from_millis(100));
    stream.set_write_timeout(patience).expect("a timeout");
    // An error says that nobody reads on, which is what is to happen to most.
    let _ = stream.write_all(&vec![b'x'; BODY - 1]);
    stream
}

pub fn answers() -> Outcome {
    let _parent = crate::parent();
    let net = Loopback::claim();
    let mut agent = agent(&net);
    let mut client = agent.client();
    for n in 0..NODES {
        let mut meta = String::new();
        for key in 0..60 {
            let _ = write!(meta, r#""key-{key}":"{}","#, "v".repeat(500));
        }
        let meta = meta.trim_end_matches(',');
        let body = format!(r#"{{"Node":"m{n}","Address":"10.0.0.1","NodeMeta":{{{meta}}}}}"#);
        let answer = client.put("/v1/catalog/register", body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let whole = client.get("/v1/catalog/nodes").expect("an answer");
    assert!(whole.body.len() > NODES * 30_000);
    let before = most_kib(&mut agent);
    let addr = agent.http();
    std::thread::scope(|scope| {
        for n in 0..READERS {
            let whole = &whole;
            scope.spawn(move || {
                // A third of them has waited for a change that has been.
                let query = if n % 3 == 0 { "?index=1" } else { "" };
                let text = read_late(addr, &format!("/v1/catalog/nodes{query}"));
                assert!(text == whole.body, "{} bytes", text.len());
            });
        }
    });
    // Those who take nothing at all have to make room for others, long before they would be given up.
    let stuck: Vec<TcpStream> = (0..2).map(|_| ask_in_vain(addr)).collect();
    let mut quick = Client::new(addr, MAKE_ROOM);
    let answer = quick.get("/v1/catalog/nodes").expect("an answer");
    assert!(answer.body == whole.body);
    drop(stuck);
    grown("answers that wait", &mut agent, before, ANSWERS_MIB)
}

/// Asks with little room for what comes, and takes nothing of it.
fn ask_in_vain(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&addr.into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    let head = "GET /v1/catalog/nodes HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("a head");
    stream
}

/// Asks with little room for what comes, takes some of it slowly and then the rest.
pub fn read_late(addr: SocketAddr, path: &str) -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&addr.into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let begun = taken_slowly_from(&mut stream, path);
    let stream: Box<dyn Read> = Box::new(stream);
    let mut all = BufReader::new(begun.chain(stream));
    let answer = read_response(&mut all, false).expect("an answer");
    assert_eq!(answer.status, 200);
    answer.body
}
