//! The bundle of the certificates that packages bring.

use std::collections::BTreeMap;
use std::io::Read;

use crateyard_oci::tar;

use super::unpack::drain;
use super::{package_path, unique};
use crate::deb::Deb;
use crate::layer::plain::file_node;
use crate::layer::tree::{Content, Tree, image_path};
use crate::spec::CaCertificatesSource;
use crate::{Error, Result};

const CERTIFICATES: &str = "usr/share/ca-certificates/";
/// The largest bundle of certificates, in bytes. A usual one has some 200 KB.
const MAX_CERTIFICATES: usize = 64 << 20;

/// Adds the bundle of all certificates of some packages, in the order of their paths.
pub(in crate::layer) fn add(
    tree: &mut Tree,
    at: &str,
    source: &CaCertificatesSource,
) -> Result<()> {
    let to = image_path(&format!("{at}.to"), &source.to)?;
    let mut certificates = BTreeMap::new();
    for path in unique(&source.packages) {
        let deb = Deb::open(path)?;
        read_certificates(&deb, &mut certificates)?;
    }
    if certificates.is_empty() {
        return Err(Error::spec(
            format!("{at}.packages"),
            format!("no package holds a file /{CERTIFICATES}**/*.crt"),
            "name the package ca-certificates",
        ));
    }
    let mut bundle = Vec::new();
    for certificate in certificates.values() {
        bundle.extend_from_slice(certificate);
        if !certificate.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    let origin = format!("{at} (bundle of certificates)");
    tree.insert(to, file_node(Content::Bytes(bundle), 0o644, 0, 0, &origin))
}

fn read_certificates(deb: &Deb, certificates: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let damaged = |problem: String| Error::damaged(deb.path().display().to_string(), problem);
    let mut data = deb.data()?;
    let mut total = 0;
    while let Some(entry) = data
        .next_entry()
        .map_err(|error| damaged(error.to_string()))?
    {
        let path = package_path(&entry.path).map_err(damaged)?;
        let wanted = path.starts_with(CERTIFICATES) && path.ends_with(".crt");
        if entry.kind != tar::Kind::File || !wanted {
            continue;
        }
        let limit = (MAX_CERTIFICATES - total) as u64;
        if entry.size > limit {
            return Err(damaged("its certificates are too large".to_owned()));
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)
            .map_err(|error| damaged(error.to_string()))?;
        total += bytes.len();
        certificates.insert(path, bytes);
    }
    drain(data)
        .map(drop)
        .map_err(|error| damaged(error.to_string()))
}
