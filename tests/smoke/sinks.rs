//! Metrics go to every server that the configuration names, at once: statsd, statsite and DogStatsD, each in its
//! own form, while `/v1/agent/metrics` shows them as well.
//!
//! Source: Consul's documentation "Telemetry Parameters"; the lines of a running Consul 1.8.7.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use super::common::agent::{Agent, Plan};
use super::common::harness::Outcome;
use super::common::{Loopback, consul_lite, wait_until};

const WITHIN: Duration = Duration::from_secs(60);

pub fn every_sink() -> Outcome {
    let net = Loopback::claim();
    let ip = net.ip(1);
    let udp = |port| {
        let socket = UdpSocket::bind((ip, port)).expect("an address of one's own");
        socket.set_nonblocking(true).expect("not blocking");
        socket
    };
    let (statsd, dog) = (udp(18125), udp(18126));
    let statsite = TcpListener::bind((ip, 18127)).expect("an address of one's own");
    let telemetry = format!(
        r#"{{"telemetry": {{"statsd_address": "{ip}:18125", "statsite_address": "{ip}:18127",
        "dogstatsd_addr": "{ip}:18126", "dogstatsd_tags": ["a:b", "c"], "disable_hostname": true,
        "prometheus_retention_time": "1m"}}}}"#
    );
    let mut agent = Agent::start(&Plan {
        binary: &consul_lite(),
        ip,
        node: "n1",
        config: vec![("50-telemetry.json".into(), telemetry)],
    });
    agent.wait_ready(WITHIN);
    let mut client = agent.client();
    client.put("/v1/kv/a", b"x").expect("an answer");
    client
        .get("/v1/catalog/service/consul?tag=zz")
        .expect("an answer");

    let (mut stream, _) = statsite.accept().expect("a connection");
    stream.set_nonblocking(true).expect("not blocking");
    let over_udp = |socket: &UdpSocket, seen: &mut String, wanted: &[&str]| {
        let mut datagram = [0; 65536];
        while let Ok(n) = socket.recv(&mut datagram) {
            seen.push_str(&String::from_utf8_lossy(&datagram[..n]));
        }
        wanted.iter().all(|w| seen.contains(w)).then_some(())
    };
    let plain = [
        "\nconsul.kvs.apply:",
        "\nconsul.catalog.service.query-tags.consul.zz:1.000000|c\n",
        "\nconsul.session_ttl.active:0.000000|g\n",
    ];
    let mut seen = String::new();
    wait_until(WITHIN, "the lines of statsd", || {
        over_udp(&statsd, &mut seen, &plain)
    });
    let mut seen = String::new();
    let tagged = [
        "\nconsul.catalog.service.query-tags:1|c|#a:b,c,service:consul,tag:zz\n",
        "\nconsul.session_ttl.active:0.000000|g|#a:b,c\n",
    ];
    wait_until(WITHIN, "the lines of DogStatsD", || {
        over_udp(&dog, &mut seen, &tagged)
    });
    let mut seen = String::new();
    wait_until(WITHIN, "the lines of statsite", || {
        let mut bytes = [0; 65536];
        while let Ok(n @ 1..) = stream.read(&mut bytes) {
            seen.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
        plain.iter().all(|w| seen.contains(w)).then_some(())
    });
    let shown = client.get("/v1/agent/metrics?format=prometheus");
    let shown = shown.expect("an answer").text();
    assert!(shown.contains("consul_kvs_apply_count"), "{shown}");
    Outcome::Passed
}
