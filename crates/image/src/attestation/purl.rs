//! Package URLs, by which scanners recognize packages: <https://github.com/package-url/purl-spec>.

use crateyard_oci::Digest;

use crate::spec::{ComponentInput, PackageInput, UnitInput};

/// Where crates come from unless something else is said.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A Debian package. `release` is Debian's number, where it is known: vulnerability data bases
/// are kept by release.
pub(super) fn debian(package: &PackageInput, release: Option<&str>) -> String {
    let mut purl = format!(
        "pkg:deb/debian/{}@{}?arch={}",
        encode(&package.name),
        encode(&package.version),
        encode(&package.architecture)
    );
    if let Some(release) = release {
        purl += &format!("&distro=debian-{}", encode(release));
    }
    purl
}

/// A crate.
pub(super) fn of_crate(unit: &UnitInput) -> String {
    let plain = cargo(&unit.package, &unit.version);
    match unit.source.as_str() {
        "" | CRATES_IO => plain,
        git if git.starts_with("git+") => format!("{plain}?vcs_url={}", encode(git)),
        other => format!("{plain}?repository_url={}", encode(other)),
    }
}

/// A crate of crates.io.
pub(super) fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encode(name), encode(version))
}

/// Something that belongs to no ecosystem.
pub(super) fn generic(name: &str, version: &str) -> String {
    format!("pkg:generic/{}@{}", encode(name), encode(version))
}

/// Where the Rust project publishes its releases. A component may have come from elsewhere, and has this content.
const DISTRIBUTION_SERVER: &str = "https://static.rust-lang.org";

/// A component of a release of the Rust project.
pub(super) fn component(component: &ComponentInput) -> String {
    let url = format!("{DISTRIBUTION_SERVER}/{}", component.archive);
    format!(
        "pkg:generic/{}@{}?download_url={}",
        encode(&component.name),
        encode(&component.release),
        encode(&url)
    )
}

/// An image.
pub(super) fn image(name: &str, digest: &Digest) -> String {
    format!("pkg:oci/{}@{}", encode(name), encode(&digest.to_string()))
}

/// Percent-encodes all but what every component may hold.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                encoded.push(byte as char);
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::PackageRole;

    #[test]
    fn versions_are_encoded() {
        let package = PackageInput {
            role: PackageRole::Image,
            name: "libstdc++6".to_owned(),
            architecture: "amd64".to_owned(),
            version: "1:12.2.0-14+deb12u1".to_owned(),
            sha256: String::new(),
        };
        assert_eq!(
            debian(&package, Some("12")),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
    }
}
