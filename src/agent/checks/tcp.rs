//! TCP checks: passing when a connection can be made, and with TLS when hands can be shaken.
//!
//! Source: `docs/reference/http-2.md` section 4.2.

use std::sync::Arc;
use std::time::Duration;

use super::{DEFAULT_TIMEOUT, Outcome, Surroundings, limit};
use crate::drive::timeout;
use crate::net::tls_client::ClientConfig;
use crate::net::{dial, tls_client};
use crate::structs::{CheckType, Error, Result};

pub(super) struct TcpProbe {
    address: String,
    timeout: Duration,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl TcpProbe {
    pub(super) fn new(around: &Surroundings, check: &CheckType) -> Result<Self> {
        Ok(Self {
            address: check.tcp.clone(),
            timeout: limit(check, DEFAULT_TIMEOUT),
            tls: if check.tcp_use_tls {
                Some(tls_of(around, check, Vec::new())?)
            } else {
                None
            },
        })
    }

    pub(super) async fn run(&self) -> Outcome {
        let connect = async {
            let stream = dial::tcp(&self.address).await?;
            if let Some((config, name)) = &self.tls {
                let host = dial::split_host_port(&self.address)?.0;
                let name = if name.is_empty() { host } else { name };
                tls_client::connect(config.clone(), name, stream).await?;
            }
            Ok::<_, Error>(())
        };
        match timeout(self.timeout, connect).await {
            Ok(Ok(())) => Outcome::passing(format!("TCP connect {}: Success", self.address)),
            Ok(Err(e)) => Outcome::critical(e.text()),
            Err(_) => Outcome::critical(format!("dial tcp {}: i/o timeout", self.address)),
        }
    }
}

/// The TLS configuration of a check, and the name to check certificates against (empty for the host).
pub(super) fn tls_of(
    around: &Surroundings,
    check: &CheckType,
    alpn: Vec<&'static str>,
) -> Result<(Arc<ClientConfig>, String)> {
    let options = around.tls.options(check, alpn);
    let config = tls_client::client_config(&options)
        .map_err(|e| Error::new(format!("Failed to set up TLS for checks: {e}")))?;
    Ok((config, around.tls.server_name(check)))
}
