//! The log file: named after the moment it was begun, and begun anew when it is too big or too old.
//!
//! Source: `docs/reference/config.md` section 14 (`log_file`, `log_rotate_*`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::drive::{Instant, now, wall};
use crate::sorted;

/// A log file and when to begin the next one.
pub(super) struct LogFile {
    dir: PathBuf,
    stem: String,
    extension: String,
    max_bytes: u64,
    max_age: Duration,
    /// 0 keeps all old files, a negative number none.
    max_files: i64,
    file: File,
    bytes: u64,
    since: Instant,
}

impl LogFile {
    /// Opens the first file. `path` is a directory with a slash at its end, or a prefix of file names.
    pub(super) fn open(
        path: &str,
        max_bytes: u64,
        max_age: Duration,
        max_files: i64,
    ) -> io::Result<Self> {
        let (dir, name) = match path.rsplit_once('/') {
            Some((dir, name)) => (format!("{dir}/"), name),
            None => ("./".to_owned(), path),
        };
        let name = if name.is_empty() { "consul.log" } else { name };
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) => (stem.to_owned(), format!(".{extension}")),
            None => (name.to_owned(), ".log".to_owned()),
        };
        let dir = PathBuf::from(dir);
        let file = begin(&dir, &stem, &extension)?;
        let mut log = Self {
            dir,
            stem,
            extension,
            max_bytes,
            max_age,
            max_files,
            file,
            bytes: 0,
            since: now(),
        };
        log.prune();
        Ok(log)
    }

    /// Writes a line. A disk that takes no more loses lines, nothing else.
    pub(super) fn write(&mut self, line: &str) {
        let full = self.max_bytes > 0 && self.bytes >= self.max_bytes;
        if (full || now().duration_since(self.since) >= self.max_age)
            && let Ok(file) = begin(&self.dir, &self.stem, &self.extension)
        {
            self.file = file;
            self.bytes = 0;
            self.since = now();
            self.prune();
        }
        if writeln!(self.file, "{line}").is_ok() {
            self.bytes += line.len() as u64 + 1;
        }
    }

    /// Removes old files beyond the number to be kept.
    fn prune(&mut self) {
        let keep = match self.max_files {
            0 => return,
            n if n < 0 => 0,
            n => usize::try_from(n).unwrap_or(usize::MAX),
        };
        let mut old = self.files();
        // The newest is the one being written.
        old.pop();
        let surplus = old.len().saturating_sub(keep);
        for path in old.into_iter().take(surplus) {
            // What cannot be removed now is tried again at the next rotation.
            let _ = fs::remove_file(path);
        }
    }

    /// All files of this log, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let prefix = format!("{}-", self.stem);
        let of_log = |path: &PathBuf| {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            name.is_some_and(|n| {
                let middle = n
                    .strip_prefix(&prefix)
                    .and_then(|n| n.strip_suffix(&self.extension));
                middle.is_some_and(|m| !m.is_empty() && m.bytes().all(|b| b.is_ascii_digit()))
            })
        };
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(of_log).collect();
        sorted::sort(&mut files);
        files
    }
}

fn begin(dir: &Path, stem: &str, extension: &str) -> io::Result<File> {
    let nanos = wall()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(dir.join(format!("{stem}-{nanos}{extension}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_rotate_by_size_and_old_ones_go() {
        let name = format!("consul-lite-log-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let path = format!("{}/foo.txt", dir.display());
        let mut log = LogFile::open(&path, 8, Duration::from_secs(60), 1).unwrap();
        for _ in 0..4 {
            log.write("12345678");
        }
        let files = log.files();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(
            files
                .iter()
                .all(|f| f.extension().is_some_and(|e| e == "txt"))
        );
    }
}
