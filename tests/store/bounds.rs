//! Files stay small: bounds after a burst, nothing written when idle, write-ahead logs that start over.

use std::path::Path;
use std::time::Duration;

use consul_lite::raft::{SnapshotMeta, Write};
use consul_lite::store::{Options, RAFT_DB, STATE_DB, WatchSet};

use crate::commands::{entry, kvs};
use crate::disk::{Disk, VFS};
use crate::script::Open;
use crate::support::Dir;

const BURST: u64 = 100_000;
const BATCH: u64 = 64;
/// An entry of this history in the log's file: 200 bytes of payload and what SQLite needs to find it.
const ENTRY: u64 = 300;
/// The state that the burst leaves: 1,000 keys of 100 bytes.
const STATE_BOUND: u64 = 512 << 10;
/// A write-ahead log during the burst: 4 MiB until it is carried over, and one transaction.
const WAL_BOUND: u64 = 6 << 20;

fn length(dir: &Path, name: &str) -> u64 {
    std::fs::metadata(dir.join(name)).map_or(0, |m| m.len())
}

fn wal(name: &str) -> String {
    format!("{name}-wal")
}

fn open(dir: &Path, vfs: Option<&str>) -> Open {
    let options = Options {
        durable: vfs.is_some(),
        vfs: vfs.map(str::to_owned),
        ..Options::default()
    };
    let (log, fsm, state) = consul_lite::store::open(dir, options).unwrap();
    Open { log, fsm, state }
}

/// Writes and applies as the server does, cutting the log when that is due.
fn burst(o: &mut Open, dir: &Path, from: u64, to: u64) -> u64 {
    let mut longest = 0;
    let mut next = from;
    while next <= to {
        let batch: Vec<_> = (next..=to.min(next + BATCH - 1))
            .map(|i| {
                let key = format!("burst/{}", i % 1000);
                entry(i, 1, kvs("set", &key, &[i as u8; 100]).bytes())
            })
            .collect();
        next += BATCH;
        let write = Write {
            entries: batch.clone(),
            ..Write::default()
        };
        o.log.write(&[write]).unwrap();
        o.fsm.apply(Duration::ZERO, &batch).unwrap();
        cut_if_due(o);
        for name in [RAFT_DB, STATE_DB] {
            longest = longest.max(length(dir, &wal(name)));
        }
    }
    longest
}

fn cut_if_due(o: &mut Open) {
    let Some(keep_from) = o.log.compaction_due(o.fsm.applied_index()) else {
        return;
    };
    let index = o.fsm.make_durable().unwrap();
    o.fsm.shrink().unwrap();
    let meta = SnapshotMeta {
        index,
        term: 1,
        ..SnapshotMeta::default()
    };
    o.log.compact(&meta, keep_from).unwrap();
    o.log.shrink().unwrap();
}

#[test]
fn files_are_small_again_after_a_burst_of_100_000_entries() {
    let dir = Dir::new();
    let mut o = open(dir.path(), None);
    let longest = burst(&mut o, dir.path(), 1, BURST);
    assert!(longest < WAL_BOUND, "a write-ahead log of {longest} bytes");
    o.fsm.make_durable().unwrap();
    o.fsm.shrink().unwrap();
    o.log.shrink().unwrap();
    let held = o.log.last_index() + 1 - o.log.first_index();
    println!(
        "after {BURST} entries: {held} in the log, {RAFT_DB} {}, {STATE_DB} {}, longest write-ahead log {longest}",
        length(dir.path(), RAFT_DB),
        length(dir.path(), STATE_DB)
    );
    // Cutting becomes due beyond 16,384 more than the 10,240 that stay.
    assert!(held <= 16_384 + 10_240 + BATCH);
    assert!(length(dir.path(), RAFT_DB) < held * ENTRY);
    assert!(length(dir.path(), STATE_DB) < STATE_BOUND);
    for name in [RAFT_DB, STATE_DB] {
        assert_eq!(length(dir.path(), &wal(name)), 0, "{name}");
    }
}

#[test]
fn what_is_deleted_goes_back_to_the_file_system() {
    let dir = Dir::new();
    let mut o = open(dir.path(), None);
    let mut index = 0;
    let mut apply = |o: &mut Open, command: crate::commands::Command| {
        index += 1;
        let e = command.entry(index, 1);
        o.fsm.apply(Duration::ZERO, &[e]).unwrap();
    };
    for n in 0..400 {
        apply(
            &mut o,
            kvs("set", &format!("big/{n}"), &vec![n as u8; 32 << 10]),
        );
    }
    o.fsm.shrink().unwrap();
    let full = length(dir.path(), STATE_DB);
    apply(&mut o, kvs("delete-tree", "big/", b""));
    o.fsm.shrink().unwrap();
    let empty = length(dir.path(), STATE_DB);
    println!("{STATE_DB}: {full} bytes with 400 values of 32 KiB, {empty} without");
    assert!(full > 12 << 20 && empty < 256 << 10);
    assert_eq!(length(dir.path(), &wal(STATE_DB)), 0);
}

