//! Asking the agent's own HTTP API, as watches do.
//!
//! Source: `docs/reference/config.md` section 8.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use super::plan::{Answer, Plan, Progress};
use crate::config::{Config, ListenAddr};
use crate::net::http_client::{Ask, exchange};
use crate::net::tls_client::ClientConfig;
use crate::net::tls_client::{self, ClientTls};
use crate::net::url::Url;
use crate::structs::{Error, Result};

/// The largest result a watch can have.
const MAX_RESULT: usize = 64 << 20;

/// Where the agent's own HTTP API is.
#[derive(Clone)]
pub(super) struct Own {
    base: String,
    socket: Option<String>,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl Own {
    /// Finds it in the configuration: plain HTTP first.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(config: &Config) -> Result<Self> {
        if let Some(address) = config.http_addrs.first() {
            return Ok(match address {
                ListenAddr::Unix(path) => Self {
                    base: "http://localhost".to_owned(),
                    socket: Some(path.to_string_lossy().into_owned()),
                    tls: None,
                },
                ListenAddr::Ip(address) => Self {
                    base: format!("http://{}", reachable(*address)),
                    socket: None,
                    tls: None,
                },
            });
        }
        let Some(ListenAddr::Ip(address)) = config.https_addrs.first() else {
            return Err(Error::new("watch plans require an HTTP or HTTPS endpoint"));
        };
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let options = ClientTls {
            // The agent knows its own address; its certificate need not name it.
            skip_verify: true,
            cert_file: path(&config.tls.cert_file),
            key_file: path(&config.tls.key_file),
            alpn: vec!["http/1.1"],
            ..ClientTls::default()
        };
        let client = tls_client::client_config(&options).map_err(|e| Error::new(e.to_string()))?;
        Ok(Self {
            base: format!("https://{}", reachable(*address)),
            socket: None,
            tls: Some((client, String::new())),
        })
    }

    /// Asks what the plan wants to know next; blocks as long as the answer does.
    ///
    /// # Errors
    /// Go's words for what failed before an answer arrived.
    pub async fn ask(&self, plan: &Plan, progress: &Progress) -> Result<Answer> {
        let text = format!("{}{}", self.base, plan.query(progress).target());
        let fault = |e: Error| Error::new(format!("Get \"{text}\": {e}"));
        let mut headers = Vec::new();
        if !plan.token.is_empty() {
            headers.push(("X-Consul-Token".to_owned(), plan.token.clone()));
        }
        let ask = Ask {
            method: "GET".to_owned(),
            url: Url::parse(&text).map_err(fault)?,
            headers,
            body: Vec::new(),
            max_body: MAX_RESULT,
            socket: self.socket.clone(),
        };
        // The server bounds how long it blocks.
        let never = pin!(std::future::pending());
        let answer = exchange(&ask, self.tls.as_ref(), never)
            .await
            .map_err(fault)?
            .ok_or_else(|| fault(Error::new("EOF")))?;
        if let Some(why) = &answer.body_error {
            return Err(fault(Error::new(why.clone())));
        }
        let header = |name: &str| {
            let value = answer.headers.get(name).and_then(|v| v.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Ok(Answer {
            status: answer.status,
            index: header("x-consul-index"),
            hash: header("x-consul-contenthash"),
            body: answer.body,
        })
    }
}

/// The address under which a listener can be reached from its own host.
fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
