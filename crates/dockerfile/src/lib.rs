//! Writes the description as a Dockerfile, for people without Nix: `Dockerfile.images`,
//! `docker-bake.hcl`, and an ignore file.
//!
//! There is one build graph. Its stages, from the first to the last:
//!
//! - `toolchain`: the compiler, and `/cargo/build`, the only command that compiles, so that all
//!   stages compile alike.
//! - `recipe`: the manifests and the lock without the parts that can't change a dependency
//!   (versions of members, descriptions, lints), and empty targets. Its content is the cache key of
//!   the next two stages.
//! - `vendor`: the sources of all dependencies. A directory can replace it:
//!   `--build-context vendor=DIR`.
//! - `dependencies`: all dependencies, compiled once, for all images.
//! - `shared`: the members that every program needs.
//! - `PACKAGE-build`: the sources of the members that this package needs; the other members stay
//!   empty.
//! - `BIN-binary`: one program, from `PACKAGE-build` or from an existing builder (`BUILDER_IMAGE`).
//! - `BIN-output`: the program alone.
//! - `builder`: all programs. `BUILDER_IMAGE` can name it.
//! - One stage for each image.
//!
//! ```
//! use crateyard_dockerfile::{DOCKERFILE, METADATA, for_workspace};
//!
//! let workspace = "tests/dockerfile/workspace";
//! let mut cargo = std::process::Command::new("cargo");
//! cargo.args(["metadata", "--format-version=1"]).args(METADATA);
//! let metadata = String::from_utf8(cargo.current_dir(workspace).output()?.stdout)?;
//!
//! let files = for_workspace(workspace.as_ref(), &metadata)?;
//! let (name, text) = &files[0];
//! assert_eq!(*name, DOCKERFILE);
//! assert!(text.contains(" AS gateway-build\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bake;
mod compile;
mod config;
mod ignore;
mod images;
mod names;
mod only_nix;
mod project;
mod text;
mod workspace;

use std::collections::BTreeSet;

use crateyard_description::Sources;
use crateyard_description::normal::{Description, Image, Placeholder, Source};
use names::Names;
pub use project::{Project, ProjectError};
pub use workspace::{METADATA, Resolved, WorkspaceError, buildable, for_workspace, resolve};

/// The name of the Dockerfile.
pub const DOCKERFILE: &str = "Dockerfile.images";
/// The name of the bake file.
pub const BAKE: &str = "docker-bake.hcl";
/// The name of the ignore file, which limits the files of the workspace that the engine gets.
pub const IGNORE: &str = "Dockerfile.images.dockerignore";

/// The first line of every generated file.
const GENERATED: &str = "# Generated from images.toml by `assemble dockerfile`. Edits are lost; \
                         `assemble dockerfile --check` finds them.\n";

/// The generated files, each with its name, relative to the workspace's root, and its text.
pub type Files = [(&'static str, String); 3];

/// Generates the files.
///
/// They depend on the description and on the workspace's shape (members, targets, path
/// dependencies, sources of the lock). They depend on no version: a version bump generates the same
/// Dockerfile.
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

/// Returns the name of the bake target that makes an image's archive, for another image to hold.
pub fn archive_target(description: &Description, image: &str) -> String {
    Names::of(description).archive(image)
}

/// Returns all named contexts that the generated files may need.
fn contexts_of(description: &Description) -> BTreeSet<String> {
    let images = description.images.values();
    let own = images.map(|image| format!("{}-base-image", image.name));
    let common = ["builder-image", "base-image", "vendor", "bundle"].map(str::to_owned);
    common.into_iter().chain(own).collect()
}

/// Returns the named context that an image with Debian packages starts from. An image with no
/// packages besides the base's uses the base's own context.
fn base_context(image: &Image, project: &Project) -> Option<String> {
    let sets = sets(image, project);
    match sets.as_slice() {
        [] => None,
        [only] if !only.contains('.') => Some(format!("{only}-image")),
        _ => Some(format!("{}-base-image", image.name)),
    }
}

/// Returns the named context that is made for one image only: the layers with its packages, and
/// with the libraries that its programs may link to.
pub fn own_base(image: &Image, project: &Project) -> Option<String> {
    base_context(image, project).filter(|context| *context == format!("{}-base-image", image.name))
}

/// Returns the sets of Debian packages in an image. The compiler's libraries are not among them,
/// because whether a program links to them shows too late.
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
