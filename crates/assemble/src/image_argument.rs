//! Resolves and opens IMAGE arguments: the name of an image in images.toml, the path of a layout or
//! an archive, or a reference to an image in a registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use crateyard_build::image_build::build_by_nix;
use crateyard_disk::modified;
use crateyard_flake::is_named;
use crateyard_oci::{Budget, Layout, Platform, Reference};
use crateyard_workspace::{described, root, state::State};

use crate::connection::ConnectionArgs;
use crate::remote::Remote;

mod opened;

pub use opened::{LocalLayout, Opened, Selected};

/// Options for where images are.
#[derive(clap::Args, Debug)]
pub struct PlaceArgs {
    /// The workspace whose images.toml names the images
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub workspace: PathBuf,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Options that choose one image of several.
#[derive(clap::Args, Debug)]
pub struct ChoiceArgs {
    /// The name of the image in a layout that holds several
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The platform of the image, if there are several
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    pub platform: Option<Platform>,
}

/// The location of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A layout directory or an archive.
    Path(PathBuf),
    /// A registry.
    Registry(Reference),
}

impl Place {
    /// Resolves an argument. First it looks for a layout or file at that path, then for an image
    /// that the workspace describes. An argument with a registry's host, a tag or a digest is a
    /// reference.
    ///
    /// For an image of the workspace, this uses the result of the last build. If there is none, Nix
    /// builds the image.
    ///
    /// # Errors
    /// When the argument is none of these, or Nix fails.
    pub fn find(argument: &str, workspace: &Path) -> Result<Place> {
        Self::find_with(argument, workspace, last_build)
    }

    /// Like [`Place::find`], but always builds an image of the workspace, from the current files.
    ///
    /// # Errors
    /// When the argument is none of these, or Nix fails.
    pub fn find_current(argument: &str, workspace: &Path) -> Result<Place> {
        Self::find_with(argument, workspace, |_, _| Ok(None))
    }

    fn find_with(
        argument: &str,
        workspace: &Path,
        kept: fn(&str, &Path) -> Result<Option<PathBuf>>,
    ) -> Result<Place> {
        let path = Path::new(argument);
        if path.is_file() || path.join("oci-layout").exists() {
            return Ok(Place::Path(path.to_owned()));
        }
        let known = described::names(workspace)?;
        if known.iter().any(|name| name == argument) {
            let path = match kept(argument, workspace)? {
                Some(path) => path,
                None => build(argument, workspace)?,
            };
            return Ok(Place::Path(path));
        }
        // The path does not look like an image. The caller that opens it reports the problem.
        if path.exists() {
            return Ok(Place::Path(path.to_owned()));
        }
        if looks_like_reference(argument) {
            return Ok(Place::Registry(argument.parse()?));
        }
        if argument.starts_with(['.', '/']) {
            bail!(
                "{argument:?} is not an image: there is no such file or directory\n  try: the \
                 path of \
                 a layout or archive"
            );
        }
        bail!(
            "{}, or a full reference such as registry.example/{argument}:v1",
            no_image(argument, &known, workspace)
        );
    }

    /// Opens the image for reading.
    ///
    /// # Errors
    /// When the image is damaged or can't be reached.
    pub fn open(self, connection: &ConnectionArgs) -> Result<Opened> {
        self.open_within(connection, Arc::default())
    }

    /// Like [`Place::open`], with a budget that several images share.
    ///
    /// # Errors
    /// When the image is damaged or can't be reached.
    pub fn open_within(self, connection: &ConnectionArgs, budget: Arc<Budget>) -> Result<Opened> {
        Ok(match self {
            Place::Path(path) => Opened::Layout(Layout::open_within(&path, budget)?),
            Place::Registry(reference) => {
                let (client, _) = connection.client()?;
                Opened::Remote(Remote::open(client, reference, budget)?)
            }
        })
    }

    /// Opens the image as a layout, for commands that need all of it. Fetches an image in a
    /// registry into a temporary directory first.
    ///
    /// # Errors
    /// When the image is damaged or can't be reached.
    pub fn open_layout(
        self,
        connection: &ConnectionArgs,
        platform: Option<&Platform>,
    ) -> Result<LocalLayout> {
        let reference = match self {
            Place::Path(path) => {
                return Ok(LocalLayout {
                    layout: Layout::open(&path)?,
                    reference: None,
                    _directory: None,
                });
            }
            Place::Registry(reference) => reference,
        };
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let (client, display) = connection.client()?;
        let options = crateyard_registry::pull::Options {
            platform: platform.cloned(),
            ..Default::default()
        };
        display.begin(&reference.to_string());
        let pull = crateyard_registry::pull::pull(&client, &reference, directory.path(), &options);
        let pulled = crateyard_registry::run(pull);
        display.end();
        pulled.with_context(|| format!("cannot fetch {reference}"))?;
        Ok(LocalLayout {
            layout: Layout::open(directory.path())?,
            reference: Some(reference),
            _directory: Some(directory),
        })
    }
}

