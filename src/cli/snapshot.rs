//! `snapshot`: the whole state of the servers as a file, and back.
//!
//! Holds true: a file is in its place only once it is whole, verified and on disk, and only its owner can read it.
//! Source: `docs/reference/cli.md` section 12.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hyper::{Method, StatusCode};

use super::client::Client;
use super::columns::spaced;
use super::command::{Command, Invocation, OK, say, server_flags};
use super::{group, simple};
use crate::config::flags::FlagSet;
use crate::net::dial::errno_text;
use crate::net::http_stream::Upload;
use crate::store::snapshot::archive::{self, ArchiveMeta};

const PATH: &str = "/v1/snapshot";
/// Bytes of an error text at most.
const MAX_ERROR: usize = 64 * 1024;

pub const COMMAND: Command = group(
    "snapshot",
    "Saves, restores and inspects the state of the servers",
    "Usage: consul snapshot <subcommand> [options] [args]

  Saves the state of the servers to a file, restores it from there, and shows what a file holds:

      $ consul snapshot save backup.snap
      $ consul snapshot inspect backup.snap
      $ consul snapshot restore backup.snap",
    &[
        simple(
            "inspect",
            "Shows what a snapshot file holds",
            "Usage: consul snapshot inspect [options] FILE

  Verifies a snapshot file and shows what it holds. No agent is asked.",
            FlagSet::new,
            inspect,
        ),
        simple(
            "restore",
            "Restores the state of the servers",
            "Usage: consul snapshot restore [options] FILE

  Replaces the whole state of the servers by that of a snapshot file: for disasters.",
            server_flags,
            restore,
        ),
        simple(
            "save",
            "Saves the state of the servers",
            "Usage: consul snapshot save [options] FILE

  Saves the whole state of the servers to a file, and verifies it.",
            server_flags,
            save,
        ),
    ],
);

/// The one argument.
fn file(call: &Invocation) -> Result<String, u8> {
    let args = call.args.args();
    match args.as_slice() {
        [] => Err(call.fail("Missing FILE argument")),
        [file] => Ok(file.clone()),
        more => {
            let n = more.len();
            Err(call.fail(format!("Too many arguments (expected 1, got {n})")))
        }
    }
}

fn open(path: &str) -> Result<File, String> {
    File::open(path).map_err(|e| {
        format!(
            "Error opening snapshot file: open {path}: {}",
            errno_text(&e)
        )
    })
}

fn verified(file: File) -> Result<ArchiveMeta, String> {
    archive::open(file, &std::env::temp_dir())
        .map(|archive| archive.meta)
        .map_err(|e| e.to_string())
}

fn inspect(call: &Invocation) -> u8 {
    let path = match file(call) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let meta = match open(&path) {
        Ok(file) if file.metadata().is_ok_and(|m| m.is_dir()) => Err(format!(
            "failed to decompress snapshot: read {path}: is a directory"
        )),
        Ok(file) => verified(file),
        Err(why) => return call.fail(why),
    };
    let meta = match meta {
        Ok(meta) => meta,
        Err(why) => return call.fail(format!("Error verifying snapshot: {why}")),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("ID", meta.id.clone()),
        row("Size", meta.size.to_string()),
        row("Index", meta.index.to_string()),
        row("Term", meta.term.to_string()),
        row("Version", meta.version.to_string()),
    ];
    spaced(&rows, "      ").iter().for_each(say);
    say("");
    OK
}

fn restore(call: &Invocation) -> u8 {
    let path = match file(call) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let file = match open(&path) {
        Ok(file) => file,
        Err(why) => return call.fail(why),
    };
    let size = match file.metadata() {
        Ok(meta) => meta.len(),
        Err(e) => return call.fail(format!("Error opening snapshot file: {}", errno_text(&e))),
    };
    let is_dir = file.metadata().is_ok_and(|m| m.is_dir());
    match crate::net::block_on(send(&client, file, size)) {
        Ok(()) => {
            say("Restored snapshot");
            OK
        }
        Err(why) if is_dir => {
            // The body's error does not know what it was read from.
            let why = why.replace(": is a dir", &format!(": read {path}: is a dir"));
            call.fail(format!("Error restoring snapshot: {why}"))
        }
        Err(why) => call.fail(format!("Error restoring snapshot: {why}")),
    }
}

async fn send(client: &Client, file: File, size: u64) -> Result<(), String> {
    let mut answer = client
        .open(Method::PUT, PATH, &[], Upload::File(file, size))
        .await?;
    let body = answer.whole(MAX_ERROR).await.map_err(|e| e.to_string())?;
    match answer.head.status {
        StatusCode::OK => Ok(()),
        status => Err(format!(
            "Unexpected response code: {} ({})",
            status.as_u16(),
            String::from_utf8_lossy(&body)
        )),
    }
}

fn save(call: &Invocation) -> u8 {
    let path = match file(call) {
        Ok(path) => path,
        Err(code) => return code,
    };
    let client = match call.client() {
        Ok(client) => client,
        Err(code) => return code,
    };
    let unverified = format!("{path}.unverified.tmp{}", fastrand::u32(..));
    let result = crate::net::block_on(fetch(&client, &unverified)).and_then(|()| {
        let meta = open(&unverified)
            .and_then(verified)
            .map_err(|why| format!("Error verifying snapshot file: {why}"))?;
        fs::rename(&unverified, &path).map_err(|e| {
            format!(
                "Error renaming \"{unverified}\" to \"{path}\": {}",
                errno_text(&e)
            )
        })?;
        settle(Path::new(&path))
            .map_err(|e| format!("Error syncing {path}: {}", errno_text(&e)))?;
        Ok(meta)
    });
    match result {
        Ok(meta) => {
            say(format!(
                "Saved and verified snapshot to index {}",
                meta.index
            ));
            OK
        }
        Err(why) => {
            // What was not verified is of no use to anybody.
            let _ = fs::remove_file(&unverified);
            call.fail(why)
        }
    }
}

/// Makes a rename survive a pulled plug.
fn settle(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

async fn fetch(client: &Client, path: &str) -> Result<(), String> {
    let failed = |why: String| format!("Error saving snapshot: {why}");
    let mut answer = client
        .open(Method::GET, PATH, &[], Upload::Bytes(None))
        .await
        .map_err(failed)?;
    if answer.head.status != StatusCode::OK {
        let body = answer.whole(MAX_ERROR).await.unwrap_or_default();
        return Err(failed(format!(
            "Unexpected response code: {} ({})",
            answer.head.status.as_u16(),
            String::from_utf8_lossy(&body)
        )));
    }
    let disk = |e: std::io::Error| {
        format!(
            "Error writing unverified snapshot file: open {path}: {}",
            errno_text(&e)
        )
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(disk)?;
    while let Some(chunk) = answer.chunk().await.map_err(|e| failed(e.to_string()))? {
        file.write_all(&chunk).map_err(disk)?;
    }
    file.sync_all().map_err(disk)
}
