//! Runs a scenario of `browser/` in node, and does to the agents what it asks for.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::common::harness::Outcome;
use crate::common::{cache_dir, project_dir};

/// A scenario that takes longer is stopped.
const LIMIT: Duration = Duration::from_secs(900);

static PLACE: Mutex<Option<Result<PathBuf, String>>> = Mutex::new(None);

/// The folder with the scenarios and npm's packages beside them, or why they cannot run here.
pub fn place() -> Result<PathBuf, String> {
    let mut place = PLACE.lock().unwrap_or_else(|e| e.into_inner());
    place.get_or_insert_with(prepare).clone()
}

fn prepare() -> Result<PathBuf, String> {
    let browser = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    said(Command::new(&browser).arg("--version")).map_err(|why| format!("no {browser}: {why}"))?;
    said(Command::new("node").arg("--version")).map_err(|why| format!("no node: {why}"))?;
    let place = cache_dir().join("ui-browser");
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(&place)?;
        for file in fs::read_dir(project_dir().join("tests/ui/browser"))? {
            let file = file?;
            fs::copy(file.path(), place.join(file.file_name()))?;
        }
        Ok(())
    };
    copy().map_err(|e| format!("{}: {e}", place.display()))?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
    ]);
    said(npm.current_dir(&place))
        .map_err(|why| format!("npm's packages cannot be installed: {why}"))?;
    Ok(place)
}

fn said(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| e.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(text.lines().last().unwrap_or("it failed").to_owned())
}

/// Where screenshots are left.
pub fn shots() -> PathBuf {
    let shots = cache_dir().join("ui-shots");
    let _ = fs::create_dir_all(&shots);
    shots
}

/// The process; its browser ends with it.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a scenario; `asked` answers what it asks for.
pub fn run(
    scenario: &str,
    args: &str,
    mut asked: impl FnMut(&str) -> Result<String, String>,
) -> Outcome {
    let place = match place() {
        Ok(place) => place,
        Err(why) => return Outcome::Skipped(why),
    };
    let mut command = Command::new("node");
    command
        .args(["run.mjs", scenario, args])
        .current_dir(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut node = match command.spawn() {
        Ok(child) => Node(child),
        Err(e) => return Outcome::Failed(format!("node: {e}")),
    };
    let (Some(mut stdin), Some(stdout), Some(mut stderr)) = (
        node.0.stdin.take(),
        node.0.stdout.take(),
        node.0.stderr.take(),
    ) else {
        return Outcome::Failed("node has no pipes".to_owned());
    };
    let errors = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let (finished, waiting) = std::sync::mpsc::channel::<()>();
    let pid = node.0.id();
    let watch = thread::spawn(move || {
        let late = waiting
            .recv_timeout(LIMIT)
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout);
        if late {
            // SAFETY: kill(2) takes no pointers; the child is reaped only after this thread has ended.
            unsafe { libc::kill(pid as i32, libc::SIGTERM) };
        }
        late
    });
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Some(wish) = line.strip_prefix("> ") else {
            println!("{scenario}: {line}");
            continue;
        };
        let answer = match asked(wish) {
            Ok(answer) => format!("ok {answer}\n"),
            Err(why) => format!("no {why}\n"),
        };
        if stdin.write_all(answer.as_bytes()).is_err() {
            break;
        }
    }
    drop(finished);
    let late = watch.join().unwrap_or(true);
    let good = node.0.wait().is_ok_and(|status| status.success());
    let text = errors.join().unwrap_or_default();
    if good {
        Outcome::Passed
    } else if late {
        Outcome::Failed(format!("not within {LIMIT:?}\n{text}"))
    } else {
        Outcome::Failed(text)
    }
}
