//! What survives a restart under the data directory: services and checks that came over HTTP, and the
//! state of TTL checks, in Consul's own files.
//!
//! Holds true: a file is whole or absent (written beside its place, synced, renamed); a file that cannot
//! be read is reported and left alone. TTL states are renamed into place without waiting for the disk:
//! they come with every heartbeat, and after a power cut a check may as well begin critical.
//! Source: `docs/reference/http-2.md` section 6.6.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::codec::{Deserialize, Serialize};
use crate::sorted;
use crate::structs::go::new_uuid;
use crate::structs::{CheckType, Error, HealthCheck, NodeService, Result};
use crate::wire::json;
use log::{error, warn};
use md5::{Digest, Md5};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;

/// `services/<hash>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedService {
    #[serde(rename = "Token")]
    pub token: String,
    #[serde(rename = "Service")]
    pub service: Option<NodeService>,
    #[serde(rename = "Source")]
    pub source: String,
}

/// `checks/<hash>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedCheck {
    #[serde(rename = "Check")]
    pub check: Option<HealthCheck>,
    #[serde(rename = "ChkType")]
    pub chk_type: Option<CheckType>,
    #[serde(rename = "Token")]
    pub token: String,
    #[serde(rename = "Source")]
    pub source: String,
}

/// `checks/state/<hash>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedState {
    #[serde(rename = "CheckID")]
    pub check_id: String,
    #[serde(rename = "Output")]
    pub output: String,
    #[serde(rename = "Status")]
    pub status: String,
    /// Unix seconds.
    #[serde(rename = "Expires")]
    pub expires: i64,
}

/// `acl-tokens.json`.
#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PersistedTokens {
    #[serde(rename = "replication", serialize_with = "omitempty")]
    pub replication: String,
    #[serde(rename = "agent_master", serialize_with = "omitempty")]
    pub agent_master: String,
    #[serde(rename = "default", serialize_with = "omitempty")]
    pub default: String,
    #[serde(rename = "agent", serialize_with = "omitempty")]
    pub agent: String,
}

/// The files of one agent.
#[derive(Clone)]
pub(super) struct Persist {
    data_dir: PathBuf,
}

/// The name of an ID's file: the MD5 of the ID in hexadecimal.
fn hash(id: &str) -> String {
    crate::codec::base64::hex(&Md5::digest(id.as_bytes()))
}