/// Formats the error for an argument that is neither a path nor an image of the workspace, with a
/// suggestion.
pub fn no_image(argument: &str, known: &[String], workspace: &Path) -> String {
    let names = match known.is_empty() {
        true => described_nowhere(workspace),
        false => format!("images.toml describes {}", known.join(", ")),
    };
    format!(
        "{argument:?} is not an image: there is no such file or directory, and {names}\n  \
         try: the path of a layout or archive"
    )
}

/// Says that a directory describes no image, and which one above it may.
fn described_nowhere(workspace: &Path) -> String {
    let place = workspace.display();
    match root::above(workspace) {
        Some(root) => format!(
            "{place} has no images.toml: the workspace is in {0} (--workspace {0})",
            root.display()
        ),
        None => format!("{place} has no images.toml"),
    }
}

/// Returns the path of an image's last build: the target of the newest link that `assemble build`
/// keeps.
fn last_build(name: &str, workspace: &Path) -> Result<Option<PathBuf>> {
    let wanted = format!("{name}-image");
    let Some(state) = State::find(workspace)? else {
        return Ok(None);
    };
    let names = state.names()?;
    let links = names.iter().filter_map(|link| {
        let target = state.link_target(link)?;
        let is_wanted = is_named(&target, &wanted) && target.exists();
        let made = modified(&state.status(link).ok()??);
        is_wanted.then_some((made, target))
    });
    Ok(links.max().map(|(_, target)| target))
}

fn build(name: &str, workspace: &Path) -> Result<PathBuf> {
    let paths = build_by_nix(workspace, &[name.to_owned()])?;
    let path = paths.into_iter().next();
    path.with_context(|| format!("nix built no path for {name}"))
}

/// Whether an argument can only be a reference. A path that does not exist is a more likely mistake
/// than an image of Docker Hub without a tag.
fn looks_like_reference(argument: &str) -> bool {
    if argument.starts_with(['.', '/']) || argument.ends_with(".tar") {
        return false;
    }
    let (first, rest) = argument.split_once('/').unwrap_or(("", argument));
    let has_host = first.contains(['.', ':']) || first == "localhost";
    has_host || rest.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crateyard_flake::STORE_HASH;

    #[test]
    fn references_have_a_host_a_tag_or_a_digest() {
        for text in [
            "debian:12",
            "localhost:5000/app",
            "localhost/app",
            "registry.example/team/app",
            "team/app:v1",
            "app@sha256:00",
        ] {
            assert!(looks_like_reference(text), "{text}");
        }
        for text in ["gateway", "./gateway:1", "/a:b", "out/layout", "a.b/c.tar"] {
            assert!(!looks_like_reference(text), "{text}");
        }
    }

    #[test]
    fn who_names_an_image_in_a_members_directory_learns_where_the_workspace_is() {
        let workspace = tempfile::tempdir().unwrap();
        let member = workspace.path().join("crates/api");
        std::fs::create_dir_all(&member).unwrap();
        let said = || Place::find("api", &member).unwrap_err().to_string();
        assert!(!said().contains("--workspace"), "{}", said());
        std::fs::write(workspace.path().join("images.toml"), "version = 1\n").unwrap();
        let cure = format!("(--workspace {})", workspace.path().display());
        assert!(said().contains(&cure), "{}", said());
    }

    #[test]
    fn the_newest_link_is_the_last_build() {
        let workspace = tempfile::tempdir().unwrap();
        let links = workspace.path().join(crateyard_workspace::state::NAME);
        std::fs::create_dir(&links).unwrap();
        let store = |hash: char, name: &str| {
            let hash = String::from(hash).repeat(STORE_HASH - 1);
            let path = workspace.path().join(format!("{hash}-{name}"));
            std::fs::create_dir(&path).unwrap();
            path
        };
        let older = store('a', "app-image");
        let newer = store('b', "app-image");
        let link = |path: &Path, name: &str| {
            std::os::unix::fs::symlink(path, links.join(name)).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        link(&older, "image-1");
        link(&newer, "image");
        link(&store('c', "my-app-image"), "image-2");
        let last = |name| last_build(name, workspace.path()).unwrap();
        assert_eq!(last("app"), Some(newer));
        assert_eq!(last("other"), None);
    }
}
