//! A real boot: Debian in systemd-nspawn with the package installed and the unit started.
//!
//! One machine shows the package's and the unit's whole life; four are a datacenter of three servers and a client
//! agent. All of it runs in network and mount namespaces of its own. Wants root, systemd-nspawn, debootstrap and
//! a Debian mirror; where one is missing everything is skipped, loudly.

#[path = "../common/mod.rs"]
mod common;

mod four;
mod machine;
mod one;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use common::harness::{self, Outcome, Test};
use machine::Lab;

/// Set in the process that runs in namespaces of its own.
const INSIDE: &str = "CONSUL_LITE_SYSTEMD_LAB";
/// Programs without which nothing goes.
const TOOLS: &[&str] = &[
    "systemd-nspawn",
    "debootstrap",
    "nsenter",
    "unshare",
    "ip",
    "strip",
    "dpkg-deb",
];

/// What a test does with the lab.
type Scenario = fn(&Lab);

/// The lab, made by the first test that needs it. One test at a time: machines are heavy.
static LAB: Mutex<Option<Result<Lab, String>>> = Mutex::new(None);

fn main() -> ExitCode {
    let inside = std::env::var_os(INSIDE).is_some();
    let mut missing = missing();
    // Out here, where the mirror can be reached: the machines' network ends at their bridge.
    if missing.is_none() && !inside && !std::env::args().any(|arg| arg == "--list") {
        missing = machine::base_system().err();
    }
    if missing.is_none() && !inside {
        let own = std::env::current_exe().expect("a path of one's own");
        let failed = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .arg(own)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        panic!("unshare: {failed}");
    }
    let tests: [(&str, Scenario); 2] = [
        ("one_server", one::life),
        ("three_servers_and_a_client", four::datacenter),
    ];
    let tests = tests.map(|(name, test)| {
        let missing = missing.clone();
        Test::new(name, move || match &missing {
            Some(why) => Outcome::Skipped(why.clone()),
            None => in_lab(test),
        })
    });
    harness::main(tests.into())
}

fn in_lab(test: Scenario) -> Outcome {
    let mut lab = LAB.lock().unwrap_or_else(|e| e.into_inner());
    match lab.get_or_insert_with(Lab::new) {
        Ok(lab) => {
            test(lab);
            Outcome::Passed
        }
        Err(why) => Outcome::Skipped(why.clone()),
    }
}

/// Why nothing can run here.
fn missing() -> Option<String> {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Some("must be root to boot machines".to_owned());
    }
    for tool in TOOLS {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Some(format!("{tool} is missing"));
        }
    }
    // A kernel without bridges or a sandbox without namespaces.
    let try_it = "ip link add lab0 type bridge && mount -t tmpfs tmpfs /mnt";
    let tried = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            try_it,
        ])
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(why) => Some(format!("unshare: {why}")),
    }
}
