//! Snapshot and keyring of a pool on disk.
//!
//! Holds true: nothing is written unless the pool says so; a rewrite is whole or did not happen; what could
//! not be written is tried again with the next write, and what waits is bounded by the pool's own rewrites.
//! Source: `docs/reference/gossip.md` sections 9 and 14.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use smol::channel::Sender;

use super::shared::lock;
use crate::codec::{self, base64};
use crate::drive::runtime::{Handle, Task};
use crate::gossip::snapshot::Write;
use crate::gossip::{Keyring, MAX_KEYS};
use crate::net::dial::errno_text;
use crate::structs::{Error, Result};
use crate::telemetry::{Timed, metrics};

/// Most bytes of a snapshot that are read: many times what the largest pool writes.
const MAX_SNAPSHOT: u64 = 16 << 20;
/// Most bytes of a keyring's file: many times what the most keys take.
const MAX_KEYRING: u64 = 64 << 10;

/// What waits to be written.
#[derive(Default)]
struct Pending {
    /// All of the snapshot, before `lines`.
    whole: Option<String>,
    lines: String,
    keys: Option<Vec<Vec<u8>>>,
}

/// Hands what is to be written to the task that writes.
pub(super) struct Files {
    pending: Arc<Mutex<Pending>>,
    changed: Sender<()>,
    has_snapshot: bool,
    has_keyring: bool,
}

impl Files {
    /// Starts the task that writes; it ends with [`Files::end`].
    pub fn start(
        runtime: &Handle,
        snapshot: Option<PathBuf>,
        keyring: Option<PathBuf>,
        logger: &str,
    ) -> (Self, Task<()>) {
        let (changed, wait) = smol::channel::bounded(1);
        let files = Self {
            pending: Arc::default(),
            changed,
            has_snapshot: snapshot.is_some(),
            has_keyring: keyring.is_some(),
        };
        let writer = Arc::new(Mutex::new(Writer {
            pending: files.pending.clone(),
            snapshot: snapshot.map(SnapshotFile::new),
            keyring,
            logger: logger.to_owned(),
        }));
        let task = runtime.spawn(async move {
            loop {
                let more = wait.recv().await.is_ok();
                let writer = writer.clone();
                smol::unblock(move || lock(&writer).write()).await;
                if !more {
                    break;
                }
            }
        });
        (files, task)
    }

    /// Something for the snapshot.
    pub fn snapshot(&self, write: Write) {
        if !self.has_snapshot {
            return;
        }
        let mut pending = lock(&self.pending);
        match write {
            Write::Append(lines) => pending.lines.push_str(&lines),
            Write::Replace(whole) => {
                pending.lines.clear();
                pending.whole = Some(whole);
            }
        }
        // Full when the task has been told already.
        let _ = self.changed.try_send(());
    }

    /// Other keys.
    pub fn keyring(&self, keys: Vec<Vec<u8>>) {
        if self.has_keyring {
            lock(&self.pending).keys = Some(keys);
            let _ = self.changed.try_send(());
        }
    }

    /// Writes what waits, then ends.
    pub fn end(&self) {
        self.changed.close();
    }
}

struct Writer {
    pending: Arc<Mutex<Pending>>,
    snapshot: Option<SnapshotFile>,
    keyring: Option<PathBuf>,
    logger: String,
}

impl Writer {
    fn write(&mut self) {
        let Pending { whole, lines, keys } = std::mem::take(&mut *lock(&self.pending));
        if let Some(file) = &mut self.snapshot
            && (whole.is_some() || !lines.is_empty())
            && let Err(e) = file.write(whole.as_deref(), &lines)
        {
            let (path, why) = (file.path.display(), errno_text(&e));
            log::error!(target: &self.logger, "serf: Failed to update snapshot: write {path}: {why}");
            let mut pending = lock(&self.pending);
            // Not when meanwhile all of it was written anew.
            if pending.whole.is_none() {
                pending.whole = whole;
                pending.lines.insert_str(0, &lines);
            }
        }
        if let (Some(path), Some(keys)) = (&self.keyring, keys)
            && let Err(e) = write_keyring(path, keys.iter().map(Vec::as_slice))
        {
            log::error!(target: &self.logger, "serf: Failed to write keyring file: {e}");
        }
    }
}

