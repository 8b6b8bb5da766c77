//! Damaged, foreign, missing and mismatched files: an error that names the file and the way out, or a state
//! that is rebuilt from the log where that still has everything.

use std::path::Path;
use std::time::Duration;

use consul_lite::raft::{Entry, LogReader as _, SnapshotMeta, Write};
use consul_lite::store::{self, Options, RAFT_DB, STATE_DB, StoreError, WatchSet};

use crate::commands::kvs;
use crate::script::Open;
use crate::support::Dir;

fn open(dir: &Path) -> Result<Open, StoreError> {
    let (log, fsm, state) = store::open(dir, Options::default())?;
    Ok(Open { log, fsm, state })
}

/// A store that was closed in order, with 200 keys; the log cut if so wanted.
fn filled(cut: bool) -> Dir {
    let dir = Dir::new();
    let mut o = open(dir.path()).unwrap();
    let entries: Vec<Entry> = (1..=200)
        .map(|i| kvs("set", &format!("k/{i}"), &[7; 300]).entry(i, 1))
        .collect();
    let write = Write {
        entries: entries.clone(),
        ..Write::default()
    };
    o.log.write(&[write]).unwrap();
    o.fsm.apply(Duration::ZERO, &entries).unwrap();
    o.fsm.make_durable().unwrap();
    if cut {
        let meta = SnapshotMeta {
            index: 200,
            term: 1,
            ..SnapshotMeta::default()
        };
        o.log.compact(&meta, 150).unwrap();
    }
    dir
}

/// Overwrites the middle of a file, or its head.
fn damage(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at.min(bytes.len() - 1);
    let end = bytes.len().min(at + 20_000);
    bytes[at..end].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
}

fn refused(dir: &Path, name: &str) -> String {
    let error = match open(dir) {
        Err(e) => e,
        Ok(_) => panic!("{name} damaged, and it opens"),
    };
    let text = error.to_string();
    assert!(!error.is_transient(), "{error:?}");
    let path = dir.join(name).display().to_string();
    assert!(text.contains(&path), "{text}");
    text
}

fn unchanged(path: &Path, before: &[u8]) {
    let after = std::fs::read(path).unwrap();
    let differs = before.iter().zip(&after).position(|(a, b)| a != b);
    let lengths = (before.len(), after.len());
    assert!(
        differs.is_none() && lengths.0 == lengths.1,
        "{} was changed: {differs:?} {lengths:?}",
        path.display()
    );
}

#[test]
fn a_damaged_log_is_refused_with_the_way_out() {
    for at in [0, 5000] {
        let dir = filled(false);
        damage(&dir.path().join(RAFT_DB), at);
        let before = std::fs::read(dir.path().join(RAFT_DB)).unwrap();
        let text = refused(dir.path(), RAFT_DB);
        assert!(text.contains("restore a snapshot"), "{text}");
        unchanged(&dir.path().join(RAFT_DB), &before);
    }
}

#[test]
fn a_damaged_state_is_refused_with_the_way_out_when_the_log_was_cut() {
    for at in [0, 5000] {
        let dir = filled(true);
        damage(&dir.path().join(STATE_DB), at);
        let before = std::fs::read(dir.path().join(STATE_DB)).unwrap();
        let text = refused(dir.path(), STATE_DB);
        assert!(text.contains("restore a snapshot"), "{text}");
        unchanged(&dir.path().join(STATE_DB), &before);
    }
}

#[test]
fn a_damaged_or_missing_state_is_rebuilt_from_a_whole_log() {
    for at in [Some(0), Some(5000), None] {
        let dir = filled(false);
        let path = dir.path().join(STATE_DB);
        match at {
            Some(at) => damage(&path, at),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let mut o = open(dir.path()).unwrap();
        assert_eq!(o.fsm.applied_index(), 0);
        let entries = o.log.reader().unwrap().entries(1, 200, usize::MAX).unwrap();
        o.fsm.apply(Duration::ZERO, &entries).unwrap();
        let read = o.state.read().unwrap();
        let (index, found) = read.kvs_list(&mut WatchSet::new(), "k/").unwrap();
        assert_eq!((index, found.len()), (200, 200));
        let kept = dir.path().join("state.db.damaged").is_file();
        assert_eq!(kept, at.is_some());
    }
}

#[test]
fn a_missing_state_whose_log_was_cut_is_refused_with_the_way_out() {
    let dir = filled(true);
    std::fs::remove_file(dir.path().join(STATE_DB)).unwrap();
    let text = refused(dir.path(), STATE_DB);
    assert!(text.contains(RAFT_DB) && text.contains("restore"), "{text}");
}

#[test]
fn a_state_of_another_life_is_refused() {
    let (dir, other) = (filled(false), Dir::new());
    drop(open(other.path()).unwrap());
    std::fs::copy(other.path().join(RAFT_DB), dir.path().join(RAFT_DB)).unwrap();
    let text = refused(dir.path(), STATE_DB);
    assert!(text.contains("is at index 200"), "{text}");
}

#[test]
fn foreign_and_newer_files_are_left_alone() {
    let dir = filled(false);
    let path = dir.path().join(STATE_DB);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let text = refused(dir.path(), STATE_DB);
    assert!(text.contains("layout 99"), "{text}");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "application_id", 1).unwrap();
    drop(conn);
    let text = refused(dir.path(), STATE_DB);
    assert!(text.contains("not a consul-lite database"), "{text}");
}

#[test]
fn a_directory_has_one_user() {
    let dir = filled(false);
    let first = open(dir.path()).unwrap();
    let text = match open(dir.path()) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("opened twice"),
    };
    assert!(text.contains("in use by another process"), "{text}");
    drop(first);
    open(dir.path()).unwrap();
}
