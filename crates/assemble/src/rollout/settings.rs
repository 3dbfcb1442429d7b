//! The settings of a run: the command line comes first, then `deploy.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use crateyard_deploy::config::{DeployConfig, FILE};
use crateyard_deploy::manifest::Names;
use crateyard_workspace::{described, files};

use crate::attach::AttachArgs;
use crate::connection::ConnectionArgs;

/// Options for the targets of images and their names in manifests.
#[derive(clap::Args, Debug)]
pub struct ShipArgs {
    /// A manifest, a directory of manifests, or - for standard input; may be repeated
    /// [default: `files` of deploy.toml]
    #[arg(long = "file", short = 'f', value_name = "PATH")]
    files: Vec<PathBuf>,

    /// The target of images: REGISTRY/PATH/. Each has a repository of its own name below it
    /// [default: `to` of deploy.toml]
    #[arg(long, value_name = "REFERENCE")]
    to: Option<String>,

    /// The tag for the images [default: the first digits of their digest]
    #[arg(long, short = 't', value_name = "TAG")]
    pub tag: Option<String>,

    /// Another name that manifests use for an image of images.toml, besides crateyard://IMAGE; may
    /// be repeated
    #[arg(long = "map", value_name = "NAME=IMAGE", value_parser = pair)]
    mapping: Vec<(String, String)>,

    /// Use this layout or archive as an image instead of building it; may be repeated
    #[arg(long = "layout", value_name = "IMAGE=PATH", value_parser = pair)]
    layouts: Vec<(String, String)>,

    /// The workspace: a directory with images.toml, flake.nix and deploy.toml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub workspace: PathBuf,

    #[command(flatten)]
    pub attach: AttachArgs,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("this has the form NAME=VALUE".to_owned()),
    }
}

/// The settings of a run.
#[derive(Debug)]
pub struct Settings {
    /// The files and directories to read; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The names of images in manifests.
    pub names: Names,
    /// Images that are already built.
    pub layouts: BTreeMap<String, PathBuf>,
    /// The target of images, without the slash at the end.
    to: Option<String>,
    /// The rest of `deploy.toml`.
    pub config: DeployConfig,
}

impl Settings {
    /// Reads the settings for a command line in its workspace.
    ///
    /// # Errors
    /// When deploy.toml or images.toml can't be read, or there is nothing to deploy.
    pub fn of(args: &ShipArgs) -> Result<Settings> {
        let mut config = read(&args.workspace)?;
        let files = match args.files.is_empty() {
            false => args.files.clone(),
            true => of_config(&args.workspace, &config)?,
        };
        if files.is_empty() {
            bail!("no manifest is named\n  try: -f DIR, or `files = [\"DIR\"]` in {FILE}");
        }
        config.images.extend(args.mapping.iter().cloned());
        let layouts: BTreeMap<String, PathBuf> = args
            .layouts
            .iter()
            .map(|(name, path)| (name.clone(), path.into()))
            .collect();
        let mut images = described::names(&args.workspace)?;
        images.extend(layouts.keys().cloned());
        let names = Names::new(&images, &config.images).map_err(anyhow::Error::msg)?;
        let to = args.to.clone().or_else(|| config.to.clone());
        let to = to.map(|to| to.trim_end_matches('/').to_owned());
        Ok(Settings {
            files,
            names,
            layouts,
            to,
            config,
        })
    }

    /// Returns the repository of an image.
    ///
    /// # Errors
    /// When no target is set, or the target is invalid.
    pub fn repository(&self, image: &str) -> Result<crateyard_oci::Reference> {
        let Some(to) = &self.to else {
            bail!(
                "nothing says where images go\n  try: --to registry.example/team/, or `to` in \
                 {FILE}"
            );
        };
        let reference: crateyard_oci::Reference = format!("{to}/{image}").parse()?;
        Ok(reference.without_version())
    }
}

/// Returns the files that deploy.toml names. Its author may name only files of the
/// repository: an error would quote them.
fn of_config(workspace: &Path, config: &DeployConfig) -> Result<Vec<PathBuf>> {
    let names: Vec<&str> = config.files.iter().map(String::as_str).collect();
    files::check_files(workspace, &names).with_context(|| format!("`files` of {FILE}"))?;
    Ok(names.iter().map(|name| workspace.join(name)).collect())
}

fn read(workspace: &Path) -> Result<DeployConfig> {
    files::check(workspace)?;
    let path = workspace.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            DeployConfig::parse(&text).with_context(|| format!("{} is invalid", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DeployConfig::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
