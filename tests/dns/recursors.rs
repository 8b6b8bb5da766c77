//! Questions for others: forwarding, timeouts, several recursors, TCP, and names that answers point to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use consul_lite::dns::Settings;

use crate::common::Loopback;
use crate::stub::Stub;
use crate::{Serving, settings};

/// What a recursor does with every question.
#[derive(Clone, Copy)]
enum Behaviour {
    /// A records, for `www.example.net` by way of a CNAME.
    Answers,
    ServFail,
    Refused,
    NotImplemented,
    NxDomain,
    /// No records, and nothing wrong.
    Empty,
    /// An answer that says that it is cut.
    Truncated,
    /// That over UDP, a whole one over TCP.
    TruncatedDatagrams,
    /// Less than a head.
    Short,
    /// First one with another identity, then the right one.
    Forged,
    Silent,
}

impl Behaviour {
    /// Whether nothing comes of it but that time is over.
    fn is_waited_for(self) -> bool {
        matches!(self, Behaviour::Silent | Behaviour::Short)
    }
}

/// Starts a recursor on UDP and TCP; it lives until the tests end.
fn recursor(behaviour: Behaviour) -> SocketAddr {
    let block = Loopback::claim();
    let address = SocketAddr::from((block.ip(2), 5353));
    let udp = UdpSocket::bind(address).expect("a socket");
    let tcp = TcpListener::bind(address).expect("the same port for TCP");
    std::thread::spawn(move || {
        // The thread keeps the addresses to itself.
        let _block = block;
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let behaviour = match behaviour {
                Behaviour::TruncatedDatagrams => Behaviour::Truncated,
                other => other,
            };
            for reply in replies(behaviour, &buffer[..length]) {
                let _ = udp.send_to(&reply, from);
            }
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                continue;
            }
            for reply in replies(behaviour, &query) {
                let _ = stream.write_all(&(reply.len() as u16).to_be_bytes());
                let _ = stream.write_all(&reply);
            }
        }
    });
    address
}

fn replies(behaviour: Behaviour, query: &[u8]) -> Vec<Vec<u8>> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let question = &query[12..end + 5];
    let mut reply = query[..12].to_vec();
    (reply[2], reply[3]) = (0x81, 0x80);
    reply[6..12].fill(0);
    reply.extend_from_slice(question);
    match behaviour {
        Behaviour::Silent => return Vec::new(),
        Behaviour::Short => return vec![query[..2].to_vec()],
        Behaviour::Empty => {}
        Behaviour::ServFail => reply[3] |= 2,
        Behaviour::NxDomain => reply[3] |= 3,
        Behaviour::NotImplemented => reply[3] |= 4,
        Behaviour::Refused => reply[3] |= 5,
        Behaviour::Truncated => reply[2] |= 2,
        Behaviour::Answers | Behaviour::Forged | Behaviour::TruncatedDatagrams => {
            let mut owner = vec![0xc0, 12];
            if question.starts_with(b"\x03www\x07example\x03net") {
                reply[7] += 1;
                reply.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 1, 44, 0, 7]);
                owner = vec![0xc0, reply.len() as u8];
                reply.extend_from_slice(b"\x04edge\xc0\x10");
            }
            for n in 1..=6 {
                reply[7] += 1;
                reply.extend_from_slice(&owner);
                reply.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, n]);
            }
        }
    }
    let mut forged = reply.clone();
    forged[0] ^= 0xff;
    match behaviour {
        Behaviour::Forged => vec![forged, b"short".to_vec(), reply],
        _ => vec![reply],
    }
}

fn with(recursors: Vec<SocketAddr>, timeout: Duration) -> Settings {
    Settings {
        recursors,
        recursor_timeout: timeout,
        ..settings("base")
    }
}

fn patience(silent: bool) -> Duration {
    Duration::from_secs(if silent { 3 } else { 20 })
}

