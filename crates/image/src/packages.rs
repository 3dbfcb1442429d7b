//! The Debian packages and crates in an image.

mod distribution;
mod executable;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::auditable::{CrateList, ListedCrate};
use crate::files::Listing;
use crate::license::License;
pub use crate::spec::DebianPackage;
use crate::spec::PackageDetails;
pub use distribution::Distribution;

pub(crate) const STATUS: &str = "var/lib/dpkg/status";
/// The directory in which images without dpkg keep one paragraph for each package.
const STATUS_DIRECTORY: &str = "var/lib/dpkg/status.d/";
const INFO: &str = "var/lib/dpkg/info/";
const DOCUMENTS: &str = "usr/share/doc/";
const COPYRIGHT: &str = "/copyright";
/// The directories that are links into `/usr`. The lists of packages name paths without `/usr`.
const MERGED: [&str; 6] = ["bin/", "sbin/", "lib/", "lib32/", "lib64/", "libx32/"];

/// A crate that a program was built from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Crate {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
}

/// Whether [`Listing`] must keep the content of a file for this module.
pub(crate) fn is_data_base(path: &str) -> bool {
    path == STATUS
        || distribution::FILES.contains(&path)
        || path.starts_with(STATUS_DIRECTORY)
        || (path.starts_with(INFO) && path.ends_with(".list"))
}

/// Returns the Debian packages that dpkg's database in the image lists as installed, sorted.
///
/// # Errors
/// None at present. Malformed paragraphs are skipped, as in scanners.
pub fn installed(listing: &Listing) -> Result<Vec<DebianPackage>> {
    let kept = listing.kept().iter();
    let paragraphs = kept.filter(|(path, _)| {
        *path == STATUS || (path.starts_with(STATUS_DIRECTORY) && !path.ends_with(".md5sums"))
    });
    let mut packages = BTreeSet::new();
    for (path, bytes) in paragraphs {
        let text = String::from_utf8_lossy(bytes);
        for paragraph in text.split("\n\n") {
            packages.extend(parse_paragraph(paragraph, path == STATUS));
        }
    }
    Ok(packages.into_iter().collect())
}

/// Returns the details of the installed packages, with their licences if [`Options::licenses`]
/// asked for them.
///
/// [`Options::licenses`]: crate::files::Options::licenses
pub(crate) fn details(listing: &Listing) -> Vec<PackageDetails> {
    let mut all = BTreeMap::new();
    for (path, bytes) in listing.kept() {
        if *path != STATUS && !path.starts_with(STATUS_DIRECTORY) || path.ends_with(".md5sums") {
            continue;
        }
        let text = String::from_utf8_lossy(bytes);
        for paragraph in text.split("\n\n") {
            if let Some(package) = parse_paragraph(paragraph, path == STATUS) {
                let mut details = PackageDetails::new(package.clone(), paragraph);
                details.license = copyright(listing, &package.name);
                all.insert(package, details);
            }
        }
    }
    all.into_values().collect()
}

fn copyright(listing: &Listing, package: &str) -> Option<License> {
    let path = format!("{DOCUMENTS}{package}{COPYRIGHT}");
    let (path, _) = listing.resolve(&path).ok()?;
    let text = String::from_utf8_lossy(listing.kept().get(path)?);
    Some(License::of_debian(package, &text))
}

/// Whether [`Listing`] must keep the content of a file for licences.
pub(crate) fn is_copyright(path: &str) -> bool {
    path.starts_with(DOCUMENTS) && path.ends_with(COPYRIGHT)
}

fn parse_paragraph(paragraph: &str, with_state: bool) -> Option<DebianPackage> {
    let field = |name: &str| crate::deb::field(paragraph, name).map(str::to_owned);
    let state = field("Status").unwrap_or_default();
    if with_state && !state.ends_with(" installed") {
        return None;
    }
    Some(DebianPackage {
        name: field("Package")?,
        version: field("Version")?,
        arch: field("Architecture")?,
    })
}

/// Returns the Debian package of each file, by path without leading slash.
pub fn owners(listing: &Listing) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for (path, bytes) in listing.kept() {
        let name = path
            .strip_prefix(INFO)
            .and_then(|name| name.strip_suffix(".list"));
        let Some(name) = name else { continue };
        let package = name.split(':').next().unwrap_or(name);
        for line in String::from_utf8_lossy(bytes).lines() {
            let owned = owned_path(line, listing);
            // Skip directories: a directory belongs to many packages.
            let Some(owned) = owned else { continue };
            owners.insert(owned, package.to_owned());
        }
    }
    owners
}

/// Returns the path in the image for a line of a package's list, if there is a file.
fn owned_path(line: &str, listing: &Listing) -> Option<String> {
    let path = line.trim_start_matches('/');
    let merged = MERGED.iter().any(|directory| path.starts_with(directory));
    let candidates = [Some(path.to_owned()), merged.then(|| format!("usr/{path}"))];
    candidates.into_iter().flatten().find(|path| {
        let file = listing.get(path);
        file.is_some_and(|file| file.kind != crate::files::FileKind::Directory)
    })
}

/// Returns the crates in each program by path: the program's own list, or else the one in `stated`,
/// a document about the image.
pub fn crates<'a>(
    listing: &'a Listing,
    stated: &'a BTreeMap<String, Vec<Crate>>,
) -> BTreeMap<&'a str, &'a [Crate]> {
    let in_image = |path: &str| listing.get(path.trim_start_matches('/')).is_some();
    let stated = stated.iter().filter(|(path, _)| in_image(path));
    let own = listing.crates().iter();
    stated
        .map(|(path, crates)| (path.trim_start_matches('/'), &crates[..]))
        .chain(own.map(|(path, crates)| (path.trim_start_matches('/'), &crates[..])))
        .collect()
}

/// Returns the crates in an executable's own list, which is the section that `cargo auditable`
/// adds. Returns `None` for anything else.
pub(crate) fn crates_of_executable(content: &mut dyn Read) -> io::Result<Option<Vec<Crate>>> {
    let Some(json) = executable::dependency_list(content)? else {
        return Ok(None);
    };
    Ok(parse_dependency_list(&json))
}

fn parse_dependency_list(json: &[u8]) -> Option<Vec<Crate>> {
    let list: CrateList = serde_json::from_slice(json).ok()?;
    let in_program = |listed: &ListedCrate| listed.kind.as_deref() != Some("build");
    let crates: BTreeSet<Crate> = list
        .packages
        .into_iter()
        .filter(in_program)
        .map(|ListedCrate { name, version, .. }| Crate { name, version })
        .collect();
    Some(crates.into_iter().collect())
}
