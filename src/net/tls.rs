//! TLS for listeners: certificates and keys from files, client certificates on demand.
//!
//! Holds true: only TLS 1.2 and newer are spoken, whatever older versions a configuration names.
//! Leaves to others: which files (`config`).
//! Source: `docs/reference/config.md` (`cert_file`, `key_file`, `ca_file`, `ca_path`, `verify_incoming_https`);
//! the documentation of rustls.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use futures_rustls::TlsAcceptor;
pub use futures_rustls::server::TlsStream;
use rustls::RootCertStore;
pub use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

pub use super::tls_options::ServerFiles;

static ONLY_TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Builds the TLS side of a listener.
///
/// # Errors
/// When a file cannot be read or does not hold what it should; the text names the file.
pub fn server_config(files: &ServerFiles) -> io::Result<Arc<ServerConfig>> {
    let certs = certificates(&files.cert_file)?;
    if certs.is_empty() {
        return Err(bad(&files.cert_file, "no certificate in PEM form found"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|e| bad(&files.key_file, &format!("no usable private key: {e}")))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(if files.only_tls13 {
            ONLY_TLS13
        } else {
            rustls::DEFAULT_VERSIONS
        })
        .map_err(io::Error::other)?;
    let builder = if files.verify_incoming {
        let roots = Arc::new(authorities(files)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|e| {
                io::Error::other(format!("verify_incoming: {e}: set ca_file or ca_path"))
            })?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(certs, key)
        .map_err(|e| bad(&files.cert_file, &e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn bad(path: &Path, text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {text}", path.display()),
    )
}

pub(super) fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .map_err(|e| bad(path, &e.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|e| bad(path, &e.to_string()))
}

/// The files of a directory of certificates.
pub(super) fn directory(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|e| bad(dir, &e.to_string()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn authorities(files: &ServerFiles) -> io::Result<RootCertStore> {
    let mut paths: Vec<PathBuf> = files.ca_file.iter().cloned().collect();
    if let Some(dir) = &files.ca_path {
        paths.extend(directory(dir)?);
    }
    let mut roots = RootCertStore::empty();
    for path in &paths {
        for cert in certificates(path)? {
            roots.add(cert).map_err(|e| bad(path, &e.to_string()))?;
        }
    }
    Ok(roots)
}
