//! The real Consul 1.8.7 and consul-lite side by side in one run, as a Markdown table with ratios:
//! `cargo bench --bench compare`. Both get the same configuration, the same load from the same generator
//! (`load.rs`), in several rounds that alternate, of which the medians count.
//!
//! `BENCH_QUICK=1` for a short run; `BENCH_ROUNDS` (5), `BENCH_SECONDS` (3) per round and side,
//! `IDLE_SECONDS` (600); `CONSUL_ORACLE=/path`, `CONSUL_LITE=/path`; a word picks rows whose name has it.

#[path = "../tests/common/mod.rs"]
mod common;

mod cores;
mod load;
// Other tables look at more than this one.
#[allow(dead_code)]
mod measure;
mod report;

use std::process::ExitCode;

use measure::{Plan, number};

fn main() -> ExitCode {
    let Some(binaries) = measure::binaries() else {
        return ExitCode::SUCCESS;
    };
    common::raise_open_files();
    let plan = Plan {
        binaries,
        rounds: number("BENCH_ROUNDS", 5, 2) as usize,
        seconds: number("BENCH_SECONDS", 3, 1),
        idle_seconds: number("IDLE_SECONDS", 600, 20),
        starts: number("BENCH_STARTS", 3, 1) as usize,
        blocked: number("BENCH_BLOCKED", 4000, 1000) as usize,
        only: std::env::args().skip(1).find(|a| !a.starts_with('-')),
        sharing: "agents and load on a half of them each",
    };
    let rows = measure::all(&plan);
    report::print(&plan, &rows);
    ExitCode::SUCCESS
}
