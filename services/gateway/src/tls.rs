//! HTTPS: the certificate and its key.

use std::path::PathBuf;

use anyhow::Context;
use axum_server::tls_rustls::RustlsConfig;

use crate::options::ServeOptions;

/// The served certificate and its files.
#[derive(Clone)]
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// The server's configuration, which a reload changes in place.
    pub config: RustlsConfig,
}

impl Tls {
    /// Reads the certificate if there is one.
    ///
    /// # Errors
    /// When a file can't be read or holds no PEM, or key and certificate do not match.
    pub(crate) async fn load(options: &ServeOptions) -> anyhow::Result<Option<Tls>> {
        let (Some(certificate), Some(key)) = (&options.tls_cert, &options.tls_key) else {
            return Ok(None);
        };
        // This fails only if a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = RustlsConfig::from_pem_file(certificate, key).await;
        Ok(Some(Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            config: config.with_context(|| unusable(certificate, key))?,
        }))
    }

    /// Reads the certificate again. On an error the old one stays.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub(crate) async fn reload(&self) -> anyhow::Result<()> {
        let (certificate, key) = (&self.certificate, &self.key);
        let done = self.config.reload_from_pem_file(certificate, key).await;
        done.with_context(|| unusable(certificate, key))
    }
}

fn unusable(certificate: &std::path::Path, key: &std::path::Path) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    format!("can't use the certificate {certificate} with the key {key}")
}
