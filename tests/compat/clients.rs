//! Public clients take a tour of the agent: `py-consul` in a venv and npm `consul`, each of a pinned
//! version, installed under the build directory by the ordinary package clients of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::agent::{Agent, HTTP, Plan};
use crate::common::harness::Outcome;
use crate::common::{Loopback, cache_dir, project_dir};

/// py-consul.
pub fn python(subject: &Path) -> Outcome {
    let venv = cache_dir().join("tour-python");
    let program = venv.join("bin/python");
    let wanted = folder().join("requirements.txt");
    if !program.is_file() {
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        if let Err(why) = made {
            return Outcome::Skipped(format!("no venv of python3: {why}"));
        }
    }
    let mut pip = Command::new(&program);
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
    if let Err(why) = run(pip.arg("-r").arg(&wanted)) {
        return Outcome::Skipped(format!("py-consul cannot be installed: {why}"));
    }
    let mut tour = Command::new(&program);
    tour.arg(folder().join("tour.py"));
    take(tour, subject)
}

/// npm `consul`.
pub fn node(subject: &Path) -> Outcome {
    let place = cache_dir().join("tour-node");
    let package = folder().join("package.json");
    let copied = std::fs::create_dir_all(&place)
        .and_then(|()| std::fs::copy(&package, place.join("package.json")));
    if let Err(e) = copied {
        return Outcome::Failed(format!("{}: {e}", place.display()));
    }
    if let Err(why) = run(Command::new("node").arg("--version")) {
        return Outcome::Skipped(format!("no node: {why}"));
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund"]);
    if let Err(why) = run(npm.current_dir(&place)) {
        return Outcome::Skipped(format!("npm's consul cannot be installed: {why}"));
    }
    let mut tour = Command::new("node");
    tour.arg(folder().join("tour.js")).current_dir(&place);
    take(tour, subject)
}

fn folder() -> PathBuf {
    project_dir().join("tests/compat/clients")
}

/// Runs a preparing command; the error is the last line it said.
fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| e.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(text.lines().last().unwrap_or("it failed").to_string())
}

fn take(mut tour: Command, subject: &Path) -> Outcome {
    let net = Loopback::claim();
    let ip = net.ip(1);
    let mut agent = Agent::start(&Plan {
        binary: subject,
        ip,
        node: "n1",
        config: Vec::new(),
    });
    agent.wait_ready(Duration::from_secs(60));
    match tour.arg(ip.to_string()).arg(HTTP.to_string()).output() {
        Ok(out) if out.status.success() => Outcome::Passed,
        Ok(out) => Outcome::Failed(format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        )),
        Err(e) => Outcome::Failed(e.to_string()),
    }
}
