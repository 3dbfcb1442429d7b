//! Parts: files that an image holds or its crates embed, and that belong to no package of Cargo's
//! or Debian's.

use super::super::integrity::Integrity;
use super::super::{purl, sources};
use super::{Bom, Component, IMAGE, Kind, Party, Relation, crates, key};
use crate::Result;
use crate::license::License;
use crate::spec::{InputsSpec, NpmInput, NpmPackageInput, PartInput, SourceInput};
use crateyard_oci::Digest;

/// Adds the parts that are in the image, after the programs.
pub(super) fn add(bom: &mut Bom, inputs: &InputsSpec, supplier: &Party) -> Result<()> {
    for part in &inputs.parts {
        let holders = holders(bom, inputs, part);
        if holders.is_empty() {
            // Only a build script or a macro read the part.
            continue;
        }
        // Keys have no `:`, and no name has two dots.
        let own = key("part", &[&whole_name(part).replace(':', "..")]);
        let component = component(inputs, part, supplier)?;
        for holder in holders {
            bom.add(&holder, Relation::Contains, &own, component.clone());
        }
        for package in part.npm.iter().flat_map(packages) {
            add_package(bom, &own, part, package);
        }
    }
    Ok(())
}

/// Returns the components that hold the part's files: the image, crates, programs.
fn holders(bom: &Bom, inputs: &InputsSpec, part: &PartInput) -> Vec<String> {
    let embeds = |package: &String| part.crates.contains(package);
    let units = inputs.units.values().filter(|unit| embeds(&unit.package));
    let programs = inputs.programs.iter().filter(|it| embeds(&it.package));
    let mut holders: Vec<String> = units
        .map(crates::key_of)
        .chain(programs.map(|program| key("program", &[&program.path])))
        .chain(part.in_image.then(|| IMAGE.to_owned()))
        .filter(|key| bom.components.contains_key(key))
        .collect();
    holders.sort();
    holders.dedup();
    holders
}

fn component(inputs: &InputsSpec, part: &PartInput, supplier: &Party) -> Result<Component> {
    let download = inputs.downloads.iter().find(|it| it.part == part.name);
    let host = download.and_then(|it| host(&it.url));
    let (sha256, is_one) = digest(part)?;
    Ok(Component {
        kind: Kind::File,
        name: name_of(part),
        version: format!("sha256:{sha256}"),
        supplier: host.map_or(supplier.clone(), Party::organization),
        sha256: Some(sha256),
        purl: download.map(purl::download),
        download: download.map(|it| it.url.clone()),
        comment: Some(comment(part, is_one)),
        ..Component::default()
    })
}

/// Returns `web`, or `web/dist` for a path in the part.
fn whole_name(part: &PartInput) -> String {
    with_path(&part.name, &part.path)
}

/// Returns the same, with the end of its path in place of the name of a part that an image or a
/// crate downloads for itself: `tool` for `images.gateway:usr:bin:tool`.
fn name_of(part: &PartInput) -> String {
    with_path(purl::short_name(&part.name), &part.path)
}

fn with_path(name: &str, path: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{name}/{path}"),
    }
}

fn comment(part: &PartInput, is_one: bool) -> String {
    let mut text = "A part of the description or the flake.".to_owned();
    if !is_one {
        text += " SHA256 is that of the list of its files, as sha256sum prints it.";
    }
    if part.npm.as_ref().is_some_and(|npm| npm.is_built) {
        text += " A command made it of packages of npm's. It depends on those that are for more \
                 than development; the provenance has all.";
    }
    text
}

/// Returns the digest of a part's only file, or of the list of its files, and whether the part is
/// one file.
fn digest(part: &PartInput) -> Result<(String, bool)> {
    let whole = SourceInput {
        path: String::new(),
        from: part.from.clone(),
    };
    let files = sources::files(&[whole])?;
    if let [one] = &files[..] {
        if one.path.is_empty() {
            return Ok((one.digest.hex().to_owned(), true));
        }
    }
    let lines = sources::list(&files);
    Ok((Digest::of(lines.as_bytes()).hex().to_owned(), false))
}

/// Returns the packages that are in the part, without those that only helped to build it.
fn packages(npm: &NpmInput) -> impl Iterator<Item = &NpmPackageInput> {
    let is_in = |package: &&NpmPackageInput| !(npm.is_built && package.dev);
    npm.packages.iter().filter(is_in)
}

fn add_package(bom: &mut Bom, own: &str, part: &PartInput, package: &NpmPackageInput) {
    let is_built = part.npm.as_ref().is_some_and(|npm| npm.is_built);
    let relation = match is_built {
        true => Relation::DependsOn,
        false => Relation::Contains,
    };
    let license = bom.license(License::of_crate(&package.name, &package.license, None));
    let component = Component {
        kind: Kind::Library,
        name: package.name.clone(),
        version: package.version.clone(),
        supplier: Party::organization(host(&package.url).unwrap_or("npm")),
        license,
        integrity: Integrity::parse(&package.integrity),
        purl: Some(purl::npm(package)),
        download: Some(package.url.clone()),
        ..Component::default()
    };
    // Keys have no `/`, and no name has two dots.
    let name = package.name.replace('/', "..");
    bom.add(
        own,
        relation,
        &key("npm", &[&name, &package.version]),
        component,
    );
}

/// Returns the host of an address, which is the only known fact about a file's supplier.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', ':', '?'])
        .next()
        .filter(|host| !host.is_empty())
}
