//! Bad input to a gossip pool, each kind once: refused with a line in the log, and nothing else happens.
//!
//! The lines are looked for by the words that Consul's own log has, where it says something.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;

use consul_lite::gossip::codec::crypt::{NONCE, Nonces};
use consul_lite::gossip::codec::framing::Framer;
use consul_lite::gossip::codec::message::{Accusation, Alive, Message};
use consul_lite::gossip::codec::packet::Envelope;
use consul_lite::gossip::codec::push_pull::{MAX_MEMBERS, NodeState, PushPull};
use consul_lite::gossip::codec::{kind, layers, lzw, tags};
use consul_lite::gossip::{Config, Keyring, MergeFilter, Output, Pool};
use consul_lite::structs::go::Bytes;

const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 4];
const NOW: Duration = Duration::from_secs(1);

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what each thread logs.
struct Keeper;

impl log::Log for Keeper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("[{}] {}", record.level(), record.args());
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    fn flush(&self) {}
}

/// What this thread logs at the level of warnings and above while it does something.
fn told(act: impl FnOnce()) -> Vec<String> {
    static KEEPER: Once = Once::new();
    KEEPER.call_once(|| {
        log::set_logger(&Keeper).expect("the only logger");
        log::set_max_level(log::LevelFilter::Warn);
    });
    LINES.take();
    act();
    LINES.take()
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 8301))
}

fn pool(keyring: Option<Keyring>) -> Pool {
    let own = agent("dc1", "id-us");
    let config = Config {
        keyring,
        filter: MergeFilter::Lan {
            id: "id-us".to_owned(),
            name: "us".to_owned(),
            datacenter: "dc1".to_owned(),
            segment: String::new(),
        },
        ..Config::lan("us", addr(1), own)
    };
    Pool::new(Duration::ZERO, config).expect("a sound configuration")
}

fn envelope(keyring: Option<Keyring>) -> Envelope {
    Envelope {
        label: Vec::new(),
        keyring,
        verify_incoming: true,
        verify_outgoing: true,
        compress: false,
        nonces: Nonces::new([3; NONCE]),
    }
}

