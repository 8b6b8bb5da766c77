//! Scenarios as readable text: lines that begin with `>` are commands, what follows is what they show.
//!
//! Everything else (empty lines, lines that begin with `#`) is for the reader. After a change of
//! behaviour `REWRITE=1 cargo test --test interaction` writes what is shown now into the files; whoever
//! does that reads the difference.

mod raft;

use std::path::{Path, PathBuf};

/// A world that commands act on; each answers with the lines to show.
pub trait Scenario {
    /// The lines to show; an error, for a command that makes no sense, is shown too.
    fn command(&mut self, words: &[&str]) -> Result<Vec<String>, String>;
}

/// Runs one file and returns it with the output of today.
fn replay(text: &str, scenario: &mut dyn Scenario) -> Result<String, String> {
    let mut today = String::new();
    let mut after_command = false;
    for (number, line) in text.lines().enumerate() {
        let comment = line.is_empty() || line.starts_with('#');
        if let Some(command) = line.strip_prefix('>') {
            today.push_str(line);
            today.push('\n');
            let words: Vec<&str> = command.split_whitespace().collect();
            let shown = scenario.command(&words);
            for line in shown.unwrap_or_else(|e| vec![format!("! {e}")]) {
                today.push_str(&line);
                today.push('\n');
            }
            after_command = true;
        } else if comment {
            today.push_str(line);
            today.push('\n');
            after_command = false;
        } else if !after_command {
            return Err(format!("line {} belongs to no command", number + 1));
        }
    }
    Ok(today)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the scenarios' folder");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

/// Replays every file of a folder, each in a world of its own.
pub fn run(folder: &str, new: impl Fn() -> Box<dyn Scenario>) {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let (mut different, mut count) = (Vec::new(), 0);
    for path in files(folder) {
        let text = std::fs::read_to_string(&path).expect("a scenario");
        let name = path.display();
        let today = replay(&text, &mut *new()).unwrap_or_else(|e| panic!("{name}: {e}"));
        count += 1;
        if today == text {
            continue;
        }
        if rewrite {
            std::fs::write(&path, today).expect("a writable scenario");
            continue;
        }
        let lines = text.lines().zip(today.lines()).enumerate();
        let first = lines.into_iter().find(|(_, (old, new))| old != new);
        different.push(match first {
            Some((n, (old, new))) => format!("{name}:{}\n  was: {old}\n  now: {new}", n + 1),
            None => format!("{name}: one ends before the other"),
        });
    }
    assert!(count > 0, "no scenarios in {folder}");
    assert!(
        different.is_empty(),
        "{}\n(REWRITE=1 takes over what is shown now)",
        different.join("\n")
    );
}
