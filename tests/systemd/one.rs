//! One machine, one server: installed, configured, started, reloaded, killed, frozen, stopped, unplugged, booted
//! before its network is there, upgraded, removed and purged.

use std::time::Duration;

use crate::common::consul_lite;
use crate::common::http::Client;
use crate::machine::{Lab, Machine, eventually};

const WEB: &str = r#"service {
  name = "web"
  port = 80
  check { args = ["test", "-e", "/etc/hostname"] interval = "2s" }
}
"#;

/// What tells a node from one that takes its name later.
const NODE_ID: &str = "/var/lib/consul-lite/node-id";

/// The whole life.
pub fn life(lab: &Lab) {
    let packages = ["1", "2"].map(|revision| lab.package(&consul_lite(), revision));
    lab.another_default(&packages[1]);
    let mut machine = lab.machine("porch", 10);
    for (package, name) in packages.iter().zip(["one.deb", "two.deb"]) {
        machine.copy(package, &format!("root/{name}"));
    }
    machine.boot();
    install(&machine);
    start(&machine);
    reload(&machine);
    kill(&machine);
    freeze(&machine);
    stop(&machine);
    unplug(&mut machine);
    boot_without_network(&mut machine);
    upgrade(&machine);
    remove_and_purge(&machine);
}

fn apt(machine: &Machine, args: &[&str]) {
    let mut all = vec!["apt-get", "-y", "-q", "--no-install-recommends"];
    all.extend(args);
    machine.run(&all);
}

