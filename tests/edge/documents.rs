//! What a package says of itself, held against what it is: the manual page against the program's own help and the
//! variables it reads, the copyright file against the crates that are linked in, and a whole package against Debian's
//! lintian.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::harness::Outcome;
use crate::common::{TempDir, consul_lite, project_dir};
use crate::{made, packages, run};

/// What `-h` says of a command, or of the program.
fn help(path: &[String]) -> String {
    run(Command::new(consul_lite()).args(path).arg("-h"))
}

/// The lines of a table of commands, each a name.
fn listed(help: &str) -> Vec<String> {
    let table = help
        .split_once("Subcommands:\n")
        .or_else(|| help.split_once("Available commands are:\n"));
    let lines = table.map_or("", |(_, rest)| rest).lines();
    let rows = lines.take_while(|line| line.starts_with("    "));
    rows.filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// All commands that are none of a group's, below `path`.
fn commands(path: &[String], found: &mut Vec<Vec<String>>) {
    let names = listed(&help(path));
    if names.is_empty() {
        found.push(path.to_vec());
    }
    for name in names {
        let mut path = path.to_vec();
        path.push(name);
        commands(&path, found);
    }
}

/// Whether a line of the page tells a command: it begins with the names of the groups and names the command.
fn tells(line: &str, command: &[String]) -> bool {
    let Some(words) = line.strip_prefix(".It Cm ") else {
        return false;
    };
    let words: Vec<&str> = words.split(' ').collect();
    let Some((name, groups)) = command.split_last() else {
        return false;
    };
    let same = words.len() > groups.len() && groups.iter().zip(&words).all(|(a, b)| a == b);
    match groups.is_empty() {
        true => words[0] == name,
        false => same && words[groups.len()..].contains(&name.as_str()),
    }
}

/// Names of environment variables of our own in a source tree: literals that begin with `CONSUL_`.
fn variables(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            variables(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("source text");
            let literals = text.split("\"CONSUL_").skip(1);
            let names = literals.filter_map(|rest| rest.split_once('"').map(|(name, _)| name));
            let plain = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            found.extend(names.filter(plain).map(|name| format!("CONSUL_{name}")));
        }
    }
}

/// Every command, every option of the agent and every variable is on the page, and no option that there is not.
pub fn manual_page() -> Outcome {
    let page = fs::read_to_string(project_dir().join("packages/consul-lite.8")).expect("the page");
    let mut all = Vec::new();
    commands(&[], &mut all);
    assert!(all.len() > 40, "{all:?}");
    for command in &all {
        let told = page.lines().any(|line| tells(line, command));
        assert!(told, "the page does not tell {command:?}");
    }

    let agent = help(&["agent".to_owned()]);
    let flags = agent.lines().filter_map(|line| line.strip_prefix("  -"));
    let flags: BTreeSet<&str> = flags
        .map(|rest| rest.split('=').next().unwrap_or_default())
        .collect();
    let section = page
        .split_once(".Sh AGENT OPTIONS")
        .and_then(|(_, rest)| rest.split_once(".Sh SIGNALS"));
    let items = section.map_or("", |(options, _)| options).lines();
    let items: Vec<&str> = items.filter_map(|line| line.strip_prefix(".It ")).collect();
    let words: BTreeSet<&str> = items.iter().flat_map(|item| item.split(' ')).collect();
    for flag in &flags {
        assert!(words.contains(flag), "the page does not tell -{flag}");
    }
    for item in items {
        let mut words = item.split(' ');
        while words.any(|word| word == "Fl") {
            let flag = words.next().unwrap_or_default();
            assert!(flags.contains(flag), "the agent has no -{flag}");
        }
    }

    let mut names = BTreeSet::new();
    variables(&project_dir().join("src"), &mut names);
    // Read for a setting that is refused, automatic configuration.
    names.remove("CONSUL_INTRO_TOKEN");
    assert!(names.contains("CONSUL_HTTP_ADDR"), "{names:?}");
    let told: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Ev "))
        .flat_map(|line| line.split([' ', ',']))
        .collect();
    for name in &names {
        assert!(
            told.contains(name.as_str()),
            "the page does not tell {name}"
        );
    }
    Outcome::Passed
}

/// Every crate that is linked into a static binary is named, for its licence wants that.
pub fn copyright() -> Outcome {
    let file = fs::read_to_string(project_dir().join("packages/deb/copyright"));
    let file = file.expect("the copyright file");
    let named: BTreeSet<&str> = file.split_whitespace().collect();
    let table = fs::read_to_string(project_dir().join("cross/targets")).expect("cross/targets");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let target = line.split_whitespace().nth(1).expect("a target");
        let mut tree = Command::new("cargo");
        tree.args(["tree", "--offline", "--locked", "--prefix=none"])
            .args(["--edges=normal,no-proc-macro", "--format={p}", "--target"])
            .arg(target)
            .current_dir(project_dir())
            .stdin(Stdio::null());
        let output = match tree.output() {
            Ok(output) if output.status.success() => output,
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Outcome::Skipped(format!("cargo tree: {why}"));
            }
            Err(why) => return Outcome::Skipped(format!("cargo: {why}")),
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let crates: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| !name.is_empty())
            .collect();
        assert!(crates.contains("rusqlite"), "{text}");
        for name in crates {
            assert!(named.contains(name), "the copyright file leaves out {name}");
        }
    }
    Outcome::Passed
}

/// What `packages/deb/lintian-overrides` is written for; another version has other names for what it finds.
const DEBIAN_12: &str = "Lintian v2.116.";

/// No error and no warning that the overrides do not answer.
pub fn lintian() -> Outcome {
    let version = run(Command::new("lintian").arg("--version"));
    if !version.contains(DEBIAN_12) {
        let version = version.lines().next().unwrap_or_default().to_owned();
        return Outcome::Skipped(format!("{version} is not Debian 12's"));
    }
    let dir = TempDir::new("lintian");
    // lintian looks at the binary, too: a static one that is stripped, as a release's.
    let source = dir.write("program.c", "int main(void) { return 0; }\n");
    let binary = dir.path().join("program");
    run(Command::new("cc")
        .args(["-static", "-s", "-O1", "-o"])
        .args([&binary, &source]));
    let dist = packages(dir.path(), &binary);
    let package = made(&dist)
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    let said = run(Command::new("lintian")
        .args(["--fail-on", "error,warning", "--allow-root"])
        .arg(package.expect("a package")));
    for line in said.lines() {
        assert!(!line.starts_with("E:") && !line.starts_with("W:"), "{said}");
    }
    Outcome::Passed
}
