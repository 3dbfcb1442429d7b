//! Resolves and opens IMAGE arguments: the name of an image in images.toml, the path of a layout or
//! an archive, or a reference to an image in a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use crateyard_description::Description;
use crateyard_image::attestation::provenance::Statement;
use crateyard_image::attestation::{self, PROVENANCE, SBOM, spdx};
use crateyard_image::beneath::modified;
use crateyard_image::packages::Crate;
use crateyard_nix::Store;
use crateyard_oci::{
    Blobs, Budget, Image, ImageConfig, Index, Layout, Manifest, Platform, Reference, choose,
    images, media_type, read_document,
};
use tempfile::TempDir;

use crate::attach;
use crate::commands::build::build_by_nix;
use crate::connection::ConnectionArgs;
use crate::nix::is_named;
use crate::remote::Remote;
use crate::state::State;

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
    /// Resolves an argument. A layout or file at that path comes first, then an image that the
    /// workspace describes. An argument with a registry's host, a tag or a digest is a reference.
    ///
    /// For an image of the workspace it uses the result of the last build. If there is none, Nix
    /// builds the image.
    ///
    /// # Errors
    /// When the argument is none of these, or Nix fails.
    pub fn find(argument: &str, workspace: &Path) -> Result<Place> {
        Self::find_with(argument, workspace, last_build)
    }

    /// Like [`Place::find`], but builds an image of the workspace from the current files.
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
        let known = described(workspace)?;
        if known.iter().any(|name| name == argument) {
            let path = match kept(argument, workspace)? {
                Some(path) => path,
                None => build(argument, workspace)?,
            };
            return Ok(Place::Path(path));
        }
        // It does not look like an image. The caller that opens it reports the problem.
        if path.exists() {
            return Ok(Place::Path(path.to_owned()));
        }
        if looks_like_reference(argument) {
            return Ok(Place::Registry(argument.parse()?));
        }
        if argument.starts_with(['.', '/']) {
            bail!(
                "{argument:?} is no image: there is no such file or directory\n  try: the path of a layout or archive"
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

    /// Opens the image as a layout, for commands that need all of it. An image in a registry is
    /// fetched into a temporary directory first.
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

/// The error for an argument that is neither a path nor an image of the workspace, with a
/// suggestion.
pub fn no_image(argument: &str, known: &[String], workspace: &Path) -> String {
    let names = match known.is_empty() {
        true => format!("{} has no images.toml", workspace.display()),
        false => format!("images.toml describes {}", known.join(", ")),
    };
    format!(
        "{argument:?} is no image: there is no such file or directory, and {names}\n  \
         try: the path of a layout or archive"
    )
}

/// A layout on this machine.
pub struct LocalLayout {
    /// The layout.
    pub layout: Layout,
    /// The reference it was fetched from.
    pub reference: Option<Reference>,
    /// A temporary directory, which is removed on drop.
    _directory: Option<TempDir>,
}

/// One or more images that were opened.
pub enum Opened {
    /// On this machine.
    Layout(Layout),
    /// In a registry.
    Remote(Remote),
}

/// One image, with its documents.
pub struct Selected {
    /// Its entry in the index.
    pub image: Image,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
}

impl Opened {
    /// Its blobs.
    pub fn blobs(&self) -> &dyn Blobs {
        match self {
            Opened::Layout(layout) => layout,
            Opened::Remote(remote) => remote,
        }
    }

    /// All images, without the statements about them.
    ///
    /// # Errors
    /// When an index is missing or damaged.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images = self.entries()?;
        images.retain(|image| !image.is_attestation());
        Ok(images)
    }

    /// All images that a runtime might run. An index can call an image a statement, and a runtime
    /// that chooses by platform runs it all the same. So this leaves out a statement only where its
    /// manifest has neither the configuration nor the layers of a container image.
    ///
    /// # Errors
    /// When an index, or the manifest of a statement, is missing or damaged.
    pub fn runnable(&self) -> Result<Vec<Image>> {
        let mut runnable = Vec::new();
        for image in self.entries()? {
            let may_be_statement =
                image.is_attestation() && image.descriptor.is_manifest_or_index();
            if !may_be_statement || may_run(&self.manifest(&image)?) {
                runnable.push(image);
            }
        }
        Ok(runnable)
    }

    fn entries(&self) -> Result<Vec<Image>> {
        Ok(match self {
            Opened::Layout(layout) => layout.images()?,
            Opened::Remote(remote) => {
                let index = Index::new(vec![remote.root()]);
                let mut images = self.checked(images(remote, &index))?;
                for image in &mut images {
                    image.names = vec![remote.reference().to_string()];
                }
                images
            }
        })
    }

    /// The one image that the options choose, with its documents.
    ///
    /// # Errors
    /// When there is none or more than one, or a document is damaged.
    pub fn select(&self, name: Option<&str>, platform: Option<&Platform>) -> Result<Selected> {
        let image = match self {
            Opened::Layout(layout) => layout.image(name, platform)?,
            Opened::Remote(remote) => choose(&self.images()?, &remote.title(), None, platform)?,
        };
        let selected = self.documents(image)?;
        let has = &selected.config.platform;
        if let Some(wanted) = platform.filter(|wanted| !has.satisfies(wanted)) {
            let title = self.blobs().title();
            bail!("{title} is for {has}, not for {wanted}\n  try: --platform {has}");
        }
        Ok(selected)
    }

    /// All container images with their documents. Other artifacts are skipped.
    ///
    /// # Errors
    /// When there is no container image, or a document is missing or damaged.
    pub fn select_all(&self) -> Result<Vec<Selected>> {
        let images = self.images()?;
        let is_alone = images.len() == 1;
        let mut selected = Vec::new();
        for image in images {
            let manifest = self.manifest(&image)?;
            if is_alone || media_type::is_config(&manifest.config.media_type) {
                selected.push(self.with_config(image, manifest)?);
            }
        }
        if selected.is_empty() {
            bail!("{} has no container images", self.blobs().title());
        }
        Ok(selected)
    }

    fn documents(&self, image: Image) -> Result<Selected> {
        let manifest = self.manifest(&image)?;
        self.with_config(image, manifest)
    }

    fn manifest(&self, image: &Image) -> Result<Manifest> {
        self.checked(read_document(self.blobs(), &image.descriptor))
    }

    fn with_config(&self, image: Image, manifest: Manifest) -> Result<Selected> {
        let kind = &manifest.config.media_type;
        if !media_type::is_config(kind) {
            bail!(
                "{} of {} is no container image but an artifact of type {kind:?}\n  try: --name or --platform of an image",
                image.descriptor.digest,
                self.blobs().title()
            );
        }
        let config = self.checked(read_document(self.blobs(), &manifest.config))?;
        Ok(Selected {
            image,
            manifest,
            config,
        })
    }

    /// The provenance beside an image, or one that refers to it in a registry.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn provenance(&self, selected: &Selected) -> Result<Option<Vec<u8>>> {
        let digest = &selected.image.descriptor.digest;
        let is_it = |bytes: &[u8]| Statement::parse(bytes).is_ok_and(|it| it.is_about(digest));
        self.document(selected, PROVENANCE, attach::PROVENANCE_TYPE, is_it)
    }

    /// The crates in each program, from the bill of materials beside the image, or from one that
    /// refers to it in a registry.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn crates(&self, selected: &Selected) -> Result<BTreeMap<String, Vec<Crate>>> {
        let sbom = self.sbom(selected)?;
        Ok(sbom.map(|sbom| sbom.crates()).unwrap_or_default())
    }

    /// The bill of materials beside an image, or one that refers to it in a registry.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn sbom(&self, selected: &Selected) -> Result<Option<spdx::Document>> {
        let digest = &selected.image.descriptor.digest;
        let parse = |bytes: &[u8]| serde_json::from_slice::<spdx::Document>(bytes).ok();
        let is_it = |bytes: &[u8]| parse(bytes).is_some_and(|it| it.is_about(digest));
        let found = self.document(selected, SBOM, spdx::MEDIA_TYPE, is_it)?;
        Ok(found.and_then(|bytes| parse(&bytes)))
    }

    /// A document about an image: by its name beside a layout, by its type in a registry.
    fn document(
        &self,
        selected: &Selected,
        name: &str,
        artifact_type: &str,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        match self {
            Opened::Layout(layout) => {
                let found = attestation::read(layout, &selected.config.platform, name)?;
                Ok(found.filter(|bytes| is_it(bytes)))
            }
            Opened::Remote(remote) => {
                let digest = &selected.image.descriptor.digest;
                Ok(remote.document(digest, artifact_type, is_it)?)
            }
        }
    }

    /// Replaces an error that only says that a registry stopped sending with the registry's own
    /// error.
    ///
    /// # Errors
    /// The registry's error, or that of `result`.
    pub fn checked<T, E>(&self, result: Result<T, E>) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        if let Opened::Remote(remote) = self {
            if let Some(failure) = remote.take_failure() {
                return Err(failure.into());
            }
        }
        Ok(result?)
    }
}

/// Whether a manifest has a part of a container image.
fn may_run(manifest: &Manifest) -> bool {
    let mut layers = manifest.layers.iter();
    media_type::is_config(&manifest.config.media_type)
        || layers.any(|layer| media_type::is_layer(&layer.media_type))
}

/// Where a path of a store lies.
pub fn physical(path: &Path, store: Option<&str>) -> PathBuf {
    Store::new(store.map(str::to_owned)).physical(path)
}

/// The images that the workspace describes; empty if it has no description.
pub fn described(workspace: &Path) -> Result<Vec<String>> {
    crate::workspace::check(workspace)?;
    let file = workspace.join("images.toml");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return Ok(Vec::new());
    };
    let description = Description::parse(&text, &file.to_string_lossy())?;
    Ok(description.images.into_keys().collect())
}

/// The path of an image's last build: the newest of the links that `assemble build` keeps.
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

/// Whether an argument can only be a reference. A path that does not exist is a likelier mistake
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
    use crate::nix::STORE_HASH;

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
    fn the_newest_link_is_the_last_build() {
        let workspace = tempfile::tempdir().unwrap();
        let links = workspace.path().join(crate::state::NAME);
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
