//! The same description as a Dockerfile, for those without Nix: `Dockerfile.images`, `docker-bake.hcl` and what of the workspace
//! they see.
//!
//! One build graph. Its stages, from below:
//!
//! - `toolchain`: the compiler, and `/cargo/build`, the one command that compiles, so that all stages compile alike.
//! - `recipe`: the manifests and the lock without what can't change a dependency (versions of members, descriptions, lints), and
//!   empty targets. Its content is what keys the next two.
//! - `vendor`: the sources of all dependencies. A directory can take its place: `--build-context vendor=DIR`.
//! - `dependencies`: all dependencies, compiled once, for all images.
//! - `shared`: the members that every program needs.
//! - `PACKAGE-build`: the members that this one needs, real; the others stay empty.
//! - `BIN-binary`: one program, from `PACKAGE-build` or from a builder that is there already (`BUILDER_IMAGE`).
//! - `BIN-output`: nothing but the program.
//! - `builder`: all programs; what `BUILDER_IMAGE` can name.
//! - one stage for each image.

mod bake;
mod compile;
mod ignore;
mod images;
mod names;
mod project;
mod text;
mod workspace;

use std::collections::BTreeSet;

use description::Sources;
use description::normal::{Description, Image, Placeholder, Source};
use names::Names;
pub use project::{Project, ProjectError};
pub use workspace::{METADATA, Resolved, WorkspaceError, for_workspace, resolve};

/// The name of the Dockerfile.
pub const DOCKERFILE: &str = "Dockerfile.images";
/// The name of the bake file.
pub const BAKE: &str = "docker-bake.hcl";
/// The name of the file that says what of the workspace is sent to the engine.
pub const IGNORE: &str = "Dockerfile.images.dockerignore";

/// The first line of every generated file.
const GENERATED: &str = "# Generated from images.toml by `assemble dockerfile`. Edits are lost; `assemble dockerfile --check` finds them.\n";

/// The generated files: name, relative to the workspace's root, and text.
pub type Files = [(&'static str, String); 3];

/// The generated files.
///
/// They depend on the description and on the workspace's shape (members, targets, path dependencies, sources of the lock),
/// not on any version: a version bump generates the same Dockerfile.
pub fn generate(description: &Description, project: &Project, sources: &Sources) -> Files {
    let names = Names::of(description);
    let dockerfile = format!(
        "{GENERATED}\n{}{}",
        compile::stages(description, project, &names),
        images::stages(description, project, sources, &names)
    );
    [
        (DOCKERFILE, dockerfile),
        (
            BAKE,
            format!("{GENERATED}\n{}", bake::file(description, project, &names)),
        ),
        (
            IGNORE,
            format!("{GENERATED}\n{}", ignore::file(description, project)),
        ),
    ]
}

/// The target of the bake file that makes the archive of an image for another one to hold.
pub fn archive_target(description: &Description, image: &str) -> String {
    Names::of(description).archive(image)
}

/// All named contexts that the generated files may be given.
fn contexts_of(description: &Description) -> BTreeSet<String> {
    let images = description.images.values();
    let own = images.map(|image| format!("{}-base-image", image.name));
    let common = ["builder-image", "base-image", "vendor", "bundle"].map(str::to_owned);
    common.into_iter().chain(own).collect()
}

/// The named context that an image of Debian packages begins with: the base's own where it has no other packages.
fn base_context(image: &Image, project: &Project) -> Option<String> {
    let sets = sets(image, project);
    match sets.as_slice() {
        [] => None,
        [only] if !only.contains('.') => Some(format!("{only}-image")),
        _ => Some(format!("{}-base-image", image.name)),
    }
}

/// The named context that is made for an image alone: the layers with its packages, and with the libraries that its programs may
/// be linked to.
pub fn own_base(image: &Image, project: &Project) -> Option<String> {
    base_context(image, project).filter(|context| *context == format!("{}-base-image", image.name))
}

/// The sets of Debian packages in an image. Whether a program is linked to the compiler's libraries shows too late.
fn sets<'i>(image: &'i Image, project: &Project) -> Vec<&'i str> {
    let linked = project.linked(image);
    let layers = image.layers.iter().filter(|layer| !layer.only_if_linked);
    let debian = layers
        .flat_map(|layer| &layer.sources)
        .filter_map(|source| match source {
            Source::Debian(debian) => Some(&debian.packages),
            _ => None,
        });
    debian
        .flatten()
        .filter_map(|placeholder| match placeholder {
            Placeholder::Packages(packages) => Some(&packages.of),
            _ => None,
        })
        .filter(|of| {
            of.linked_from
                .as_ref()
                .is_none_or(|name| linked.contains(name))
        })
        .map(|of| of.set.as_str())
        .collect()
}
