//! TLS by rustls with ring, and the certificates that it trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

/// A file of certificates that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct CertificateError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
}

/// Returns the system's certificate authorities, and those of some PEM files.
///
/// # Errors
/// Fails if a file can't be read, or holds no certificate.
pub fn roots(files: &[PathBuf]) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    // Ignore system certificates that can't be read. The handshake says if one is missing.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in files {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| bad(path, &error))?;
        }
    }
    Ok(roots)
}

/// Reads the certificates in a PEM file.
///
/// # Errors
/// Fails if the file can't be read, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = certificates.map_err(|error| bad(path, &error))?;
    match certificates.is_empty() {
        true => Err(bad(
            path,
            &"the file holds no certificate (PEM, BEGIN CERTIFICATE)",
        )),
        false => Ok(certificates),
    }
}

/// Begins the configuration of a client that trusts these authorities.
///
/// # Errors
/// Fails if TLS can't be set up.
pub fn trusting(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots))
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> CertificateError {
    CertificateError {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
