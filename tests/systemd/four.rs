//! Four machines, one datacenter: three servers and a client agent, one server from the tarball and the others from the
//! package, with a configuration of a few lines.

use std::path::Path;
use std::time::Duration;

use crate::common::consul_lite;
use crate::common::http::Client;
use crate::machine::{Lab, Machine, eventually};

/// The client's service.
const WEB: &str = r#"service { name = "web" port = 80 }
"#;

/// A datacenter's life: founded, used, asked by the system's resolvers, a client stopped and started, a server unplugged
/// and booted.
pub fn datacenter(lab: &Lab) {
    let (package, tarball) = lab.packages(&consul_lite(), "1");
    let names = [("s1", 21), ("s2", 22), ("s3", 23), ("c1", 24)];
    let mut machines = names.map(|(name, host)| lab.machine(name, host));
    let join: Vec<String> = machines[..3]
        .iter()
        .map(|m| format!("\"{}\"", m.ip()))
        .collect();
    let join = join.join(", ");
    for (n, machine) in machines.iter_mut().enumerate() {
        let server = if n < 3 {
            "server = true\nbootstrap_expect = 3\n"
        } else {
            ""
        };
        machine.boot();
        if n == 2 {
            from_tarball(machine, &tarball);
        } else {
            from_package(machine, &package);
        }
        let text = format!("{server}client_addr = \"0.0.0.0\"\nretry_join = [{join}]\n");
        machine.write("etc/consul-lite.d/lab.hcl", &text);
        machine.run(&["systemctl", "enable", "--now", "consul-lite"]);
    }
    for machine in &machines {
        machine.active("0");
        alive(machine, 4);
    }
    let [s1, s2, _, c1] = &machines;
    put(c1, "founded", "yes");
    has(s2, "founded", "yes");
    c1.write("etc/consul-lite.d/web.hcl", WEB);
    c1.run(&["systemctl", "reload", "consul-lite"]);
    resolves(s1, c1.ip());
    by_resolved(s2, c1.ip());
    by_dnsmasq(c1);
    // A client that is stopped leaves; a started one comes back with what its files say.
    c1.run(&["systemctl", "stop", "consul-lite"]);
    assert_eq!(c1.unit("Result"), "success");
    let members = ["consul-lite", "members"];
    s1.until("the client has left", &members, |text| {
        text.lines()
            .any(|line| line.starts_with("c1 ") && line.contains(" left "))
    });
    c1.run(&["systemctl", "start", "consul-lite"]);
    alive(s1, 4);
    resolves(s1, c1.ip());
    // An agent told to leave stays down.
    c1.run(&["consul-lite", "leave"]);
    c1.until(
        "the unit stays down",
        &["systemctl", "is-active", "consul-lite"],
        |text| text == "inactive",
    );
    c1.run(&["systemctl", "start", "consul-lite"]);
    alive(s1, 4);
    // A server's power goes: the other two go on, and it is one of three again after its boot.
    machines[0].power_off();
    let [_, s2, _, c1] = &machines;
    put(c1, "unplugged", "s1");
    has(s2, "unplugged", "s1");
    machines[0].boot();
    machines[0].active("0");
    alive(&machines[0], 4);
    has(&machines[0], "unplugged", "s1");
    has(&machines[0], "founded", "yes");
    uninstall(&machines[2]);
}

fn from_package(machine: &Machine, package: &Path) {
    machine.copy(package, "root/consul-lite.deb");
    let apt = "apt-get -y -q --no-install-recommends install /root/consul-lite.deb";
    let words: Vec<&str> = apt.split(' ').collect();
    machine.run(&words);
}

