//! The README's tour on its own files, `examples/tour`, as a user walks it: service definitions in JSON and HCL
//! with HTTP, TCP, TTL and script checks; found by DNS and over HTTP; out of both when the backend stops and back
//! when it starts; keys, a blocking query that wakes, a lock; and all of it still there after `kill -9`.

#[path = "../common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::agent::{Agent, Plan};
use common::json::Json;
use common::{Loopback, consul_lite, project_dir, try_until, wait_until};

/// Far more than a check's interval, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(60);
const SRV: u8 = 33;

/// What the services of the tour are: something that answers HTTP until it is dropped.
struct Backend {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn start(ip: Ipv4Addr, port: u16) -> Backend {
        let address = SocketAddr::from((ip, port));
        let listener = try_until(PATIENCE, || TcpListener::bind(address).ok());
        let listener = listener.expect("the backend's address is free");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                let mut request = [0; 1024];
                // A check that only connects sends nothing.
                if stream.read(&mut request).is_ok_and(|n| n > 0) {
                    let answer =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                    let _ = stream.write_all(answer);
                }
            }
        });
        Backend {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The tour's files, with the addresses of this test.
fn definitions(ip: Ipv4Addr) -> Vec<(String, String)> {
    let mut files = vec![(
        "10-scripts.json".to_owned(),
        r#"{"enable_local_script_checks": true}"#.to_owned(),
    )];
    for file in std::fs::read_dir(project_dir().join("examples/tour")).expect("the tour's files") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // What was reported counts until the end, however long a busy machine takes until then.
        let text = text.replace("\"ttl\": \"30s\"", "\"ttl\": \"30m\"");
        files.push((
            name.into_owned(),
            text.replace("127.0.0.1", &ip.to_string()),
        ));
    }
    files
}

/// How many answers the agent's DNS has for `name`.
fn answers(agent: &Agent, ip: Ipv4Addr, name: &str, qtype: u8) -> Option<u16> {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, qtype, 0, 1]);
    let socket = UdpSocket::bind((ip, 0)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    socket.send_to(&message, agent.dns()).ok()?;
    let mut answer = [0; 1500];
    let (n, _) = socket.recv_from(&mut answer).ok()?;
    (n > 12).then(|| u16::from_be_bytes([answer[6], answer[7]]))
}

/// How many instances are passing.
fn passing(agent: &Agent, service: &str) -> Option<usize> {
    let target = format!("/v1/health/service/{service}?passing");
    let answer = agent.client().get(&target).ok()?;
    match Json::parse(&answer.text())? {
        Json::List(instances) => Some(instances.len()),
        _ => None,
    }
}

/// Both ways of asking say that there are `n`.
fn found(agent: &Agent, ip: Ipv4Addr, service: &str, n: u16) {
    let name = format!("{service}.service.consul");
    let what = format!("{service}: {n} in DNS and over HTTP");
    wait_until(PATIENCE, &what, || {
        let all = (answers(agent, ip, &name, SRV), passing(agent, service));
        (all == (Some(n), Some(usize::from(n)))).then_some(())
    });
}

fn command(agent: &Agent, args: &[&str]) -> Output {
    let mut command = Command::new(consul_lite());
    command.env("CONSUL_HTTP_ADDR", agent.http().to_string());
    command.args(args).output().expect("the command runs")
}

fn said(agent: &Agent, args: &[&str]) -> String {
    let out = command(agent, args);
    assert!(out.status.success(), "{args:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn the_tour() {
    let net = Loopback::claim();
    let ip = net.ip(1);
    let web = Backend::start(ip, 8080);
    let _cache = Backend::start(ip, 8081);
    let binary = consul_lite();
    let mut agent = Agent::start(&Plan {
        binary: &binary,
        ip,
        node: "n1",
        config: definitions(ip),
    });
    agent.wait_ready(PATIENCE);

    // Services with HTTP and TCP checks; the TTL check waits for its service to report.
    found(&agent, ip, "web", 1);
    found(&agent, ip, "cache", 1);
    found(&agent, ip, "jobs", 0);
    let report = agent.client().put("/v1/agent/check/pass/service:jobs", b"");
    assert!(report.is_ok_and(|r| r.status == 200));
    found(&agent, ip, "jobs", 1);
    // The script has run once it says how much is used.
    wait_until(PATIENCE, "the script's output", || {
        let checks = agent.client().get("/v1/agent/checks").ok()?.text();
        let checks = Json::parse(&checks)?;
        let output = checks.at(".disk.Output")?.scalar()?;
        output.contains("% used").then_some(())
    });

    // The backend stops and comes back.
    drop(web);
    found(&agent, ip, "web", 0);
    let _web = Backend::start(ip, 8080);
    found(&agent, ip, "web", 1);

    // Keys, and a query that blocks until one changes.
    said(&agent, &["kv", "put", "motd", "hello"]);
    assert_eq!(said(&agent, &["kv", "get", "motd"]), "hello\n");
    let first = agent.client().get("/v1/kv/motd").expect("an answer");
    let target = format!(
        "/v1/kv/motd?raw&wait=60s&index={}",
        first.index().unwrap_or(0)
    );
    let mut client = agent.client();
    let blocked = std::thread::spawn(move || client.get(&target).map(|r| r.text()));
    said(&agent, &["kv", "put", "motd", "bye"]);
    let woken = blocked.join().expect("no panic");
    assert_eq!(woken.ok().as_deref(), Some("bye"));

    // The command runs while the lock is held.
    let held = said(&agent, &["lock", "locks/tour", "echo held"]);
    assert_eq!(held, "held\n");

    // Nothing acknowledged is lost.
    agent.kill();
    agent.restart();
    agent.wait_ready(PATIENCE);
    assert_eq!(said(&agent, &["kv", "get", "motd"]), "bye\n");
    found(&agent, ip, "web", 1);
    found(&agent, ip, "jobs", 1);
}
