//! What a small machine gets besides the binary, tried without booting one: the tarball's install script in a
//! chroot that looks like OpenWrt's, the procd script there, the drop-in for dnsmasq with the real dnsmasq, that
//! packages made in two places have the same bytes, and what a package says of itself: manual page, copyright, lintian.
//!
//! A chroot wants root and busybox; what is missing is said, and the test counts as skipped.

#[path = "../common/mod.rs"]
mod common;
mod documents;

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use common::agent::{Agent, DNS, Plan};
use common::harness::{self, Outcome, Test};
use common::{Loopback, Process, TempDir, consul_lite, project_dir, wait_until};

const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    harness::main(vec![
        Test::new("tarball_on_openwrt", || {
            with(&["busybox"], tarball_on_openwrt)
        }),
        Test::new("dnsmasq_asks_the_agent", || {
            with(&["dnsmasq"], dnsmasq_asks_the_agent)
        }),
        Test::new("packages_are_reproducible", || {
            with(&["dpkg-deb", "xz"], packages_are_reproducible)
        }),
        Test::new("manual_page_is_complete", documents::manual_page),
        Test::new("copyright_names_every_crate", documents::copyright),
        Test::new("lintian_finds_nothing", || {
            with_outcome(&["lintian", "dpkg-deb", "cc"], documents::lintian)
        }),
    ])
}

/// Runs a test that needs root and these programs.
fn with(programs: &[&str], test: fn()) -> Outcome {
    with_outcome(programs, || {
        test();
        Outcome::Passed
    })
}

/// As [`with`], for a test that finds out more by itself.
fn with_outcome(programs: &[&str], test: impl FnOnce() -> Outcome) -> Outcome {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Outcome::Skipped("only root can make a chroot and bind other users' ports".into());
    }
    for program in programs {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\"", program])
            .stdout(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return Outcome::Skipped(format!("{program} is missing"));
        }
    }
    test()
}

/// What a command printed; it must succeed.
fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command.output().expect("a program of the system's starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        output.status.success(),
        "{shown}: {}\n{text}",
        output.status
    );
    text
}

/// Makes packages as `packages/build` does, out of a copy of what it reads that lies in `root`.
fn packages(root: &Path, binary: &Path) -> PathBuf {
    let project = project_dir();
    for part in ["packages", "cross", "systemd", "openwrt", "docs"] {
        run(Command::new("cp")
            .arg("-r")
            .arg(project.join(part))
            .arg(root));
    }
    for file in ["Cargo.toml", "LICENSE", "CHANGELOG.md", "README.md"] {
        fs::copy(project.join(file), root.join(file)).expect("a file can be copied");
    }
    let dist = root.join("dist");
    fs::create_dir_all(dist.join("x86_64")).expect("a directory");
    fs::copy(binary, dist.join("x86_64/consul-lite")).expect("the binary can be copied");
    let mut build = Command::new("packages/build");
    build.arg("x86_64").current_dir(root).env("DIST", &dist);
    run(build
        .env("SOURCE_DATE_EPOCH", "1600000000")
        .env("DEB_COMPRESSOR", "gzip"));
    dist
}

/// The files of a directory, by name.
fn made(dist: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dist).expect("packages were made");
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

fn packages_are_reproducible() {
    let (one, other) = (TempDir::new("packages"), TempDir::new("packages-elsewhere"));
    // What is in the binary is the compiler's affair; `cross/twice` looks at that.
    let binary = one.write("program", "#!/bin/sh\necho Consul\n");
    let first = made(&packages(one.path(), &binary));
    // Files are never made in the same second, nor in the same order.
    let mode = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&binary, mode).expect("a mode can be set");
    let second = made(&packages(other.path(), &binary));
    assert_eq!(first.len(), 2, "a tarball and a package: {first:?}");
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(a.file_name(), b.file_name());
        let same = fs::read(a).expect("a package") == fs::read(b).expect("a package");
        assert!(same, "{} and {} differ", a.display(), b.display());
    }
}

