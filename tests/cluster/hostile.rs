//! Who means harm at the ports of a running server: garbage, half-open and slow connections, many of them, and
//! datagrams. Meanwhile and afterwards the agent serves, its memory stays within bounds, and it says in its log
//! what it refused.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::common::agent::{Agent, Plan, SERF_LAN, SERF_WAN, SERVER};
use crate::common::harness::{Outcome, Test};
use crate::common::{Loopback, consul_lite, project_dir, try_until};

const READY: Duration = Duration::from_secs(60);
/// How long it lasts.
const LASTS: Duration = Duration::from_secs(10);
/// Connections held open without a word, for each port.
const SILENT: usize = 150;
/// What the agent's memory may grow by meanwhile: buffers of the connections that are held, and no more.
const GROWTH: usize = 48 << 20;
/// How long a request may take under attack, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn tests() -> Vec<Test> {
    vec![
        Test::new("hostile::garbage_at_every_port_harms_nobody", garbage),
        Test::new("hostile::bad_calls_are_refused_with_a_line", bad_calls),
    ]
}

/// Bytes that a process holds in memory.
pub fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    kib.and_then(|n| n.parse::<usize>().ok()).expect("a number") << 10
}

/// Recorded bytes of the kinds that the ports understand, to be damaged.
fn recorded() -> Vec<Vec<u8>> {
    let root = project_dir().join("tests/golden/vectors");
    let mut all = Vec::new();
    for folder in ["gossip", "raft-rpc", "stream", "rpc"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("the recorded files");
        let mut paths: Vec<_> = entries.map(|e| e.expect("readable").path()).collect();
        paths.sort();
        for path in paths
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "bin"))
        {
            all.push(std::fs::read(path).expect("a recorded file"));
        }
    }
    all
}

/// Something that begins like what is understood and goes on wrong.
fn nasty(rng: &mut Rng, recorded: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.choice(recorded).cloned().unwrap_or_default();
    for _ in 0..rng.usize(..6) {
        let at = rng.usize(..bytes.len().max(1));
        match rng.u8(..3) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            _ => bytes.insert(at.min(bytes.len()), rng.u8(..)),
        }
    }
    match rng.u8(..6) {
        // A length of four gigabytes, as text, list, map, and as an encrypted stream.
        0 => {
            bytes = [
                &[rng.u8(..14), [0xdb, 0xdd, 0xdf, 0xff][rng.usize(..4)]][..],
                &[0xff; 4],
            ]
            .concat()
        }
        // A frame of the multiplexer that promises as much.
        1 => bytes = [&[4, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xff; 4], &bytes].concat(),
        // A Raft request with a snapshot that never comes.
        2 => bytes = [&[1, rng.u8(..6)][..], &bytes].concat(),
        3 => bytes = (0..rng.usize(1..60_000)).map(|_| rng.u8(..)).collect(),
        4 => bytes.insert(0, rng.u8(..8)),
        _ => {}
    }
    bytes
}

fn connect(to: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .ok()?;
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .ok()?;
    Some(stream)
}

