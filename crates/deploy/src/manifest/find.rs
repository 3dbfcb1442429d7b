//! Finds the images of the workspace that YAML names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crateyard_oci::Reference;

use super::mention::{self, SCHEME};
use super::position::Positions;
use super::yaml::{self, Style, Tree, Value};
use super::{Error, Position};

/// The key of a scalar that is a whole reference, as in the containers of pods and in compose
/// services.
const WHOLE: &str = "image";
/// The keys of a repository with a tag or digest beside it, as in Helm values and kustomizations.
const REPOSITORIES: [&str; 4] = ["repository", "newName", "name", "image"];
/// The keys of a tag beside a repository.
const TAGS: [&str; 2] = ["tag", "newTag"];
/// The key of a digest beside a repository.
const DIGEST: &str = "digest";
/// The key of a registry's host beside a repository.
const REGISTRY: &str = "registry";
/// The longest aliased text, in bytes, that can be a reference.
const MAX_REFERENCE: usize = 4096;
/// The most places of a text that may name images.
pub(super) const MAX_PLACES: usize = 100_000;

/// The images, and the names that manifests have for them in addition to `crateyard://NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The images of `images.toml`.
    images: BTreeSet<String>,
    /// The image for each full repository name.
    mapping: BTreeMap<Reference, String>,
}

impl Names {
    /// Collects the images of `images.toml` and a mapping of manifests' names to them.
    ///
    /// # Errors
    /// When a name in the mapping is not a reference, or maps to no image.
    pub fn new(images: &[String], mapping: &BTreeMap<String, String>) -> Result<Names, String> {
        let images: BTreeSet<String> = images.iter().cloned().collect();
        let mut references = BTreeMap::new();
        for (from, to) in mapping {
            let reference: Reference = from
                .parse()
                .map_err(|error: crateyard_oci::ParseReferenceError| error.to_string())?;
            if !images.contains(to) {
                return Err(format!(
                    "the mapping {from:?} leads to {to:?}, {}",
                    missing(&images)
                ));
            }
            references.insert(reference.without_version(), to.clone());
        }
        Ok(Names {
            images,
            mapping: references,
        })
    }

    /// Checks that an image exists, and returns its name.
    pub(super) fn known(&self, image: &str, position: Position) -> Result<String, Error> {
        match self.images.contains(image) {
            true => Ok(image.to_owned()),
            false => Err(Error {
                position,
                reason: format!("{SCHEME}{image}: {}", missing(&self.images)),
            }),
        }
    }

    /// Returns the image that a reference in a manifest means.
    pub(super) fn mapped(&self, text: &str) -> Option<String> {
        if self.mapping.is_empty() {
            return None;
        }
        let reference: Reference = text.parse().ok()?;
        self.mapping.get(&reference.without_version()).cloned()
    }
}

fn missing(images: &BTreeSet<String>) -> String {
    let known: Vec<&str> = images.iter().map(String::as_str).collect();
    match known.is_empty() {
        true => "but images.toml describes no image".to_owned(),
        false => format!("but images.toml describes {}", known.join(", ")),
    }
}

/// The bytes that name an image, or a part of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The name in `images.toml`.
    pub image: String,
    /// The position.
    pub position: Position,
    /// The replacements.
    pub places: Vec<Place>,
}

/// The bytes that a part of a reference replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The range of these bytes.
    pub range: Range<usize>,
    /// Their position.
    pub position: Position,
    /// The part that replaces them.
    pub part: Part,
    /// The quotes around the new value.
    pub around: &'static str,
}

/// A part of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `HOST/PATH@DIGEST`.
    Whole,
    /// `HOST/PATH`.
    Repository,
    /// `HOST`.
    Registry,
    /// `PATH`.
    Path,
    /// `DIGEST`.
    Digest,
    /// `TAG@DIGEST`, for charts that put a tag after a colon and have no key for a digest. The
    /// value is the old tag.
    TagWithDigest(Option<Arc<str>>),
}

