//! Finds the real Consul 1.8.7 the tests compare with: `CONSUL_ORACLE=/path`, else what
//! `tests/compat/get-consul` puts under the build directory. Nothing is installed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use super::{cache_dir, project_dir};

static FOUND: Mutex<Option<Result<PathBuf, String>>> = Mutex::new(None);

/// The real Consul's path, or the reason why it cannot be had here.
pub fn find() -> Result<PathBuf, String> {
    let mut found = FOUND.lock().unwrap_or_else(|e| e.into_inner());
    found.get_or_insert_with(look).clone()
}

fn look() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("CONSUL_ORACLE") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("CONSUL_ORACLE={} is not a file", path.display()))
        };
    }
    let script = project_dir().join("tests/compat/get-consul");
    let out = Command::new(&script)
        .arg(cache_dir().join("oracle"))
        .output()
        .map_err(|e| format!("{}: {e}", script.display()))?;
    let path = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
    if out.status.success() && path.is_file() {
        return Ok(path);
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let last = text.lines().last().unwrap_or("no reason given");
    Err(format!("the real Consul 1.8.7 cannot be had: {last}"))
}
