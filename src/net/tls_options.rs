//! What TLS is to be set up with, whether it is in this build or not.
//!
//! Source: `docs/reference/config.md` (`cert_file`, `key_file`, `ca_file`, `ca_path`, `verify_incoming_https`,
//! `enable_agent_tls_for_checks`).

use std::path::PathBuf;

/// The files a TLS listener is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// PEM file with our certificate, followed by intermediates.
    pub cert_file: PathBuf,
    /// PEM file with its private key.
    pub key_file: PathBuf,
    /// PEM file with the certificate authorities of clients.
    pub ca_file: Option<PathBuf>,
    /// Directory of such PEM files.
    pub ca_path: Option<PathBuf>,
    /// Refuse clients without a certificate of these authorities.
    pub verify_incoming: bool,
    /// Refuse TLS 1.2 (`tls_min_version = "tls13"`).
    pub only_tls13: bool,
}

/// What an outgoing TLS connection trusts and shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM file with authorities; with neither this nor `ca_path` the system's are used.
    pub ca_file: Option<PathBuf>,
    /// Authorities in PEM itself, in place of files.
    pub ca_pem: String,
    /// Directory of such files.
    pub ca_path: Option<PathBuf>,
    /// PEM file with our certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file with its key.
    pub key_file: Option<PathBuf>,
    /// Accept any certificate.
    pub skip_verify: bool,
    /// Protocols offered by ALPN, best first.
    pub alpn: Vec<&'static str>,
}

/// What is said when the peer does not speak TLS.
pub const NOT_TLS: &str = "tls: first record does not look like a TLS handshake";
