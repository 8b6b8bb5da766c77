//! Telling systemd how the agent is: ready, reloading, stopping, still alive.
//!
//! A datagram to the socket that `NOTIFY_SOCKET` names; without it nothing happens. Consul says ready only
//! after a join; this agent also does when there is nothing to join, so that `Type=notify` units start.
//! Source: sd_notify(3); `docs/reference/config.md` section 18.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The agent serves.
pub const READY: &str = "READY=1";
/// The agent ends.
pub const STOPPING: &str = "STOPPING=1";
/// The agent is alive.
const WATCHDOG: &str = "WATCHDOG=1";

/// The service manager's socket.
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Takes the socket and the watchdog's interval from the environment.
    pub fn from_env() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let socket = path.and_then(|path| {
            let bytes = path.as_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&path),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        let for_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let watchdog = std::env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|usec| for_us && *usec > 0)
            .map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// Sends a state; a manager that is not there is not missed.
    pub fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            log::warn!(target: "agent", "failed to notify the service manager: error={error}");
        }
    }

    /// Says in words what the agent does; the manager shows the last line.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Says that a reload begins; [`READY`] ends it.
    pub fn reloading(&self) {
        // SAFETY: all zero is a valid timespec, which has padding on some machines.
        let mut now: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live local of the right type.
        let read = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let usec = if read == 0 {
            i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000
        } else {
            0
        };
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// How often [`Notify::alive`] must be called, if the manager watches.
    pub fn alive_interval(&self) -> Option<Duration> {
        self.watchdog
            .filter(|_| self.socket.is_some())
            .map(|limit| limit / 2)
    }

    /// Says that the agent is alive, if the manager watches.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.send(WATCHDOG);
        }
    }
}
