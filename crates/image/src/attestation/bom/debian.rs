//! Debian packages of the image's own layers and of its base image.

use std::collections::BTreeMap;

use super::super::{BaseFacts, Subject, purl};
use super::{Bom, Component, IMAGE, Kind, Party, Relation, key};
use crate::license::License;
use crate::packages::Distribution;
use crate::spec::{DebianPackage, InputsSpec, PackageDetails, PackageInput, PackageRole};

/// Adds the packages of the image's layers.
pub(super) fn add(bom: &mut Bom, subject: &Subject<'_>, inputs: &InputsSpec) {
    let in_image = |package: &&PackageInput| package.role == PackageRole::Image;
    let packages: Vec<&PackageInput> = inputs.packages.iter().filter(in_image).collect();
    let base = subject.base.map_or(&[][..], |base| &base.packages);
    let own = packages
        .iter()
        .find_map(|package| release_of(&package.name, &package.version));
    let below = subject.base.map(distribution_of);
    let below = below.filter(Distribution::is_debian);
    let distribution = match (own, below) {
        (None, Some(below)) => below,
        (own, _) => Distribution::debian(own.as_deref()),
    };
    let details: BTreeMap<&DebianPackage, &PackageDetails> = subject
        .packages
        .iter()
        .map(|it| (&it.package, it))
        .collect();
    for package in packages {
        let own = DebianPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            arch: package.architecture.clone(),
        };
        let purl = purl::debian(package, &distribution);
        let found = details.get(&own).copied();
        let archive = package.archive.as_ref();
        let vendor = archive.map_or("Debian", |archive| &archive.name);
        let sha256 = Some(package.sha256.clone());
        add_package(bom, IMAGE, &own, (found, vendor), purl, sha256);
    }
    add_licenses(bom, subject.packages);
    add_dependencies(bom, subject.packages.iter().chain(base));
}

/// Adds the packages of the base image.
pub(super) fn add_base(bom: &mut Bom, base: &BaseFacts<'_>) {
    let image = key("image", &["base"]);
    let distribution = distribution_of(base);
    for details in &base.packages {
        let package = &details.package;
        let input = PackageInput {
            role: PackageRole::Image,
            name: package.name.clone(),
            architecture: package.arch.clone(),
            version: package.version.clone(),
            sha256: String::new(),
            archive: None,
        };
        let purl = purl::debian(&input, &distribution);
        // dpkg does not keep the file that it unpacked, so the file has no digest.
        if !bom.components.contains_key(&key_of(package)) {
            let known = (Some(details), distribution.id.as_str());
            add_package(bom, &image, package, known, purl, None);
        }
    }
}

/// Adds a package. If its details name no maintainer, the vendor beside them is its supplier.
fn add_package(
    bom: &mut Bom,
    image: &str,
    package: &DebianPackage,
    (details, vendor): (Option<&PackageDetails>, &str),
    purl: String,
    sha256: Option<String>,
) {
    let maintainer = details.and_then(|it| Party::parse(&it.maintainer));
    let license = bom.license(details.and_then(|it| it.license.clone()));
    let component = Component {
        kind: Kind::Library,
        name: package.name.clone(),
        version: package.version.clone(),
        supplier: maintainer.unwrap_or_else(|| Party::organization(vendor)),
        license,
        sha256,
        purl: Some(purl),
        source: details.map(|it| format!("{} {}", it.source, it.source_version)),
        homepage: details.and_then(|it| super::web(Some(&it.homepage))),
        ..Component::default()
    };
    bom.add(image, Relation::Contains, &key_of(package), component);
}

/// Adds the licences of packages that share another package's licence.
fn add_licenses(bom: &mut Bom, packages: &[PackageDetails]) {
    let by_name = |name: &str| packages.iter().find(|it| it.package.name == name);
    for details in packages.iter().filter(|it| it.license.is_none()) {
        let mut current = Some(details);
        let mut found: Option<&License> = None;
        for _ in 0..8 {
            let Some(details) = current else { break };
            found = details.license.as_ref();
            if found.is_some() {
                break;
            }
            current = details.license_of.as_deref().and_then(by_name);
        }
        let license = bom.license(found.cloned());
        if let Some(component) = bom.components.get_mut(&key_of(&details.package)) {
            component.license = component.license.take().or(license);
        }
    }
}

/// Adds the dependencies between the given packages.
fn add_dependencies<'a>(bom: &mut Bom, packages: impl Iterator<Item = &'a PackageDetails> + Clone) {
    let keys: BTreeMap<&str, String> = packages
        .clone()
        .map(|it| (it.package.name.as_str(), key_of(&it.package)))
        .collect();
    for details in packages {
        let own = key_of(&details.package);
        let there = details
            .depends
            .iter()
            .filter_map(|name| keys.get(name.as_str()));
        for other in there.filter(|other| **other != own) {
            bom.relate(&own, Relation::DependsOn, other);
        }
    }
}

fn key_of(package: &DebianPackage) -> String {
    key("deb", &[&package.name, &package.version, &package.arch])
}

/// Returns the distribution of a base image. If the base does not name it, it is Debian: images
/// without a shell may have dpkg's database alone.
fn distribution_of(base: &BaseFacts<'_>) -> Distribution {
    let said = base.distribution.clone();
    let said = said.unwrap_or_else(|| Distribution::debian(None));
    if !said.is_debian() || said.release.is_some() {
        return said;
    }
    let mut packages = base.packages.iter().map(|it| &it.package);
    let release = packages.find_map(|it| release_of(&it.name, &it.version));
    Distribution::debian(release.as_deref())
}

/// Returns the number of Debian's release from the version of `base-files`, such as
/// `12.4+deb12u15`.
fn release_of(name: &str, version: &str) -> Option<String> {
    let number = version.split(['.', '+']).next()?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    (name == "base-files" && is_number).then(|| number.to_owned())
}
