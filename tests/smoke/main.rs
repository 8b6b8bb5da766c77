//! The smoke test: a development agent with key/value store, DNS and a check; then a server that is killed and
//! started again. Run natively (with the sinks of metrics and the log besides), and under qemu-user for every binary that `cross/build` has left in `target/dist`.
//!
//! A target without a binary or without its emulator is skipped, loudly. `SMOKE_DIST=/path` names another
//! directory of binaries.

#[path = "../common/mod.rs"]
mod common;
mod json_log;
mod sinks;

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use common::agent::{Agent, Plan};
use common::harness::{self, Outcome, Test};
use common::http::Client;
use common::{Loopback, Process, TempDir, consul_lite, project_dir, wait_until};

/// An emulated agent on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut tests = vec![
        Test::new("native", || {
            smoke(&consul_lite());
            Outcome::Passed
        }),
        Test::new("json_log_is_json", json_log::nothing_but_json),
        Test::new("metrics_reach_every_sink", sinks::every_sink),
    ];
    let table = fs::read_to_string(project_dir().join("cross/targets")).expect("cross/targets");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let [name, _, processor, _] = words.as_slice() else {
            panic!("cross/targets: {line}");
        };
        let (name, processor) = (name.clone(), processor.clone());
        let title = format!("emulated_{name}");
        tests.push(Test::new(title, move || emulated(&name, &processor)));
    }
    harness::main(tests)
}

/// The smoke test of a cross-built binary.
fn emulated(name: &str, processor: &str) -> Outcome {
    let dist = std::env::var_os("SMOKE_DIST").map(PathBuf::from);
    let dist = dist.unwrap_or_else(|| project_dir().join("target/dist"));
    let binary = dist.join(name).join("consul-lite");
    if !binary.is_file() {
        let shown = binary.display();
        return Outcome::Skipped(format!("{shown} is not there; cross/build {name} makes it"));
    }
    let emulator = format!("qemu-{processor}-static");
    let mut version = Command::new(&emulator);
    if version.arg("--version").output().is_err() {
        return Outcome::Skipped(format!("{emulator} is missing (Debian: qemu-user-static)"));
    }
    // The first processors of their kind, so that no later instruction passes.
    let processor = match name {
        "armv6" => "QEMU_CPU=arm1176 ",
        "armv7" => "QEMU_CPU=cortex-a7 ",
        "aarch64" => "QEMU_CPU=cortex-a53 ",
        "mipsel" => "QEMU_CPU=24KEc ",
        _ => "",
    };
    let dir = TempDir::new("smoke");
    let text = format!(
        "#!/bin/sh\n{processor}exec {emulator} {} \"$@\"\n",
        binary.display()
    );
    let wrapper = dir.write("consul-lite", &text);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&wrapper, mode).expect("a mode can be set");
    smoke(&wrapper);
    Outcome::Passed
}

fn smoke(binary: &Path) {
    let net = Loopback::claim();
    development_agent(binary, net.ip(1));
    restarted_server(binary, net.ip(2));
}

/// `agent -dev`: a key, a name, a check that turns.
fn development_agent(binary: &Path, ip: Ipv4Addr) {
    let dir = TempDir::new("smoke-dev");
    let mark = dir.path().join("healthy");
    let config = format!(
        r#"{{"node_name": "dev", "bind_addr": "{ip}", "client_addr": "{ip}", "enable_script_checks": true,
            "ports": {{"http": 18500, "dns": 18600, "server": 18300, "serf_lan": 18301, "serf_wan": 18302, "grpc": -1}},
            "service": {{"name": "web", "port": 8080, "address": "10.1.2.3",
                        "check": {{"args": ["test", "-e", "{}"], "interval": "1s"}}}}}}"#,
        mark.display()
    );
    let config = dir.write("agent.json", &config);
    let log = fs::File::create(dir.path().join("log")).expect("a log");
    let mut command = Command::new(binary);
    command.args(["agent", "-dev", "-config-file"]).arg(config);
    let copy = log.try_clone().expect("a second handle");
    command.stdin(Stdio::null()).stdout(copy).stderr(log);
    let mut agent = Process::start("agent -dev", &mut command).expect("the agent starts");
    let mut client = Client::new((ip, 18500).into(), PATIENCE);
    let key = wait_until(PATIENCE, "the agent takes a key", || {
        if let Some(status) = agent.ended() {
            let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            panic!("{} ended with {status}:\n{log}", binary.display());
        }
        let put = client.put("/v1/kv/motd", b"hello").ok()?;
        (put.status == 200).then(|| client.get("/v1/kv/motd?raw").expect("an answer"))
    });
    assert_eq!(key.text(), "hello");
    let passing = "/v1/health/service/web?passing";
    let mut healthy = |wanted: bool| {
        wait_until(
            PATIENCE,
            &format!("the service's health is {wanted}"),
            || {
                let answer = client.get(passing).ok()?;
                (answer.text().contains("10.1.2.3") == wanted).then_some(())
            },
        );
    };
    healthy(false);
    fs::write(&mark, "").expect("a mark");
    healthy(true);
    let answer = lookup(ip, "web.service.consul");
    assert_eq!(answer.map(|a| a.to_string()).as_deref(), Some("10.1.2.3"));
    agent.signal(libc::SIGINT);
    agent.wait(PATIENCE);
}

/// A server with a data directory: what was acknowledged is there after `kill -9` and a restart.
fn restarted_server(binary: &Path, ip: Ipv4Addr) {
    let mut agent = Agent::start(&Plan {
        binary,
        ip,
        node: "server",
        config: Vec::new(),
    });
    agent.wait_ready(PATIENCE);
    let mut client = agent.client();
    for n in 0..20 {
        let put = client.put(
            &format!("/v1/kv/smoke/{n}"),
            format!("value {n}").as_bytes(),
        );
        assert_eq!(put.map(|r| r.status).ok(), Some(200), "{n}");
    }
    agent.kill();
    agent.restart();
    agent.wait_ready(PATIENCE);
    let mut client = agent.client();
    for n in 0..20 {
        let got = client
            .get(&format!("/v1/kv/smoke/{n}?raw"))
            .expect("an answer");
        assert_eq!(got.text(), format!("value {n}"));
    }
}

/// The address that the agent's DNS gives for a name (RFC 1035): the last four bytes of the only answer.
fn lookup(ip: Ipv4Addr, name: &str) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((ip, 0)).expect("a socket");
    socket.connect((ip, 18600)).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("a label"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&question).expect("a question is sent");
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).expect("an answer");
    // One question, one answer, nothing more: the address ends the message.
    if answer[4..12] != [0, 1, 0, 1, 0, 0, 0, 0] {
        return None;
    }
    let end: [u8; 4] = answer.get(length - 4..length)?.try_into().ok()?;
    Some(end.into())
}
