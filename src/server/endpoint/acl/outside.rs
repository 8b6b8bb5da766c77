//! Keys that an auth method's configuration does not hold but names: documents at URLs.
//!
//! Holds true: a document has a largest size and a longest time to come; with a CA given no other is trusted.
//! Source: RFC 7517; OpenID Connect Discovery 1.0; the words of errors from a running Consul 1.8.7.

use std::pin::pin;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::drive;
use crate::net::http_client::{Ask, exchange};
use crate::net::tls_client::{ClientTls, client_config};
use crate::net::url::Url;
use crate::server::acl::jwt::{self, Key, Source};
use crate::structs::go::Any;
use crate::structs::{Error, Result};
use crate::wire::json;

/// How long fetching keys may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest document of keys, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;

/// Makes sure that what a configuration names can be had.
///
/// # Errors
/// Consul's words.
pub(super) async fn check(source: &Source) -> Result<()> {
    let (what, ca_name, ca) = match source {
        Source::Keys(_) => return Ok(()),
        Source::Jwks(_, ca) => ("JWKSURL", "JWKSCACert", ca),
        Source::Discovery(_, ca) => ("OIDCDiscoveryURL", "OIDCDiscoveryCACert", ca),
    };
    let said = |what: &str, why: &str| Error::from(format!("error checking {what}: {why}"));
    let mut certificates = CertificateDer::pem_slice_iter(ca.as_bytes());
    if !ca.is_empty() && !certificates.any(|one| one.is_ok()) {
        let why = "could not parse CA PEM value successfully";
        return Err(said(ca_name, why));
    }
    match keys_of(source).await {
        Ok(_) => Ok(()),
        Err(e) => Err(said(what, e.text())),
    }
}

/// The keys that may have signed.
///
/// # Errors
/// Consul's words.
pub(super) async fn keys_of(source: &Source) -> Result<Vec<Key>> {
    match source {
        Source::Keys(keys) => Ok(keys.clone()),
        Source::Jwks(url, ca) => key_set(url, ca).await,
        Source::Discovery(url, ca) => {
            let url = format!(
                "{}/.well-known/openid-configuration",
                url.trim_end_matches('/')
            );
            let text = fetch(&url, ca)
                .await?
                .map_err(|(status, body)| Error::from(format!("{status}: {body}")))?;
            let document: Any = json::from_slice_lenient(&text).map_err(|e| {
                Error::from(format!(
                    "oidc: failed to decode provider discovery object: {e}"
                ))
            })?;
            let keys = match &document {
                Any::Map(map) => map.get("jwks_uri"),
                _ => None,
            };
            match keys {
                Some(Any::String(keys)) => key_set(keys, ca).await,
                _ => Err(Error::new(
                    "oidc: failed to decode provider discovery object: no jwks_uri",
                )),
            }
        }
    }
}

async fn key_set(url: &str, ca: &str) -> Result<Vec<Key>> {
    let failed = |why: String| Error::from(format!("fetching keys oidc: {why}"));
    let answer = fetch(url, ca)
        .await
        .map_err(|e| failed(format!("get keys failed {}", e.text())))?;
    let text =
        answer.map_err(|(status, body)| failed(format!("get keys failed: {status} {body}")))?;
    jwt::keys_of_jwks(&text).map_err(|e| failed(format!("failed to decode keys: {}", e.text())))
}

fn trust(ca: &str) -> std::io::Result<std::sync::Arc<rustls::ClientConfig>> {
    client_config(&ClientTls {
        ca_pem: ca.to_owned(),
        ..ClientTls::default()
    })
}

/// What is at a URL, or status line and body of an answer that is not 200.
async fn fetch(url: &str, ca: &str) -> Result<std::result::Result<Vec<u8>, (String, String)>> {
    let failed = |why: &str| Error::from(format!("Get \"{url}\": {why}"));
    let parsed = Url::parse(url).map_err(|e| failed(&e.to_string()))?;
    let tls = if parsed.is_tls() {
        let config = trust(ca).map_err(|e| failed(&e.to_string()))?;
        Some((config, parsed.host.clone()))
    } else {
        None
    };
    let ask = Ask {
        method: "GET".to_owned(),
        url: parsed,
        headers: vec![("Accept".to_owned(), "application/json".to_owned())],
        body: Vec::new(),
        max_body: MAX_DOCUMENT,
        socket: None,
    };
    let expired = pin!(drive::sleep(FETCH_TIMEOUT));
    let answer = exchange(&ask, tls.as_ref(), expired)
        .await
        .map_err(|e| failed(e.text()))?;
    match answer {
        Some(answer) if answer.body_error.is_some() => Err(failed("unexpected EOF")),
        Some(answer) if answer.status == 200 => Ok(Ok(answer.body)),
        Some(answer) => {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            Ok(Err((answer.status_line, body)))
        }
        None => Err(failed("context deadline exceeded")),
    }
}
