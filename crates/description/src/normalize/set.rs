//! Sets of Debian packages.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::*;
use crate::normal;

/// The name of the set with the requested linker.
const LINKER_SET: &str = "toolchain.linker";

/// Returns the name of the set that an image adds to its base.
pub(crate) fn image_set(image: &str) -> String {
    format!("images.{image}")
}

/// Returns the name of the set that a crate compiles with.
pub(super) fn crate_set(name: &str) -> String {
    format!("crates.{name}")
}

pub(super) fn sorted(names: &[String]) -> Vec<String> {
    let names: BTreeSet<&String> = names.iter().collect();
    names.into_iter().cloned().collect()
}

impl Description {
    /// Returns all sets of packages to resolve, by name: those of `[debian.sets]`, `images.NAME`
    /// for the packages that an image adds, `crates.NAME` for those that a crate compiles with,
    /// `toolchain.linker` for a requested linker.
    pub fn package_sets(&self) -> BTreeMap<String, normal::Set> {
        let named = self.debian.sets.iter();
        let named = named.map(|(name, set)| (name.clone(), self.named_set(set)));
        let linker = self.toolchain.linker.as_ref();
        let linker = linker.map(|linker| (LINKER_SET.to_owned(), self.linker_set(linker)));
        let images = self.images.values();
        let images = images
            .filter_map(|image| Some((image_set(image.name.get_ref()), self.set_of_image(image)?)));
        let crates = self.crates.iter().filter(|each| !each.packages.is_empty());
        let crates = crates.map(|each| {
            (
                crate_set(each.name.get_ref()),
                self.set_of_crate(&each.packages),
            )
        });
        named.chain(linker).chain(images).chain(crates).collect()
    }

    fn named_set(&self, set: &Set) -> normal::Set {
        let architectures = set.architectures.as_ref();
        normal::Set {
            omit: sorted(&set.omit),
            architectures: sorted(architectures.unwrap_or(&self.debian.architectures)),
            dependencies: set.dependencies,
            ..self.set_beyond(&set.packages, set.beyond.as_ref().map(Spanned::get_ref))
        }
    }

    fn linker_set(&self, linker: &String) -> normal::Set {
        let toolchain = self.toolchain.set.get_ref();
        let mut set = self.set_beyond(std::slice::from_ref(linker), Some(toolchain));
        // Linking only happens on the architecture that builds.
        if let Some(builder) = self.debian.architectures.first() {
            set.architectures = vec![builder.clone()];
        }
        set
    }

    /// Returns the set of the packages that an image adds, if it adds any.
    fn set_of_image(&self, image: &Image) -> Option<normal::Set> {
        let packages = image.fields.packages.as_ref();
        let packages = packages.filter(|packages| !packages.is_empty())?;
        let base = self.base(image);
        let beyond = match &base {
            Base::Set(set) => Some(set),
            _ => None,
        };
        let platforms = self.platforms(image);
        let architectures = platforms.iter().map(|it| it.debian().to_string());
        let architectures: Vec<String> = architectures.collect();
        Some(normal::Set {
            architectures: sorted(&architectures),
            ..self.set_beyond(packages, beyond)
        })
    }

    fn set_of_crate(&self, packages: &[String]) -> normal::Set {
        let toolchain = self.toolchain.set.get_ref();
        let mut set = self.set_beyond(packages, Some(toolchain));
        let of_toolchain = self.debian.sets.get(toolchain);
        if let Some(own) = of_toolchain.and_then(|set| set.architectures.as_ref()) {
            set.architectures = sorted(own);
        }
        set
    }

    fn set_beyond(&self, packages: &[String], beyond: Option<&String>) -> normal::Set {
        normal::Set {
            packages: sorted(packages),
            omit: Vec::new(),
            beyond: beyond.cloned(),
            architectures: sorted(&self.debian.architectures),
            dependencies: true,
        }
    }
}