/// The snapshot's file.
struct SnapshotFile {
    path: PathBuf,
    /// Open for appending, and how long it is.
    file: Option<(File, u64)>,
}

impl SnapshotFile {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Replaces the file if asked to, then appends.
    fn write(&mut self, whole: Option<&str>, lines: &str) -> io::Result<()> {
        let _timed = Timed::start(&metrics::SERF_SNAPSHOT_APPEND);
        if let Some(whole) = whole {
            self.file = None;
            let mut compact = self.path.clone().into_os_string();
            compact.push(".compact");
            let text = [whole, lines].concat();
            replace(&self.path, Path::new(&compact), text.as_bytes(), 0o644)?;
            return Ok(());
        }
        let (file, length) = match &mut self.file {
            Some(open) => open,
            none => {
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(&self.path)?;
                let length = file.metadata()?.len();
                none.insert((file, length))
            }
        };
        match file.write_all(lines.as_bytes()) {
            Ok(()) => {
                *length += lines.len() as u64;
                Ok(())
            }
            Err(e) => {
                // Half a line must not stay: what follows would become part of it. When that fails too, the
                // next attempt opens the file anew.
                let _ = file.set_len(*length);
                self.file = None;
                Err(e)
            }
        }
    }
}

/// Puts a file in another one's place.
fn replace(path: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(temporary)?;
    // One that was there already keeps its mode otherwise.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

/// Reads a text file of bounded length; nothing when there is none.
fn read_text(path: &Path, most: u64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads a snapshot, and makes its directory.
pub(super) fn read_snapshot(path: &Path) -> Result<String> {
    let fault = |what: &str, at: &Path, e: &io::Error| {
        let (at, why) = (at.display(), errno_text(e));
        Error::new(format!("Failed to setup snapshot: {what} {at}: {why}"))
    };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|e| fault("mkdir", dir, &e))?;
    }
    let text = read_text(path, MAX_SNAPSHOT).map_err(|e| fault("open", path, &e))?;
    Ok(text.unwrap_or_default())
}

/// Reads a keyring's file; nothing when there is none.
///
/// # Errors
/// In Consul's words, when it cannot be read or is no keyring.
pub fn read_keyring(path: &Path) -> Result<Option<Keyring>> {
    let fault = |e: &io::Error| {
        let (at, why) = (path.display(), errno_text(e));
        Error::new(format!("open {at}: {why}"))
    };
    let Some(text) = read_text(path, MAX_KEYRING).map_err(|e| fault(&e))? else {
        return Ok(None);
    };
    let mut keys = Vec::new();
    for key in keys_of(&text)? {
        keys.push(key);
        if keys.len() > MAX_KEYS {
            return Err(Error::new(format!("{}: too many keys", path.display())));
        }
    }
    if keys.is_empty() {
        return Err(Error::new("no keys present in keyring file"));
    }
    let ring = Keyring::from_keys(keys).map_err(|e| Error::new(e.to_string()))?;
    Ok(Some(ring))
}

fn keys_of(text: &str) -> Result<Vec<Vec<u8>>> {
    let listed: Vec<String> = miniserde::json::from_str(text)
        .map_err(|_| Error::new("the keyring file is no JSON list of keys"))?;
    let decode = |key: &String| {
        let fault =
            |e: codec::Error| Error::new(format!("a key of the keyring file is no base64: {e}"));
        base64::decode(key.as_bytes()).map_err(fault)
    };
    listed.iter().map(decode).collect()
}

/// Writes a keyring's file, readable by its owner only.
///
/// # Errors
/// When it cannot be written.
pub fn write_keyring<'a>(path: &Path, keys: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    let keys: Vec<String> = keys
        .map(|key| format!("  \"{}\"", base64::encode(key)))
        .collect();
    let text = format!("[\n{}\n]", keys.join(",\n"));
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".new");
    let write = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        replace(path, Path::new(&temporary), text.as_bytes(), 0o600)
    };
    let fault = |e: io::Error| Error::new(format!("open {}: {}", path.display(), errno_text(&e)));
    write().map_err(fault)
}
