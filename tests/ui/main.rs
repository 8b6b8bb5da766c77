//! The web page: how an agent serves it, and what it does in a real browser (headless Chromium driven by
//! playwright-core) against running agents.
//!
//! `CHROMIUM=/path` names the browser. Where node, the browser or npm's packages are missing the scenarios
//! are skipped and say so. Screenshots are left in `target/tmp/ui-shots`.

#[path = "../common/mod.rs"]
mod common;

mod agents;
mod browser;
mod scenarios;
mod served;

use std::process::ExitCode;

use common::harness::{self, Outcome, Test};

fn main() -> ExitCode {
    if !consul_lite::ui::is_built_in() {
        let why = "this build leaves the page out".to_owned();
        let none = Test::new("all", move || Outcome::Skipped(why.clone()));
        return harness::main(vec![none]);
    }
    let mut tests = vec![
        Test::new("size", served::size),
        Test::new("assets", served::assets),
        Test::new("serving", served::serving),
        Test::new("own_directory", served::own_directory),
        Test::new("cross_site", served::cross_site),
    ];
    tests.extend(scenarios::all());
    harness::main(tests)
}