/// Nothing starts before it is configured.
fn install(machine: &Machine) {
    apt(machine, &["install", "/root/one.deb"]);
    let state = |verb: &str| {
        let output = machine.output(&["systemctl", verb, "consul-lite"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(state("is-enabled"), "disabled");
    assert_eq!(state("is-active"), "inactive");
    machine.run(&["systemd-analyze", "verify", "consul-lite.service"]);
    let owner = machine.run(&[
        "stat",
        "-c",
        "%U:%G %a",
        "/etc/consul-lite.d",
        "/var/lib/consul-lite",
    ]);
    assert_eq!(owner, "root:consul-lite 750\nconsul-lite:consul-lite 700");
    machine.run(&["consul-lite", "validate", "/etc/consul-lite.d"]);
}

/// Edits the one configuration file, as its comments say, and starts.
fn start(machine: &Machine) {
    let edit = [
        "s/^#server = true/server = true/",
        "s/^#bootstrap_expect = 1/bootstrap_expect = 1/",
        "s/^#enable_local_script_checks/enable_local_script_checks/",
        "s/^#client_addr/client_addr/",
        r#"s/^#bind_addr = .*/bind_addr = "{{ GetInterfaceIP \\"host0\\" }}"/"#,
        "s/eth0/host0/",
        "s/^#ports { dns = 53 }/ports { dns = 53 }/",
        "s/^#addresses { dns = \"127.0.0.1\" }/addresses { dns = \"127.0.0.1\" }/",
    ]
    .join(";");
    machine.run(&["sed", "-i", &edit, "/etc/consul-lite.d/consul-lite.hcl"]);
    // The agent's DNS on port 53, the drop-in for systemd-resolved beside it.
    let drop_in = "/usr/share/consul-lite/resolved/consul-lite.conf";
    machine.run(&["mkdir", "-p", "/etc/systemd/resolved.conf.d"]);
    machine.run(&["sed", "-i", "s/127.0.0.1:8600/127.0.0.1:53/", drop_in]);
    machine.run(&["ln", "-s", drop_in, "/etc/systemd/resolved.conf.d/"]);
    machine.run(&["systemctl", "restart", "systemd-resolved"]);
    machine.run(&["systemctl", "enable", "--now", "consul-lite"]);
    let process = machine.active("0");
    let user = machine.run(&["stat", "-c", "%U", &format!("/proc/{process}")]);
    assert_eq!(user, "consul-lite");
    put(machine, "plug", "pulled");
    let score = machine.run(&["systemd-analyze", "security", "--no-pager", "consul-lite"]);
    let score = score.lines().last().unwrap_or_default().to_owned();
    println!("{score}");
    let number = score
        .split("service: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let number: f64 = number.and_then(|word| word.parse().ok()).expect("a score");
    assert!(number < 2.0, "{score}");
}

fn client(machine: &Machine) -> Client {
    let address = format!("{}:8500", machine.ip());
    Client::new(
        address.parse().expect("an address"),
        Duration::from_secs(20),
    )
}

fn put(machine: &Machine, key: &str, value: &str) {
    let path = format!("/v1/kv/{key}");
    eventually(&format!("{key} can be written"), || {
        let answer = client(machine).put(&path, value.as_bytes()).ok()?;
        (answer.status == 200).then_some(())
    });
}

fn has(machine: &Machine, key: &str, value: &str) {
    let path = format!("/v1/kv/{key}?raw");
    eventually(&format!("{key} can be read"), || {
        let answer = client(machine).get(&path).ok()?;
        (answer.status == 200).then(|| assert_eq!(answer.text(), value))
    });
}

/// Sends a signal; a base system has no kill(1) but the shell's.
fn signal(machine: &Machine, name: &str, process: &str) {
    machine.run(&["sh", "-c", &format!("kill -{name} {process}")]);
}

/// The system's own resolver finds the service, by way of systemd-resolved.
fn resolves(machine: &Machine) {
    let ip = machine.ip().to_owned();
    let query = ["getent", "hosts", "web.service.consul"];
    machine.until("the system resolves web.service.consul", &query, |text| {
        text.starts_with(&ip)
    });
}

/// A service and its script check, by a file and a reload of the same process.
fn reload(machine: &Machine) {
    let before = machine.active("0");
    machine.write("etc/consul-lite.d/web.hcl", WEB);
    machine.run(&["systemctl", "reload", "consul-lite"]);
    resolves(machine);
    assert_eq!(machine.active("0"), before, "a reload is no restart");
}

/// `kill -9`: the service manager starts it again, and nothing is lost.
fn kill(machine: &Machine) {
    let before = machine.active("0");
    signal(machine, "KILL", &before);
    machine.active(&before);
    has(machine, "plug", "pulled");
    resolves(machine);
}

/// An agent that does nothing any more is found out by the watchdog.
fn freeze(machine: &Machine) {
    let unit = "etc/systemd/system/consul-lite.service.d/watchdog.conf";
    machine.write(unit, "[Service]\nWatchdogSec=10\n");
    machine.run(&["systemctl", "daemon-reload"]);
    let before = machine.active("0");
    machine.run(&["systemctl", "restart", "consul-lite"]);
    let before = machine.active(&before);
    // Twice its time, and it is still the same process: the agent feeds it.
    let fed = std::time::Instant::now();
    eventually("the watchdog has been fed", || {
        assert_eq!(machine.active("0"), before);
        (fed.elapsed() > Duration::from_secs(21)).then_some(())
    });
    signal(machine, "STOP", &before);
    machine.active(&before);
    machine.run(&["rm", &format!("/{unit}")]);
    machine.run(&["systemctl", "daemon-reload"]);
    has(machine, "plug", "pulled");
}

/// A stop is no failure, and a start finds everything.
fn stop(machine: &Machine) {
    machine.run(&["systemctl", "stop", "consul-lite"]);
    assert_eq!(machine.unit("ActiveState"), "inactive");
    assert_eq!(machine.unit("Result"), "success");
    machine.run(&["systemctl", "start", "consul-lite"]);
    machine.active("0");
    has(machine, "plug", "pulled");
}

/// The power goes under way and comes back: the machine boots, and the agent with it.
fn unplug(machine: &mut Machine) {
    put(machine, "last", "word");
    machine.power_off();
    machine.boot();
    machine.active("0");
    has(machine, "last", "word");
    resolves(machine);
}

/// The board is up before its network: the agent waits and says so, and goes on when the address comes.
fn boot_without_network(machine: &mut Machine) {
    machine.power_off();
    machine.network(false);
    machine.boot();
    let query = [
        "systemctl",
        "show",
        "-p",
        "ActiveState,StatusText",
        "consul-lite",
    ];
    let text = machine.until("the agent waits for its address", &query, |text| {
        text.contains("Waiting for an address")
    });
    assert!(text.contains("ActiveState=activating"), "{text}");
    machine.network(true);
    machine.run(&["networkctl", "reload"]);
    machine.active("0");
    has(machine, "last", "word");
}

/// Another package, with another default configuration: the running agent is started again, the configuration stays as
/// it was edited, and the new default lies beside it.
fn upgrade(machine: &Machine) {
    let before = machine.active("0");
    let config = ["cat", "/etc/consul-lite.d/consul-lite.hcl"];
    let (edited, own) = (machine.run(&config), machine.run(&["cat", NODE_ID]));
    let keep = "Dpkg::Options::=--force-confold";
    apt(machine, &["-o", keep, "install", "/root/two.deb"]);
    machine.active(&before);
    assert_eq!(machine.run(&config), edited);
    assert_eq!(machine.run(&["cat", NODE_ID]), own);
    assert!(machine.has("etc/consul-lite.d/consul-lite.hcl.dpkg-dist"));
    assert!(
        machine
            .run(&["dpkg-query", "-W", "-f", "${Version}", "consul-lite"])
            .ends_with("-2")
    );
    assert_eq!(
        machine.run(&["systemctl", "is-enabled", "consul-lite"]),
        "enabled"
    );
    has(machine, "last", "word");
    resolves(machine);
}

/// Removed, it runs no more and keeps configuration and state; purged, nothing stays.
fn remove_and_purge(machine: &Machine) {
    let process = machine.active("0");
    apt(machine, &["remove", "consul-lite"]);
    assert!(
        !machine
            .output(&["test", "-e", &format!("/proc/{process}")])
            .status
            .success()
    );
    assert!(!machine.has("usr/bin/consul-lite"));
    assert!(machine.has("etc/consul-lite.d/consul-lite.hcl"));
    assert!(machine.has("var/lib/consul-lite/node-id"));
    // Put back, it is as it was: enabled, with its state.
    apt(machine, &["install", "/root/two.deb"]);
    assert_eq!(
        machine.run(&["systemctl", "is-enabled", "consul-lite"]),
        "enabled"
    );
    machine.run(&["systemctl", "start", "consul-lite"]);
    has(machine, "last", "word");
    apt(machine, &["purge", "consul-lite"]);
    for gone in [
        "etc/consul-lite.d",
        "var/lib/consul-lite",
        "etc/systemd/system/multi-user.target.wants/consul-lite.service",
        "etc/systemd/system/consul-lite.service",
    ] {
        assert!(!machine.has(gone), "/{gone} is still there");
    }
    // The user stays: its number must not go to somebody else while a file of its own may lie around.
    machine.run(&["getent", "passwd", "consul-lite"]);
    let left = machine.run(&["find", "/etc", "/var/lib", "/run", "-user", "consul-lite"]);
    assert_eq!(left, "", "nothing of the agent's is left");
    assert_eq!(
        machine.run(&["dpkg", "--audit"]),
        "",
        "no half-installed package"
    );
}
