//! Programs of the workspace and their crates.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component as Part, Path, PathBuf};

use super::super::{BaseFacts, Subject, purl, sources};
use super::{Bom, Component, IMAGE, Kind, Party, Relation, key, native, party, web};
use crate::license::License;
use crate::packages::Distribution;
use crate::spec::{InputsSpec, PackageInput, PackageRole, ProgramInput, UnitInput};
use crate::{Error, Result};
use crateyard_oci::Digest;
use crateyard_spec::is_crates_io;

/// Adds a program and its crates.
pub(super) fn add_program(
    bom: &mut Bom,
    subject: &Subject<'_>,
    inputs: &InputsSpec,
    program: &ProgramInput,
    supplier: &Party,
) -> Result<()> {
    let program_key = key("program", &[&program.path]);
    let own = inputs.units.get(&program.unit);
    let said = subject.programs.get(program.path.trim_start_matches('/'));
    let license = match own {
        Some(unit) => license_of(bom, unit)?,
        None => None,
    };
    let of_libraries = license.clone();
    let component = Component {
        kind: Kind::Application,
        name: program.bin.clone(),
        version: own.map(|unit| unit.version.clone()).unwrap_or_default(),
        supplier: own.map_or(supplier.clone(), |unit| party::of_crate(unit, supplier)),
        authors: own.map(party::authors).unwrap_or_default(),
        license,
        sha256: said
            .and_then(|it| it.digest.as_ref())
            .map(|digest| digest.hex().to_owned()),
        purl: own.map(purl::of_crate),
        path: Some(program.path.clone()),
        homepage: own.and_then(|unit| web(Some(&unit.repository))),
        ..Component::default()
    };
    bom.add(IMAGE, Relation::Contains, &program_key, component);
    if let Some(unit) = own {
        native::add(bom, unit, &program_key, supplier, of_libraries)?;
    }
    for compiler in said.iter().flat_map(|it| &it.compilers) {
        add_compiler(bom, inputs, &program_key, compiler);
    }
    let mut pending = vec![(program_key, &program.unit)];
    let mut seen = std::collections::BTreeSet::new();
    while let Some((from, unit)) = pending.pop() {
        for used in inputs.units.get(unit).iter().flat_map(|it| &it.uses) {
            let Some(unit) = inputs.units.get(used) else {
                continue;
            };
            let key = key_of(unit);
            bom.relate(&from, Relation::DependsOn, &key);
            if seen.insert(used) {
                add_crate(bom, inputs, unit, supplier)?;
                pending.push((key, used));
            }
        }
    }
    Ok(())
}

fn add_crate(bom: &mut Bom, inputs: &InputsSpec, unit: &UnitInput, supplier: &Party) -> Result<()> {
    let license = license_of(bom, unit)?;
    let sha256 = match unit.source.as_str() {
        "" => Some(digest_of_sources(inputs, unit)?),
        _ => unit.checksum.clone(),
    };
    let commit = unit
        .source
        .strip_prefix("git+")
        .and_then(|git| git.rsplit_once('#'));
    let own = key_of(unit);
    let component = Component {
        kind: Kind::Library,
        name: unit.package.clone(),
        version: unit.version.clone(),
        supplier: party::of_crate(unit, supplier),
        authors: party::authors(unit),
        license: license.clone(),
        sha256,
        purl: Some(purl::of_crate(unit)),
        swhid: commit.map(|(_, commit)| format!("swh:1:rev:{commit}")),
        homepage: web(Some(&unit.repository)),
        comment: unit.source.is_empty().then(|| {
            "A crate of the workspace. SHA256 is that of the list of its files, as sha256sum \
             prints it."
                .to_owned()
        }),
        ..Component::default()
    };
    bom.components.insert(own.clone(), component);
    native::add(bom, unit, &own, supplier, license)
}

/// Returns the expression of a crate's licence.
fn license_of(bom: &mut Bom, unit: &UnitInput) -> Result<Option<String>> {
    let file = license_text(unit)?;
    let license = License::of_crate(&unit.package, &unit.license, file.as_deref());
    Ok(bom.license(license))
}

