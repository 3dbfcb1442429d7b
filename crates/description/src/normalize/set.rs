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
        let named = self.debian.sets.iter().map(|(name, set)| {
            let normal = normal::Set {
                omit: sorted(&set.omit),
                architectures: sorted(
                    set.architectures
                        .as_ref()
                        .unwrap_or(&self.debian.architectures),
                ),
                dependencies: set.dependencies,
                ..self.set_beyond(&set.packages, set.beyond.as_ref().map(Spanned::get_ref))
            };
            (name.clone(), normal)
        });
        let of_linker = self.toolchain.linker.iter().map(|linker| {
            let toolchain = self.toolchain.set.get_ref();
            let mut set = self.set_beyond(std::slice::from_ref(linker), Some(toolchain));
            // Linking only happens on the architecture that builds.
            if let Some(builder) = self.debian.architectures.first() {
                set.architectures = vec![builder.clone()];
            }
            (LINKER_SET.to_owned(), set)
        });
        let of_images = self.images.values().filter_map(|image| {
            let packages = image
                .fields
                .packages
                .as_ref()
                .filter(|packages| !packages.is_empty())?;
            let base = self.base(image);
            let beyond = match &base {
                Base::Set(set) => Some(set),
                _ => None,
            };
            let mut set = self.set_beyond(packages, beyond);
            let architectures: Vec<String> = self
                .platforms(image)
                .iter()
                .map(|platform| platform.debian().to_string())
                .collect();
            set.architectures = sorted(&architectures);
            Some((image_set(image.name.get_ref()), set))
        });
        let of_crates = self
            .crates
            .iter()
            .filter(|each| !each.packages.is_empty())
            .map(|each| {
                let toolchain = self.toolchain.set.get_ref();
                let mut set = self.set_beyond(&each.packages, Some(toolchain));
                if let Some(own) = self
                    .debian
                    .sets
                    .get(toolchain)
                    .and_then(|set| set.architectures.as_ref())
                {
                    set.architectures = sorted(own);
                }
                (crate_set(each.name.get_ref()), set)
            });
        named
            .chain(of_linker)
            .chain(of_images)
            .chain(of_crates)
            .collect()
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
