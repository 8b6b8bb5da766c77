//! TLS for outgoing connections: authorities from files or from the system, or no verification at all
//! where a check says so.
//!
//! Holds true: a configuration is built once per set of options and shared while somebody uses it.
//! Source: `docs/reference/config.md` (`ca_file`, `ca_path`, `enable_agent_tls_for_checks`); the
//! documentation of rustls.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
pub use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use smol::io::{AsyncRead, AsyncWrite};

use super::tls::{certificates, directory};
pub use super::tls_options::{ClientTls, NOT_TLS};
use crate::structs::{Error, Result};

/// Where distributions keep the authorities of the system.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

type Shared = Vec<(ClientTls, Weak<ClientConfig>)>;

static SHARED: Mutex<Shared> = Mutex::new(Vec::new());

/// The rustls configuration of these options.
///
/// # Errors
/// When a file cannot be read or does not hold what it should.
pub fn client_config(options: &ClientTls) -> io::Result<Arc<ClientConfig>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|(_, config)| config.strong_count() > 0);
    let known = shared.iter().find(|(o, _)| o == options);
    if let Some(config) = known.and_then(|(_, config)| config.upgrade()) {
        return Ok(config);
    }
    let config = Arc::new(build(options)?);
    shared.push((options.clone(), Arc::downgrade(&config)));
    Ok(config)
}

fn build(options: &ClientTls) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let roots = if options.skip_verify {
        None
    } else {
        Some(roots(options)?)
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { provider, roots }));
    let mut config = match (&options.cert_file, &options.key_file) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|e| io::Error::other(format!("{}: {e}", key.display())))?;
            builder
                .with_client_auth_cert(certificates(cert)?, key)
                .map_err(io::Error::other)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = options.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Ok(config)
}

fn roots(options: &ClientTls) -> io::Result<RootCertStore> {
    let mut files: Vec<PathBuf> = options.ca_file.iter().cloned().collect();
    if let Some(dir) = &options.ca_path {
        files.extend(directory(dir)?);
    }
    let mut store = RootCertStore::empty();
    if !options.ca_pem.is_empty() {
        let certs = CertificateDer::pem_slice_iter(options.ca_pem.as_bytes());
        store.add_parsable_certificates(certs.filter_map(std::result::Result::ok));
        return Ok(store);
    }
    if files.is_empty() {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let system = SYSTEM_BUNDLES.iter().map(PathBuf::from);
        let bundle = named.into_iter().chain(system).find(|p| p.is_file());
        // One odd certificate must not cost the others their trust.
        if let Some(Ok(certs)) = bundle.as_deref().map(|p: &Path| certificates(p)) {
            store.add_parsable_certificates(certs);
        }
        return Ok(store);
    }
    for file in files {
        store.add_parsable_certificates(certificates(&file)?);
    }
    Ok(store)
}

/// Shakes hands with `server_name` over `stream`.
///
/// # Errors
/// Go's words for a certificate that is not trusted, else those of the handshake.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    server_name: &str,
    stream: S,
) -> Result<TlsStream<S>> {
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| Error::new(format!("tls: invalid server name {server_name}")))?;
    TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|e| Error::new(handshake_text(&e, server_name)))
}

/// Go's words for a certificate of other names, which are given as `DnsName("a")` and `IpAddress(1.2.3.4)`.
fn not_valid_for(wanted: &str, presented: &[String]) -> String {
    let is_ip = wanted.parse::<std::net::IpAddr>().is_ok();
    let kind = if is_ip { "IpAddress(" } else { "DnsName(" };
    let names: Vec<&str> = presented
        .iter()
        .filter_map(|name| name.strip_prefix(kind)?.strip_suffix(')'))
        .map(|name| name.trim_matches('"'))
        .collect();
    match (names.is_empty(), is_ip) {
        (true, true) => format!(
            "x509: cannot validate certificate for {wanted} because it doesn't contain any IP SANs"
        ),
        (true, false) => {
            format!("x509: certificate is not valid for any names, but wanted to match {wanted}")
        }
        (false, _) => format!(
            "x509: certificate is valid for {}, not {wanted}",
            names.join(", ")
        ),
    }
}

/// Go's words for a certificate that nobody known has signed.
const UNTRUSTED: &str = "x509: certificate signed by unknown authority";

fn handshake_text(error: &io::Error, server_name: &str) -> String {
    let tls = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                UNTRUSTED.to_owned()
            }
            // One that signed itself and is not among the authorities.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => UNTRUSTED.to_owned(),
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "x509: certificate has expired or is not yet valid".to_owned()
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                not_valid_for(server_name, presented)
            }
            CertificateError::NotValidForName => not_valid_for(server_name, &[]),
            other => format!("x509: {other}"),
        },
        Some(rustls::Error::InvalidMessage(_)) => NOT_TLS.to_owned(),
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(other) => format!("tls: {other}"),
        None => super::dial::errno_text(error),
    }
}

/// Trusts a certificate for the wanted name that one of the roots stands behind, in Go's order: the name is
/// looked at first. Without roots it trusts whoever holds the key of the certificate shown.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    roots: Option<RootCertStore>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let cert = ParsedCertificate::try_from(end_entity)?;
            verify_server_name(&cert, server_name)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &cert,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
