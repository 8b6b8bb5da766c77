//! The archive of `consul snapshot save`: gzip(tar(meta.json, state.bin, SHA256SUMS)).
//!
//! Holds true: files are written and read piece by piece through unlinked temporary files; an archive is
//! verified as a whole before anything of it is used, with Consul's error texts.
//! Source: `docs/reference/raft.md` section 9, `docs/reference/http-1.md` section 9.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::codec::base64;
use crate::codec::{Deserialize, Serialize};
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::{Snapshot, io_error};
use crate::raft::{Configuration, SnapshotMeta};
use crate::store::error::StoreError;
use crate::structs;
use crate::structs::go::Bytes;
use crate::wire::{json, msgpack};

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";
/// Bytes of the two small members, at most.
const MAX_SMALL: u64 = 4 << 20;

/// `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveMeta {
    /// 0 or 1.
    #[serde(rename = "Version")]
    pub version: i64,
    /// "TERM-INDEX-UNIXMILLIS".
    #[serde(rename = "ID")]
    pub id: String,
    /// The last raft index in the state.
    #[serde(rename = "Index")]
    pub index: u64,
    /// The term of that index.
    #[serde(rename = "Term")]
    pub term: u64,
    /// Addresses of the voters in the old encoding: base64 of a msgpack list.
    #[serde(rename = "Peers")]
    pub peers: String,
    /// The membership at that index; not restored.
    #[serde(rename = "Configuration")]
    pub configuration: Configuration,
    /// The index of the entry that set it.
    #[serde(rename = "ConfigurationIndex")]
    pub configuration_index: u64,
    /// Bytes of `state.bin`.
    #[serde(rename = "Size")]
    pub size: i64,
}

/// A verified archive.
#[derive(Debug)]
pub struct Archive {
    /// What it says about itself.
    pub meta: ArchiveMeta,
    /// `state.bin`, an unlinked file positioned at its start.
    pub state: File,
}

/// A file without a name, read and written, in `dir`.
pub fn temporary(dir: &Path) -> io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!(".snapshot-{}-{n}.tmp", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Hashes what passes through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hashing<T>(inner: T) -> Hashing<T> {
    Hashing {
        inner,
        hash: Sha256::new(),
    }
}

fn hex(hash: Sha256) -> String {
    base64::hex(&hash.finalize())
}

/// Writes a snapshot's state alone, as followers get it, into an unlinked file in `dir`, positioned at its
/// start; its length in bytes beside it.
///
/// # Errors
/// The disk's.
pub fn save_state(snapshot: &Snapshot, dir: &Path) -> Result<(File, u64), StoreError> {
    let io = |e: io::Error| io_error(&e);
    let mut state = BufWriter::new(temporary(dir).map_err(io)?);
    let size = snapshot.write_state(&mut state)?;
    let mut file = state.into_inner().map_err(|e| io_error(e.error()))?;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok((file, size))
}

/// Writes a snapshot as an archive into an unlinked file in `dir`, positioned at its start.
///
/// `meta` describes [`Snapshot::index`] (the core's `snapshot_meta`); `unix_ms` is the wall clock's time
/// for the archive's id.
///
/// # Errors
/// The disk's.
pub fn save(
    snapshot: &Snapshot,
    meta: &SnapshotMeta,
    unix_ms: u64,
    dir: &Path,
) -> Result<File, StoreError> {
    let io = |e: io::Error| io_error(&e);
    let mut state = hashing(BufWriter::new(temporary(dir).map_err(io)?));
    let size = snapshot.write_state(&mut state)?;
    let state_hash = hex(state.hash);
    let mut state = state.inner.into_inner().map_err(|e| io_error(e.error()))?;
    state.seek(SeekFrom::Start(0)).map_err(io)?;
    let peers: Vec<Bytes> = meta
        .configuration
        .servers
        .iter()
        .filter(|s| s.suffrage == crate::raft::Suffrage::Voter)
        .map(|s| Bytes(s.address.clone().into_bytes()))
        .collect();
    let meta = ArchiveMeta {
        version: 1,
        id: format!("{}-{}-{unix_ms}", snapshot.term(), snapshot.index()),
        index: snapshot.index(),
        term: snapshot.term(),
        peers: base64::encode(&msgpack::to_vec(&peers).unwrap_or_default()),
        configuration: meta.configuration.clone(),
        configuration_index: meta.configuration_index,
        size: size as i64,
    };
    let mut meta = json::to_vec(&meta).unwrap_or_default();
    meta.push(b'\n');
    pack(dir, &meta, size, &mut state, &state_hash, unix_ms / 1000).map_err(io)
}

fn pack(
    dir: &Path,
    meta: &[u8],
    size: u64,
    state: &mut File,
    state_hash: &str,
    mtime: u64,
) -> io::Result<File> {
    let gzip = GzEncoder::new(BufWriter::new(temporary(dir)?), Compression::default());
    let mut tar = tar::Builder::new(gzip);
    let header = |size: u64| {
        let mut h = tar::Header::new_ustar();
        h.set_mode(0o600);
        h.set_mtime(mtime);
        h.set_size(size);
        h
    };
    let mut meta_hash = Sha256::new();
    meta_hash.update(meta);
    let sums = format!("{}  {META}\n{state_hash}  {STATE}\n", hex(meta_hash));
    tar.append_data(&mut header(meta.len() as u64), META, meta)?;
    tar.append_data(&mut header(size), STATE, BufReader::new(state).take(size))?;
    tar.append_data(&mut header(sums.len() as u64), SUMS, sums.as_bytes())?;
    let buffer = tar.into_inner()?.finish()?;
    let mut file = buffer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn refuse<T>(text: String) -> Result<T, StoreError> {
    Err(StoreError::Invalid(structs::Error::from(text)))
}

/// Go's words for what a stream's end or damage is called.
fn go_words(e: &io::Error, offset: u64) -> String {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            if e.to_string().contains("checksum") =>
        {
            "gzip: invalid checksum".to_owned()
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            format!("flate: corrupt input before offset {offset}")
        }
        _ => e.to_string(),
    }
}

/// Counts what passes through, for the offset in error texts.
struct Counting<'a, T> {
    inner: T,
    count: &'a std::cell::Cell<u64>,
}

