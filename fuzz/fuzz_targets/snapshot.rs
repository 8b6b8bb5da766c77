//! Files and archives from outside: an archive of `consul snapshot save`, and Serf's snapshot.

#![no_main]

use std::io::{Seek, SeekFrom, Write};

use consul_lite::gossip::snapshot;
use consul_lite::store::snapshot::archive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = snapshot::replay(text, false);
        let _ = snapshot::replay(text, true);
    }
    let dir = std::env::temp_dir();
    let mut file = archive::temporary(&dir).expect("a file");
    file.write_all(bytes)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .expect("written");
    let _ = archive::open(file, &dir);
});
