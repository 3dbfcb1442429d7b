//! Certificates: from the system, from docker's and podman's directories, and from the options.

use std::path::{Path, PathBuf};

use crateyard_oci::Reference;
use crateyard_web::tls::{self, CertificateError};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::client::{Environment, Options};
use crate::error::Error;

/// A client certificate and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The certificates that matter for one registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    authorities: Vec<PathBuf>,
    client: Option<ClientCertificate>,
}

impl Certificates {
    /// Finds certificates in the options, then in docker's and podman's `certs.d/HOST:PORT`
    /// directories.
    pub(crate) fn find(options: &Options, target: &Reference) -> Result<Certificates, Error> {
        let mut found = Certificates {
            authorities: options.ca_files.clone(),
            client: options.client_certificate.clone(),
        };
        for directory in directories(&options.environment) {
            found.add_directory(&directory.join(target.registry()))?;
        }
        Ok(found)
    }

    /// Whether there are no certificates for the registry. If there are some, the registry speaks
    /// TLS.
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.client.is_none()
    }

    /// Reads a directory by docker's rules: `*.crt` is an authority, `*.cert` is a client
    /// certificate whose key is the file `*.key` beside it.
    fn add_directory(&mut self, directory: &Path) -> Result<(), Error> {
        let Ok(entries) = std::fs::read_dir(directory) else {
            return Ok(());
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.authorities.push(file),
                Some("cert") if self.client.is_none() => {
                    let key = file.with_extension("key");
                    if !key.exists() {
                        let reason = format!(
                            "the key of this client certificate is missing: {}",
                            key.display()
                        );
                        return Err(Error::Configuration {
                            place: file.display().to_string(),
                            reason,
                        });
                    }
                    self.client = Some(ClientCertificate {
                        certificate: file,
                        key,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn directories(environment: &Environment) -> Vec<PathBuf> {
    let docker = environment
        .docker_directory()
        .map(|directory| directory.join("certs.d"));
    let podman = environment
        .config_directory()
        .map(|directory| directory.join("containers/certs.d"));
    let system = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from);
    docker.into_iter().chain(podman).chain(system).collect()
}

/// Makes a TLS configuration with `certificates`.
pub(crate) fn config(certificates: &Certificates) -> Result<ClientConfig, Error> {
    let roots = tls::roots(&certificates.authorities).map_err(unusable)?;
    let builder = tls::trusting(roots).map_err(unavailable)?;
    let Some(client) = &certificates.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = tls::certificates(&client.certificate).map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_file(&client.key)
        .map_err(|error| bad(&client.key, &error.to_string()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| bad(&client.certificate, &error.to_string()))
}

/// Makes a TLS configuration that trusts nobody, for registries that speak plain HTTP.
pub(crate) fn empty_config() -> Result<ClientConfig, Error> {
    let builder = tls::trusting(RootCertStore::empty()).map_err(unavailable)?;
    Ok(builder.with_no_client_auth())
}

fn unusable(error: CertificateError) -> Error {
    bad(&error.path, &error.reason)
}

fn unavailable(reason: String) -> Error {
    Error::Configuration {
        place: "TLS".to_owned(),
        reason,
    }
}

fn bad(path: &Path, reason: &str) -> Error {
    Error::Configuration {
        place: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_the_registry_are_found_where_docker_keeps_them() {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().join("certs.d/r.example:5000");
        std::fs::create_dir_all(&host).unwrap();
        for name in ["ca.crt", "client.cert", "client.key", "readme"] {
            std::fs::write(host.join(name), "").unwrap();
        }
        let docker_config = Some(directory.path().to_owned());
        let options = Options::new(Environment {
            docker_config,
            ..Environment::default()
        });
        let find = |target: &str| Certificates::find(&options, &target.parse().unwrap());
        let found = find("r.example:5000/a").unwrap();
        assert_eq!(found.authorities, [host.join("ca.crt")]);
        assert_eq!(found.client.unwrap().key, host.join("client.key"));
        assert!(find("r.example/a").unwrap().is_empty());
        std::fs::remove_file(host.join("client.key")).unwrap();
        assert!(
            find("r.example:5000/a")
                .unwrap_err()
                .to_string()
                .contains("client.key")
        );
    }
}
