//! Package URLs, by which scanners recognize packages: <https://github.com/package-url/purl-spec>.

use crateyard_oci::Digest;
use crateyard_spec::is_crates_io;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use std::collections::BTreeMap;

use crate::packages::Distribution;
use crate::spec::{ComponentInput, DownloadInput, NpmPackageInput, PackageInput, UnitInput};

/// The characters that no component may hold as they are.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

/// The qualifier with the address of a package's file.
const DOWNLOAD: &str = "download_url";

/// The start of the address of a package of the workspace. The rest is the package's directory.
const WORKSPACE: &str = "file://";

/// npm's own registry.
const NPM_REGISTRY: &str = "https://registry.npmjs.org";

/// Returns the URL of a package of Debian or of a distribution that is made of such packages.
/// Vulnerability databases are kept by distribution and release. A package of another archive is
/// its vendor's, even if Debian has a package of that name.
/// <https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md>
pub(super) fn debian(package: &PackageInput, distribution: &Distribution) -> String {
    let archive = package.archive.as_ref();
    let vendor = archive.map_or(&distribution.id, |archive| &archive.name);
    let mut purl = format!(
        "pkg:deb/{}/{}@{}?arch={}",
        encode(&vendor.to_ascii_lowercase()),
        encode(&package.name),
        encode(&package.version),
        encode(&package.architecture)
    );
    match (archive, &distribution.release) {
        (Some(archive), _) => purl += &format!("&repository_url={}", encode(&archive.url)),
        (None, Some(release)) => {
            let distro = format!("{}-{release}", distribution.id);
            purl += &format!("&distro={}", encode(&distro));
        }
        (None, None) => {}
    }
    purl
}

/// Returns the URL of an npm package. The URL names the registry unless that is npm's own.
/// <https://github.com/package-url/purl-spec/blob/main/types-doc/npm-definition.md>
pub(super) fn npm(package: &NpmPackageInput) -> String {
    let name = package.name.split('/').map(encode).collect::<Vec<_>>();
    let plain = format!("pkg:npm/{}@{}", name.join("/"), encode(&package.version));
    let (key, value) = match package.url.split_once(&format!("/{}/-/", package.name)) {
        Some((NPM_REGISTRY, _)) => return plain,
        Some((registry, _)) => ("repository_url", registry),
        None => (DOWNLOAD, package.url.as_str()),
    };
    format!("{plain}?{key}={}", encode(value))
}

/// Returns the URL of a file that was downloaded.
pub(super) fn download(download: &DownloadInput) -> String {
    format!(
        "pkg:generic/{}?checksum={}&download_url={}",
        encode(short_name(&download.part)),
        encode(&format!("sha256:{}", download.sha256)),
        encode(&download.url)
    )
}

/// Returns the name of a part. That of a part which an image or a crate downloads for itself
/// (`images.gateway:usr:bin:tool`) is the end of its path: `tool`.
pub(super) fn short_name(part: &str) -> &str {
    match part.rsplit_once(':') {
        Some((_, last)) if !last.is_empty() => last,
        _ => part,
    }
}

/// Returns the URL of a crate. A URL without qualifiers names the crate of crates.io. A package of
/// the workspace may have the name of one, so its URL has the package's directory in the workspace,
/// as `cargo cyclonedx` writes it.
/// <https://github.com/package-url/purl-spec/blob/main/types-doc/cargo-definition.md>
pub fn of_crate(unit: &UnitInput) -> String {
    let plain = cargo(&unit.package, &unit.version);
    match unit.source.as_str() {
        "" => {
            let directory = match unit.origin.as_str() {
                "" => ".",
                inner => inner,
            };
            let url = format!("{WORKSPACE}{directory}");
            format!("{plain}?{DOWNLOAD}={}", encode(&url))
        }
        source if is_crates_io(source) => plain,
        git if git.starts_with("git+") => format!("{plain}?vcs_url={}", encode(git)),
        other => format!("{plain}?repository_url={}", encode(other)),
    }
}

/// Returns the URL of a crate of crates.io.
pub fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encode(name), encode(version))
}

/// Returns the URL of a package that belongs to no ecosystem.
pub fn generic(name: &str, version: &str) -> String {
    format!("pkg:generic/{}@{}", encode(name), encode(version))
}