/// Finds the images that YAML names.
///
/// # Errors
/// When the text does not parse, or names an image in a place that can't hold a reference.
pub(super) fn in_yaml(text: &str, names: &Names) -> Result<Vec<Found>, Error> {
    let tree = yaml::read(text)?;
    let mut finder = Finder {
        text,
        names,
        overrides: overrides(&tree),
        tree: &tree,
        positions: Positions::of(text),
    };
    let mut found = Vec::new();
    // A value with several aliases is replaced once.
    let mut edited = BTreeSet::new();
    for value in &tree.values {
        for mut one in finder.of_value(value)? {
            one.places.retain(|place| edited.insert(place.range.start));
            if !one.places.is_empty() {
                expect_few(found.len(), one.position)?;
                found.push(one);
            }
        }
    }
    Ok(found)
}

/// Refuses a text that names images in too many places: each becomes a whole reference.
///
/// # Errors
/// When there are already as many as there may be.
pub(super) fn expect_few(places: usize, position: Position) -> Result<(), Error> {
    if places < MAX_PLACES {
        return Ok(());
    }
    Err(Error {
        position,
        reason: format!("more than {MAX_PLACES} places name images, and no manifest has so many"),
    })
}

/// Returns, for each mapping that others merge, a value by which one of them overrides its version.
fn overrides(tree: &Tree) -> BTreeMap<usize, &Value> {
    let mut overrides = BTreeMap::new();
    for (into, merged) in &tree.merges {
        let mut keys = TAGS.iter().chain([&DIGEST, &REGISTRY]);
        if let Some(value) = keys.find_map(|key| tree.sibling(*into, key)) {
            overrides.entry(*merged).or_insert(value);
        }
    }
    overrides
}

/// A text whose values are looked into in their order.
struct Finder<'a> {
    text: &'a str,
    tree: &'a Tree,
    names: &'a Names,
    overrides: BTreeMap<usize, &'a Value>,
    positions: Positions<'a>,
}

