//! What the integration tests share: temporary directories, loopback addresses of one's own, child
//! processes that die with their owner, waiting with a deadline, a tiny HTTP client, JSON as it was written, and a harness
//! whose tests may be skipped at run time and are then counted as skipped.
//!
//! A test program takes it in with `#[path = "../common/mod.rs"] mod common;`.
//! Holds true: nothing here outlives the value that owns it (directories, sockets, processes).

// Each test program uses another part of this module; what one leaves unused is used by the next.
#![allow(dead_code)]

pub mod agent;
pub mod harness;
pub mod http;
pub mod json;
pub mod linear;
pub mod netns;
pub mod oracle;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A directory that is removed when the value is dropped; kept when `KEEP_TEST_DIRS` is set.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a fresh directory whose name begins with `label`, under the system's temporary directory.
    pub fn new(label: &str) -> TempDir {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let path = std::env::temp_dir().join(format!("consul-lite-{label}-{pid}-{n}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        TempDir(path)
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes `text` to `name` (which may hold slashes) inside and returns the full path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder can be made");
        }
        fs::write(&path, text).expect("a file can be written");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var_os("KEEP_TEST_DIRS").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Lets this process and its children open as many files as the system allows.
pub fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a valid pointer to a struct of the right type.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// A block of loopback addresses, `127.a.b.1` to `127.a.b.250`, that no other test holds while this
/// value lives, so that tests can use fixed ports and still run side by side. The claim is a listener
/// on the block's last address; and a process never claims a block twice, so that a test cannot meet
/// the last agents of one that is just ending.
pub struct Loopback {
    net: [u8; 2],
    _claim: TcpListener,
}

/// How many blocks this process has looked at.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

impl Loopback {
    const CLAIM_PORT: u16 = 18999;
    const BLOCKS: u32 = 10_000;

    /// Claims a free block. All addresses of all blocks have the same length as text, so that sizes
    /// of messages that hold them do not depend on which block was free.
    pub fn claim() -> Loopback {
        let start = std::process::id().wrapping_mul(7) % Self::BLOCKS;
        loop {
            let step = LOOKED_AT.fetch_add(1, Ordering::Relaxed);
            assert!(step < Self::BLOCKS, "no free block of loopback addresses");
            let n = (start + step) % Self::BLOCKS;
            let net = [100 + (n / 100) as u8, 100 + (n % 100) as u8];
            let ip = Ipv4Addr::new(127, net[0], net[1], 254);
            if let Ok(claim) = TcpListener::bind((ip, Self::CLAIM_PORT)) {
                return Loopback { net, _claim: claim };
            }
        }
    }

    /// The block's address with this last octet (1 to 250).
    pub fn ip(&self, host: u8) -> Ipv4Addr {
        assert!((1..=250).contains(&host), "hosts of a block are 1 to 250");
        Ipv4Addr::new(127, self.net[0], self.net[1], host)
    }
}

/// A TCP port that was free on `ip` a moment ago. Prefer an address from [`Loopback`] and a fixed port.
pub fn free_port(ip: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((ip, 0)).expect("an ephemeral port");
    listener.local_addr().expect("a bound address").port()
}

/// A child process that is killed and reaped when the value is dropped.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command`; `name` is used in messages only.
    pub fn start(name: &str, command: &mut Command) -> io::Result<Process> {
        let child = command.spawn()?;
        Ok(Process {
            child,
            name: name.to_string(),
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status if the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal by number (`libc::SIGHUP`, ...).
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill(2) takes no pointers, and the child is not reaped while `self` is borrowed.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// SIGKILL, then waits until the process is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait_until(within, &format!("{name} ends"), || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks `ready` again and again until it gives a value; panics with `what` after `within`.
pub fn wait_until<T>(within: Duration, what: &str, ready: impl FnMut() -> Option<T>) -> T {
    match try_until(within, ready) {
        Some(value) => value,
        None => panic!("not within {within:?}: {what}"),
    }
}

/// As [`wait_until`], but gives `None` when the time is over.
pub fn try_until<T>(within: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The folder under the build directory in which tests keep what is dear to make again.
pub fn cache_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// The consul-lite binary this test run was built with; `CONSUL_LITE=/path` names another.
pub fn consul_lite() -> PathBuf {
    match std::env::var_os("CONSUL_LITE") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_consul-lite")),
    }
}

/// Where the project's sources are (the folder with `Cargo.toml`).
pub fn project_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
