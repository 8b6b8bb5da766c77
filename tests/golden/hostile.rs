//! Input made to hurt: floods, bombs, lies, lengths that are not so. Everything is refused or used, memory stays
//! within what is stated here, nothing panics, and the rest goes on.

use std::net::SocketAddr;
use std::time::Duration;

use consul_lite::gossip::codec::crypt::{NONCE, Nonces};
use consul_lite::gossip::codec::framing::Framer;
use consul_lite::gossip::codec::message::{Accusation, Alive, Message, Ping, Source};
use consul_lite::gossip::codec::packet::Envelope;
use consul_lite::gossip::codec::push_pull::{MAX_MEMBERS, NodeState, PushPull};
use consul_lite::gossip::codec::serf::{Join, Leave, Query, SerfMessage, UserEvent};
use consul_lite::gossip::codec::{kind, layers, lzw};
use consul_lite::gossip::{Config, Keyring, Output, Pool};
use consul_lite::net::message::MessageReader;
use consul_lite::raft::{Message as RaftMessage, rpc as raft_rpc};
use consul_lite::structs::MemberStatus;
use consul_lite::structs::go::Bytes;
use consul_lite::wire::{msgpack, rpc};
use fastrand::Rng;

use crate::allocated;
use crate::mutations::wound;
use crate::vectors::load;

const SEED: u64 = 0x5eed_c0de;
const MIB: usize = 1 << 20;
/// What one packet or stream may take while it is looked at: the largest stream is 8 MiB, once as it came and once
/// unpacked, beside what it says.
const ONE_INPUT: usize = 48 * MIB;
const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 4];

fn addr(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 8301))
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn pool(keyring: Option<Keyring>) -> Pool {
    let config = Config {
        keyring,
        seed: SEED,
        ..Config::lan("us", addr(1), Default::default())
    };
    Pool::new(Duration::ZERO, config).expect("a sound configuration")
}

fn envelope(keyring: Option<Keyring>, compress: bool) -> Envelope {
    Envelope {
        label: Vec::new(),
        keyring,
        verify_incoming: true,
        verify_outgoing: true,
        compress,
        nonces: Nonces::new([3; NONCE]),
    }
}

fn alive(name: &str, n: u32, incarnation: u32) -> Message {
    let SocketAddr::V4(v4) = addr(n) else {
        unreachable!("addresses here are of version 4")
    };
    Message::Alive(Alive {
        incarnation,
        node: name.to_owned(),
        addr: Bytes(v4.ip().octets().to_vec()),
        port: 8301,
        meta: Bytes(Vec::new()),
        vsn: Bytes(VERSIONS.to_vec()),
    })
}

/// A packet of a message.
fn packet(message: &Message) -> Vec<u8> {
    message.encode().expect("it can be written")
}

fn user(message: &SerfMessage) -> Vec<u8> {
    [
        &[kind::USER],
        &message.encode().expect("it can be written")[..],
    ]
    .concat()
}

/// What the pool asks for; the last packet to `to`.
fn drain(pool: &mut Pool, to: SocketAddr) -> Option<Vec<u8>> {
    let mut last = None;
    while let Some(output) = pool.poll() {
        match output {
            Output::Packet { to: at, bytes } if at == to => last = Some(bytes),
            _ => {}
        }
    }
    last
}

/// The pool still answers who asks whether it is there.
fn answers(pool: &mut Pool, now: Duration) {
    let from = addr(7_777);
    let ping = Message::Ping(Ping {
        seq_no: 4711,
        node: "us".to_owned(),
        source: Source::new(from, "asker"),
    });
    drain(pool, from);
    pool.handle_packet(now, from, &packet(&ping));
    let answer = drain(pool, from).expect("an answer");
    let parts = envelope(None, false)
        .open_packet(&answer)
        .expect("a packet");
    let acked = |m: &Message| matches!(m, Message::Ack(ack) if ack.seq_no == 4711);
    assert!(parts.into_iter().flatten().any(|m| acked(&m)));
}