impl<T: BufRead> Read for Counting<'_, T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

impl<T: BufRead> BufRead for Counting<'_, T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.count.set(self.count.get() + n as u64);
        self.inner.consume(n);
    }
}

/// Reads and verifies an archive from where `file` stands. `state.bin` goes into an unlinked file in
/// `dir`.
///
/// # Errors
/// [`StoreError::Invalid`] with Consul's text for each defect; the disk's.
pub fn open(file: File, dir: &Path) -> Result<Archive, StoreError> {
    let mut input = BufReader::new(file);
    let head = match peek(&mut input) {
        Ok(head) => head,
        Err(e) => return Err(io_error(&e)),
    };
    match head.as_slice() {
        [] => return refuse("failed to decompress snapshot: EOF".to_owned()),
        [0x1f, 0x8b, 8, ..] => {}
        short if short.len() < 10 => {
            return refuse("failed to decompress snapshot: unexpected EOF".to_owned());
        }
        _ => return refuse("failed to decompress snapshot: gzip: invalid header".to_owned()),
    }
    let count = std::cell::Cell::new(0);
    let counting = Counting {
        inner: input,
        count: &count,
    };
    let mut members = Members::default();
    let mut gzip = GzDecoder::new(counting);
    let read = members.read(&mut gzip, dir).and_then(|()| {
        // The checksum is at the very end, behind the tar's own end.
        io::copy(&mut gzip, &mut io::sink())
            .map(|_| ())
            .map_err(|e| Defect::Stream("failed to read snapshot data", e))
    });
    match read {
        Ok(()) => {}
        Err(Defect::Disk(e)) => return Err(io_error(&e)),
        Err(Defect::Text(text)) => {
            return refuse(format!("failed to read snapshot file: {text}"));
        }
        Err(Defect::Stream(what, e)) => {
            let why = go_words(&e, count.get());
            return refuse(format!("failed to read snapshot file: {what}: {why}"));
        }
    }
    members.verify()
}

/// The first bytes of the input, without consuming them; the buffer is larger than what is needed.
fn peek(input: &mut BufReader<File>) -> io::Result<Vec<u8>> {
    let head = input.fill_buf()?;
    Ok(head.get(..head.len().min(10)).unwrap_or_default().to_vec())
}

