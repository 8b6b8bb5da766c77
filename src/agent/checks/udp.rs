//! UDP checks: critical when the address refuses datagrams; an answer or silence is passing, because most
//! UDP services answer only what they understand.
//!
//! Source: Consul's documentation of UDP checks (since 1.13).

use std::time::Duration;

use super::{DEFAULT_TIMEOUT, Outcome, limit};
use crate::drive::timeout;
use crate::net::dial;
use crate::structs::{CheckType, Error};

pub(super) struct UdpProbe {
    address: String,
    timeout: Duration,
}

impl UdpProbe {
    pub(super) fn new(check: &CheckType) -> Self {
        Self {
            address: check.udp.clone(),
            timeout: limit(check, DEFAULT_TIMEOUT),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        let talk = async {
            let socket = dial::udp(&self.address).await?;
            let fault = |what: &str, e: &std::io::Error| {
                let text = dial::errno_text(e);
                Error::new(format!("{what} udp {}: {what}: {text}", self.address))
            };
            socket
                .send(b"consul-lite check")
                .await
                .map_err(|e| fault("write", &e))?;
            let mut answer = [0u8; 1];
            socket
                .recv(&mut answer)
                .await
                .map_err(|e| fault("read", &e))?;
            Ok::<_, Error>(())
        };
        match timeout(self.timeout, talk).await {
            Ok(Err(e)) => Outcome::critical(e.text()),
            Ok(Ok(())) | Err(_) => {
                Outcome::passing(format!("UDP connect {}: Success", self.address))
            }
        }
    }
}