fn status(pool: &Pool, name: &str) -> Option<MemberStatus> {
    pool.member(name).map(|member| member.status)
}

#[test]
fn a_pool_survives_damaged_packets_and_streams() {
    let mut rng = Rng::with_seed(SEED);
    let seeds: Vec<(bool, Vec<u8>)> = load("gossip")
        .into_iter()
        .filter(|v| !v.name.contains("enc"))
        .map(|v| {
            let bytes = layers::check_crc(&v.bytes).expect("a checksum").to_vec();
            let packed = bytes[0] == kind::COMPRESS;
            let inner = packed.then(|| lzw::decompress(&bytes[1..], MIB).expect("compressed"));
            (v.name.starts_with("tcp-"), inner.unwrap_or(bytes))
        })
        .collect();
    let favourites = [0, 7, 9, 12, 13, 0x80, 0x8f, 0xc0, 0xd9, 0xda, 0xdd, 0xff];
    let mut pool = pool(None);
    let (held, ()) = allocated::most(|| {
        for round in 0..30_000u64 {
            let (stream, mut bytes) = rng.choice(&seeds).cloned().expect("a seed");
            wound(&mut rng, &mut bytes, &favourites);
            let (now, from) = (Duration::from_millis(10 * round), addr(rng.u32(2..50)));
            match stream {
                true => drop(pool.handle_stream(now, from, &bytes)),
                false => pool.handle_packet(now, from, &bytes),
            }
            pool.tick(now);
            drain(&mut pool, from);
        }
    });
    assert!(held < 16 * MIB, "{held} bytes");
    answers(&mut pool, s(400));
}

#[test]
fn floods_of_names_are_bounded() {
    let mut pool = pool(None);
    let now = s(1);
    let (held, ()) = allocated::most(|| {
        for n in 2..MAX_MEMBERS as u32 + 5_000 {
            pool.handle_packet(now, addr(n), &packet(&alive(&format!("flood-{n}"), n, 1)));
            drain(&mut pool, addr(n));
        }
    });
    assert_eq!(pool.members().count(), MAX_MEMBERS);
    // Node, member, news to be told and a line for the snapshot: about 2 KiB each.
    assert!(held < MAX_MEMBERS * 3 * 1024, "{held} bytes");
    answers(&mut pool, now);
    // Intents about members that nobody knows, with long names and short ones.
    let (held, ()) = allocated::most(|| {
        for n in 0..60_000u64 {
            let node = match n % 2 {
                0 => format!("ghost-{n}"),
                _ => "g".repeat(4_000) + &n.to_string(),
            };
            let intent = match n % 4 {
                0 | 1 => SerfMessage::Join(Join { ltime: n, node }),
                _ => SerfMessage::Leave(Leave {
                    ltime: n,
                    node,
                    prune: false,
                }),
            };
            pool.handle_packet(now, addr(9), &user(&intent));
        }
    });
    assert!(held < 24 * MIB, "{held} bytes");
    answers(&mut pool, now);
}

#[test]
fn floods_of_events_queries_and_suspicions_are_bounded() {
    let mut pool = pool(None);
    let now = s(1);
    pool.handle_packet(now, addr(2), &packet(&alive("victim", 2, 1)));
    let (held, ()) = allocated::most(|| {
        for n in 0..40_000u64 {
            let event = SerfMessage::UserEvent(UserEvent {
                ltime: 1 + n / 60,
                name: format!("event-{n}"),
                payload: Some(Bytes(vec![7; 6_000])),
                coalesce: false,
            });
            pool.handle_packet(now, addr(3), &user(&event));
            let query = SerfMessage::Query(Box::new(Query {
                ltime: 1 + n / 60,
                id: n as u32,
                addr: Bytes(vec![10, 0, 0, 9]),
                port: 8301,
                name: "q".repeat(3_000),
                ..Query::default()
            }));
            pool.handle_packet(now, addr(3), &user(&query));
            // A liar: there, suspected, there again, each time with a timer.
            let incarnation = n as u32 + 2;
            let accusation = Message::Suspect(Accusation {
                incarnation,
                node: "victim".to_owned(),
                from: format!("liar-{n}"),
            });
            pool.handle_packet(now, addr(3), &packet(&alive("victim", 2, incarnation)));
            pool.handle_packet(now, addr(3), &packet(&accusation));
            drain(&mut pool, addr(3));
        }
    });
    assert!(held < 40 * MIB, "{held} bytes");
    answers(&mut pool, now);
    // What was too much is forgotten, and new events still come.
    let event = SerfMessage::UserEvent(UserEvent {
        ltime: 5_000,
        name: "news".to_owned(),
        ..UserEvent::default()
    });
    drain(&mut pool, addr(3));
    pool.handle_packet(now, addr(3), &user(&event));
    let told = std::iter::from_fn(|| pool.poll()).any(|output| {
        matches!(output, Output::Event(consul_lite::gossip::Event::User { name, .. }) if name == "news")
    });
    assert!(told);
}

