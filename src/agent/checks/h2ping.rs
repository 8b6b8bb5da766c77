//! H2PING checks: passing when an HTTP/2 server answers a ping. TLS unless the check says otherwise.
//!
//! Source: Consul's documentation of H2PING checks (since 1.10); `docs/reference/http-2.md` section 4.2.

use std::sync::Arc;
use std::time::Duration;

use super::tcp::tls_of;
use super::{DEFAULT_TIMEOUT, Outcome, Surroundings, limit};
use crate::drive::timeout;
use crate::net::tls_client::ClientConfig;
use crate::net::{dial, h2, tls_client};
use crate::structs::{CheckType, Error, Result};

pub(super) struct H2pingProbe {
    address: String,
    timeout: Duration,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl H2pingProbe {
    pub(super) fn new(around: &Surroundings, check: &CheckType) -> Result<Self> {
        let tls = if check.h2ping_use_tls.unwrap_or(true) {
            Some(tls_of(around, check, vec!["h2"])?)
        } else {
            None
        };
        Ok(Self {
            address: check.h2ping.clone(),
            timeout: limit(check, DEFAULT_TIMEOUT),
            tls,
        })
    }

    pub(super) async fn run(&self) -> Outcome {
        let ping = async {
            let stream = dial::tcp(&self.address)
                .await
                .map_err(|e| Error::new(format!("Failed to dial to {}: {e}", self.address)))?;
            let failed = |e| Error::new(format!("Failed to ping {}: {e}", self.address));
            match &self.tls {
                Some((config, name)) => {
                    let host = dial::split_host_port(&self.address)?.0;
                    let name = if name.is_empty() { host } else { name };
                    let stream = tls_client::connect(config.clone(), name, stream)
                        .await
                        .map_err(|e| {
                            Error::new(format!("Failed to dial to {}: {e}", self.address))
                        })?;
                    let mut h2 = h2::Connection::handshake(stream).await.map_err(failed)?;
                    h2.ping().await.map_err(failed)
                }
                None => {
                    let mut h2 = h2::Connection::handshake(stream).await.map_err(failed)?;
                    h2.ping().await.map_err(failed)
                }
            }
        };
        match timeout(self.timeout, ping).await {
            Ok(Ok(())) => Outcome::passing("HTTP2 ping was successful"),
            Ok(Err(e)) => Outcome::critical(e.text()),
            Err(_) => Outcome::critical(format!(
                "Failed to ping {}: context deadline exceeded",
                self.address
            )),
        }
    }
}