/// The server of the Rust project's releases. A component may have come from elsewhere, but has the
/// same content.
const DISTRIBUTION_SERVER: &str = "https://static.rust-lang.org";

/// Returns the URL of a component of a release of the Rust project.
pub(super) fn component(component: &ComponentInput) -> String {
    let url = format!("{DISTRIBUTION_SERVER}/{}", component.archive);
    format!(
        "pkg:generic/{}@{}?download_url={}",
        encode(&component.name),
        encode(&component.release),
        encode(&url)
    )
}

/// Returns the URL of an image.
pub fn image(name: &str, digest: &Digest) -> String {
    format!("pkg:oci/{}@{}", encode(name), encode(&digest.to_string()))
}

/// The parts of a package URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl {
    /// The ecosystem: `cargo`, `deb`, `oci`.
    pub kind: String,
    /// The text before the name: `debian`, a scope of npm's. Most ecosystems leave it empty.
    pub namespace: String,
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// The other parameters: `arch`, `distro`, `vcs_url`.
    pub qualifiers: BTreeMap<String, String>,
}

impl Purl {
    /// Whether the package is one of the workspace that the image was built from.
    pub fn is_of_workspace(&self) -> bool {
        let url = self.qualifiers.get(DOWNLOAD);
        self.kind == "cargo" && url.is_some_and(|url| url.starts_with(WORKSPACE))
    }

    /// Splits a package URL into its parts. Returns `None` if the text is not a package URL or has
    /// no version.
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
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let pairs = qualifiers.split('&').filter_map(|it| it.split_once('='));
        Some(Purl {
            kind: kind.to_ascii_lowercase(),
            namespace: decode(namespace)?,
            name: decode(name)?,
            version: decode(version)?,
            qualifiers: pairs
                .map(|(key, value)| Some((key.to_ascii_lowercase(), decode(value)?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// Decodes a component, which must be UTF-8 and hold no `%` without two digits after it.
fn decode(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1);
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit();
    if !escapes.all(|rest| matches!(rest.as_bytes(), [a, b, ..] if is_hex(a) && is_hex(b))) {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{ArchiveInput, PackageRole};

    #[test]
    fn versions_are_encoded() {
        let package = PackageInput {
            role: PackageRole::Image,
            name: "libstdc++6".to_owned(),
            architecture: "amd64".to_owned(),
            version: "1:12.2.0-14+deb12u1".to_owned(),
            sha256: String::new(),
            archive: None,
        };
        let purl = debian(&package, &Distribution::debian(Some("12")));
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
        assert_eq!(parsed.namespace, "debian");
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

    #[test]
    fn packages_of_others_are_not_debians() {
        let package = PackageInput {
            role: PackageRole::Image,
            name: "nginx".to_owned(),
            architecture: "amd64".to_owned(),
            version: "1.27".to_owned(),
            sha256: String::new(),
            archive: Some(ArchiveInput {
                name: "vendor".to_owned(),
                url: "https://apt.example/debian".to_owned(),
            }),
        };
        let purl = debian(&package, &Distribution::debian(Some("12")));
        let expected = "pkg:deb/vendor/nginx@1.27?arch=amd64\
                        &repository_url=https%3A%2F%2Fapt.example%2Fdebian";
        assert_eq!(purl, expected);
        assert_eq!(Purl::parse(&purl).unwrap().namespace, "vendor");
    }

    #[test]
    fn packages_of_npm_name_their_registry() {
        let package = |name: &str, url: &str| NpmPackageInput {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            url: url.to_owned(),
            integrity: String::new(),
            license: String::new(),
            dev: false,
        };
        for (name, url, expected) in [
            (
                "@esbuild/linux-x64",
                "https://registry.npmjs.org/@esbuild/linux-x64/-/linux-x64-1.0.0.tgz",
                "pkg:npm/%40esbuild/linux-x64@1.0.0",
            ),
            (
                "nanoid",
                "https://npm.example/all/nanoid/-/nanoid-1.0.0.tgz",
                "pkg:npm/nanoid@1.0.0?repository_url=https%3A%2F%2Fnpm.example%2Fall",
            ),
            (
                "nanoid",
                "https://files.example/n.tgz",
                "pkg:npm/nanoid@1.0.0?download_url=https%3A%2F%2Ffiles.example%2Fn.tgz",
            ),
        ] {
            assert_eq!(npm(&package(name, url)), expected);
        }
    }
}