impl Finder<'_> {
    fn of_value(&mut self, value: &Value) -> Result<Vec<Found>, Error> {
        // The search finds the value of an alias at its anchor. Here only a whole reference counts.
        if value.style == Style::Alias && value.text.len() > MAX_REFERENCE {
            return Ok(Vec::new());
        }
        let mentions = mention::all(&value.text);
        if value.is_key {
            return match mentions.first() {
                None => Ok(Vec::new()),
                Some(_) => Err(Error {
                    position: value.position,
                    reason: format!("{SCHEME} is a key here, and references go into values"),
                }),
            };
        }
        let only = match mentions.as_slice() {
            [only] if only.range.start == 0 && only.range.end == value.text.len() => {
                Some(self.names.known(&only.image, value.position)?)
            }
            [] if is_image(value) => self.names.mapped(&value.text),
            _ => None,
        };
        if let Some(image) = only {
            if let Some(places) = self.parts(value)? {
                return Ok(vec![Found {
                    image,
                    position: value.position,
                    places,
                }]);
            }
            if mentions.is_empty() && value.style != Style::Alias && is_whole(value) {
                let place = place(value, Part::Whole);
                return Ok(vec![Found {
                    image,
                    position: value.position,
                    places: vec![place],
                }]);
            }
        }
        match mentions.is_empty() || value.style == Style::Alias {
            true => Ok(Vec::new()),
            false => self.within(value, mentions.len()),
        }
    }

    /// Finds mentions in a longer text, such as an argument or a script, or in a value that is only
    /// the image.
    fn within(&mut self, value: &Value, count: usize) -> Result<Vec<Found>, Error> {
        let source = &self.text[value.range.clone()];
        let found = mention::all(source);
        if found.len() != count {
            return Err(Error {
                position: value.position,
                reason: format!(
                    "{SCHEME} is written with escapes or over several lines here\n  try: write it \
                     plainly"
                ),
            });
        }
        expect_few(found.len(), value.position)?;
        let mut all = Vec::new();
        for one in found {
            let start = value.range.start + one.range.start;
            let position = self.positions.at(start);
            all.push(Found {
                image: self.names.known(&one.image, position)?,
                position,
                places: vec![Place {
                    range: start..value.range.start + one.range.end,
                    position,
                    part: Part::Whole,
                    around: "",
                }],
            });
        }
        Ok(all)
    }

    /// Finds the bytes of a repository and of the values beside it. Returns `None` if the
    /// repository is alone and takes the whole reference.
    fn parts(&self, repository: &Value) -> Result<Option<Vec<Place>>, Error> {
        let (text, tree) = (self.text, self.tree);
        let key = repository.key.as_deref().unwrap_or_default();
        if !REPOSITORIES.contains(&key) {
            return Ok(None);
        }
        let mapping = repository.parent;
        let digest = tree.sibling(mapping, DIGEST);
        let tag = TAGS.iter().find_map(|key| tree.sibling(mapping, key));
        let version = match (digest, tag) {
            (Some(digest), _) => own(text, digest, Part::Digest)?,
            (None, Some(tag)) => {
                let is_null = tag.style == Style::Plain && ["~", "null"].contains(&&*tag.text);
                let known = (!is_null && !tag.text.is_empty()).then(|| tag.text.clone());
                own(text, tag, Part::TagWithDigest(known))?
            }
            (None, None) if key == "repository" => {
                return Err(Error {
                    position: repository.position,
                    reason: "no tag: and no digest: stands beside this repository:, so the digest \
                             has no place\n  try: add the line `digest: \"\"` if the chart reads \
                             it, else `tag: \"\"`"
                        .to_owned(),
                });
            }
            (None, None) => return Ok(None),
        };
        self.refuse_override(mapping)?;
        let mut places = Vec::new();
        match tree.sibling(mapping, REGISTRY) {
            Some(registry) => {
                places.push(own(text, registry, Part::Registry)?);
                places.push(place(repository, Part::Path));
            }
            None => places.push(place(repository, Part::Repository)),
        }
        // The replacement of an alias happens at its anchor.
        if repository.style == Style::Alias {
            places.pop();
        }
        places.push(version);
        Ok(Some(places))
    }

    /// Refuses a mapping that another one merges and overrides the tag of: that one would run the
    /// pushed repository with the other tag.
    fn refuse_override(&self, mapping: usize) -> Result<(), Error> {
        let Some(value) = self.overrides.get(&mapping) else {
            return Ok(());
        };
        let key = value.key.as_deref().unwrap_or_default();
        Err(Error {
            position: value.position,
            reason: format!(
                "this {key}: overrides that of a merged mapping which names an image of the \
                 workspace\n  try: leave it out, or write the repository: here too"
            ),
        })
    }
}

/// Whether this key may hold a name in the mapping. The key `name` is too common for that.
fn is_image(value: &Value) -> bool {
    let key = value.key.as_deref();
    key.is_some_and(|key| key != "name" && REPOSITORIES.contains(&key))
}

fn is_whole(value: &Value) -> bool {
    value.key.as_deref() == Some(WHOLE)
}

/// Returns the place of a value, which must belong to no other mapping.
fn own(text: &str, value: &Value, part: Part) -> Result<Place, Error> {
    if value.anchor != 0 {
        return Err(Error {
            position: value.position,
            reason:
                "an anchor shares this value with other places, and it becomes one image's own\n  \
                 try: write the value out in each place"
                    .to_owned(),
        });
    }
    let is_somewhere = !value.range.is_empty() || value.style != Style::Plain;
    if value.style == Style::Block || !is_somewhere && !is_behind_colon(text, value) {
        return Err(Error {
            position: value.position,
            reason: "a value can't be put here\n  try: write it in one line, in quotes".to_owned(),
        });
    }
    Ok(place(value, part))
}

fn is_behind_colon(text: &str, value: &Value) -> bool {
    text[..value.range.start].ends_with(':')
}

fn place(value: &Value, part: Part) -> Place {
    let around = match value.style {
        Style::Single => "'",
        Style::Double => "\"",
        // The value of `tag:` is missing.
        Style::Plain if value.range.is_empty() => " ",
        _ => "",
    };
    Place {
        range: value.range.clone(),
        position: value.position,
        part,
        around,
    }
}