fn serve(behaviours: &[Behaviour]) -> Serving {
    let recursors = behaviours.iter().map(|b| recursor(*b)).collect();
    // One that answers has time to do so on a busy machine; one that does not is not waited for as long.
    let silent = behaviours.iter().any(|b| b.is_waited_for());
    Serving::start(
        Arc::new(Stub::with_catalog()),
        with(recursors, patience(silent)),
    )
}

fn status(lines: &[String]) -> &str {
    lines.first().map_or("", String::as_str)
}

fn answers(lines: &[String]) -> usize {
    lines.iter().filter(|l| l.starts_with("answer")).count()
}

#[test]
fn the_first_recursor_with_an_answer_wins() {
    use Behaviour::*;
    for (behaviours, wanted, count) in [
        (
            &[Answers][..],
            "status NOERROR opcode QUERY(0) flags qr rd ra id same",
            6,
        ),
        (
            &[ServFail, Answers],
            "status NOERROR opcode QUERY(0) flags qr rd ra id same",
            6,
        ),
        (
            &[Silent, Answers],
            "status NOERROR opcode QUERY(0) flags qr rd ra id same",
            6,
        ),
        (
            &[Forged],
            "status NOERROR opcode QUERY(0) flags qr rd ra id same",
            6,
        ),
        (
            &[NxDomain, Answers],
            "status NXDOMAIN opcode QUERY(0) flags qr rd ra id same",
            0,
        ),
        (
            &[Truncated, Answers],
            "status NOERROR opcode QUERY(0) flags qr tc rd ra id same",
            0,
        ),
        (
            &[ServFail, Silent],
            "status SERVFAIL opcode QUERY(0) flags qr rd ra id same",
            0,
        ),
    ] {
        let serving = serve(behaviours);
        let got = serving.ask("other.example A");
        assert_eq!(status(&got), wanted);
        assert_eq!(answers(&got), count);
    }
    let serving = serve(&[ServFail, Answers]);
    assert_eq!(answers(&serving.ask("other.example A +tcp")), 6);
    let failed = serve(&[Silent]).ask("other.example A +bufsize=1400");
    assert_eq!(failed[2], "opt version 0 do false size 1400 ");
}

#[test]
fn whoever_fails_is_passed_over() {
    use Behaviour::*;
    let fine = "status NOERROR opcode QUERY(0) flags qr rd ra id same";
    let failed = "status SERVFAIL opcode QUERY(0) flags qr rd ra id same";
    for first in [Refused, ServFail, NotImplemented, Short] {
        for transport in ["", " +tcp"] {
            let question = format!("other.example A{transport}");
            let got = serve(&[first, Answers]).ask(&question);
            assert_eq!((status(&got), answers(&got)), (fine, 6));
            let got = serve(&[first, Refused]).ask(&question);
            assert_eq!((status(&got), answers(&got)), (failed, 0));
        }
    }
    // Nobody listens at the first one's address.
    let nobody = Loopback::claim();
    let dead = SocketAddr::from((nobody.ip(2), 5353));
    for transport in ["", " +tcp"] {
        let question = format!("other.example A{transport}");
        let recursors = with(vec![dead, recursor(Answers)], patience(false));
        let got = Serving::start(Arc::new(Stub::with_catalog()), recursors).ask(&question);
        assert_eq!((status(&got), answers(&got)), (fine, 6));
        let got = Serving::start(
            Arc::new(Stub::with_catalog()),
            with(vec![dead], patience(false)),
        )
        .ask(&question);
        assert_eq!((status(&got), answers(&got)), (failed, 0));
    }
}

#[test]
fn the_first_recursor_is_asked_first_and_its_answer_is_taken() {
    use Behaviour::*;
    let serving = serve(&[Empty, Answers]);
    for _ in 0..20 {
        let got = serving.ask("other.example A");
        let wanted = "status NOERROR opcode QUERY(0) flags qr rd ra id same";
        assert_eq!((status(&got), answers(&got)), (wanted, 0));
    }
}

