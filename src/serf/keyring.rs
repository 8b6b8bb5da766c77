//! The keys of the pools: from the configuration at the first start, from their files ever after.
//!
//! Holds true: what a rotation has written is not undone by an old `encrypt` in the configuration.
//! Source: `docs/reference/gossip.md` section 9, `docs/reference/config.md` section 17.

use std::path::PathBuf;

use super::{Area, settings};
use crate::codec::base64;
use crate::config::Config;
use crate::drive::gossip::{read_keyring, write_keyring};
use crate::gossip::Keyring;
use crate::structs::{Error, Result};

/// The file of a pool's keys; none when they are only kept in memory.
pub fn file(config: &Config, area: Area) -> Option<PathBuf> {
    if config.disable_keyring_file {
        return None;
    }
    let name = match area {
        Area::Lan => "local.keyring",
        Area::Wan => "remote.keyring",
    };
    Some(settings::directory(config)?.join(name))
}

/// Whether messages will be encrypted: a key is given, or was once.
pub fn is_encrypted(config: &Config) -> bool {
    !config.encrypt.is_empty() || file(config, Area::Lan).is_some_and(|path| path.exists())
}

/// How the text about keys that are none begins.
pub const FAILED: &str = "Failed to configure keyring";

/// The keys of a pool; nothing when its messages are not encrypted.
///
/// # Errors
/// In Consul's words.
pub fn set_up(config: &Config, area: Area) -> Result<Option<Keyring>> {
    let fault = |why: Error| Error::new(format!("{FAILED}: {why}"));
    let given = match config.encrypt.as_str() {
        "" => None,
        key => {
            let key = base64::decode(key.as_bytes());
            let key = key.map_err(|e| fault(Error::new(format!("Invalid key: {e}"))))?;
            let ring = Keyring::new(&key);
            Some(ring.map_err(|e| fault(Error::new(format!("Invalid key: {e}"))))?)
        }
    };
    let Some(path) = file(config, area) else {
        return Ok(given);
    };
    match (read_keyring(&path).map_err(fault)?, given) {
        (Some(ring), Some(given)) => {
            let wanted = given.primary().bytes();
            if !ring.keys().any(|key| key == wanted) {
                log::warn!(target: "agent", keyring = area.word();
                    " keyring doesn't include key provided with -encrypt, using keyring");
            }
            Ok(Some(ring))
        }
        (Some(ring), None) => Ok(Some(ring)),
        (None, Some(given)) => {
            write_keyring(&path, given.keys()).map_err(fault)?;
            Ok(Some(given))
        }
        (None, None) => Ok(None),
    }
}