/// Stands in for OpenWrt's: what a script tells procd is written down.
const RC_COMMON: &str = r#"#!/bin/sh
log() { echo "$*" >>/tmp/procd.log; }
procd_open_instance() { log open; }
procd_set_param() { log param "$@"; }
procd_close_instance() { log close; }
logger() { log logger "$@"; }
script=$1
action=$2
. "$script"
case $action in
	start) [ "$USE_PROCD" = 1 ] && start_service ;;
	restart) log restart ;;
	enable | disable | stop) log "$action" ;;
	running) [ -e /tmp/running ] ;;
esac
"#;

/// A root with busybox, a procd and the binary's libraries.
fn openwrt(root: &Path) {
    for dir in [
        "bin",
        "sbin",
        "etc/init.d",
        "lib",
        "usr/bin",
        "tmp",
        "dev",
        "var",
    ] {
        fs::create_dir_all(root.join(dir)).expect("a directory");
    }
    let executable = |path: PathBuf, text: &str| {
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    };
    executable(root.join("etc/rc.common"), RC_COMMON);
    executable(root.join("sbin/procd"), "#!/bin/sh\n");
    let mut libraries = String::new();
    for program in [PathBuf::from("/bin/busybox"), consul_lite()] {
        // A static program has none, which ldd calls a failure.
        let ldd = Command::new("ldd").arg(&program).output().expect("ldd");
        libraries.push_str(&String::from_utf8_lossy(&ldd.stdout));
    }
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a file is in a directory")).expect("a directory");
        fs::copy(library, to).expect("a library can be copied");
    }
    run(Command::new("sh")
        .args(["-c", "cp \"$(command -v busybox)\" \"$0/bin/busybox\""])
        .arg(root));
    fs::write(root.join("dev/null"), "").expect("a file");
    run(Command::new("chroot")
        .arg(root)
        .args(["/bin/busybox", "--install", "-s", "/bin"]));
}

/// Runs a command line in the root, by busybox's shell.
fn inside(root: &Path, line: &str) -> String {
    let mut shell = Command::new("chroot");
    shell.arg(root).args(["/bin/busybox", "ash", "-c", line]);
    run(shell.env_clear().env("PATH", "/bin:/sbin:/usr/bin"))
}