/// Unpacked and installed as the documents say; what was there before is kept by an installation over it.
fn from_tarball(machine: &Machine, tarball: &Path) {
    machine.copy(tarball, "root/consul-lite.tar.gz");
    let install = "cd /root && tar xf consul-lite.tar.gz && ./consul-lite-*/install.sh";
    let said = machine.run(&["sh", "-c", install]);
    assert!(
        said.contains("systemctl enable --now consul-lite"),
        "{said}"
    );
    machine.run(&["systemd-analyze", "verify", "consul-lite.service"]);
    assert!(machine.run(&["sh", "-c", install]).contains("upgraded"));
    assert!(machine.has("etc/consul-lite.d/consul-lite.hcl.dist"));
}

/// Takes away what the tarball brought, and leaves what became of it.
fn uninstall(machine: &Machine) {
    let remove = "/root/consul-lite-*/install.sh --uninstall";
    machine.run(&["sh", "-c", remove]);
    let state = machine.output(&["systemctl", "is-active", "consul-lite"]);
    assert_eq!(String::from_utf8_lossy(&state.stdout).trim(), "inactive");
    assert!(!machine.has("usr/bin/consul-lite"));
    assert!(!machine.has("usr/local/lib/systemd/system/consul-lite.service"));
    assert!(machine.has("etc/consul-lite.d/lab.hcl"));
    assert!(machine.has("var/lib/consul-lite/raft/state.db"));
}

fn alive(machine: &Machine, count: usize) {
    let what = format!("{count} members are alive");
    machine.until(&what, &["consul-lite", "members"], |text| {
        text.lines().filter(|line| line.contains(" alive ")).count() == count
    });
}

fn client(machine: &Machine) -> Client {
    let address = format!("{}:8500", machine.ip());
    Client::new(
        address.parse().expect("an address"),
        Duration::from_secs(20),
    )
}

fn put(machine: &Machine, key: &str, value: &str) {
    eventually(&format!("{key} can be written"), || {
        let answer = client(machine).put(&format!("/v1/kv/{key}"), value.as_bytes());
        answer.ok().filter(|answer| answer.status == 200)
    });
}

fn has(machine: &Machine, key: &str, value: &str) {
    eventually(&format!("{key} can be read"), || {
        let answer = client(machine).get(&format!("/v1/kv/{key}?raw")).ok()?;
        (answer.status == 200).then(|| assert_eq!(answer.text(), value))
    });
}

/// A name as the machine's programs look it up.
const NAME: [&str; 3] = ["getent", "hosts", "web.service.consul"];

/// systemd-resolved with the package's drop-in as it is: the system resolves `.consul`.
fn by_resolved(machine: &Machine, ip: &str) {
    machine.run(&["mkdir", "-p", "/etc/systemd/resolved.conf.d"]);
    let drop_in = "/usr/share/consul-lite/resolved/consul-lite.conf";
    machine.run(&["ln", "-s", drop_in, "/etc/systemd/resolved.conf.d/"]);
    machine.run(&["systemctl", "restart", "systemd-resolved"]);
    machine.until("systemd-resolved finds web", &NAME, |text| {
        text.starts_with(ip)
    });
}

/// The same with dnsmasq in its place.
fn by_dnsmasq(machine: &Machine) {
    machine.run(&["systemctl", "disable", "--now", "systemd-resolved"]);
    machine.run(&["rm", "/etc/resolv.conf"]);
    machine.write("etc/resolv.conf", "nameserver 127.0.0.1\n");
    let drop_in = "/usr/share/consul-lite/dnsmasq/consul-lite.conf";
    machine.run(&["ln", "-s", drop_in, "/etc/dnsmasq.d/"]);
    machine.run(&["systemctl", "enable", "--now", "dnsmasq"]);
    let ip = machine.ip();
    machine.until("dnsmasq finds web", &NAME, |text| text.starts_with(ip));
}

/// The machine's own agent knows where the service is.
fn resolves(machine: &Machine, ip: &str) {
    eventually(&format!("web is found at {ip}"), || {
        let answer = client(machine).get("/v1/health/service/web?passing").ok()?;
        answer.text().contains(ip).then_some(())
    });
}