#[test]
fn lies_about_incarnations_are_refused_or_refuted() {
    let mut pool = pool(None);
    let mut now = s(1);
    for n in 2..12 {
        pool.handle_packet(now, addr(n), &packet(&alive(&format!("m{n}"), n, 1)));
    }
    let accuse = |node: &str, incarnation, dead| {
        let accusation = Accusation {
            incarnation,
            node: node.to_owned(),
            from: "liar".to_owned(),
        };
        packet(&match dead {
            true => Message::Dead(accusation),
            false => Message::Suspect(accusation),
        })
    };
    for incarnation in [1 << 31, u32::MAX - 1, u32::MAX] {
        for dead in [false, true] {
            pool.handle_packet(now, addr(99), &accuse("m3", incarnation, dead));
            pool.handle_packet(now, addr(99), &accuse("us", incarnation, dead));
        }
        pool.handle_packet(now, addr(99), &packet(&alive("m4", 4, incarnation)));
        let state = NodeState {
            name: "m5".to_owned(),
            addr: Bytes(vec![10, 0, 0, 5]),
            port: 8301,
            meta: Bytes(Vec::new()),
            incarnation,
            state: 2,
            vsn: Bytes(VERSIONS.to_vec()),
        };
        let all = Message::PushPull(Box::new(PushPull {
            join: false,
            nodes: vec![state],
            user_state: Vec::new(),
        }));
        let bytes = envelope(None, false).seal_stream(&all).expect("written");
        pool.handle_stream(now, addr(99), &bytes);
    }
    // Later than any suspicion that a lie could have begun, but before their probes.
    now += Duration::from_millis(100);
    pool.tick(now);
    for n in 2..12 {
        assert_eq!(status(&pool, &format!("m{n}")), Some(MemberStatus::Alive));
    }
    assert_eq!(
        pool.health_score(),
        0,
        "lies do not make us think badly of ourselves"
    );
    // A smaller one is refuted, by the next number.
    drain(&mut pool, addr(2));
    pool.handle_packet(now, addr(99), &accuse("us", 1_000, true));
    let mut refuted = false;
    for _ in 0..100 {
        now += Duration::from_millis(200);
        pool.tick(now);
        while let Some(output) = pool.poll() {
            let Output::Packet { bytes, .. } = output else {
                continue;
            };
            let parts = envelope(None, false).open_packet(&bytes).expect("ours");
            let ours = |m: &Message| matches!(m, Message::Alive(a) if a.node == "us" && a.incarnation == 1_001);
            refuted |= parts.into_iter().flatten().any(|m| ours(&m));
        }
    }
    assert!(refuted);
}

