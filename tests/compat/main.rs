//! The real Consul 1.8.7 beside consul-lite: the requests of `cases/*.txt` (HTTP, DNS and command line,
//! good and bad) go to both in the same order, and the answers are compared field by field. What may
//! differ stands in `exceptions.txt`, each with its reason. Then public clients take their tour.
//!
//! `CONSUL_ORACLE=/path` names a real Consul (else `get-consul` fetches it), `COMPAT_SUBJECT=/path` what
//! is compared with it (else this build); `COMPAT_SHOW=1` prints every difference also when excepted,
//! `COMPAT_DUMP=1` all answers of the real Consul.

#[path = "../common/mod.rs"]
mod common;

mod backend;
mod case;
mod clients;
mod compare;
mod dns;
mod exceptions;
mod grpc;
mod selfcheck;
mod side;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use case::Case;
use common::harness::{self, Outcome, Test};
use common::{Loopback, oracle, project_dir};
use side::{Answer, Behind, Side};

/// At least this many requests are compared (issue: 400).
const REQUESTS_WANTED: usize = 400;

/// Cases that are also asked of client agents, each of one real server.
const THROUGH_CLIENTS: &[&str] = &[
    "agent",
    "alias",
    "blocking",
    "catalog",
    "checks",
    "dns",
    "filter",
    "health",
    "kv",
    "maintenance",
    "session",
    "snapshot",
    "txn",
    "ui",
];
/// In the name of a case that is asked of client agents, also in the exceptions.
const THROUGH: &str = "_through_client";

fn main() -> ExitCode {
    let folder = project_dir().join("tests/compat/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|f| f.ok().map(|f| f.path()))
        .filter(|f| f.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    let mut tests = vec![
        Test::new("selfcheck", selfcheck::run),
        Test::new("table_is_whole", {
            let files = files.clone();
            move || whole(&files)
        }),
    ];
    tests.push(Test::new("client_python", || clients::python(&subject())));
    tests.push(Test::new("client_node", || clients::node(&subject())));
    for file in files {
        let name = file_name(&file);
        if THROUGH_CLIENTS.contains(&name.as_str()) {
            let file = file.clone();
            let name = format!("{name}{THROUGH}");
            tests.push(Test::new(name, move || family(&file, true)));
        }
        tests.push(Test::new(name, move || family(&file, false)));
    }
    harness::main(tests)
}

fn file_name(file: &Path) -> String {
    let name = file.file_stem().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn read(file: &Path) -> Result<Case, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    case::parse(&text).map_err(|e| format!("{}: {e}", file.display()))
}

/// Every file can be read, every exception has its file, and the table is as long as it should be.
fn whole(files: &[PathBuf]) -> Outcome {
    let mut requests = 0;
    for file in files {
        match read(file) {
            Ok(case) => requests += case.steps.iter().filter(|s| is_request(s)).count(),
            Err(e) => return Outcome::Failed(e),
        }
    }
    let names: Vec<String> = files.iter().map(|f| file_name(f)).collect();
    match exceptions::load() {
        Ok(list) => {
            let known = |e: &&exceptions::Exception| {
                let file = e.file.strip_suffix(THROUGH).unwrap_or(&e.file);
                names.iter().any(|name| name == file)
            };
            if let Some(lost) = list.iter().find(|e| !known(e)) {
                return Outcome::Failed(format!("an exception for no file: {}", lost.file));
            }
        }
        Err(e) => return Outcome::Failed(e),
    }
    println!("{requests} requests in {} files", files.len());
    if requests < REQUESTS_WANTED {
        return Outcome::Failed(format!("only {requests} of {REQUESTS_WANTED} requests"));
    }
    Outcome::Passed
}

fn is_request(step: &case::Step) -> bool {
    use case::Action::{Cli, Dns, Http, Join, Raw};
    matches!(step.action, Http(..) | Dns(_) | Cli(_) | Raw | Join(_))
}

/// The program that is compared with the real one.
fn subject() -> PathBuf {
    match std::env::var_os("COMPAT_SUBJECT") {
        Some(path) => PathBuf::from(path),
        None => common::consul_lite(),
    }
}

/// Runs a case on one agent of `binary` at an address of `net`.
pub fn transcript(
    binary: &Path,
    net: &Loopback,
    host: u8,
    case: &Case,
    behind: Option<&Path>,
) -> Vec<Answer> {
    let profile = project_dir()
        .join("tests/compat/profiles")
        .join(&case.profile);
    let behind = behind.map(|server| Behind {
        binary: server.to_owned(),
        ip: net.ip(host + 100),
    });
    Side::start(binary, net.ip(host), &profile, behind.as_ref()).run(case)
}

fn family(file: &Path, through_client: bool) -> Outcome {
    let real = match oracle::find() {
        Ok(path) => path,
        Err(why) => return Outcome::Skipped(why),
    };
    let (case, list) = match (read(file), exceptions::load()) {
        (Ok(case), Ok(list)) => (case, list),
        (Err(e), _) | (_, Err(e)) => return Outcome::Failed(e),
    };
    let (net, ours) = (Loopback::claim(), subject());
    let behind = through_client.then_some(real.as_path());
    let (a, b) = std::thread::scope(|scope| {
        let a = scope.spawn(|| transcript(&real, &net, 1, &case, behind));
        let b = scope.spawn(|| transcript(&ours, &net, 2, &case, behind));
        (a.join(), b.join())
    });
    let (a, b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(e), _) => return Outcome::Failed(format!("the real Consul: {}", panic_text(&e))),
        (_, Err(e)) => return Outcome::Failed(panic_text(&e)),
    };
    let base = file_name(file);
    let mut name = base.clone();
    if through_client {
        name.push_str(THROUGH);
    }
    if std::env::var_os("COMPAT_DUMP").is_some() {
        for (step, answer) in case.steps.iter().zip(&a) {
            println!("{}: {}\n    {answer:?}", step.line, step.text);
        }
    }
    let differences = compare::transcripts(&case.steps, &a, &b);
    let (excused, rest): (Vec<_>, Vec<_>) = differences.into_iter().partition(|d| {
        list.iter()
            .any(|e| e.covers(&name, d) || e.covers(&base, d))
    });
    let requests = case.steps.iter().filter(|s| is_request(s)).count();
    println!(
        "{name}: {requests} requests, {} differences, {} excepted",
        rest.len(),
        excused.len()
    );
    if std::env::var_os("COMPAT_SHOW").is_some() {
        excused.iter().for_each(|d| print!("{}", show(&name, d)));
    }
    if rest.is_empty() {
        return Outcome::Passed;
    }
    Outcome::Failed(rest.iter().map(|d| show(&name, d)).collect())
}

fn panic_text(cause: &Box<dyn std::any::Any + Send>) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without text").to_string()
}

fn show(name: &str, d: &compare::Difference) -> String {
    format!(
        "{name}.txt:{}: {}\n  at {}\n    consul: {}\n    ours:   {}\n",
        d.line,
        d.step,
        if d.path.is_empty() { "body" } else { &d.path },
        d.oracle.replace('\n', "\n            "),
        d.ours.replace('\n', "\n            ")
    )
}
