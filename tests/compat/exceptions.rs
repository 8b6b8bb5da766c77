//! The list of differences that are meant: `exceptions.txt`, one to a paragraph of three lines, `FILE:
//! STEP`, `at PATH`, `because REASON`. `*` in a step or path stands for any text.

use crate::common::project_dir;
use crate::compare::Difference;

/// One difference that is meant.
pub struct Exception {
    /// The case file's name without `.txt`.
    pub file: String,
    step: String,
    path: String,
}

impl Exception {
    /// Whether this difference is the one meant.
    pub fn covers(&self, file: &str, d: &Difference) -> bool {
        self.file == file && glob(&self.step, &d.step) && glob(&self.path, &d.path)
    }
}

/// Reads the list.
pub fn load() -> Result<Vec<Exception>, String> {
    let path = project_dir().join("tests/compat/exceptions.txt");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&text).map_err(|e| format!("exceptions.txt: {e}"))
}

fn parse(text: &str) -> Result<Vec<Exception>, String> {
    let mut list = Vec::new();
    let keep = |l: &&str| !l.starts_with('#') && !l.trim().is_empty();
    let mut lines = text.lines().filter(keep);
    while let Some(line) = lines.next() {
        let (file, step) = line
            .split_once(": ")
            .ok_or(format!("`FILE: STEP` wanted: {line}"))?;
        let path = lines.next().and_then(|l| l.strip_prefix("at "));
        let reason = lines.next().and_then(|l| l.strip_prefix("because "));
        let (Some(path), Some(_)) = (path, reason) else {
            return Err(format!(
                "`at PATH` and `because REASON` wanted after: {line}"
            ));
        };
        list.push(Exception {
            file: file.to_string(),
            step: step.to_string(),
            path: path.to_string(),
        });
    }
    Ok(list)
}

/// Matches with `*` for any text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            let ends = rest.char_indices().map(|c| c.0).chain([rest.len()]);
            ends.into_iter().any(|i| glob(tail, &rest[i..]))
        }),
    }
}