/// The tags of a client agent.
fn agent(datacenter: &str, id: &str) -> tags::Tags {
    [
        ("role", "node"),
        ("dc", datacenter),
        ("segment", ""),
        ("id", id),
        ("vsn", "2"),
        ("build", "1.8.7:b6a5bc5e"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into()
}

fn alive(name: &str, n: u8, of: &tags::Tags) -> Alive {
    Alive {
        incarnation: 1,
        node: name.to_owned(),
        addr: Bytes(vec![10, 0, 0, n]),
        port: 8301,
        meta: Bytes(tags::encode(of).expect("short enough")),
        vsn: Bytes(VERSIONS.to_vec()),
    }
}

fn packet(message: Message) -> Vec<u8> {
    message.encode().expect("it can be written")
}

/// A join with these members.
fn join(members: &[Alive]) -> Vec<u8> {
    let state = |m: &Alive| NodeState {
        name: m.node.clone(),
        addr: m.addr.clone(),
        port: m.port,
        meta: m.meta.clone(),
        incarnation: m.incarnation,
        state: 0,
        vsn: m.vsn.clone(),
    };
    let all = Message::PushPull(Box::new(PushPull {
        join: true,
        nodes: members.iter().map(state).collect(),
        user_state: Vec::new(),
    }));
    envelope(None).seal_stream(&all).expect("written")
}

fn accused(node: &str, incarnation: u32, dead: bool) -> Vec<u8> {
    let accusation = Accusation {
        incarnation,
        node: node.to_owned(),
        from: "liar".to_owned(),
    };
    packet(match dead {
        true => Message::Dead(accusation),
        false => Message::Suspect(accusation),
    })
}

/// How the members look to who asks.
fn picture(pool: &Pool) -> String {
    let members: Vec<_> = pool.members().collect();
    format!("{members:?} {}", pool.health_score())
}

enum Input {
    Packet(Vec<u8>),
    Stream(Vec<u8>),
}
use Input::{Packet, Stream};

/// A pool that knows `b` takes in something bad.
fn refused(what: &str, pool: &mut Pool, input: &Input, words: &str) {
    while pool.poll().is_some() {}
    let before = picture(pool);
    let mut answer = Vec::new();
    let lines = told(|| match input {
        Packet(bytes) => pool.handle_packet(NOW, addr(66), bytes),
        Stream(bytes) => answer = pool.handle_stream(NOW, addr(66), bytes),
    });
    let found = lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(found, 1, "{what}: {words:?} is to be in {lines:?}");
    assert_eq!(picture(pool), before, "{what} changed something");
    while let Some(output) = pool.poll() {
        let harmless = match &output {
            // It may ask who is right about its name.
            Output::Packet { .. } | Output::Snapshot(_) => true,
            _ => false,
        };
        assert!(harmless, "{what}: {output:?}");
    }
}

/// What is wrong, what comes, and what is told.
fn wrongs() -> Vec<(&'static str, Input, &'static str)> {
    let own = || agent("dc1", "id-c");
    let far = alive("far", 7, &agent("dc2", "id-far"));
    let twin = alive("twin", 7, &agent("dc1", "id-b"));
    let with = |change: fn(&mut Alive)| {
        let mut member = alive("c", 7, &own());
        change(&mut member);
        packet(Message::Alive(member))
    };
    let checksum = layers::with_crc(&packet(Message::Alive(alive("c", 7, &own()))));
    let mut damaged = checksum.clone();
    damaged[8] ^= 1;
    let bomb = lzw::compress(&vec![0; 4 << 20]).expect("compressed");
    let old = {
        let mut member = alive("c", 7, &own());
        member.vsn = Bytes(vec![7, 7, 7, 2, 5, 4]);
        join(&[member])
    };
    vec![
        (
            "no message",
            Packet(vec![99, 1, 2]),
            "msg type (99) not supported",
        ),
        ("nothing", Packet(Vec::new()), "memberlist: "),
        (
            "half a message",
            Packet(vec![kind::ALIVE, 0x86, 0xab]),
            "memberlist: ",
        ),
        (
            "a damaged packet",
            Packet(damaged),
            "Got invalid checksum for UDP packet",
        ),
        ("a bomb", Packet(bomb.clone()), "too large"),
        (
            "a bomb in a stream",
            Stream([&bomb[..], &[0; 9]].concat()),
            "failed to receive",
        ),
        (
            "half a stream",
            Stream(vec![kind::PUSH_PULL, 0x83]),
            "failed to receive",
        ),
        (
            "an encrypted stream",
            Stream(vec![kind::ENCRYPT, 0, 0, 0, 1, 9]),
            "failed to receive",
        ),
        (
            "a huge message of Serf's",
            Packet([vec![kind::USER], vec![3; 20_000]].concat()),
            "more than 10240",
        ),
        (
            "no message of Serf's",
            Packet(vec![kind::USER, 77]),
            "serf: cannot use a message",
        ),
        (
            "another datacenter by gossip",
            Packet(packet(Message::Alive(far.clone()))),
            "Member 'far' part of wrong datacenter 'dc2'",
        ),
        (
            "another datacenter joins",
            Stream(join(&[far])),
            "Member 'far' part of wrong datacenter 'dc2'",
        ),
        (
            "an id twice by gossip",
            Packet(packet(Message::Alive(twin.clone()))),
            "Member 'twin' has conflicting node ID 'id-b' with member 'b'",
        ),
        (
            "an id twice in a join",
            Stream(join(&[alive("b", 2, &agent("dc1", "id-b")), twin])),
            "Member 'twin' has conflicting node ID 'id-b' with member 'b'",
        ),
        (
            "our id",
            Stream(join(&[alive("c", 7, &agent("dc1", "id-us"))])),
            "Member 'c' has conflicting node ID 'id-us' with member 'us'",
        ),
        (
            "a name twice",
            Packet(packet(Message::Alive(alive("b", 9, &agent("dc1", "id-z"))))),
            "Name conflict for 'b' both 10.0.0.2:8301 and 10.0.0.9:8301 are claiming",
        ),
        (
            "our name",
            Packet(packet(Message::Alive(alive(
                "us",
                9,
                &agent("dc1", "id-us"),
            )))),
            "Node name conflicts with another node at 10.0.0.9:8301",
        ),
        (
            "a lie that b suspects",
            Packet(accused("b", 1 << 31, false)),
            "cannot be true: incarnation 2147483648",
        ),
        (
            "a lie that b is dead",
            Packet(accused("b", u32::MAX, true)),
            "cannot be true: incarnation 4294967295",
        ),
        (
            "a lie that we are dead",
            Packet(accused("us", u32::MAX - 1, true)),
            "cannot be true",
        ),
        (
            "a lie that somebody lives long",
            Packet(with(|m| m.incarnation = 1 << 31)),
            "cannot be true",
        ),
        (
            "a name without end",
            Packet(with(|m| m.node = "n".repeat(600))),
            "cannot be true",
        ),
        (
            "too many tags",
            Packet(with(|m| m.meta = Bytes(vec![b'x'; 600]))),
            "ignoring an alive message for 'c'",
        ),
        (
            "no versions",
            Packet(with(|m| m.vsn = Bytes(vec![1]))),
            "ignoring an alive message for 'c'",
        ),
        (
            "versions that cannot be",
            Packet(with(|m| m.vsn = Bytes(vec![5, 1, 2, 2, 5, 4]))),
            "ignoring an alive message for 'c'",
        ),
        (
            "no address",
            Packet(with(|m| m.addr = Bytes(vec![1, 2, 3]))),
            "ignoring an alive message for 'c'",
        ),
        (
            "no name",
            Packet(with(|m| m.node.clear())),
            "ignoring an alive message for ''",
        ),
        ("another protocol joins", Stream(old), "protocol version"),
    ]
}

#[test]
fn each_kind_of_bad_input_is_refused_with_a_line() {
    let wrongs = wrongs();
    for (what, input, words) in &wrongs {
        let mut pool = pool(None);
        let b = alive("b", 2, &agent("dc1", "id-b"));
        pool.handle_packet(NOW, addr(2), &packet(Message::Alive(b)));
        assert_eq!(pool.members().count(), 2);
        refused(what, &mut pool, input, words);
    }
}

#[test]
fn who_lacks_the_key_is_refused_with_a_line() {
    let ring = |byte| Keyring::new(&[byte; 32]).ok();
    let message = packet(Message::Alive(alive("c", 7, &agent("dc1", "id-c"))));
    for (what, keyring, in_packet, in_stream) in [
        (
            "no key",
            None,
            "memberlist: ",
            "Encryption is configured but remote state is not encrypted",
        ),
        (
            "another key",
            ring(2),
            "No installed keys could decrypt the message",
            "No installed keys could decrypt the message",
        ),
    ] {
        let mut envelope = envelope(keyring);
        let sealed = envelope
            .seal_packet(std::slice::from_ref(&message), true)
            .expect("sealed");
        refused(what, &mut pool(ring(1)), &Packet(sealed), in_packet);
        let all = Message::PushPull(Box::new(PushPull {
            join: true,
            nodes: Vec::new(),
            user_state: Vec::new(),
        }));
        let sealed = envelope.seal_stream(&all).expect("sealed");
        refused(what, &mut pool(ring(1)), &Stream(sealed), in_stream);
    }
}

#[test]
fn a_full_pool_says_so() {
    let mut pool = pool(None);
    for n in 1..MAX_MEMBERS {
        let mut member = alive(&format!("m{n}"), 2, &tags::Tags::new());
        member.port = n as u16;
        pool.handle_packet(NOW, addr(2), &packet(Message::Alive(member)));
        while pool.poll().is_some() {}
    }
    assert_eq!(pool.members().count(), MAX_MEMBERS);
    let more = packet(Message::Alive(alive("more", 3, &tags::Tags::new())));
    refused(
        "one too many",
        &mut pool,
        &Packet(more),
        "ignoring an alive message for 'more'",
    );
}

#[test]
fn a_stream_without_end_is_cut_off() {
    let mut framer = Framer::default();
    let header = [&[kind::ENCRYPT][..], &(1_u32 << 30).to_be_bytes()].concat();
    let refused = framer.push(&header);
    let too_large = refused
        .expect_err("more than a stream may have")
        .to_string();
    assert!(too_large.contains("too large"), "{too_large}");
}
