//! Sends metric updates to statsd, statsite and DogStatsD servers, to each of them all.
//!
//! Holds true: it runs only where one is configured; a server that cannot be reached costs its lines, not
//! memory; an idle agent sends nothing.
//! Source: Consul's documentation "Telemetry Parameters"; statsd's documentation "Metric Types".

use std::time::Duration;

use smol::io::AsyncWriteExt;

use super::clock::{sleep, timeout};
use crate::net::{Async, dial};
use crate::telemetry::{self, Statsd};

/// How often collected lines are sent.
const FLUSH: Duration = Duration::from_millis(500);
/// Pause after a server could not be reached.
const RETRY: Duration = Duration::from_secs(10);
/// Longest wait for a connection or for the server to take what is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of lines in one datagram, to stay below common path sizes.
const MAX_DATAGRAM: usize = 1400;

/// Sends lines to the server at this place of the configuration, if it names one.
pub async fn run(place: usize) {
    let Some(sink) = telemetry::settings().statsd.get(place).cloned() else {
        return;
    };
    loop {
        let sent = match &sink {
            Statsd::Statsd(address) | Statsd::DogStatsd(address, _) => {
                over_udp(address, place).await
            }
            Statsd::Statsite(address) => over_tcp(address, place).await,
        };
        if let Err(error) = sent {
            log::warn!(target: "agent", "Error sending metrics: error={error:?}");
        }
        sleep(RETRY).await;
    }
}

async fn lines(place: usize) -> String {
    loop {
        let lines = telemetry::drain(place);
        if !lines.is_empty() {
            return lines;
        }
        sleep(FLUSH).await;
    }
}

async fn over_udp(address: &str, place: usize) -> Result<(), String> {
    let socket = dial::udp(address).await.map_err(|e| e.text().to_owned())?;
    loop {
        let lines = lines(place).await;
        let mut datagram = String::new();
        for line in lines.split_inclusive('\n') {
            if !datagram.is_empty() && datagram.len() + line.len() > MAX_DATAGRAM {
                send(&socket, &datagram).await;
                datagram.clear();
            }
            datagram.push_str(line);
        }
        send(&socket, &datagram).await;
        sleep(FLUSH).await;
    }
}

/// As UDP is: what does not arrive is lost.
async fn send(socket: &Async<std::net::UdpSocket>, datagram: &str) {
    if let Err(error) = socket.send(datagram.as_bytes()).await {
        log::debug!(target: "agent", "metrics datagram was not sent: error={error}");
    }
}

async fn over_tcp(address: &str, place: usize) -> Result<(), String> {
    let slow = |_| format!("{address}: i/o timeout");
    let connected = timeout(PATIENCE, dial::tcp(address)).await.map_err(slow)?;
    let mut stream = connected.map_err(|e| e.text().to_owned())?;
    loop {
        let lines = lines(place).await;
        let written = timeout(PATIENCE, stream.write_all(lines.as_bytes())).await;
        written.map_err(slow)?.map_err(|e| dial::errno_text(&e))?;
        sleep(FLUSH).await;
    }
}
