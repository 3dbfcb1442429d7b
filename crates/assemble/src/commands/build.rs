//! `assemble build`: builds images and says where they lie.

use crate::nix::Nix;
use anyhow::{Context, Result, bail};
use description::{Description, Source};
use image::layout::{Layout, Summary};
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Builds images through Nix and prints a line for each
#[derive(clap::Args)]
pub struct Args {
    /// Images to build; without any, all that images.toml describes
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The workspace, a flake
    #[arg(long, value_name = "DIR", default_value = ".")]
    flake: PathBuf,
    /// Another store than the machine's own
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// More arguments for `nix build`
    #[arg(last = true, value_name = "NIX ARGUMENT")]
    nix: Vec<OsString>,
}
