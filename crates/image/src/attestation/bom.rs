//! The model of a bill of materials: the components of an image, their suppliers and their
//! relations. Both forms ([`super::spdx`], [`super::cyclonedx`]) are written from it.

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

/// A bill of materials. Each entry is there once, and all entries are sorted.
pub(super) struct Bom {
    /// The image's manifest.
    pub digest: Digest,
    /// Components by their keys, [`IMAGE`] among them.
    pub components: BTreeMap<String, Component>,
    /// The relations between components.
    pub relations: BTreeSet<(String, Relation, String)>,
    /// The texts of licences that have no SPDX name.
    pub license_texts: BTreeMap<String, String>,
}

/// The relation of one component to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    /// The component holds the other.
    Contains,
    /// The component needs the other, or was linked from it.
    DependsOn,
    /// The component has the other's code, which is not a package of its ecosystem.
    StaticLink,
    /// The other component is this one's base.
    DescendantOf,
    /// The other component made this one.
    BuiltBy,
}

/// The kind of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// An image.
    #[default]
    Container,
    /// A program.
    Application,
    /// A package, a crate, or a library that is part of one.
    Library,
    /// A compiler, which is not in the image.
    BuildTool,
    /// One file or several.
    File,
}

/// One of the things that make up an image.
#[derive(Debug, Clone, Default)]
pub(super) struct Component {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    pub supplier: Party,
    pub authors: Vec<Party>,
    pub license: Option<String>,
    pub sha256: Option<String>,
    /// The hash of the tarball, if the ecosystem uses another hash than SHA-256.
    pub integrity: Option<Integrity>,
    /// The address that the file was downloaded from.
    pub download: Option<String>,
    pub purl: Option<String>,
    /// The identifier of the source in Software Heritage's archive.
    pub swhid: Option<String>,
    /// The path of a program in the image.
    pub path: Option<String>,
    /// The source of the component, for people.
    pub source: Option<String>,
    /// A remark for people.
    pub comment: Option<String>,
    pub homepage: Option<String>,
    /// The address and digest of another bill of materials about the component.
    pub sbom: Option<(String, Digest)>,
}

impl Bom {
    /// Lists the components of an image.
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
        debian::add(&mut bom, subject, inputs);
        if let Some(base) = subject.base {
            bom.add_base(base);
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

    /// Adds a component and its relation to another.
    fn add(&mut self, from: &str, relation: Relation, key: &str, component: Component) {
        self.relate(from, relation, key);
        self.components.insert(key.to_owned(), component);
    }

    fn relate(&mut self, from: &str, relation: Relation, to: &str) {
        self.relations
            .insert((from.to_owned(), relation, to.to_owned()));
    }

    /// Returns the expression of a licence and keeps the licence's texts.
    fn license(&mut self, license: Option<License>) -> Option<String> {
        let license = license?.apart_from(&self.license_texts);
        self.license_texts.extend(license.texts);
        Some(license.expression)
    }

    fn add_base(&mut self, base: &BaseFacts<'_>) {
        let name = base.names.first().map_or("base", String::as_str);
        let (name, version) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag.to_owned()),
            _ => (name, base.manifest.digest.to_string()),
        };
        let supplier = Party::organization(name.split('/').next().unwrap_or(name));
        let component = image(name, version, base.manifest, supplier);
        let key = key("image", &["base"]);
        self.add(IMAGE, Relation::DescendantOf, &key, component);
        debian::add_base(self, base);
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

/// Returns the image's version: its main tag, or the version of its first program if there is no
/// tag or the tag is `latest`.
fn version(subject: &Subject<'_>, inputs: &InputsSpec) -> String {
    let program = inputs.programs.first();
    let own = program.and_then(|program| inputs.units.get(&program.unit));
    let tag = subject.version.filter(|tag| *tag != "latest");
    let version = tag.or(own.map(|unit| unit.version.as_str()));
    version.map_or_else(|| subject.manifest.digest.to_string(), str::to_owned)
}

/// Returns the address if a browser can open it.
fn web(address: Option<&String>) -> Option<String> {
    let is_web = |it: &&String| {
        let rest = it.strip_prefix("https://").or(it.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '<', '>', '"']))
    };
    address.filter(is_web).cloned()
}

/// Makes a key of letters, digits, dots and dashes.
fn key(kind: &str, parts: &[&str]) -> String {
    let text: String = parts.join("-");
    let allowed = |c: char| match c {
        c if c.is_ascii_alphanumeric() || c == '.' => c,
        // Names that differ only here stay different.
        '+' => 'p',
        _ => '-',
    };
    let text: String = text.trim_start_matches('/').chars().map(allowed).collect();
    format!("{kind}-{text}")
}
