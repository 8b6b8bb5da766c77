//! A disk that fails on demand, as a SQLite VFS over the system's own: it loses with the power what was not
//! synced, and answers "no space left" or "input/output error" at a chosen operation.
//!
//! Holds true: a sync makes durable what was written before it and nothing else does; a sync that failed has
//! lost what it was to make durable, and the next one does not bring it back (as Linux does). Nothing is
//! really synced: the durable bytes of each file are kept in memory beside the file.
//! Leaves to others: which operation fails, and what must hold then.
//! Source: SQLite's documentation, "The SQLite OS Interface or VFS".

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

use crate::support::Dir;

/// The name to open files with.
pub const VFS: &str = "failing-disk";
/// What a real disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// Nothing.
    Sound,
    /// The power goes instead of the sync of this number (from 1). A seed decides which unsynced sectors
    /// had reached the disk before; without one, none had.
    PowerCut { sync: u64, survivors: Option<u64> },
    /// From this write, sync or truncation (from 1) on, all of them fail until [`Disk::mend`].
    Fail { from: u64, how: Failure },
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failure {
    /// No space left on the device: what takes no space (syncs, shorter files) goes on.
    Full,
    /// Input/output error.
    Io,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

struct Inner {
    plan: Plan,
    operations: u64,
    syncs: u64,
    written: u64,
    failed: u64,
    off: bool,
    files: HashMap<PathBuf, Content>,
}

/// A directory whose databases lie on the failing disk.
pub struct Disk {
    dir: Dir,
    device: Arc<Device>,
}

struct Device {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

impl Device {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// A new, empty, sound disk.
    pub fn new() -> Disk {
        register();
        let dir = Dir::new();
        let device = Arc::new(Device {
            dir: dir.path().to_owned(),
            inner: Mutex::new(Inner {
                plan: Plan::Sound,
                operations: 0,
                syncs: 0,
                written: 0,
                failed: 0,
                off: false,
                files: HashMap::new(),
            }),
        });
        devices().push(device.clone());
        Disk { dir, device }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Counts operations from now and lets this go wrong.
    pub fn plan(&self, plan: Plan) {
        let mut d = self.device.lock();
        (d.plan, d.operations, d.syncs, d.failed) = (plan, 0, 0, 0);
    }

    /// Operations fail no longer.
    pub fn mend(&self) {
        self.device.lock().plan = Plan::Sound;
    }

    /// Writes, syncs and truncations since the plan was made.
    pub fn operations(&self) -> u64 {
        self.device.lock().operations
    }

    /// Syncs since the plan was made.
    pub fn syncs(&self) -> u64 {
        self.device.lock().syncs
    }

    /// Bytes ever written.
    pub fn written(&self) -> u64 {
        self.device.lock().written
    }

    /// How many operations failed since the plan was made.
    pub fn failed(&self) -> u64 {
        self.device.lock().failed
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.device.lock().off
    }

    /// The power goes now, without survivors; all databases must be closed before [`Self::power_on`].
    pub fn power_off(&self) {
        self.device.lock().off = true;
    }

    /// The files are what the disk durably held; the power is back and the disk sound.
    pub fn power_on(&self) {
        let mut d = self.device.lock();
        for (path, content) in d.files.drain() {
            std::fs::write(&path, &content.durable).unwrap();
        }
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with("-shm") {
                std::fs::remove_file(path).unwrap();
            }
        }
        (d.off, d.plan) = (false, Plan::Sound);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        devices().retain(|d| !Arc::ptr_eq(d, &self.device));
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        let bytes = &mut self.durable;
        match change {
            Change::Truncate(length) => bytes.truncate(length),
            Change::Write(at, data) => {
                let end = at + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[at..end].copy_from_slice(&data);
            }
        }
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            self.change(change);
        }
    }

    /// Some sectors of what was not synced reach the disk, in any order, some do not.
    fn survive(&mut self, random: &mut fastrand::Rng) {
        let mut changes = std::mem::take(&mut self.unsynced);
        // What follows a shortening overwrites what it took away: it goes first or not at all.
        random.bool().then(|| changes.reverse());
        for change in changes {
            match change {
                Change::Truncate(_) if random.bool() => self.change(change),
                Change::Truncate(_) => {}
                Change::Write(at, data) => {
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        if random.bool() {
                            self.change(Change::Write(at + n * SECTOR, sector.to_vec()));
                        }
                    }
                }
            }
        }
    }
}

impl Inner {
    /// Counts an operation; the code to fail with, if it is to fail.
    fn fails(&mut self, takes_space: bool, io: c_int) -> Option<c_int> {
        if self.off {
            return Some(io);
        }
        self.operations += 1;
        let Plan::Fail { from, how } = self.plan else {
            return None;
        };
        if self.operations < from || (how == Failure::Full && !takes_space) {
            return None;
        }
        self.failed += 1;
        Some(match how {
            Failure::Full => ffi::SQLITE_FULL,
            Failure::Io => io,
        })
    }

    fn cut(&mut self, survivors: Option<u64>) {
        self.off = true;
        let Some(seed) = survivors else { return };
        let mut random = fastrand::Rng::with_seed(seed);
        let mut paths: Vec<PathBuf> = self.files.keys().cloned().collect();
        paths.sort();
        for path in paths {
            if let Some(content) = self.files.get_mut(&path) {
                content.survive(&mut random);
            }
        }
    }
}

/// What a file of this VFS carries behind the system's own part.
struct Extra {
    path: PathBuf,
    device: Arc<Device>,
    /// The system's methods, which differ between databases and journals.
    system: &'static sqlite3_io_methods,
}

