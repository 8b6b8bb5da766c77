//! The DNS interface over a stub catalog, on real sockets: answers recorded from Consul 1.8.7, recursors,
//! hostile packets, limits.
//!
//! `recorded.txt` holds questions (`? PROFILE NAME TYPE +options`) and below each the answer's lines as
//! `compat` writes them. `DNS_RECORD=1` asks the real Consul again and rewrites the file.

#[path = "../compat/dns.rs"]
mod ask;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod record;
mod recursors;
mod stub;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consul_lite::dns::{Dns, Name, Server, ServiceTtl, Settings};
use consul_lite::drive::{Runtime, Shutdown};

use common::Loopback;
use common::agent::DNS;
use stub::Stub;

/// The configuration of each profile, for the real Consul.
const PROFILES: &[(&str, &str)] = &[
    ("base", ""),
    ("truncate", r#""enable_truncate": true,"#),
    ("zero", r#""udp_answer_limit": 0,"#),
    (
        "zerotruncate",
        r#""udp_answer_limit": 0, "enable_truncate": true,"#,
    ),
    ("limits", r#""udp_answer_limit": 9, "a_record_limit": 2,"#),
    ("passing", r#""only_passing": true,"#),
    (
        "plain",
        r#""disable_compression": true, "enable_additional_node_meta_txt": false,"#,
    ),
];

/// The same for ours.
fn settings(profile: &str) -> Settings {
    let mut s = Settings::new("dc1", "consul.").expect("a domain");
    s.node_ttl = 7;
    s.service_ttl = ServiceTtl::new([
        ("web", Duration::from_secs(10)),
        ("we*", Duration::from_secs(20)),
        ("*", Duration::from_millis(3500)),
    ]);
    match profile {
        "truncate" => s.enable_truncate = true,
        "zero" => s.udp_answer_limit = 0,
        "zerotruncate" => {
            s.udp_answer_limit = 0;
            s.enable_truncate = true;
        }
        "limits" => {
            s.udp_answer_limit = 9;
            s.a_record_limit = 2;
        }
        "passing" => s.only_passing = true,
        "plain" => {
            s.disable_compression = true;
            s.enable_additional_node_meta_txt = false;
            s.alt_domain = Name::parse("alt.example.");
        }
        _ => {}
    }
    s
}

/// A server on a port of its own that ends with the value.
struct Serving {
    address: SocketAddr,
    dns: Arc<Dns>,
    shutdown: Shutdown,
    _addresses: Loopback,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn start(stub: Arc<Stub>, settings: Settings) -> Self {
        let dns = Dns::new(stub, settings);
        let shutdown = Shutdown::default();
        let (tell, told) = std::sync::mpsc::channel();
        let (served, end) = (dns.clone(), shutdown.clone());
        let addresses = Loopback::claim();
        let address = (addresses.ip(1), DNS).into();
        let thread = std::thread::spawn(move || {
            let runtime = Runtime::new().expect("threads");
            let server =
                Server::start(&runtime.handle(), &served, &[address]).expect("a free port");
            tell.send(()).expect("a listener");
            runtime.run(end.triggered());
            runtime.run(server.stop());
        });
        told.recv().expect("a running server");
        Self {
            address,
            dns,
            shutdown,
            _addresses: addresses,
            thread: Some(thread),
        }
    }

    /// Whether a question over UDP is answered; under floods, questions get lost.
    fn answers_udp(&self) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let patience = Some(Duration::from_millis(300));
        socket.set_read_timeout(patience).expect("a timeout");
        let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07service\x06consul\x00\x00\x01\x00\x01";
        common::try_until(Duration::from_secs(60), || {
            socket.send_to(question, self.address).ok()?;
            socket.recv(&mut [0; 512]).ok()
        })
        .is_some()
    }

    fn ask(&self, question: &str) -> Vec<String> {
        let words: Vec<String> = question.split(' ').map(str::to_owned).collect();
        record::lines(self.address, &words)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn answers_are_consuls() {
    if std::env::var_os("DNS_RECORD").is_some() {
        record::record();
    }
    let mut wrong = Vec::new();
    let mut asked = 0;
    // Looked up each time, and kept from one question to the next.
    let versions = [0, 1];
    for ((profile, _), version) in PROFILES.iter().flat_map(|p| versions.map(|v| (*p, v))) {
        let stub = Arc::new(Stub::with_catalog());
        stub.version.store(version, Ordering::Relaxed);
        let serving = Serving::start(stub, settings(profile));
        for (question, wanted) in record::recorded(profile) {
            let got = serving.ask(&question);
            asked += 1;
            if got != wanted {
                wrong.push(format!(
                    "{profile} {question}\n  Consul:\n    {}\n  here:\n    {}",
                    wanted.join("\n    "),
                    got.join("\n    ")
                ));
            }
        }
    }
    assert!(asked > 1000, "only {asked} recordings");
    assert!(
        wrong.is_empty(),
        "{} of {asked} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn staleness_asks_the_leader_again() {
    let stub = Arc::new(Stub::with_catalog());
    let mut with = settings("base");
    with.max_stale = Duration::from_secs(1);
    let serving = Serving::start(stub.clone(), with);
    let calls = || stub.calls.swap(0, Ordering::Relaxed);
    serving.ask("web.service.consul A");
    assert_eq!(calls(), 1);
    stub.last_contact.store(2000, Ordering::Relaxed);
    let answer = serving.ask("web.service.consul A");
    assert!(answer.iter().any(|l| l.starts_with("answer")));
    assert_eq!(calls(), 2);
}

#[test]
fn what_was_found_holds_until_the_catalog_changes() {
    let stub = Arc::new(Stub::with_catalog());
    stub.version.store(1, Ordering::Relaxed);
    let serving = Serving::start(stub.clone(), settings("base"));
    let questions = [
        "web.service.consul A",
        "WEB.service.dc1.consul SRV",
        "nosuch.service.consul A",
        "alpha.node.consul A",
        "nosuch.node.consul A",
        "1.0.1.10.in-addr.arpa PTR",
        "9.9.9.9.in-addr.arpa PTR",
    ];
    let ask_all = || -> u64 {
        for question in questions {
            assert!(!serving.ask(question).is_empty());
        }
        stub.calls.swap(0, Ordering::Relaxed)
    };
    // The two of one service share a lookup, as do the two of addresses the list of nodes.
    assert_eq!(ask_all(), 6);
    assert_eq!(ask_all(), 0);
    stub.version.store(2, Ordering::Relaxed);
    assert_eq!(ask_all(), 6);
    serving.dns.reload(settings("passing"));
    assert_eq!(ask_all(), 6);
}

#[test]
fn failed_lookups_are_servfail_without_soa() {
    let mut stub = Stub::default();
    stub.failing = Some("ACL not found");
    let serving = Serving::start(Arc::new(stub), settings("base"));
    for (question, wanted) in [
        (
            "web.service.consul A",
            "status SERVFAIL opcode QUERY(0) flags qr aa rd id same",
        ),
        (
            "alpha.node.consul A",
            "status SERVFAIL opcode QUERY(0) flags qr aa rd id same",
        ),
        (
            "consul NS",
            "status NOERROR opcode QUERY(0) flags qr aa rd id same",
        ),
        (
            "1.2.3.4.in-addr.arpa PTR",
            "status SERVFAIL opcode QUERY(0) flags qr rd ra id same",
        ),
        (
            "0a000001.addr.consul A",
            "status NOERROR opcode QUERY(0) flags qr aa rd id same",
        ),
    ] {
        let got = serving.ask(question);
        assert_eq!(got.first().map(String::as_str), Some(wanted), "{question}");
        assert!(!got.iter().any(|line| line.contains("SOA")), "{got:?}");
    }
}

#[test]
fn settings_are_reloaded_under_open_sockets() {
    let serving = Serving::start(Arc::new(Stub::with_catalog()), settings("base"));
    let ttl = |s: &Serving| s.ask("alpha.node.consul A")[2].clone();
    assert_eq!(ttl(&serving), "answer alpha.node.consul 7 IN A 10.1.0.1");
    let mut with = settings("plain");
    with.node_ttl = 9;
    serving.dns.reload(with);
    assert_eq!(ttl(&serving), "answer alpha.node.consul 9 IN A 10.1.0.1");
}
