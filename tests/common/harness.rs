//! A test program's `main` for tests that learn only at run time that they cannot run here: prints
//! what the standard harness prints, with a skipped test said loudly and counted as ignored.
//! Used with `harness = false`. Understands a name filter, `--exact`, `--list`, `--test-threads` and
//! `--nocapture` (output is never captured), as `cargo test` passes them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// How a test ended, apart from panicking, which is a failure.
pub enum Outcome {
    /// All that was to be shown was shown.
    Passed,
    /// It could not run here; the text says what is missing.
    Skipped(String),
    /// It ran and showed a fault; the text tells it.
    Failed(String),
}

/// One test: its name, and what it does.
pub struct Test {
    name: String,
    run: Box<dyn Fn() -> Outcome + Send>,
}

impl Test {
    /// A test of that name.
    pub fn new(name: impl Into<String>, run: impl Fn() -> Outcome + Send + 'static) -> Test {
        Test {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

struct Options {
    filters: Vec<String>,
    exact: bool,
    list: bool,
    threads: usize,
}

fn options() -> Options {
    let mut o = Options {
        filters: Vec::new(),
        exact: false,
        list: false,
        threads: std::thread::available_parallelism().map_or(2, |n| n.get()),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--exact" => o.exact = true,
            "--list" => o.list = true,
            "--test-threads" => {
                o.threads = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
            }
            "--nocapture" | "--no-capture" | "--include-ignored" | "--bench" | "--test" => {}
            other => match other.strip_prefix("--test-threads=") {
                Some(n) => o.threads = n.parse().unwrap_or(1),
                None if other.starts_with('-') => {}
                None => o.filters.push(other.to_string()),
            },
        }
    }
    o
}

fn wanted(o: &Options, name: &str) -> bool {
    let hit = |f: &String| {
        if o.exact {
            name == f
        } else {
            name.contains(f.as_str())
        }
    };
    o.filters.is_empty() || o.filters.iter().any(hit)
}

fn run_one(test: &Test) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| (test.run)())) {
        Ok(outcome) => outcome,
        Err(cause) => {
            let text = cause
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| cause.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without text");
            Outcome::Failed(text.to_string())
        }
    }
}

/// Runs the tests the command line asks for, on as many threads as it allows.
pub fn main(tests: Vec<Test>) -> ExitCode {
    let o = options();
    let all = tests.len();
    let chosen: VecDeque<Test> = tests.into_iter().filter(|t| wanted(&o, &t.name)).collect();
    if o.list {
        for test in &chosen {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let count = chosen.len();
    let filtered = all - count;
    println!("\nrunning {count} tests");
    let start = Instant::now();
    let queue = Mutex::new(chosen);
    let tally = Mutex::new((0usize, 0usize, Vec::<(String, String)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..o.threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut q| q.pop_front());
                    let Some(test) = next else { break };
                    let outcome = run_one(&test);
                    let Ok(mut tally) = tally.lock() else { break };
                    match outcome {
                        Outcome::Passed => {
                            println!("test {} ... ok", test.name);
                            tally.0 += 1;
                        }
                        Outcome::Skipped(why) => {
                            println!("test {} ... ignored, skipped: {why}", test.name);
                            eprintln!("skipped: {}: {why}", test.name);
                            tally.1 += 1;
                        }
                        Outcome::Failed(why) => {
                            println!("test {} ... FAILED", test.name);
                            tally.2.push((test.name.clone(), why));
                        }
                    }
                }
            });
        }
    });
    let Ok((passed, skipped, failed)) = tally.into_inner() else {
        return ExitCode::FAILURE;
    };
    for (name, why) in &failed {
        println!("\n---- {name} ----\n{why}");
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} ignored; 0 measured; {filtered} filtered out; finished in {:.2}s\n",
        failed.len(),
        start.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