fn devices() -> MutexGuard<'static, Vec<Arc<Device>>> {
    static DEVICES: Mutex<Vec<Arc<Device>>> = Mutex::new(Vec::new());
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The system's VFS, whose copy ours is.
fn system() -> &'static sqlite3_vfs {
    // SAFETY: the VFS with this name exists on every Unix, lives as long as the process and stays as it is.
    unsafe {
        ffi::sqlite3_initialize();
        &*ffi::sqlite3_vfs_find(c"unix-excl".as_ptr())
    }
}

/// The system's methods with some of them replaced: one copy for each kind of file.
fn ours(system: &'static sqlite3_io_methods) -> &'static sqlite3_io_methods {
    static COPIES: Mutex<Vec<(usize, &'static sqlite3_io_methods)>> = Mutex::new(Vec::new());
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    let kind = std::ptr::from_ref(system) as usize;
    if let Some((_, copy)) = copies.iter().find(|(k, _)| *k == kind) {
        return copy;
    }
    let copy = Box::leak(Box::new(sqlite3_io_methods {
        // Without memory mapping, of which version 3 is about.
        iVersion: system.iVersion.min(2),
        xClose: Some(close),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        ..*system
    }));
    copies.push((kind, copy));
    copy
}

fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let name = Box::leak(std::ffi::CString::new(VFS).unwrap().into_boxed_c_str());
        let system = system();
        let ours = Box::new(sqlite3_vfs {
            szOsFile: system.szOsFile + size_of::<*mut Extra>() as c_int,
            pNext: std::ptr::null_mut(),
            zName: name.as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            ..*system
        });
        // SAFETY: a complete VFS that is never freed.
        let rc = unsafe { ffi::sqlite3_vfs_register(Box::leak(ours), 0) };
        assert_eq!(rc, ffi::SQLITE_OK);
    });
}

/// Where the pointer to the file's [`Extra`] lies.
unsafe fn extra_slot(file: *mut sqlite3_file) -> *mut *mut Extra {
    let size = system().szOsFile as usize;
    // SAFETY: `register` asked SQLite for this many bytes more; its size is a multiple of eight.
    unsafe { file.cast::<u8>().add(size).cast() }
}

unsafe fn extra<'f>(file: *mut sqlite3_file) -> &'f Extra {
    // SAFETY: `open` put it there and `close` takes it away.
    unsafe { &**extra_slot(file) }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: arguments are passed on as they came; the system's part of the file comes first.
    unsafe {
        let rc = (system().xOpen.unwrap())(vfs, name, file, flags, out);
        if rc != ffi::SQLITE_OK || name.is_null() || (*file).pMethods.is_null() {
            return rc;
        }
        let path = PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes()));
        let device = devices()
            .iter()
            .find(|d| path.starts_with(&d.dir))
            .expect("a file of a failing disk")
            .clone();
        device.lock().files.entry(path.clone()).or_insert_with(|| {
            let durable = std::fs::read(&path).unwrap_or_default();
            Content {
                durable,
                unsynced: Vec::new(),
            }
        });
        let system = &*(*file).pMethods;
        let extra = Extra {
            path,
            device,
            system,
        };
        (*file).pMethods = ours(system);
        extra_slot(file).write(Box::into_raw(Box::new(extra)));
        rc
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the box was made in `open`; nobody uses the file after this.
    unsafe {
        let extra = Box::from_raw(*extra_slot(file));
        (extra.system.xClose.unwrap())(file)
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    data: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    // SAFETY: SQLite passes `amount` bytes at `data`.
    unsafe {
        let extra = extra(file);
        let mut d = extra.device.lock();
        let fails = d.fails(true, ffi::SQLITE_IOERR_WRITE);
        // A disk that fills up takes the beginning.
        let taken = if fails.is_some() { amount / 2 } else { amount };
        if taken > 0 && !d.off {
            let bytes = std::slice::from_raw_parts(data.cast::<u8>(), taken as usize).to_vec();
            d.written += bytes.len() as u64;
            if let Some(content) = d.files.get_mut(&extra.path) {
                content.unsynced.push(Change::Write(at as usize, bytes));
            }
            let rc = (extra.system.xWrite.unwrap())(file, data, taken, at);
            return fails.unwrap_or(rc);
        }
        fails.unwrap_or(ffi::SQLITE_OK)
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is open.
    unsafe {
        let extra = extra(file);
        let mut d = extra.device.lock();
        if let Some(rc) = d.fails(false, ffi::SQLITE_IOERR_TRUNCATE) {
            return rc;
        }
        if let Some(content) = d.files.get_mut(&extra.path) {
            content.unsynced.push(Change::Truncate(size as usize));
        }
        (extra.system.xTruncate.unwrap())(file, size)
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let extra = unsafe { extra(file) };
    let mut d = extra.device.lock();
    if d.off {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    d.syncs += 1;
    if let Plan::PowerCut { sync, survivors } = d.plan
        && sync == d.syncs
    {
        d.cut(survivors);
        return ffi::SQLITE_IOERR_FSYNC;
    }
    let fails = d.fails(false, ffi::SQLITE_IOERR_FSYNC);
    let Some(content) = d.files.get_mut(&extra.path) else {
        return ffi::SQLITE_OK;
    };
    if let Some(rc) = fails {
        content.unsynced.clear();
        return rc;
    }
    content.sync();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, _dir: c_int) -> c_int {
    // SAFETY: SQLite passes a path; the rest is passed on.
    unsafe {
        let path = PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes()));
        let device = devices().iter().find(|d| path.starts_with(&d.dir)).cloned();
        if let Some(device) = device {
            let mut d = device.lock();
            if d.off {
                return ffi::SQLITE_IOERR_DELETE;
            }
            d.files.remove(&path);
        }
        (system().xDelete.unwrap())(vfs, name, 0)
    }
}
