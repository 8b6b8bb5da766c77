//! Recovery by hand: `peers.json` beside the log names the servers of a cluster that lost its quorum.
//!
//! Holds true: the file is taken only where a server has run before, never twice, and it stays when it cannot be
//! used. Everything in this server's log counts as committed then, which is what whoever writes the file accepts.
//! Source: `docs/reference/config.md` section 19.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::storage::reader_error;
use crate::codec::Deserialize;
use crate::net::dial::errno_text;
use crate::raft::{Configuration, LogReader, Server, SnapshotMeta, Suffrage};
use crate::store::{Fsm, LogStore};
use crate::structs::{Error, Result};
use crate::wire::{Value, json};

/// What an operator writes.
const PEERS_JSON: &str = "peers.json";
/// Says that a server has run here, and how to write the other file.
const PEERS_INFO: &str = "peers.info";
/// Bytes of `peers.json` at most.
const MAX_FILE: u64 = 1 << 20;
/// Bytes of log entries applied at once.
const BATCH: usize = 4 << 20;

const INFO: &str = r#"This directory holds the Raft log and the state of a server. As long as this file is here a file peers.json
beside it is read at the next start: it replaces the servers that the log names. That is the way out when so
many servers are lost that the others have no majority any more.

1. Stop all servers that are left.
2. Write the same peers.json into this directory of each of them. It lists the servers that are left, and no
   others, with their node ids (in the file node-id of the data directory) and RPC addresses:

   [
     {"id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "address": "10.1.0.1:8300", "non_voter": false},
     {"id": "8b6dda82-3103-11e7-93ae-92361f002671", "address": "10.1.0.2:8300", "non_voter": false}
   ]

3. Start them again. The file is deleted once it was used.

Writes that were not acknowledged before may then turn out to have happened, and those that only a lost server
had are gone. Without this file, as at the very first start, peers.json is deleted without being read.
"#;

/// One server of the file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigEntry {
    id: String,
    address: String,
    non_voter: bool,
}

/// Takes `peers.json` in `dir` into account, if there is one: the log then begins anew with its servers.
///
/// # Errors
/// In Consul's words when the file cannot be used; it stays then, and nothing is changed.
pub(super) fn recover(dir: &Path, log: &mut LogStore, fsm: &mut Fsm) -> Result<()> {
    let (file, info) = (dir.join(PEERS_JSON), dir.join(PEERS_INFO));
    if !info.exists() {
        fs::write(&info, INFO).map_err(|e| io_error(&info, &e))?;
        if fs::exists(&file).unwrap_or(false) {
            fs::remove_file(&file).map_err(|e| io_error(&file, &e))?;
            log::info!(target: "agent.server", "deleted peers.json file (see peers.info for details)");
        }
        return Ok(());
    }
    let text = match read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|e| failed(format!("{}: {}", file.display(), errno_text(&e))))?,
    };
    log::info!(target: "agent.server", "found peers.json file, recovering Raft configuration...");
    let configuration = parse(&text).map_err(failed)?;
    replace(log, fsm, configuration)?;
    fs::remove_file(&file).map_err(|e| io_error(&file, &e))?;
    log::info!(target: "agent.server", "deleted peers.json file after successful recovery");
    Ok(())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(file)?.len();
    if size > MAX_FILE {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    fs::read(file)
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::new(format!(
        "Failed to start Raft: recovery failed to parse peers.json: {why}"
    ))
}

fn io_error(path: &Path, error: &io::Error) -> Error {
    Error::new(format!(
        "Failed to start Raft: {}: {}",
        path.display(),
        errno_text(error)
    ))
}

fn parse(text: &[u8]) -> std::result::Result<Configuration, String> {
    let value = json::decode_whole(text).map_err(|e| e.to_string())?;
    // One by one, so that errors name the type as Go does.
    let entries = match &value {
        Value::Array(items) => items
            .iter()
            .map(|item| json::from_value::<ConfigEntry>(item, false, "raft.configEntry"))
            .collect::<std::result::Result<Vec<_>, _>>(),
        other => json::from_value(other, false, "[]raft.configEntry"),
    };
    let entries = entries.map_err(|e| e.to_string())?;
    let servers = entries.into_iter().map(|entry| Server {
        suffrage: match entry.non_voter {
            true => Suffrage::Nonvoter,
            false => Suffrage::Voter,
        },
        id: entry.id.to_lowercase(),
        address: entry.address,
    });
    let configuration = Configuration {
        servers: servers.collect(),
    };
    if configuration.voters().next().is_none() {
        let list = show(&configuration);
        return Err(format!("Need at least one voter in configuration: {list}"));
    }
    configuration.validate().map_err(|e| e.to_string())?;
    Ok(configuration)
}

/// A configuration in Go's way of showing it.
fn show(configuration: &Configuration) -> String {
    let servers = configuration.servers.iter();
    let servers = servers.map(|s| format!("{{{:?} {} {}}}", s.suffrage, s.id, s.address));
    format!("{{[{}]}}", servers.collect::<Vec<_>>().join(" "))
}

/// Applies the whole log and lets it begin anew after that.
fn replace(log: &mut LogStore, fsm: &mut Fsm, configuration: Configuration) -> Result<()> {
    let last = log.last_index().max(log.snapshot_meta().index);
    if last == 0 {
        return Err(Error::new(
            "Failed to start Raft: recovery failed: refused to recover cluster with no initial state, this is \
             probably an operator error",
        ));
    }
    let reader = log.reader()?;
    while fsm.applied_index() < last {
        let from = fsm.applied_index() + 1;
        let entries = reader.entries(from, last, BATCH).map_err(reader_error)?;
        if entries.is_empty() {
            return Err(Error::new(format!(
                "Failed to start Raft: recovery failed: the log has no entry {from}"
            )));
        }
        fsm.apply(Duration::ZERO, &entries)?;
    }
    fsm.make_durable()?;
    let term = match reader.term(last).map_err(reader_error)? {
        Some(term) => term,
        None => log.snapshot_meta().term,
    };
    log.install(&SnapshotMeta {
        index: last,
        term,
        configuration,
        configuration_index: last,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_in_gos_words() {
        let good = br#"[{"id":"A","address":"10.1.0.1:8300"},{"id":"b","address":"10.1.0.2:8300","non_voter":true}]"#;
        let configuration = parse(good).unwrap();
        assert_eq!(configuration.voters().collect::<Vec<_>>(), ["a"]);
        for (text, why) in [
            (
                "bad",
                "invalid character 'b' looking for beginning of value",
            ),
            ("", "unexpected end of JSON input"),
            ("[]", "Need at least one voter in configuration: {[]}"),
            (
                r#"["10.1.0.1:8300"]"#,
                "json: cannot unmarshal string into Go value of type raft.configEntry",
            ),
            (
                r#"[{"id":"a","address":"x:1"},{"id":"a","address":"y:1"}]"#,
                "invalid configuration: found duplicate ID a",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), why, "{text}");
        }
    }
}
