//! `rust-toolchain.toml` and `rust-toolchain`: a workspace's settings for rustup.
//!
//! <https://rust-lang.github.io/rustup/overrides.html#the-toolchain-file>

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::channel::Channel;
use crate::error::{Error, Result, io};

/// The files that rustup reads. The first one wins.
const NAMES: [&str; 2] = ["rust-toolchain", NIX_READS];

/// The only one that evaluation reads (nix/toolchain/fits.nix).
pub(crate) const NIX_READS: &str = "rust-toolchain.toml";

/// The settings of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolchainFile {
    /// The file's path.
    pub path: PathBuf,
    /// The channel. `None` if the file only adds components or targets.
    pub channel: Option<Channel>,
    /// Additional components, such as `rust-analyzer`.
    pub components: Vec<String>,
    /// Additional targets, by rustc's names.
    pub targets: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    toolchain: Spanned<Table>,
}

#[derive(Deserialize)]
struct Table {
    channel: Option<Spanned<String>>,
    path: Option<Spanned<String>>,
    #[serde(default)]
    components: Vec<String>,
    #[serde(default)]
    targets: Vec<String>,
}

impl ToolchainFile {
    /// Reads the file of a workspace, if it has one.
    ///
    /// # Errors
    /// Fails if the file can't be read, is malformed, or names a toolchain by `path`.
    pub fn of(workspace: &Path) -> Result<Option<Self>> {
        let files = NAMES.map(|name| workspace.join(name));
        let Some(path) = files.into_iter().find(|path| path.is_file()) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&path).map_err(io(&path))?;
        Self::parse(&text, path).map(Some)
    }

    /// Parses the text of such a file. `path` is its name in errors.
    ///
    /// # Errors
    /// Fails as [`ToolchainFile::of`] does.
    pub fn parse(text: &str, path: PathBuf) -> Result<Self> {
        let wrong = |offset: usize, reason: String| Error::File {
            path: path.clone(),
            line: line_at(text, offset),
            reason,
        };
        // The older form holds only a channel.
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        if !is_toml && text.trim().lines().count() == 1 && !text.contains('[') {
            let channel = text.trim().parse();
            let channel = channel.map_err(|error: Error| wrong(0, error.to_string()))?;
            return Ok(Self {
                path,
                channel: Some(channel),
                components: Vec::new(),
                targets: Vec::new(),
            });
        }
        let document: Document = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            wrong(offset, error.message().to_owned())
        })?;
        let table = document.toolchain.into_inner();
        if let Some(given) = table.path {
            return Err(wrong(
                given.span().start,
                format!(
                    "`path = \"{}\"` names a directory of this machine, which can't be pinned: \
                     name a `channel` instead",
                    given.get_ref()
                ),
            ));
        }
        let channel = match table.channel {
            None => None,
            Some(channel) => {
                let parsed = channel.get_ref().parse();
                let parsed = parsed
                    .map_err(|error: Error| wrong(channel.span().start, error.to_string()))?;
                Some(parsed)
            }
        };
        Ok(Self {
            path,
            channel,
            components: table.components,
            targets: table.targets,
        })
    }
}

/// Returns the line of a byte, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<ToolchainFile> {
        ToolchainFile::parse(text, PathBuf::from(name))
    }

    #[test]
    fn both_forms_are_read() {
        let text = "[toolchain]\nchannel = \"1.95.0\"\ncomponents = [\"rust-analyzer\"]\nprofile = \
                    \"minimal\"\ntargets = [\"wasm32-unknown-unknown\"]\n";
        let read = parse("rust-toolchain.toml", text).unwrap();
        assert_eq!(read.channel, Some(Channel::Release("1.95.0".to_owned())));
        assert_eq!(read.components, ["rust-analyzer"]);
        assert_eq!(read.targets, ["wasm32-unknown-unknown"]);
        let read = parse("rust-toolchain", "nightly-2026-05-20\n").unwrap();
        assert_eq!(
            read.channel,
            Some(Channel::Nightly(Some("2026-05-20".to_owned())))
        );
        assert!(parse("rust-toolchain", text).unwrap().channel.is_some());
    }

    #[test]
    fn what_cannot_be_pinned_is_refused_with_its_line() {
        for (text, said) in [
            (
                "[toolchain]\n\npath = \"/opt/rust\"\n",
                "rust-toolchain.toml:3: `path = \"/opt/rust\"`",
            ),
            (
                "[toolchain]\nchannel = \"stabel\"\n",
                "rust-toolchain.toml:2: `stabel` is not a channel",
            ),
            ("[toolchain]\nchannel = 1\n", "rust-toolchain.toml:2: "),
            ("channel = \"1.95.0\"\n", "rust-toolchain.toml:1: "),
        ] {
            let error = parse("rust-toolchain.toml", text).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
