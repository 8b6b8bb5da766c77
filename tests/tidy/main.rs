//! Guards what a compiler does not: the arrows between rooms, file length, head comments, and that pure
//! rooms stay pure. The rules are those of `docs/design/house.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No source file is longer.
const MAX_LINES: usize = 800;
/// Half of the source files are at most this long.
const MEDIAN_LINES: usize = 350;

/// Rooms with their rank: a room may know rooms of lower rank only.
const RANKS: &[(&str, u32)] = &[
    ("codec", 1),
    ("atomic", 0),
    ("heap", 0),
    ("sorted", 0),
    ("structs", 2),
    ("wire", 3),
    ("telemetry", 3),
    ("ui", 3),
    ("acl", 4),
    ("config", 4),
    ("filter", 4),
    ("raft", 4),
    ("gossip", 4),
    ("store", 5),
    ("net", 5),
    ("drive", 6),
    ("serf", 7),
    ("server", 8),
    ("client", 8),
    ("agent", 9),
    ("http", 10),
    ("dns", 10),
    ("cli", 11),
];

/// Rooms that a room of higher rank must not know all the same.
const FORBIDDEN: &[(&str, &str)] = &[
    ("http", "store"),
    ("http", "raft"),
    ("http", "gossip"),
    ("dns", "store"),
    ("dns", "raft"),
    ("dns", "gossip"),
    ("agent", "store"),
    ("client", "store"),
    ("client", "raft"),
    ("client", "server"),
    ("server", "client"),
];

/// What a room must not contain, as text of its code.
const IMPURE: &[(&[&str], &[&str])] = &[
    (
        &[
            "codec", "structs", "wire", "acl", "filter", "raft", "gossip",
        ],
        &[
            "smol::",
            "rusqlite",
            "Instant::now",
            "SystemTime::now",
            "std::net::Tcp",
            "std::net::Udp",
            "std::fs::read",
        ],
    ),
    (
        &["store"],
        &["smol::", "hyper", "Instant::now", "SystemTime::now"],
    ),
    (
        &[
            "http", "dns", "server", "client", "agent", "net", "drive", "cli", "config",
        ],
        &["rusqlite"],
    ),
];

struct Source {
    room: String,
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let inner = path.strip_prefix(&src).unwrap();
                let first = inner.iter().next().unwrap().to_string_lossy().into_owned();
                let room = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { room, path, text });
            }
        }
    }
    assert!(
        found.len() > 50,
        "the sources were not found: {}",
        found.len()
    );
    found
}

/// The code without comments and without its unit tests.
fn code(text: &str) -> String {
    let body = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that a file names in its paths.
fn known_rooms(text: &str) -> Vec<String> {
    let code = code(text);
    let mut rooms = Vec::new();
    for part in code.split("crate::").skip(1) {
        let names = match part.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or("").split(',').collect(),
            None => vec![part],
        };
        for name in names {
            let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let name = name.trim().split(end).next().unwrap_or("");
            rooms.push(name.to_owned());
        }
    }
    rooms
}

#[test]
fn arrows_point_left() {
    let ranks: BTreeMap<&str, u32> = RANKS.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        if matches!(source.room.as_str(), "lib" | "main") {
            continue;
        }
        let Some(own) = ranks.get(source.room.as_str()) else {
            wrong.push(format!(
                "{}: room {} has no rank",
                source.path.display(),
                source.room
            ));
            continue;
        };
        for room in known_rooms(&source.text) {
            let Some(rank) = ranks.get(room.as_str()) else {
                continue;
            };
            let forbidden = FORBIDDEN.contains(&(source.room.as_str(), room.as_str()));
            if room != source.room && (rank >= own || forbidden) {
                wrong.push(format!("{} knows {room}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point right:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn rooms_keep_out_what_is_not_theirs() {
    let mut wrong = Vec::new();
    for source in sources() {
        let code = code(&source.text);
        for (rooms, words) in IMPURE {
            if !rooms.contains(&source.room.as_str()) {
                continue;
            }
            for word in words.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{} contains {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A counter that 32-bit MIPS does not have is `crate::atomic`'s: the compiler says so only there.
#[test]
fn wide_counters_are_of_one_room() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.room != "atomic" && takes_wide_counter(&source.text))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "64-bit atomics of std: {wrong:?}");
    for text in [
        "use std::sync::atomic::AtomicU64;",
        "use std::sync::atomic::{\n    AtomicBool, AtomicI64,\n};",
        "static N: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);",
    ] {
        assert!(takes_wide_counter(text), "{text}");
    }
    let right = "use std::sync::atomic::AtomicBool;\nuse crate::atomic::AtomicU64;";
    assert!(!takes_wide_counter(right));
}

fn takes_wide_counter(text: &str) -> bool {
    code(text).split("sync::atomic::").skip(1).any(|part| {
        let path = part.split(';').next().unwrap_or(part);
        path.contains("AtomicU64") || path.contains("AtomicI64")
    })
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut lengths = Vec::new();
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        lengths.push(lines);
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines", source.path.display()));
        }
        if !source.text.starts_with("//!") {
            wrong.push(format!("{} has no head comment", source.path.display()));
        }
    }
    lengths.sort_unstable();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let median = lengths[lengths.len() / 2];
    assert!(
        median <= MEDIAN_LINES,
        "half of the files have more than {median} lines"
    );
}

#[test]
fn nothing_is_left_undone() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        "todo!(",
        "unimplemented!(",
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!(
                    "{}:{}: {}",
                    source.path.display(),
                    at + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_binary_is_thin() {
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    assert!(fs::read_to_string(main).unwrap().lines().count() <= 50);
}

#[test]
fn a_wrong_arrow_would_be_seen() {
    let text =
        "use crate::http::Server;\nuse crate::{agent::Agent, dns};\n// crate::cli is a comment\n";
    assert_eq!(known_rooms(text), ["http", "agent", "dns"]);
}