/// Returns the text of a licence if the manifest only names its file.
fn license_text(unit: &UnitInput) -> Result<Option<String>> {
    let (Some(source), Some(file)) = (&unit.license_source, &unit.license_file) else {
        return Ok(None);
    };
    let bytes = if source.is_dir() {
        inside(file).and_then(|file| fs::read(source.join(file)).ok())
    } else if unit.source.is_empty() {
        Some(fs::read(source).map_err(Error::io("read", source))?)
    } else {
        from_crate_file(source, unit, file)?
    };
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns a path without `..`, or `None` if it leads out of its directory.
fn inside(file: &str) -> Option<PathBuf> {
    let mut inner = PathBuf::new();
    for part in Path::new(file).components() {
        match part {
            Part::Normal(name) => inner.push(name),
            Part::CurDir => {}
            Part::ParentDir if inner.pop() => {}
            _ => return None,
        }
    }
    Some(inner)
}

fn from_crate_file(source: &Path, unit: &UnitInput, file: &str) -> Result<Option<Vec<u8>>> {
    let archive = fs::File::open(source).map_err(Error::io("open", source))?;
    let wanted = format!(
        "{}-{}/{}",
        unit.package,
        unit.version,
        file.trim_start_matches("./")
    );
    let mut reader = crateyard_oci::tar::Reader::new(flate2::read::GzDecoder::new(archive));
    let damaged = |error: crateyard_oci::tar::TarError| {
        Error::damaged(source.display().to_string(), error.to_string())
    };
    while let Some(entry) = reader.next_entry().map_err(damaged)? {
        if entry.path == wanted.as_bytes() {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut text)
                .map_err(Error::io("read", source))?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Returns the digest of the list of a package's files, as `sha256sum` prints the list: no single
/// file holds them all.
fn digest_of_sources(inputs: &InputsSpec, unit: &UnitInput) -> Result<String> {
    let own: Vec<_> = inputs
        .sources
        .iter()
        .filter(|source| source.path == unit.origin)
        .cloned()
        .collect();
    let lines = sources::list(&sources::files(&own)?);
    Ok(Digest::of(lines.as_bytes()).hex().to_owned())
}

/// Adds a compiler, by the name that it leaves in the programs that it makes. rustc's standard
/// library is in them.
fn add_compiler(bom: &mut Bom, inputs: &InputsSpec, program: &str, said: &str) {
    let Some((name, version)) = compiler(said) else {
        return;
    };
    let package = package_of_compiler(inputs, name, version);
    let maker = match name {
        "rustc" => "The Rust Project",
        "gcc" => "GNU Project",
        _ => "LLVM Project",
    };
    let component = Component {
        kind: Kind::BuildTool,
        name: name.to_owned(),
        version: package
            .map_or(version, |package| &package.version)
            .to_owned(),
        supplier: Party::organization(if package.is_some() { "Debian" } else { maker }),
        sha256: package
            .map(|package| package.sha256.clone())
            .or_else(|| component_hash(inputs, name)),
        purl: Some(package.map_or_else(
            || purl::generic(name, version),
            |package| purl::debian(package, &Distribution::debian(None)),
        )),
        comment: Some(format!("It calls itself {said:?} in what it made.")),
        license: known_license(name),
        ..Component::default()
    };
    bom.add(
        program,
        Relation::BuiltBy,
        &key("tool", &[name, version]),
        component,
    );
    if name == "rustc" {
        let library = inputs.packages.iter().find(|package| {
            package.name.starts_with("libstd-rust") && package.version.contains(version)
        });
        let component = Component {
            kind: Kind::Library,
            name: "rust-std".to_owned(),
            version: version.to_owned(),
            supplier: Party::organization("The Rust Project"),
            sha256: library
                .map(|library| library.sha256.clone())
                .or_else(|| component_hash(inputs, "rust-std")),
            purl: Some(purl::generic("rust-std", version)),
            license: Some("MIT OR Apache-2.0".to_owned()),
            comment: Some("Rust's standard library, which programs are linked from.".to_owned()),
            ..Component::default()
        };
        bom.add(
            program,
            Relation::StaticLink,
            &key("std", &[version]),
            component,
        );
    }
}

/// Returns the Debian package that holds a compiler. `gcc` only holds a link to `gcc-12`, and a
/// compiler for another machine is in `gcc-12-aarch64-linux-gnu`.
fn package_of_compiler<'a>(
    inputs: &'a InputsSpec,
    name: &str,
    version: &str,
) -> Option<&'a PackageInput> {
    let major = version.split('.').next().unwrap_or(version);
    let machine = inputs
        .build
        .target
        .replace("-unknown", "")
        .replace('_', "-");
    let named = |wanted: &str| {
        inputs.packages.iter().find(|package| {
            let is_toolchain = package.role == PackageRole::Toolchain;
            is_toolchain && package.name == wanted && package.version.contains(version)
        })
    };
    named(&format!("{name}-{major}-{machine}"))
        .or_else(|| named(&format!("{name}-{major}")))
        .or_else(|| named(name))
        .or_else(|| named(&format!("{name}-web")))
}

/// Returns the hash of a component of the compiler's release, for the image's platform if the
/// component has one of its own there.
fn component_hash(inputs: &InputsSpec, name: &str) -> Option<String> {
    let named = || inputs.components.iter().filter(|each| each.name == name);
    let own = named().find(|each| each.platform == inputs.build.target);
    own.or_else(|| named().next())
        .map(|component| component.sha256.clone())
}

fn known_license(compiler: &str) -> Option<String> {
    let license = match compiler {
        "rustc" => "MIT OR Apache-2.0",
        "gcc" => "GPL-3.0-or-later WITH GCC-exception-3.1",
        _ => "Apache-2.0 WITH LLVM-exception",
    };
    Some(license.to_owned())
}

/// Returns the name and version in `rustc version 1.85.0 (…)` or `GCC: (Debian 12.2.0-14) 12.2.0`.
fn compiler(said: &str) -> Option<(&'static str, &str)> {
    if let Some(rest) = said.strip_prefix("rustc version ") {
        return Some(("rustc", rest.split(' ').next()?));
    }
    if said.starts_with("GCC: ") {
        return Some(("gcc", said.rsplit(' ').next()?));
    }
    let (_, rest) = said.split_once("clang version ")?;
    Some(("clang", rest.split(' ').next()?))
}

/// Adds the crates of a base image's programs that carry a list of them.
pub(super) fn add_base(bom: &mut Bom, base: &BaseFacts<'_>) {
    let mut programs: BTreeMap<&str, _> = BTreeMap::new();
    programs.extend(
        base.crates
            .iter()
            .map(|(path, crates)| (path.as_str(), crates)),
    );
    for (path, crates) in programs {
        let program = key("program", &[path]);
        let component = Component {
            kind: Kind::Application,
            name: path.rsplit('/').next().unwrap_or(path).to_owned(),
            version: base.manifest.digest.to_string(),
            supplier: bom.components[&key("image", &["base"])].supplier.clone(),
            path: Some(format!("/{}", path.trim_start_matches('/'))),
            comment: Some(
                "A program of the base image, by the list of crates that it carries.".to_owned(),
            ),
            ..Component::default()
        };
        bom.add(
            &key("image", &["base"]),
            Relation::Contains,
            &program,
            component,
        );
        for one in crates {
            let own = key("crate", &[&one.name, &one.version]);
            bom.relate(&program, Relation::DependsOn, &own);
            bom.components.entry(own).or_insert_with(|| Component {
                kind: Kind::Library,
                name: one.name.clone(),
                version: one.version.clone(),
                supplier: Party::organization("crates.io"),
                purl: Some(purl::cargo(&one.name, &one.version)),
                ..Component::default()
            });
        }
    }
}

pub(super) fn key_of(unit: &UnitInput) -> String {
    // The workspace and several registries may have crates of one name and version.
    match unit.source.as_str() {
        "" => key("member", &[&unit.package, &unit.version]),
        source if is_crates_io(source) => key("crate", &[&unit.package, &unit.version]),
        source => {
            let source = Digest::of(source.as_bytes());
            key("crate", &[&unit.package, &unit.version, &source.hex()[..8]])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compiler;

    #[test]
    fn compilers_call_themselves_by_name() {
        let rustc = "rustc version 1.85.0 (4d91de4e4 2025-02-17) (built from a source tarball)";
        assert_eq!(compiler(rustc), Some(("rustc", "1.85.0")));
        assert_eq!(
            compiler("GCC: (Debian 12.2.0-14+deb12u1) 12.2.0"),
            Some(("gcc", "12.2.0"))
        );
        assert_eq!(
            compiler("Debian clang version 14.0.6"),
            Some(("clang", "14.0.6"))
        );
        assert_eq!(compiler("Linker: LLD 20"), None);
    }
}
