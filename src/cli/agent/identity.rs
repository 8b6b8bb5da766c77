//! The node's ID: configured, remembered, derived from the host, or made.
//!
//! Source: `docs/reference/http-2.md` section 9.3, `docs/reference/config.md` section 17.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha512};

use crate::config::Config;
use crate::net::dial::errno_text;
use crate::structs::go::{check_uuid, format_uuid, new_uuid};

/// Name of the file in the data directory.
const FILE: &str = "node-id";
/// Where Linux keeps the host's UUID.
const HOST_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// The ID of the node that `config` describes; remembers a new one in the data directory.
///
/// # Errors
/// When the configured or remembered ID is no UUID, or the data directory cannot be used.
pub fn node_id(config: &Config) -> Result<String, String> {
    let failed = |why: String| format!("failed to setup node ID: {why}");
    if !config.node_id.is_empty() {
        let id = config.node_id.to_lowercase();
        check_uuid(&id).map_err(|why| failed(format!("specified NodeID is invalid: {why}")))?;
        if !config.data_dir.is_empty() && !config.dev_mode {
            make_dir(Path::new(&config.data_dir)).map_err(failed)?;
        }
        return Ok(id);
    }
    if config.dev_mode {
        return Ok(new_uuid());
    }
    let dir = Path::new(&config.data_dir);
    make_dir(dir).map_err(failed)?;
    let file = dir.join(FILE);
    if let Ok(text) = fs::read_to_string(&file) {
        let id = text.trim().to_lowercase();
        check_uuid(&id).map_err(|why| failed(format!("{}: {why}", file.display())))?;
        return Ok(id);
    }
    let id = if config.disable_host_node_id {
        None
    } else {
        host_id()
    };
    let id = id.unwrap_or_else(new_uuid);
    write(&file, &id)
        .map_err(|e| failed(format!("open {}: {}", file.display(), errno_text(&e))))?;
    Ok(id)
}

fn make_dir(dir: &Path) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|e| format!("mkdir {}: {}", dir.display(), errno_text(&e)))
}

fn write(file: &Path, id: &str) -> std::io::Result<()> {
    let temporary = file.with_extension("tmp");
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    out.write_all(id.as_bytes())?;
    out.set_permissions(fs::Permissions::from_mode(0o600))?;
    out.sync_all()?;
    fs::rename(&temporary, file)
}

/// The host's own UUID, hashed so that it does not leave the machine.
fn host_id() -> Option<String> {
    let host = fs::read_to_string(HOST_UUID).ok()?.trim().to_lowercase();
    check_uuid(&host).ok()?;
    let hash = Sha512::digest(host.as_bytes());
    let first: [u8; 16] = hash.get(..16)?.try_into().ok()?;
    Some(format_uuid(&first))
}
