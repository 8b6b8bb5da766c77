//! Many callers who take large answers through a client agent at once, some of them slowly, again and again. Each gets all
//! of it, what is held for them together stays within a bound, and what is small is answered meanwhile.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::agent::Agent;
use crate::common::http::Client;
use crate::slow::read_late;
use crate::{KEYS, PATIENCE, SERVICES};

const CALLERS: usize = 16;
const ROUNDS: usize = 2;
/// What each of them asks for in turn, and what stands in the answer once for each row.
const LISTINGS: [(&str, &str, usize); 4] = [
    ("/v1/kv/load/?recurse", "\"Key\":", KEYS),
    (
        "/v1/health/state/passing",
        "\"CheckID\":\"service:",
        SERVICES,
    ),
    ("/v1/kv/load/?recurse&pretty", "\"Key\": ", KEYS),
    ("/v1/catalog/node/c1", "\"Service\":", SERVICES),
];
/// How long something small may take, but for one of twenty, which may meet a moment when the machine has no time for it.
const SOON: Duration = Duration::from_secs(5);

/// Everybody at once.
pub fn listings(agent: &Agent) {
    let _parent = crate::parent();
    let (http, dns) = (agent.http(), agent.dns());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let small = scope.spawn(|| small_ones(http, dns, &done));
        let callers: Vec<_> = (0..CALLERS)
            .map(|n| scope.spawn(move || (0..ROUNDS).for_each(|round| take(http, n, round))))
            .collect();
        let failed = callers.into_iter().filter_map(|c| c.join().err()).count();
        done.store(true, Ordering::Relaxed);
        let small = small.join();
        assert_eq!(failed, 0, "callers got no answers");
        let mut times = small.expect("what is small is answered");
        times.sort();
        let slow = times.get(times.len() * 19 / 20);
        let (count, worst) = (times.len(), times.last());
        println!(
            "memory: {count} small answers meanwhile, 95% within {slow:?}, the slowest after {worst:?}"
        );
        assert!(slow.is_some_and(|slow| *slow < SOON), "{slow:?}");
    });
}

fn take(http: SocketAddr, caller: usize, round: usize) {
    let (path, row, rows) = LISTINGS[(caller / 2 + round) % LISTINGS.len()];
    let body = if caller.is_multiple_of(2) {
        read_late(http, path)
    } else {
        let answer = Client::new(http, PATIENCE).get(path);
        let answer = answer.expect("the agent lives");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.body
    };
    let text = String::from_utf8(body).expect("text");
    assert_eq!(text.matches(row).count(), rows, "{path}");
}

/// Asks for one key over HTTP and for a service over DNS until the others are done; how long each time took.
fn small_ones(http: SocketAddr, dns: SocketAddr, done: &AtomicBool) -> Vec<Duration> {
    let mut client = Client::new(http, PATIENCE);
    let socket = UdpSocket::bind((dns.ip(), 0)).expect("a socket");
    socket.connect(dns).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
        \x09service-7\x07service\x06consul\x00\x00\x21\x00\x01";
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = client.get("/v1/kv/load/00007?raw").expect("an answer");
        assert_eq!(answer.body.len(), 200);
        socket.send(question).expect("a question can be sent");
        let mut answer = [0; 1500];
        let length = socket.recv(&mut answer).expect("an answer");
        // One record that answers, and no error.
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 1), "{length} bytes");
        times.push(began.elapsed());
    }
    times
}