/// Reading, shrinking and syncing when there is nothing new write nothing at all.
#[test]
fn an_idle_store_writes_nothing() {
    let disk = Disk::new();
    let mut o = open(disk.path(), Some(VFS));
    burst(&mut o, disk.path(), 1, 500);
    o.fsm.make_durable().unwrap();
    o.fsm.shrink().unwrap();
    o.log.shrink().unwrap();
    let (written, operations, syncs) = (disk.written(), disk.operations(), disk.syncs());
    for _ in 0..100 {
        let read = o.state.read().unwrap();
        read.kvs_list(&mut WatchSet::new(), "").unwrap();
        drop(read);
        o.fsm.make_durable().unwrap();
        o.fsm.shrink().unwrap();
        o.log.shrink().unwrap();
        assert_eq!(o.log.compaction_due(o.fsm.applied_index()), None);
    }
    assert_eq!(
        (disk.written(), disk.operations(), disk.syncs()),
        (written, operations, syncs)
    );
}

/// A reader that lasts keeps the write-ahead log from being cut, and no writer waits for it.
#[test]
fn a_lasting_reader_delays_shrinking_only() {
    let dir = Dir::new();
    let mut o = open(dir.path(), None);
    burst(&mut o, dir.path(), 1, 500);
    let reader = o.state.read().unwrap();
    reader.kvs_get(&mut WatchSet::new(), "burst/1").unwrap();
    burst(&mut o, dir.path(), 501, 600);
    // One of some times, for disks that are busy just then.
    let at_once = (0..5).any(|_| {
        let start = std::time::Instant::now();
        o.fsm.shrink().unwrap();
        start.elapsed() < Duration::from_secs(2)
    });
    assert!(at_once);
    assert!(length(dir.path(), &wal(STATE_DB)) > 0);
    burst(&mut o, dir.path(), 601, 700);
    drop(reader);
    o.fsm.shrink().unwrap();
    assert_eq!(length(dir.path(), &wal(STATE_DB)), 0);
}

/// A view shows its moment while much is written, until the write-ahead log has grown for its sake.
#[test]
fn a_view_that_lasts_is_ended_when_the_write_ahead_log_grows() {
    let dir = Dir::new();
    let mut o = open(dir.path(), None);
    let mut index = 0;
    let mut write = |o: &mut Open, now: u64, value: u8| {
        let batch: Vec<_> = (0..BATCH)
            .map(|n| {
                index += 1;
                let key = format!("view/{n:03}");
                entry(index, 1, kvs("set", &key, &[value; 2000]).bytes())
            })
            .collect();
        o.fsm.apply(Duration::from_secs(now), &batch).unwrap();
    };
    write(&mut o, 0, b'a');
    let view = o.state.view(Duration::ZERO).unwrap();
    let (first_index, page) = view.kvs_list("view/", 10_000).unwrap();
    assert_eq!(first_index, BATCH);
    let mut after = page.after.unwrap();
    assert_eq!(after, page.found.last().unwrap().key);
    // As long as it is young, whatever is written.
    for n in 0..200 {
        write(&mut o, 5, b'b' + n % 8);
        if n % 100 == 0 {
            let page = view.kvs_list_on("view/", &after, 10_000).unwrap();
            assert!(page.found.iter().all(|e| e.value.0 == [b'a'; 2000]));
            after = page.after.unwrap();
        }
    }
    let grown = length(dir.path(), &wal(STATE_DB));
    assert!(grown > 4 * WAL_BOUND, "{grown}");
    write(&mut o, 11, b'z');
    let error = view.kvs_list_on("view/", &after, 10_000).unwrap_err();
    assert!(error.to_string().contains("too slowly"), "{error}");
    drop(view);
    o.fsm.shrink().unwrap();
    assert_eq!(length(dir.path(), &wal(STATE_DB)), 0);
    // The next one is as good as the first.
    let view = o.state.view(Duration::from_secs(12)).unwrap();
    let (_, page) = view.kvs_list("view/", usize::MAX).unwrap();
    assert_eq!((page.found.len() as u64, page.after), (BATCH, None));
}