fn tarball_on_openwrt() {
    let (made_in, root) = (TempDir::new("tarball"), TempDir::new("openwrt"));
    let stripped = made_in.path().join("program");
    run(Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(consul_lite()));
    let dist = packages(made_in.path(), &stripped);
    let tarball = made(&dist)
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "gz"));
    let root = root.path();
    openwrt(root);
    fs::copy(tarball.expect("a tarball"), root.join("tmp/new.tar.gz")).expect("a copy");
    inside(
        root,
        "cd /tmp && gunzip -c new.tar.gz | tar xf - && mv consul-lite-*-linux-x86_64 new",
    );

    let said = inside(root, "/tmp/new/install.sh");
    assert!(
        said.contains("Edit /etc/consul-lite.d/consul-lite.hcl"),
        "{said}"
    );
    let config = root.join("etc/consul-lite.d/consul-lite.hcl");
    let text = fs::read_to_string(&config).expect("a configuration");
    assert!(text.contains("data_dir = \"/srv/consul-lite\""), "{text}");
    assert!(root.join("lib/upgrade/keep.d/consul-lite").is_file());
    let version = inside(root, "/usr/bin/consul-lite version");
    assert!(version.contains("Consul"), "{version}");

    let told = |action: &str| {
        let _ = fs::remove_file(root.join("tmp/procd.log"));
        inside(root, &format!("/etc/init.d/consul-lite {action}"));
        fs::read_to_string(root.join("tmp/procd.log")).unwrap_or_default()
    };
    let started = told("start");
    for line in [
        "open",
        "param command /usr/bin/consul-lite agent -config-dir=/etc/consul-lite.d",
        "param respawn 3600 5 0",
        "param reload_signal HUP",
        "param term_timeout 20",
        "close",
    ] {
        assert!(started.lines().any(|l| l == line), "{line:?} in\n{started}");
    }

    // An upgrade keeps the configuration and starts again what runs.
    fs::write(&config, "# mine\n").expect("a file");
    fs::write(root.join("tmp/running"), "").expect("a file");
    let _ = fs::remove_file(root.join("tmp/procd.log"));
    let said = inside(root, "/tmp/new/install.sh");
    assert!(said.contains("upgraded"), "{said}");
    assert_eq!(fs::read_to_string(&config).expect("a file"), "# mine\n");
    assert!(
        root.join("etc/consul-lite.d/consul-lite.hcl.dist")
            .is_file()
    );
    let log = fs::read_to_string(root.join("tmp/procd.log")).unwrap_or_default();
    assert!(log.lines().any(|l| l == "restart"), "{log}");

    // Without a configuration nothing is started.
    fs::rename(root.join("etc/consul-lite.d"), root.join("etc/aside")).expect("a rename");
    let refused = told("start");
    assert!(
        refused.contains("holds no configuration") && !refused.contains("open"),
        "{refused}"
    );
    fs::rename(root.join("etc/aside"), root.join("etc/consul-lite.d")).expect("a rename");

    inside(root, "/tmp/new/install.sh --uninstall");
    for gone in [
        "usr/bin/consul-lite",
        "etc/init.d/consul-lite",
        "lib/upgrade/keep.d/consul-lite",
    ] {
        assert!(!root.join(gone).exists(), "{gone} stayed");
    }
    assert!(config.is_file(), "the configuration stays");
}

fn dnsmasq_asks_the_agent() {
    let net = Loopback::claim();
    let (ip, resolver) = (net.ip(1), net.ip(2));
    let binary = consul_lite();
    let service = r#"{"service": {"name": "web", "port": 80, "address": "10.1.2.3"}}"#;
    let mut agent = Agent::start(&Plan {
        binary: &binary,
        ip,
        node: "router",
        config: vec![("web.json".to_owned(), service.to_owned())],
    });
    agent.wait_ready(PATIENCE);
    let dir = TempDir::new("dnsmasq");
    let shipped = fs::read_to_string(project_dir().join("systemd/dnsmasq/consul-lite.conf"));
    let shipped = shipped.expect("the drop-in");
    let here = shipped.replace("127.0.0.1#8600", &format!("{ip}#{DNS}"));
    assert_ne!(here, shipped);
    let drop_in = dir.write("consul-lite.conf", &here);
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
    ]);
    dnsmasq.args([
        "--stop-dns-rebind",
        "--user=root",
        "--pid-file",
        "--port=18653",
    ]);
    dnsmasq.arg(format!("--listen-address={resolver}"));
    dnsmasq.arg(format!("--conf-file={}", drop_in.display()));
    dnsmasq
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut dnsmasq = Process::start("dnsmasq", &mut dnsmasq).expect("dnsmasq starts");
    let address = wait_until(PATIENCE, "dnsmasq resolves the service", || {
        assert!(dnsmasq.ended().is_none(), "dnsmasq ended");
        lookup(resolver, "web.service.consul")
    });
    assert_eq!(address, Ipv4Addr::new(10, 1, 2, 3));
    assert_eq!(
        lookup(resolver, "example.com"),
        None,
        "others are not asked of the agent"
    );
    dnsmasq.kill();
}

/// The address that a DNS server gives for a name (RFC 1035): the last four bytes of the only answer.
fn lookup(server: Ipv4Addr, name: &str) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((server, 0)).expect("a socket");
    socket.connect((server, 18653)).expect("an address");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("a label"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send(&question).ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    if answer[6..8] != [0, 1] {
        return None;
    }
    let end: [u8; 4] = answer.get(length - 4..length)?.try_into().ok()?;
    Some(end.into())
}