#[test]
fn what_is_cut_is_asked_for_over_tcp_by_the_client() {
    let serving = serve(&[Behaviour::TruncatedDatagrams, Behaviour::Refused]);
    let got = serving.ask("other.example A");
    let cut = "status NOERROR opcode QUERY(0) flags qr tc rd ra id same";
    assert_eq!((status(&got), answers(&got)), (cut, 0));
    let got = serving.ask("other.example A +tcp");
    let whole = "status NOERROR opcode QUERY(0) flags qr rd ra id same";
    assert_eq!((status(&got), answers(&got)), (whole, 6));
}

#[test]
fn names_that_answers_point_to_follow_the_first_reply() {
    use Behaviour::*;
    // Whatever the first one says is taken, a failure too, as Consul does; silence is passed over.
    for (behaviours, wanted) in [
        (&[Refused, Answers][..], 1),
        (&[NxDomain, Answers], 1),
        (&[Silent, Answers], 3),
        (&[Silent], 1),
    ] {
        let got = serve(behaviours).ask("extsvc.service.consul A");
        let fine = "status NOERROR opcode QUERY(0) flags qr aa rd ra id same";
        assert_eq!((status(&got), answers(&got)), (fine, wanted));
    }
}

#[test]
fn a_waiting_recursor_holds_nobody_up() {
    let silent = vec![recursor(Behaviour::Silent)];
    let with = with(silent, Duration::from_secs(30));
    let serving = Serving::start(Arc::new(Stub::with_catalog()), with);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let packet =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x03com\x00\x00\x01\x00\x01";
    for _ in 0..3000 {
        socket.send_to(packet, serving.address).expect("sent");
    }
    assert!(serving.answers_udp());
}

#[test]
fn reverse_names_nobody_here_has_go_to_the_recursors() {
    let serving = serve(&[Behaviour::NxDomain]);
    let got = serving.ask("9.9.9.9.in-addr.arpa PTR");
    assert_eq!(
        status(&got),
        "status NXDOMAIN opcode QUERY(0) flags qr rd ra id same"
    );
    let got = serving.ask("1.0.1.10.in-addr.arpa PTR");
    assert_eq!(
        status(&got),
        "status NOERROR opcode QUERY(0) flags qr aa rd ra id same"
    );
}

#[test]
fn names_that_answers_point_to_are_resolved() {
    let serving = serve(&[Behaviour::Answers]);
    let got = serving.ask("extsvc.service.consul A +bufsize=1232");
    assert_eq!(
        status(&got),
        "status NOERROR opcode QUERY(0) flags qr aa rd ra id same"
    );
    assert_eq!(
        got[2..5],
        [
            "answer edge.example.net 3 IN A 192.0.2.1",
            "answer edge.example.net 3 IN A 192.0.2.2",
            "answer edge.example.net 3 IN A 192.0.2.3",
        ]
    );
    assert_eq!(answers(&got), 8);
    // The service's CNAME and at most five of the chain, of which a client without EDNS gets three.
    assert_eq!(answers(&serving.ask("extsvc.service.consul A")), 3);
    // A node's chain is neither filtered nor cut, and keeps the recursor's TTLs.
    let got = serving.ask("hostn.node.consul A");
    assert_eq!(answers(&got), 7);
    assert_eq!(got[3], "answer host.example.org 60 IN A 192.0.2.2");
    let got = serving.ask("extsvc.service.consul SRV +bufsize=1232");
    assert_eq!(
        got[2],
        "answer extsvc.service.consul 3 IN SRV 1 1 443 www.example.net"
    );
    assert_eq!(
        got.iter().filter(|l| l.starts_with("additional")).count(),
        7
    );
    let serving = serve(&[Behaviour::ServFail, Behaviour::Answers]);
    assert_eq!(answers(&serving.ask("extsvc.service.consul A")), 1);
}