/// What is wrong with an archive, or with the disk that it is unpacked to.
enum Defect {
    Disk(io::Error),
    Stream(&'static str, io::Error),
    Text(String),
}

/// What was found in an archive.
#[derive(Default)]
struct Members {
    meta: Option<(Vec<u8>, String)>,
    state: Option<(File, String)>,
    sums: Vec<u8>,
}

impl Members {
    fn read(&mut self, gzip: &mut dyn Read, dir: &Path) -> Result<(), Defect> {
        const READING: &str = "failed to read snapshot metadata";
        let mut tar = tar::Archive::new(gzip);
        let entries = tar.entries().map_err(|e| Defect::Stream(READING, e))?;
        for entry in entries {
            let mut entry = entry.map_err(|e| Defect::Stream(READING, e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match name.as_str() {
                META => {
                    let bytes = small(&mut entry, &name)?;
                    let mut hash = Sha256::new();
                    hash.update(&bytes);
                    self.meta = Some((bytes, hex(hash)));
                }
                STATE => self.state = Some(unpack_state(&mut entry, dir)?),
                SUMS => self.sums = small(&mut entry, &name)?,
                _ => {
                    let text = format!("unexpected file {} in snapshot", structs::go::quote(&name));
                    return Err(Defect::Text(text));
                }
            }
        }
        Ok(())
    }

    fn verify(self) -> Result<Archive, StoreError> {
        const BAD: &str = "failed to read snapshot file: failed checking integrity of snapshot";
        let sums = String::from_utf8_lossy(&self.sums).into_owned();
        let empty = || {
            let mut hash = Sha256::new();
            hash.update([]);
            hex(hash)
        };
        let meta_hash = self.meta.as_ref().map_or_else(empty, |m| m.1.clone());
        let state_hash = self.state.as_ref().map_or_else(empty, |s| s.1.clone());
        let mut listed = (false, false);
        for line in sums.lines().filter(|l| !l.trim().is_empty()) {
            let mut words = line.split_ascii_whitespace();
            let (Some(sum), Some(name)) = (words.next(), words.next()) else {
                return refuse(format!("{BAD}: failed to read hash: unexpected EOF"));
            };
            let (seen, want) = match name {
                META => (&mut listed.0, &meta_hash),
                STATE => (&mut listed.1, &state_hash),
                other => {
                    let other = structs::go::quote(other);
                    return refuse(format!("{BAD}: list missing hash for {other}"));
                }
            };
            if sum != want {
                let name = structs::go::quote(name);
                return refuse(format!("{BAD}: hash check failed for {name}"));
            }
            *seen = true;
        }
        for (seen, name) in [(listed.0, META), (listed.1, STATE)] {
            if !seen {
                return refuse(format!(
                    "{BAD}: file missing for {}",
                    structs::go::quote(name)
                ));
            }
        }
        let (Some((meta, _)), Some((mut state, _))) = (self.meta, self.state) else {
            return refuse(format!(
                "{BAD}: file missing for {}",
                structs::go::quote(STATE)
            ));
        };
        let meta: ArchiveMeta = match json::from_slice_lenient(&meta) {
            Ok(meta) => meta,
            Err(e) => {
                return refuse(format!(
                    "failed to read snapshot file: failed to decode snapshot metadata: {e}"
                ));
            }
        };
        if !(0..=1).contains(&meta.version) {
            return refuse(format!("unsupported snapshot version {}", meta.version));
        }
        match state.seek(SeekFrom::Start(0)) {
            Ok(_) => Ok(Archive { meta, state }),
            Err(e) => Err(io_error(&e)),
        }
    }
}

fn small(entry: &mut dyn Read, name: &str) -> Result<Vec<u8>, Defect> {
    let what = if name == META {
        "failed to read snapshot metadata"
    } else {
        "failed to read snapshot hashes"
    };
    let mut bytes = Vec::new();
    entry
        .take(MAX_SMALL + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Defect::Stream(what, e))?;
    if bytes.len() as u64 > MAX_SMALL {
        return Err(Defect::Text(format!(
            "{what}: {name} is larger than {MAX_SMALL} bytes"
        )));
    }
    Ok(bytes)
}

fn unpack_state(entry: &mut dyn Read, dir: &Path) -> Result<(File, String), Defect> {
    let file = temporary(dir).map_err(Defect::Disk)?;
    let mut to = hashing(BufWriter::new(file));
    let mut buffer = vec![0; 32 << 10];
    loop {
        let n = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => return Err(Defect::Stream("failed to read or write snapshot data", e)),
        };
        to.write_all(buffer.get(..n).unwrap_or_default())
            .map_err(Defect::Disk)?;
    }
    let hash = hex(to.hash);
    let file = to
        .inner
        .into_inner()
        .map_err(|e| Defect::Disk(e.into_error()))?;
    Ok((file, hash))
}
