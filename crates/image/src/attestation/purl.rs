//! Package URLs, by which scanners recognize packages: <https://github.com/package-url/purl-spec>.

use crateyard_oci::Digest;

use std::collections::BTreeMap;

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
pub fn of_crate(unit: &UnitInput) -> String {
    let plain = cargo(&unit.package, &unit.version);
    match unit.source.as_str() {
        "" | CRATES_IO => plain,
        git if git.starts_with("git+") => format!("{plain}?vcs_url={}", encode(git)),
        other => format!("{plain}?repository_url={}", encode(other)),
    }
}

/// A crate of crates.io.
pub fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encode(name), encode(version))
}

/// Something that belongs to no ecosystem.
pub fn generic(name: &str, version: &str) -> String {
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
pub fn image(name: &str, digest: &Digest) -> String {
    format!("pkg:oci/{}@{}", encode(name), encode(&digest.to_string()))
}

/// A package URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl {
    /// The ecosystem: `cargo`, `deb`, `oci`.
    pub kind: String,
    /// The package's name, without what stands before it (`debian`).
    pub name: String,
    /// Its version.
    pub version: String,
    /// What else is said: `arch`, `distro`, `vcs_url`.
    pub qualifiers: BTreeMap<String, String>,
}

impl Purl {
    /// Takes a package URL apart; `None` where it is none, or has no version.
    ///
    /// ```
    /// use crateyard_image::attestation::Purl;
    ///
    /// let purl = Purl::parse("pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64").unwrap();
    /// assert_eq!((purl.kind.as_str(), purl.name.as_str()), ("deb", "libstdc++6"));
    /// assert_eq!(purl.qualifiers["arch"], "amd64");
    /// ```
    pub fn parse(text: &str) -> Option<Purl> {
        let rest = text.strip_prefix("pkg:")?;
        let rest = rest.split('#').next()?;
        let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (path, version) = path.rsplit_once('@')?;
        let (kind, path) = path.split_once('/')?;
        let pairs = qualifiers.split('&').filter_map(|it| it.split_once('='));
        Some(Purl {
            kind: kind.to_ascii_lowercase(),
            name: decode(path.rsplit('/').next()?)?,
            version: decode(version)?,
            qualifiers: pairs
                .map(|(key, value)| Some((key.to_ascii_lowercase(), decode(value)?)))
                .collect::<Option<_>>()?,
        })
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
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
        let purl = debian(&package, Some("12"));
        assert_eq!(
            purl,
            "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        let parsed = Purl::parse(&purl).unwrap();
        assert_eq!(
            (&parsed.name, &parsed.version),
            (&package.name, &package.version)
        );
        assert_eq!(parsed.qualifiers["distro"], "debian-12");
        for odd in [
            "",
            "pkg:cargo/serde",
            "pkg:cargo@1",
            "pkg:cargo/a%zz@1",
            "pkg:cargo/%@1",
        ] {
            assert_eq!(Purl::parse(odd), None, "{odd}");
        }
    }
}
