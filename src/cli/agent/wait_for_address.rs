//! Waiting, before the start, for the addresses that the configuration asks for.
//!
//! A board's network may come after its services are started: by then Consul would have failed, or settled for
//! 127.0.0.1. Only the agent knows which addresses its templates and settings mean, so the agent waits; and only
//! where whoever starts it at boot says so and for how long, because a person at a terminal wants the error.
//! When the time is over the agent fails, and its service manager starts it, and the waiting, again.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::notify::Notify;
use crate::config::flags::Parsed;
use crate::config::{self, Host};
use crate::structs::go::GoDuration;

/// Names how long to wait, as a Go duration; without it nothing is waited for.
const VARIABLE: &str = "CONSUL_LITE_WAIT_FOR_ADDRESS";
/// How often to look. Nobody waits for less than a link that comes up.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until every address is there.
///
/// # Errors
/// When the variable holds no duration, or the time is over.
pub fn wait_for_address(flags: &Parsed) -> Result<(), String> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let limit = GoDuration::parse(&text).map_err(|why| format!("{VARIABLE}: {why}"))?;
    let (start, limit) = (Instant::now(), limit.to_std());
    let mut told = Vec::new();
    loop {
        let missing = config::awaited_addresses(flags, &Host::system(), &can_bind);
        if missing.is_empty() {
            if !told.is_empty() {
                println!("==> Addresses are there after {:.1?}", start.elapsed());
                Notify::from_env().status("");
            }
            return Ok(());
        }
        if start.elapsed() >= limit {
            let missing = missing.join("; ");
            return Err(format!("No address after waiting {text}: {missing}"));
        }
        if missing != told {
            let line = missing.join("; ");
            println!("==> Waiting up to {text} for an address: {line}");
            Notify::from_env().status(&format!("Waiting for an address: {line}"));
            told = missing;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whether a socket can be bound to the address. A socket and not the list of interfaces decides, because an
/// address may also be had by `ip_nonlocal_bind` or a local route.
fn can_bind(ip: IpAddr) -> bool {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => true,
        Err(why) => why.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}
