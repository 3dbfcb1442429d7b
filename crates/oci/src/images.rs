//! Lists the images that an index leads to, and chooses one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{
    Blobs, Descriptor, Digest, Error, ImageName, Index, Platform, Result, annotation, media_type,
    read_document,
};

/// The longest name that is remembered, in bytes, and the number of names that are remembered of one
/// image.
const MAX_NAME: usize = 1024;
const MAX_NAMES: usize = 1000;

/// An image manifest that an index leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The descriptor of the manifest in the index that names it.
    pub descriptor: Descriptor,
    /// The image's names in the layout.
    pub names: Vec<String>,
    /// The image's platform, if its index or an outer one states it.
    pub platform: Option<Platform>,
}

impl Image {
    /// Whether the manifest is not a container image but a statement about one.
    pub fn is_attestation(&self) -> bool {
        self.descriptor.is_attestation()
    }

    fn has_name(&self, wanted: &str) -> bool {
        let full = wanted.parse::<ImageName>().map(|name| name.to_string());
        let is_it = |name: &String| name == wanted || full.as_ref() == Ok(name);
        self.names.iter().any(is_it)
    }

    fn title(&self) -> String {
        let name = self.names.first().map_or("", String::as_str);
        let platform = self.platform.as_ref().map(Platform::to_string);
        let platform: String = platform.unwrap_or_default().chars().take(100).collect();
        let parts = [name, &platform, self.descriptor.digest.short()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }
}

/// Finds all image manifests that an index leads to, also through further indexes. Reads each
/// document once.
///
/// # Errors
/// When an index is missing, damaged, nested too deeply, or leads to too much.
pub fn images(blobs: &dyn Blobs, index: &Index) -> Result<Vec<Image>> {
    let mut search = Search {
        blobs,
        indexes: BTreeMap::new(),
        visited: BTreeSet::new(),
        places: BTreeMap::new(),
        images: Vec::new(),
    };
    search.visit(&index.manifests, &Above::default(), 0)?;
    Ok(search.images)
}

/// The facts that outer indexes state about an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Above {
    names: Vec<String>,
    platform: Option<Platform>,
}

struct Search<'a> {
    blobs: &'a dyn Blobs,
    /// The indexes that were read, by digest.
    indexes: BTreeMap<Digest, Arc<Index>>,
    /// Indexes that were visited, with the facts known from above. A second visit with the same
    /// facts finds nothing new.
    visited: BTreeSet<(Digest, Above)>,
    /// The position of each image in `images`.
    places: BTreeMap<Digest, usize>,
    images: Vec<Image>,
}

impl Search<'_> {
    fn visit(&mut self, manifests: &[Descriptor], above: &Above, depth: usize) -> Result<()> {
        let title = self.blobs.title();
        self.blobs
            .budget()
            .entries(&title, manifests.len() as u64)?;
        for descriptor in manifests {
            let mut names = above.names.clone();
            names.extend(names_of(descriptor));
            let platform = descriptor.platform.clone();
            let known = Above {
                names,
                platform: platform.or_else(|| above.platform.clone()),
            };
            if !media_type::is_index(&descriptor.media_type) {
                self.add(descriptor, known)?;
                continue;
            }
            self.blobs.budget().depth(&title, depth + 1)?;
            if self
                .visited
                .contains(&(descriptor.digest.clone(), known.clone()))
            {
                continue;
            }
            self.charge(&known)?;
            self.visited
                .insert((descriptor.digest.clone(), known.clone()));
            let index = self.index(descriptor)?;
            self.visit(&index.manifests, &known, depth + 1)?;
        }
        Ok(())
    }

    fn index(&mut self, descriptor: &Descriptor) -> Result<Arc<Index>> {
        if let Some(known) = self.indexes.get(&descriptor.digest) {
            return Ok(Arc::clone(known));
        }
        let index = Arc::new(read_document::<Index>(self.blobs, descriptor)?);
        let kept = Arc::clone(&index);
        self.indexes.insert(descriptor.digest.clone(), kept);
        Ok(index)
    }

    /// Adds an image. Several entries for one manifest are one image with several names.
    fn add(&mut self, descriptor: &Descriptor, known: Above) -> Result<()> {
        if let Some(&place) = self.places.get(&descriptor.digest) {
            let own = &mut self.images[place].names;
            for name in known.names {
                if own.len() < MAX_NAMES && !own.contains(&name) {
                    let size = name.len() as u64 + 32;
                    self.blobs.budget().keep(&self.blobs.title(), size)?;
                    own.push(name);
                }
            }
            return Ok(());
        }
        self.charge(&known)?;
        self.places
            .insert(descriptor.digest.clone(), self.images.len());
        self.images.push(Image {
            descriptor: descriptor.clone(),
            names: known.names,
            platform: known.platform,
        });
        Ok(())
    }

    fn charge(&self, known: &Above) -> Result<()> {
        let texts: usize = known.names.iter().map(|name| name.len() + 32).sum();
        self.blobs
            .budget()
            .keep(&self.blobs.title(), texts as u64 + 1000)
    }
}

/// Returns the names that an index gives a manifest: the full one first, then the tag.
fn names_of(descriptor: &Descriptor) -> Vec<String> {
    let keys = [annotation::CONTAINERD_NAME, annotation::REF_NAME];
    let names = keys.iter().filter_map(|key| descriptor.annotation(key));
    names
        .filter(|name| name.len() <= MAX_NAME)
        .map(str::to_owned)
        .collect()
}

/// Chooses the only image that has the name, if given, and best fits the platform, if given.
///
/// # Errors
/// When no image or more than one fits. The message lists the images that are there.
pub fn choose(
    all: &[Image],
    place: &str,
    name: Option<&str>,
    platform: Option<&Platform>,
) -> Result<Image> {
    let named = all
        .iter()
        .filter(|image| !image.is_attestation())
        .filter(|image| name.is_none_or(|name| image.has_name(name)));
    let candidates: Vec<&Image> = match platform {
        Some(wanted) => wanted.best_of(named, |image| image.platform.as_ref()),
        None => named.collect(),
    };
    let wanted = [name.map(str::to_owned), platform.map(Platform::to_string)];
    let wanted: Vec<String> = wanted.into_iter().flatten().collect();
    match candidates[..] {
        [image] => Ok(image.clone()),
        [] => Err(Error::NotFound {
            what: format!("an image {}", wanted.join(" for "))
                .trim_end()
                .to_owned(),
            place: place.to_owned(),
            hint: format!("; it has: {}", listed(all.iter())),
        }),
        _ => Err(Error::Ambiguous {
            place: place.to_owned(),
            problem: format!("it has several images: {}", listed(candidates)),
            remedy: "choose one by name or platform",
        }),
    }
}

fn listed<'a>(images: impl IntoIterator<Item = &'a Image>) -> String {
    let titles = images.into_iter().take(20).map(Image::title);
    titles.collect::<Vec<_>>().join("; ")
}