/// What goes on at one port until it is over; how many connections and datagrams there were.
fn attack(to: SocketAddr, seed: u64, recorded: &[Vec<u8>], over: &AtomicBool, sent: &AtomicUsize) {
    let mut rng = Rng::with_seed(seed);
    let held: Vec<TcpStream> = (0..SILENT).filter_map(|_| connect(to)).collect();
    let mut slow: Vec<(TcpStream, Vec<u8>)> = (0..20)
        .filter_map(|_| Some((connect(to)?, nasty(&mut rng, recorded))))
        .collect();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let mut answer = [0; 1024];
    while !over.load(Ordering::Relaxed) {
        for (stream, bytes) in &mut slow {
            if let Some(byte) = bytes.pop() {
                // The agent may have closed it.
                let _ = stream.write(&[byte]);
            }
        }
        for _ in 0..5 {
            // Nobody listens for datagrams at the port for calls, which is to be no trouble either.
            let _ = socket.send_to(&nasty(&mut rng, recorded), to);
            sent.fetch_add(1, Ordering::Relaxed);
        }
        let Some(mut stream) = connect(to) else {
            continue;
        };
        let _ = stream.write_all(&nasty(&mut rng, recorded));
        if rng.bool() {
            let _ = stream.read(&mut answer);
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    drop(held);
}

fn garbage() -> Outcome {
    let (net, binary) = (Loopback::claim(), consul_lite());
    let ip = net.ip(1);
    let mut agent = Agent::start(&Plan {
        binary: &binary,
        ip,
        node: "n1",
        // The recorded members are of dc1, and so may not be in this pool.
        config: vec![(
            "debug.json".to_owned(),
            r#"{"log_level": "debug", "datacenter": "dc9"}"#.to_owned(),
        )],
    });
    agent.wait_ready(READY);
    let pid = agent.process().pid();
    let before = resident(pid);
    let log = agent.dir().join("log");
    let lines = || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    let quiet = lines();
    let recorded = recorded();
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut most = before;
    let mut served = 0;
    std::thread::scope(|scope| {
        for (n, port) in [SERVER, SERF_LAN, SERF_WAN].into_iter().enumerate() {
            let (recorded, over, sent) = (&recorded, &over, &sent);
            scope.spawn(move || attack((ip, port).into(), n as u64, recorded, over, sent));
        }
        let start = Instant::now();
        while start.elapsed() < LASTS || served < 5 {
            assert!(
                start.elapsed() < LASTS * 10,
                "only {served} requests were served"
            );
            let value = served.to_string();
            let done = try_until(PATIENCE, || {
                let mut client = agent.client();
                let put = client.put("/v1/kv/calm", value.as_bytes()).ok()?;
                let got = client.get("/v1/kv/calm?raw&consistent").ok()?;
                (put.status == 200 && got.text() == value).then_some(())
            });
            if done.is_none() {
                over.store(true, Ordering::Relaxed);
                panic!("it does not serve any more\n{}", agent.log_tail(40));
            }
            served += 1;
            most = most.max(resident(pid));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(
        agent.process().ended().is_none(),
        "it ended\n{}",
        agent.log_tail(40)
    );
    let sent = sent.load(Ordering::Relaxed);
    println!(
        "{sent} attacks, {served} requests served, resident {} KiB before and {} KiB at most",
        before >> 10,
        most >> 10
    );
    assert!(sent > 100, "only {sent} attacks");
    assert!(most <= before + GROWTH, "{before} bytes became {most}");
    assert!(lines() > quiet, "it logged nothing");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    for who in ["memberlist", "rpc"] {
        let told = text.lines().skip(quiet).any(|line| line.contains(who));
        assert!(told, "nothing of {who} in the log:\n{}", agent.log_tail(40));
    }
    let alone = agent
        .client()
        .get("/v1/agent/members")
        .expect("an answer")
        .text();
    assert_eq!(
        alone.matches("\"Name\"").count(),
        1,
        "strangers are members: {alone}"
    );
    Outcome::Passed
}

/// What is wrong at the port for calls, what comes, and what is told in the log.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let call = |method: &str, body: &[u8]| {
        let mut bytes = b"\x82\xa3Seq\x01\xadServiceMethod".to_vec();
        bytes.push(0xa0 | method.len() as u8);
        bytes.extend(method.as_bytes());
        bytes.extend(body);
        bytes
    };
    // A frame of the multiplexer: version, kind, flags, stream, length.
    let frame = |version: u8, kind: u8, flags: u8, length: u32, body: &[u8]| {
        let head = [version, kind, 0, flags, 0, 0, 0, 1];
        [&[4][..], &head, &length.to_be_bytes(), body].concat()
    };
    let garbage = [0xc1; 16];
    let lists = [&[0][..], &[0x91; 100_000]].concat();
    vec![
        ("an unknown kind", vec![0x77], "unrecognized RPC byte: 119"),
        ("no call", [&[0][..], &garbage].concat(), "RPC error"),
        ("lists in lists", lists, "RPC error"),
        (
            "a call of four gigabytes",
            [&[0][..], &call("KVS.Get", &[0xdb, 0xff, 0xff, 0xff, 0xff])].concat(),
            "RPC error",
        ),
        (
            "an unknown method",
            [&[0][..], &call("KVS.Nope", &[0x80])].concat(),
            "rpc: can't find method KVS.Nope",
        ),
        (
            "arguments of another type",
            [&[0][..], &call("KVS.Get", &[0x93, 1, 2, 3])].concat(),
            "RPC error",
        ),
        ("no frame", frame(9, 0, 1, 0, &[]), "RPC error"),
        ("a frame of no kind", frame(0, 9, 1, 0, &[]), "RPC error"),
        (
            "no call in a frame",
            frame(0, 0, 1, 16, &garbage),
            "RPC error",
        ),
        (
            "no request of Raft",
            [&[1, 0][..], &garbage].concat(),
            "RPC error",
        ),
        (
            "an unknown one of Raft",
            vec![1, 200, 0x80],
            "a request is refused",
        ),
        ("no snapshot", [&[5][..], &garbage].concat(), "RPC error"),
    ]
}

/// Each kind of bad input at the port for calls, one at a time.
fn bad_calls() -> Outcome {
    let (net, binary) = (Loopback::claim(), consul_lite());
    let ip = net.ip(1);
    let agent = Agent::ready(&binary, ip, READY);
    let log = agent.dir().join("log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    for (what, bytes, words) in bad() {
        let before = read().len();
        let mut stream = connect((ip, SERVER).into()).expect("a connection");
        // The agent may close it before it has all.
        let _ = stream.write_all(&bytes);
        // Calls that never end are known by it; streams of a connection would end with it.
        if bytes[0] == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let told = try_until(PATIENCE, || {
            read()[before..]
                .lines()
                .any(|line| line.contains(words) && !line.contains("[DEBUG]"))
                .then_some(())
        });
        assert!(
            told.is_some(),
            "{what}: nothing like {words:?} in the log:\n{}",
            agent.log_tail(10)
        );
    }
    let mut client = agent.client();
    let put = client.put("/v1/kv/calm", b"1").expect("an answer");
    assert_eq!(put.status, 200);
    let peers = client.get("/v1/status/peers").expect("an answer").text();
    assert_eq!(peers.matches(':').count(), 1, "one server: {peers}");
    Outcome::Passed
}
