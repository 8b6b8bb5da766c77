//! Packets that nobody sends by mistake, over UDP and TCP.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use consul_lite::dns::{Received, read};

use crate::stub::Stub;
use crate::{Serving, settings};

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// A well-formed question with an OPT record and a client subnet.
fn seed_packet() -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in ["v1", "web", "service", "dc1", "consul"] {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 33, 0, 1]);
    packet.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11]);
    packet.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0]);
    packet
}

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut packet = seed_packet();
    for _ in 0..=random.below(6) {
        match random.below(5) {
            0 => packet.truncate(random.below(packet.len() + 1)),
            1 => {
                let extra = random.below(40);
                packet.extend((0..extra).map(|_| random.next() as u8));
            }
            2 => {
                let at = random.below(packet.len());
                packet.insert(at, 0xc0);
            }
            _ => {
                let at = random.below(packet.len());
                if let Some(byte) = packet.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
    }
    packet
}

#[test]
fn no_packet_breaks_the_reader() {
    let mut random = Random(0x5eed);
    let mut understood = 0;
    for _ in 0..200_000 {
        let packet = mutated(&mut random);
        match read(&packet) {
            Received::Request(_) => understood += 1,
            Received::Answer(bytes) => assert!(bytes.len() <= packet.len().max(270)),
            Received::Silence => {}
        }
    }
    assert!(
        understood > 1000,
        "the mutations are too wild: {understood}"
    );
}

#[test]
fn no_packet_breaks_the_server() {
    let serving = Serving::start(Arc::new(Stub::with_catalog()), settings("base"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(serving.address).expect("connected");
    socket.set_nonblocking(true).expect("non-blocking");
    let mut random = Random(0xbad);
    let mut buffer = [0; 65535];
    for _ in 0..20_000 {
        let _ = socket.send(&mutated(&mut random));
        while socket.recv(&mut buffer).is_ok() {}
    }
    assert!(serving.answers_udp());
    for _ in 0..200 {
        let mut stream = TcpStream::connect(serving.address).expect("connected");
        let packet = mutated(&mut random);
        // The length is sometimes a lie.
        let stated = packet.len() + random.below(3);
        let _ = stream.write_all(&(stated as u16).to_be_bytes());
        let _ = stream.write_all(&packet);
    }
    assert!(serving.ask("web.service.consul A +tcp").len() > 2);
}

#[test]
fn tcp_answers_many_questions_but_not_endlessly() {
    let serving = Serving::start(Arc::new(Stub::with_catalog()), settings("base"));
    let mut stream = TcpStream::connect(serving.address).expect("connected");
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).expect("a timeout");
    let packet = seed_packet();
    let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&packet);
    // All at once, in two pieces that cut a message.
    let all = framed.repeat(200);
    let (first, second) = all.split_at(1001);
    stream.write_all(first).expect("written");
    let _ = stream.write_all(second);
    let mut answers = 0;
    loop {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            break;
        }
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut answer).is_err() {
            break;
        }
        assert_eq!(answer[..2], packet[..2]);
        answers += 1;
    }
    assert!((1..=128).contains(&answers), "{answers} answers");
}

#[test]
fn idle_tcp_connections_are_bounded() {
    let serving = Serving::start(Arc::new(Stub::with_catalog()), settings("base"));
    let idle: Vec<TcpStream> = (0..600)
        .filter_map(|_| TcpStream::connect(serving.address).ok())
        .collect();
    // UDP does not care, and once the idle ones go, TCP is served again.
    assert!(serving.ask("web.service.consul A").len() > 2);
    drop(idle);
    let question = "web.service.consul A +tcp";
    crate::common::wait_until(Duration::from_secs(60), "TCP is served again", || {
        (serving.ask(question).len() > 2).then_some(())
    });
}

#[test]
fn the_rest_of_a_message_is_not_awaited_for_long() {
    let serving = Serving::start(Arc::new(Stub::with_catalog()), settings("base"));
    let mut idle = TcpStream::connect(serving.address).expect("connected");
    let mut slow = TcpStream::connect(serving.address).expect("connected");
    slow.write_all(&[0, 100, 1, 2, 3]).expect("written");
    let patience = Some(Duration::from_secs(30));
    slow.set_read_timeout(patience).expect("a timeout");
    let mut buffer = [0; 16];
    assert!(matches!(slow.read(&mut buffer), Ok(0) | Err(_)));
    // Who has said nothing yet may think longer.
    idle.set_nonblocking(true).expect("non-blocking");
    let silent = idle.read(&mut buffer).expect_err("open");
    assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock);
}