#[test]
fn bombs_are_refused_within_bounds() {
    let zeros = vec![0; 16 * MIB];
    let packed = lzw::compress(&zeros).expect("it can be compressed");
    let ping = packet(&alive("x", 5, 1));
    // Parts of parts of parts.
    let mut compound = layers::join_compound(&vec![ping.clone(); 255]);
    for _ in 0..3 {
        let copies = (60_000 / compound.len()).clamp(1, 255);
        compound = layers::join_compound(&vec![compound; copies.max(2)]);
        compound.truncate(65_535);
    }
    // Compressed compounds that are compressed.
    let mut nested = layers::join_compound(&vec![ping; 255]);
    for _ in 0..5 {
        nested = lzw::compress(&layers::join_compound(&vec![nested.clone(); 200])).expect("packed");
    }
    let mut pool = pool(None);
    for bomb in [&packed, &compound, &nested] {
        let (held, ()) = allocated::most(|| {
            pool.handle_packet(s(1), addr(5), bomb);
            pool.handle_stream(s(1), addr(5), bomb);
            drain(&mut pool, addr(5));
        });
        assert!(held < ONE_INPUT, "{held} bytes");
    }
    answers(&mut pool, s(2));
}

#[test]
fn lengths_that_are_not_so_cost_nothing() {
    let header = |nodes: u64, state: u64| {
        let mut bytes = vec![kind::PUSH_PULL];
        bytes.extend([0x83, 0xa4]);
        bytes.extend(b"Join");
        bytes.push(0xc2);
        bytes.push(0xa5);
        bytes.extend(b"Nodes");
        bytes.push(0xcf);
        bytes.extend(nodes.to_be_bytes());
        bytes.push(0xac);
        bytes.extend(b"UserStateLen");
        bytes.push(0xcf);
        bytes.extend(state.to_be_bytes());
        bytes
    };
    let mut inputs = vec![
        header(1 << 40, 0),
        header(16_384, 0),
        header(0, 1 << 40),
        header(0, i64::MAX as u64),
        header(u64::MAX, u64::MAX),
    ];
    for length in [0xdb, 0xdd, 0xdf, 0xc6] {
        // A string, a list, a map, bytes of four gigabytes.
        inputs.push([&[kind::PUSH_PULL, length][..], &[0xff; 4]].concat());
        inputs.push([&[kind::ALIVE, length][..], &[0xff; 4]].concat());
    }
    // An encrypted stream of four gigabytes.
    inputs.push([&[kind::ENCRYPT][..], &[0xff; 4]].concat());
    // Lists in lists in lists.
    inputs.push([vec![kind::ALIVE], vec![0x91; 200_000]].concat());
    inputs.push([vec![kind::USER, 3], vec![0x81; 200_000]].concat());
    let mut pool = pool(None);
    for input in &inputs {
        let (held, ()) = allocated::most(|| {
            pool.handle_packet(s(1), addr(5), input);
            pool.handle_stream(s(1), addr(5), input);
            let _ = Framer::default().push(input);
            drain(&mut pool, addr(5));
        });
        assert!(
            held < 4 * MIB,
            "{held} bytes for {:?}",
            &input[..input.len().min(40)]
        );
    }
    answers(&mut pool, s(2));
}

#[test]
fn the_wrong_key_or_none_gets_nowhere() {
    let ring = |byte| Keyring::new(&[byte; 32]).ok();
    let mut pool = pool(ring(1));
    let message = alive("intruder", 5, 1);
    for other in [None, ring(2)] {
        let mut envelope = envelope(other, true);
        let sealed = envelope
            .seal_packet(&[packet(&message)], true)
            .expect("sealed");
        pool.handle_packet(s(1), addr(5), &sealed);
        let all = Message::PushPull(Box::new(PushPull {
            join: true,
            nodes: Vec::new(),
            user_state: Vec::new(),
        }));
        let sealed = envelope.seal_stream(&all).expect("sealed");
        let answer = pool.handle_stream(s(1), addr(5), &sealed);
        // What comes back, if anything, is an error that only who has the key can read.
        assert!(envelope.open_stream(&answer).is_err() || answer.is_empty());
    }
    assert_eq!(pool.members().count(), 1);
}