impl Persist {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir }
    }

    fn service_file(&self, id: &str) -> PathBuf {
        self.data_dir.join("services").join(hash(id))
    }

    fn check_file(&self, id: &str) -> PathBuf {
        self.data_dir.join("checks").join(hash(id))
    }

    fn state_file(&self, id: &str) -> PathBuf {
        self.data_dir.join("checks/state").join(hash(id))
    }

    /// Writes a service.
    pub(super) fn save_service(&self, id: &str, service: &PersistedService) -> Result<()> {
        write(&self.service_file(id), service, true)
            .map_err(|e| Error::new(format!("failed persisting service \"{id}\": {e}")))
    }

    /// Writes a check.
    pub(super) fn save_check(&self, id: &str, check: &PersistedCheck) -> Result<()> {
        write(&self.check_file(id), check, true)
            .map_err(|e| Error::new(format!("failed persisting check \"{id}\": {e}")))
    }

    /// Writes the state of a TTL check.
    pub(super) fn save_state(&self, state: &PersistedState) -> Result<()> {
        let id = &state.check_id;
        write(&self.state_file(id), state, false)
            .map_err(|e| Error::new(format!("failed persisting state for check \"{id}\": {e}")))
    }

    fn tokens_file(&self) -> PathBuf {
        self.data_dir.join("acl-tokens.json")
    }

    /// Writes the tokens that were set while the agent ran.
    pub(super) fn save_tokens(&self, tokens: &PersistedTokens) -> Result<()> {
        write(&self.tokens_file(), tokens, true)
            .map_err(|e| Error::new(format!("failed to persist ACL tokens: {e}")))
    }

    /// The tokens that were set while the agent ran; nothing if none were.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(super) fn tokens(&self) -> Result<PersistedTokens> {
        match read(&self.tokens_file()) {
            Ok(text) => json::from_slice_lenient(&text)
                .map_err(|e| Error::new(format!("failed to decode ACL tokens: {e}"))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(PersistedTokens::default()),
            Err(e) => Err(Error::new(format!("failed reading acl-tokens.json: {e}"))),
        }
    }

    /// Forgets a service.
    pub(super) fn purge_service(&self, id: &str) {
        remove(&self.service_file(id));
    }

    /// Forgets a check and its state.
    pub(super) fn purge_check(&self, id: &str) {
        remove(&self.check_file(id));
        self.purge_state(id);
    }

    /// Forgets the state of a TTL check.
    pub(super) fn purge_state(&self, id: &str) {
        remove(&self.state_file(id));
    }

    /// All services that can be read.
    pub(super) fn services(&self) -> Vec<PersistedService> {
        read_all(&self.data_dir.join("services"), "service")
    }

    /// All checks that can be read.
    pub(super) fn checks(&self) -> Vec<PersistedCheck> {
        read_all(&self.data_dir.join("checks"), "check")
    }

    /// The state of a TTL check, if one was kept.
    pub(super) fn state(&self, id: &str) -> Option<PersistedState> {
        let path = self.state_file(id);
        let text = read(&path).ok()?;
        match json::from_slice_lenient(&text) {
            Ok(state) => Some(state),
            Err(e) => {
                let (path, e) = (path.display().to_string(), e.to_string());
                error!(target: "agent", file = path.as_str(), error = e.as_str(); "failed decoding check state");
                None
            }
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            let (path, e) = (path.display().to_string(), e.to_string());
            warn!(target: "agent", file = path.as_str(), error = e.as_str(); "Failed to remove file");
        }
        _ => {}
    }
}

fn write(path: &Path, value: &dyn Serialize, durable: bool) -> io::Result<()> {
    let text = json::to_vec(value).map_err(io::Error::other)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)?;
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy())
        .unwrap_or_default();
    let temporary = parent.join(format!("{name}-{}.tmp", new_uuid()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&text)?;
        if durable {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(&temporary, path)?;
        if durable {
            // The rename itself is durable only once the directory is.
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > MAX_FILE {
        return Err(io::Error::other(format!(
            "file has {length} bytes, more than {MAX_FILE}"
        )));
    }
    fs::read(path)
}

fn read_all<T: Deserialize + Default>(dir: &Path, what: &str) -> Vec<T> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            if e.kind() != io::ErrorKind::NotFound {
                let (dir, e) = (dir.display().to_string(), e.to_string());
                error!(target: "agent", dir = dir.as_str(), error = e.as_str(); "Failed reading {what}s dir");
            }
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    sorted::sort(&mut files);
    let mut found = Vec::new();
    for path in files.into_iter().filter(|p| !p.is_dir()) {
        let file = path.display().to_string();
        if path.extension().is_some_and(|e| e == "tmp") {
            warn!(target: "agent", file = file.as_str(); "Ignoring temporary {what} file");
            continue;
        }
        let text = match read(&path) {
            Ok(text) => text,
            Err(e) => {
                let e = e.to_string();
                error!(target: "agent", file = file.as_str(), error = e.as_str(); "Failed reading {what} file");
                continue;
            }
        };
        match json::from_slice_lenient(&text) {
            Ok(value) => found.push(value),
            Err(e) => {
                let e = e.to_string();
                error!(target: "agent", file = file.as_str(), error = e.as_str(); "Failed decoding {what} file");
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_those_of_consul() {
        assert_eq!(hash("web"), "2567a5ec9705eb7ac2c984033e06189d");
    }
}
