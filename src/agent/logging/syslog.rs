//! The log in syslog, over the local datagram socket.
//!
//! Source: RFC 3164 section 4 for the form of a message; `docs/reference/config.md` section 14 for the
//! mapping of levels.

use std::io;
use std::os::unix::net::UnixDatagram;

use log::Level;

/// Where the local syslog listens, by system.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// Names of the facilities, by number.
const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "NTP", "AUDIT", "ALERT", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
    "LOCAL5", "LOCAL6", "LOCAL7",
];

/// A connection to syslog.
pub(super) struct Syslog {
    socket: UnixDatagram,
    facility: usize,
}

impl Syslog {
    /// Connects; the facility is one of the usual names.
    pub(super) fn open(facility: &str) -> io::Result<Self> {
        let name = if facility.is_empty() {
            "LOCAL0"
        } else {
            facility
        };
        let number = FACILITIES
            .iter()
            .position(|f| f.eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let text = format!("invalid syslog facility: {name}");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })?;
        let socket = UnixDatagram::unbound()?;
        // A full syslog must not hold up the agent.
        socket.set_nonblocking(true)?;
        let connected = SOCKETS.iter().any(|path| socket.connect(path).is_ok());
        if !connected {
            return Err(io::Error::other("Unix syslog delivery error"));
        }
        Ok(Self {
            socket,
            facility: number,
        })
    }

    /// Sends a message without time and level, which syslog has of its own.
    pub(super) fn write(&self, level: Level, message: &str) {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 5,
            Level::Debug => 6,
            Level::Trace => 7,
        };
        let priority = self.facility * 8 + severity;
        let text = format!("<{priority}>consul[{}]: {message}", std::process::id());
        // A line that syslog does not take is lost, as datagrams are.
        let _ = self.socket.send(text.as_bytes());
    }
}