#[test]
fn raft_and_rpc_messages_are_refused_or_survive() {
    let mut rng = Rng::with_seed(SEED);
    let mut seeds: Vec<Vec<u8>> = load("raft-rpc").into_iter().map(|v| v.bytes).collect();
    seeds.extend(load("rpc").into_iter().map(|v| v.bytes));
    let favourites = [
        0, 1, 2, 3, 4, 0x80, 0x8f, 0x9f, 0xc0, 0xc1, 0xcf, 0xda, 0xdb, 0xdd, 0xdf, 0xff,
    ];
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut bytes = rng.choice(&seeds).cloned().expect("a seed");
        wound(&mut rng, &mut bytes, &favourites);
        let (held, ()) = allocated::most(|| {
            if let Some((kind, body)) = bytes.split_first()
                && let Ok(incoming) = raft_rpc::decode_request(*kind, body)
            {
                accepted += 1;
                let size = incoming.size;
                raft_rpc::encode_request(&incoming.from, &incoming.message, size)
                    .expect("what was read can be written");
            }
            for request in [
                RaftMessage::AppendEntries(Default::default()),
                RaftMessage::RequestVote(Default::default()),
                RaftMessage::InstallSnapshot(Default::default()),
                RaftMessage::TimeoutNow(Default::default()),
                RaftMessage::RequestPreVote(Default::default()),
            ] {
                let _ = raft_rpc::decode_response(&request, &bytes);
            }
            let mut rest = &bytes[..];
            if let Ok(header) = rpc::read_request_header(&mut rest) {
                let _ = rpc::read_request(&header, &mut rest);
            }
            let mut rest = &bytes[..];
            let _ = rpc::read_response_header(&mut rest);
        });
        assert!(held < 4 * MIB, "{held} bytes for {} bytes", bytes.len());
    }
    assert!(accepted > 100, "only {accepted} were accepted");
}

#[test]
fn a_reader_of_messages_keeps_to_its_limit() {
    const LIMIT: usize = MIB;
    // A request without end, one that says it has four gigabytes, one that is lists all the way down.
    let inputs = [
        vec![0x91; 3 * MIB],
        [&[0xdb, 0xff, 0xff, 0xff, 0xff][..], &vec![b'x'; 3 * MIB]].concat(),
        [&[0xdf, 0xff, 0xff, 0xff, 0xff][..], &vec![0xc0; 3 * MIB]].concat(),
        vec![0xc1; 16],
    ];
    for input in &inputs {
        let (held, refused) = allocated::most(|| {
            smol::block_on(async {
                let mut reader = MessageReader::new(&input[..]);
                reader.values(2, LIMIT).await.is_err()
            })
        });
        assert!(refused && held < 4 * LIMIT, "{held} bytes");
    }
    // And depth alone is refused by the decoder itself.
    assert!(msgpack::decode(&vec![0x91; MIB]).is_err());
}

#[test]
fn a_member_costs_little() {
    const MEMBERS: u32 = 1_000;
    // As a client agent of Consul's describes itself.
    let tags = [
        ("role", "node"),
        ("dc", "dc1"),
        ("segment", ""),
        ("id", "8f20b1c4-5a1d-4c07-9f6e-0123456789ab"),
        ("vsn", "2"),
        ("vsn_min", "2"),
        ("vsn_max", "3"),
        ("build", "1.8.7:b6a5bc5e"),
    ];
    let tags = tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let meta = consul_lite::gossip::codec::tags::encode(&tags).expect("short enough");
    let (mut pool, mut now) = (pool(None), s(1));
    let before = allocated::held();
    for n in 2..=MEMBERS {
        let Message::Alive(mut member) = alive(&format!("board-{n:04}"), n, 1) else {
            unreachable!("that is what it makes")
        };
        member.meta = Bytes(meta.clone());
        pool.handle_packet(now, addr(n), &packet(&Message::Alive(member)));
        drain(&mut pool, addr(n));
    }
    // Until all is told.
    for _ in 0..3_000 {
        now += Duration::from_millis(20);
        pool.tick(now);
        drain(&mut pool, addr(2));
    }
    let each = (allocated::held() - before) / MEMBERS as usize;
    println!("{each} bytes for each of {MEMBERS} members");
    assert_eq!(pool.members().count(), MEMBERS as usize);
    assert!(each <= 2_560, "{each} bytes for each member");
}
