//! The model of a bill of materials: what is in an image, who gave it, and how it hangs together.
//! Both forms ([`super::spdx`], [`super::cyclonedx`]) are written from it.

mod crates;
mod debian;
mod native;
mod parts;
mod party;

use std::collections::{BTreeMap, BTreeSet};

use super::integrity::Integrity;
use super::{BaseFacts, Nested, Subject, purl};
use crate::Result;
use crate::license::License;
use crate::spec::InputsSpec;
use crateyard_oci::Descriptor;
use crateyard_oci::Digest;

pub(super) use party::Party;

/// The key of the image itself.
pub(super) const IMAGE: &str = "image";

/// A bill of materials: everything once, and sorted.
pub(super) struct Bom {
    /// The image's manifest.
    pub digest: Digest,
    /// Components by their keys, [`IMAGE`] among them.
    pub components: BTreeMap<String, Component>,
    /// How they hang together.
    pub relations: BTreeSet<(String, Relation, String)>,
    /// The texts of licences that SPDX has no name for.
    pub license_texts: BTreeMap<String, String>,
}

/// How one component hangs together with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    /// It holds the other.
    Contains,
    /// It needs the other, or was linked from it.
    DependsOn,
    /// The other's code is in it, and is no package of its own sort.
    StaticLink,
    /// It stands on the other.
    DescendantOf,
    /// The other made it.
    BuiltBy,
}

/// What a component is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// An image.
    #[default]
    Container,
    /// A program.
    Application,
    /// A package, a crate, or a library that is part of one.
    Library,
    /// A compiler: not in the image.
    BuildTool,
    /// A file, or several.
    File,
}

/// Something that an image is made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Component {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    pub supplier: Party,
    pub authors: Vec<Party>,
    pub license: Option<String>,
    pub sha256: Option<String>,
    /// The hash of its tarball, where its ecosystem names another than SHA-256.
    pub integrity: Option<Integrity>,
    /// Where its file was downloaded.
    pub download: Option<String>,
    pub purl: Option<String>,
    /// The identifier of its source in Software Heritage's archive.
    pub swhid: Option<String>,
    /// A program's path in the image.
    pub path: Option<String>,
    /// What it was built from, for people.
    pub source: Option<String>,
    /// What is to be said of it, for people.
    pub comment: Option<String>,
    pub homepage: Option<String>,
    /// Another bill of materials about it: address and digest.
    pub sbom: Option<(String, Digest)>,
}

impl Bom {
    /// What is in an image.
    pub(super) fn new(
        subject: &Subject<'_>,
        inputs: &InputsSpec,
        nested: &[Nested],
    ) -> Result<Bom> {
        let mut bom = Bom {
            digest: subject.manifest.digest.clone(),
            components: BTreeMap::new(),
            relations: BTreeSet::new(),
            license_texts: BTreeMap::new(),
        };
        let supplier = party::of_image(subject, inputs);
        let version = version(subject, inputs);
        let license = subject.labels.get("org.opencontainers.image.licenses");
        let license = license.and_then(|it| License::of_crate("image", it, None));
        let license = bom.license(license);
        let own = image(subject.name, version, subject.manifest, supplier.clone());
        bom.components.insert(
            IMAGE.to_owned(),
            Component {
                license,
                homepage: web(subject.labels.get("org.opencontainers.image.source")),
                ..own
            },
        );
        let release = debian::add(&mut bom, subject, inputs);
        if let Some(base) = subject.base {
            bom.add_base(base, release.as_deref());
        }
        for program in &inputs.programs {
            crates::add_program(&mut bom, subject, inputs, program, &supplier)?;
        }
        parts::add(&mut bom, inputs, &supplier)?;
        for image in nested {
            bom.add_nested(image, &supplier);
        }
        Ok(bom)
    }

    /// Adds a component that another one has something to do with.
    fn add(&mut self, from: &str, relation: Relation, key: &str, component: Component) {
        self.relate(from, relation, key);
        self.components.insert(key.to_owned(), component);
    }

    fn relate(&mut self, from: &str, relation: Relation, to: &str) {
        self.relations
            .insert((from.to_owned(), relation, to.to_owned()));
    }

    /// The expression of a licence, whose texts are kept.
    fn license(&mut self, license: Option<License>) -> Option<String> {
        let license = license?;
        self.license_texts.extend(license.texts);
        Some(license.expression)
    }

    fn add_base(&mut self, base: &BaseFacts<'_>, release: Option<&str>) {
        let name = base.names.first().map_or("base", String::as_str);
        let (name, version) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag.to_owned()),
            _ => (name, base.manifest.digest.to_string()),
        };
        let supplier = Party::organization(name.split('/').next().unwrap_or(name));
        let component = image(name, version, base.manifest, supplier);
        let key = key("image", &["base"]);
        self.add(IMAGE, Relation::DescendantOf, &key, component);
        debian::add_base(self, base, release);
        crates::add_base(self, base);
    }

    fn add_nested(&mut self, nested: &Nested, supplier: &Party) {
        let version = nested.version.clone();
        let version = version.unwrap_or_else(|| nested.manifest.digest.to_string());
        let component = Component {
            sbom: nested.sbom.clone(),
            ..image(&nested.name, version, &nested.manifest, supplier.clone())
        };
        let key = key("image", &[&nested.name]);
        self.add(IMAGE, Relation::Contains, &key, component);
    }
}

fn image(name: &str, version: String, manifest: &Descriptor, supplier: Party) -> Component {
    Component {
        kind: Kind::Container,
        name: name.to_owned(),
        version,
        supplier,
        sha256: Some(manifest.digest.hex().to_owned()),
        purl: Some(purl::image(name, &manifest.digest)),
        ..Component::default()
    }
}

/// The image's version: its main tag, unless that only says that it is the last one; else that of
/// its first program.
fn version(subject: &Subject<'_>, inputs: &InputsSpec) -> String {
    let program = inputs.programs.first();
    let own = program.and_then(|program| inputs.units.get(&program.unit));
    let tag = subject.version.filter(|tag| *tag != "latest");
    let version = tag.or(own.map(|unit| unit.version.as_str()));
    version.map_or_else(|| subject.manifest.digest.to_string(), str::to_owned)
}

/// An address that a browser opens.
fn web(address: Option<&String>) -> Option<String> {
    let is_web = |it: &&String| {
        let rest = it.strip_prefix("https://").or(it.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '<', '>', '"']))
    };
    address.filter(is_web).cloned()
}

/// A key of letters, digits, dots and dashes.
fn key(kind: &str, parts: &[&str]) -> String {
    let text: String = parts.join("-");
    let allowed = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '.' => c,
        // Names that differ in nothing else stay different.
        '+' => 'p',
        _ => '-',
    };
    let text: String = text.trim_start_matches('/').chars().map(allowed).collect();
    format!("{kind}-{text}")
}
